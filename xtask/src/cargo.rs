//! Runs cargo and other programs in the tree; always in the release profile, so that RocksDB is compiled once.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};

/// The top of the tree.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask is a folder of the tree").to_owned()
}

/// A cargo command at the top of the tree.
pub fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).current_dir(root());
    command
}

/// Runs a step, says how long it took, and fails when it does.
pub fn step(name: &str, command: &mut Command) -> anyhow::Result<()> {
    eprintln!("== {name}");
    let begun = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    eprintln!("== {name}: {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a program and returns what it printed.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let done = command.stderr(Stdio::inherit()).output();
    let done = done.with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !done.status.success() {
        bail!("{:?} failed ({})", command.get_program(), done.status);
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Whether a program can be started.
pub fn has(program: impl AsRef<OsStr>, word: &str) -> bool {
    let quiet = Command::new(program)
        .arg(word)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    quiet.is_ok_and(|status| status.success())
}

/// Builds the executable and says where it lies.
pub fn build_halo() -> anyhow::Result<PathBuf> {
    build("halo")
}

/// Builds the workspace's executables and returns the path of this one. All at once, because a package built alone has
/// other features, and everything would be compiled a second time.
///
/// # Errors
/// When the build fails.
pub fn build(name: &str) -> anyhow::Result<PathBuf> {
    step("build", &mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = root().join(target).join("release").join(name);
    if !program.exists() {
        bail!("{} was not built", program.display());
    }
    Ok(program)
}

/// `cargo xtask fix`.
pub fn fix() -> anyhow::Result<()> {
    let clippy = [
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
    ];
    step("clippy --fix", &mut cargo(&clippy))?;
    step("fmt", &mut cargo(&["fmt", "--all"]))
}

/// `cargo xtask up`.
pub fn up(options: &[String]) -> anyhow::Result<()> {
    let halo = build_halo()?;
    step("up", Command::new(halo).arg("up").args(options))
}
