//! What operators and other processes ask of one node, as bytes of [`CallKind::Admin`](crate::wire::CallKind).
//!
//! ```text
//! body = version (1 byte, CALLS_FORMAT of `shard::calls`) | postcard(AdminCall), answered by AdminAnswer
//! ```
//! New variants go at the end of their enum, because postcard numbers variants.

use std::collections::BTreeSet;

use metadata::ids::{DeviceId, NodeId, ShardId};
use serde::{Deserialize, Serialize};

/// A question or an order to one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminCall {
    /// Whether every live process that keeps its copy of the system shard through this node has applied `index`; waits
    /// for that at most `wait_ms`.
    WatchersApplied {
        /// The log index.
        index: u64,
        /// How long to wait.
        wait_ms: u64,
    },
    /// Builds a device's index again from its segments; the device is out of service meanwhile.
    RebuildIndex {
        /// Which.
        device: DeviceId,
    },
    /// Lets the next walk over a device remove more unreferenced blobs than it would without asking (DUR-3).
    ApproveOrphans {
        /// Which.
        device: DeviceId,
    },
    /// Adds a node to a shard as a member without a vote, and waits until it has caught up. Only on the shard's leader.
    AddLearner {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// Makes exactly these nodes the voters of a shard; new ones must be learners first. Only on the shard's leader.
    ChangeVoters {
        /// The shard.
        shard: ShardId,
        /// The voters.
        voters: BTreeSet<NodeId>,
    },
    /// Hands the lead of a shard over. Only on the shard's leader.
    HandOver {
        /// The shard.
        shard: ShardId,
        /// Who leads next.
        target: NodeId,
    },
    /// Forgets the store of a node that was taken out of the cluster (DUR-5), so that its id may come back with a new
    /// one. To be asked of every node.
    ForgetPeer {
        /// The node.
        node: NodeId,
    },
    /// Takes a node whose metadata store is gone out of every shard the asked node leads (DUR-5).
    Dismiss {
        /// The node.
        node: NodeId,
    },
    /// Knows a node with the store it has now (DUR-5).
    Welcome {
        /// The node.
        node: NodeId,
        /// Its store.
        incarnation: u128,
        /// The shards that have taken that store in.
        votes_in: BTreeSet<ShardId>,
    },
    /// Takes a node into every shard the asked node leads that has too few voters.
    Admit {
        /// The node.
        node: NodeId,
    },
    /// Makes the asked node the only voter of every shard that has lost its majority. The operator accepts the loss.
    RecoverShards,
    /// Writes a backup of the metadata into a folder of the asked node's machine.
    BackupMetadata {
        /// The folder.
        folder: String,
    },
    /// Opens a device whose disk is back, or was replaced.
    OpenDevice {
        /// Which.
        device: DeviceId,
    },
}

/// What the node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminAnswer {
    /// To [`AdminCall::WatchersApplied`].
    WatchersApplied(bool),
    /// Done; a sentence for the operator.
    Done(String),
    /// Not done; a sentence that says why.
    Failed(String),
}
