//! Copies find a place one by one: those of removed devices, those that stand too close, those of devices that hold
//! too much. Each step takes the partition's candidates in their order and the first that fits.

use std::cmp::Reverse;

use crate::candidates::Candidates;
use crate::mix::mix;
use crate::table::{EMPTY, Table};

/// Candidates asked in the partition's order before all devices are compared at once.
const CANDIDATES_ASKED: usize = 64;

/// Comparisons that one phase of a rebalance may spend on what its first candidates did not solve. What is not reached is
/// left to the next rebalance.
pub(crate) struct Budget(pub(crate) u64);

/// About two seconds.
pub(crate) const MAX_COMPARISONS: u64 = 1 << 26;

impl Budget {
    /// Takes `cost` off; false when it is used up.
    pub(crate) fn spend(&mut self, cost: usize) -> bool {
        self.0 = self.0.saturating_sub(cost as u64);
        self.0 > 0
    }
}

/// The devices that want more, on a hash ring that is built anew when half of them are served.
struct Wanting {
    candidates: Candidates,
    listed: usize,
    seed: u64,
}

impl Wanting {
    fn new(table: &Table<'_>, seed: u64) -> Self {
        let wants = (0..table.devices()).map(|device| (device, table.wants(device)));
        Self {
            candidates: Candidates::new(wants, seed),
            listed: table.wanting,
            seed,
        }
    }

    fn refresh(&mut self, table: &Table<'_>) {
        if table.wanting * 2 < self.listed {
            *self = Self::new(table, self.seed);
        }
    }

    fn order<'a>(&'a self, table: &'a Table<'_>, partition: u32) -> impl Iterator<Item = usize> + 'a {
        let fits = move |&to: &usize| table.wants(to) > 0 && !table.holds(partition, to);
        self.candidates.order(partition).take(CANDIDATES_ASKED).filter(fits)
    }
}

/// Gives every empty slot a device.
pub(crate) fn refill(table: &mut Table<'_>, order: &[u32], seed: u64) {
    if table.empty == 0 {
        return;
    }
    let mut wanting = Wanting::new(table, seed);
    for &partition in order {
        for slot in table.slots_of(partition) {
            if table.slots[slot] == EMPTY {
                let asked = wanting.order(table, partition).find(|&to| table.cost(slot, to) <= 0);
                // Where a domain lacks its copy, only a device inside that domain is right.
                let to = asked
                    .filter(|_| !table.lacks(partition))
                    .unwrap_or_else(|| best_of_all(table, slot));
                table.put(slot, to);
                wanting.refresh(table);
            }
        }
    }
}

/// The best device for `slot`: the spread comes first, then that the device wants more, then chance.
fn best_of_all(table: &Table<'_>, slot: usize) -> usize {
    let partition = table.partition_of(slot);
    (0..table.devices())
        .filter(|&to| table.active(to) && !table.holds(partition, to))
        .min_by_key(|&to| {
            (
                table.cost(slot, to),
                table.wants(to) == 0,
                mix(slot as u64 ^ mix(to as u64)),
            )
        })
        .expect("there are at least as many active devices as replicas")
}

/// Moves one copy of every partition whose spread can be made better by that, as far as the table's detours allow.
pub(crate) fn spread(table: &mut Table<'_>, order: &[u32], seed: u64, budget: &mut Budget) {
    let mut wanting = Wanting::new(table, seed);
    for &partition in order {
        if !table.strained(partition) || !table.slots_of(partition).any(|slot| table.may_move(slot)) {
            continue;
        }
        let asked = wanting
            .order(table, partition)
            .find_map(|to| best_slot(table, partition, to));
        let better = asked.or_else(|| {
            if !budget.spend(table.devices() * table.replicas) {
                return None;
            }
            let others = (0..table.devices()).filter(|&to| table.active(to) && !table.holds(partition, to));
            let ranked = others.filter_map(|to| {
                let (slot, to) = best_slot(table, partition, to)?;
                let chance = mix(slot as u64 ^ mix(to as u64));
                Some(((table.cost(slot, to), table.detour(slot, to), chance), (slot, to)))
            });
            ranked.min().map(|(_, step)| step)
        });
        if let Some((slot, to)) = better {
            table.put(slot, to);
            wanting.refresh(table);
        }
    }
}

/// The slot of `partition` that should go to `to` to make the spread better, with the fewest detours, then from the
/// largest surplus. None when no choice makes it better.
fn best_slot(table: &Table<'_>, partition: u32, to: usize) -> Option<(usize, usize)> {
    let movable = table
        .slots_of(partition)
        .filter(|&slot| table.may_move(slot) && table.affordable(slot, to));
    let ranked = movable.map(|slot| {
        let surplus = table.surplus(table.slots[slot]);
        (table.cost(slot, to), table.detour(slot, to), Reverse(surplus), slot)
    });
    ranked.filter(|&(cost, ..)| cost < 0).min().map(|(.., slot)| (slot, to))
}

/// Moves copies from devices that hold too much to devices that want more.
pub(crate) fn balance(table: &mut Table<'_>, order: &[u32], seed: u64, budget: &mut Budget) {
    let mut wanting = Wanting::new(table, seed);
    for &partition in order {
        if table.wanting == 0 {
            return;
        }
        let step = heavy_slots(table, partition).into_iter().find_map(|slot| {
            let to = wanting.order(table, partition).find(|&to| table.cost(slot, to) <= 0)?;
            Some((slot, to))
        });
        if let Some((slot, to)) = step {
            table.put(slot, to);
            wanting.refresh(table);
        }
    }
    for &partition in order {
        let wanting: Vec<usize> = (0..table.devices()).filter(|&to| table.wants(to) > 0).collect();
        if wanting.is_empty() {
            return;
        }
        for slot in heavy_slots(table, partition) {
            if !budget.spend(wanting.len()) {
                return;
            }
            let free = wanting
                .iter()
                .copied()
                .filter(|&to| table.wants(to) > 0 && !table.holds(partition, to));
            let ranked = free.map(|to| (table.cost(slot, to), mix(slot as u64 ^ mix(to as u64)), to));
            if let Some((.., to)) = ranked.filter(|&(cost, ..)| cost <= 0).min() {
                table.put(slot, to);
                break;
            }
        }
    }
}

/// The slots of `partition` that may leave a device with a surplus, the largest surplus first.
fn heavy_slots(table: &Table<'_>, partition: u32) -> Vec<usize> {
    let heavy = |&slot: &usize| table.surplus(table.slots[slot]) > 0 && table.may_move(slot);
    let mut slots: Vec<usize> = table.slots_of(partition).filter(heavy).collect();
    slots.sort_by_key(|&slot| Reverse(table.surplus(table.slots[slot])));
    slots
}
