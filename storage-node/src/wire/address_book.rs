//! Where nodes are reached: as configured, and as the nodes themselves have recorded in the system shard.
//!
//! What is configured here is tried first: after a move of the whole cluster the records still show the old addresses, and
//! only nodes that reach each other can correct them. A wrong address does no harm: who answers there has to prove that it
//! is the node.

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
pub struct AddressBook(Arc<RwLock<BTreeMap<NodeId, Entry>>>);

#[derive(Clone, Debug, Default)]
struct Entry {
    configured: Option<NodeAddress>,
    recorded: Option<NodeAddress>,
}

impl AddressBook {
    /// A book with these configured addresses.
    #[must_use]
    pub fn new(configured: impl IntoIterator<Item = (NodeId, NodeAddress)>) -> Self {
        let book = Self::default();
        configured
            .into_iter()
            .for_each(|(node, address)| book.set(node, address));
        book
    }

    /// Where a node may be reached, the likelier address first; none for an unknown node.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Vec<NodeAddress> {
        let book = self.0.read();
        let Some(Entry { configured, recorded }) = book.get(&node) else {
            return Vec::new();
        };
        let recorded = recorded
            .iter()
            .filter(|recorded| configured.as_ref() != Some(*recorded));
        configured.iter().chain(recorded).cloned().collect()
    }

    /// Enters or replaces a node's configured address.
    pub fn set(&self, node: NodeId, address: NodeAddress) {
        self.0.write().entry(node).or_default().configured = Some(address);
    }

    /// Notes what a node has recorded about itself.
    pub fn record(&self, node: NodeId, address: NodeAddress) {
        self.0.write().entry(node).or_default().recorded = Some(address);
    }

    /// Strikes a node that was removed from the cluster, also when it is configured still.
    pub fn forget(&self, node: NodeId) {
        self.0.write().remove(&node);
    }

    /// All known nodes, by id.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.0.read().keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_adds_a_second_address_and_never_replaces_the_configured_one() {
        let at = |text: &str| NodeAddress {
            wire: text.into(),
            blobs: text.into(),
        };
        let (one, two) = (NodeId(1), NodeId(2));
        let book = AddressBook::new([(one, at("new"))]);
        book.record(one, at("old"));
        book.record(two, at("only"));
        assert_eq!(book.get(one), [at("new"), at("old")]);
        assert_eq!(book.get(two), [at("only")]);
        book.record(one, at("new"));
        assert_eq!(book.get(one), [at("new")]);
        assert_eq!(book.nodes(), [one, two]);
        assert!(book.get(NodeId(3)).is_empty());
        book.forget(one);
        assert_eq!((book.nodes(), book.get(one).len()), (vec![two], 0));
    }
}
