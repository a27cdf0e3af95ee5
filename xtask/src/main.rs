//! The project's tasks, one word each: `cargo xtask verify`, `fix`, `up`, `tidy`, `acceptance`, `openstack`, `operations`, `s3-tests`, `swift`, `sim`, `bench`.
//!
//! Knows: the tree, cargo, and the programs the tests need. Must not know: what Halo does.

#![allow(
    unreachable_pub,
    reason = "an executable has no outside; `pub` marks what other modules use"
)]

mod acceptance;
mod bench;
mod cargo;
mod cases;
mod faults;
mod openstack;
mod operations;
mod s3_tests;
mod sim;
mod swift;
mod tidy;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use {num_traits as _, regex_syntax as _};

/// The project's tasks.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check everything; writes nothing to the tree. What CI runs.
    Verify(verify::VerifyArgs),
    /// Format the tree and apply what clippy can mend by itself.
    Fix,
    /// Build, and start a cluster on this machine: `cargo xtask up -- --nodes 1`.
    Up {
        /// Options of `halo up`.
        #[arg(last = true)]
        options: Vec<String>,
    },
    /// Check the house rules: sizes of files, names, first paragraphs, directions of dependencies.
    Tidy,
    /// Real clients against real processes.
    Acceptance(acceptance::AcceptanceArgs),
    /// Killed, paused and cut processes, spoiled disks and stores, under the load of real clients.
    Faults(faults::FaultsArgs),
    /// OpenStack's own clients against real processes.
    Openstack(openstack::OpenstackArgs),
    /// Every command block of docs/operations.md, against a real cluster.
    Operations,
    /// The public tests ceph/s3-tests against a real cluster.
    S3Tests(s3_tests::S3TestsArgs),
    /// Swift's real clients against real processes; or Swift's own functional tests.
    Swift(swift::SwiftArgs),
    /// The whole cluster simulated, seed by seed.
    Sim(sim::SimArgs),
    /// The measurements of docs/benchmarks.md.
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let done = match Xtask::parse().task {
        Task::Verify(args) => verify::run(&args),
        Task::Fix => cargo::fix(),
        Task::Up { options } => cargo::up(&options),
        Task::Tidy => tidy::run(),
        Task::Acceptance(args) => acceptance::run(&args),
        Task::Faults(args) => faults::run(&args),
        Task::Openstack(args) => openstack::run(&args),
        Task::Operations => operations::run(),
        Task::S3Tests(args) => s3_tests::run(&args),
        Task::Swift(args) => swift::run(&args),
        Task::Sim(args) => sim::run(&args),
        Task::Bench(args) => bench::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
