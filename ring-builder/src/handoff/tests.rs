use proptest::prelude::*;

use super::*;
use crate::builder::Builder;
use crate::ring::Ring;
use crate::testing::{builder, device, even};

fn ring(mut builder: Builder) -> Ring {
    builder.rebalance(1, 0).unwrap();
    builder.ring().unwrap()
}

#[test]
fn handoffs_are_all_other_devices_with_a_weight_and_in_a_stable_order() {
    let mut devices = even(3, 2, 3);
    devices.push(device(1, 0, 0, 99, 0.0));
    let ring = ring(builder(5, 3, devices));
    let read_back = Ring::from_bytes(&ring.to_bytes()).unwrap();
    for partition in ring.partition_ids() {
        let handoffs: Vec<DeviceId> = ring.handoffs(partition).collect();
        let mut all: Vec<DeviceId> = handoffs.iter().chain(ring.primaries(partition)).copied().collect();
        all.sort();
        assert_eq!(all, (0..18).map(DeviceId).collect::<Vec<_>>());
        assert_eq!(handoffs, read_back.handoffs(partition).collect::<Vec<_>>());
    }
}

#[test]
fn a_zone_without_a_copy_stands_in_first() {
    let ring = ring(builder(6, 2, even(3, 2, 2)));
    for partition in ring.partition_ids() {
        let zone = |id: DeviceId| ring.device(id).unwrap().zone;
        let used: Vec<u32> = ring.primaries(partition).iter().map(|&id| zone(id)).collect();
        assert!(!used.contains(&zone(ring.handoffs(partition).next().unwrap())));
    }
}

#[test]
fn the_load_of_a_lost_node_falls_on_all_others() {
    let ring = ring(builder(10, 3, even(1, 6, 1)));
    let mut first = [0; 6];
    for partition in ring
        .partition_ids()
        .filter(|&partition| ring.primaries(partition).contains(&DeviceId(0)))
    {
        first[ring.handoffs(partition).next().unwrap().0 as usize] += 1;
    }
    assert_eq!(first[0], 0);
    assert!(first[1..].iter().all(|&count| (70..140).contains(&count)), "{first:?}");
}

/// The order as it is defined, in the plainest words: every reader of a ring, of whatever release, has to agree.
fn by_definition(ring: &Ring, partition: PartitionId) -> Vec<DeviceId> {
    let mut holders: Vec<&Device> = ring
        .primaries(partition)
        .iter()
        .map(|&id| ring.device(id).unwrap())
        .collect();
    let mut left: Vec<&Device> = ring
        .devices()
        .filter(|one| one.weight > 0.0 && holders.iter().all(|other| other.id != one.id))
        .collect();
    let mut drawn = Vec::new();
    while !left.is_empty() {
        let crowd = |levels: usize, device: &Device| {
            let path = |one: &Device| [u64::from(one.region), u64::from(one.zone), one.node];
            holders
                .iter()
                .filter(|other| path(other)[..levels] == path(device)[..levels])
                .count()
        };
        let hash = |device: &Device| mix(mix(u64::from(partition.0)) ^ u64::from(device.id.0));
        let rank = |device: &Device| {
            (
                crowd(1, device),
                crowd(2, device),
                crowd(3, device),
                hash(device),
                device.id,
            )
        };
        let at = (0..left.len()).min_by_key(|&at| rank(left[at])).unwrap();
        let device = left.remove(at);
        drawn.push(device.id);
        holders.push(device);
    }
    drawn
}

#[test]
fn all_handoffs_of_the_largest_cluster_are_drawn_in_a_moment() {
    let devices = (0..40_000).map(|n| device(1, 0, u64::from(n / 10), n % 10, 1.0));
    let mut builder = Builder::new(2, 3, 0).unwrap();
    for (id, one) in (0..).map(DeviceId).zip(devices) {
        builder.devices.insert(id, Device { id, ..one });
    }
    builder.rebalance(1, 0).unwrap();
    let start = std::time::Instant::now();
    assert_eq!(builder.ring().unwrap().handoffs(PartitionId(1)).count(), 39_997);
    // A quadratic search takes a minute and more.
    assert!(start.elapsed().as_secs() < 10);
}

proptest! {
    #[test]
    fn the_order_is_the_one_that_is_defined(
        places in proptest::collection::vec((0u32..3, 0u32..3, 0u64..3, 0u8..4), 6..24), partition in 0u32..16,
    ) {
        let weight = |lot: u8| if lot == 0 { 0.0 } else { f64::from(lot) };
        let devices = (0..).zip(places)
            .map(|(n, (region, zone, node, lot))| device(region, zone, node, n, if n < 3 { 1.0 } else { weight(lot) }));
        let ring = ring(builder(4, 3, devices));
        let drawn: Vec<DeviceId> = ring.handoffs(PartitionId(partition)).collect();
        prop_assert_eq!(drawn, by_definition(&ring, PartitionId(partition)));
    }

    /// At every step no other device left stands in a less crowded region, or zone of it, or node of that.
    #[test]
    fn each_handoff_is_from_the_emptiest_domain(
        places in proptest::collection::vec((0u32..3, 0u32..3, 0u64..3), 3..20), partition in 0u32..16,
    ) {
        let devices = (0..).zip(places).map(|(n, (region, zone, node))| device(region, zone, node, n, 1.0));
        let ring = ring(builder(4, 3, devices));
        let mut copies: Vec<&Device> =
            ring.primaries(PartitionId(partition)).iter().map(|&id| ring.device(id).unwrap()).collect();
        for id in ring.handoffs(PartitionId(partition)) {
            let crowd = |device: &Device| {
                let region = copies.iter().filter(|copy| copy.region == device.region);
                let zone = region.clone().filter(|copy| copy.zone == device.zone);
                let node = zone.clone().filter(|copy| copy.node == device.node);
                (region.count(), zone.count(), node.count())
            };
            let next = ring.device(id).unwrap();
            let left = ring.devices().filter(|device| copies.iter().all(|copy| copy.id != device.id));
            prop_assert_eq!(Some(crowd(next)), left.map(crowd).min());
            copies.push(next);
        }
        prop_assert_eq!(copies.len(), ring.devices().count());
    }
}
