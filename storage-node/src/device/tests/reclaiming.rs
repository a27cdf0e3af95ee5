//! Reclaim, step by step: the most dangerous code of the house.

use super::kit::{Model, Step, World, audit, fill_segment, is_ok, key, op, put, reclaim, remove};
use crate::device::error::DeviceError;
use crate::device::record::file_name;

/// A world whose first segment is sealed and half dead: blobs 1.. up to segment 2 were put, the odd ones
/// removed.
fn half_dead(seed: u64) -> (World, Model) {
    let world = World::new(seed);
    let (mut writer, _) = world.open().unwrap();
    let next = fill_segment(&mut writer, 1);
    let mut model = Model::default();
    for n in 1..next {
        Step::Group(vec![(n, true)]).run(&mut writer, &mut model);
        if n % 2 == 1 {
            Step::Group(vec![(n, false)]).run(&mut writer, &mut model);
        }
    }
    writer.close().unwrap();
    (world, model)
}

#[test]
fn dur2_living_blobs_move_and_the_dead_ones_bytes_come_back() {
    let (world, mut model) = half_dead(1);
    let (mut writer, _) = world.open().unwrap();
    let before = writer.core.usage();
    let report = reclaim(&mut writer).unwrap();
    assert_eq!(report.victim, Some(1));
    assert!(report.moved_blobs > 0 && report.freed_bytes > report.moved_bytes && report.damaged == 0);
    assert!(!world.disk.lengths().contains_key(&file_name(1)));
    let after = writer.core.usage();
    assert!(after.used_bytes < before.used_bytes && after.live_bytes == before.live_bytes);
    model.check(&writer.core, "reclaimed");
    audit(&writer.core, "reclaimed");
    assert_eq!(
        reclaim(&mut writer).unwrap().victim,
        None,
        "there is nothing more to gain"
    );
}

#[test]
fn dur2_a_power_cut_at_any_operation_of_reclaim_loses_nothing() {
    let (world, _) = half_dead(2);
    let (mut writer, _) = world.open().unwrap();
    let before = world.disk.ops();
    reclaim(&mut writer).unwrap();
    let takes = world.disk.ops() - before;
    assert!(takes >= 4, "moves, syncs, removes, syncs the folder");
    for cut in 1..=takes + 1 {
        for sample in 0..12 {
            let context = format!("cut {cut} sample {sample}");
            let (world, mut model) = half_dead(100 * cut + sample);
            let (mut writer, _) = world.open().unwrap();
            world.disk.cut_power_at(world.disk.ops() + cut);
            let _ = reclaim(&mut writer);
            drop(writer);
            let after = world.after_power_cut();
            let (mut writer, report) = after.open().unwrap();
            assert_eq!(
                report.rebuilt, None,
                "{context}: the index must be synced before the deletion"
            );
            model.check(&writer.core, &context);
            audit(&writer.core, &context);
            while reclaim(&mut writer).unwrap().victim.is_some() {}
            model.check(&writer.core, &format!("{context}, finished"));
            drop(writer);
            let bare = after.without_index();
            let (writer, _) = bare.open().unwrap();
            model.check(&writer.core, &format!("{context}, finished, rebuilt"));
        }
    }
}

#[test]
fn dur2_a_segment_with_a_damaged_living_blob_stays_until_repair_puts_it_again() {
    let (world, mut model) = half_dead(3);
    let (mut writer, _) = world.open().unwrap();
    let victim = key(2);
    let place = writer.core.entry(&victim).unwrap().unwrap().place;
    world
        .disk
        .rot(&file_name(1), |bytes| bytes[place.offset as usize + 200] ^= 1);
    let report = reclaim(&mut writer).unwrap();
    assert_eq!((report.victim, report.damaged, report.freed_bytes), (Some(1), 1, 0));
    assert!(world.disk.lengths().contains_key(&file_name(1)));
    assert_eq!(writer.core.usage().blocked_segments, 1);
    assert_eq!(
        reclaim(&mut writer).unwrap().victim,
        None,
        "it is not tried again as it stands"
    );
    let blob = super::kit::blob(2).into();
    let repair = crate::device::writer::Op::Put {
        blob,
        over: Some(place),
    };
    writer.commit(&[repair]).remove(0).unwrap();
    assert_eq!(reclaim(&mut writer).unwrap().victim, Some(1));
    assert!(!world.disk.lengths().contains_key(&file_name(1)));
    model.check(&writer.core, "repaired");
    audit(&writer.core, "repaired");
}

