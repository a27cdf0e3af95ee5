//! `cargo xtask faults`: starts `tests/faults/run.py`, which breaks real processes under the load of real clients.

use std::path::PathBuf;

use clap::Args;

use crate::cases;

/// Which cases, and where the result goes.
#[derive(Args)]
pub struct FaultsArgs {
    /// Short times, and a selection of cases: what every change is tested with.
    #[arg(long)]
    small: bool,
    /// Only these cases.
    #[arg(long)]
    only: Vec<String>,
    /// The previous release's executable, for the cluster of mixed versions.
    #[arg(long)]
    previous: Option<PathBuf>,
    /// Write the result as Markdown to this file.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Folder that keeps the servers' logs of a failed case.
    #[arg(long)]
    logs: Option<PathBuf>,
}

impl FaultsArgs {
    /// What every change is tested with.
    pub fn small() -> Self {
        Self {
            small: true,
            only: Vec::new(),
            previous: None,
            report: None,
            logs: None,
        }
    }
}

/// Builds the executable and runs the cases against it.
///
/// # Errors
/// When a case fails.
pub fn run(args: &FaultsArgs) -> anyhow::Result<()> {
    cases::run("faults", &args.only, |command| {
        if args.small {
            command.arg("--small");
        }
        for (option, path) in [
            ("--previous", &args.previous),
            ("--report", &args.report),
            ("--logs", &args.logs),
        ] {
            if let Some(path) = path {
                command.arg(option).arg(path);
            }
        }
    })
}
