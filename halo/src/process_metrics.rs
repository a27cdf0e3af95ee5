//! What the kernel knows of this process, as metrics.
//!
//! The names are those that Prometheus' own clients use, so that ready-made dashboards fit.

use metrics::gauge;

use crate::up::processes::ProcessStat;

/// The kernel's `USER_HZ`.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads `/proc/self` and sets the gauges.
pub fn record() {
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    if let Some(stat) = ProcessStat::read(pid) {
        gauge!("process_cpu_seconds_total").set(stat.cpu_ticks as f64 / TICKS_PER_SECOND);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = kib_of(&status, "VmRSS:") {
        gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    if let Some(bytes) = kib_of(&status, "VmHWM:") {
        gauge!("process_resident_memory_peak_bytes").set(bytes as f64);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        gauge!("process_open_fds").set(open.count() as f64);
    }
}

/// A line of `/proc/PID/status` in bytes.
fn kib_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(
            kib_of("VmHWM:\t   2048 kB\nVmRSS:\t 1024 kB\n", "VmRSS:"),
            Some(1 << 20)
        );
    }
}
