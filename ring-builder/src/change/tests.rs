use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::builder::Builder;
use crate::device::Device;
use crate::ring::Inner;
use crate::testing::{builder, device, even, held};

fn balanced(builder: &mut Builder) -> Ring {
    builder.rebalance(1, 0).unwrap();
    builder.ring().unwrap()
}

/// Three zones of two nodes with two devices each, and the same with one device more.
fn one_added() -> (Builder, Ring, Ring) {
    let mut builder = builder(8, 3, even(3, 2, 2));
    let live = balanced(&mut builder);
    builder.add(device(1, 0, 7, 0, 100.0)).unwrap();
    let new = balanced(&mut builder);
    (builder, live, new)
}

/// `ring` with one slot given to another device and the version one higher.
fn with_slot(ring: &Ring, partition: u32, replica: usize, to: DeviceId) -> Ring {
    let mut inner = Inner {
        version: ring.version() + 1,
        layout: ring.inner.layout,
        devices: ring.devices().cloned().collect(),
        slots: ring.inner.slots.clone(),
    };
    inner.slots[partition as usize * ring.replicas() + replica] = to;
    Ring { inner: Arc::new(inner) }
}

/// A device of another zone that does not hold the partition, nor shares a zone with another of its copies.
fn stranger(ring: &Ring, partition: u32, near: DeviceId) -> DeviceId {
    let near = ring.device(near).unwrap();
    let holders = ring.primaries(PartitionId(partition));
    ring.devices()
        .find(|device| device.zone == near.zone && !holders.contains(&device.id))
        .unwrap()
        .id
}

#[test]
fn the_moves_are_those_of_the_builder() {
    let (_, live, new) = one_added();
    let change = Change::between(&live, &new).unwrap();
    assert_eq!(change.replicas_moved(), u64::from(held(&new)[&DeviceId(12)]));
    for PartitionMove { partition, from, to } in change.moves() {
        assert_eq!((from.len(), to.as_slice()), (1, [DeviceId(12)].as_slice()));
        assert!(live.primaries(*partition).contains(&from[0]) && !new.primaries(*partition).contains(&from[0]));
    }
    let traffic = change.traffic(|_| 10);
    assert_eq!(traffic[&DeviceId(12)].bytes_in, 10 * change.replicas_moved());
    assert_eq!(
        traffic.values().map(|one| one.partitions_out).sum::<u64>(),
        change.replicas_moved()
    );
    assert_eq!(change.bytes_moved(|_| 10), 10 * change.replicas_moved());
    assert_eq!(even_partition_bytes(&live, 768_001), 1001);
}

#[test]
fn positions_that_change_are_no_move() {
    let (_, live, _) = one_added();
    let first = live.primaries(PartitionId(0)).to_vec();
    let swapped = with_slot(&with_slot(&live, 0, 0, first[1]), 0, 1, first[0]);
    assert_eq!(Change::between(&live, &swapped).unwrap().moves(), []);
}

#[test]
fn a_ring_that_does_not_follow_is_refused() {
    let (mut other, live, new) = one_added();
    let older = Change::between(&new, &live).unwrap_err();
    assert_eq!(older, ChangeRefused::Older { live: 2, new: 1 });
    assert!(older.to_string().contains("run `rebalance` on the newest builder file"));
    assert_eq!(
        Change::back(&new, &live).unwrap().replicas_moved(),
        Change::between(&live, &new).unwrap().replicas_moved()
    );

    let mut larger = builder(9, 3, even(3, 2, 2));
    balanced(&mut larger);
    let refused = Change::between(&live, &balanced(&mut larger));
    assert_eq!(refused.unwrap_err(), ChangeRefused::OtherPartitions { live: 8, new: 9 });

    let mut renamed = builder(8, 3, even(4, 2, 2).into_iter().filter(|device| device.zone > 0));
    balanced(&mut renamed);
    let refused = Change::between(&live, &balanced(&mut renamed)).unwrap_err();
    assert!(
        matches!(refused, ChangeRefused::OtherDevice { id: DeviceId(0), .. }),
        "{refused}"
    );

    // Two clusters may count their nodes and name their devices alike.
    let mut twin = builder(
        8,
        3,
        even(3, 2, 2).into_iter().map(|device| Device {
            address: format!("twin-{}:1", device.node),
            ..device
        }),
    );
    balanced(&mut twin);
    twin.set_weight(DeviceId(0), 50.0).unwrap();
    let refused = Change::between(&live, &balanced(&mut twin)).unwrap_err();
    assert!(
        matches!(refused, ChangeRefused::OtherMachines { id: DeviceId(0), .. }),
        "{refused}"
    );

    for id in 0..12 {
        other.remove(DeviceId(id)).unwrap();
    }
    for device in even(3, 3, 1) {
        other
            .add(Device {
                node: device.node + 50,
                address: format!("other-{}:1", device.node),
                ..device
            })
            .unwrap();
    }
    let foreign = balanced(&mut other);
    let no_common = Change::between(&live, &foreign);
    assert_eq!(no_common.unwrap_err(), ChangeRefused::OtherCluster);
}

