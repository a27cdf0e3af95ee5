//! What an operator changes besides adding, removing and weighing devices.

use std::collections::BTreeMap;

use crate::builder::{Builder, NEVER, same_node};
use crate::device::{Device, DeviceId, check_address};
use crate::error::RingError;
use crate::layout::Layout;
use crate::limits::MAX_OVERLOAD;

/// New information about a device; what is absent stays. It has no part in placement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceChange {
    /// `host:port` of the node.
    pub address: Option<String>,
    /// `host:port` for traffic between nodes.
    pub replication: Option<String>,
    /// Folder name.
    pub name: Option<String>,
    /// The operator's remark.
    pub meta: Option<String>,
}

/// Where a device stands; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The site.
    pub region: Option<u32>,
    /// The room or rack inside it.
    pub zone: Option<u32>,
}

impl Builder {
    /// Hours for which a partition rests after a move, from now on.
    pub fn set_min_part_hours(&mut self, hours: u32) {
        self.min_part_hours = hours;
    }

    /// By which part of its share a device may hold more, so that copies stand wider apart: 0.1 for a tenth.
    ///
    /// # Errors
    /// [`RingError::BadOverload`].
    pub fn set_overload(&mut self, overload: f64) -> Result<(), RingError> {
        if !(0.0..=MAX_OVERLOAD).contains(&overload) {
            return Err(RingError::BadOverload(overload));
        }
        self.changed |= self.overload.to_bits() != overload.to_bits();
        self.overload = overload;
        Ok(())
    }

    /// The number of copies of a partition, also a fraction: 2.5 gives one half of the partitions three copies. The next
    /// rebalance makes the new copies or drops the surplus ones.
    ///
    /// # Errors
    /// [`RingError::BadReplicas`] or [`RingError::TooLarge`].
    pub fn set_replicas(&mut self, replicas: f64) -> Result<(), RingError> {
        let layout = Layout::new(self.layout.part_power, replicas)?;
        self.changed |= layout != self.layout;
        self.replicas = replicas;
        Ok(())
    }

    /// Forgets when partitions moved, so that the next rebalance may move any.
    ///
    /// Safe only when all copies of the last move are in place: else two copies of a partition are on the way at once.
    pub fn pretend_min_part_hours_passed(&mut self) {
        self.moved_at.fill(NEVER);
    }

    /// Hours until every partition may move again; 0 when all may.
    #[must_use]
    pub fn min_part_hours_left(&self, now_hours: u32) -> u32 {
        match self.moved_at.iter().max() {
            Some(&last) if last != NEVER => self.min_part_hours.saturating_sub(now_hours.saturating_sub(last)),
            _ => 0,
        }
    }

    /// Changes what is known about devices, all of them or none. Moves nothing: the ring of the last rebalance, with the
    /// new information and a higher version, can be handed out at once.
    ///
    /// # Errors
    /// [`RingError::UnknownDevice`], or what [`Builder::add`] says about the new values.
    pub fn set_info(&mut self, ids: &[DeviceId], change: &DeviceChange) -> Result<(), RingError> {
        self.edit(ids, |device| {
            let DeviceChange {
                address,
                replication,
                name,
                meta,
            } = change.clone();
            device.address = address.unwrap_or_else(|| std::mem::take(&mut device.address));
            device.replication = replication.or_else(|| device.replication.take());
            device.name = name.unwrap_or_else(|| std::mem::take(&mut device.name));
            device.meta = meta.unwrap_or_else(|| std::mem::take(&mut device.meta));
        })?;
        self.version += u64::from(!self.slots.is_empty() && !ids.is_empty());
        Ok(())
    }

    /// Changes the address of a node, for all its devices. Moves nothing; see [`Self::set_info`].
    ///
    /// # Errors
    /// [`RingError::BadAddress`] or [`RingError::UnknownNode`].
    pub fn set_address(&mut self, node: u64, address: &str) -> Result<(), RingError> {
        check_address(address)?;
        let of_node = self.devices.values().filter(|device| device.node == node);
        let ids: Vec<DeviceId> = of_node.map(|device| device.id).collect();
        if ids.is_empty() {
            return Err(RingError::UnknownNode(node));
        }
        let change = DeviceChange {
            address: Some(address.to_owned()),
            ..DeviceChange::default()
        };
        self.set_info(&ids, &change)
    }

    /// Says that devices stand elsewhere, all of them or none. The next rebalance spreads copies accordingly. A node
    /// stands in one place, so all its devices have to be named.
    ///
    /// # Errors
    /// [`RingError::UnknownDevice`] or [`RingError::NodeDiffers`].
    pub fn set_place(&mut self, ids: &[DeviceId], place: Place) -> Result<(), RingError> {
        self.edit(ids, |device| {
            device.region = place.region.unwrap_or(device.region);
            device.zone = place.zone.unwrap_or(device.zone);
        })?;
        self.changed |= !ids.is_empty();
        Ok(())
    }

    fn edit(&mut self, ids: &[DeviceId], edit: impl Fn(&mut Device)) -> Result<(), RingError> {
        let mut devices = self.devices.clone();
        for id in ids {
            let device = devices.get_mut(id).ok_or(RingError::UnknownDevice(*id))?;
            edit(device);
            device.check()?;
        }
        consistent(&devices)?;
        self.devices = devices;
        Ok(())
    }
}

/// Every node stands in one place, and none has two devices of one name.
fn consistent(devices: &BTreeMap<DeviceId, Device>) -> Result<(), RingError> {
    let mut nodes: BTreeMap<u64, &Device> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for device in devices.values() {
        same_node(nodes.entry(device.node).or_insert(device), device)?;
        if let Some(id) = names.insert((device.node, &device.name), device.id) {
            return Err(RingError::DuplicateDevice {
                node: device.node,
                name: device.name.clone(),
                id,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
