//! Flipped bits of synced bytes: counted, never served, and nobody else's problem (INT-1).

use clock::{Dice, SeededDice};

use super::kit::{Known, Model, Step, World, audit, blob, key, put};
use crate::device::error::DeviceError;
use crate::device::record::file_name;
use crate::device::scrub;
use crate::device::store::Purpose;
use crate::device::writer::{Op, Writer};

/// A device with a past, cleanly stopped.
fn aged(seed: u64) -> (World, Model) {
    let world = World::new(seed);
    let dice = SeededDice::new(seed);
    let mut model = Model::default();
    let (mut writer, _) = world.open().unwrap();
    for _ in 0..20 {
        Step::random(&dice, 20).run(&mut writer, &mut model);
    }
    writer.close().unwrap();
    (world, model)
}

/// Flips one bit; says in which file and where.
fn flip_one(world: &World, dice: &dyn Dice) -> (String, usize) {
    let files: Vec<(String, usize)> = world
        .disk
        .lengths()
        .into_iter()
        .filter(|(_, len)| *len > 8192)
        .collect();
    let (name, len) = files[dice.u64() as usize % files.len()].clone();
    // Headers seldom, records mostly.
    let at = if dice.u64().is_multiple_of(8) {
        dice.u64() as usize % 8192
    } else {
        8192 + dice.u64() as usize % (len - 8192)
    };
    let bit = 1 << (dice.u64() % 8);
    world.disk.rot(&name, |bytes| bytes[at] ^= bit);
    (name, at)
}

/// How many present blobs cannot be read; wrong bytes are a failure of the test.
fn unreadable(writer: &Writer, model: &Model, context: &str) -> Vec<u64> {
    let present = model.0.iter().filter(|(_, known)| **known == Known::Present);
    let bad = present.filter(
        |(n, _)| match writer.core.read(key(**n), &(0..u32::MAX), Purpose::Serve) {
            Ok(slice) => match slice.verify() {
                Ok(()) => {
                    assert_eq!(
                        slice.payload,
                        blob(**n).payload.to_bytes(),
                        "INT-1 {context}: rot served as good"
                    );
                    false
                }
                Err(_) => true,
            },
            Err(DeviceError::Corrupt(_) | DeviceError::NotFound) => true,
            Err(error) => panic!("{context}: {error}"),
        },
    );
    bad.map(|(n, _)| *n).collect()
}

#[test]
fn int1_one_flipped_bit_costs_at_most_one_blob_and_is_counted() {
    for seed in 0..400 {
        let (world, mut model) = aged(seed % 20);
        let dice = SeededDice::new(seed);
        let (file, at) = flip_one(&world, &dice);
        let with_index = seed % 2 == 0;
        let world = if with_index { world } else { world.without_index() };
        let context = format!("seed {seed}: bit in {file} at {at}");
        let (mut writer, report) = world.open().unwrap();
        let bad = unreadable(&writer, &model, &context);
        assert!(bad.len() <= 1, "{context}: {bad:?} are lost");
        let scrubbed = scrub::step(&writer.core, None, u64::MAX).unwrap();
        let counted = report.rot_regions > 0 || writer.core.usage().corrupt_records > 0;
        assert!(bad.is_empty() || counted, "{context}: not counted");
        for n in &bad {
            assert!(
                !with_index || scrubbed.damaged.contains(&key(*n)),
                "{context}: scrub does not name {n}"
            );
            let over = writer.core.entry(&key(*n)).unwrap().map(|entry| entry.place);
            writer
                .commit(&[Op::Put {
                    blob: blob(*n).into(),
                    over,
                }])
                .remove(0)
                .unwrap();
        }
        // A tombstone whose head is lost without an index brings its blob back as an orphan; that is allowed.
        let absent = model
            .0
            .iter()
            .filter(|(_, known)| **known == Known::Absent)
            .map(|(n, _)| *n);
        let orphans: Vec<u64> = absent
            .filter(|n| writer.core.entry(&key(*n)).unwrap().is_some())
            .collect();
        assert!(
            orphans.len() <= 1 && (orphans.is_empty() || report.rot_regions > 0),
            "{context}: {orphans:?}"
        );
        model.0.extend(orphans.iter().map(|n| (*n, Known::Present)));
        model.check(&writer.core, &format!("{context}, repaired"));
        audit(&writer.core, &context);
    }
}

