//! `rebalance`, with the rules of Swift's tool for what is worth saving.

use std::path::{Path, PathBuf};

use super::{CommandError, Console, Outcome, file, print};
use crate::builder::Builder;
use crate::figures::MAX_BALANCE;
use crate::rebalance::Moves;

/// Balance above this, in percent, calls for another rebalance.
const GOOD_BALANCE: f64 = 5.0;
/// Smallest change of balance or dispersion, in percent, that is worth a new ring.
const WORTH_SAVING: f64 = 1.0;

/// How to rebalance.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RebalanceArgs {
    /// As --seed
    #[arg(value_name = "SEED")]
    pub seed_value: Option<String>,
    /// Decides between equally good tables: the same builder, hour and seed give the same one
    #[arg(short = 's', long)]
    pub seed: Option<String>,
    /// Save also what changes less than 1 %
    #[arg(short = 'f', long)]
    pub force: bool,
    /// Say what would be done, and save nothing
    #[arg(short = 'n', long, alias = "dry_run")]
    pub dry_run: bool,
    /// Taken for compatibility; there is nothing more to say
    #[arg(long)]
    pub debug: bool,
}

/// What a rebalance has come to.
#[derive(Debug, serde::Serialize)]
pub(super) struct Done {
    pub(super) version: u64,
    pub(super) moves: Moves,
    pub(super) parts: u64,
    pub(super) partitions: u32,
    pub(super) balance: f64,
    pub(super) dispersion: f64,
    pub(super) saved: bool,
    /// Sentences.
    pub(super) remarks: Vec<String>,
}

pub(super) fn run(
    path: &Path,
    builder: &mut Builder,
    args: &RebalanceArgs,
    now_ms: u64,
    json: bool,
    console: &mut Console<'_>,
) -> Result<Outcome, CommandError> {
    let before = Before::of(builder);
    let now_hours = super::hours(now_ms);
    let hours_left = builder.min_part_hours_left(now_hours);
    let moves = builder.rebalance(now_hours, seed(args))?;
    let parts = moves.placed + moves.refilled + moves.moved;
    let (balance, dispersion) = (builder.balance(), builder.dispersion().percent);
    let mut done = Done {
        version: builder.version(),
        moves,
        parts,
        partitions: builder.partitions(),
        balance,
        dispersion,
        saved: false,
        remarks: Vec::new(),
    };
    let worth = before.changed || args.force || before.is_improved(balance, dispersion);
    let outcome = if parts == 0 && !args.force {
        done.remarks.push(nothing_moved(builder, hours_left));
        Outcome::Warning
    } else if !worth {
        done.remarks
            .push("not saved, as neither balance nor dispersion changed by 1 %: --force saves it".to_owned());
        Outcome::Warning
    } else {
        judge(builder, &mut done)
    };
    // Devices that were changed without any move still make a new ring: they may have a new weight.
    let save = (worth && parts > 0) || before.changed || args.force;
    if args.dry_run {
        done.remarks.push("dry run: nothing was saved".to_owned());
    } else if save {
        save_all(path, builder, now_ms)?;
        done.saved = true;
    }
    print::rebalanced(console.out, json, &done)?;
    Ok(outcome)
}

struct Before {
    changed: bool,
    balance: f64,
    dispersion: Option<f64>,
}

impl Before {
    fn of(builder: &Builder) -> Self {
        Self {
            changed: builder.changed(),
            balance: builder.balance(),
            dispersion: builder.is_placed().then(|| builder.dispersion().percent),
        }
    }

    fn is_improved(&self, balance: f64, dispersion: f64) -> bool {
        let still_draining = self.balance >= MAX_BALANCE && balance >= MAX_BALANCE;
        (self.balance - balance).abs() >= WORTH_SAVING
            || still_draining
            || self
                .dispersion
                .is_none_or(|before| (before - dispersion).abs() >= WORTH_SAVING)
    }
}

fn nothing_moved(builder: &Builder, hours_left: u32) -> String {
    if hours_left > 0 {
        format!(
            "no partition could be moved: at least {} hours have to pass between moves, {hours_left} are left",
            builder.min_part_hours()
        )
    } else {
        "no partition was moved: there is no need to".to_owned()
    }
}

fn judge(builder: &Builder, done: &mut Done) -> Outcome {
    let Moves {
        left_over,
        left_strained,
        ..
    } = done.moves;
    if left_over > 0 || left_strained > 0 {
        done.remarks.push(format!(
            "not done: {left_over} replicas above their devices' shares, {left_strained} partitions to spread wider; run \
             `rebalance` again when the copies have moved and {} hours have passed",
            builder.min_part_hours()
        ));
    }
    if done.dispersion > 0.0 {
        done.remarks.push(format!(
            "dispersion of {:.6}: some copies are closer together than they could be; see `dispersion`, give domains more \
             equal weights, or raise the overload",
            done.dispersion
        ));
        Outcome::Warning
    } else if done.balance > GOOD_BALANCE && done.balance / 100.0 > builder.overload() {
        done.remarks.push(format!(
            "balance of {:.2}: apply this ring, wait at least {} hours, and rebalance again",
            done.balance,
            builder.min_part_hours()
        ));
        Outcome::Warning
    } else {
        Outcome::Good
    }
}

/// A number, or any text, as with Swift's tool.
fn seed(args: &RebalanceArgs) -> u64 {
    let Some(text) = args.seed.as_ref().or(args.seed_value.as_ref()) else {
        return 0;
    };
    text.parse().unwrap_or_else(|_| {
        let hash = blake3::hash(text.as_bytes());
        u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    })
}

fn save_all(path: &Path, builder: &Builder, now_ms: u64) -> Result<(), CommandError> {
    let ring = builder.ring()?.to_swift()?;
    let ring_path = ring_path(path);
    file::back_up(&ring_path, &ring, now_ms)?;
    file::back_up(path, &builder.to_bytes(), now_ms)?;
    file::replace(&ring_path, &ring)?;
    file::replace(path, &builder.to_bytes())
}

/// `blobs.ring.gz` beside `blobs.builder`.
pub(super) fn ring_path(builder: &Path) -> PathBuf {
    let name = builder.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".builder").unwrap_or(&name);
    builder.with_file_name(format!("{stem}.ring.gz"))
}
