//! `cargo xtask verify`: everything that must hold before a change is taken. Quick checks come first.

use clap::Args;

use crate::acceptance::{self, AcceptanceArgs};
use crate::cargo::{cargo, has, step};
use crate::faults::{self, FaultsArgs};
use crate::openstack::{self, OpenstackArgs};
use crate::sim;
use crate::swift::{self, SwiftArgs};
use crate::tidy;

/// What may be left out.
#[derive(Args)]
pub struct VerifyArgs {
    /// Leave out the acceptance tests with real clients.
    #[arg(long)]
    no_acceptance: bool,
}

/// Runs all checks; stops at the first that fails.
///
/// # Errors
/// Which check failed.
pub fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    step("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run()?;
    let clippy = [
        "clippy",
        "--release",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    step("clippy", &mut cargo(&clippy))?;
    if has("cargo-deny", "--version") {
        let policy = ["deny", "--offline", "check", "bans", "licenses", "sources"];
        step("dependencies", &mut cargo(&policy))?;
    }
    tests()?;
    sim::verify()?;
    if !args.no_acceptance {
        acceptance::run(&AcceptanceArgs::small())?;
        openstack::run(&OpenstackArgs::small())?;
        swift::run(&SwiftArgs::small())?;
        faults::run(&FaultsArgs::small())?;
    }
    eprintln!("== all checks passed");
    Ok(())
}

/// All tests of all crates; nextest runs each in a process of its own and says which is slow.
fn tests() -> anyhow::Result<()> {
    if has("cargo-nextest", "--version") {
        step(
            "tests",
            &mut cargo(&["nextest", "run", "--release", "--locked", "--workspace"]),
        )?;
    } else {
        let all = [
            "test",
            "--release",
            "--locked",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
        ];
        step("tests", &mut cargo(&all))?;
    }
    step(
        "examples in documentation",
        &mut cargo(&["test", "--release", "--locked", "--workspace", "--doc", "-q"]),
    )
}