#[test]
fn int1_a_lost_segment_header_costs_that_segment_only() {
    let world = World::new(3);
    let mut model = Model::default();
    let (mut writer, _) = world.open().unwrap();
    for n in 1..40 {
        Step::Group(vec![(n, true)]).run(&mut writer, &mut model);
    }
    writer.close().unwrap();
    let in_second = |n: &u64| {
        writer
            .core
            .entry(&key(*n))
            .unwrap()
            .is_some_and(|entry| entry.place.segment == 2)
    };
    let there: Vec<u64> = model.0.keys().copied().filter(in_second).collect();
    assert!(!there.is_empty());
    drop(writer);
    world.disk.rot(&file_name(2), |bytes| bytes[..8192].fill(0x55));
    let (writer, _) = world.open().unwrap();
    assert_eq!(unreadable(&writer, &model, "indexed"), there);
    drop(writer);
    let (writer, report) = world.without_index().open().unwrap();
    assert_eq!(report.rot_regions, 1);
    assert_eq!(unreadable(&writer, &model, "rebuilt"), there);
    assert!(
        world.disk.lengths().contains_key(&file_name(2)),
        "rot is kept, not deleted"
    );
}

#[test]
fn dur4_damage_before_the_synced_length_is_rot_and_damage_behind_it_a_torn_tail() {
    let world = World::new(1);
    let (mut writer, _) = world.open().unwrap();
    for n in 1..6 {
        put(&mut writer, n).unwrap();
    }
    let place = |n| writer.core.entry(&key(n)).unwrap().unwrap().place;
    let (early, last) = (place(2), place(5));
    let name = file_name(early.segment);
    drop(writer);
    // In the middle: what lies behind it must survive.
    let bare = world.without_index();
    world.disk.rot(&name, |bytes| bytes[early.offset as usize + 40] ^= 1);
    let (writer, report) = bare.open().unwrap();
    assert_eq!((report.rot_regions, report.torn_bytes, report.blobs), (1, 0, 4));
    drop(writer);
    // In the last group, without an index that remembers: it may have been torn, so it is cut off, and named.
    world.disk.rot(&name, |bytes| bytes[last.offset as usize + 140] ^= 1);
    let (_, report) = world.without_index().open().unwrap();
    assert_eq!(report.rot_regions, 1, "the old rot is still there");
    assert!(report.torn_bytes > 0);
    assert_eq!(report.suspects, [key(5)]);
    assert_eq!(world.disk.lengths()[&name], last.offset as usize);
}

#[test]
fn int1_user_bytes_that_look_like_a_record_are_not_taken_for_one() {
    let world = World::new(2);
    let (mut writer, _) = world.open().unwrap();
    put(&mut writer, 1).unwrap();
    // A whole record of the same device, copied by a user into an object, then its carrier's head rots.
    let entry = writer.core.entry(&key(1)).unwrap().unwrap();
    let file = file_name(entry.place.segment);
    let record = world.disk.bytes(&file).unwrap()[entry.place.offset as usize..].to_vec();
    let len = record.len() + 4096;
    let mut carrier = crate::device::conformance::sample_blob(super::kit::CLUSTER, 5, 5, len, 0);
    let mut bytes = carrier.payload.to_bytes().to_vec();
    for at in (0..4096).step_by(4) {
        bytes[at..at + 4].copy_from_slice(b"HREC");
    }
    let shift = 128 - (entry.place.offset as usize + record.len() + 132) % 128;
    bytes[shift..shift + record.len()].copy_from_slice(&record);
    carrier = crate::device::blob::Blob::seal(carrier.key, carrier.header, bytes.into());
    let at = writer.active.as_ref().unwrap().len as usize;
    writer
        .commit(&[Op::Put {
            blob: carrier.clone().into(),
            over: None,
        }])
        .remove(0)
        .unwrap();
    put(&mut writer, 2).unwrap();
    drop(writer);
    world.disk.rot(&file, |bytes| bytes[at] ^= 1);
    let (writer, report) = world.without_index().open().unwrap();
    assert_eq!((report.blobs, report.rot_regions), (2, 1));
    assert_eq!(writer.core.entry(&key(1)).unwrap().unwrap().place, entry.place);
}

#[test]
fn scrub_walks_everything_in_steps() {
    let (world, model) = aged(5);
    let (writer, _) = world.open().unwrap();
    let (mut after, mut seen) = (None, 0);
    loop {
        let report = scrub::step(&writer.core, after, 5_000).unwrap();
        assert!(report.damaged.is_empty());
        seen += report.blobs;
        match report.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(
        seen as usize,
        model.0.values().filter(|known| **known == Known::Present).count()
    );
}
