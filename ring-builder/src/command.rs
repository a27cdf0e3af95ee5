//! The operator's commands, the same for `ring-builder` and `halo ring`.
//!
//! Knows: the command line, builder files and ring files on disk. A command reads the builder file, changes it under a
//! lock, and puts the new one in its place in one step, so that a crash leaves the old file or the new one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use crate::builder::Builder;
use crate::device::{Device, DeviceId};
use crate::error::RingError;

mod file;
mod print;

const EXAMPLES: &str = "\
Examples (a first ring for three nodes, then a fourth node):
  ring-builder blobs.builder create --part-power 12 --replicas 3 --min-part-hours 1
  ring-builder blobs.builder add --zone 1 --node 1 --address 10.0.0.1:7000 --name d0 --weight 100
  ring-builder blobs.builder add --zone 2 --node 2 --address 10.0.0.2:7000 --name d0 --weight 100
  ring-builder blobs.builder add --zone 3 --node 3 --address 10.0.0.3:7000 --name d0 --weight 100
  ring-builder blobs.builder rebalance
  ring-builder blobs.builder validate
  ring-builder blobs.builder write-ring blobs.ring

  ring-builder blobs.builder add --zone 1 --node 4 --address 10.0.0.4:7000 --name d0 --weight 100
  ring-builder blobs.builder rebalance
  ring-builder blobs.builder show --json

A device that failed:      ring-builder blobs.builder remove 2
A device to be emptied:    ring-builder blobs.builder set-weight 2 0
Each is followed by `rebalance` and `write-ring`.";

/// Arguments of `ring-builder` and of `halo ring`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The builder file: devices, and the table of the last rebalance
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What to do with it
    #[command(subcommand)]
    pub action: Action,
    /// Print JSON instead of text and tables
    #[arg(long, global = true)]
    pub json: bool,
}

