//! Who stands in for a primary that is down.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::device::{Device, DeviceId, PartitionId};
use crate::mix::mix;

/// Draws one device after the other, each time from the emptiest failure domain: the fewest copies in the region, then in
/// the zone, then in the node; the hash of partition and device decides between equals.
///
/// A draw changes the order only along its own path from the root, so every domain keeps its children in a heap and puts
/// one of them back: drawing all of n devices takes n x log n steps.
pub(crate) struct Handoffs {
    root: Domain,
}

/// Levels below the root that have children: root, region, zone; a node has devices.
const NODE_LEVEL: usize = 3;

/// The copies on the way to a device at root, region, zone and node, then the device's hash and id.
type Rank = [u64; 6];

/// A device with its hash, and whether it holds a copy already.
struct Candidate {
    path: [u64; NODE_LEVEL],
    hash: u64,
    id: DeviceId,
    holds: bool,
}

impl Handoffs {
    pub(crate) fn new(devices: &[Device], primaries: &[DeviceId], partition: PartitionId) -> Self {
        let salt = mix(u64::from(partition.0));
        let candidate = |device: &Device| Candidate {
            path: [u64::from(device.region), u64::from(device.zone), device.node],
            hash: mix(salt ^ u64::from(device.id.0)),
            id: device.id,
            holds: primaries.contains(&device.id),
        };
        let takes_part = |device: &&Device| device.weight > 0.0 || primaries.contains(&device.id);
        let mut candidates: Vec<Candidate> = devices.iter().filter(takes_part).map(candidate).collect();
        candidates.sort_unstable_by_key(|one| (one.path, Reverse((one.hash, one.id))));
        Self {
            root: Domain::of(0, &candidates),
        }
    }
}

impl Iterator for Handoffs {
    type Item = DeviceId;

    fn next(&mut self) -> Option<DeviceId> {
        self.root.draw(0)
    }
}

struct Domain {
    copies: u64,
    children: Vec<Domain>,
    /// The children that have devices left, by their best one.
    order: BinaryHeap<Reverse<(Rank, usize)>>,
    /// Of a node: its devices that are left, the best one last.
    left: Vec<(u64, DeviceId)>,
}

impl Domain {
    fn of(level: usize, candidates: &[Candidate]) -> Self {
        let copies = candidates.iter().filter(|one| one.holds).count() as u64;
        if level == NODE_LEVEL {
            let left = candidates
                .iter()
                .filter(|one| !one.holds)
                .map(|one| (one.hash, one.id))
                .collect();
            return Self {
                copies,
                left,
                children: Vec::new(),
                order: BinaryHeap::new(),
            };
        }
        let groups = candidates.chunk_by(|one, other| one.path[level] == other.path[level]);
        let children: Vec<Self> = groups.map(|group| Self::of(level + 1, group)).collect();
        let ranked = children.iter().enumerate();
        let order = ranked
            .filter_map(|(at, child)| Some(Reverse((child.rank(level + 1)?, at))))
            .collect();
        Self {
            copies,
            children,
            order,
            left: Vec::new(),
        }
    }

    /// The rank of the best device that is left.
    fn rank(&self, level: usize) -> Option<Rank> {
        let mut rank = if level == NODE_LEVEL {
            let (hash, id) = self.left.last()?;
            [0, 0, 0, 0, *hash, u64::from(id.0)]
        } else {
            self.order.peek()?.0.0
        };
        rank[level] = self.copies;
        Some(rank)
    }

    fn draw(&mut self, level: usize) -> Option<DeviceId> {
        let drawn = if level == NODE_LEVEL {
            self.left.pop()?.1
        } else {
            let Reverse((_, at)) = self.order.pop()?;
            let drawn = self.children[at].draw(level + 1)?;
            if let Some(rank) = self.children[at].rank(level + 1) {
                self.order.push(Reverse((rank, at)));
            }
            drawn
        };
        self.copies += 1;
        Some(drawn)
    }
}

#[cfg(test)]
mod tests;
