//! A planned move: from the ring that is live to one that an operator wants, partition by partition, and whether that
//! is safe.
//!
//! ```text
//!   live ring ---+                       +--> moves: partition, devices left, devices joined
//!                +--> Change::between ---+--> totals: replicas, bytes, per device
//!   new ring  ---+          |
//!                           +--> check_pace, check_quorum, check_domains, check_space: the sentences that refuse it
//! ```
//!
//! Knows: two rings, and numbers that the caller measured (bytes of a partition, capacity of a device, hours). Must not
//! know: where these come from, nor how a move is done.

mod domains;
mod pace;
mod refusal;
mod slots;
mod space;

use std::collections::BTreeMap;

pub use domains::{Level, Thinner, check_domains, check_quorum, thinner};
pub use pace::{Earlier, check_pace};
pub use refusal::ChangeRefused;
pub use slots::check_slots;
pub use space::{Capacity, Projection, check_space, projections};

use crate::device::{DeviceId, PartitionId};
use crate::ring::Ring;

/// The replicas of one partition that change places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMove {
    /// The partition.
    pub partition: PartitionId,
    /// Devices that hold it in the live ring and not in the new one.
    pub from: Vec<DeviceId>,
    /// Devices that hold it in the new ring and not in the live one. As many as in `from`, unless the number of
    /// replicas changes.
    pub to: Vec<DeviceId>,
}

/// The difference between two rings of one policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    live: Ring,
    new: Ring,
    moves: Vec<PartitionMove>,
}

impl Change {
    /// Compares `new` with the ring that is live. A device that stays but takes another position among the replicas has
    /// not moved: copies are alike.
    ///
    /// # Errors
    /// [`ChangeRefused::Older`], [`ChangeRefused::OtherPartitions`], [`ChangeRefused::OtherCluster`] and
    /// [`ChangeRefused::OtherDevice`] when `new` does not follow `live`.
    pub fn between(live: &Ring, new: &Ring) -> Result<Self, ChangeRefused> {
        if new.version() <= live.version() {
            return Err(ChangeRefused::Older {
                live: live.version(),
                new: new.version(),
            });
        }
        if new.part_power() != live.part_power() {
            return Err(ChangeRefused::OtherPartitions {
                live: live.part_power(),
                new: new.part_power(),
            });
        }
        same_cluster(live, new)?;
        Ok(Self::unchecked(live, new))
    }

    /// The way back: from the ring of a move that is under way to the one before it. Versions may fall.
    ///
    /// # Errors
    /// As [`Self::between`], but never [`ChangeRefused::Older`].
    pub fn back(under_way: &Ring, before: &Ring) -> Result<Self, ChangeRefused> {
        if under_way.part_power() != before.part_power() {
            return Err(ChangeRefused::OtherPartitions {
                live: under_way.part_power(),
                new: before.part_power(),
            });
        }
        Ok(Self::unchecked(under_way, before))
    }

    fn unchecked(live: &Ring, new: &Ring) -> Self {
        let moves = new
            .partition_ids()
            .filter_map(|partition| moved(live, new, partition))
            .collect();
        Self {
            live: live.clone(),
            new: new.clone(),
            moves,
        }
    }

    /// The ring that is live.
    #[must_use]
    pub fn live(&self) -> &Ring {
        &self.live
    }

    /// The ring to come.
    #[must_use]
    pub fn new_ring(&self) -> &Ring {
        &self.new
    }

    /// The partitions whose replicas change places, by rising partition.
    #[must_use]
    pub fn moves(&self) -> &[PartitionMove] {
        &self.moves
    }

    /// Replicas that have to be copied.
    #[must_use]
    pub fn replicas_moved(&self) -> u64 {
        self.moves.iter().map(|moved| moved.to.len() as u64).sum()
    }