/// One command.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Make a new builder file
    Create {
        /// Partitions as a power of two: aim at 100 and more partitions per device of the largest cluster to come
        #[arg(long, default_value_t = 12)]
        part_power: u8,
        /// Copies of each partition
        #[arg(long, default_value_t = 3)]
        replicas: usize,
        /// Hours for which a partition rests after one of its copies was moved
        #[arg(long, default_value_t = 1)]
        min_part_hours: u32,
    },
    /// Add a device; takes effect with the next `rebalance`
    Add {
        /// Site of the node
        #[arg(long, default_value_t = 1)]
        region: u32,
        /// Room or rack of the node inside its region
        #[arg(long)]
        zone: u32,
        /// Number of the node
        #[arg(long)]
        node: u64,
        /// Where the node listens, as host:port
        #[arg(long)]
        address: String,
        /// Folder name of the device on its node
        #[arg(long)]
        name: String,
        /// Share of the data relative to the other devices, for example the capacity in GB
        #[arg(long)]
        weight: f64,
    },
    /// Remove failed devices: all they held is placed anew by the next `rebalance`, at once
    Remove {
        /// Ids of the devices, see `show`
        #[arg(required = true, value_name = "ID")]
        ids: Vec<u32>,
    },
    /// Change a device's share of the data; 0 drains it
    SetWeight {
        /// Id of the device, see `show`
        id: u32,
        /// The new weight
        #[arg(allow_negative_numbers = true)]
        weight: f64,
    },
    /// Change a node's address; moves nothing
    SetAddress {
        /// Number of the node
        node: u64,
        /// Where it listens now, as host:port
        address: String,
    },
    /// Place all partitions as the devices ask for, moving at most one copy of each
    Rebalance {
        /// Decides between equally good tables: the same builder, hour and seed give the same one
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Say whether every device holds its share and copies are spread; fails when a rebalance is due
    Validate,
    /// List devices and what they hold
    Show,
    /// Write the ring of the last rebalance to a file, for the cluster
    WriteRing {
        /// The ring file
        #[arg(value_name = "RING")]
        ring: PathBuf,
    },
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The builder or its files say no.
    #[error("{}: {reason}", path.display())]
    Ring {
        /// The file at hand.
        path: PathBuf,
        /// What is wrong, and what to do.
        #[source]
        reason: RingError,
    },
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
    /// `validate` found problems, which it has printed.
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

/// Runs one command, answers on `out`, complains on `complaints`. `now_hours` counts from the Unix epoch.
pub fn run(args: &Args, now_hours: u32, out: &mut dyn Write, complaints: &mut dyn Write) -> ExitCode {
    match execute(args, now_hours, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where complaints cannot be written either, the exit code has to do.
            let _ = writeln!(complaints, "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one command and answers on `out`.
///
/// # Errors
/// Any [`CommandError`]; the files are then as they were.
pub fn execute(args: &Args, now_hours: u32, out: &mut dyn Write) -> Result<(), CommandError> {
    let path = args.file.as_path();
    let said = |reason| CommandError::Ring {
        path: path.to_owned(),
        reason,
    };
    match &args.action {
        Action::Create {
            part_power,
            replicas,
            min_part_hours,
        } => {
            let builder = Builder::new(*part_power, *replicas, *min_part_hours).map_err(said)?;
            let _lock = file::lock(path)?;
            if path.exists() {
                return Err(CommandError::Exists(path.to_owned()));
            }
            file::replace(path, &builder.to_bytes())?;
            print::done(
                out,
                args.json,
                &format!("created {} with {} partitions", path.display(), builder.partitions()),
            )
        }
        Action::Validate => {
            let report = file::read(path)?.validate();
            print::verdict(out, args.json, &report)?;
            let count = report.problems.len();
            if count == 0 {
                Ok(())
            } else {
                Err(CommandError::Problems {
                    path: path.to_owned(),
                    count,
                })
            }
        }
        Action::Show => {
            let builder = file::read(path)?;
            print::show(out, args.json, &builder)
        }
        Action::WriteRing { ring } => {
            let bytes = file::read(path)?.ring().map_err(said)?.to_bytes();
            file::replace(ring, &bytes)?;
            print::done(
                out,
                args.json,
                &format!("wrote {} ({} bytes)", ring.display(), bytes.len()),
            )
        }
        change => {
            let _lock = file::lock(path)?;
            let mut builder = file::read(path)?;
            let answer = apply(&mut builder, change, now_hours).map_err(said)?;
            file::replace(path, &builder.to_bytes())?;
            answer.print(out, args.json)
        }
    }
}

/// What a change has to say.
enum Answer {
    Added(Device),
    Done(String),
    Moved(u64, crate::Moves, u32),
}

impl Answer {
    fn print(&self, out: &mut dyn Write, json: bool) -> Result<(), CommandError> {
        match self {
            Self::Added(device) => print::added(out, json, device),
            Self::Done(text) => print::done(out, json, text),
            Self::Moved(version, moves, hours) => print::moved(out, json, *version, *moves, *hours),
        }
    }
}

fn apply(builder: &mut Builder, change: &Action, now_hours: u32) -> Result<Answer, RingError> {
    match change {
        Action::Add {
            region,
            zone,
            node,
            address,
            name,
            weight,
        } => {
            let id = DeviceId::default();
            let (address, name) = (address.clone(), name.clone());
            let device = Device {
                id,
                region: *region,
                zone: *zone,
                node: *node,
                address,
                name,
                weight: *weight,
            };
            let id = builder.add(device.clone())?;
            Ok(Answer::Added(Device { id, ..device }))
        }
        Action::Remove { ids } => {
            for &id in ids {
                builder.remove(DeviceId(id))?;
            }
            Ok(Answer::Done(format!(
                "removed {} device(s); run `rebalance` to place their copies anew",
                ids.len()
            )))
        }
        Action::SetWeight { id, weight } => {
            builder.set_weight(DeviceId(*id), *weight)?;
            Ok(Answer::Done(format!(
                "device {id} has weight {weight}; run `rebalance` to make it so"
            )))
        }
        Action::SetAddress { node, address } => {
            builder.set_address(*node, address)?;
            Ok(Answer::Done(format!(
                "node {node} is at {address}; run `rebalance` to make a ring of it"
            )))
        }
        Action::Rebalance { seed } => {
            let moves = builder.rebalance(now_hours, *seed)?;
            Ok(Answer::Moved(builder.version(), moves, builder.min_part_hours()))
        }
        Action::Create { .. } | Action::Validate | Action::Show | Action::WriteRing { .. } => {
            unreachable!("these are handled before, as they do not change a builder")
        }
    }
}

/// The file beside `path` whose name has `ending` added.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests;
