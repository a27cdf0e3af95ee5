//! Commands that look at a builder, and the one that makes it.

use std::path::Path;

use super::change::{self, Which};
use super::{CommandError, Console, Outcome, file, hours, print, rebalance};
use crate::builder::Builder;
use crate::device::DeviceId;
use crate::figures::Dispersion;
use crate::ring::Ring;

/// The numbers of a new builder, by position or by name.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CreateArgs {
    /// PART_POWER REPLICAS MIN_PART_HOURS
    #[arg(value_name = "PART_POWER REPLICAS MIN_PART_HOURS", num_args = 0..=3)]
    pub numbers: Vec<f64>,
    /// Partitions as a power of two: aim at 100 and more partitions per device of the largest cluster to come
    #[arg(long, default_value_t = 12)]
    pub part_power: u8,
    /// Copies of each partition, also a fraction
    #[arg(long, default_value_t = 3.0)]
    pub replicas: f64,
    /// Hours for which a partition rests after one of its copies was moved
    #[arg(long, default_value_t = 1)]
    pub min_part_hours: u32,
}

/// Which part of the dispersion report.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DispersionArgs {
    /// Only domains whose names begin with this: r1, r1z2, r1z2-10.0.0.1
    #[arg(value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Only this level
    #[arg(short = 'l', long, value_parser = ["region", "zone", "node", "device"])]
    pub level: Option<String>,
    /// List the domains
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// Taken for compatibility: the figures are always counted anew
    #[arg(long)]
    pub recalculate: bool,
}

const LEVELS: [&str; 4] = ["region", "zone", "node", "device"];

pub(super) fn create(
    path: &Path,
    args: &CreateArgs,
    now_ms: u64,
    json: bool,
    console: &mut Console<'_>,
) -> Result<Outcome, CommandError> {
    let whole = |number: f64, what: &str| {
        let fits = (0.0..=f64::from(u32::MAX)).contains(&number) && number.fract() == 0.0;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked before it is used"
        )]
        fits.then_some(number as u32)
            .ok_or_else(|| CommandError::usage(&format!("{what} {number} is not possible")))
    };
    let (power, replicas, rest) = match args.numbers[..] {
        [] => (u32::from(args.part_power), args.replicas, args.min_part_hours),
        [power, replicas, rest] => (
            whole(power, "partition power")?,
            replicas,
            whole(rest, "min-part-hours")?,
        ),
        _ => {
            return Err(CommandError::usage(
                "create takes PART_POWER REPLICAS MIN_PART_HOURS, or options",
            ));
        }
    };
    let builder = Builder::with_replicas(u8::try_from(power).unwrap_or(u8::MAX), replicas, rest)?;
    let _lock = file::lock(path)?;
    if path.exists() {
        return Err(CommandError::Exists(path.to_owned()));
    }
    file::back_up(path, &builder.to_bytes(), now_ms)?;
    file::replace(path, &builder.to_bytes())?;
    print::done(
        console.out,
        json,
        &format!("created {} with {} partitions", path.display(), builder.partitions()),
    )?;
    Ok(Outcome::Good)
}

/// What the ring file beside the builder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RingFileState {
    Absent,
    UpToDate,
    Obsolete,
    Unreadable,
}

pub(super) fn show(path: &Path, now_ms: u64, json: bool, console: &mut Console<'_>) -> Result<Outcome, CommandError> {
    let builder = file::read(path)?;
    let ring_path = rebalance::ring_path(path);
    let state = match file::read_bytes(&ring_path, file::MAX_FILE_BYTES) {
        _ if !ring_path.exists() => RingFileState::Absent,
        Err(_) => RingFileState::Unreadable,
        Ok(bytes) => match (Ring::from_bytes(&bytes), builder.ring()) {
            (Err(_), _) => RingFileState::Unreadable,
            (Ok(file), Ok(ring)) if file == ring => RingFileState::UpToDate,
            _ => RingFileState::Obsolete,
        },
    };
    let sheet = print::Sheet {
        path,
        builder: &builder,
        ring_path: &ring_path,
        state,
        hours_left: builder.min_part_hours_left(hours(now_ms)),
    };
    print::show(console.out, json, &sheet)?;
    Ok(Outcome::Good)
}

pub(super) fn validate(path: &Path, json: bool, console: &mut Console<'_>) -> Result<Outcome, CommandError> {
    let builder = file::read(path)?;
    let report = builder.validate();
    print::verdict(console.out, json, &report)?;
    if builder.ring().is_err() {
        return Err(CommandError::Problems {
            path: path.to_owned(),
            count: report.problems.len(),
        });
    }
    Ok(Outcome::warn_if(!report.problems.is_empty()))
}

pub(super) fn dispersion(
    path: &Path,
    args: &DispersionArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<Outcome, CommandError> {
    let builder = placed(path)?;
    let Dispersion { percent, mut domains } = builder.dispersion();
    let level = args
        .level
        .as_ref()
        .and_then(|level| LEVELS.iter().position(|name| name == level));
    let prefix = args.prefix.as_deref().unwrap_or_default();
    domains.retain(|domain| level.is_none_or(|level| domain.level == level) && domain.name.starts_with(prefix));
    let worst = domains.iter().filter(|domain| domain.percent > 0.0);
    let worst = worst
        .max_by(|one, other| one.percent.total_cmp(&other.percent))
        .cloned();
    let outcome = Outcome::warn_if(worst.is_some());
    if !args.verbose {
        domains.clear();
    }
    print::dispersion(
        console.out,
        json,
        &builder,
        &Dispersion { percent, domains },
        worst.as_ref(),
    )?;
    Ok(outcome)
}

pub(super) fn search(
    path: &Path,
    which: &Which,
    json: bool,
    console: &mut Console<'_>,
) -> Result<Outcome, CommandError> {
    let builder = file::read(path)?;
    let devices = change::find(&builder, &which.values, &which.filter)?;
    print::devices(console.out, json, &builder, &devices)?;
    Ok(Outcome::Good)
}

pub(super) fn list_parts(
    path: &Path,
    which: &Which,
    json: bool,
    console: &mut Console<'_>,
) -> Result<Outcome, CommandError> {
    let builder = placed(path)?;
    let devices = change::find(&builder, &which.values, &which.filter)?;
    let ids: Vec<DeviceId> = devices.iter().map(|device| device.id).collect();
    let found = builder.partitions_on(&ids);
    if found.is_empty() {
        return Err(CommandError::usage("the devices that match hold no partition"));
    }
    print::partitions(console.out, json, &found)?;
    Ok(Outcome::Good)
}

fn placed(path: &Path) -> Result<Builder, CommandError> {
    let builder = file::read(path)?;
    if builder.is_placed() {
        Ok(builder)
    } else {
        Err(CommandError::usage(&format!(
            "{} was never balanced: run `rebalance` first",
            path.display()
        )))
    }
}
