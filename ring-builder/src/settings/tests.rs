use super::*;
use crate::testing::{builder, check, even, held};

fn balanced() -> Builder {
    let mut builder = builder(6, 3, even(3, 2, 2));
    builder.rebalance(10, 0).unwrap();
    builder
}

fn all(builder: &Builder, node: u64) -> Vec<DeviceId> {
    builder
        .devices()
        .filter(|device| device.node == node)
        .map(|device| device.id)
        .collect()
}

#[test]
fn information_moves_nothing_and_counts_the_version_up() {
    let mut builder = balanced();
    let before = builder.ring().unwrap();
    let change = DeviceChange {
        meta: Some("serial 7".to_owned()),
        replication: Some("10.9.9.9:7001".to_owned()),
        ..DeviceChange::default()
    };
    builder.set_info(&[DeviceId(3)], &change).unwrap();
    let after = builder.ring().unwrap();
    assert_eq!((before.version(), after.version()), (1, 2));
    assert_eq!(after.inner.slots, before.inner.slots);
    let device = after.device(DeviceId(3)).unwrap();
    assert_eq!(
        (device.meta.as_str(), device.replication_host_port()),
        ("serial 7", ("10.9.9.9", 7001))
    );
    assert_eq!(crate::Ring::from_bytes(&after.to_bytes()), Ok(after));
}

#[test]
fn a_change_that_is_not_possible_changes_nothing() {
    let mut builder = balanced();
    let before = builder.clone();
    let named = |name: &str| DeviceChange {
        name: Some(name.to_owned()),
        ..DeviceChange::default()
    };
    let address = DeviceChange {
        address: Some("elsewhere:7000".to_owned()),
        ..DeviceChange::default()
    };
    let zone = Place {
        zone: Some(9),
        ..Place::default()
    };
    assert!(matches!(
        builder.set_info(&[DeviceId(0)], &named("d1")),
        Err(RingError::DuplicateDevice { .. })
    ));
    assert!(matches!(
        builder.set_info(&[DeviceId(0)], &named("a/b")),
        Err(RingError::BadName(_))
    ));
    assert!(matches!(
        builder.set_info(&[DeviceId(0), DeviceId(99)], &named("x")),
        Err(RingError::UnknownDevice(_))
    ));
    assert!(matches!(
        builder.set_info(&[DeviceId(0)], &address),
        Err(RingError::NodeDiffers { .. })
    ));
    assert!(matches!(
        builder.set_place(&[DeviceId(0)], zone),
        Err(RingError::NodeDiffers { .. })
    ));
    let long = DeviceChange {
        meta: Some("x".repeat(301)),
        ..DeviceChange::default()
    };
    assert!(matches!(
        builder.set_info(&[DeviceId(0)], &long),
        Err(RingError::BadMeta(_))
    ));
    assert!(matches!(builder.set_overload(-0.1), Err(RingError::BadOverload(_))));
    assert!(matches!(builder.set_overload(f64::NAN), Err(RingError::BadOverload(_))));
    assert!(matches!(builder.set_replicas(0.5), Err(RingError::BadReplicas(_))));
    assert_eq!(builder, before);
}

#[test]
fn a_node_that_moves_to_another_zone_takes_its_share_there() {
    let mut builder = balanced();
    let ids = all(&builder, 1_000_001);
    builder
        .set_place(
            &ids,
            Place {
                zone: Some(2),
                ..Place::default()
            },
        )
        .unwrap();
    assert!(builder.changed());
    for _ in 0..6 {
        builder.rebalance(100, 0).unwrap();
        builder.pretend_min_part_hours_passed();
    }
    check(&builder.ring().unwrap());
}

#[test]
fn hours_left_until_all_may_move() {
    let mut builder = balanced();
    builder.set_min_part_hours(24);
    assert_eq!(
        builder.min_part_hours_left(11),
        0,
        "nothing moved at the first placement"
    );
    builder.set_weight(DeviceId(0), 10.0).unwrap();
    builder.rebalance(12, 0).unwrap();
    assert_eq!(builder.min_part_hours_left(15), 21);
    assert_eq!(builder.min_part_hours_left(36), 0);
    builder.pretend_min_part_hours_passed();
    assert_eq!(builder.min_part_hours_left(15), 0);
}

#[test]
fn overload_spreads_copies_that_weights_alone_would_put_together() {
    let mut devices = even(3, 1, 4);
    devices.truncate(11);
    let mut builder = builder(10, 3, devices);
    builder.rebalance(1, 0).unwrap();
    assert!(builder.dispersion().percent > 0.0);
    // The zone of three devices has to hold what four do: a third more than its share by weight, 12/11 of ...
    let required = builder.required_overload();
    assert!((required - (1.0 / 3.0 / (3.0 / 11.0) - 1.0)).abs() < 1e-9, "{required}");
    builder.set_overload(0.1).unwrap();
    let part_way = {
        let mut builder = builder.clone();
        builder.rebalance(1, 0).unwrap();
        builder.dispersion().percent
    };
    builder.set_overload(0.5).unwrap();
    for _ in 0..3 {
        builder.rebalance(1, 0).unwrap();
    }
    assert_eq!(builder.dispersion().percent, 0.0);
    assert!(part_way > 0.0 && part_way < 5.0, "{part_way}");
    let held = held(&builder.ring().unwrap());
    assert!(held[&DeviceId(9)] > 330 && held[&DeviceId(0)] == 256, "{held:?}");
}
