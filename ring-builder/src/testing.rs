//! Devices for this crate's tests, and a reference checker that shares no code with the builder: it knows only what a
//! good ring is, not how one is made.

use std::collections::BTreeMap;

use crate::builder::Builder;
use crate::device::{Device, DeviceId, PartitionId};
use crate::ring::Ring;

/// A device of `region` / `zone` / `node`, numbered `n` on it.
pub(crate) fn device(region: u32, zone: u32, node: u64, n: u32, weight: f64) -> Device {
    let node = u64::from(region) * 1_000_000 + u64::from(zone) * 10_000 + node;
    let address = format!("node-{node}:7000");
    Device {
        id: DeviceId(n),
        region,
        zone,
        node,
        address,
        name: format!("d{n}"),
        weight,
        ..Device::default()
    }
}

/// A builder with these devices, not yet balanced.
pub(crate) fn builder(part_power: u8, replicas: usize, devices: impl IntoIterator<Item = Device>) -> Builder {
    let mut builder = Builder::new(part_power, replicas, 0).unwrap();
    for device in devices {
        builder.add(device).unwrap();
    }
    builder
}

/// `zones` x `nodes` x `disks` devices of weight 100 in one region.
pub(crate) fn even(zones: u32, nodes: u64, disks: u32) -> Vec<Device> {
    let mut devices = Vec::new();
    for zone in 0..zones {
        for node in 0..nodes {
            devices.extend((0..disks).map(|disk| device(1, zone, node, disk, 100.0)));
        }
    }
    devices
}

/// Each device's share in partitions: by weight, capped at all partitions, found by bisection.
pub(crate) fn shares(ring: &Ring) -> BTreeMap<DeviceId, f64> {
    let partitions = f64::from(ring.partitions());
    let slots = partitions * ring.replica_count();
    let (mut low, mut high) = (0.0f64, 1.0f64);
    let share = |scale: f64, device: &Device| (device.weight * scale).min(partitions);
    let sum = |scale: f64| ring.devices().map(|device| share(scale, device)).sum::<f64>();
    while sum(high) < slots * (1.0 - 1e-12) {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if sum(middle) < slots {
            low = middle
        } else {
            high = middle
        }
    }
    ring.devices().map(|device| (device.id, share(high, device))).collect()
}

pub(crate) fn held(ring: &Ring) -> BTreeMap<DeviceId, u32> {
    let mut held: BTreeMap<DeviceId, u32> = ring.devices().map(|device| (device.id, 0)).collect();
    for partition in ring.partition_ids() {
        for id in ring.primaries(partition) {
            *held.get_mut(id).expect("the ring lists the device") += 1;
        }
    }
    held
}

/// Copies of a partition are on different devices of the ring.
pub(crate) fn check_distinct(ring: &Ring) {
    for partition in ring.partition_ids() {
        let mut copies = ring.primaries(partition).to_vec();
        assert!(copies.iter().all(|&id| ring.device(id).is_some()));
        copies.sort();
        copies.dedup();
        assert_eq!(copies.len(), ring.primaries(partition).len(), "partition {partition}");
    }
}

/// Every device is within 1 % or one partition of its share.
pub(crate) fn check_balance(ring: &Ring) {
    let shares = shares(ring);
    for (id, held) in held(ring) {
        let off = (f64::from(held) - shares[&id]).abs();
        assert!(
            off <= (shares[&id] * 0.01).max(1.0) + 1e-3,
            "device {id} holds {held}, its share is {}",
            shares[&id]
        );
    }
}

/// Number of (partition, domain) pairs with more or fewer copies than the domain's share rounded up or down.
pub(crate) fn badly_spread(ring: &Ring) -> usize {
    let shares = shares(ring);
    type Domain = (u32, Option<u32>, Option<u64>);
    let domains = |device: &Device| -> [Domain; 3] {
        let Device { region, zone, node, .. } = *device;
        [
            (region, None, None),
            (region, Some(zone), None),
            (region, Some(zone), Some(node)),
        ]
    };
    let mut wanted: BTreeMap<Domain, f64> = BTreeMap::new();
    for device in ring.devices() {
        for domain in domains(device) {
            *wanted.entry(domain).or_default() += shares[&device.id] / f64::from(ring.partitions());
        }
    }
    let mut bad = 0;
    for partition in ring.partition_ids() {
        let mut copies: BTreeMap<Domain, f64> = BTreeMap::new();
        for &id in ring.primaries(partition) {
            for domain in domains(ring.device(id).unwrap()) {
                *copies.entry(domain).or_default() += 1.0;
            }
        }
        for (domain, &share) in &wanted {
            let here = copies.get(domain).copied().unwrap_or(0.0);
            bad += usize::from(here < (share - 1e-6).floor() || here > (share + 1e-6).ceil());
        }
    }
    bad
}

/// All that a finished ring promises.
pub(crate) fn check(ring: &Ring) {
    check_distinct(ring);
    check_balance(ring);
    assert_eq!(badly_spread(ring), 0);
}

/// For each partition, how many of its copies are on devices that did not hold one before.
pub(crate) fn moves(before: &Ring, after: &Ring) -> Vec<usize> {
    let new = |partition: PartitionId| {
        let old = before.primaries(partition);
        after.primaries(partition).iter().filter(|id| !old.contains(id)).count()
    };
    after.partition_ids().map(new).collect()
}
