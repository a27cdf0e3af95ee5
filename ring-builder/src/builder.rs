//! The builder: devices as the operator wants them, and the table of the last rebalance.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::device::{Device, DeviceId, check_weight};
use crate::error::RingError;
use crate::layout::Layout;
use crate::limits::MAX_DEVICES;
use crate::rebalance::{self, Moves};
use crate::ring::{Inner, Ring};

/// Stands in the table where the device was removed.
pub(crate) const LOST: DeviceId = DeviceId(u32::MAX);
/// Stands for "never" among the hours of the last move.
pub(crate) const NEVER: u32 = 0;

/// Makes rings. Changes to devices take effect with the next [`Self::rebalance`].
#[derive(Clone, Debug, PartialEq)]
pub struct Builder {
    /// Of the table; before the first rebalance only the partition power counts.
    pub(crate) layout: Layout,
    /// Replicas asked for; the next rebalance gives the table their layout.
    pub(crate) replicas: f64,
    pub(crate) overload: f64,
    pub(crate) min_part_hours: u32,
    /// Version of the last rebalance or change of device information; 0 before the first.
    pub(crate) version: u64,
    /// Devices were changed since the last rebalance.
    pub(crate) changed: bool,
    pub(crate) next_id: u32,
    pub(crate) devices: BTreeMap<DeviceId, Device>,
    /// The copies of each partition as [`Self::layout`] has them; empty before the first rebalance.
    pub(crate) slots: Vec<DeviceId>,
    /// For each partition the hour of its last move, or [`NEVER`]; empty before the first rebalance.
    pub(crate) moved_at: Vec<u32>,
}

impl Builder {
    /// A builder without devices.
    ///
    /// `min_part_hours`: after a replica of a partition was moved, the partition's other replicas stay where they are
    /// for this many hours.
    ///
    /// # Errors
    /// When a number is outside the limits of [`crate::limits`].
    pub fn new(part_power: u8, replicas: usize, min_part_hours: u32) -> Result<Self, RingError> {
        #[allow(clippy::cast_precision_loss, reason = "refused when it is large")]
        let replicas = replicas as f64;
        Self::with_replicas(part_power, replicas, min_part_hours)
    }

