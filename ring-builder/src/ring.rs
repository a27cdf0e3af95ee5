//! The ring as everybody reads it: an immutable table from partition to devices.

use std::sync::Arc;

use crate::device::{Device, DeviceId, PartitionId};
use crate::handoff::Handoffs;

/// Which devices hold which partition. Immutable; cloning costs one reference count.
#[derive(Clone, Debug, PartialEq)]
pub struct Ring {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Inner {
    pub(crate) version: u64,
    pub(crate) part_power: u8,
    pub(crate) replicas: usize,
    /// Sorted by id.
    pub(crate) devices: Vec<Device>,
    /// `replicas` entries for each partition, all different.
    pub(crate) slots: Vec<DeviceId>,
}

impl Ring {
    /// Grows by one with every rebalance of the builder it came from.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.inner.version
    }

    /// How many top bits of a placement hash name the partition.
    #[must_use]
    pub fn part_power(&self) -> u8 {
        self.inner.part_power
    }

    /// Number of partitions: two to the power of [`Self::part_power`].
    #[must_use]
    pub fn partitions(&self) -> u32 {
        1 << self.inner.part_power
    }

    /// Every partition, in order.
    pub fn partition_ids(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.partitions()).map(PartitionId)
    }

    /// Number of copies (or fragments) of a partition.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.inner.replicas
    }

    /// The devices of this ring, by id; those with weight 0 too, as they may still hold partitions.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.inner.devices.iter()
    }

    /// The device with this id, unless it was removed before this ring was made.
    #[must_use]
    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        let at = self.inner.devices.binary_search_by_key(&id, |device| device.id).ok()?;
        self.inner.devices.get(at)
    }

    /// The partition of a 64-bit placement hash: its top bits.
    #[must_use]
    pub fn partition_of(&self, placement_hash: u64) -> PartitionId {
        let top = placement_hash
            .checked_shr(64 - u32::from(self.inner.part_power))
            .unwrap_or(0);
        PartitionId(u32::try_from(top).expect("at most MAX_PART_POWER bits are left"))
    }

    /// The devices that hold `partition`: one per replica, all different. A replica keeps its position in the slice
    /// for as long as it stays where it is.
    ///
    /// # Panics
    /// When the partition is not of this ring; [`Self::partition_of`] and [`Self::partition_ids`] give only those that are.
    #[must_use]
    pub fn primaries(&self, partition: PartitionId) -> &[DeviceId] {
        let replicas = self.inner.replicas;
        let start = partition.0 as usize * replicas;
        &self.inner.slots[start..start + replicas]
    }

    /// All other devices with a weight above 0, in the order in which they stand in for a primary: the device whose
    /// failure domains (region, then zone, then node) hold the fewest copies so far comes first, the hash of partition
    /// and device decides between equals. The order is the same for every reader of this ring.
    ///
    /// # Panics
    /// As [`Self::primaries`].
    pub fn handoffs(&self, partition: PartitionId) -> impl Iterator<Item = DeviceId> + '_ {
        Handoffs::new(&self.inner.devices, self.primaries(partition), partition)
    }
}
