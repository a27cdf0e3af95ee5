//! The one executable: servers, and the commands around them.
//!
//! Knows: configuration, processes, wiring. Must not know: rules; those live in the libraries. Exit codes: 0 done,
//! 1 failed (a sentence on standard error says why), 2 wrong usage.

#![allow(
    unreachable_pub,
    reason = "an executable has no outside; `pub` marks what other modules use"
)]

mod admin;
mod admin_api;
mod bench;
mod client;
mod config;
mod doctor;
mod join;
mod logging;
mod node_metrics;
mod operator;
mod process_metrics;
mod readiness;
mod ring_live;
mod secret;
mod serve;
mod sigv4;
mod terminal;
mod up;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use clock::{SystemClock, WallClock};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An object storage cluster that speaks S3.
#[derive(Parser, Debug)]
#[command(name = "halo", version, about)]
struct Halo {
    #[command(subcommand)]
    command: HaloCommand,
}

#[derive(Subcommand, Debug)]
enum HaloCommand {
    Up(up::UpArgs),
    Down(up::DownArgs),
    Server(serve::ServerArgs),
    Admin(admin::AdminArgs),
    /// Build and rebalance rings, the same as `ring-builder`; and `apply`, `status`, `pause`, `resume`, `throttle`, `abort`
    /// on a running cluster.
    Ring(ring::command::Args),
    Bench(Box<bench::BenchArgs>),
    Doctor(doctor::DoctorArgs),
}

fn main() -> ExitCode {
    let line: Vec<OsString> = std::env::args_os().collect();
    let done = match ring_live::parse(&line) {
        Some(args) => live_ring(args),
        None => run(Halo::parse_from(line).command),
    };
    done.unwrap_or_else(|error| {
        terminal::note(format!("halo: {}", sentence(&error)));
        ExitCode::FAILURE
    })
}

fn run(command: HaloCommand) -> anyhow::Result<ExitCode> {
    let good = match command {
        HaloCommand::Up(args) => small_runtime()?.block_on(up::up(args)).map(|()| true)?,
        HaloCommand::Down(args) => small_runtime()?.block_on(up::down(args)).map(|()| true)?,
        HaloCommand::Server(args) => serve::run(&args).map(|()| true)?,
        HaloCommand::Admin(args) => small_runtime()?.block_on(admin::run(args))?,
        HaloCommand::Ring(args) => return Ok(ring(&args)),
        HaloCommand::Bench(args) => bench::run(&args).map(|()| true)?,
        HaloCommand::Doctor(args) => doctor::run(&args)?,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn live_ring(args: ring_live::RingLiveArgs) -> anyhow::Result<ExitCode> {
    small_runtime()?.block_on(ring_live::run(args))?;
    Ok(ExitCode::SUCCESS)
}

fn ring(args: &ring::command::Args) -> ExitCode {
    let mut console = ring::command::Console {
        out: &mut std::io::stdout().lock(),
        complaints: &mut std::io::stderr().lock(),
        answers: &mut std::io::stdin().lock(),
    };
    ring::command::run(args, SystemClock.now_ms(), &mut console)
}

/// For commands that only wait for others.
fn small_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// An error and its causes in one line; causes that repeat what was said are left out.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_well_formed() {
        Halo::command().debug_assert();
    }

    #[test]
    fn a_cause_that_repeats_its_effect_is_said_once() {
        let error = anyhow::anyhow!("port 9000 is taken")
            .context("cannot start: port 9000 is taken")
            .context("halo up");
        assert_eq!(sentence(&error), "halo up: cannot start: port 9000 is taken");
    }
}
