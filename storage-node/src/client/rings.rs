//! Rings and nodes as the system shard records them, parsed once per version of their record.
//!
//! ```text
//! table "rings", key = policy id in decimal: the first ring's file (see the crate `ring`)
//! table "nodes", key = node id in decimal:   JSON of [`NodeRecord`]
//! ```
//! What became of the first ring is in `ring_state`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use metadata::ids::{DeviceId, NodeId};
use metadata::model::{PolicyId, Record};
use parking_lot::RwLock;
use ring::{Ring, RingFile};
use serde::{Deserialize, Serialize};

use super::policies::{PolicyKind, PolicyList};
use super::ring_state::{LiveFile, Phase, RING_FILES_TABLE, RingState, piece_key};
use crate::device::BlobKey;
use crate::erasure::Code;
use crate::wire::NodeAddress;

/// The table of first rings.
pub const RINGS_TABLE: &str = "rings";
/// The table of nodes.
pub const NODES_TABLE: &str = "nodes";

/// What a storage node says about itself in the table of nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The format version: 1.
    pub version: u32,
    /// Its id.
    pub node: NodeId,
    /// Where it is reached.
    pub address: NodeAddress,
    /// Its devices; none of a node that was removed.
    pub devices: Vec<DeviceId>,
    /// The commands it can apply, see [`COMMANDS_LEVEL`]; 0 of a release from before there were levels.
    #[serde(default)]
    pub commands: u32,
    /// An operator has removed it for good: its id never comes back.
    #[serde(default)]
    pub removed: bool,
}

/// The commands that this release can apply. A kind of command that came later is proposed only when every node says so
/// (DESIGN §3.6): 1 is `RaiseFence`, 2 is `CreateBucketUnder` and buckets that note changes; 3 looks after fragments.
pub const COMMANDS_LEVEL: u32 = 3;
/// The level of a node that knows erasure coded policies.
pub const LEVEL_OF_ERASURE_CODING: u32 = 3;
/// The level of a node that knows storage policies.
pub const LEVEL_OF_POLICIES: u32 = 2;
/// The level of a node that keeps the queue of a bucket that notes its changes: another would apply the same entries to
/// other rows.
pub const LEVEL_OF_CHANGES: u32 = 2;
/// The level of a node that applies `RaiseFence`.
pub const LEVEL_OF_FENCES: u32 = 1;

/// The nodes that cannot apply commands of `level` yet; nobody asks removed ones. Plain function.
#[must_use]
pub fn below_level(nodes: &[NodeRecord], level: u32) -> Vec<NodeId> {
    let below = nodes.iter().filter(|node| !node.removed && node.commands < level);
    below.map(|node| node.node).collect()
}

/// A ring in use.
#[derive(Clone, Debug)]
pub struct LiveRing {
    /// The number under which it places writes; commits carry it.
    pub epoch: u64,
    /// The table, with failed devices stood in for.
    pub ring: Arc<Ring>,
    /// The table as its builder made it.
    pub whole: Arc<Ring>,
}

/// The live rings of one policy, at most two.
#[derive(Clone, Debug)]
pub struct LiveRings {
    /// Places writes; its devices are read first.
    pub current: LiveRing,
    /// The one before, while copies may lie where only it says.
    pub previous: Option<LiveRing>,
    /// The ring that was retired last: surplus copies may still lie where only it says.
    pub retired: Option<LiveRing>,
    /// What an operator's commands change.
    pub state: RingState,
    /// Set when chunks are kept as fragments, one for each slot of the rings.
    pub code: Option<Code>,
}

/// A place in a ring: a partition, or the one slot of it where a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    placement: u64,
    slot: Option<u8>,
}

impl Spot {
    /// The number of the fragment that belongs there; `None`: whole chunks.
    #[must_use]
    pub fn fragment(self) -> Option<u8> {
        self.slot
    }
}

impl From<u64> for Spot {
    fn from(placement: u64) -> Self {
        Self { placement, slot: None }
    }
}

impl From<BlobKey> for Spot {
    fn from(key: BlobKey) -> Self {
        Self {
            placement: key.placement,
            slot: key.id.fragment(),
        }
    }
}

/// A device's part in a partition while rings change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds the partition by every live ring.
    Kept,
    /// Only the current ring wants it there: its copies may not have come yet.
    Arriving,
    /// Only the ring before has it there: its copies may be the only ones.
    Leaving,
    /// No live ring has it there.
    Stranger,
}

