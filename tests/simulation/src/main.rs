//! Simulation of a whole cluster in one process and on one thread: real proxies' engines, nodes, shards, devices and
//! repair, over a network, disks and clocks that one seed decides (docs/simulation.md).
//!
//! Knows: everything that `store` and `storage-node` let be passed in. Must not know: what the promises are kept by.
//!
//! `simulation --seed 7` runs one seed and says in one line what came out; exit code 1 when a promise was broken.

mod client;
mod cluster;
mod dice;
mod disk;
mod ground;
mod history;
mod machine;
mod net;
mod operator;
mod os;
mod plan;
mod trace;
mod values;
mod world;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::trace::Trace;
use crate::world::World;

/// Runs one seed.
#[derive(Parser)]
struct Args {
    /// Which.
    #[arg(long)]
    seed: u64,
    /// Writes every event to this file.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Writes what the machines log to standard error, at this level (`debug`, `storage_node=trace`).
    #[arg(long)]
    log: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(filter) = &args.log {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .without_time()
            .with_writer(std::io::stderr)
            .init();
    }
    // A panic inside a task would only end the task: here it ends the run.
    let told = std::panic::take_hook();
    let seed = args.seed;
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        say(&format!("seed {seed} BROKEN panic: {panic}"));
        std::process::exit(1);
    }));
    let trace = match args.trace.as_deref().map(Trace::to_file) {
        None => Trace::default(),
        Some(Ok(trace)) => trace,
        Some(Err(error)) => {
            say(&format!("the trace cannot be written: {error}"));
            return ExitCode::FAILURE;
        }
    };
    // A thread of its own, so that its hash keys and what follows are drawn after the randomness was seeded.
    let run = std::thread::spawn(move || {
        os::seed_randomness(seed);
        World::new(seed, trace).run()
    });
    let Ok(outcome) = run.join() else {
        return ExitCode::FAILURE;
    };
    let world::Outcome {
        digest,
        events,
        operations,
        answered,
        undecided,
        simulated_ms,
        broken,
    } = outcome;
    let verdict = if broken.is_empty() { "ok" } else { "BROKEN" };
    let mut line = format!(
        "seed {seed} {verdict} digest={digest:016x} events={events} operations={operations} answered={answered} \
         undecided={undecided} simulated_ms={simulated_ms}"
    );
    for promise in &broken {
        line.push_str("\n  ");
        line.push_str(promise);
    }
    say(&line);
    // Tasks of processes that still run are not asked to end.
    std::process::exit(i32::from(!broken.is_empty()));
}

fn say(line: &str) {
    // Nobody reads: nothing to do about it.
    let _ = writeln!(std::io::stdout(), "{line}");
}
