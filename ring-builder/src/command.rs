//! The operator's commands, the same for `ring-builder` and `halo ring`, in the order and with the names that users of
//! OpenStack Swift's tool know: `ring-builder FILE COMMAND ...`.
//!
//! Knows: the command line, builder files and ring files on disk. A command reads the builder file, changes it under a
//! lock, and puts the new one in its place in one step, so that a crash leaves the old file or the new one.
//!
//! Exit codes are Swift's: 0 done, 1 done or left undone with a warning, 2 refused (also wrong usage); nothing has
//! changed then.

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::builder::Builder;
use crate::error::RingError;
use crate::ring::Ring;

mod add;
mod analyze;
mod change;
mod file;
mod info;
mod inspect;
mod print;
mod rebalance;
mod search;

pub use add::AddArgs;
pub use analyze::AnalyzeArgs;
pub use change::{SetArgs, Which};
pub use info::InfoArgs;
pub use inspect::DispersionArgs;
pub use rebalance::RebalanceArgs;
pub use search::Filter;

const MS_PER_HOUR: u64 = 3_600_000;

const EXAMPLES: &str = "\
Examples (a first ring for three nodes, then a fourth node):
  ring-builder blobs.builder create 12 3 1
  ring-builder blobs.builder add r1z1-10.0.0.1:7000/d0 100 r1z2-10.0.0.2:7000/d0 100 r1z3-10.0.0.3:7000/d0 100
  ring-builder blobs.builder rebalance
  ring-builder blobs.builder

  ring-builder blobs.builder add --zone 1 --node 4 --address 10.0.0.4:7000 --name d0 --weight 100
  ring-builder blobs.builder rebalance --dry-run
  ring-builder blobs.builder rebalance
  ring-builder blobs.builder dispersion -v --json

A device that failed:      ring-builder blobs.builder remove d2
A device to be emptied:    ring-builder blobs.builder set_weight d2 0
Each is followed by `rebalance`, which writes blobs.ring.gz beside the builder, and keeps both in backups/.

A search value names devices: d<id>r<region>z<zone>-<ip>:<port>R<replication ip>:<port>/<name>_<remark>, in which every
part may be left out: d3, r1z2, z1-10.0.0.1, :7000, /d0, _remark.";

/// Arguments of `ring-builder` and of `halo ring`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The builder file: devices, and the table of the last rebalance (of `analyze`: the scenario file)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What to do with it; without a command, devices and what they hold are shown
    #[command(subcommand)]
    pub action: Option<Action>,
    /// Print JSON instead of text and tables
    #[arg(long, global = true)]
    pub json: bool,
}

/// One command.
#[derive(Clone, Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub enum Action {
    /// Make a new builder file: `create PART_POWER REPLICAS MIN_PART_HOURS`
    Create(inspect::CreateArgs),
    /// Add devices; takes effect with the next `rebalance`
    Add(AddArgs),
    /// Remove failed devices: all they held is placed anew by the next `rebalance`, at once
    Remove(Which),
    /// Change devices' share of the data; 0 drains them
    #[command(alias = "set-weight")]
    SetWeight(SetArgs),
    /// Say that nodes stand in another region
    #[command(alias = "set-region")]
    SetRegion(SetArgs),
    /// Say that nodes stand in another zone
    #[command(alias = "set-zone")]
    SetZone(SetArgs),
    /// Change addresses, names and remarks; moves nothing
    #[command(alias = "set-info")]
    SetInfo(InfoArgs),
    /// Change a node's address, for all its devices; moves nothing
    #[command(alias = "set-address")]
    SetAddress {
        /// Number of the node
        node: u64,
        /// Where it listens now, as host:port
        address: String,
    },
    /// Change for how many hours a partition rests after a move
    #[command(alias = "set-min-part-hours")]
    SetMinPartHours {
        /// Longer than it takes to move all copies of one rebalance
        hours: u32,
    },
    /// Change by how much devices may exceed their share so that copies stand wider apart: 0.1 or 10%
    #[command(alias = "set-overload")]
    SetOverload {
        /// 0.1 or 10%
        overload: String,
    },
    /// Change the number of copies; with 2.5 one half of the partitions has three and the other two
    #[command(alias = "set-replicas")]
    SetReplicas {
        /// 1 or more, also a fraction
        #[arg(allow_negative_numbers = true)]
        replicas: f64,
    },
    /// Place all partitions as the devices ask for, moving at most one copy of each
    Rebalance(RebalanceArgs),
    /// Forget when partitions moved: only when all copies of the last move are in place
    #[command(alias = "pretend-min-part-hours-passed")]
    PretendMinPartHoursPassed,
    /// Say how far copies of one partition stand from each other
    Dispersion(DispersionArgs),
    /// Say whether the ring is sound, every device holds its share, and copies are spread
    Validate,
    /// List the devices that match
    Search(Which),
    /// List the partitions on the devices that match
    #[command(alias = "list-parts")]
    ListParts(Which),
    /// List devices and what they hold; the same as no command
    Show,
    /// Play a scenario file through, and measure every rebalance
    Analyze(AnalyzeArgs),
    /// Write the ring of the last rebalance: beside the builder as <name>.ring.gz, or where told
    #[command(alias = "write-ring")]
    WriteRing {
        /// The ring file; in Swift's format when its name ends in .gz, else in our own
        #[arg(value_name = "RING")]
        ring: Option<PathBuf>,
    },
    /// Make a builder file anew from a ring file, when all copies of it were lost
    #[command(alias = "write-builder")]
    WriteBuilder {
        /// Hours for which a partition rests after a move; the ring does not tell
        #[arg(default_value_t = 24)]
        min_part_hours: u32,
    },
}