impl LiveRings {
    /// One ring, which nobody is about to change.
    #[must_use]
    pub fn only(ring: Arc<Ring>) -> Self {
        let file = LiveFile {
            epoch: ring.version(),
            version: ring.version(),
            file: String::new(),
            pieces: 0,
            failed: BTreeSet::new(),
        };
        Self {
            current: LiveRing {
                epoch: ring.version(),
                whole: Arc::clone(&ring),
                ring,
            },
            previous: None,
            retired: None,
            state: RingState::first(file, 0),
            code: None,
        }
    }

    /// The same rings with chunks kept as `kind` says.
    #[must_use]
    pub fn keeping(self, kind: PolicyKind) -> Self {
        let code = kind.code();
        Self { code, ..self }
    }

    /// The names of the blobs that a chunk is kept as: its own, or one for each fragment.
    #[must_use]
    pub fn pieces(&self, chunk: BlobKey) -> Vec<BlobKey> {
        let whole = chunk.without_fragment();
        match self.code {
            None => vec![whole],
            Some(code) => code.numbers().map(|number| whole.piece(number)).collect(),
        }
    }

    /// How many bytes each of these has when the chunk has `chunk_len`.
    #[must_use]
    pub fn piece_len(&self, chunk_len: u32) -> u32 {
        self.code.map_or(chunk_len, |code| code.fragment_len(chunk_len))
    }

    /// How many different ones give the chunk back.
    #[must_use]
    pub fn pieces_needed(&self) -> usize {
        self.code.map_or(1, Code::data)
    }

    /// What the current ring has the device hold of a partition: all of it, or its slot's fragments.
    #[must_use]
    pub fn own_spot(&self, device: DeviceId, placement: u64) -> Option<Spot> {
        own_spot(&self.current.ring, device, placement, self.code)
    }

    /// The same by the ring before.
    #[must_use]
    pub fn own_spot_before(&self, device: DeviceId, placement: u64) -> Option<Spot> {
        let previous = self.previous.as_ref()?;
        own_spot(&previous.ring, device, placement, self.code)
    }

    /// True when the device has a partition in the current ring only because it stands in for a failed one.
    #[must_use]
    pub fn stands_in(&self, device: DeviceId, placement: u64) -> bool {
        let LiveRing { ring, whole, .. } = &self.current;
        own_spot(ring, device, placement, self.code).is_some()
            && own_spot(whole, device, placement, self.code).is_none()
    }

    /// True while two rings are live.
    #[must_use]
    pub fn moving(&self) -> bool {
        self.previous.is_some()
    }

    /// The devices that shall hold what belongs there.
    #[must_use]
    pub fn primaries(&self, spot: impl Into<Spot>) -> Vec<DeviceId> {
        primaries(&self.current.ring, spot.into())
    }

    /// The devices that the ring before names for a spot and the current one does not.
    #[must_use]
    pub fn leaving(&self, spot: impl Into<Spot>) -> Vec<DeviceId> {
        let Some(previous) = &self.previous else {
            return Vec::new();
        };
        let spot = spot.into();
        let now = self.primaries(spot);
        let mut before = primaries(&previous.ring, spot);
        before.retain(|device| !now.contains(device));
        before
    }

    /// The devices that only the ring retired last names for a spot.
    #[must_use]
    pub fn left(&self, spot: impl Into<Spot>) -> Vec<DeviceId> {
        let spot = spot.into();
        let Some(retired) = &self.retired else {
            return Vec::new();
        };
        let mut named = primaries(&retired.ring, spot);
        named.retain(|device| self.standing(*device, spot) == Standing::Stranger);
        named
    }

    /// The device's part in a spot.
    #[must_use]
    pub fn standing(&self, device: DeviceId, spot: impl Into<Spot>) -> Standing {
        let spot = spot.into();
        let now = self.primaries(spot).contains(&device);
        let Some(previous) = &self.previous else {
            return if now { Standing::Kept } else { Standing::Stranger };
        };
        match (now, primaries(&previous.ring, spot).contains(&device)) {
            (true, true) => Standing::Kept,
            (true, false) => Standing::Arriving,
            (false, true) => Standing::Leaving,
            (false, false) => Standing::Stranger,
        }
    }
}

