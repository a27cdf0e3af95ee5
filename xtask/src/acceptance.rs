//! `cargo xtask acceptance`: starts `tests/acceptance/run.py`, which drives real clients against real processes.

use std::path::PathBuf;

use clap::Args;

use crate::cargo::root;
use crate::cases;

/// Which sizes, and where the result goes.
#[derive(Args)]
pub struct AcceptanceArgs {
    /// The sizes that every change is tested with (the default).
    #[arg(long, conflicts_with = "full")]
    small: bool,
    /// The sizes of docs/acceptance.md, which this rewrites.
    #[arg(long)]
    full: bool,
    /// Only these cases.
    #[arg(long)]
    only: Vec<String>,
    /// Folder that keeps the servers' logs of a failed case.
    #[arg(long)]
    logs: Option<PathBuf>,
}

impl AcceptanceArgs {
    /// The sizes that every change is tested with.
    pub fn small() -> Self {
        Self {
            small: true,
            full: false,
            only: Vec::new(),
            logs: None,
        }
    }
}

/// Builds the executable and runs the tests against it.
///
/// # Errors
/// When a case fails.
pub fn run(args: &AcceptanceArgs) -> anyhow::Result<()> {
    cases::run("acceptance", &args.only, |command| {
        command.arg(if args.full { "--full" } else { "--small" });
        if args.full && args.only.is_empty() {
            command.arg("--report").arg(root().join("docs/acceptance.md"));
        }
        if let Some(logs) = &args.logs {
            command.arg("--logs").arg(logs);
        }
    })
}
