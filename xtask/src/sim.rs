//! `cargo xtask sim`: builds the simulation and runs many seeds of it, each in a process of its own (docs/simulation.md).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use clock::{SystemClock, WallClock};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cargo::build;

/// Seeds run when no number is given.
const FIXED: u64 = 200;
/// New seeds with every change.
const FRESH: u64 = 20;
/// Failures shown in full; more are counted.
const SHOWN_MAX: usize = 5;

/// Which seeds.
#[derive(Args)]
pub struct SimArgs {
    /// How many.
    #[arg(long, default_value_t = FIXED)]
    seeds: u64,
    /// The first.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Only this one, and what came out of it.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// With `--seed`: every event goes to this file.
    #[arg(long, requires = "seed", default_missing_value = "sim-trace.txt", num_args = 0..=1)]
    trace: Option<PathBuf>,
    /// With `--seed`: what the machines log, at this level.
    #[arg(long, requires = "seed")]
    log: Option<String>,
    /// Seeds run at the same time; as many as there are processors by default.
    #[arg(long)]
    jobs: Option<usize>,
}

/// Runs what was asked for.
///
/// # Errors
/// When a seed breaks a promise.
pub fn run(args: &SimArgs) -> anyhow::Result<()> {
    let program = build("simulation")?;
    if let Some(seed) = args.seed {
        return one(&program, seed, args);
    }
    many(&program, (args.from..args.from + args.seeds).collect(), args.jobs)
}

/// What every change is tested with: the fixed seeds, and some that nobody has run before.
///
/// # Errors
/// When a seed breaks a promise.
pub fn verify() -> anyhow::Result<()> {
    let program = build("simulation")?;
    let fresh = SystemClock.now_ms();
    many(&program, (1..=FIXED).chain(fresh..fresh + FRESH).collect(), None)
}

fn one(program: &Path, seed: u64, args: &SimArgs) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(["--seed", &seed.to_string()]);
    if let Some(trace) = &args.trace {
        command.arg("--trace").arg(trace);
    }
    if let Some(log) = &args.log {
        command.args(["--log", log]);
    }
    let status = command.status().with_context(|| format!("cannot run {program:?}"))?;
    if let Some(trace) = &args.trace {
        eprintln!("every event is in {}", trace.display());
    }
    if !status.success() {
        bail!("seed {seed} broke a promise");
    }
    Ok(())
}

fn many(program: &Path, seeds: Vec<u64>, jobs: Option<usize>) -> anyhow::Result<()> {
    let jobs = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left  {msg}")?;
    let bar = ProgressBar::new(seeds.len() as u64).with_style(style);
    let (next, failed, begun) = (AtomicU64::new(0), Mutex::new(Vec::new()), Instant::now());
    let work = || {
        while let Some(seed) = seeds.get(usize::try_from(next.fetch_add(1, Ordering::SeqCst)).unwrap_or(usize::MAX)) {
            let said = Command::new(program).args(["--seed", &seed.to_string()]).output();
            if let Some(failure) = failure(*seed, said) {
                let mut failed = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                failed.push((*seed, failure));
                bar.set_message(format!("{} failed", failed.len()));
            }
            bar.inc(1);
        }
    };
    std::thread::scope(|scope| {
        (0..jobs).for_each(|_| drop(scope.spawn(work)));
    });
    bar.finish_and_clear();
    let mut failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failed.sort();
    for (seed, failure) in failed.iter().take(SHOWN_MAX) {
        eprintln!("{failure}\n  again, with every event: cargo xtask sim --seed {seed} --trace\n");
    }
    eprintln!(
        "== simulation: {} seeds in {:.0} s, {} failed",
        seeds.len(),
        begun.elapsed().as_secs_f64(),
        failed.len()
    );
    if failed.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = failed.iter().map(|(seed, _)| seed.to_string()).collect();
    bail!("promises were broken by seeds {}", all.join(", "))
}

/// What a seed said, unless all is well.
fn failure(seed: u64, said: std::io::Result<Output>) -> Option<String> {
    match said {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let (out, err) = (
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr),
            );
            Some(format!("{}{}", out.trim_end(), err.trim_end()))
        }
        Err(error) => Some(format!("seed {seed} did not run: {error}")),
    }
}
