//! The runners of tests with real processes: each is a `tests/NAME/run.py` that takes the executable and a selection.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{build_halo, root, step};

/// Builds the executable and runs `tests/{name}/run.py` against it, with only the cases named, if any.
///
/// # Errors
/// When the build or a case fails.
pub fn run(name: &str, only: &[String], more: impl FnOnce(&mut Command)) -> anyhow::Result<()> {
    let halo = build_halo()?;
    let mut command = Command::new(python());
    command.arg(root().join("tests").join(name).join("run.py"));
    command.arg("--halo").arg(halo);
    for case in only {
        command.arg("--only").arg(case);
    }
    more(&mut command);
    if let Some(folder) = clients() {
        // The clients installed for the tests come first, so that an old one of the system does not hide them.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", folder.display()));
    }
    step(name, command.current_dir(root()))
}

/// The Python that has the clients' libraries: the environment that `./dev test` makes, or else the system's.
fn python() -> PathBuf {
    clients().map_or_else(|| PathBuf::from("python3"), |folder| folder.join("python3"))
}

/// The folder of the clients that were installed for the tests.
fn clients() -> Option<PathBuf> {
    let made = std::env::var_os("HALO_TEST_VENV").map(PathBuf::from);
    let usual = || Some(Path::new(&std::env::var_os("HOME")?).join(".cache/halo/venv"));
    made.or_else(usual)
        .map(|venv| venv.join("bin"))
        .filter(|bin| bin.join("python3").exists())
}
