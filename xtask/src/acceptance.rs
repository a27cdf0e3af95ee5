//! `cargo xtask acceptance`: starts `tests/acceptance/run.py`, which drives real clients against real processes.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::cargo::{build_halo, root, step};

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
    let halo = build_halo()?;
    let mut command = Command::new(python());
    command
        .arg(root().join("tests/acceptance/run.py"))
        .arg("--halo")
        .arg(halo);
    command.arg(if args.full { "--full" } else { "--small" });
    if args.full && args.only.is_empty() {
        command.arg("--report").arg(root().join("docs/acceptance.md"));
    }
    for case in &args.only {
        command.arg("--only").arg(case);
    }
    if let Some(logs) = &args.logs {
        command.arg("--logs").arg(logs);
    }
    if let Some(folder) = clients() {
        // The clients installed for the tests come first, so that an old one of the system does not hide them.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", folder.display()));
    }
    step("acceptance", command.current_dir(root()))
}

/// The Python that has the clients' libraries: the environment that `./dev test` makes, or else the system's.
pub fn python() -> PathBuf {
    clients().map_or_else(|| PathBuf::from("python3"), |folder| folder.join("python3"))
}

/// The folder of the clients that were installed for the tests.
pub fn clients() -> Option<PathBuf> {
    let made = std::env::var_os("HALO_TEST_VENV").map(PathBuf::from);
    let usual = || Some(Path::new(&std::env::var_os("HOME")?).join(".cache/halo/venv"));
    made.or_else(usual)
        .map(|venv| venv.join("bin"))
        .filter(|bin| bin.join("python3").exists())
}