    /// As [`Self::new`], with a number of replicas that may be a fraction: with 2.5 one half of the partitions has three
    /// copies and the other two.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_replicas(part_power: u8, replicas: f64, min_part_hours: u32) -> Result<Self, RingError> {
        Ok(Self {
            layout: Layout::new(part_power, replicas)?,
            replicas,
            overload: 0.0,
            min_part_hours,
            version: 0,
            changed: true,
            next_id: 0,
            devices: BTreeMap::new(),
            slots: Vec::new(),
            moved_at: Vec::new(),
        })
    }

    /// A builder for a ring whose builder file was lost. Ids of devices that were removed before are not known, and
    /// partitions count as rested.
    #[must_use]
    pub fn from_ring(ring: &Ring, min_part_hours: u32) -> Self {
        let next_id = ring.devices().map(|device| device.id.0 + 1).max().unwrap_or(0);
        Self {
            layout: ring.inner.layout,
            replicas: ring.replica_count(),
            overload: 0.0,
            min_part_hours,
            version: ring.version(),
            changed: false,
            next_id,
            devices: ring.devices().map(|device| (device.id, device.clone())).collect(),
            slots: ring.inner.slots.clone(),
            moved_at: vec![NEVER; ring.partitions() as usize],
        }
    }

    /// Number of partitions.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.layout.partitions()
    }

    /// Partitions as a power of two.
    #[must_use]
    pub fn part_power(&self) -> u8 {
        self.layout.part_power
    }

    /// Most copies of a partition, as asked for.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.wanted_layout().most()
    }

    /// Copies of a partition as asked for; a fraction when some have one less.
    #[must_use]
    pub fn replica_count(&self) -> f64 {
        self.replicas
    }

    pub(crate) fn wanted_layout(&self) -> Layout {
        Layout::new(self.layout.part_power, self.replicas).expect("checked when it was set")
    }

    /// By which part of its share a device may hold more, so that copies stand wider apart.
    #[must_use]
    pub fn overload(&self) -> f64 {
        self.overload
    }

    /// Hours for which a partition rests after a move.
    #[must_use]
    pub fn min_part_hours(&self) -> u32 {
        self.min_part_hours
    }

    /// Version of the last rebalance; 0 before the first.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether devices were changed since the last rebalance.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// All devices by id, those with weight 0 too.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// Adds a device and gives it an id; `device.id` is ignored.
    ///
    /// # Errors
    /// When a field is not usable, the node has a device of that name, the node is known elsewhere, or there are too
    /// many devices.
    pub fn add(&mut self, device: Device) -> Result<DeviceId, RingError> {
        let id = DeviceId(self.next_id);
        self.add_numbered(Device { id, ..device })?;
        Ok(id)
    }

    /// The same under the number that the device says; numbers that are left out stay free.
    ///
    /// # Errors
    /// As of [`Self::add`]; [`RingError::DuplicateDevice`] also when the number is taken.
    pub fn add_numbered(&mut self, device: Device) -> Result<(), RingError> {
        device.check()?;
        let duplicate = |known: &Device| RingError::DuplicateDevice {
            node: known.node,
            name: known.name.clone(),
            id: known.id,
        };
        if let Some(known) = self.devices.get(&device.id) {
            return Err(duplicate(known));
        }
        for known in self.devices.values().filter(|known| known.node == device.node) {
            same_node(known, &device)?;
            if known.name == device.name {
                return Err(duplicate(known));
            }
        }
        if self.devices.len() >= MAX_DEVICES || device.id == LOST {
            return Err(RingError::TooManyDevices);
        }
        self.next_id = self.next_id.max(device.id.0 + 1);
        self.devices.insert(device.id, device);
        self.changed = true;
        Ok(())
    }

    /// Takes a failed device out: the next rebalance places all its replicas elsewhere at once, whenever their
    /// partitions moved last. To empty a device that still works, set its weight to 0 instead.
    ///
    /// # Errors
    /// [`RingError::UnknownDevice`].
    pub fn remove(&mut self, id: DeviceId) -> Result<Device, RingError> {
        let device = self.devices.remove(&id).ok_or(RingError::UnknownDevice(id))?;
        for slot in self.slots.iter_mut().filter(|slot| **slot == id) {
            *slot = LOST;
        }
        self.changed = true;
        Ok(device)
    }

    /// Changes a device's share of the data; 0 drains it, at the pace that min-part-hours allows.
    ///
    /// # Errors
    /// [`RingError::BadWeight`] or [`RingError::UnknownDevice`].
    pub fn set_weight(&mut self, id: DeviceId, weight: f64) -> Result<(), RingError> {
        check_weight(weight)?;
        let device = self.devices.get_mut(&id).ok_or(RingError::UnknownDevice(id))?;
        device.weight = weight;
        self.changed = true;
        Ok(())
    }

    /// Brings the table in line with the devices, and counts the version up by one.
    ///
    /// Moves at most one replica of a partition, and none of a partition that moved less than min-part-hours before
    /// `now_hours` (hours since the Unix epoch). Replicas of removed devices are placed anew regardless. What is held
    /// back so is done by later rebalances. The same builder, hour and seed give the same table.
    ///
    /// # Errors
    /// [`RingError::TooFewDevices`]: copies must be on different devices.
    pub fn rebalance(&mut self, now_hours: u32, seed: u64) -> Result<Moves, RingError> {
        let active = self.devices.values().filter(|device| device.weight > 0.0).count();
        if active < self.replicas() {
            return Err(RingError::TooFewDevices {
                replicas: self.replicas(),
                devices: active,
            });
        }
        let moves = rebalance::run(self, now_hours, seed);
        self.version += 1;
        self.changed = false;
        Ok(moves)
    }

    /// The ring of the last rebalance.
    ///
    /// # Errors
    /// [`RingError::NotBalanced`] when there was none, or devices were changed since.
    pub fn ring(&self) -> Result<Ring, RingError> {
        if self.changed || self.slots.is_empty() {
            return Err(RingError::NotBalanced(self.version));
        }
        let inner = Inner {
            version: self.version,
            layout: self.layout,
            devices: self.devices.values().cloned().collect(),
            slots: self.slots.clone(),
        };
        Ok(Ring { inner: Arc::new(inner) })
    }
}

/// A node is one machine: one zone, one host.
pub(crate) fn same_node(known: &Device, device: &Device) -> Result<(), RingError> {
    if (known.region, known.zone, known.host()) == (device.region, device.zone, device.host()) {
        return Ok(());
    }
    Err(RingError::NodeDiffers {
        node: known.node,
        region: known.region,
        zone: known.zone,
        address: known.address.clone(),
    })
}

#[cfg(test)]
mod tests;