fn own_spot(ring: &Ring, device: DeviceId, placement: u64, code: Option<Code>) -> Option<Spot> {
    let row = ring.primaries(ring.partition_of(placement));
    let slot = row.iter().position(|named| named.0 == device.0)?;
    let slot = code.map(|_| u8::try_from(slot).unwrap_or(u8::MAX));
    Some(Spot { placement, slot })
}

fn primaries(ring: &Ring, spot: Spot) -> Vec<DeviceId> {
    let all = ring.primaries(ring.partition_of(spot.placement));
    let named = match spot.slot {
        None => all,
        Some(slot) => all.get(usize::from(slot)..=usize::from(slot)).unwrap_or_default(),
    };
    named.iter().map(|device| DeviceId(device.0)).collect()
}

/// The live rings, and which node has which device.
#[derive(Default)]
pub(super) struct Rings {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    rings: HashMap<PolicyId, Known>,
    /// From node records; rings are asked first, because they are what placed the blobs.
    homes: HashMap<DeviceId, NodeId>,
}

struct Known {
    /// The version of the record it was read from, and whether that was a state.
    record: (bool, u64),
    live: Arc<LiveRings>,
}

impl Rings {
    pub(super) fn ring(&self, policy: PolicyId) -> Option<Arc<Ring>> {
        let state = self.state.read();
        state
            .rings
            .get(&policy)
            .map(|known| Arc::clone(&known.live.current.ring))
    }

    pub(super) fn live(&self, policy: PolicyId) -> Option<Arc<LiveRings>> {
        self.state
            .read()
            .rings
            .get(&policy)
            .map(|known| Arc::clone(&known.live))
    }

    /// The policies whose live rings name the device.
    pub(super) fn policies_of(&self, device: DeviceId) -> Vec<PolicyId> {
        let names = |ring: &Ring| ring.device(ring::DeviceId(device.0)).is_some();
        let state = self.state.read();
        let naming = state.rings.iter().filter(|(_, known)| {
            let previous = known.live.previous.as_ref();
            names(&known.live.current.ring) || previous.is_some_and(|previous| names(&previous.ring))
        });
        let mut policies: Vec<PolicyId> = naming.map(|(policy, _)| *policy).collect();
        policies.sort_unstable();
        policies
    }

    /// The policies that have a ring, by number.
    pub(super) fn policies(&self) -> Vec<PolicyId> {
        let mut policies: Vec<PolicyId> = self.state.read().rings.keys().copied().collect();
        policies.sort_unstable();
        policies
    }

    /// The node that has the device.
    pub(super) fn home(&self, device: DeviceId) -> Option<NodeId> {
        let state = self.state.read();
        let in_ring = |ring: &Ring| ring.device(ring::DeviceId(device.0)).map(|device| NodeId(device.node));
        let listed = state.rings.values().find_map(|known| {
            let previous = known.live.previous.as_ref();
            in_ring(&known.live.current.ring).or_else(|| in_ring(&previous?.ring))
        });
        listed.or_else(|| state.homes.get(&device).copied())
    }

    /// Parses what changed of the rings of known policies; a record that does not parse, or whose files are not all here yet, leaves the rings before it
    /// in place. `fetch` answers a record of another table.
    pub(super) fn take_rings(
        &self,
        policies: &PolicyList,
        first: &[(String, Record)],
        states: &[(String, Record)],
        fetch: &dyn Fn(&str, &str) -> Option<Bytes>,
    ) {
        let with_state: BTreeSet<&str> = states.iter().map(|(key, _)| key.as_str()).collect();
        let first = first.iter().filter(|(key, _)| !with_state.contains(key.as_str()));
        let all = first
            .map(|entry| (false, entry))
            .chain(states.iter().map(|entry| (true, entry)));
        for (is_state, (key, record)) in all {
            let Ok(policy) = key.parse().map(PolicyId) else {
                continue;
            };
            // Without its record nobody can say what a ring's slots hold.
            let kind = policies.get(policy).map(|policy| policy.kind);
            if kind.is_none() && policy != PolicyId::default() {
                continue;
            }
            let wanted = (is_state, record.version);
            let known = self
                .state
                .read()
                .rings
                .get(&policy)
                .map(|known| (known.record, Arc::clone(&known.live)));
            if known.as_ref().is_some_and(|(record, _)| *record == wanted) {
                continue;
            }
            let read = if is_state {
                let before = known.map(|(_, live)| live);
                RingState::decode(&record.value).and_then(|state| read_state(policy, state, before.as_deref(), fetch))
            } else {
                Ring::from_bytes(&record.value)
                    .map(|ring| LiveRings::only(Arc::new(ring)))
                    .map_err(|e| e.to_string())
            };
            match read {
                Ok(live) => {
                    let live = match kind {
                        Some(kind) => live.keeping(kind),
                        None => live,
                    };
                    let known = Known {
                        record: wanted,
                        live: Arc::new(live),
                    };
                    self.state.write().rings.insert(policy, known);
                }
                Err(error) => tracing::error!(policy = policy.0, error, "the recorded rings cannot be read"),
            }
        }
    }

