//! Which processes of a cluster run: `run/processes.json`, checked against the kernel.
//!
//! A process id alone proves nothing, for ids are reused. A record also holds the process's start time (clock ticks
//! since boot, field 22 of `/proc/PID/stat`) and the boot it belongs to; only all three together name a process.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use crate::secret::{SecretError, write_private};

/// The version of `processes.json` this release reads and writes.
const PROCESSES_VERSION: u32 = 1;

/// A started process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedProcess {
    /// Its name in the plan.
    pub name: String,
    /// Its process id.
    pub pid: i32,
    /// Clock ticks since boot at its start.
    pub start_ticks: u64,
    /// The boot it was started in.
    pub boot: String,
}

/// The file's contents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    version: u32,
    processes: Vec<StartedProcess>,
}

/// Why the record of processes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProcessesError {
    /// Not readable.
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Not ours, or of a newer release.
    #[error("{} is not a record of processes this release understands", path.display())]
    Malformed { path: PathBuf },
    /// Not writable.
    #[error(transparent)]
    Write(#[from] SecretError),
}

impl Processes {
    /// Reads the record; an absent file means that nothing was started.
    ///
    /// # Errors
    /// When the file is there but cannot be understood.
    pub fn read(folder: &Folder) -> Result<Self, ProcessesError> {
        let path = folder.processes_file();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(ProcessesError::Unreadable { path, source }),
        };
        match serde_json::from_str::<Self>(&text) {
            Ok(record) if record.version == PROCESSES_VERSION => Ok(record),
            _ => Err(ProcessesError::Malformed { path }),
        }
    }

    /// Writes the record, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Folder) -> Result<(), ProcessesError> {
        let record = Self {
            version: PROCESSES_VERSION,
            processes: self.processes.clone(),
        };
        let text = serde_json::to_vec_pretty(&record).expect("plain data has a JSON form");
        Ok(write_private(&folder.processes_file(), &text)?)
    }

    /// Notes a start, in place of an earlier one of the same name.
    pub fn note(&mut self, started: StartedProcess) {
        self.processes.retain(|process| process.name != started.name);
        self.processes.push(started);
    }

    /// Forgets a process.
    pub fn forget(&mut self, name: &str) {
        self.processes.retain(|process| process.name != name);
    }

    /// The process of that name, if it runs.
    #[must_use]
    pub fn running(&self, name: &str) -> Option<&StartedProcess> {
        self.processes
            .iter()
            .find(|process| process.name == name && process.runs())
    }

    /// All that run.
    pub fn all_running(&self) -> impl Iterator<Item = &StartedProcess> {
        self.processes.iter().filter(|process| process.runs())
    }
}

impl StartedProcess {
    /// The record of a process that was started just now; `None` when it has ended already.
    #[must_use]
    pub fn of(name: &str, pid: i32) -> Option<Self> {
        let stat = ProcessStat::read(pid)?;
        Some(Self {
            name: name.to_owned(),
            pid,
            start_ticks: stat.start_ticks,
            boot: boot_id()?,
        })
    }

    /// True while this very process runs; one that has ended but was not yet collected by its parent does not.
    #[must_use]
    pub fn runs(&self) -> bool {
        let same_boot = boot_id().is_some_and(|boot| boot == self.boot);
        let stat = ProcessStat::read(self.pid);
        same_boot && stat.is_some_and(|stat| stat.start_ticks == self.start_ticks && !stat.ended)
    }

    /// Sends a signal to this very process and to no other; false when it does not run any more.
    #[must_use]
    pub fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return false;
        };
        // The handle is opened first and the record compared after: from then on the id cannot pass to another process.
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            return false;
        };
        self.runs() && pidfd_send_signal(&handle, signal).is_ok()
    }
}

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// It has ended; only its entry is left (a zombie).
    pub ended: bool,
    /// User and system time, in clock ticks.
    pub cpu_ticks: u64,
    /// Clock ticks since boot at its start.
    pub start_ticks: u64,
}

impl ProcessStat {
    /// Reads the entry; `None` when there is no such process.
    #[must_use]
    pub fn read(pid: i32) -> Option<Self> {
        let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
        Self::parse(&text)
    }

    /// The second field is the program's name in parentheses and may hold anything, parentheses and spaces included;
    /// the fields are counted from the last one.
    fn parse(text: &str) -> Option<Self> {
        let rest = &text[text.rfind(')')? + 1..];
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            ended: matches!(*fields.first()?, "Z" | "X" | "x"),
            cpu_ticks: number(14)?.checked_add(number(15)?)?,
            start_ticks: number(22)?,
        })
    }
}

fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> StartedProcess {
        let pid = i32::try_from(std::process::id()).expect("a process id");
        StartedProcess::of("node-1", pid).expect("this process runs")
    }

    #[test]
    fn a_strange_program_name_does_not_shift_the_fields() {
        let stat = "42 (a) b) R 1 42 42 0 -1 4194304 1 0 0 0 7 5 0 0 20 0 1 0 98765 1 2 3";
        let parsed = ProcessStat::parse(stat).expect("parsed");
        assert_eq!(
            parsed,
            ProcessStat {
                ended: false,
                cpu_ticks: 12,
                start_ticks: 98_765
            }
        );
        assert!(ProcessStat::parse(&stat.replace(") R", ") Z")).expect("parsed").ended);
    }

    #[test]
    fn this_process_runs_and_a_reused_id_does_not() {
        let own = own();
        assert!(own.runs());
        assert!(
            !StartedProcess {
                start_ticks: own.start_ticks + 1,
                ..own.clone()
            }
            .runs()
        );
        assert!(
            !StartedProcess {
                boot: "another".into(),
                ..own
            }
            .runs()
        );
    }

    #[test]
    fn a_signal_never_reaches_another_process_under_the_same_id() {
        let reused = StartedProcess {
            start_ticks: 1,
            ..own()
        };
        assert!(!reused.signal(Signal::KILL));
    }

    #[test]
    fn a_killed_child_does_not_run_even_before_it_is_collected() {
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .expect("sleep exists");
        let started = StartedProcess::of("node-1", i32::try_from(child.id()).expect("id")).expect("runs");
        assert!(started.runs());
        assert!(started.signal(Signal::KILL));
        while started.runs() {
            std::thread::yield_now();
        }
        child.wait().expect("collected");
        assert!(!started.runs());
    }

    #[test]
    fn the_record_reads_back_and_keeps_one_entry_a_name() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::at(dir.path()).expect("absolute");
        std::fs::create_dir(dir.path().join("run")).expect("created");
        assert_eq!(Processes::read(&folder).expect("absent is empty"), Processes::default());
        let mut record = Processes::default();
        record.note(StartedProcess { pid: 1, ..own() });
        record.note(own());
        record.write(&folder).expect("written");
        let read = Processes::read(&folder).expect("read");
        assert_eq!(read.all_running().count(), 1);
        assert_eq!(read.running("node-1"), Some(&own()));
        std::fs::write(folder.processes_file(), "{\"version\":99,\"processes\":[]}").expect("written");
        assert!(matches!(
            Processes::read(&folder),
            Err(ProcessesError::Malformed { .. })
        ));
    }
}
