//! The number of replicas was changed: partitions get free places, or give up copies.

use crate::builder::{Builder, LOST};
use crate::device::{Device, DeviceId};
use crate::layout::Layout;
use crate::rebalance::{held, positions};
use crate::table::EMPTY;
use crate::topology::{DOMAIN_LEVELS, Topology};

/// Gives the builder's table this layout. New places stand empty, as those of removed devices do; their number is
/// returned. A partition that has to give up a copy gives up an empty place, or the copy that stands closest to its
/// others, or the one on the device that holds most beyond its share.
pub(crate) fn run(builder: &mut Builder, layout: Layout, devices: &[Device]) -> u64 {
    let before = std::mem::replace(&mut builder.layout, layout);
    if before == layout || builder.slots.is_empty() {
        return 0;
    }
    let ids: Vec<DeviceId> = devices.iter().map(|device| device.id).collect();
    let old = positions(&builder.slots, &ids);
    let mut held = held(&old, devices.len());
    let tree = Topology::new(devices, layout, builder.overload, &held);
    let mut slots = Vec::with_capacity(layout.slots());
    let mut added = 0;
    for partition in 0..layout.partitions() {
        let mut copies = old[before.range(partition)].to_vec();
        while copies.len() > layout.copies(partition) {
            let gone = copies.remove(dispensable(&tree, &held, &copies));
            if gone != EMPTY {
                held[gone] -= 1;
            }
        }
        added += (layout.copies(partition) - copies.len()) as u64;
        copies.resize(layout.copies(partition), EMPTY);
        slots.extend(
            copies
                .into_iter()
                .map(|device| ids.get(device).copied().unwrap_or(LOST)),
        );
    }
    builder.slots = slots;
    added
}

/// The position of the copy that is missed least.
fn dispensable(tree: &Topology, held: &[u64], copies: &[usize]) -> usize {
    let rank = |at: usize| {
        let device = copies[at];
        if device == EMPTY {
            return (true, 0, 0.0);
        }
        let near = |level: usize| {
            let domain = tree.paths[device][level];
            copies
                .iter()
                .filter(|&&other| other != EMPTY && tree.paths[other][level] == domain)
                .count()
        };
        let crowd: usize = (0..DOMAIN_LEVELS).map(near).sum();
        #[allow(clippy::cast_precision_loss, reason = "at most MAX_SLOTS")]
        let beyond = held[device] as f64 - tree.ideal(device);
        (false, crowd, beyond)
    };
    let better = |&one: &usize, &other: &usize| {
        let (one, other) = (rank(one), rank(other));
        (one.0, one.1).cmp(&(other.0, other.1)).then(one.2.total_cmp(&other.2))
    };
    (0..copies.len())
        .max_by(better)
        .expect("a partition with copies to give up has some")
}

#[cfg(test)]
mod tests;
