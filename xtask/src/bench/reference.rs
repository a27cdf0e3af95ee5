//! What the machine itself can do: the numbers ours are compared with.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cargo::output;

/// Lines about the machine, one core's MD5 and the disk's sync.
pub fn lines(halo: &Path, work: &Path) -> anyhow::Result<String> {
    let doctor = Command::new(halo)
        .args(["doctor", "--json", "--data"])
        .arg(work)
        .output()?;
    let findings: Value = serde_json::from_slice(&doctor.stdout)?;
    let sync = findings
        .as_array()
        .and_then(|all| all.iter().find(|finding| finding["subject"] == "sync speed"));
    let sync = sync
        .and_then(|finding| finding["found"].as_str())
        .unwrap_or("unknown")
        .to_owned();
    let version = output(Command::new("uname").args(["-srm"])).unwrap_or_default();
    Ok(format!(
        "Machine: {} cores ({}), {}. One core's MD5: {}. The disk: {sync}.\n",
        std::thread::available_parallelism().map_or(0, usize::from),
        processor().unwrap_or_else(|| "unknown".to_owned()),
        version.trim(),
        md5().unwrap_or_else(|| "not measured (openssl is not installed)".to_owned()),
    ))
}

fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// `openssl speed` prints thousands of bytes a second in its last column.
fn md5() -> Option<String> {
    let mut speed = Command::new("openssl");
    speed.args(["speed", "-seconds", "2", "-bytes", "1048576", "-evp", "md5"]);
    let text = output(&mut speed).ok()?;
    let thousands: f64 = text
        .lines()
        .last()?
        .split_whitespace()
        .last()?
        .trim_end_matches('k')
        .parse()
        .ok()?;
    Some(format!("{:.0} MiB/s", thousands * 1000.0 / f64::from(1 << 20)))
}
