//! What a node knows of its shards, for operators and for whoever looks for leaders.

use metadata::ids::{NodeId, ShardId};
use serde::{Deserialize, Serialize};

/// A node's shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardsStatus {
    /// This node.
    pub node: NodeId,
    /// Its store's incarnation, in hex.
    pub incarnation: String,
    /// Why it takes no part, and what to do.
    pub quarantine: Option<String>,
    /// Why its store failed.
    pub store_failed: Option<String>,
    /// Syncs of the write-ahead log since start.
    pub syncs: u64,
    /// Appends, votes and the like that they covered.
    pub synced_jobs: u64,
    /// Each peer's clock minus this node's, in milliseconds.
    pub clock_offsets_ms: Vec<(NodeId, i64)>,
    /// One line per shard.
    pub shards: Vec<ShardStatus>,
}

/// What part a replica plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShardRole {
    /// It decides.
    Leader,
    /// It votes.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It receives entries but does not vote; or the shard was never initialized.
    Learner,
    /// It has stopped; see `fault`.
    Stopped,
}

/// One replica of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Which.
    pub shard: ShardId,
    /// What part this node plays.
    pub role: ShardRole,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Raft's term.
    pub term: u64,
    /// Index of the last log entry.
    pub last_index: Option<u64>,
    /// Index of the last applied entry.
    pub applied_index: Option<u64>,
    /// Index of the last purged entry.
    pub purged_index: Option<u64>,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who only receives.
    pub learners: Vec<NodeId>,
    /// On the leader: the last entry each member is known to hold.
    pub matched: Vec<(NodeId, Option<u64>)>,
    /// On the leader: milliseconds since a majority last answered.
    pub quorum_age_ms: Option<u64>,
    /// Why it has stopped or does not lead.
    pub fault: Option<String>,
}
