//! Stops the processes of a cluster: what serves clients first, then the nodes.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::folder::Folder;
use super::plan::ClusterFile;
use super::processes::{Processes, ProcessesError, StartedProcess};

/// How long a group of processes may drain after SIGTERM before SIGKILL; a little more than the processes give
/// themselves (see `serve::DRAIN_MAX`).
const STOP_MAX: Duration = Duration::from_secs(25);
/// How long the kernel may take to end a killed process.
const KILL_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// What became of the processes that ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Ended by themselves after SIGTERM.
    pub cleanly: Vec<String>,
    /// Did not end in time and were killed.
    pub killed: Vec<String>,
    /// Not even SIGKILL ended them (a process stuck in the kernel).
    pub stuck: Vec<String>,
}

/// Stops everything that runs in the folder. The caller holds the folder's lock.
///
/// # Errors
/// When the record of processes cannot be read or written.
pub async fn stop_all(folder: &Folder, plan: &ClusterFile) -> Result<Stopped, ProcessesError> {
    let mut record = Processes::read(folder)?;
    let mut stopped = Stopped::default();
    let (front, nodes): (Vec<_>, Vec<_>) = plan.processes.iter().partition(|process| process.node.is_none());
    for group in [front, nodes] {
        let running = group
            .iter()
            .filter_map(|process| record.running(&process.name).cloned());
        stop_group(running.collect(), &mut stopped).await;
    }
    for name in stopped.cleanly.iter().chain(&stopped.killed) {
        record.forget(name);
    }
    record.write(folder)?;
    Ok(stopped)
}

async fn stop_group(group: Vec<StartedProcess>, stopped: &mut Stopped) {
    for process in &group {
        let _ = process.signal(Signal::TERM);
    }
    let late = wait_ended(group.clone(), STOP_MAX).await;
    for process in &late {
        let _ = process.signal(Signal::KILL);
    }
    let stuck = wait_ended(late.clone(), KILL_MAX).await;
    for process in group {
        let list = if stuck.contains(&process) {
            &mut stopped.stuck
        } else if late.contains(&process) {
            &mut stopped.killed
        } else {
            &mut stopped.cleanly
        };
        list.push(process.name);
    }
}

/// Waits until none runs or the time is up; returns those that still run.
async fn wait_ended(mut group: Vec<StartedProcess>, longest: Duration) -> Vec<StartedProcess> {
    let begun = Instant::now();
    loop {
        group.retain(StartedProcess::runs);
        if group.is_empty() || begun.elapsed() > longest {
            return group;
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::plan::{FromBase, Shape, Wish, plan};

    #[tokio::test]
    async fn running_processes_are_stopped_and_forgotten() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::at(dir.path()).expect("absolute");
        std::fs::create_dir(dir.path().join("run")).expect("created");
        let wish = Wish {
            nodes: 1,
            devices_per_node: 1,
            shape: Shape::Separate,
            tls: false,
            region: "r".into(),
        };
        let plan = plan("id".into(), &wish, &mut FromBase(9000)).expect("ports");
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .expect("sleep exists");
        let mut record = Processes::default();
        record.note(StartedProcess::of("proxy", i32::try_from(child.id()).expect("id")).expect("runs"));
        record.write(&folder).expect("written");

        let stopped = stop_all(&folder, &plan).await.expect("stopped");
        assert_eq!(
            stopped,
            Stopped {
                cleanly: vec!["proxy".into()],
                ..Stopped::default()
            }
        );
        child.wait().expect("collected");
        assert!(Processes::read(&folder).expect("read").running("proxy").is_none());
    }
}
