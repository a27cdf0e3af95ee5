//! The operator's tool for rings. All it does is in [`ring::command`], which `halo ring` shares.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use clock::WallClock;

/// Makes rings: which devices hold which partition
#[derive(Parser)]
#[command(name = "ring-builder", version)]
struct Tool {
    #[command(flatten)]
    args: ring::command::Args,
}

const MS_PER_HOUR: u64 = 3_600_000;

fn main() -> ExitCode {
    let tool = Tool::parse();
    let now_hours = u32::try_from(clock::SystemClock.now_ms() / MS_PER_HOUR).unwrap_or(u32::MAX);
    ring::command::run(
        &tool.args,
        now_hours,
        &mut io::stdout().lock(),
        &mut io::stderr().lock(),
    )
}
