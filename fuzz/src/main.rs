//! `cargo run --release -p fuzz -- TARGET --seconds 60`: one target, or all, for as long as one likes.
//!
//! Knows: the command line. Must not know: the parsers.
//!
//! A finding is written to `fuzz/findings/`; what it teaches goes into `fuzz/regressions/TARGET/`, which every run and
//! every test tries first.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use fuzz::{Campaign, Finding, Target, targets};

/// Inputs between two looks at the clock.
const ROUND: u64 = 500;

#[derive(Parser)]
#[command(name = "fuzz", about = "Fuzz the parsers that face a socket or a disk")]
struct Options {
    /// Which target; all when left out.
    target: Option<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What decides chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut failed = false;
    let all = targets();
    let chosen: Vec<&Target> = all
        .iter()
        .filter(|target| options.target.as_deref().is_none_or(|name| name == target.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = all.iter().map(|target| target.name).collect();
        eprintln!("fuzz: no such target; there are: {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    for target in chosen {
        if let Err(finding) = run(target, &options) {
            failed = true;
            eprintln!(
                "fuzz: {}: {}; input kept in {}",
                target.name,
                finding.why,
                keep(target, &finding).display()
            );
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run(target: &Target, options: &Options) -> Result<(), Finding> {
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let mut campaign = Campaign::new(target, options.seed);
    campaign.seeds()?;
    fuzz::regressions(target)
        .into_iter()
        .try_for_each(|input| campaign.one(input))?;
    while Instant::now() < until {
        campaign.mutated(ROUND)?;
    }
    eprintln!(
        "fuzz: {}: {} inputs, {} outcomes, no finding",
        target.name,
        campaign.runs(),
        campaign.outcomes()
    );
    Ok(())
}

fn keep(target: &Target, finding: &Finding) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings");
    let name = blake3::hash(&finding.input).to_hex();
    let file = folder.join(format!("{}-{}", target.name, &name[..16]));
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, &finding.input));
    if let Err(cause) = written {
        eprintln!("fuzz: {}: {cause}", file.display());
    }
    file
}
