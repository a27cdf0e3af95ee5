//! Commands that change devices and settings.

use super::search::{Filter, Wanted, full_name};
use super::{CommandError, Console};
use crate::builder::Builder;
use crate::device::{Device, DeviceId};
use crate::settings::Place;

/// What a change has to say, and whether it is only a warning.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) lines: Vec<String>,
    pub(super) devices: Vec<Device>,
    pub(super) warning: bool,
}

impl Answer {
    pub(super) fn say(line: String) -> Self {
        Self {
            lines: vec![line],
            ..Self::default()
        }
    }
}

/// Which devices: search values, or options.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Which {
    /// Search values: d3, r1z2, z1-10.0.0.1:7000/d0, _remark
    #[arg(value_name = "SEARCH")]
    pub values: Vec<String>,
    /// Or options.
    #[command(flatten)]
    pub filter: Filter,
    /// Ask no questions
    #[arg(short = 'y', long)]
    pub yes: bool,
}

/// Search values and what to set, in pairs; or options, and one value to set.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SetArgs {
    /// SEARCH VALUE for each, or with options only VALUE
    #[arg(value_name = "SEARCH VALUE", allow_negative_numbers = true)]
    pub values: Vec<String>,
    /// Or options.
    #[command(flatten)]
    pub filter: Filter,
    /// Ask no questions
    #[arg(short = 'y', long)]
    pub yes: bool,
}

/// The devices that are meant, by id; an error when there are none.
pub(super) fn find(builder: &Builder, values: &[String], filter: &Filter) -> Result<Vec<Device>, CommandError> {
    let wanted: Vec<Wanted> = match (filter.wanted(), values) {
        (Some(wanted), []) => vec![wanted],
        (None, [_, ..]) => {
            let parsed: Result<_, String> = values.iter().map(|value| Wanted::parse(value)).collect();
            parsed.map_err(CommandError::Usage)?
        }
        _ => {
            return Err(CommandError::usage(
                "give search values or options, not both, and at least one",
            ));
        }
    };
    let meant = |device: &&Device| wanted.iter().any(|wanted| wanted.matches(device));
    let found: Vec<Device> = builder.devices().filter(meant).cloned().collect();
    if found.is_empty() {
        Err(CommandError::NoMatch)
    } else {
        Ok(found)
    }
}

/// More than one device: the operator is asked, unless that was answered beforehand.
pub(super) fn agreed(
    devices: &[Device],
    yes: bool,
    doing: &str,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    if devices.len() < 2 || yes {
        return Ok(());
    }
    writeln!(console.out, "matched more than one device:")?;
    for device in devices {
        writeln!(console.out, "    {}", full_name(device))?;
    }
    write!(console.out, "{doing} these {} devices? (y/N) ", devices.len())?;
    console.out.flush()?;
    let mut answer = String::new();
    console.answers.read_line(&mut answer)?;
    if answer.trim() == "y" {
        Ok(())
    } else {
        Err(CommandError::NotAgreed)
    }
}

pub(super) fn ids(devices: &[Device]) -> Vec<DeviceId> {
    devices.iter().map(|device| device.id).collect()
}

pub(super) fn remove(builder: &mut Builder, which: &Which, console: &mut Console<'_>) -> Result<Answer, CommandError> {
    let devices = find(builder, &which.values, &which.filter)?;
    agreed(&devices, which.yes, "remove", console)?;
    let mut answer = Answer::default();
    for device in devices {
        builder.remove(device.id)?;
        answer.lines.push(format!(
            "{} removed; the next rebalance places its copies anew",
            full_name(&device)
        ));
        answer.devices.push(device);
    }
    Ok(answer)
}

