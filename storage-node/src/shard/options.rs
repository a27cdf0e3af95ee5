//! What a node's shards are told at start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metadata::ids::{ClusterId, NodeId};

use super::faulty::StoreFaults;
use super::retention::LogLimits;
use super::rocks::RocksMemory;
use crate::ground::Ground;

/// The settings of a node's shards. [`ShardOptions::new`] gives the defaults of the design.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// The folder of the metadata store; made when absent.
    pub dir: PathBuf,
    /// How many key shards the cluster has; the system shard comes on top. Fixed at the cluster's creation.
    pub key_shards: u64,
    /// The database's memory.
    pub memory: RocksMemory,
    /// When log entries may go.
    pub log_limits: LogLimits,
    /// Recent log entries kept in memory per shard, in bytes.
    pub log_cache_bytes: usize,
    /// Raft's timers.
    pub timers: RaftTimers,
    /// How packing is bounded.
    pub packing: Packing,
    /// How often leaders, logs and clocks are looked after.
    pub upkeep: Upkeep,
    /// Every sync takes this much longer (fault injection); zero in production.
    pub sync_delay: Duration,
    /// Switches for tests; they win over `sync_delay`.
    pub faults: Option<Arc<StoreFaults>>,
    /// What to do with a damaged store.
    pub damage: Damage,
    /// Something says that this node had a store before: an empty folder is a loss, not a birth (DUR-5).
    pub expected: bool,
    /// Where the store lies when not in `dir`.
    pub ground: Option<Arc<dyn Ground>>,
}

/// What to do with a store that is damaged, shortened or replaced (DUR-5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Damage {
    /// Take no part until an operator acts.
    #[default]
    Quarantine,
    /// An operator has accepted the loss: vote with what is left. Only when quarantine would cost a majority.
    Accept,
}

/// Raft's timers in milliseconds (DESIGN §3.1). openraft ticks at 1.5 times the heartbeat and elects only after a
/// lease of `election_max_ms` and then one election timeout: a lost leader is replaced after 1.3 to 1.8 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftTimers {
    /// Between heartbeats; also the deadline of one append.
    pub heartbeat_ms: u64,
    /// The shortest election timeout.
    pub election_min_ms: u64,
    /// The longest election timeout.
    pub election_max_ms: u64,
}

impl Default for RaftTimers {
    fn default() -> Self {
        Self {
            heartbeat_ms: 150,
            election_min_ms: 500,
            election_max_ms: 800,
        }
    }
}

/// The bounds of packing and of what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Commands in one Raft entry.
    pub commands_max: usize,
    /// Bytes of commands in one Raft entry (a single larger command goes alone).
    pub bytes_max: usize,
    /// Entries proposed and not yet answered.
    pub in_flight_max: usize,
    /// Commands waiting per shard.
    pub waiting_max: usize,
    /// Their bytes.
    pub waiting_bytes_max: usize,
    /// How long a command waits for its reply.
    pub wait_max: Duration,
}

impl Default for Packing {
    fn default() -> Self {
        Self {
            commands_max: 1024,
            bytes_max: 1024 * 1024,
            in_flight_max: 2,
            waiting_max: 4096,
            waiting_bytes_max: 8 * 1024 * 1024,
            wait_max: Duration::from_secs(5),
        }
    }
}

/// How often a node looks after its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// Between looks at logs and clocks.
    pub interval: Duration,
    /// A leader that could hand over must have seen the reason for this long, so that leaders never flap.
    pub settle: Duration,
    /// An idle leader moves shard time forward this often, so that what is past its window goes.
    pub tick: Duration,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            settle: Duration::from_secs(10),
            tick: Duration::from_secs(60),
        }
    }
}

impl ShardOptions {
    /// The defaults.
    #[must_use]
    pub fn new(cluster: ClusterId, node: NodeId, dir: PathBuf) -> Self {
        Self {
            cluster,
            node,
            dir,
            key_shards: 8,
            memory: RocksMemory::default(),
            log_limits: LogLimits::default(),
            log_cache_bytes: 4 * 1024 * 1024,
            timers: RaftTimers::default(),
            packing: Packing::default(),
            upkeep: Upkeep::default(),
            sync_delay: Duration::ZERO,
            faults: None,
            damage: Damage::default(),
            expected: false,
            ground: None,
        }
    }
}
