//! Where the servers' CPU time goes, by perf: the named costs of docs/benchmarks.md.
//!
//! A profile is taken in a run of its own, beside the measured one, so that the sampling slows no number down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use crate::cargo::{has, output};

/// Samples a second; no divisor of the timer's rate, so that nothing runs in step with it.
const SAMPLES_PER_S: &str = "499";
/// Costs named for one load.
const COSTS_SHOWN: usize = 6;

/// What a function belongs to. The first line that fits wins.
const COSTS: [(&str, &[&str]); 16] = [
    ("MD5 (the ETag)", &["md5"]),
    ("BLAKE3", &["blake3"]),
    ("CRC-32C of frames, other CRCs", &["crc_fast", "crc32"]),
    (
        "kernel: copies into the page cache",
        &["copy_folio_from_iter", "copy_page_from_iter"],
    ),
    (
        "kernel: copies out of the page cache",
        &["copy_folio_to_iter", "copy_page_to_iter"],
    ),
    (
        "kernel: copies from and to sockets",
        &["_copy_from_iter", "_copy_to_iter", "rep_movs", "copy_user"],
    ),
    (
        "kernel: fresh pages for processes",
        &["clear_page", "page_fault", "alloc_anon_folio", "handle_mm_fault"],
    ),
    (
        "kernel: TCP and loopback",
        &[
            "tcp_",
            "ip_",
            "skb_",
            "sock_",
            "__dev_queue",
            "loopback",
            "net_rx",
            "napi_",
        ],
    ),
    (
        "kernel: locks, wake-ups, scheduling",
        &["spin_", "sched", "try_to_wake", "futex", "ep_", "epoll", "switch_to"],
    ),
    (
        "kernel: files and disk",
        &[
            "ext4",
            "jbd2",
            "blk_",
            "bio_",
            "virtqueue",
            "virtblk",
            "folio",
            "xas_",
            "filemap",
        ],
    ),
    ("copies in memory", &["memcpy", "memmove"]),
    ("memory allocation", &["mi_", "malloc"]),
    ("RocksDB", &["rocksdb"]),
    ("SHA-256, HMAC (signatures)", &["sha2", "hmac", "sha256"]),
    ("tokio", &["tokio"]),
    ("hyper, HTTP", &["hyper", "httparse", "h1::"]),
];

/// A running `perf record`.
pub struct Profile {
    child: Child,
    file: PathBuf,
}

/// What a load's CPU time was spent on, largest first, with the share of all samples; what has no name comes last.
#[derive(Debug, PartialEq)]
pub struct Costs(pub Vec<(String, f64)>);

impl Profile {
    /// Samples processes `pids` for `seconds`; `None` where perf is missing.
    pub fn start(file: &Path, pids: &[String], seconds: u64) -> anyhow::Result<Option<Self>> {
        if !has("perf", "--version") {
            eprintln!("perf is not installed: the costs are left out (apt-get install linux-perf)");
            return Ok(None);
        }
        let child = Command::new("perf")
            .args(["record", "-F", SAMPLES_PER_S, "-p", &pids.join(","), "-o"])
            .arg(file)
            .args(["--", "sleep", &seconds.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("perf record")?;
        Ok(Some(Self {
            child,
            file: file.to_owned(),
        }))
    }

    /// Waits for the end of the sampling; `None` when this machine does not let us sample.
    pub fn costs(mut self) -> anyhow::Result<Option<Costs>> {
        if !self.child.wait().context("perf record")?.success() {
            eprintln!("perf record is not allowed here: the costs are left out");
            return Ok(None);
        }
        let mut report = Command::new("perf");
        report.args(["report", "--stdio", "--no-children", "-g", "none", "--sort", "symbol"]);
        report.args(["--percent-limit", "0.05", "-i"]).arg(&self.file);
        Ok(Some(Costs::of(&output(report.stderr(Stdio::null()))?)))
    }
}

impl Costs {
    /// Reads lines such as `12.28%  [.] md5::compress::compress`.
    fn of(report: &str) -> Self {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for line in report.lines().filter(|line| !line.starts_with('#')) {
            let Some((share, rest)) = line.trim().split_once('%') else {
                continue;
            };
            let (Ok(share), Some((_, symbol))) = (share.parse::<f64>(), rest.split_once("] ")) else {
                continue;
            };
            *sums.entry(cost_of(rest, symbol.trim())).or_default() += share;
        }
        let mut costs: Vec<_> = sums.into_iter().collect();
        let unnamed = |name: &str| name.ends_with("other");
        costs.sort_by(|a, b| unnamed(&a.0).cmp(&unnamed(&b.0)).then(b.1.total_cmp(&a.1)));
        costs.truncate(COSTS_SHOWN);
        Self(costs)
    }

    /// One line of the page: shares, and what they are of the load's whole cost.
    pub fn line(&self, whole: f64, unit: &str) -> String {
        let named = self.0.iter().map(|(name, share)| {
            let part = whole * share / 100.0;
            format!("{name} {share:.0} % ({part:.2} {unit})")
        });
        named.collect::<Vec<_>>().join(", ")
    }
}

fn cost_of(line: &str, symbol: &str) -> String {
    let kernel = line.contains("[k]");
    let fits = |(name, parts): &&(&str, &[&str])| {
        name.starts_with("kernel") == kernel && parts.iter().any(|part| symbol.contains(part))
    };
    match COSTS.iter().find(fits) {
        Some((name, _)) => (*name).to_owned(),
        None if kernel => "kernel: other".to_owned(),
        None => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_summed_by_what_they_belong_to() {
        let report = "# Overhead  Symbol\n\n  40.50%  [.] md5::compress::compress   \n  20.00%  [k] _copy_to_iter\n   \
                      5.00%  [k] _copy_from_iter  \n 3.0%  [.] unheard_of\n 0.5%  [k] unheard_of\nnonsense\n";
        let costs = Costs::of(report);
        assert_eq!(costs.0[0], ("MD5 (the ETag)".to_owned(), 40.5));
        assert_eq!(costs.0[1], ("kernel: copies from and to sockets".to_owned(), 25.0));
        assert_eq!(
            costs.0[2..],
            [("other".to_owned(), 3.0), ("kernel: other".to_owned(), 0.5)]
        );
        assert!(
            costs
                .line(2.0, "s/GiB")
                .starts_with("MD5 (the ETag) 40 % (0.81 s/GiB), ")
        );
    }
}
