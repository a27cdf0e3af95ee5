//! `cargo xtask bench`: the measurements of docs/benchmarks.md, in one run on one machine.
//!
//! Everything is measured with `halo bench` as the one load generator: our cluster (synced writes, three copies), the
//! same with every sync delayed, and nginx serving the same sizes where it is installed. One core's MD5 and the disk's
//! own writes stand beside it, because ratios say more than numbers from an unknown machine. Profiles are taken in runs
//! of their own.

mod cluster;
mod goals;
mod nginx;
mod profile;
mod reference;
mod table;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use self::cluster::{Cluster, Shape};
use self::nginx::Nginx;
use self::reference::Reference;
use self::table::Row;
use crate::cargo::{build_halo, root};

/// Which measurements, and how long each takes.
#[derive(Args)]
pub struct BenchArgs {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds of each profile; 0 takes none.
    #[arg(long, default_value_t = 8)]
    profile_seconds: u64,
    /// Folder on the disk to measure; a temporary one is made inside.
    #[arg(long)]
    work: Option<PathBuf>,
    /// An executable to measure that was built before, instead of building it now.
    #[arg(long)]
    halo: Option<PathBuf>,
    /// Write the table to docs/benchmarks.md between its marks, besides printing it.
    #[arg(long)]
    write: bool,
}

/// One load: what, how large, how many connections.
struct Load {
    operation: &'static str,
    size: &'static str,
    connections: u32,
}

impl Load {
    /// Whether its costs are named.
    fn profiled(&self) -> bool {
        matches!(self.operation, "put" | "get") && matches!(self.size, "4KiB" | "64MiB")
    }
}

const LOADS: [Load; 8] = [
    Load {
        operation: "put",
        size: "4KiB",
        connections: 64,
    },
    Load {
        operation: "get",
        size: "4KiB",
        connections: 64,
    },
    Load {
        operation: "put",
        size: "1MiB",
        connections: 8,
    },
    Load {
        operation: "get",
        size: "1MiB",
        connections: 8,
    },
    Load {
        operation: "put",
        size: "64MiB",
        connections: 2,
    },
    Load {
        operation: "get",
        size: "64MiB",
        connections: 2,
    },
    Load {
        operation: "list",
        size: "4KiB",
        connections: 8,
    },
    Load {
        operation: "mixed",
        size: "4KiB",
        connections: 32,
    },
];
/// How much longer every sync takes in the run that shows how many writers share one.
const SYNC_DELAY_MS: &str = "5";

/// Measures, prints, and keeps the table when asked to.
///
/// # Errors
/// When a cluster does not start or a measurement fails.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let halo = args.halo.clone().map_or_else(build_halo, Ok)?;
    let work = args.work.clone().unwrap_or_else(std::env::temp_dir);
    let work = tempfile::Builder::new()
        .prefix("halo-bench-")
        .tempdir_in(work)
        .context("a folder to measure in")?;
    let reference = Reference::measure(&halo, work.path())?;
    let (mut rows, mut costs) = (Vec::new(), Vec::new());

    let separate = Cluster::start(&halo, &work.path().join("separate"), Shape::Separate, &[])?;
    for load in &LOADS {
        rows.push(separate.measure(goals::SEPARATE, load, args.seconds)?);
    }
    for (load, row) in LOADS.iter().zip(&rows).filter(|(load, _)| load.profiled()) {
        costs.extend(profiled(&separate, load, row, args.profile_seconds, work.path())?);
    }
    separate.stop()?;

    let all = Cluster::start(&halo, &work.path().join("all"), Shape::AllRoles, &[])?;
    for load in LOADS.iter().filter(|load| load.operation == "get") {
        rows.push(all.measure(goals::ALL_ROLES, load, args.seconds)?);
    }
    all.stop()?;

    let delayed = ["--sync-delay-ms", SYNC_DELAY_MS];
    let slow = Cluster::start(&halo, &work.path().join("slow"), Shape::Separate, &delayed)?;
    rows.push(slow.measure(goals::DELAYED, &LOADS[0], args.seconds)?);
    slow.stop()?;

    rows.extend(beside(&halo, work.path(), args.seconds)?);
    let text = [
        reference.lines(),
        &goals::render(&rows, &reference),
        &table::render(&rows),
        &format!("Where the servers' CPU time goes:\n\n{}", costs.concat()),
    ]
    .join("\n");
    std::io::stdout().write_all(text.as_bytes())?;
    if args.write {
        keep(&root().join("docs/benchmarks.md"), &text)?;
    }
    Ok(())
}

/// One line about what a load costs; `None` where nothing may be sampled.
fn profiled(cluster: &Cluster, load: &Load, row: &Row, seconds: u64, work: &Path) -> anyhow::Result<Option<String>> {
    if seconds == 0 {
        return Ok(None);
    }
    let Some(costs) = cluster.profile(load, seconds, &work.join("perf.data"))? else {
        return Ok(None);
    };
    let (whole, unit) = match (row.us_per_request, row.seconds_per_gib) {
        (Some(us), _) if load.size == "4KiB" => (us, "us"),
        (_, Some(seconds)) => (seconds, "s/GiB"),
        _ => return Ok(None),
    };
    Ok(Some(format!(
        "- {} ({whole:.2} {unit}): {}.\n",
        row.load,
        costs.line(whole, unit)
    )))
}

/// nginx with the same sizes and the same load generator.
fn beside(halo: &Path, work: &Path, seconds: u64) -> anyhow::Result<Vec<Row>> {
    let Some(nginx) = Nginx::start(&work.join("nginx"))? else {
        eprintln!("nginx is not installed: its rows are left out (apt-get install nginx-light)");
        return Ok(Vec::new());
    };
    let gets = LOADS.iter().filter(|load| load.operation == "get");
    gets.map(|load| nginx.measure(halo, load, seconds)).collect()
}

/// Replaces what stands between the two marks.
fn keep(page: &Path, text: &str) -> anyhow::Result<()> {
    const BEGIN: &str = "<!-- measured: begin -->\n";
    const END: &str = "<!-- measured: end -->\n";
    let old = std::fs::read_to_string(page).unwrap_or_else(|_| format!("# Benchmarks\n\n{BEGIN}{END}"));
    let (head, rest) = old
        .split_once(BEGIN)
        .context("docs/benchmarks.md has lost its first mark")?;
    let (_, tail) = rest
        .split_once(END)
        .context("docs/benchmarks.md has lost its last mark")?;
    std::fs::write(page, format!("{head}{BEGIN}{text}\n{END}{tail}")).context("docs/benchmarks.md")
}