    /// What each device receives and gives away, when a partition has `partition_bytes` bytes in each copy.
    /// Devices that take no part are absent.
    pub fn traffic(&self, partition_bytes: impl Fn(PartitionId) -> u64) -> BTreeMap<DeviceId, Traffic> {
        let mut traffic: BTreeMap<DeviceId, Traffic> = BTreeMap::new();
        for PartitionMove { partition, from, to } in &self.moves {
            let bytes = partition_bytes(*partition);
            for device in from {
                let entry = traffic.entry(*device).or_default();
                entry.partitions_out += 1;
                entry.bytes_out = entry.bytes_out.saturating_add(bytes);
            }
            for device in to {
                let entry = traffic.entry(*device).or_default();
                entry.partitions_in += 1;
                entry.bytes_in = entry.bytes_in.saturating_add(bytes);
            }
        }
        traffic
    }

    /// Bytes that have to be copied in all, when a partition has `partition_bytes` bytes in each copy.
    pub fn bytes_moved(&self, partition_bytes: impl Fn(PartitionId) -> u64) -> u64 {
        let each = self
            .moves
            .iter()
            .map(|moved| partition_bytes(moved.partition).saturating_mul(moved.to.len() as u64));
        each.fold(0, u64::saturating_add)
    }
}

/// What a change means for one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Partitions that it is to receive.
    pub partitions_in: u64,
    /// Partitions that it no longer holds in the end.
    pub partitions_out: u64,
    /// Bytes that it is to receive.
    pub bytes_in: u64,
    /// Bytes that it may drop in the end.
    pub bytes_out: u64,
}

/// An even estimate for callers that know only the total: bytes of one copy of a partition when all copies of all
/// partitions together have `stored_bytes`.
#[must_use]
pub fn even_partition_bytes(ring: &Ring, stored_bytes: u64) -> u64 {
    let copies: u64 = ring
        .partition_ids()
        .map(|partition| ring.primaries(partition).len() as u64)
        .sum();
    stored_bytes.div_ceil(copies.max(1))
}

/// Every device with a weight in `ring` must be one that `is_registered`: the same id on the same node, as the cluster
/// knows it.
///
/// # Errors
/// [`ChangeRefused::UnknownDevices`] names the first ones.
pub fn check_registered(ring: &Ring, is_registered: impl Fn(&crate::Device) -> bool) -> Result<(), ChangeRefused> {
    let unknown: Vec<&crate::Device> = ring
        .devices()
        .filter(|device| device.weight > 0.0 && !is_registered(device))
        .collect();
    let Some(first) = unknown.first() else {
        return Ok(());
    };
    Err(ChangeRefused::UnknownDevices {
        count: unknown.len(),
        id: first.id,
        node: first.node,
        name: first.name.clone(),
    })
}

fn moved(live: &Ring, new: &Ring, partition: PartitionId) -> Option<PartitionMove> {
    let (before, after) = (live.primaries(partition), new.primaries(partition));
    if before == after {
        return None;
    }
    let without =
        |all: &[DeviceId], others: &[DeviceId]| all.iter().filter(|id| !others.contains(id)).copied().collect();
    let (from, to): (Vec<DeviceId>, Vec<DeviceId>) = (without(before, after), without(after, before));
    (!from.is_empty() || !to.is_empty()).then_some(PartitionMove { partition, from, to })
}

/// The same id with another node or name is another builder's. Rings without any device in common, or with all of them at
/// other addresses, are of two clusters as well.
fn same_cluster(live: &Ring, new: &Ring) -> Result<(), ChangeRefused> {
    let (mut common, mut same_place) = (0, 0);
    for device in new.devices() {
        let Some(known) = live.device(device.id) else { continue };
        common += 1;
        same_place += usize::from(known.address == device.address);
        if (known.node, &known.name) != (device.node, &device.name) {
            return Err(ChangeRefused::OtherDevice {
                id: device.id,
                live_node: known.node,
                live_name: known.name.clone(),
                new_node: device.node,
                new_name: device.name.clone(),
            });
        }
    }
    if common == 0 {
        Err(ChangeRefused::OtherCluster)
    } else if same_place == 0 {
        let mut places = live.devices().filter_map(|known| Some((known, new.device(known.id)?)));
        let (known, device) = places.next().ok_or(ChangeRefused::OtherCluster)?;
        Err(ChangeRefused::OtherMachines {
            id: known.id,
            live: known.address.clone(),
            new: device.address.clone(),
        })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
