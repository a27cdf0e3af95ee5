//! When no single move helps any more: A gives a copy to B, which gives another to C.
//!
//! A device with a surplus and a device that wants more may share no partition that could go from one to the other
//! without two copies coming too close. Three kinds of links lead on, each keeping the spread:
//!
//! - a copy that this rebalance has placed goes elsewhere instead;
//! - a copy that this rebalance has moved goes back, and another copy of its partition moves in its stead;
//! - a copy that was not touched yet moves.
//!
//! Only links of the last kind add a move. A chain with one of them places as much as it moves; more of them are
//! detours, which are for devices that are out of tolerance.

use std::collections::{BTreeMap, VecDeque};

use crate::shift::Budget;
use crate::table::Table;
use crate::topology::{DomainIx, ZONE_LEVEL};

/// Longest chain, in links.
pub(crate) const MAX_LINKS: usize = 16;

/// Comparisons of one search, so that a device that cannot be helped leaves time for the others.
const COMPARISONS_PER_SEARCH: u64 = 1 << 22;

/// Devices that [`level`] looks at without success before it gives up: the next one would hardly fare better.
const MOST_FRUITLESS: usize = 32;

/// Looking for a copy that could go back costs about as much as this many comparisons.
const COST_OF_STAND_IN: usize = 4;

/// One step: the copy in `slot` leaves its device, and device `to` holds one more.
#[derive(Clone, Copy)]
struct Link {
    slot: usize,
    to: usize,
    /// The copy that goes back to `to`; without one the copy in `slot` goes there.
    returns: Option<usize>,
    /// Links on the way here that add a move, this one included.
    moves: i64,
}

/// Takes surplus away by chains without detours.
pub(crate) fn level(table: &mut Table<'_>, budget: &mut Budget) {
    let heavy: Vec<usize> = (0..table.devices())
        .filter(|&device| table.surplus(device) > 0)
        .collect();
    if heavy.is_empty() {
        return;
    }
    let mut copies_on = copies_on(table);
    let mut fruitless = 0;
    for device in heavy {
        let before = table.surplus(device);
        while table.surplus(device) > 0 {
            let Some(chain) = cheapest(table, &copies_on, &[device], |to| table.wants(to) > 0, 1, budget) else {
                break;
            };
            follow(table, &mut copies_on, chain);
        }
        fruitless = if table.surplus(device) < before {
            0
        } else {
            fruitless + 1
        };
        if fruitless == MOST_FRUITLESS {
            return;
        }
    }
}

/// Brings devices that are out of tolerance back in, as far as detours and budget allow.
pub(crate) fn settle(table: &mut Table<'_>, budget: &mut Budget) {
    let troubled: Vec<usize> = (0..table.devices()).filter(|&device| table.off(device) > 0).collect();
    if troubled.is_empty() {
        return;
    }
    let mut copies_on = copies_on(table);
    for device in troubled {
        while table.off(device) > 0 {
            let most_moves = 1 + table.detours.max(0);
            let chain = if table.surplus(device) > 0 {
                cheapest(
                    table,
                    &copies_on,
                    &[device],
                    |to| table.wants(to) > 0,
                    most_moves,
                    budget,
                )
            } else {
                let givers: Vec<usize> = (0..table.devices()).filter(|&from| table.surplus(from) > 0).collect();
                cheapest(table, &copies_on, &givers, |to| to == device, most_moves, budget)
            };
            let Some(chain) = chain else { break };
            follow(table, &mut copies_on, chain);
        }
    }
}

/// The slots of each device.
fn copies_on(table: &Table<'_>) -> Vec<Vec<usize>> {
    let mut copies_on: Vec<Vec<usize>> = vec![Vec::new(); table.devices()];
    for partition in 0..table.partitions() {
        for slot in table.slots_of(partition) {
            copies_on[table.slots[slot]].push(slot);
        }
    }
    copies_on
}

fn follow(table: &mut Table<'_>, copies_on: &mut [Vec<usize>], chain: Vec<Link>) {
    for Link { slot, to, returns, .. } in chain {
        copies_on[table.slots[slot]].retain(|&other| other != slot);
        if let Some(moved) = returns {
            let place = table.slots[moved];
            copies_on[place].retain(|&other| other != moved);
            copies_on[place].push(slot);
            copies_on[to].push(moved);
            table.exchange(slot, moved);
        } else {
            copies_on[to].push(slot);
            table.put(slot, to);
        }
    }
}

