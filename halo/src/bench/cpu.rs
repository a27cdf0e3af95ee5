//! CPU time of processes, read from `/proc`.

use serde::Serialize;

use crate::up::processes::ProcessStat;

/// Clock ticks in `/proc/PID/stat` are hundredths of a second: the kernel's `USER_HZ`, fixed by its interface.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process whose CPU time is taken.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What it is called in the report.
    pub name: String,
    /// Its process id.
    pub pid: i32,
}

/// CPU seconds of one process during the measurement.
#[derive(Clone, Debug, Serialize)]
pub struct CpuSeconds {
    /// What it is called.
    pub name: String,
    /// Its process id.
    pub pid: i32,
    /// User and system time, in seconds.
    pub seconds: f64,
}

/// CPU time so far, of every watched process.
#[must_use]
pub fn ticks(watched: &[Watched]) -> Vec<u64> {
    watched
        .iter()
        .map(|process| ProcessStat::read(process.pid).map_or(0, |stat| stat.cpu_ticks))
        .collect()
}

/// What was used between two readings; a process that ended in between counts as zero.
#[must_use]
pub fn used(watched: &[Watched], before: &[u64], after: &[u64]) -> Vec<CpuSeconds> {
    let seconds = before
        .iter()
        .zip(after)
        .map(|(before, after)| after.saturating_sub(*before) as f64 / TICKS_PER_SECOND);
    let named = watched.iter().zip(seconds);
    named
        .map(|(process, seconds)| CpuSeconds {
            name: process.name.clone(),
            pid: process.pid,
            seconds,
        })
        .collect()
}

/// This process, the load generator.
#[must_use]
pub fn own() -> Watched {
    Watched {
        name: "client".to_owned(),
        pid: i32::try_from(std::process::id()).unwrap_or_default(),
    }
}
