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

proptest! {
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
