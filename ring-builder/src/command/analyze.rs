//! `analyze`: a scenario file is played through, and every rebalance measured. Format as of Swift's analyzer:
//!
//! ```text
//! {"part_power": 12, "replicas": 3, "overload": 0.1, "random_seed": 7,
//!  "rounds": [[["add", "r1z1-10.0.0.1:6200/d0", 100], ...], [["set_weight", 0, 50], ["remove", 3]], ...]}
//! ```
//! Beyond Swift's `add`, `remove`, `set_weight` and `save` there are `set_overload` and `set_replicas`. After each
//! round's changes the ring is rebalanced until nothing moves any more or the balance changes by less than 1 %.
//! Ids are Swift's: a removed device's id is free from the next rebalance on, and the lowest free one is given first.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CommandError, Console, add, file, print};
use crate::builder::Builder;
use crate::device::DeviceId;
use crate::figures::MAX_BALANCE;

/// Rebalances of one round; a ring that is not settled then never will be.
const MAX_REBALANCES: usize = 64;
/// A change of balance, in percent, below which a round is over.
const SETTLED: f64 = 1.0;
/// No scenario file is larger, in bytes.
const MAX_SCENARIO_BYTES: u64 = 64 << 20;

/// What to do with the scenario.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AnalyzeArgs {
    /// Only say whether the scenario is well formed
    #[arg(short = 'c', long)]
    pub check: bool,
    /// Another seed than the scenario's
    #[arg(short = 's', long)]
    pub seed: Option<u64>,
}

#[derive(Deserialize)]
struct Scenario {
    part_power: u8,
    replicas: f64,
    overload: f64,
    random_seed: u64,
    rounds: Vec<Vec<Vec<Value>>>,
}

/// One rebalance.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) moved: u64,
    pub(super) balance: f64,
    pub(super) dispersion: f64,
    pub(super) removed: usize,
    pub(super) micros: u128,
}

pub(super) fn run(path: &Path, args: &AnalyzeArgs, json: bool, console: &mut Console<'_>) -> Result<(), CommandError> {
    let text = file::read_bytes(path, MAX_SCENARIO_BYTES)?;
    let scenario: Scenario = serde_json::from_slice(&text)
        .map_err(|error| CommandError::Usage(format!("{} is no scenario: {error}", path.display())))?;
    let mut play = Play {
        builder: Builder::with_replicas(scenario.part_power, scenario.replicas, 1)?,
        ids: Vec::new(),
        removed: Vec::new(),
        saves: !args.check,
    };
    play.builder.set_overload(scenario.overload)?;
    let seed = args.seed.unwrap_or(scenario.random_seed);
    let mut rounds = Vec::new();
    for (number, commands) in (1..).zip(&scenario.rounds) {
        for (at, command) in (1..).zip(commands) {
            let place = format!("round {number}, command {at}");
            play.command(command)
                .map_err(|error| CommandError::Usage(format!("{place}: {error}")))?;
        }
        rounds.push(if args.check { Vec::new() } else { play.settle(seed)? });
        play.forget_removed();
    }
    print::analyzed(console.out, json, args.check, &rounds)
}

struct Play {
    builder: Builder,
    /// The device that stands at each of Swift's ids.
    ids: Vec<Option<DeviceId>>,
    removed: Vec<usize>,
    saves: bool,
}

impl Play {
    fn command(&mut self, command: &[Value]) -> Result<(), CommandError> {
        match (
            command.first().and_then(Value::as_str),
            &command[command.len().min(1)..],
        ) {
            (Some("add"), [Value::String(device), weight]) => {
                let (device, _) = add::parse_device(device, number(weight)?)?;
                let id = self.builder.add(add::numbered(&self.builder, device, None))?;
                match self.ids.iter().position(Option::is_none) {
                    Some(free) => self.ids[free] = Some(id),
                    None => self.ids.push(Some(id)),
                }
                Ok(())
            }
            (Some("remove"), [id]) => {
                let (at, id) = self.device(id)?;
                self.builder.remove(id)?;
                self.removed.push(at);
                Ok(())
            }
            (Some("set_weight"), [id, weight]) => {
                let (_, id) = self.device(id)?;
                Ok(self.builder.set_weight(id, number(weight)?)?)
            }
            (Some("set_overload"), [overload]) => Ok(self.builder.set_overload(number(overload)?)?),
            (Some("set_replicas"), [replicas]) => Ok(self.builder.set_replicas(number(replicas)?)?),
            (Some("save"), [Value::String(path)]) if self.saves => {
                file::replace(Path::new(path), &self.builder.to_bytes())
            }
            (Some("save"), [Value::String(_)]) => Ok(()),
            _ => Err(CommandError::Usage(format!(
                "{} is no command of a scenario",
                Value::from(command.to_vec())
            ))),
        }
    }

    fn device(&self, id: &Value) -> Result<(usize, DeviceId), CommandError> {
        let at = id.as_u64().and_then(|id| usize::try_from(id).ok());
        let found = at.and_then(|at| Some((at, (*self.ids.get(at)?)?)));
        found.ok_or_else(|| CommandError::Usage(format!("there is no device {id}")))
    }

    fn forget_removed(&mut self) {
        for at in self.removed.drain(..) {
            self.ids[at] = None;
        }
    }

    fn settle(&mut self, seed: u64) -> Result<Vec<Step>, CommandError> {
        let mut steps: Vec<Step> = Vec::new();
        let mut removed = self.removed.len();
        for _ in 0..MAX_REBALANCES {
            let start = Instant::now();
            let moves = self.builder.rebalance(1, seed)?;
            let micros = start.elapsed().as_micros();
            self.builder.pretend_min_part_hours_passed();
            let moved = moves.placed + moves.refilled + moves.moved;
            let (balance, dispersion) = (self.builder.balance(), self.builder.dispersion().percent);
            let before = steps.last().map(|step| step.balance);
            steps.push(Step {
                moved,
                balance,
                dispersion,
                removed,
                micros,
            });
            let draining = before == Some(MAX_BALANCE) && balance >= MAX_BALANCE;
            let settled = before.is_some_and(|before| (before - balance).abs() < SETTLED) && !draining;
            if settled || (before.is_some() && moved == 0 && removed == 0) {
                break;
            }
            removed = 0;
        }
        Ok(steps)
    }
}

fn number(value: &Value) -> Result<f64, CommandError> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    number.ok_or_else(|| CommandError::Usage(format!("{value} is not a number")))
}
