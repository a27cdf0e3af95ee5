//! `cargo xtask operations`: starts `tests/operations/run.py`, which runs every command block of `docs/operations.md`.

use std::process::Command;

use crate::acceptance::python;
use crate::cargo::{build_halo, root, step};

/// Builds the executable and runs the page.
///
/// # Errors
/// When a block fails, or prints something else than the page shows.
pub fn run() -> anyhow::Result<()> {
    let halo = build_halo()?;
    let mut command = Command::new(python());
    command
        .arg(root().join("tests/operations/run.py"))
        .arg("--halo")
        .arg(halo);
    step("operations", command.current_dir(root()))
}
