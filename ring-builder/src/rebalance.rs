//! One rebalance: from the devices and the old table to the new table.

use crate::builder::{Builder, LOST, NEVER};
use crate::device::{Device, DeviceId};
use crate::mix::{mix, shuffled};
use crate::shift::{Budget, MAX_COMPARISONS};
use crate::table::{EMPTY, Table};
use crate::topology::Topology;
use crate::{chain, fresh, resize, shift};

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
    let layout = builder.wanted_layout();
    let added = resize::run(builder, layout, &devices);
    let old: Vec<usize> = positions(&builder.slots, &ids);
    let held = held(&old, devices.len());
    let tree = Topology::new(&devices, layout, builder.overload, &held);
    if old.iter().all(|&device| device == EMPTY) {
        return place_all(builder, &tree, &ids, now_hours, seed);
    }
    let resting = builder
        .moved_at
        .iter()
        .map(|&hour| rests(hour, now_hours, builder.min_part_hours))
        .collect();
    let mut table = Table::new(&tree, layout, &old, resting);
    // The order must not be the one of an earlier rebalance, whose traces are in the table.
    shift_all(&mut table, builder.changed, mix(seed ^ mix(builder.version)));
    let mut moves = adopt(builder, &table, &ids, now_hours);
    moves.placed += added;
    moves.refilled -= added;
    moves.left_over = (0..devices.len()).map(|device| table.off(device)).sum();
    moves.left_strained = strained(&table);
    moves
}

/// Ids up to this one are looked up in a list; it takes 8 MiB at most.
const MAX_DENSE_ID: usize = 1 << 20;

/// The position of each slot's device in `ids`, which are sorted; [`EMPTY`] for those that are not there.
pub(crate) fn positions(slots: &[DeviceId], ids: &[DeviceId]) -> Vec<usize> {
    let last = ids.last().map_or(0, |id| id.0 as usize);
    if last > MAX_DENSE_ID {
        return slots.iter().map(|id| ids.binary_search(id).unwrap_or(EMPTY)).collect();
    }
    let mut at = vec![EMPTY; last + 1];
    for (position, id) in ids.iter().enumerate() {
        at[id.0 as usize] = position;
    }
    slots
        .iter()
        .map(|id| at.get(id.0 as usize).copied().unwrap_or(EMPTY))
        .collect()
}

/// How many partitions each device holds.
pub(crate) fn held(slots: &[usize], devices: usize) -> Vec<u64> {
    let mut held = vec![0; devices];
    for &device in slots.iter().filter(|&&device| device != EMPTY) {
        held[device] += 1;
    }
    held
}

fn place_all(builder: &mut Builder, tree: &Topology, ids: &[DeviceId], now_hours: u32, seed: u64) -> Moves {
    let table = fresh::place(tree, builder.layout, seed);
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

fn shift_all(table: &mut Table<'_>, changed: bool, seed: u64) {
    let order = shuffled(table.partitions(), seed);
    shift::refill(table, &order, seed);
    let surplus: u64 = (0..table.devices()).map(|device| table.surplus(device)).sum();
    let detours = if changed {
        a_tenth(surplus)
    } else {
        surplus + 2 * strained(table) + chain::MAX_LINKS as u64
    };
    shift::spread(table, &order, seed, &mut Budget(MAX_COMPARISONS));
    table.detours = i64::try_from(detours).unwrap_or(i64::MAX);
    improve(table, &order, seed);
    // Surplus that no move of its own takes away leaves its moves to detours. Each of those makes at most one other
    // move possible. It is better done now, while copies that travel anyway can still be redirected.
    let left = (surplus + detours).saturating_sub(table.moved) / 2;
    if left > 0 {
        table.detours = i64::try_from(left).unwrap_or(i64::MAX);
        improve(table, &order, seed);
    }
}

/// The rebalance after a change may move a tenth more than the surplus, so that an added device moves at most 1.1 times
/// its share. The share may be one less than the surplus, which is rounded: a tenth of that, and that one, are taken
/// off. A further rebalance without a change is there to finish what this left, and takes the moves that it needs.
fn a_tenth(surplus: u64) -> u64 {
    surplus.saturating_sub(11) / 10
}

/// Passes over all partitions, each of which may pay for detours of the next.
const MAX_PASSES: usize = 4;

fn improve(table: &mut Table<'_>, order: &[u32], seed: u64) {
    let [mut shifts, mut chains, mut detours] = [const { Budget(MAX_COMPARISONS) }; 3];
    for _ in 0..MAX_PASSES {
        let before = (table.moved, table.detours);
        shift::spread(table, order, seed, &mut shifts);
        shift::balance(table, order, seed, &mut shifts);
        chain::level(table, &mut chains);
        if (table.moved, table.detours) == before {
            break;
        }
    }
    chain::settle(table, &mut detours);
}

fn strained(table: &Table<'_>) -> u64 {
    (0..table.partitions())
        .filter(|&partition| table.strained(partition))
        .count() as u64
}

/// A partition rests for `min_part_hours` after its last move, also when the clock was set back since.
fn rests(moved_at: u32, now_hours: u32, min_part_hours: u32) -> bool {
    moved_at != NEVER && now_hours.saturating_sub(moved_at) < min_part_hours
}

/// Writes the table into the builder and counts what changed.
fn adopt(builder: &mut Builder, table: &Table<'_>, ids: &[DeviceId], now_hours: u32) -> Moves {
    let mut moves = Moves::default();
    let new: Vec<DeviceId> = table.copies_in_order().map(|device| ids[device]).collect();
    for (partition, moved_at) in (0..).zip(&mut builder.moved_at) {
        let range = builder.layout.range(partition);
        let (before, after) = (&builder.slots[range.clone()], &new[range]);
        if before == after {
            continue;
        }
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
