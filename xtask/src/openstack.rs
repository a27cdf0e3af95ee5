//! `cargo xtask openstack`: starts `tests/openstack/run.py`, which drives OpenStack's own clients against real processes.

use std::process::Command;

use clap::Args;

use crate::acceptance::{clients, python};
use crate::cargo::{build_halo, root, step};

/// Which cases.
#[derive(Args)]
pub struct OpenstackArgs {
    /// The cases that every change is tested with.
    #[arg(long)]
    small: bool,
    /// Only these cases: clients, keys, holes, `bad_input`, judging, logins.
    #[arg(long)]
    only: Vec<String>,
}

impl OpenstackArgs {
    /// What every change is tested with.
    pub fn small() -> Self {
        Self {
            small: true,
            only: Vec::new(),
        }
    }
}

/// Builds the executable and runs the cases against it.
///
/// # Errors
/// When a case fails.
pub fn run(args: &OpenstackArgs) -> anyhow::Result<()> {
    let halo = build_halo()?;
    let mut command = Command::new(python());
    command
        .arg(root().join("tests/openstack/run.py"))
        .arg("--halo")
        .arg(halo);
    if args.small {
        command.arg("--small");
    }
    for case in &args.only {
        command.arg("--only").arg(case);
    }
    if let Some(folder) = clients() {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", folder.display()));
    }
    step("openstack", command.current_dir(root()))
}