#[test]
fn devices_that_the_cluster_does_not_know_are_named() {
    let (_, live, new) = one_added();
    let known = |device: &Device| live.device(device.id).is_some();
    assert_eq!(check_registered(&live, known), Ok(()));
    let refused = check_registered(&new, known).unwrap_err();
    assert!(
        refused.to_string().contains("1 device(s) of this ring are unknown"),
        "{refused}"
    );
}

/// REB-1.
#[test]
fn two_replicas_at_once_are_refused_unless_one_device_is_gone() {
    let (_, live, new) = one_added();
    assert_eq!(
        check_pace(&Change::between(&live, &new).unwrap(), None, 1, 1, |_| false),
        Ok(())
    );
    let holders = live.primaries(PartitionId(5)).to_vec();
    let once = with_slot(&live, 5, 0, stranger(&live, 5, holders[0]));
    let twice = with_slot(&once, 5, 1, stranger(&live, 5, holders[1]));
    let change = Change::between(&live, &twice).unwrap();
    let refused = ChangeRefused::TwoAtOnce {
        partitions: 1,
        first: PartitionId(5),
        live: 1,
    };
    assert_eq!(check_pace(&change, None, 1, 0, |_| false), Err(refused.clone()));
    assert_eq!(
        check_pace(&change, None, 1, 0, |id| id == holders[0]),
        Err(refused),
        "the other copies must stay"
    );
    let both_gone = check_pace(&change, None, 1, 0, |id| holders[..2].contains(&id));
    assert_eq!(both_gone, Ok(()), "failed devices wait for nobody");
    let single = Change::between(&live, &once).unwrap();
    assert_eq!(check_pace(&single, None, 1, 0, |id| id == holders[0]), Ok(()));
}

/// REB-1.
#[test]
fn a_partition_rests_for_min_part_hours_after_its_last_move() {
    let (_, live, _) = one_added();
    let holders = live.primaries(PartitionId(9)).to_vec();
    let first = with_slot(&live, 9, 0, stranger(&live, 9, holders[0]));
    let second = with_slot(&first, 9, 1, stranger(&first, 9, holders[1]));
    let elsewhere = with_slot(&first, 10, 1, stranger(&first, 10, first.primaries(PartitionId(10))[1]));
    let earlier = Some(Earlier {
        before: &live,
        applied_at_hours: 100,
    });
    let again = Change::between(&first, &second).unwrap();
    let refused = check_pace(&again, earlier, 103, 5, |_| false).unwrap_err();
    let expected = ChangeRefused::TooSoon {
        partitions: 1,
        first: PartitionId(9),
        hours_ago: 3,
        hours_left: 2,
    };
    assert_eq!(refused, expected);
    assert_eq!(check_pace(&again, earlier, 105, 5, |_| false), Ok(()));
    assert_eq!(
        check_pace(&again, earlier, 103, 5, |id| id == holders[1]),
        Ok(()),
        "a failed device waits for nobody"
    );
    let other = Change::between(&first, &elsewhere).unwrap();
    assert_eq!(check_pace(&other, earlier, 103, 5, |_| false), Ok(()));
}

/// DUR-1.
#[test]
fn copies_that_would_stand_closer_are_refused() {
    let (_, live, new) = one_added();
    // A ninth part more weight in one zone than in the others: its surplus is second copies of a partition.
    let heavy = thinner(&Change::between(&live, &new).unwrap());
    assert_eq!((heavy.len(), heavy[0].level), (1, Level::Zone));
    assert_eq!(check_quorum(&new, 2), Ok(()));
    let holders = live.primaries(PartitionId(3)).to_vec();
    let close = with_slot(&live, 3, 0, stranger(&live, 3, holders[1]));
    let refused = check_domains(&Change::between(&live, &close).unwrap()).unwrap_err();
    let ChangeRefused::Thinner(thinner) = &refused else {
        panic!("{refused}")
    };
    assert_eq!(
        (thinner.level, thinner.before, thinner.after, thinner.partitions),
        (Level::Zone, 3, 2, 1)
    );
    assert!(refused.to_string().contains("fewer zones than now"), "{refused}");
}

