use crate::builder::Builder;
use crate::device::DeviceId;
use crate::testing::{builder, device, even};

fn placed(mut builder: Builder) -> Builder {
    builder.rebalance(1, 0).unwrap();
    builder
}

#[test]
fn a_good_ring_has_no_problems_and_no_notes() {
    let report = placed(builder(6, 3, even(3, 2, 2))).validate();
    assert_eq!((report.problems.len(), report.notes.len()), (0, 0), "{report:?}");
    assert!(report.devices.iter().all(|load| load.in_tolerance && load.held == 16));
    assert_eq!(report.worst_percent, 0.0);
}

#[test]
fn three_replicas_on_one_node_are_not_spread_and_it_is_said() {
    let report = placed(builder(6, 3, even(1, 1, 3))).validate();
    assert_eq!(report.problems, [""; 0]);
    assert_eq!(
        report.notes,
        [
            "not spread: 64 of 64 partitions have two or more copies in one node: 3 replicas need 3 nodes, and there are 1"
        ]
    );
}

#[test]
fn a_heavy_zone_is_named_as_the_reason() {
    let mut devices = even(3, 1, 1);
    devices[0].weight = 150.0;
    devices.push(device(1, 0, 1, 0, 50.0));
    let report = placed(builder(6, 3, devices)).validate();
    assert_eq!(report.problems, [""; 0]);
    assert!(
        report.notes[0].starts_with("not spread: ")
            && report.notes[0].ends_with("one zone: give the zones more equal weights")
    );
}

#[test]
fn what_a_rebalance_would_mend_is_a_problem() {
    let mut builder = placed(builder(6, 3, even(3, 2, 2)));
    builder.remove(DeviceId(0)).unwrap();
    let problems = builder.validate().problems;
    assert_eq!(
        problems[0],
        "devices were changed since the last rebalance (ring version 1): run `rebalance` first"
    );
    assert_eq!(problems[1], "16 replicas were on removed devices: run `rebalance`");
    assert!(problems[2].starts_with("11 devices are further than 1 % and one partition from their share"));
}

#[test]
fn copies_that_need_not_stand_together_are_counted() {
    let mut builder = placed(builder(2, 2, even(2, 1, 2)));
    assert_eq!(builder.validate().together[1].partitions, 0);
    builder.slots[..2].copy_from_slice(&[DeviceId(0), DeviceId(1)]);
    let report = builder.validate();
    assert_eq!((report.together[1].partitions, report.together[1].avoidable), (1, 1));
    assert!(
        report
            .problems
            .iter()
            .any(|problem| problem.contains("more copies in one zone than they need to"))
    );
}

#[test]
fn too_few_devices_and_an_empty_builder_are_reported_not_a_panic() {
    let empty = Builder::new(4, 3, 0).unwrap().validate();
    assert!(empty.problems[0].contains("there are 0"));
    let mut one = placed(builder(4, 2, even(1, 2, 1)));
    one.remove(DeviceId(0)).unwrap();
    assert!(one.validate().problems[0].contains("there are 1"));
}
