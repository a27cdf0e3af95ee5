//! Rings and nodes as the system shard records them, parsed once per version of their record.
//!
//! ```text
//! table "rings", key = policy id in decimal: the ring file's bytes (see the crate `ring`)
//! table "nodes", key = node id in decimal:   JSON of [`NodeRecord`]
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use metadata::ids::{DeviceId, NodeId};
use metadata::model::{PolicyId, Record};
use parking_lot::RwLock;
use ring::Ring;
use serde::{Deserialize, Serialize};

use crate::wire::NodeAddress;

/// The table of rings.
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
    /// Its devices.
    pub devices: Vec<DeviceId>,
}

/// The live rings, and which node has which device.
#[derive(Default)]
pub(super) struct Rings {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    rings: HashMap<PolicyId, (u64, Arc<Ring>)>,
    /// From node records; rings are asked first, because they are what placed the blobs.
    homes: HashMap<DeviceId, NodeId>,
}

impl Rings {
    pub(super) fn ring(&self, policy: PolicyId) -> Option<Arc<Ring>> {
        self.state.read().rings.get(&policy).map(|(_, ring)| Arc::clone(ring))
    }

    /// The node that has the device.
    pub(super) fn home(&self, device: DeviceId) -> Option<NodeId> {
        let state = self.state.read();
        let in_ring = |ring: &Ring| ring.device(ring::DeviceId(device.0)).map(|device| NodeId(device.node));
        let listed = state.rings.values().find_map(|(_, ring)| in_ring(ring));
        listed.or_else(|| state.homes.get(&device).copied())
    }

    /// Takes a ring that was not recorded yet, or a configured one.
    pub(super) fn set(&self, policy: PolicyId, version: u64, ring: Ring) {
        self.state.write().rings.insert(policy, (version, Arc::new(ring)));
    }

    /// Parses what changed; a record that does not parse leaves the ring before it in place.
    pub(super) fn take_rings(&self, records: &[(String, Record)]) {
        for (key, record) in records {
            let Ok(policy) = key.parse().map(PolicyId) else {
                continue;
            };
            let known = self
                .state
                .read()
                .rings
                .get(&policy)
                .is_some_and(|(version, _)| *version == record.version);
            if known {
                continue;
            }
            match Ring::from_bytes(&record.value) {
                Ok(ring) => self.set(policy, record.version, ring),
                Err(e) => tracing::error!(policy = policy.0, error = %e, "the recorded ring cannot be read"),
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