/// DUR-1.
#[test]
fn a_zone_that_is_taken_away_on_purpose_is_not_held_against_the_ring() {
    let mut builder = builder(6, 3, even(3, 2, 2));
    let live = balanced(&mut builder);
    for id in 0..4 {
        builder.remove(DeviceId(id)).unwrap();
    }
    let new = balanced(&mut builder);
    let change = Change::between(&live, &new).unwrap();
    assert_eq!(check_domains(&change), Ok(()));
    assert_eq!(check_pace(&change, None, 1, 24, |_| false), Ok(()));
    let mut one_node = builder.clone();
    for id in 4..12 {
        let node = one_node
            .devices()
            .find(|device| device.id == DeviceId(id))
            .unwrap()
            .node;
        if node != 1_010_000 {
            one_node.remove(DeviceId(id)).unwrap();
        }
    }
    one_node.add(device(1, 1, 0, 9, 100.0)).unwrap();
    let refused = check_quorum(&balanced(&mut one_node), 2).unwrap_err();
    assert!(
        matches!(
            refused,
            ChangeRefused::TooSmall {
                nodes: 1,
                quorum: 2,
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn a_device_that_would_be_too_full_is_refused_and_leaving_copies_count() {
    let (_, live, new) = one_added();
    let change = Change::between(&live, &new).unwrap();
    let full = |used_bytes| Capacity {
        total_bytes: 1000,
        used_bytes,
    };
    let mut capacities: BTreeMap<DeviceId, Capacity> = (0..12).map(|id| (DeviceId(id), full(950))).collect();
    assert_eq!(
        check_space(&change, |_| 1, &capacities, 85),
        Err(ChangeRefused::NoCapacity(DeviceId(12)))
    );
    capacities.insert(DeviceId(12), full(0));
    assert_eq!(
        check_space(&change, |_| 1, &capacities, 85),
        Ok(()),
        "those that only give may be full"
    );
    let arriving = change.traffic(|_| 1)[&DeviceId(12)].bytes_in;
    capacities.insert(DeviceId(12), full(851 - arriving));
    let refused = check_space(&change, |_| 1, &capacities, 85).unwrap_err();
    let expected = ChangeRefused::TooFull {
        id: DeviceId(12),
        percent_after: 86,
        percent_max: 85,
        devices: 1,
    };
    assert_eq!(refused, expected);
    capacities.insert(DeviceId(12), full(850 - arriving));
    assert_eq!(check_space(&change, |_| 1, &capacities, 85), Ok(()));
    let all = projections(&change, |_| 1, &capacities);
    assert!(all.iter().all(|one| one.used_at_most_bytes >= one.used_after_bytes));
}

#[test]
fn what_a_device_gives_away_makes_room_for_what_it_receives() {
    let (_, live, _) = one_added();
    let to = stranger(&live, 0, live.primaries(PartitionId(0))[0]);
    let given = live
        .partition_ids()
        .find(|&other| other.0 > 0 && live.primaries(other).contains(&to))
        .unwrap();
    let replica = live.primaries(given).iter().position(|&id| id == to).unwrap();
    let received = with_slot(&live, 0, 0, to);
    let both = with_slot(&received, given.0, replica, stranger(&live, given.0, to));
    let used = |used_bytes| Capacity {
        total_bytes: 1000,
        used_bytes,
    };
    let mut capacities: BTreeMap<DeviceId, Capacity> = (0..12).map(|id| (DeviceId(id), used(0))).collect();
    capacities.insert(to, used(850));
    let refused = check_space(&Change::between(&live, &received).unwrap(), |_| 1, &capacities, 85);
    assert!(matches!(refused, Err(ChangeRefused::TooFull { .. })), "{refused:?}");
    let change = Change::between(&live, &both).unwrap();
    assert_eq!(check_space(&change, |_| 1, &capacities, 85), Ok(()));
    let projected = projections(&change, |_| 1, &capacities)
        .into_iter()
        .find(|one| one.device == to)
        .unwrap();
    assert_eq!((projected.used_after_bytes, projected.used_at_most_bytes), (850, 851));
}

proptest! {
    /// What a builder makes in one rebalance after any change is a change that the checks take.
    #[test]
    fn every_rebalance_keeps_the_pace(
        changes in proptest::collection::vec((0u8..3, 0u32..12, 1.0f64..200.0), 1..5), seed: u64,
    ) {
        let mut builder = builder(6, 3, even(3, 2, 2));
        builder.rebalance(1, seed).unwrap();
        let live = builder.ring().unwrap();
        for (n, (kind, id, weight)) in (50..).zip(changes) {
            let _ = match kind {
                0 => builder.remove(DeviceId(id)).map(drop),
                1 => builder.set_weight(DeviceId(id), weight),
                _ => builder.add(device(1, id % 4, u64::from(id % 3), n, weight)).map(drop),
            };
        }
        builder.rebalance(2, seed).unwrap();
        let change = Change::between(&live, &builder.ring().unwrap()).unwrap();
        prop_assert_eq!(check_pace(&change, None, 2, 1, |_| false), Ok(()));
    }
}
