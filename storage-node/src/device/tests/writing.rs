//! Groups, answers and faults of the writer.

use super::kit::{Model, Step, World, audit, blob, is_ok, key, op, put, remove};
use crate::device::conformance::sample_blob;
use crate::device::error::DeviceError;
use crate::device::store::DeviceState;
use crate::device::writer::{Committed, Op};

#[test]
fn dur1_one_sync_serves_a_whole_group() {
    let world = World::new(1);
    let (mut writer, _) = world.open().unwrap();
    let before = writer.core.usage().syncs;
    let ops: Vec<Op> = (1..7).map(|n| op(n, true)).collect();
    assert!(writer.commit(&ops).iter().all(|answer| *answer == Ok(Committed::Done)));
    assert_eq!(writer.core.usage().syncs, before + 1);
    assert_eq!(writer.core.usage().puts, 6);
}

#[test]
fn dur1_operations_of_one_group_see_each_other() {
    let world = World::new(1);
    let (mut writer, _) = world.open().unwrap();
    let other = sample_blob(super::kit::CLUSTER, key(3).placement, 3, 10, 99);
    assert_eq!(other.key, key(3));
    let ops = [
        op(3, true),
        op(3, true),
        Op::Put {
            blob: other.clone().into(),
            over: None,
        },
        op(3, false),
        Op::Put {
            blob: other.clone().into(),
            over: None,
        },
    ];
    let answers = writer.commit(&ops);
    assert_eq!(answers[..2], [Ok(Committed::Done), Ok(Committed::Done)]);
    assert_eq!(answers[2], Err(DeviceError::Conflict));
    assert_eq!(answers[3..], [Ok(Committed::Done), Ok(Committed::Done)]);
    assert_eq!(
        writer.core.read_verified(key(3)).unwrap().payload,
        other.payload.to_bytes()
    );
    audit(&writer.core, "one group");
    drop(writer);
    let (writer, _) = world.without_index().open().unwrap();
    assert_eq!(
        writer.core.read_verified(key(3)).unwrap().payload,
        other.payload.to_bytes()
    );
}

#[test]
fn a_repeat_in_a_later_group_points_at_the_copy_that_lies_here() {
    let world = World::new(1);
    let (mut writer, _) = world.open().unwrap();
    put(&mut writer, 3).unwrap();
    let entry = writer.core.entry(&key(3)).unwrap().unwrap();
    let ops = world.disk.ops();
    assert_eq!(put(&mut writer, 3), Ok(Committed::Exists(entry)));
    assert_eq!(
        remove(&mut writer, 900),
        Ok(Committed::Done),
        "an unknown key needs no tombstone"
    );
    assert_eq!(world.disk.ops(), ops, "neither needs the disk");
}

#[test]
fn dur4_a_failed_sync_fails_all_its_writers_and_nobody_before() {
    let world = World::new(1);
    let (mut writer, _) = world.open().unwrap();
    put(&mut writer, 1).unwrap();
    world.disk.fail_syncs(1);
    let answers = writer.commit(&[op(1, true), op(2, true), op(1, false)]);
    assert!(matches!(answers[0], Ok(Committed::Exists(_))));
    assert!(
        answers[1..]
            .iter()
            .all(|answer| matches!(answer, Err(DeviceError::ReadOnly(_))))
    );
    assert_eq!(writer.core.usage().state, DeviceState::ReadOnly);
    assert!(
        writer.core.read_verified(key(1)).is_ok(),
        "reads go on, and the remove did not happen"
    );
    assert!(matches!(writer.core.read_verified(key(2)), Err(DeviceError::NotFound)));
    let syncs = writer.core.usage().syncs;
    assert!(matches!(put(&mut writer, 3), Err(DeviceError::ReadOnly(_))));
    assert_eq!(
        writer.core.usage().syncs,
        syncs,
        "DUR-4: a failed sync is never tried again"
    );
}

