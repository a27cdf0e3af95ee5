//! A cluster to measure, started and asked by its own commands.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use super::Load;
use super::table::Row;
use crate::cargo::output;

/// How roles are spread over processes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A proxy process of its own.
    Separate,
    /// All roles in each.
    AllRoles,
}

/// A running cluster.
pub struct Cluster {
    halo: PathBuf,
    data: PathBuf,
    stopped: bool,
}

impl Cluster {
    /// Starts three nodes in a new folder.
    pub fn start(halo: &Path, data: &Path, shape: Shape, extra: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(halo);
        command
            .args(["up", "--detach", "--json", "--port-base", "0", "--data"])
            .arg(data)
            .args(extra);
        if shape == Shape::AllRoles {
            command.arg("--all-roles");
        }
        let cluster = Self {
            halo: halo.to_owned(),
            data: data.to_owned(),
            stopped: false,
        };
        output(&mut command).context("the cluster to measure")?;
        Ok(cluster)
    }

    /// Measures one load.
    pub fn measure(&self, target: &str, load: &Load, seconds: u64) -> anyhow::Result<Row> {
        eprintln!(
            "== {target}: {} {}, {} connections",
            load.operation, load.size, load.connections
        );
        let syncs_before = self.syncs();
        let mut command = Command::new(&self.halo);
        command.args(["bench", load.operation, "--json", "--size", load.size]);
        command.args([
            "--concurrency",
            &load.connections.to_string(),
            "--duration",
            &format!("{seconds}s"),
        ]);
        let report = output(command.arg("--data").arg(&self.data))?;
        let mut row = Row::of(target, load, &serde_json::from_str::<Value>(&report)?);
        if let (Some(before), Some(after), "put") = (syncs_before, self.syncs(), load.operation) {
            row.syncs = Some(after.saturating_sub(before));
        }
        Ok(row)
    }

    /// Syncs of all devices and logs so far, as the nodes' metrics count them; the largest of the nodes.
    fn syncs(&self) -> Option<u64> {
        let text = output(
            Command::new(&self.halo)
                .args(["admin", "status", "--json", "--data"])
                .arg(&self.data),
        )
        .ok()?;
        let status: Value = serde_json::from_str(&text).ok()?;
        let of_node = |node: &Value| node.get("syncs")?.as_u64();
        status.get("nodes")?.as_array()?.iter().filter_map(of_node).max()
    }

    /// Stops it, and fails when it does not stop cleanly.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.stopped = true;
        output(Command::new(&self.halo).args(["down", "--data"]).arg(&self.data)).map(drop)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.stopped {
            let _ = Command::new(&self.halo)
                .args(["down", "--data"])
                .arg(&self.data)
                .status();
        }
    }
}
