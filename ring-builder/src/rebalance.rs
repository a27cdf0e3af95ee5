//! One rebalance: from the devices and the old table to the new table.

use crate::builder::{Builder, LOST, NEVER};
use crate::device::{Device, DeviceId};
use crate::mix::{mix, shuffled};
use crate::shift::{Budget, MAX_COMPARISONS};
use crate::table::{EMPTY, Table};
use crate::topology::Topology;
use crate::{chain, fresh, shift};

/// What a rebalance did, and what it left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Moves {
    /// Replicas placed for the first time.
    pub placed: u64,
    /// Replicas of removed devices placed anew.
    pub refilled: u64,
    /// Replicas moved from a device that is still there.
    pub moved: u64,
    /// Replicas that devices still hold too many or too few, where that is out of tolerance: min-part-hours, or the rule
    /// of one move per partition, leaves them to a later rebalance.
    pub left_over: u64,
    /// Partitions whose copies could be spread wider by a later rebalance.
    pub left_strained: u64,
}

/// Changes the builder's table and the hours of the last moves.
pub(crate) fn run(builder: &mut Builder, now_hours: u32, seed: u64) -> Moves {
    let devices: Vec<Device> = builder.devices.values().cloned().collect();
    let ids: Vec<DeviceId> = devices.iter().map(|device| device.id).collect();
    let old: Vec<usize> = builder
        .slots
        .iter()
        .map(|id| ids.binary_search(id).unwrap_or(EMPTY))
        .collect();
    let mut held = vec![0; devices.len()];
    for &device in old.iter().filter(|&&device| device != EMPTY) {
        held[device] += 1;
    }
    let tree = Topology::new(&devices, builder.partitions(), builder.replicas, &held);
    if old.iter().all(|&device| device == EMPTY) {
        return place_all(builder, &tree, &ids, now_hours, seed);
    }
    let resting = builder
        .moved_at
        .iter()
        .map(|&hour| rests(hour, now_hours, builder.min_part_hours))
        .collect();
    let mut table = Table::new(&tree, builder.replicas, old, resting);
    // The order must not be the one of an earlier rebalance, whose traces are in the table.
    shift_all(&mut table, mix(seed ^ mix(builder.version)));
    let mut moves = adopt(builder, &table, &ids, now_hours);
    moves.left_over = (0..devices.len()).map(|device| table.surplus(device)).sum();
    moves.left_strained = (0..table.partitions())
        .filter(|&partition| table.strained(partition))
        .count() as u64;
    moves
}

fn place_all(builder: &mut Builder, tree: &Topology, ids: &[DeviceId], now_hours: u32, seed: u64) -> Moves {
    let table = fresh::place(tree, builder.partitions(), builder.replicas, seed);
    let count = table.len() as u64;
    let first = builder.slots.is_empty();
    builder.slots = table.into_iter().map(|device| ids[device]).collect();
    // Nothing travels at the first placement, so no partition has to rest after it.
    let hour = if first { NEVER } else { now_hours.max(NEVER + 1) };
    builder.moved_at = vec![hour; builder.partitions() as usize];
    if first {
        Moves {
            placed: count,
            ..Moves::default()
        }
    } else {
        Moves {
            refilled: count,
            ..Moves::default()
        }
    }
}

fn shift_all(table: &mut Table<'_>, seed: u64) {
    let order = shuffled(table.partitions(), seed);
    shift::refill(table, &order, seed);
    let surplus: u64 = (0..table.devices()).map(|device| table.surplus(device)).sum();
    let strained = strained(table);
    shift::spread(table, &order, seed, &mut Budget(MAX_COMPARISONS));
    let most_moves = detours(surplus, strained).saturating_add_unsigned(surplus);
    table.detours = most_moves.saturating_sub_unsigned(surplus);
    improve(table, &order, seed);
    // Where surplus stays that no move of its own takes away, the moves it does not need are free for detours. Each
    // of those makes at most one other move possible.
    let left = most_moves.saturating_sub_unsigned(table.moved) / 2;
    let fewest = if table.moved == 0 { FEWEST_DETOURS } else { 0 };
    if left.max(fewest) > 0 {
        table.detours = left.max(fewest);
        improve(table, &order, seed);
    }
}

/// Passes over all partitions, each of which may pay for detours of the next.
const MAX_PASSES: usize = 4;

fn improve(table: &mut Table<'_>, order: &[u32], seed: u64) {
    let (mut shifts, mut chains) = (Budget(MAX_COMPARISONS), Budget(MAX_COMPARISONS));
    for _ in 0..MAX_PASSES {
        let before = (table.moved, table.detours);
        shift::spread(table, order, seed, &mut shifts);
        shift::balance(table, order, seed, &mut shifts);
        chain::level(table, &mut chains);
        if (table.moved, table.detours) == before {
            break;
        }
    }
    chain::settle(table, &mut chains);
}

fn strained(table: &Table<'_>) -> u64 {
    (0..table.partitions())
        .filter(|&partition| table.strained(partition))
        .count() as u64
}

/// Detours when there is no other move, whatever the size of the ring.
const FEWEST_DETOURS: i64 = 8;

/// Partitions that wait for a wider spread, for each replica in surplus, after the change of a single device.
const MOST_STRAIN_PER_SURPLUS: u64 = 6;

/// A rebalance may move a tenth more than the surplus, so that an added device moves at most 1.1 times its share. The
/// share may be one less than the surplus, which is rounded: a tenth of that, and that one, are taken off. Where far more
/// partitions wait for a wider spread than there is surplus, which no single device causes (it changes the bounds of its
/// own domains and of their siblings, on three levels), spread decides: each takes a move, and may cause another.
fn detours(surplus: u64, strained: u64) -> i64 {
    let detours = (surplus.saturating_sub(11) / 10).max(2 * strained.saturating_sub(MOST_STRAIN_PER_SURPLUS * surplus));
    i64::try_from(detours).unwrap_or(i64::MAX)
}

/// A partition rests for `min_part_hours` after its last move, also when the clock was set back since.
fn rests(moved_at: u32, now_hours: u32, min_part_hours: u32) -> bool {
    moved_at != NEVER && now_hours.saturating_sub(moved_at) < min_part_hours
}

/// Writes the table into the builder and counts what changed.
fn adopt(builder: &mut Builder, table: &Table<'_>, ids: &[DeviceId], now_hours: u32) -> Moves {
    let mut moves = Moves::default();
    let new: Vec<DeviceId> = table.slots.iter().map(|&device| ids[device]).collect();
    let partitions = builder
        .slots
        .chunks_exact(builder.replicas)
        .zip(new.chunks_exact(builder.replicas));
    for ((before, after), moved_at) in partitions.zip(&mut builder.moved_at) {
        let changed = before.iter().zip(after).filter(|(before, after)| before != after);
        let (lost, moved): (Vec<_>, Vec<_>) = changed.partition(|(before, _)| **before == LOST);
        moves.refilled += lost.len() as u64;
        moves.moved += moved.len() as u64;
        assert!(
            moved.len() + usize::from(!lost.is_empty()) <= 1,
            "at most one replica of a partition moves"
        );
        if !lost.is_empty() || !moved.is_empty() {
            *moved_at = now_hours.max(NEVER + 1);
        }
    }
    builder.slots = new;
    moves
}
