//! The one executable: servers, and the commands around them.
//!
//! Knows: configuration, processes, wiring. Must not know: rules; those live in the libraries. Exit codes: 0 done,
//! 1 failed (a sentence on standard error says why), 2 wrong usage.

#![allow(
    unreachable_pub,
    reason = "an executable has no outside; `pub` marks what other modules use"
)]

mod admin;
mod bench;
mod client;
mod config;
mod doctor;
mod logging;
mod secret;
mod sigv4;
mod terminal;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    Bench(Box<bench::BenchArgs>),
    Doctor(doctor::DoctorArgs),
}

fn main() -> ExitCode {
    match run(Halo::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            terminal::note(format!("halo: {}", sentence(&error)));
            ExitCode::FAILURE
        }
    }
}

fn run(command: HaloCommand) -> anyhow::Result<bool> {
    match command {
        HaloCommand::Up(args) => small_runtime()?.block_on(up::up(args)).map(|()| true),
        HaloCommand::Down(args) => small_runtime()?.block_on(up::down(args)).map(|()| true),
        HaloCommand::Bench(args) => bench::run(&args).map(|()| true),
        HaloCommand::Doctor(args) => doctor::run(&args),
    }
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
