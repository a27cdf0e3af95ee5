//! The ring as everybody reads it: an immutable table from partition to devices.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::device::{Device, DeviceId, PartitionId};
use crate::handoff::Handoffs;
use crate::layout::Layout;

/// Which devices hold which partition. Immutable; cloning costs one reference count.
#[derive(Clone, Debug, PartialEq)]
pub struct Ring {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Inner {
    pub(crate) version: u64,
    pub(crate) layout: Layout,
    /// Sorted by id.
    pub(crate) devices: Vec<Device>,
    /// The copies of each partition, all different.
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
        self.inner.layout.part_power
    }

    /// Number of partitions: two to the power of [`Self::part_power`].
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.inner.layout.partitions()
    }

    /// Every partition, in order.
    pub fn partition_ids(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.partitions()).map(PartitionId)
    }

    /// Number of copies (or fragments) of a partition. With a fractional number of replicas some partitions have one
    /// less: the length of [`Self::primaries`] is exact.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.inner.layout.most()
    }

    /// The average number of copies of a partition: 2.5 when one half of them has three and the other two.
    #[must_use]
    pub fn replica_count(&self) -> f64 {
        self.inner.layout.replicas()
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
            .checked_shr(64 - u32::from(self.inner.layout.part_power))
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
        &self.inner.slots[self.inner.layout.range(partition.0)]
    }

    /// This ring with `failed` devices stood in for: in every partition that names one, the first handoffs that have not
    /// failed take their positions, and the failed ones are nobody's handoff. All other copies stay. Where no handoff is
    /// left, the failed device keeps its position. Every reader of this ring and this set gets the same table; version
    /// and part power are this ring's.
    #[must_use]
    pub fn without(&self, failed: &BTreeSet<DeviceId>) -> Self {
        if failed.is_empty() {
            return self.clone();
        }
        let mut devices = self.inner.devices.clone();
        for device in devices.iter_mut().filter(|device| failed.contains(&device.id)) {
            device.weight = 0.0;
        }
        let mut slots = self.inner.slots.clone();
        let layout = self.inner.layout;
        for partition in self.partition_ids() {
            let row = &mut slots[layout.range(partition.0)];
            if !row.iter().any(|device| failed.contains(device)) {
                continue;
            }
            let kept: Vec<DeviceId> = row.iter().copied().filter(|device| !failed.contains(device)).collect();
            let mut standing_in = Handoffs::new(&devices, &kept, partition);
            for slot in row.iter_mut().filter(|device| failed.contains(device)) {
                if let Some(next) = standing_in.next() {
                    *slot = next;
                }
            }
        }
        Self {
            inner: Arc::new(Inner {
                version: self.inner.version,
                layout,
                devices,
                slots,
            }),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(devices: u32, replicas: usize) -> Ring {
        let mut builder = crate::Builder::new(6, replicas, 0).unwrap();
        for number in 0..devices {
            let device = Device {
                id: DeviceId(0),
                region: 1,
                zone: number,
                node: u64::from(number) + 1,
                address: format!("127.0.0.1:{}", 7000 + number),
                name: "d0".into(),
                weight: 1.0,
                ..Device::default()
            };
            builder.add(device).unwrap();
        }
        builder.rebalance(1, 1).unwrap();
        builder.ring().unwrap()
    }

    #[test]
    fn reb_1_without_a_failed_device_only_its_copies_move_and_all_stay_apart() {
        let (whole, failed) = (ring(5, 3), BTreeSet::from([DeviceId(2)]));
        let rest = whole.without(&failed);
        for partition in whole.partition_ids() {
            let (before, after) = (whole.primaries(partition), rest.primaries(partition));
            let distinct: BTreeSet<_> = after.iter().collect();
            assert_eq!(distinct.len(), 3);
            for (old, new) in before.iter().zip(after) {
                assert!(*new != DeviceId(2) && (old == new || *old == DeviceId(2)));
            }
            assert!(!rest.handoffs(partition).any(|device| device == DeviceId(2)));
        }
        assert_eq!(whole.without(&BTreeSet::new()), whole);
    }

    #[test]
    fn a_device_nobody_can_stand_in_for_keeps_its_partitions() {
        let whole = ring(3, 3);
        let rest = whole.without(&BTreeSet::from([DeviceId(0)]));
        assert!(
            whole
                .partition_ids()
                .all(|partition| whole.primaries(partition) == rest.primaries(partition))
        );
    }
}
