//! The thin client of the storage nodes: what `store` sees of the cluster.
//!
//! Knows: which node leads a shard, which node holds a device, retries under one request id. Must not know: objects.
//! The two planes are traits, so that a process that is a storage node itself answers from its own disks without a
//! socket, and tests bring their own.

mod blobs;
mod cluster;
mod health;
mod hints;
mod local;
mod operations;
mod placement;
mod policies;
mod policy_admin;
mod proposals;
mod ring_admin;
mod ring_state;
mod rings;
mod route;
mod shard_caller;
mod stand_in;
mod system_copy;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metadata::command::Command;
use metadata::ids::{DeviceId, NodeId, RequestId, ShardId};
use metadata::model::PolicyId;
use metadata::query::{Answer, Query};
use metadata::reply::Reply;
use ring::Ring;

use crate::device::{Blob, BlobHeader, BlobKey, BlobSlice};

pub use cluster::{ClientConfig, ClusterClient};
pub use local::{LocalFirst, LocalNode};
pub use operations::RecordError;
pub use placement::{EXTENT_BYTES, chunk_key, chunk_len, placement};
pub use policies::{AWS_CLASSES, DEFAULT_POLICY, POLICIES_TABLE, Policy, PolicyKind, PolicyList, policy_key};
pub use policy_admin::{PolicyError, takes_writes_without_a_node};
pub use ring_admin::{Applied, ApplyOptions, FULL_PERCENT_MAX, Facts, RingChangeError, check_ring};
pub use ring_state::{
    LiveFile, Phase, RING_FILES_TABLE, RING_STATE_TABLE, Reason, RingRefusal, RingState, Says, piece_key,
};
pub use rings::{
    COMMANDS_LEVEL, LEVEL_OF_CHANGES, LEVEL_OF_ERASURE_CODING, LEVEL_OF_FENCES, LEVEL_OF_POLICIES, LiveRing, LiveRings,
    NODES_TABLE, NodeRecord, RINGS_TABLE, Spot, Standing, below_level, copies_run,
};
pub use stand_in::check_stand_in;
pub use system_copy::STALENESS_MAX;

/// Why a plane could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaneError {
    /// Nobody who could decide was reachable before the deadline; whether a command was executed is unknown, and a
    /// repeat under the same request id is safe.
    #[error("shard {shard} is not available: {reason}")]
    Unavailable {
        /// Which.
        shard: ShardId,
        /// What was tried last.
        reason: String,
    },
    /// The node asked is at its limit; come back later (503).
    #[error("shard {shard} is busy")]
    Busy {
        /// Which.
        shard: ShardId,
    },
}

/// Why a device could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The device has no such blob: try another copy.
    #[error("device {0} does not hold the blob")]
    Absent(DeviceId),
    /// The device's copy is damaged: try another copy and have this one repaired.
    #[error("device {0} holds a damaged copy")]
    Corrupt(DeviceId),
    /// The device is full, read-only or out: write to a handoff.
    #[error("device {0} takes no writes: {1}")]
    Refused(DeviceId, String),
    /// The node did not answer in time, or is down: use another device.
    #[error("device {0} cannot be reached: {1}")]
    Unreachable(DeviceId, String),
    /// The bytes sent do not match their checksums: a fault of the sender or of memory.
    #[error("device {0} received bytes that fail their checksum")]
    BadFrames(DeviceId),
}

/// The metadata plane: shards that decide.
#[async_trait]
pub trait MetadataPlane: Send + Sync + 'static {
    /// Has `command` executed exactly once: finds the leader, follows its moves, repeats under `request` until
    /// `deadline` from now has passed.
    async fn propose(
        &self,
        shard: ShardId,
        request: RequestId,
        command: Command,
        deadline: Duration,
    ) -> Result<Reply, PlaneError>;

    /// A linearizable read (CON-1, CON-2): sees everything acknowledged before it began.
    async fn query(&self, shard: ShardId, query: Query, deadline: Duration) -> Result<Answer, PlaneError>;

    /// A query of this process's copy of the system shard; `None` when the copy is older than its staleness bound
    /// (DESIGN §3.1), so that the caller asks the shard itself.
    fn query_system_copy(&self, query: &Query) -> Option<Answer>;

    /// How many key shards the cluster has.
    fn key_shards(&self) -> u64;

    /// Returns when no process uses a copy of the system shard from before this call any more: at most
    /// [`STALENESS_MAX`] from now, earlier when all copies are known to have caught up. To be awaited after taking a
    /// right away (DESIGN §3.1).
    async fn settle_system_copies(&self) {
        tokio::time::sleep(STALENESS_MAX).await;
    }

    /// The nodes that cannot apply commands of `level` yet (DESIGN §3.6); the default is for planes of one release.
    async fn nodes_below(&self, _level: u32, _deadline: Duration) -> Result<Vec<NodeId>, PlaneError> {
        Ok(Vec::new())
    }
}

/// The data plane: devices that keep blobs.
#[async_trait]
pub trait DataPlane: Send + Sync + 'static {
    /// The ring of a policy that places writes; `None` for an unknown policy.
    fn ring(&self, policy: PolicyId) -> Option<Arc<Ring>>;

    /// All live rings of a policy; `None` for an unknown policy. The default is for planes whose rings never change.
    fn rings(&self, policy: PolicyId) -> Option<Arc<LiveRings>> {
        let live = LiveRings::only(self.ring(policy)?);
        let kind = self.policies().get(policy).map(|policy| policy.kind);
        Some(Arc::new(match kind {
            Some(kind) => live.keeping(kind),
            None => live,
        }))
    }

    /// The policies beside the default one. The default is for planes that have none.
    fn policies(&self) -> Arc<PolicyList> {
        Arc::default()
    }

    /// True when the device's node is thought to be up and the device takes writes; a hint for choosing handoffs.
    fn writable(&self, device: DeviceId) -> bool;

    /// True when the device's blobs are reached without a socket; such a replica is read first.
    fn local(&self, device: DeviceId) -> bool;

    /// Stores a blob; returns after it is synced (DUR-1).
    async fn put_blob(&self, device: DeviceId, blob: Blob, deadline: Duration) -> Result<(), BlobError>;

    /// Reads the whole frames that cover `range` (bytes of the blob). The caller verifies them (INT-1).
    async fn read_blob(
        &self,
        device: DeviceId,
        key: BlobKey,
        range: std::ops::Range<u32>,
        deadline: Duration,
    ) -> Result<BlobSlice, BlobError>;

    /// The same for what nobody is about to read again; the default makes no difference.
    async fn read_for_upkeep(
        &self,
        device: DeviceId,
        key: BlobKey,
        range: std::ops::Range<u32>,
        deadline: Duration,
    ) -> Result<BlobSlice, BlobError> {
        self.read_blob(device, key, range, deadline).await
    }

    /// What the device says of a blob, without its bytes.
    async fn stat_blob(
        &self,
        device: DeviceId,
        key: BlobKey,
        deadline: Duration,
    ) -> Result<Option<BlobHeader>, BlobError>;

    /// Removes blobs; the caller has the metadata log's word for it (DUR-3).
    async fn remove_blobs(&self, device: DeviceId, keys: Vec<BlobKey>, deadline: Duration) -> Result<(), BlobError>;
}

/// Both planes, as `store` holds them.
#[derive(Clone)]
pub struct Planes {
    /// Metadata.
    pub metadata: Arc<dyn MetadataPlane>,
    /// Data.
    pub data: Arc<dyn DataPlane>,
}
