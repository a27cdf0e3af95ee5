//! What the machine itself can do: the numbers ours are compared with.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cargo::{has, output};

/// Written by each `dd`.
const DD_MIB: u32 = 512;
/// As many as a cluster has nodes.
const DD_AT_ONCE: usize = 3;

/// The machine's own speed.
pub struct Reference {
    /// MiB a second of MD5 on one core.
    pub md5_mib_per_s: Option<f64>,
    text: String,
}

impl Reference {
    /// Measures the machine; `work` lies on the disk to measure.
    pub fn measure(halo: &Path, work: &Path) -> anyhow::Result<Self> {
        eprintln!("== the machine");
        let md5 = md5();
        let version = output(Command::new("uname").args(["-srm"])).unwrap_or_default();
        let text = format!(
            "Machine: {} cores ({}), {} of memory, {}, {}.\n\
             One core's MD5: {}. The disk, small: {}. The disk, large: {}.\n\
             All writes are synced: a PUT is answered after `fdatasync` on the devices (bodies above 4 KiB) and in the \
             Raft logs of a majority; three copies.\n",
            std::thread::available_parallelism().map_or(0, usize::from),
            processor().unwrap_or_else(|| "unknown".to_owned()),
            memory().unwrap_or_else(|| "an unknown amount".to_owned()),
            version.trim(),
            file_system(work).unwrap_or_else(|| "unknown file system".to_owned()),
            md5.map_or("not measured (openssl is not installed)".to_owned(), |speed| {
                format!("{speed:.0} MiB/s")
            }),
            small_syncs(halo, work)?,
            large_writes(work)?,
        );
        Ok(Self {
            md5_mib_per_s: md5,
            text,
        })
    }

    /// Lines about the machine.
    pub fn lines(&self) -> &str {
        &self.text
    }
}

fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory() -> Option<String> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 = text.lines().next()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(format!("{} GiB", kib >> 20))
}

fn file_system(work: &Path) -> Option<String> {
    let text = output(Command::new("df").arg("--output=fstype").arg(work)).ok()?;
    Some(text.lines().nth(1)?.trim().to_owned())
}

/// What `halo doctor` finds for a small write and its sync.
fn small_syncs(halo: &Path, work: &Path) -> anyhow::Result<String> {
    let mut doctor = Command::new(halo);
    let doctor = doctor.args(["doctor", "--json", "--data"]).arg(work).output()?;
    let findings: Value = serde_json::from_slice(&doctor.stdout)?;
    let mut all = findings.as_array().into_iter().flatten();
    let sync = all.find(|finding| finding["subject"] == "sync speed");
    Ok(sync
        .and_then(|finding| finding["found"].as_str())
        .unwrap_or("unknown")
        .to_owned())
}

/// Three files at once, each synced after every 4 MiB, as three devices on one disk write.
fn large_writes(work: &Path) -> anyhow::Result<String> {
    if !has("dd", "--version") {
        return Ok("not measured".to_owned());
    }
    let cached = dd(work, "dsync")?;
    let direct = dd(work, "direct,dsync").map_or("refused".to_owned(), |speed| format!("{speed:.0} MiB/s"));
    Ok(format!(
        "three files at once, synced after every 4 MiB (`dd oflag=dsync`) {cached:.0} MiB/s together, past the page \
         cache (`oflag=direct,dsync`) {direct}"
    ))
}

fn dd(work: &Path, flags: &str) -> anyhow::Result<f64> {
    let files: Vec<_> = (0..DD_AT_ONCE).map(|n| work.join(format!("dd-{n}"))).collect();
    let begun = Instant::now();
    let running: Vec<Child> = files
        .iter()
        .map(|file| {
            Command::new("dd")
                .args(["if=/dev/zero", "bs=4M", &format!("count={}", DD_MIB / 4)])
                .args([&format!("of={}", file.display()), &format!("oflag={flags}")])
                .stderr(Stdio::null())
                .spawn()
                .context("dd")
        })
        .collect::<anyhow::Result<_>>()?;
    let mut failed = false;
    for mut child in running {
        failed |= !child.wait()?.success();
    }
    let seconds = begun.elapsed().as_secs_f64();
    files.iter().try_for_each(std::fs::remove_file)?;
    if failed {
        bail!("dd with {flags} failed");
    }
    Ok(f64::from(DD_MIB) * DD_AT_ONCE as f64 / seconds)
}

/// `openssl speed` prints thousands of bytes a second in its last column.
fn md5() -> Option<f64> {
    let mut speed = Command::new("openssl");
    speed.args(["speed", "-seconds", "2", "-bytes", "1048576", "-evp", "md5"]);
    let text = output(speed.stderr(Stdio::null())).ok()?;
    let last = text.lines().last()?.split_whitespace().last()?;
    let thousands: f64 = last.trim_end_matches('k').parse().ok()?;
    Some(thousands * 1000.0 / f64::from(1 << 20))
}
