//! Commands that change devices and settings.

use super::search::{Filter, Text, Wanted, full_name, normal_host};
use super::{CommandError, Console};
use crate::builder::Builder;
use crate::device::{Device, DeviceId, join_address};
use crate::settings::{DeviceChange, Place};

/// What a change has to say, and whether it is only a warning.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) lines: Vec<String>,
    pub(super) devices: Vec<Device>,
    pub(super) warning: bool,
}

impl Answer {
    fn say(line: String) -> Self {
        Self {
            lines: vec![line],
            ..Self::default()
        }
    }
}

/// Devices to add: `[r<region>]z<zone>-<ip>:<port>[R<ip>:<port>]/<name>_<remark> <weight>` in pairs, or options.
#[derive(Clone, Debug, clap::Args)]
pub struct AddArgs {
    /// r1z2-10.0.0.1:7000/d0 and its weight, for each device
    #[arg(value_name = "DEVICE WEIGHT")]
    pub pairs: Vec<String>,
    /// Or options.
    #[command(flatten)]
    pub filter: Filter,
    /// Number of the node; without it, the number of the node at this address, or else the next free one
    #[arg(long)]
    pub node: Option<u64>,
    /// Where the node listens, as host:port, instead of --ip and --port
    #[arg(long)]
    pub address: Option<String>,
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

/// What to change by options.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct InfoArgs {
    /// Which devices, and for search values what to set.
    #[command(flatten)]
    pub set: SetArgs,
    /// New host of the node
    #[arg(short = 'I', long)]
    pub change_ip: Option<String>,
    /// New port of the node
    #[arg(short = 'P', long)]
    pub change_port: Option<u16>,
    /// New host for traffic between nodes
    #[arg(short = 'J', long)]
    pub change_replication_ip: Option<String>,
    /// New port for traffic between nodes
    #[arg(short = 'Q', long)]
    pub change_replication_port: Option<u16>,
    /// New folder name
    #[arg(short = 'D', long)]
    pub change_device: Option<String>,
    /// New remark
    #[arg(short = 'M', long)]
    pub change_meta: Option<String>,
}

pub(super) fn add(builder: &mut Builder, args: &AddArgs) -> Result<Answer, CommandError> {
    let mut answer = Answer::default();
    if args.pairs.is_empty() {
        let device = device_of_options(builder, args)?;
        return added(builder, device, answer);
    }
    if args.filter.wanted().is_some() || !args.pairs.len().is_multiple_of(2) {
        return Err(CommandError::usage(
            "give pairs of DEVICE and WEIGHT, or options, not both",
        ));
    }
    for pair in args.pairs.chunks(2) {
        let weight = number(&pair[1], "weight")?;
        let (device, region_given) = parse_device(&pair[0], weight)?;
        if !region_given {
            answer
                .lines
                .push(format!("{} names no region: region 1 is taken", pair[0]));
        }
        let device = numbered(builder, device, args.node);
        answer = added(builder, device, answer)?;
    }
    Ok(answer)
}

fn added(builder: &mut Builder, device: Device, mut answer: Answer) -> Result<Answer, CommandError> {
    let id = builder.add(device.clone())?;
    let device = Device { id, ..device };
    answer.lines.push(format!(
        "device {} with weight {} got id {id}",
        full_name(&device),
        device.weight
    ));
    answer.devices.push(device);
    Ok(answer)
}

fn device_of_options(builder: &Builder, args: &AddArgs) -> Result<Device, CommandError> {
    let missing = |option: &str| CommandError::usage(&format!("add needs {option}, or pairs of DEVICE and WEIGHT"));
    let filter = args.filter.clone();
    let address = match (&args.address, &filter.ip, filter.port) {
        (Some(address), ..) => address.clone(),
        (None, Some(ip), Some(port)) => join_address(&normal_host(ip), port),
        _ => return Err(missing("--ip and --port, or --address")),
    };
    let device = Device {
        id: DeviceId::default(),
        region: filter.region.unwrap_or(1),
        zone: filter.zone.ok_or_else(|| missing("--zone"))?,
        node: 0,
        name: filter.device.ok_or_else(|| missing("--device"))?,
        weight: filter.weight.ok_or_else(|| missing("--weight"))?,
        replication: None,
        address,
        meta: filter.meta.unwrap_or_default(),
    };
    let replication = match (filter.replication_ip, filter.replication_port) {
        (None, None) => None,
        (ip, port) => {
            let ip = ip.as_deref().map_or_else(|| device.host().to_owned(), normal_host);
            Some(join_address(&ip, port.unwrap_or_else(|| device.port())))
        }
    };
    Ok(numbered(builder, Device { replication, ..device }, args.node))
}