#[test]
fn want_of_space_fails_the_group_and_leaves_the_device_as_it_was() {
    let world = World::new(1);
    let (mut writer, _) = world.open().unwrap();
    put(&mut writer, 1).unwrap();
    let before = world.disk.lengths();
    world.disk.set_capacity(before.values().sum::<usize>() as u64 + 3000);
    // The fill limits are not what stops it here: the disk itself is.
    writer.core.status.check_writable().unwrap();
    let ops = [Op::Remove { keys: vec![key(1)] }, op(7, true)];
    let mut model = Model::default();
    Step::Group(vec![(1, true)]).run(&mut writer, &mut model);
    let answers = writer.commit(&ops);
    assert!(answers[1] == Err(DeviceError::Full), "{answers:?}");
    assert!(is_ok(&writer.core));
    audit(&writer.core, "full");
    world.disk.set_capacity(1 << 40);
    assert_eq!(put(&mut writer, 7), Ok(Committed::Done));
    drop(writer);
    let (writer, report) = world.without_index().open().unwrap();
    assert_eq!(report.rot_regions, 0);
    assert!(writer.core.read_verified(key(7)).is_ok());
}

#[test]
fn writes_stop_at_their_share_of_the_capacity_and_removes_do_not() {
    let mut world = World::new(1);
    world.options.capacity_bytes = Some(200_000);
    let (mut writer, _) = world.open().unwrap();
    let mut n = 1;
    while put(&mut writer, n).is_ok() {
        n += 1;
    }
    assert_eq!(put(&mut writer, n), Err(DeviceError::Full));
    let fill = writer.core.usage().fill_permille();
    assert!(fill <= 900, "{fill}");
    for n in 1..n {
        remove(&mut writer, n).unwrap();
    }
    assert_eq!(writer.core.usage().blobs, 0);
    while super::kit::reclaim(&mut writer).unwrap().victim.is_some() {}
    assert!(writer.core.usage().fill_permille() < fill);
    put(&mut writer, 1).unwrap();
}

#[test]
fn group_bounds_do_not_break_long_blobs() {
    let world = World::new(1);
    let (mut writer, _) = world.open().unwrap();
    let long = sample_blob(super::kit::CLUSTER, 1, 77, 4 << 20, 1);
    writer
        .commit(&[Op::Put {
            blob: long.clone().into(),
            over: None,
        }])
        .remove(0)
        .unwrap();
    put(&mut writer, 1).unwrap();
    assert_eq!(
        writer.core.read_verified(long.key).unwrap().payload,
        long.payload.to_bytes()
    );
    assert_eq!(
        writer.core.read_verified(key(1)).unwrap().payload,
        blob(1).payload.to_bytes()
    );
    assert_eq!(world.disk.lengths().len(), 2, "the long one filled its segment");
}

#[test]
fn dur1_a_remove_that_failed_for_want_of_space_cannot_come_true_after_a_repeated_put() {
    for seed in 0..48 {
        let mut world = World::new(seed);
        // Only the disk itself refuses.
        world.options.put_fill_permille = 1_000_000;
        world.options.reserve_bytes = 0;
        let (mut writer, _) = world.open().unwrap();
        put(&mut writer, 1).unwrap();
        world
            .disk
            .set_capacity(world.disk.lengths().values().sum::<usize>() as u64 + 3000);
        let answers = writer.commit(&[op(1, false), op(7, true)]);
        assert_eq!(answers, [Err(DeviceError::Full), Err(DeviceError::Full)]);
        assert!(matches!(put(&mut writer, 1), Ok(Committed::Exists(_))));
        let (after, _) = world.after_power_cut().open().unwrap();
        assert!(after.core.read_verified(key(1)).is_ok(), "seed {seed}");
        drop(writer);
        let (killed, _) = world.without_index().open().unwrap();
        assert!(killed.core.read_verified(key(1)).is_ok(), "seed {seed}, killed");
    }
}
