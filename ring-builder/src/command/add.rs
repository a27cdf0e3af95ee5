//! `add`: devices in Swift's syntax, or by options.

use super::CommandError;
use super::change::{Answer, number};
use super::search::{Filter, Text, full_name, normal_host};
use crate::builder::Builder;
use crate::device::{Device, DeviceId, join_address};

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
