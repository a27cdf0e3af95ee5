//! A cluster to measure, started and asked by its own commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::Load;
use super::profile::{Costs, Profile};
use super::table::Row;
use crate::cargo::output;

/// How long a profiled load runs before and after the sampling.
const PROFILE_MARGIN_S: u64 = 4;

/// Large objects prepared for it, so few that the preparation is over when the sampling begins.
const PROFILE_OBJECTS: &str = "4";

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
    pids: Vec<String>,
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
        let mut cluster = Self {
            halo: halo.to_owned(),
            data: data.to_owned(),
            pids: Vec::new(),
            stopped: false,
        };
        let started = output(&mut command).context("the cluster to measure")?;
        let started: Value = serde_json::from_str(&started)?;
        let processes = started["processes"].as_array().into_iter().flatten();
        cluster.pids = processes.map(|process| process["pid"].to_string()).collect();
        Ok(cluster)
    }

    /// Measures one load.
    pub fn measure(&self, target: &str, load: &Load, seconds: u64) -> anyhow::Result<Row> {
        eprintln!(
            "== {target}: {} {}, {} connections",
            load.operation, load.size, load.connections
        );
        let report = output(&mut self.bench(load, seconds))?;
        let mut row = Row::of(target, load, &serde_json::from_str::<Value>(&report)?);
        if load.operation == "put" {
            row.syncs = self.count_syncs(load, seconds, &mut row)?;
        }
        Ok(row)
    }

    /// Profiles one load, which runs for as long as the sampling and a little longer.
    pub fn profile(&self, load: &Load, seconds: u64, file: &Path) -> anyhow::Result<Option<Costs>> {
        eprintln!("== profile: {} {}", load.operation, load.size);
        let mut bench = self.bench(load, seconds + PROFILE_MARGIN_S);
        if load.size == "64MiB" {
            bench.args(["--objects", PROFILE_OBJECTS]);
        }
        let mut bench = bench.stdout(Stdio::null()).spawn().context("halo bench")?;
        // The preparation of large objects is not what is looked at.
        std::thread::sleep(Duration::from_secs(PROFILE_MARGIN_S));
        let costs = match Profile::start(file, &self.pids, seconds)? {
            Some(profile) => profile.costs()?,
            None => None,
        };
        bench.wait()?;
        Ok(costs)
    }

    fn bench(&self, load: &Load, seconds: u64) -> Command {
        let mut command = Command::new(&self.halo);
        command.args(["bench", load.operation, "--json", "--size", load.size]);
        command.args(["--concurrency", &load.connections.to_string()]);
        command.args(["--duration", &format!("{seconds}s")]);
        command.arg("--data").arg(&self.data);
        command
    }

    /// Syncs per node while nothing but counted requests runs: no warm-up, and nothing is removed behind them. The
    /// bucket's creation and idle seconds at both ends are in it; they are few syncs among thousands.
    fn count_syncs(&self, load: &Load, seconds: u64, row: &mut Row) -> anyhow::Result<Vec<u64>> {
        let before = self.syncs()?;
        let mut bench = self.bench(load, seconds);
        let report: Value = serde_json::from_str(&output(bench.args(["--warm-up", "0s", "--keep"]))?)?;
        let after = self.syncs()?;
        row.synced_requests = report["requests"].as_u64().unwrap_or_default();
        let pairs = before.iter().zip(&after);
        Ok(pairs.map(|(before, after)| after.saturating_sub(*before)).collect())
    }

    /// Syncs of devices and log so far, of every node.
    fn syncs(&self) -> anyhow::Result<Vec<u64>> {
        let mut status = Command::new(&self.halo);
        let text = output(status.args(["admin", "status", "--json", "--data"]).arg(&self.data))?;
        let status: Value = serde_json::from_str(&text)?;
        let nodes = status["nodes"].as_array().context("the status names no nodes")?;
        Ok(nodes.iter().filter_map(|node| node["syncs"].as_u64()).collect())
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
