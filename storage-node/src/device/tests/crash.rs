//! The crash model of DESIGN §8: every operation of the disk is once the last one, and what was not synced by then is
//! lost, kept, reordered and torn in every permitted way.

use std::sync::Arc;

use clock::{Dice, SeededDice};

use super::kit::{Model, Step, World, audit, is_ok};
use crate::device::writer::Writer;

const KEYS: u64 = 20;
const STEPS: usize = 24;

fn steps(seed: u64) -> Vec<Step> {
    let dice = SeededDice::new(seed ^ 0x57e9);
    (0..STEPS).map(|_| Step::random(&dice, KEYS)).collect()
}

fn live(writer: &mut Writer, steps: &[Step], model: &mut Model) {
    for step in steps {
        step.run(writer, model);
    }
}

/// Opens a world, checks it against the model, and that a rebuild from the segments alone gives the same.
fn check(world: &World, model: &mut Model, context: &str) -> Writer {
    let (writer, report) = world.open().unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(report.rot_regions, 0, "{context}: a power cut was taken for rot");
    assert_eq!(
        report.rebuilt, None,
        "DUR-2 {context}: the index must never be behind a deletion"
    );
    model.check(&writer.core, context);
    audit(&writer.core, context);
    drop(writer);
    let bare = world.without_index();
    let (rebuilt, report) = bare
        .open()
        .unwrap_or_else(|error| panic!("{context}, rebuilt: {error}"));
    assert_eq!(report.rot_regions, 0, "{context}: the mended segments look damaged");
    model.check(&rebuilt.core, &format!("{context}, rebuilt"));
    audit(&rebuilt.core, &format!("{context}, rebuilt"));
    drop(rebuilt);
    world
        .open()
        .unwrap_or_else(|error| panic!("{context}, again: {error}"))
        .0
}

/// Operations of the disk that a whole life takes.
fn ops_of(seed: u64) -> u64 {
    let world = World::new(seed);
    let (mut writer, _) = world.open().unwrap();
    live(&mut writer, &steps(seed), &mut Model::default());
    world.disk.ops()
}

#[test]
fn dur4_a_power_cut_at_any_operation_loses_nothing_acknowledged() {
    for seed in 0..12 {
        for cut in 1..=ops_of(seed) {
            let context = format!("seed {seed} cut {cut}");
            let world = World::new(seed);
            world.disk.cut_power_at(cut);
            let mut model = Model::default();
            if let Ok((mut writer, _)) = world.open() {
                live(&mut writer, &steps(seed), &mut model);
            }
            for sample in 0..3 {
                let context = format!("{context} sample {sample}");
                let mut model = model.clone();
                let after = world.after_power_cut();
                let mut writer = check(&after, &mut model, &context);
                // Life goes on, and the next cut finds a device as good as a new one.
                live(&mut writer, &steps(seed + 1000)[..4], &mut model);
                assert!(is_ok(&writer.core), "{context}");
                drop(writer);
                check(&after.after_power_cut(), &mut model, &format!("{context}, second cut"));
            }
        }
    }
}

#[test]
fn dur4_a_power_cut_during_recovery_loses_nothing_acknowledged() {
    for seed in 0..60 {
        let world = World::new(seed);
        let dice = SeededDice::new(seed);
        world.disk.cut_power_at(1 + dice.u64() % ops_of(seed));
        let mut model = Model::default();
        if let Ok((mut writer, _)) = world.open() {
            live(&mut writer, &steps(seed), &mut model);
        }
        let mut now = world.after_power_cut();
        for cut in 1..6 {
            now.disk.cut_power_at(cut);
            drop(now.open());
            now = now.after_power_cut();
        }
        check(&now, &mut model, &format!("seed {seed}"));
    }
}

