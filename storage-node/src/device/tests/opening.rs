//! Whose folder is it, and does the index fit?

use std::sync::Arc;

use metadata::ids::{ClusterId, DeviceId};

use super::kit::{IDENTITY, Model, Step, World, audit, fill_segment, key, put, reclaim, remove};
use crate::device::core::Parts;
use crate::device::error::DeviceError;
use crate::device::index::{Index, IndexBatch, SegmentRow};
use crate::device::options::OnEmpty;
use crate::device::record::{Identity, file_name};
use crate::device::recovery;

fn open_as(world: &World, identity: Identity) -> Result<(), DeviceError> {
    let parts = Parts {
        disk: Arc::new(world.disk.clone()),
        index: Arc::clone(&world.index) as Arc<dyn Index>,
        clock: Arc::new(clock::ManualClock::at(1)),
        dice: Arc::clone(&world.dice) as Arc<dyn clock::Dice>,
    };
    recovery::open(parts, identity, world.options).map(|_| ())
}

fn refused(result: Result<(), DeviceError>) -> String {
    match result {
        Err(DeviceError::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn another_clusters_or_devices_folder_is_refused_with_advice() {
    let world = World::new(1);
    drop(world.open().unwrap());
    let cluster = refused(open_as(
        &world,
        Identity {
            cluster: ClusterId(2),
            ..IDENTITY
        },
    ));
    assert!(cluster.contains("another folder"), "{cluster}");
    let device = refused(open_as(
        &world,
        Identity {
            device: DeviceId(5),
            ..IDENTITY
        },
    ));
    assert!(device.contains("device 4") && device.contains("mounted"), "{device}");
    assert!(open_as(&world, IDENTITY).is_ok());
}

#[test]
fn foreign_files_are_refused_and_named() {
    let world = World::new(1);
    world.disk.plant("holiday.jpg", b"x");
    assert!(refused(open_as(&world, IDENTITY)).contains("holiday.jpg"));
    assert_eq!(world.disk.lengths().len(), 1, "nothing was made beside it");
}

#[test]
fn an_open_folder_is_not_opened_twice() {
    let world = World::new(1);
    let open = world.open().unwrap();
    assert!(refused(open_as(&world, IDENTITY)).contains("in use"));
    drop(open);
    assert!(open_as(&world, IDENTITY).is_ok());
}

#[test]
fn an_empty_folder_of_a_device_in_use_is_not_formatted() {
    let mut world = World::new(1);
    world.options.on_empty = OnEmpty::Refuse;
    assert!(refused(open_as(&world, IDENTITY)).contains("mount"));
    assert!(world.disk.lengths().is_empty());
}

#[test]
fn a_renamed_segment_is_refused() {
    let world = World::new(1);
    let (mut writer, _) = world.open().unwrap();
    put(&mut writer, 1).unwrap();
    drop(writer);
    let bytes = world.disk.bytes(&file_name(1)).unwrap();
    world.disk.plant(&file_name(2), &bytes);
    assert!(refused(open_as(&world.without_index(), IDENTITY)).contains("renamed"));
}

#[test]
fn an_index_of_another_life_of_the_folder_is_rebuilt_and_never_believed() {
    let old = World::new(1);
    let (mut writer, _) = old.open().unwrap();
    let next = fill_segment(&mut writer, 1);
    for n in 1..next {
        remove(&mut writer, n).unwrap();
    }
    while reclaim(&mut writer).unwrap().victim.is_some() {}
    drop(writer);
    let new = World::new(2);
    let (mut writer, _) = new.open().unwrap();
    let mut model = Model::default();
    for n in 1..30 {
        Step::Group(vec![(n, true)]).run(&mut writer, &mut model);
    }
    writer.close().unwrap();
    drop(writer);
    let mixed = World {
        index: Arc::clone(&old.index),
        ..new
    };
    let (writer, report) = mixed.open().unwrap();
    assert!(report.rebuilt.is_some());
    model.check(&writer.core, "mixed");
    audit(&writer.core, "mixed");
}

#[test]
fn an_index_older_than_a_deletion_is_rebuilt() {
    let world = World::new(1);
    let (mut writer, _) = world.open().unwrap();
    let next = fill_segment(&mut writer, 1);
    writer.close().unwrap();
    let old_index = world.index.after_power_cut(usize::MAX);
    let mut model = Model::default();
    for n in 1..next {
        Step::Group(vec![(n, n % 2 == 0)]).run(&mut writer, &mut model);
    }
    assert!(reclaim(&mut writer).unwrap().freed_bytes > 0);
    drop(writer);
    let restored = World {
        index: Arc::new(old_index),
        ..world
    };
    let (writer, report) = restored.open().unwrap();
    assert!(report.rebuilt.unwrap().contains("gone"));
    model.check(&writer.core, "restored");
    audit(&writer.core, "restored");
}

#[test]
fn a_restart_goes_on_in_the_same_segment() {
    let world = World::new(1);
    for n in 0..5 {
        let (mut writer, _) = world.open().unwrap();
        put(&mut writer, n).unwrap();
        writer.close().unwrap();
    }
    assert_eq!(world.disk.lengths().len(), 1);
}

#[test]
fn an_index_with_the_same_numbers_of_other_segments_is_rebuilt() {
    let (old, new) = (World::new(1), World::new(2));
    for (world, n) in [(&old, 1), (&new, 2)] {
        let (mut writer, _) = world.open().unwrap();
        put(&mut writer, n).unwrap();
        writer.close().unwrap();
    }
    let mixed = World {
        index: Arc::clone(&old.index),
        ..new
    };
    let (writer, report) = mixed.open().unwrap();
    assert!(report.rebuilt.unwrap().contains("another file"));
    assert!(writer.core.read_verified(key(2)).is_ok());
    assert!(matches!(writer.core.read_verified(key(1)), Err(DeviceError::NotFound)));
}

#[test]
fn dur2_a_segment_is_not_deleted_on_the_word_of_another_devices_index() {
    let world = World::new(1);
    let (mut writer, _) = world.open().unwrap();
    put(&mut writer, 1).unwrap();
    writer.close().unwrap();
    drop(writer);
    let mut batch = IndexBatch::default();
    let row = SegmentRow {
        tag: 12345,
        retired: true,
        sealed: true,
        indexed: 9000,
        ..SegmentRow::default()
    };
    batch.rows.insert(1, Some(row));
    let foreign = world.without_index();
    foreign.index.apply(batch, true).unwrap();
    let (writer, report) = foreign.open().unwrap();
    assert!(report.rebuilt.is_some());
    assert!(writer.core.read_verified(key(1)).is_ok());
}