/// A chain from one of `sources` to a device that is a `target`, with as few moves as there can be: breadth first,
/// links without a move before links with one.
fn cheapest(
    table: &Table<'_>,
    copies_on: &[Vec<usize>],
    sources: &[usize],
    target: impl Fn(usize) -> bool,
    most_moves: i64,
    budget: &mut Budget,
) -> Option<Vec<Link>> {
    let mut share = Budget(COMPARISONS_PER_SEARCH);
    let mut search = Search {
        unseen: unseen(table, sources),
        is_seen: vec![false; table.devices()],
        reached_by: vec![None; table.devices()],
        queue: sources.iter().copied().collect(),
    };
    for &source in sources {
        search.is_seen[source] = true;
    }
    while let Some(from) = search.queue.pop_front() {
        let path = search.path_to(table, from);
        if path.len() >= MAX_LINKS {
            continue;
        }
        let fresh = |slot: usize| {
            path.iter()
                .all(|link| table.partition_of(link.slot) != table.partition_of(slot))
        };
        let moves = path.last().map_or(0, |link| link.moves);
        for &slot in copies_on[from]
            .iter()
            .filter(|&&slot| table.is_touched(slot) && fresh(slot))
        {
            if !budget.spend(COST_OF_STAND_IN) || !share.spend(COST_OF_STAND_IN) {
                return None;
            }
            if let Some(moved) = table
                .stand_in(slot)
                .filter(|&moved| !search.is_seen[table.origin(moved)])
            {
                let to = table.origin(moved);
                if table.active(to)
                    && search.reach(
                        Link {
                            slot,
                            to,
                            returns: Some(moved),
                            moves,
                        },
                        &target,
                    )
                {
                    return Some(search.path_to(table, to));
                }
            }
        }
        let tried = copies_on[from]
            .iter()
            .filter(|&&slot| table.may_move(slot) && fresh(slot));
        for &slot in tried {
            let moves = moves + i64::from(!table.travels(slot));
            if moves > most_moves {
                continue;
            }
            let (found, comparisons) = search.spread_out(table, slot, moves, &target);
            if let Some(to) = found {
                return Some(search.path_to(table, to));
            }
            if !budget.spend(comparisons) || !share.spend(comparisons) {
                return None;
            }
        }
    }
    None
}

/// Active devices other than `sources`, by zone.
fn unseen(table: &Table<'_>, sources: &[usize]) -> Vec<Vec<usize>> {
    let mut zones: BTreeMap<DomainIx, Vec<usize>> = BTreeMap::new();
    for device in (0..table.devices()).filter(|device| table.active(*device) && !sources.contains(device)) {
        zones
            .entry(table.tree.paths[device][ZONE_LEVEL])
            .or_default()
            .push(device);
    }
    zones.into_values().collect()
}

struct Search {
    /// Devices not reached yet, by zone; some of them may have been since, as `is_seen` knows.
    unseen: Vec<Vec<usize>>,
    is_seen: Vec<bool>,
    reached_by: Vec<Option<Link>>,
    queue: VecDeque<usize>,
}

impl Search {
    /// Notes that `link` reaches a device; true when that is the target.
    fn reach(&mut self, link: Link, target: &impl Fn(usize) -> bool) -> bool {
        self.is_seen[link.to] = true;
        self.reached_by[link.to] = Some(link);
        self.queue.push_back(link.to);
        target(link.to)
    }

    /// Reaches every device that the copy in `slot` could go to. Returns the target, when it is among them, and the
    /// number of comparisons. Whole zones are passed over when a copy more in them would be one too many.
    fn spread_out(
        &mut self,
        table: &Table<'_>,
        slot: usize,
        moves: i64,
        target: &impl Fn(usize) -> bool,
    ) -> (Option<usize>, usize) {
        let partition = table.partition_of(slot);
        let mut comparisons = 1;
        for zone in 0..self.unseen.len() {
            comparisons += 1;
            if self.unseen[zone]
                .first()
                .is_none_or(|&any| table.zone_cost(slot, any) > 0)
            {
                continue;
            }
            let mut at = 0;
            while at < self.unseen[zone].len() {
                comparisons += 1;
                let to = self.unseen[zone][at];
                if !self.is_seen[to] && (table.holds(partition, to) || table.cost(slot, to) > 0) {
                    at += 1;
                    continue;
                }
                self.unseen[zone].swap_remove(at);
                if !self.is_seen[to]
                    && self.reach(
                        Link {
                            slot,
                            to,
                            returns: None,
                            moves,
                        },
                        target,
                    )
                {
                    return (Some(to), comparisons);
                }
            }
        }
        self.unseen.retain(|zone| !zone.is_empty());
        (None, comparisons)
    }

    /// The links that lead to `device`, first one first.
    fn path_to(&self, table: &Table<'_>, device: usize) -> Vec<Link> {
        let mut path = Vec::new();
        let mut at = device;
        while let Some(link) = self.reached_by[at] {
            path.push(link);
            at = table.slots[link.slot];
        }
        path.reverse();
        path
    }
}