#[test]
fn dur4_a_killed_process_promises_nothing_that_a_later_power_cut_takes() {
    for seed in 0..300 {
        let world = World::new(seed);
        let dice = SeededDice::new(seed);
        let mut model = Model::default();
        let (mut writer, _) = world.open().unwrap();
        live(&mut writer, &steps(seed)[..12], &mut model);
        drop(writer);
        // Killed between write and sync: the bytes are in the page cache only.
        world.disk.cut_power_at(world.disk.ops() + 1 + dice.u64() % 12);
        if let Ok((mut writer, _)) = world.open() {
            live(&mut writer, &steps(seed)[12..], &mut model);
        }
        world.disk.cut_power_at(u64::MAX);
        let (mut writer, _) = world.open().unwrap();
        model.check(&writer.core, &format!("seed {seed}, killed"));
        // What goes on must stand on ground that a power cut cannot take away either.
        live(&mut writer, &steps(seed + 2000)[..2], &mut model);
        drop(writer);
        check(
            &world.after_power_cut(),
            &mut model,
            &format!("seed {seed}, killed, then cut"),
        );
    }
}

#[test]
fn dur4_after_a_failed_sync_nothing_is_written_and_nothing_acknowledged_lost() {
    for seed in 0..80 {
        let context = format!("seed {seed}");
        let world = World::new(seed);
        let dice = SeededDice::new(seed);
        let mut model = Model::default();
        let (mut writer, _) = world.open().unwrap();
        let good = (dice.u64() % STEPS as u64) as usize;
        live(&mut writer, &steps(seed)[..good], &mut model);
        world.disk.fail_syncs(1);
        live(&mut writer, &steps(seed)[good..], &mut model);
        if is_ok(&writer.core) {
            continue; // No step needed a sync.
        }
        let ops = world.disk.ops();
        let mut refused = model.clone();
        live(&mut writer, &steps(seed), &mut refused);
        assert_eq!(world.disk.ops(), ops, "{context}: written after a failed sync");
        let core = Arc::clone(&writer.core);
        drop(writer);
        assert!(core.list(None, u64::MAX, 100).is_ok(), "{context}: reads must go on");
        drop(core);
        // Started again without a power cut: the page cache still shows what the disk never got.
        let mut writer = check(&world, &mut refused, &format!("{context}, restarted"));
        live(&mut writer, &steps(seed + 500)[..6], &mut refused);
        drop(writer);
        check(
            &world.after_power_cut(),
            &mut refused,
            &format!("{context}, restarted, then cut"),
        );
    }
}

#[test]
fn dur4_a_clean_stop_leaves_nothing_to_doubt() {
    for seed in 0..20 {
        let world = World::new(seed);
        let mut model = Model::default();
        let (mut writer, _) = world.open().unwrap();
        live(&mut writer, &steps(seed), &mut model);
        writer.close().unwrap();
        drop(writer);
        let after = world.after_power_cut();
        let (_, report) = after.open().unwrap();
        assert_eq!(
            (report.replayed, report.torn_bytes, report.rot_regions),
            (0, 0, 0),
            "seed {seed}"
        );
        assert!(report.suspects.is_empty() && report.rebuilt.is_none());
        check(&after, &mut model, &format!("seed {seed}"));
    }
}

#[test]
fn dur2_a_full_disk_in_the_middle_changes_nothing() {
    for seed in 0..40 {
        let context = format!("seed {seed}");
        let world = World::new(seed);
        let dice = SeededDice::new(seed);
        let mut model = Model::default();
        let (mut writer, _) = world.open().unwrap();
        live(&mut writer, &steps(seed)[..8], &mut model);
        let used: usize = world.disk.lengths().values().sum();
        for step in &steps(seed)[8..] {
            // Sometimes a little room, never much; the checks of fill do not see it coming.
            world.disk.set_capacity(used as u64 + dice.u64() % 20_000);
            step.run(&mut writer, &mut model);
            // A repeat must be believed even if what failed before it left something behind.
            check(&world.after_power_cut(), &mut model.clone(), &format!("{context}, cut"));
            model.check(&writer.core, &context);
            audit(&writer.core, &context);
        }
        world.disk.set_capacity(1 << 40);
        assert!(is_ok(&writer.core), "{context}: want of space is no damage");
        live(&mut writer, &steps(seed + 1)[..4], &mut model);
        drop(writer);
        check(&world.after_power_cut(), &mut model, &context);
    }
}