    pub(super) fn take_nodes(&self, nodes: &[NodeRecord]) {
        let homes = nodes
            .iter()
            .flat_map(|node| node.devices.iter().map(|device| (*device, node.node)));
        self.state.write().homes = homes.collect();
    }
}

fn read_state(
    policy: PolicyId,
    state: RingState,
    before: Option<&LiveRings>,
    fetch: &dyn Fn(&str, &str) -> Option<Bytes>,
) -> Result<LiveRings, String> {
    let read = |file: &LiveFile| {
        let known = before.into_iter().flat_map(|live| {
            let previous = live.state.previous.as_ref().zip(live.previous.as_ref());
            let retired = live.state.before.as_ref().zip(live.retired.as_ref());
            [Some((&live.state.current, &live.current)), previous, retired]
                .into_iter()
                .flatten()
        });
        // A step of the same change needs no parsing.
        let known = known
            .into_iter()
            .find(|(known, _)| *known == file)
            .map(|(_, ring)| ring.clone());
        known.map_or_else(|| read_file(policy, file, fetch), Ok)
    };
    Ok(LiveRings {
        current: read(&state.current)?,
        previous: state.previous.as_ref().map(read).transpose()?,
        // Only a hint where to look for what is to be removed: without its file nothing is wrong.
        retired: state.before.as_ref().and_then(|file| read(file).ok()),
        state,
        code: None,
    })
}

/// A ring file in use, put together from its pieces.
pub(super) fn read_file(
    policy: PolicyId,
    file: &LiveFile,
    fetch: &dyn Fn(&str, &str) -> Option<Bytes>,
) -> Result<LiveRing, String> {
    let mut pieces = Vec::new();
    if file.file.is_empty() {
        pieces.push(fetch(RINGS_TABLE, &policy.0.to_string()).ok_or("the first ring's record is missing")?);
    }
    for piece in 0..file.pieces {
        let key = piece_key(&file.file, piece);
        pieces.push(fetch(RING_FILES_TABLE, &key).ok_or_else(|| format!("piece {key} of a ring file is missing"))?);
    }
    let whole = RingFile::assemble(&pieces).map_err(|e| e.to_string())?;
    let failed = file.failed.iter().copied().map(ring::DeviceId).collect();
    let whole = Arc::new(whole.ring().map_err(|e| e.to_string())?);
    let ring = if file.failed.is_empty() {
        Arc::clone(&whole)
    } else {
        Arc::new(whole.without(&failed))
    };
    Ok(LiveRing {
        epoch: file.epoch,
        ring,
        whole,
    })
}

/// What a caller needs to know of the phase: whether copies are to be made just now.
#[must_use]
pub fn copies_run(state: &RingState) -> bool {
    state.phase != Phase::Settled && !state.paused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_waits_for_the_last_node_that_does_not_know_it() {
        let record = |node, commands, removed| NodeRecord {
            version: 1,
            node: NodeId(node),
            address: NodeAddress {
                wire: "w".into(),
                blobs: "b".into(),
            },
            devices: Vec::new(),
            commands,
            removed,
        };
        let nodes = [record(1, 1, false), record(2, 0, false), record(3, 0, true)];
        assert_eq!(below_level(&nodes, LEVEL_OF_FENCES), [NodeId(2)]);
        // What a release from before there were levels has written.
        let old = r#"{"version":1,"node":2,"address":{"wire":"w","blobs":"b"},"devices":[]}"#;
        assert_eq!(serde_json::from_str::<NodeRecord>(old).unwrap(), nodes[1]);
    }
}