#[test]
fn dur2_a_segment_with_an_unreadable_head_is_never_deleted() {
    for n in [2, 3] {
        let (world, _) = half_dead(4);
        let (mut writer, _) = world.open().unwrap();
        let place = match writer.core.entry(&key(n)).unwrap() {
            Some(entry) => entry.place.offset,
            // The dead blob lies behind its neighbour.
            None => {
                let entry = writer.core.entry(&key(n - 1)).unwrap().unwrap();
                entry.place.offset + crate::device::record::blob_disk_bytes(entry.header.len)
            }
        };
        world.disk.rot(&file_name(1), |bytes| bytes[place as usize + 30] ^= 1);
        let before = world.disk.bytes(&file_name(1));
        assert_eq!(reclaim(&mut writer).unwrap().moved_blobs, 0);
        assert_eq!(world.disk.bytes(&file_name(1)), before);
        assert_eq!(reclaim(&mut writer).unwrap().victim, None);
        assert!(writer.core.usage().corrupt_records > 0 && is_ok(&writer.core));
    }
}

#[test]
fn dur2_retiring_a_segment_with_life_in_it_is_refused() {
    let (world, mut model) = half_dead(5);
    let (mut writer, _) = world.open().unwrap();
    assert!(matches!(writer.retire(1), Err(DeviceError::Io(_))));
    let active = writer.active.as_ref().unwrap().segment;
    assert!(writer.retire(active).is_err(), "the open segment stays");
    model.check(&writer.core, "refused");
}

#[test]
fn dur3_a_removed_blob_stays_removed_when_its_tombstone_moves_and_the_index_is_lost() {
    let world = World::new(6);
    let (mut writer, _) = world.open().unwrap();
    let mut model = Model::default();
    // Blob 1 lies in a segment that stays alive; its tombstone in one that is reclaimed again and again.
    let next = fill_segment(&mut writer, 1);
    for n in 1..next {
        Step::Group(vec![(n, true)]).run(&mut writer, &mut model);
    }
    Step::Group(vec![(1, false)]).run(&mut writer, &mut model);
    let mut from = next;
    for _ in 0..6 {
        let until = fill_segment(&mut writer, from);
        for n in from..until {
            remove(&mut writer, n).unwrap();
        }
        from = until;
        while reclaim(&mut writer).unwrap().victim.is_some() {}
        audit(&writer.core, "reclaimed");
        let mut seen = model.clone();
        let bare = World {
            disk: world.disk.clone(),
            ..world.without_index()
        };
        drop(writer);
        let (rebuilt, _) = bare.open().unwrap();
        for n in next..from {
            seen.0.insert(n, super::kit::Known::Absent);
        }
        // What `fill_segment` put last lies in the open segment and was removed as well.
        seen.check(&rebuilt.core, "rebuilt");
        drop(rebuilt);
        writer = world.open().unwrap().0;
    }
    let tombstones: u64 = writer.core.books.lock().rows().values().map(|row| row.tombstones).sum();
    assert!(tombstones < 40, "spent tombstones are dropped, {tombstones} are left");
}

#[test]
fn a_blob_removed_while_it_is_being_moved_stays_removed() {
    let (world, _) = half_dead(7);
    let (mut writer, _) = world.open().unwrap();
    let entry = writer.core.entry(&key(2)).unwrap().unwrap();
    let file = writer.core.files.get(1).unwrap();
    let slice = file.read_verified(key(2), &entry).unwrap();
    let head = file.file.read_at(entry.place.offset.into(), 400).unwrap();
    let record = crate::device::record::Record::decode(&head, entry.place, &file.header.salt, super::kit::CLUSTER);
    let moved = crate::device::writer::Moved {
        record: record.unwrap(),
        payload: slice.payload,
    };
    // In one group, the remove first: the copy must not be written behind its tombstone.
    let ops = [op(2, false), crate::device::writer::Op::Move { records: vec![moved] }];
    assert!(writer.commit(&ops).iter().all(Result::is_ok));
    assert_eq!(writer.core.entry(&key(2)).unwrap(), None);
    drop(writer);
    let (rebuilt, _) = world.without_index().open().unwrap();
    assert_eq!(rebuilt.core.entry(&key(2)).unwrap(), None);
}

#[test]
fn reclaim_keeps_the_last_share_of_the_disk_for_tombstones() {
    let (mut world, mut model) = half_dead(8);
    let used: usize = world.disk.lengths().values().sum();
    world.options.capacity_bytes = Some(used as u64 + 100);
    let (mut writer, _) = world.open().unwrap();
    assert_eq!(put(&mut writer, 900), Err(DeviceError::Full));
    assert_eq!(reclaim(&mut writer), Err(DeviceError::Full));
    assert!(remove(&mut writer, 2).is_ok(), "removes are always admitted");
    model.0.insert(2, super::kit::Known::Absent);
    model.check(&writer.core, "full");
    audit(&writer.core, "full");
    assert!(is_ok(&writer.core));
}
