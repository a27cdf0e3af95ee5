//! Where the chunks of a stream belong, and which devices count as different failure domains (DUR-1).
//!
//! The placement hash itself is `storage_node::client::placement`, shared with repair; this file turns it into devices
//! and is the only one that converts between the ring's and the metadata plane's device ids.
//!
//! **Failure domain.** The widest of region, zone and node of which the ring has at least as many as replicas; when it
//! has fewer nodes than replicas, the node. So a ring over three zones acknowledges only what is synced in two zones,
//! and a ring over two zones goes on when one of them is down.
//!
//! **Quorum.** A majority of the replicas, in different domains; a ring with fewer domains than that asks for a copy
//! in each domain it has: one node with three disks acknowledges after one copy, and `halo up --nodes 1` says so.
//! Fragments of an erasure coded policy: [`FragmentRule`].

use std::collections::HashSet;
use std::sync::Arc;

use metadata::ids::DeviceId;
use ring::{Device, Ring};
use storage_node::client::{LiveRings, Spot, Standing};
use storage_node::device::BlobKey;
use storage_node::erasure::{Code, FragmentRule};

/// Handoffs offered to one chunk's write or asked by one chunk's read first, for each replica.
const HANDOFFS_PER_REPLICA: usize = 2;
/// Devices without a claim on a chunk that are asked for it when all others failed.
pub(crate) const SEARCHED_DEVICES_MAX: usize = 64;

/// The ring that places writes, with what is the same for all its partitions, and the one before it while copies may
/// lie where only that one says (DESIGN §3.4).
#[derive(Debug)]
pub(crate) struct Placement {
    live: Arc<LiveRings>,
    ring: Arc<Ring>,
    level: Level,
    required: usize,
    rule: Option<FragmentRule>,
}

/// A failure domain: region, zone and node, the finer ones zero when they do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Domain(u32, u32, u64);

#[cfg(test)]
impl Domain {
    /// The domain of a node whose region and zone do not matter.
    pub(crate) fn of_node(node: u64) -> Self {
        Self(0, 0, node)
    }
}

/// A device that may hold a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) device: DeviceId,
    pub(crate) domain: Domain,
    /// False when its node is thought to be down or the device to take no writes.
    pub(crate) ready: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Region,
    Zone,
    Node,
}

impl Level {
    fn domain(self, device: &Device) -> Domain {
        match self {
            Self::Region => Domain(device.region, 0, 0),
            Self::Zone => Domain(device.region, device.zone, 0),
            Self::Node => Domain(device.region, device.zone, device.node),
        }
    }

    fn domains(self, ring: &Ring) -> usize {
        let domains = ring
            .devices()
            .filter(|device| device.weight > 0.0)
            .map(|device| self.domain(device));
        domains.collect::<HashSet<_>>().len()
    }
}

impl Placement {
    pub(crate) fn new(live: Arc<LiveRings>) -> Self {
        let ring = Arc::clone(&live.current.ring);
        let replicas = ring.replicas();
        let spread = [Level::Region, Level::Zone]
            .into_iter()
            .find(|level| level.domains(&ring) >= replicas);
        let level = spread.unwrap_or(Level::Node);
        let majority = replicas / 2 + 1;
        let domains = level.domains(&ring);
        let required = majority.min(domains).max(1);
        let rule = live.code.map(|code| FragmentRule::new(code, domains));
        Self {
            live,
            ring,
            level,
            required,
            rule,
        }
    }

    /// True while `live` are the rings this was made from.
    pub(crate) fn is_of(&self, live: &LiveRings) -> bool {
        let epochs = |live: &LiveRings| {
            (
                live.current.epoch,
                live.previous.as_ref().map(|previous| previous.epoch),
            )
        };
        epochs(&self.live) == epochs(live)
    }

    /// What commits name: the epoch of the ring that places writes.
    pub(crate) fn ring_version(&self) -> u64 {
        self.live.current.epoch
    }

