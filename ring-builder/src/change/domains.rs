//! No lost failure domain: copies never stand closer together than the live ring has them, unless there is nowhere else.

use std::collections::BTreeSet;
use std::fmt;

use super::{Change, ChangeRefused};
use crate::device::{Device, PartitionId};
use crate::ring::Ring;

/// A level of failure domains, from wide to narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Sites.
    Region,
    /// Rooms or racks.
    Zone,
    /// Machines.
    Node,
}

impl Level {
    const ALL: [Self; 3] = [Self::Region, Self::Zone, Self::Node];

    /// A name of the device's domain of this level, unique among them.
    fn domain(self, device: &Device) -> (u32, Option<u32>, Option<u64>) {
        let Device { region, zone, node, .. } = *device;
        match self {
            Self::Region => (region, None, None),
            Self::Zone => (region, Some(zone), None),
            Self::Node => (region, Some(zone), Some(node)),
        }
    }

    /// Domains of this level that hold copies of the partition.
    fn spread(self, ring: &Ring, partition: PartitionId) -> usize {
        let holders = ring.primaries(partition).iter().filter_map(|&id| ring.device(id));
        holders.map(|device| self.domain(device)).collect::<BTreeSet<_>>().len()
    }

    /// Domains of this level that may hold copies.
    fn available(self, ring: &Ring) -> usize {
        let active = ring.devices().filter(|device| device.weight > 0.0);
        active.map(|device| self.domain(device)).collect::<BTreeSet<_>>().len()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Region => "region",
            Self::Zone => "zone",
            Self::Node => "node",
        })
    }
}

/// Partitions whose copies would stand in fewer domains of a level than they do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thinner {
    /// The level.
    pub level: Level,
    /// How many partitions.
    pub partitions: usize,
    /// The first.
    pub first: PartitionId,
    /// Domains that hold it now.
    pub before: usize,
    /// Domains that would hold it.
    pub after: usize,
}

impl fmt::Display for Thinner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            level,
            partitions,
            first,
            before,
            after,
        } = self;
        write!(
            f,
            "{partitions} partition(s) would have their copies in fewer {level}s than now, first partition {first} in \
             {after} instead of {before}: give the {level}s more equal weights or raise the overload, and rebalance again"
        )
    }
}

/// Whether every partition has copies on at least `quorum` nodes, so that its writes can be acknowledged (DUR-1). Nothing
/// may override this.
///
/// # Errors
/// [`ChangeRefused::TooSmall`].
pub fn check_quorum(ring: &Ring, quorum: usize) -> Result<(), ChangeRefused> {
    for partition in ring.partition_ids() {
        let copies = ring.primaries(partition).len();
        let nodes = Level::Node.spread(ring, partition);
        if nodes < quorum.min(copies) {
            return Err(ChangeRefused::TooSmall {
                partition,
                copies,
                nodes,
                quorum,
            });
        }
    }
    Ok(())
}

/// Whether every partition keeps the number of regions, zones and nodes that its copies stand in.
///
/// A level of which the new ring has fewer domains than the live one is exempt as far as that forces it: the
/// domain that an operator takes away on purpose is not held against the ring. Weights that put two copies where one
/// was (more weight in one zone than a copy of everything) are: an operator who wants that has to say so.
///
/// # Errors
/// [`ChangeRefused::Thinner`] for the widest level concerned.
pub fn check_domains(change: &Change) -> Result<(), ChangeRefused> {
    match thinner(change).first() {
        Some(thinner) => Err(ChangeRefused::Thinner(*thinner)),
        None => Ok(()),
    }
}

/// What [`check_domains`] refuses, at most one entry for each level, the widest first.
#[must_use]
pub fn thinner(change: &Change) -> Vec<Thinner> {
    let (live, new) = (change.live(), change.new_ring());
    let of_level = |level: Level| {
        let most = level.available(new);
        let mut found: Option<Thinner> = None;
        for moved in change.moves() {
            let copies = new.primaries(moved.partition).len();
            let before = level.spread(live, moved.partition);
            let after = level.spread(new, moved.partition);
            if after < before.min(most).min(copies) {
                let first = Thinner {
                    level,
                    partitions: 0,
                    first: moved.partition,
                    before,
                    after,
                };
                found.get_or_insert(first).partitions += 1;
            }
        }
        found
    };
    Level::ALL.into_iter().filter_map(of_level).collect()
}
