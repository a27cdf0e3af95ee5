//! `cargo xtask operations`: starts `tests/operations/run.py`, which runs every command block of `docs/operations.md`.

use crate::cases;

/// Builds the executable and runs the page.
///
/// # Errors
/// When a block fails, or prints something else than the page shows.
pub fn run() -> anyhow::Result<()> {
    cases::run("operations", &[], |_| ())
}