    /// In how many different domains a chunk must be synced before it is acknowledged (DUR-1).
    pub(crate) fn required(&self) -> usize {
        self.required
    }

    /// Set when chunks are kept as fragments.
    pub(crate) fn code(&self) -> Option<Code> {
        self.live.code
    }

    /// When enough fragments are stored (DUR-1); `None` for whole copies.
    pub(crate) fn rule(&self) -> Option<FragmentRule> {
        self.rule
    }

    /// The names of the blobs that a chunk is kept as.
    pub(crate) fn pieces(&self, chunk: BlobKey) -> Vec<BlobKey> {
        self.live.pieces(chunk)
    }

    /// The length of each of them.
    pub(crate) fn piece_len(&self, chunk_len: u32) -> u32 {
        self.live.piece_len(chunk_len)
    }

    /// DUR-1: whether these devices are in enough different domains, each with the number of the fragment it has, 0 for a
    /// whole copy.
    pub(crate) fn is_quorum(&self, stored: &[(u8, DeviceId)]) -> bool {
        // A device this ring does not know stands for no domain.
        let known = stored
            .iter()
            .filter_map(|(number, device)| Some((*number, self.ring.device(ring::DeviceId(device.0))?)));
        let domains = known.map(|(number, device)| (number, self.level.domain(device)));
        match self.rule {
            Some(rule) => rule.met(domains),
            None => {
                let different: HashSet<Domain> = domains.map(|(_, domain)| domain).collect();
                different.len() >= self.required
            }
        }
    }

    /// Devices that only the ring before names for the chunk; none unless a change is under way.
    pub(crate) fn leaving(&self, spot: impl Into<Spot>) -> Vec<DeviceId> {
        self.live.leaving(spot)
    }

    /// True for a device that must have the chunk by every live ring. One that only the current ring names may still
    /// wait for its copy.
    pub(crate) fn owes(&self, device: DeviceId, spot: impl Into<Spot>) -> bool {
        self.live.standing(device, spot) == Standing::Kept
    }

    pub(crate) fn partition(&self, placement: u64) -> u32 {
        self.ring.partition_of(placement).0
    }

    /// The devices that shall hold the chunk, or a piece of it, in the ring's order.
    pub(crate) fn primaries(&self, spot: impl Into<Spot>) -> Vec<DeviceId> {
        self.live.primaries(spot)
    }

    /// Whether every device that shall hold a piece of the chunk is among those that have it.
    pub(crate) fn is_whole(&self, chunk: BlobKey, stored: &[(u8, DeviceId)]) -> bool {
        let has = |number: u8, device: DeviceId| stored.contains(&(number, device));
        self.pieces(chunk).into_iter().all(|piece| {
            let number = piece.id.fragment().unwrap_or(0);
            self.primaries(piece).into_iter().all(|device| has(number, device))
        })
    }

    /// The devices that stand in for primaries, best first.
    pub(crate) fn handoffs(&self, placement: u64) -> Vec<DeviceId> {
        let partition = self.ring.partition_of(placement);
        let most = HANDOFFS_PER_REPLICA * self.ring.replicas();
        self.ring.handoffs(partition).take(most).map(from_ring).collect()
    }

    /// All other devices of the ring, up to [`SEARCHED_DEVICES_MAX`]: where a chunk may lie that was written under an
    /// older ring.
    pub(crate) fn others(&self, known: &[DeviceId]) -> Vec<DeviceId> {
        let before = self.live.previous.iter().flat_map(|previous| previous.ring.devices());
        let devices = self.ring.devices().chain(before).map(|device| from_ring(device.id));
        let mut seen: HashSet<DeviceId> = known.iter().copied().collect();
        devices
            .filter(|device| seen.insert(*device))
            .take(SEARCHED_DEVICES_MAX)
            .collect()
    }

