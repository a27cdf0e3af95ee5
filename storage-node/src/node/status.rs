//! What a node, and the whole cluster, look like to an operator.

use metadata::ids::{DeviceId, NodeId, ShardId};
use metadata::query::Summary;
use serde::{Deserialize, Serialize};

use super::work::WorkLine;
use crate::device::Usage;
use crate::shard::ShardsStatus;
use crate::wire::NodeAddress;

/// One node. Answers [`CallKind::NodeStatus`](crate::wire::CallKind); encoded as the bodies of `shard::calls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Which.
    pub node: NodeId,
    /// Where it is reached.
    pub address: NodeAddress,
    /// Its wall clock, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// When it started.
    pub started_ms: u64,
    /// Processes that keep their copy of the system shard through it.
    pub watchers: usize,
    /// Its shards.
    pub shards: ShardsStatus,
    /// Its devices.
    pub devices: Vec<DeviceStatus>,
    /// Its background work.
    pub work: Vec<WorkLine>,
}

/// One device of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// Its id in the ring.
    pub device: DeviceId,
    /// Its folder.
    pub path: String,
    /// Fill, state and counters; or why it is not open.
    pub usage: Result<Usage, String>,
}

/// The cluster as one process sees it (HEAL-1: what is not known is said to be unknown, never counted as zero).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Every known node, or why it did not answer.
    pub nodes: Vec<(NodeId, Result<NodeStatus, String>)>,
    /// Every shard's own numbers, read from its leader, or why there are none.
    pub shards: Vec<(ShardId, Result<Summary, String>)>,
}

impl ClusterStatus {
    /// Chunks that lack copies, summed over all key shards; `None` when a shard did not answer.
    #[must_use]
    pub fn short_chunks(&self) -> Option<u64> {
        self.shards
            .iter()
            .map(|(_, summary)| summary.as_ref().ok().map(|summary| summary.short_chunks))
            .sum()
    }

    /// Chunks of which no copy is known; `None` when a shard did not answer.
    #[must_use]
    pub fn lost_chunks(&self) -> Option<u64> {
        self.shards
            .iter()
            .map(|(_, summary)| summary.as_ref().ok().map(|summary| summary.lost_chunks))
            .sum()
    }
}