/// Where a command reads and writes.
pub struct Console<'a> {
    /// Answers.
    pub out: &'a mut dyn Write,
    /// Complaints.
    pub complaints: &'a mut dyn Write,
    /// What the operator says to questions.
    pub answers: &'a mut dyn BufRead,
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The builder says no.
    #[error("{0}")]
    Ring(#[from] RingError),
    /// A file is not what it should be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file at hand.
        path: PathBuf,
        /// What is wrong, and what to do.
        #[source]
        reason: RingError,
    },
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A search found nothing.
    #[error("no device matches: `ring-builder FILE` lists those that exist")]
    NoMatch,
    /// The operator was asked and did not agree.
    #[error("nothing was changed")]
    NotAgreed,
    /// The file is there and would be overwritten.
    #[error("{} exists already: choose another name, or remove it first", .0.display())]
    Exists(PathBuf),
    /// Another command holds the lock.
    #[error("another command is working on {}: wait until it is done", .0.display())]
    Busy(PathBuf),
    /// The disk says no.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// `read`, `write` or `lock`.
        doing: &'static str,
        /// The file at hand.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// `validate` found a ring that must not be used; it has printed why.
    #[error("{} has {count} problem(s), see above", path.display())]
    Problems {
        /// The builder file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The answer could not be printed.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

impl CommandError {
    fn usage(sentence: &str) -> Self {
        Self::Usage(sentence.to_owned())
    }
}

/// How a command ended that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Good,
    /// Done or left undone, and there is something to look at.
    Warning,
}

impl Outcome {
    fn warn_if(warning: bool) -> Self {
        if warning { Self::Warning } else { Self::Good }
    }
}

/// Parses `words`, the first of which is the program's name, and runs the command. `now_ms` counts from the Unix epoch.
pub fn main(words: impl IntoIterator<Item = OsString>, now_ms: u64, console: &mut Console<'_>) -> ExitCode {
    /// Makes rings: which devices hold which partition
    #[derive(Parser)]
    #[command(name = "ring-builder", version)]
    struct Tool {
        #[command(flatten)]
        args: Args,
    }
    match Tool::try_parse_from(words) {
        Ok(tool) => run(&tool.args, now_ms, console),
        Err(error) => {
            let text = error.render();
            let to = if error.use_stderr() {
                &mut *console.complaints
            } else {
                &mut *console.out
            };
            // Where nothing can be written, the exit code has to do.
            let _ = write!(to, "{text}");
            ExitCode::from(if error.use_stderr() { 2 } else { 0 })
        }
    }
}