/// A device in Swift's syntax, and whether it names its region.
pub(super) fn parse_device(value: &str, weight: f64) -> Result<(Device, bool), CommandError> {
    let bad = || {
        CommandError::usage(&format!(
            "device {value:?} is not usable: give it as [r<region>]z<zone>-<ip>:<port>[R<ip>:<port>]/<name>_<remark>"
        ))
    };
    let mut text = Text(value);
    let region: Option<u32> = text.number("r").ok_or_else(bad)?;
    let zone: u32 = text.number("z").flatten().ok_or_else(bad)?;
    if !text.take("-") {
        return Err(bad());
    }
    // Host names are taken here too, so the end of the address is sought from the name on.
    let (addresses, rest) = text.0.split_once('/').ok_or_else(bad)?;
    let (address, replication) = match addresses.split_once('R') {
        Some((address, replication)) => (address, Some(replication)),
        None => (addresses, None),
    };
    let normal = |address: &str| {
        let (host, port) = address.rsplit_once(':')?;
        Some(join_address(&normal_host(host), port.parse().ok()?))
    };
    let address = normal(address).ok_or_else(bad)?;
    let replication = replication.map(|other| normal(other).ok_or_else(bad)).transpose()?;
    let rest = format!("/{rest}");
    let (name, meta) = Text(&rest).name_and_meta();
    let device = Device {
        region: region.unwrap_or(1),
        zone,
        replication: replication.filter(|other| *other != address),
        address,
        name: name.unwrap_or_default(),
        weight,
        meta: meta.unwrap_or_default(),
        ..Device::default()
    };
    Ok((device, region.is_some()))
}

/// The device with the number of its node: the given one, that of the node at the same place and host, or the next.
pub(super) fn numbered(builder: &Builder, device: Device, node: Option<u64>) -> Device {
    let same = |known: &&Device| {
        (known.region, known.zone, normal_host(known.host()))
            == (device.region, device.zone, normal_host(device.host()))
    };
    let known = builder.devices().find(same).map(|known| known.node);
    let next = || builder.devices().map(|known| known.node + 1).max().unwrap_or(1).max(1);
    Device {
        node: node.or(known).unwrap_or_else(next),
        ..device
    }
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
fn agreed(devices: &[Device], yes: bool, doing: &str, console: &mut Console<'_>) -> Result<(), CommandError> {
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

fn ids(devices: &[Device]) -> Vec<DeviceId> {
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
fn set_each(
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

pub(super) fn set_info(
    builder: &mut Builder,
    args: &InfoArgs,
    console: &mut Console<'_>,
) -> Result<Answer, CommandError> {
    let by_options = Parts {
        ip: args.change_ip.as_deref().map(normal_host),
        port: args.change_port,
        replication_ip: args.change_replication_ip.as_deref().map(normal_host),
        replication_port: args.change_replication_port,
        name: args.change_device.clone(),
        meta: args.change_meta.clone(),
    };
    if by_options == Parts::default() {
        return set_each(builder, &args.set, console, "info", |builder, devices, value| {
            inform(builder, devices, &Parts::parse(value)?)
        });
    }
    let devices = find(builder, &args.set.values, &args.set.filter)?;
    agreed(&devices, args.set.yes, "change", console)?;
    inform(builder, &devices, &by_options)?;
    let new: Vec<Device> = builder
        .devices()
        .filter(|new| devices.iter().any(|old| old.id == new.id))
        .cloned()
        .collect();
    let lines = devices
        .iter()
        .zip(&new)
        .map(|(old, new)| format!("{} is now {}", full_name(old), full_name(new)));
    Ok(Answer {
        lines: lines.collect(),
        devices: new,
        warning: false,
    })
}

/// New values of a device, each optional: `<ip>:<port>R<ip>:<port>/<name>_<remark>`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Parts {
    ip: Option<String>,
    port: Option<u16>,
    replication_ip: Option<String>,
    replication_port: Option<u16>,
    name: Option<String>,
    meta: Option<String>,
}

impl Parts {
    fn parse(value: &str) -> Result<Self, CommandError> {
        let bad = || {
            CommandError::usage(&format!(
                "{value:?} is no new information: give <ip>:<port>R<ip>:<port>/<name>_<remark>"
            ))
        };
        let mut text = Text(value);
        let mut parts = Self {
            ip: text.host(),
            port: text.number(":").ok_or_else(bad)?,
            ..Self::default()
        };
        if text.take("R") {
            parts.replication_ip = text.host();
            parts.replication_port = text.number(":").ok_or_else(bad)?;
        }
        (parts.name, parts.meta) = text.name_and_meta();
        if text.0.is_empty() && parts != Self::default() {
            Ok(parts)
        } else {
            Err(bad())
        }
    }

    fn change_of(&self, device: &Device) -> DeviceChange {
        let joined = |ip: &Option<String>, port: Option<u16>, (old_ip, old_port): (&str, u16)| {
            (ip.is_some() || port.is_some())
                .then(|| join_address(ip.as_deref().unwrap_or(old_ip), port.unwrap_or(old_port)))
        };
        DeviceChange {
            address: joined(&self.ip, self.port, (device.host(), device.port())),
            replication: joined(
                &self.replication_ip,
                self.replication_port,
                device.replication_host_port(),
            ),
            name: self.name.clone(),
            meta: self.meta.clone(),
        }
    }
}

/// The host of a node is changed for all its devices together, so equal changes are made in one go.
fn inform(builder: &mut Builder, devices: &[Device], parts: &Parts) -> Result<(), CommandError> {
    let mut left: Vec<(DeviceId, DeviceChange)> = devices
        .iter()
        .map(|device| (device.id, parts.change_of(device)))
        .collect();
    while let Some((_, change)) = left.first().cloned() {
        let (same, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, other)| *other == change);
        let ids: Vec<DeviceId> = same.into_iter().map(|(id, _)| id).collect();
        builder.set_info(&ids, &change)?;
        left = others;
    }
    Ok(())
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

fn number<N: std::str::FromStr>(text: &str, what: &str) -> Result<N, CommandError> {
    text.parse()
        .map_err(|_| CommandError::usage(&format!("{what} {text:?} is not a number that is possible here")))
}
