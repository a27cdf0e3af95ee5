//! Where nodes are reached: configured at first, then kept up to date from the system shard's node records.

use std::collections::BTreeMap;
use std::sync::Arc;

use metadata::ids::NodeId;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

/// The two doors of a node, each `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Raft and metadata calls.
    pub wire: String,
    /// Blob bodies.
    pub blobs: String,
}

/// Addresses by node, shared by everything that connects. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AddressBook(Arc<RwLock<BTreeMap<NodeId, NodeAddress>>>);

impl AddressBook {
    /// A book with these entries.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (NodeId, NodeAddress)>) -> Self {
        Self(Arc::new(RwLock::new(entries.into_iter().collect())))
    }

    /// One node's address.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<NodeAddress> {
        self.0.read().get(&node).cloned()
    }

    /// Enters or replaces a node's address; true when that changed anything.
    pub fn set(&self, node: NodeId, address: NodeAddress) -> bool {
        let mut book = self.0.write();
        let changed = book.get(&node) != Some(&address);
        book.insert(node, address);
        changed
    }

    /// All known nodes, by id.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.0.read().keys().copied().collect()
    }
}
