//! `cargo xtask swift`: starts `tests/swift/run.py`, which drives Swift's real clients against real processes.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::cargo::{build_halo, root, step};
use crate::cases;

/// Which sizes and cases.
#[derive(Args)]
pub struct SwiftArgs {
    /// 5,000 files and 3 GiB, instead of what every change is tested with.
    #[arg(long)]
    full: bool,
    /// Only these cases: main_job, keystone, matrix, backups, sync.
    #[arg(long)]
    only: Vec<String>,
    /// Run Swift's own functional tests of this checkout of openstack/swift, and compare with the expected list.
    #[arg(long, requires = "suite_python", conflicts_with_all = ["full", "only"])]
    suite: Option<PathBuf>,
    /// A Python that has the suite's requirements and pytest.
    #[arg(long)]
    suite_python: Option<PathBuf>,
}

impl SwiftArgs {
    /// What every change is tested with.
    pub fn small() -> Self {
        Self {
            full: false,
            only: Vec::new(),
            suite: None,
            suite_python: None,
        }
    }
}

/// Builds the executable and runs the tests against it.
///
/// # Errors
/// When a case fails.
pub fn run(args: &SwiftArgs) -> anyhow::Result<()> {
    if let (Some(suite), Some(python)) = (&args.suite, &args.suite_python) {
        let mut command = Command::new("sh");
        command.arg(root().join("tests/conformance/run_swift_functional.sh"));
        command.arg(build_halo()?).arg(suite).arg(python);
        return step("Swift's functional tests", command.current_dir(root()));
    }
    cases::run("swift", &args.only, |command| {
        if args.full {
            command.arg("--full");
        }
    })
}
