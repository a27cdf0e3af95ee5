//! `cargo xtask openstack`: starts `tests/openstack/run.py`, which drives OpenStack's own clients against real processes.

use clap::Args;

use crate::cases;

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
    cases::run("openstack", &args.only, |command| {
        if args.small {
            command.arg("--small");
        }
    })
}
