//! When no single move helps any more: A gives a copy to B, which gives another to C.
//!
//! A device with a surplus and a device that wants more may share no partition that could go from one to the other
//! without two copies coming too close. A shortest chain of moves over other devices, each of another partition,
//! keeps the spread. Every link but one is a detour, so chains are only for devices that are out of tolerance.

use std::collections::VecDeque;

use crate::shift::Budget;
use crate::table::Table;
use crate::tolerance;

/// Longest chain, in moves.
const MAX_LINKS: usize = 5;

/// One move: the copy in `slot` goes to `to`.
#[derive(Clone, Copy)]
struct Link {
    slot: usize,
    to: usize,
}

/// Brings devices that are out of tolerance back in, as far as chains within the budget can.
pub(crate) fn settle(table: &mut Table<'_>, budget: &mut Budget) {
    let off = |table: &Table<'_>, device: usize| {
        !tolerance::holds(table.held[device], table.tree.ideal(device), table.active(device))
    };
    let troubled: Vec<usize> = (0..table.devices()).filter(|&device| off(table, device)).collect();
    if troubled.is_empty() {
        return;
    }
    let mut copies_on: Vec<Vec<usize>> = vec![Vec::new(); table.devices()];
    for (slot, &device) in table.slots.iter().enumerate() {
        copies_on[device].push(slot);
    }
    for device in troubled {
        while off(table, device) {
            let chain = if table.surplus(device) > 0 {
                shortest(table, &copies_on, &[device], |to| table.wants(to) > 0, budget)
            } else {
                let givers: Vec<usize> = (0..table.devices()).filter(|&from| table.surplus(from) > 0).collect();
                shortest(table, &copies_on, &givers, |to| to == device, budget)
            };
            let Some(chain) = chain else { break };
            for Link { slot, to } in chain {
                copies_on[table.slots[slot]].retain(|&other| other != slot);
                copies_on[to].push(slot);
                table.put(slot, to);
            }
        }
    }
}

/// A shortest chain from one of `sources` to a device that is a `target`: breadth first.
fn shortest(
    table: &Table<'_>,
    copies_on: &[Vec<usize>],
    sources: &[usize],
    target: impl Fn(usize) -> bool,
    budget: &mut Budget,
) -> Option<Vec<Link>> {
    let mut unseen: Vec<usize> = (0..table.devices())
        .filter(|device| table.active(*device) && !sources.contains(device))
        .collect();
    let mut reached_by: Vec<Option<Link>> = vec![None; table.devices()];
    let mut queue: VecDeque<usize> = sources.iter().copied().collect();
    while let Some(from) = queue.pop_front() {
        let path = path_to(table, &reached_by, from);
        // With this device's own link the chain has one link more, and all but one are detours.
        if path.len() >= MAX_LINKS || path.len() as u64 > u64::try_from(table.detours).unwrap_or(0) {
            return None;
        }
        for &slot in copies_on[from].iter().filter(|&&slot| table.may_move(slot)) {
            let partition = table.partition_of(slot);
            if path.iter().any(|link| table.partition_of(link.slot) == partition) {
                continue;
            }
            let mut at = 0;
            while at < unseen.len() {
                if !budget.spend(1) {
                    return None;
                }
                let to = unseen[at];
                if table.holds(partition, to) || table.cost(slot, to) > 0 {
                    at += 1;
                    continue;
                }
                unseen.swap_remove(at);
                reached_by[to] = Some(Link { slot, to });
                if target(to) {
                    return Some(path_to(table, &reached_by, to));
                }
                queue.push_back(to);
            }
        }
    }
    None
}

/// The links that lead to `device`, first one first.
fn path_to(table: &Table<'_>, reached_by: &[Option<Link>], device: usize) -> Vec<Link> {
    let mut path = Vec::new();
    let mut at = device;
    while let Some(link) = reached_by[at] {
        path.push(link);
        at = table.slots[link.slot];
    }
    path.reverse();
    path
}