    /// The device as a candidate for a write.
    pub(crate) fn candidate(&self, device: DeviceId, ready: bool) -> Candidate {
        let domain = self
            .ring
            .device(ring::DeviceId(device.0))
            .map(|found| self.level.domain(found));
        Candidate {
            device,
            domain: domain.unwrap_or_default(),
            ready,
        }
    }
}

fn from_ring(id: ring::DeviceId) -> DeviceId {
    DeviceId(id.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(replicas: usize, devices: &[(u32, u32, u64)]) -> Arc<LiveRings> {
        let mut builder = ring::Builder::new(4, replicas, 0).unwrap();
        for (n, (region, zone, node)) in devices.iter().enumerate() {
            let device = Device {
                id: ring::DeviceId(0),
                region: *region,
                zone: *zone,
                node: *node,
                address: format!("127.0.0.1:{}", 1000 + node),
                name: format!("d{n}"),
                weight: 1.0,
                ..Device::default()
            };
            builder.add(device).unwrap();
        }
        builder.rebalance(1, 1).unwrap();
        Arc::new(LiveRings::only(Arc::new(builder.ring().unwrap())))
    }

    #[test]
    fn dur_1_three_nodes_need_two_copies() {
        let placement = Placement::new(ring(3, &[(1, 1, 1), (1, 1, 2), (1, 1, 3)]));
        assert_eq!((placement.level, placement.required()), (Level::Node, 2));
    }

    #[test]
    fn dur_1_one_node_with_three_disks_needs_one_copy() {
        let placement = Placement::new(ring(3, &[(1, 1, 1), (1, 1, 1), (1, 1, 1)]));
        assert_eq!((placement.level, placement.required()), (Level::Node, 1));
    }

    #[test]
    fn dur_1_three_zones_need_two_zones() {
        let placement = Placement::new(ring(3, &[(1, 1, 1), (1, 2, 2), (1, 3, 3), (1, 3, 4)]));
        assert_eq!((placement.level, placement.required()), (Level::Zone, 2));
    }

    #[test]
    fn two_zones_go_on_when_one_is_down() {
        let placement = Placement::new(ring(3, &[(1, 1, 1), (1, 1, 2), (1, 2, 3), (1, 2, 4)]));
        assert_eq!((placement.level, placement.required()), (Level::Node, 2));
    }

    #[test]
    fn every_device_is_found_once() {
        let placement = Placement::new(ring(2, &[(1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 1, 4), (1, 1, 4)]));
        let mut known = placement.primaries(77);
        known.extend(placement.handoffs(77));
        known.extend(placement.others(&known.clone()));
        known.sort_unstable();
        assert_eq!(known, (0..5).map(DeviceId).collect::<Vec<_>>());
    }

    #[test]
    fn a_copy_on_a_handoff_does_not_replace_a_primary_nor_one_fragment_another() {
        let live = ring(3, &[(1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 1, 4)]);
        let key = BlobKey::first(77);
        let copies = Placement::new(live.clone());
        let held = |devices: &[(u8, DeviceId)]| devices.to_vec();
        let all = copies.primaries(key);
        let handoff = copies.handoffs(77)[0];
        let stored: Vec<_> = all.iter().map(|device| (0, *device)).collect();
        assert!(copies.is_whole(key, &stored));
        assert!(!copies.is_whole(key, &held(&[stored[0], stored[1], (0, handoff)])));
        let kind = storage_node::client::PolicyKind::ErasureCoded { data: 2, parity: 1 };
        let coded = Placement::new(Arc::new(live.as_ref().clone().keeping(kind)));
        assert!(coded.is_whole(key, &held(&[(0, all[0]), (1, all[1]), (2, all[2])])));
        assert!(!coded.is_whole(key, &held(&[(0, all[1]), (1, all[0]), (2, all[2])])));
        assert_eq!(coded.primaries(key.piece(1)), [all[1]]);
    }
}