/// Sets something on the devices of each pair of search value and new value.
pub(super) fn set_each(
    builder: &mut Builder,
    args: &SetArgs,
    console: &mut Console<'_>,
    what: &str,
    set: impl Fn(&mut Builder, &[Device], &str) -> Result<(), CommandError>,
) -> Result<Answer, CommandError> {
    let pairs: Vec<(&[String], &str)> = match (args.filter.wanted(), args.values.as_slice()) {
        (Some(_), [value]) => vec![(&[], value)],
        (None, values) if !values.is_empty() && values.len().is_multiple_of(2) => {
            values.chunks(2).map(|pair| (&pair[..1], pair[1].as_str())).collect()
        }
        _ => {
            return Err(CommandError::usage(
                "give pairs of SEARCH and VALUE, or options and one VALUE",
            ));
        }
    };
    let mut answer = Answer::default();
    for (search, value) in pairs {
        let devices = find(builder, search, &args.filter)?;
        agreed(&devices, args.yes, &format!("set the {what} of"), console)?;
        set(builder, &devices, value)?;
        for device in &devices {
            answer
                .lines
                .push(format!("{}: {what} set to {value}", full_name(device)));
            answer
                .devices
                .extend(builder.devices().find(|new| new.id == device.id).cloned());
        }
    }
    Ok(answer)
}

pub(super) fn set_weight(
    builder: &mut Builder,
    args: &SetArgs,
    console: &mut Console<'_>,
) -> Result<Answer, CommandError> {
    set_each(builder, args, console, "weight", |builder, devices, value| {
        let weight = number(value, "weight")?;
        for device in devices {
            builder.set_weight(device.id, weight)?;
        }
        Ok(())
    })
}

pub(super) fn set_region(
    builder: &mut Builder,
    args: &SetArgs,
    console: &mut Console<'_>,
) -> Result<Answer, CommandError> {
    set_each(builder, args, console, "region", |builder, devices, value| {
        let place = Place {
            region: Some(number(value, "region")?),
            zone: None,
        };
        Ok(builder.set_place(&ids(devices), place)?)
    })
}

pub(super) fn set_zone(
    builder: &mut Builder,
    args: &SetArgs,
    console: &mut Console<'_>,
) -> Result<Answer, CommandError> {
    set_each(builder, args, console, "zone", |builder, devices, value| {
        let place = Place {
            region: None,
            zone: Some(number(value, "zone")?),
        };
        Ok(builder.set_place(&ids(devices), place)?)
    })
}

pub(super) fn set_address(builder: &mut Builder, node: u64, address: &str) -> Result<Answer, CommandError> {
    builder.set_address(node, address)?;
    Ok(Answer::say(format!(
        "node {node} is at {address}; `write_ring` makes a ring of it"
    )))
}

pub(super) fn set_min_part_hours(builder: &mut Builder, hours: u32) -> Answer {
    builder.set_min_part_hours(hours);
    Answer::say(format!("a partition now rests for {hours} hour(s) after a move"))
}

pub(super) fn set_replicas(builder: &mut Builder, replicas: f64) -> Result<Answer, CommandError> {
    builder.set_replicas(replicas)?;
    Ok(Answer::say(format!(
        "the replica count is now {replicas:.6}; the next rebalance makes it so"
    )))
}

/// `0.1` or `10%`. More than 1 without a percent sign is most likely a slip: it is done and warned of.
pub(super) fn set_overload(builder: &mut Builder, value: &str) -> Result<Answer, CommandError> {
    let (digits, unit) = match value.strip_suffix('%') {
        Some(digits) => (digits, 0.01),
        None => (value, 1.0),
    };
    let overload = number::<f64>(digits, "overload")? * unit;
    builder.set_overload(overload)?;
    let mut answer = Answer::say(format!(
        "the overload is now {:.2} % ({overload:.6}); the next rebalance makes it so",
        overload * 100.0
    ));
    if overload > 1.0 && !value.ends_with('%') {
        answer.warning = true;
        answer
            .lines
            .push(format!("that is more than 100 %: did you mean {digits}%?"));
    }
    Ok(answer)
}

pub(super) fn pretend(builder: &mut Builder) -> Answer {
    builder.pretend_min_part_hours_passed();
    Answer::say(
        "all partitions may move again: make sure that the copies of the last move are in place before applying the next ring"
            .to_owned(),
    )
}

pub(super) fn number<N: std::str::FromStr>(text: &str, what: &str) -> Result<N, CommandError> {
    text.parse()
        .map_err(|_| CommandError::usage(&format!("{what} {text:?} is not a number that is possible here")))
}
