//! `set_info`: addresses, names and remarks.

use super::change::{Answer, SetArgs, agreed, find, set_each};
use super::search::{Text, full_name, normal_host};
use super::{CommandError, Console};
use crate::builder::Builder;
use crate::device::{Device, DeviceId, join_address};
use crate::settings::DeviceChange;

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