/// Runs one command, answers and complains on `console`.
pub fn run(args: &Args, now_ms: u64, console: &mut Console<'_>) -> ExitCode {
    match execute(args, now_ms, console) {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Warning) => ExitCode::from(1),
        Err(error) => {
            // Where complaints cannot be written either, the exit code has to do.
            let _ = writeln!(console.complaints, "error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs one command and answers on `console`.
///
/// # Errors
/// Any [`CommandError`]; the files are then as they were.
pub fn execute(args: &Args, now_ms: u64, console: &mut Console<'_>) -> Result<Outcome, CommandError> {
    let (path, json) = (args.file.as_path(), args.json);
    let Some(action) = &args.action else {
        return inspect::show(path, now_ms, json, console);
    };
    match action {
        Action::Create(create) => inspect::create(path, create, now_ms, json, console),
        Action::Show => inspect::show(path, now_ms, json, console),
        Action::Validate => inspect::validate(path, json, console),
        Action::Dispersion(args) => inspect::dispersion(path, args, json, console),
        Action::Search(which) => inspect::search(path, which, json, console),
        Action::ListParts(which) => inspect::list_parts(path, which, json, console),
        Action::Analyze(args) => analyze::run(path, args, json, console).map(|()| Outcome::Good),
        Action::WriteRing { ring } => write_ring(path, ring.as_deref(), now_ms, json, console),
        Action::WriteBuilder { min_part_hours } => write_builder(path, *min_part_hours, json, console),
        Action::Rebalance(args) => {
            let _lock = file::lock(path)?;
            let mut builder = file::read(path)?;
            rebalance::run(path, &mut builder, args, now_ms, json, console)
        }
        change => {
            let _lock = file::lock(path)?;
            let mut builder = file::read(path)?;
            let answer = apply(&mut builder, change, console)?;
            file::replace(path, &builder.to_bytes())?;
            print::answer(console.out, json, &answer)?;
            Ok(Outcome::warn_if(answer.warning))
        }
    }
}

fn apply(builder: &mut Builder, action: &Action, console: &mut Console<'_>) -> Result<change::Answer, CommandError> {
    match action {
        Action::Add(args) => add::add(builder, args),
        Action::Remove(which) => change::remove(builder, which, console),
        Action::SetWeight(args) => change::set_weight(builder, args, console),
        Action::SetRegion(args) => change::set_region(builder, args, console),
        Action::SetZone(args) => change::set_zone(builder, args, console),
        Action::SetInfo(args) => info::set_info(builder, args, console),
        Action::SetAddress { node, address } => change::set_address(builder, *node, address),
        Action::SetMinPartHours { hours } => Ok(change::set_min_part_hours(builder, *hours)),
        Action::SetOverload { overload } => change::set_overload(builder, overload),
        Action::SetReplicas { replicas } => change::set_replicas(builder, *replicas),
        Action::PretendMinPartHoursPassed => Ok(change::pretend(builder)),
        _ => unreachable!("the others are handled before, as they do not change a builder only"),
    }
}

fn write_ring(
    path: &Path,
    ring_path: Option<&Path>,
    now_ms: u64,
    json: bool,
    console: &mut Console<'_>,
) -> Result<Outcome, CommandError> {
    let said = |reason| CommandError::File {
        path: path.to_owned(),
        reason,
    };
    let ring = file::read(path)?.ring().map_err(said)?;
    let beside = rebalance::ring_path(path);
    let to = ring_path.unwrap_or(&beside);
    let bytes = if to.extension().is_some_and(|ending| ending == "gz") {
        ring.to_swift()?
    } else {
        ring.to_bytes()
    };
    if ring_path.is_none() {
        file::back_up(to, &bytes, now_ms)?;
    }
    file::replace(to, &bytes)?;
    let text = format!(
        "wrote {} (version {}, {} bytes)",
        to.display(),
        ring.version(),
        bytes.len()
    );
    print::done(console.out, json, &text)?;
    Ok(Outcome::Good)
}

/// `path` is the ring; the builder is written beside it.
fn write_builder(
    path: &Path,
    min_part_hours: u32,
    json: bool,
    console: &mut Console<'_>,
) -> Result<Outcome, CommandError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name
        .strip_suffix(".ring.gz")
        .or_else(|| name.strip_suffix(".ring"))
        .unwrap_or(&name);
    let to = path.with_file_name(format!("{stem}.builder"));
    let said = |reason| CommandError::File {
        path: path.to_owned(),
        reason,
    };
    let ring = Ring::from_bytes(&file::read_bytes(path, file::MAX_FILE_BYTES)?).map_err(said)?;
    let _lock = file::lock(&to)?;
    if to.exists() {
        return Err(CommandError::Exists(to));
    }
    file::replace(&to, &Builder::from_ring(&ring, min_part_hours).to_bytes())?;
    let text = format!(
        "wrote {}: ids of devices removed earlier and hours of moves are not known",
        to.display()
    );
    print::done(console.out, json, &text)?;
    Ok(Outcome::Good)
}

fn hours(now_ms: u64) -> u32 {
    u32::try_from(now_ms / MS_PER_HOUR).unwrap_or(u32::MAX)
}

/// The file beside `path` whose name has `ending` added.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests;
