//! The handle to the cluster, and the two ways it asks the metadata plane.

use std::collections::BTreeMap;
use std::sync::Arc;

use clock::{Dice, WallClock};
use metadata::command::Command;
use metadata::ids::ShardId;
use metadata::model::PolicyId;
use metadata::query::{Found, Query};
use metadata::reply::{Done, Refusal};
use parking_lot::Mutex;
use storage_node::client::Planes;
use storage_node::erasure::Code;

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::error::StoreError;
use crate::findings::Findings;
use crate::hashing::HashThreads;
use crate::options::StoreOptions;
use crate::placement::Placement;
use crate::pool::BytePool;
use crate::suspects::Suspects;
use crate::unfinished::Removals;

/// The door to the cluster. Cloning costs one reference count.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) planes: Planes,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) dice: Arc<dyn Dice>,
    pub(crate) options: StoreOptions,
    pub(crate) write_pool: BytePool,
    pub(crate) laggard_pool: BytePool,
    pub(crate) read_pool: BytePool,
    pub(crate) hash_threads: HashThreads,
    pub(crate) removals: Removals,
    pub(crate) findings: Findings,
    pub(crate) suspects: Suspects,
    placements: Mutex<BTreeMap<PolicyId, Arc<Placement>>>,
}

impl Store {
    /// A store over the two planes.
    #[must_use]
    pub fn new(planes: Planes, clock: Arc<dyn WallClock>, dice: Arc<dyn Dice>, options: StoreOptions) -> Self {
        let inner = Inner {
            write_pool: BytePool::new("write", options.write_pool_bytes),
            laggard_pool: BytePool::new("laggard", options.laggard_pool_bytes),
            read_pool: BytePool::new("read", options.read_pool_bytes),
            hash_threads: HashThreads::new(),
            removals: Removals::new(),
            findings: Findings::new(planes.clone(), clock.clone(), dice.clone()),
            suspects: Suspects::new(options.staleness_bound),
            placements: Mutex::default(),
            planes,
            clock,
            dice,
            options,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The settings it was made with.
    #[must_use]
    pub fn options(&self) -> &StoreOptions {
        &self.inner.options
    }

    /// Has `command` executed exactly once.
    pub(crate) async fn propose(
        &self,
        cx: &RequestContext,
        shard: ShardId,
        command: Command,
    ) -> Result<Done, StoreError> {
        let request = cx.next_command(self.inner.clock.now_ms());
        let reply = self
            .inner
            .planes
            .metadata
            .propose(shard, request, command, cx.deadline)
            .await?;
        Ok(reply?)
    }

    /// Has `command` executed by the bucket's shard.
    pub(crate) async fn change(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        command: Command,
    ) -> Result<Done, StoreError> {
        let request = cx.next_command(self.inner.clock.now_ms());
        let reply = self
            .inner
            .planes
            .metadata
            .propose(bucket.info.shard, request, command, cx.deadline)
            .await?;
        reply.map_err(|refusal| self.refused(bucket, refusal))
    }

    /// A linearizable read of the bucket's shard.
    pub(crate) async fn ask_bucket(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        query: Query,
    ) -> Result<Found, StoreError> {
        let answer = self
            .inner
            .planes
            .metadata
            .query(bucket.info.shard, query, cx.deadline)
            .await?;
        answer.map_err(|refusal| self.refused(bucket, refusal))
    }

    /// A refusal of the bucket's shard. One that does not know the bucket shows that it was resolved from an old copy.
    pub(crate) fn refused(&self, bucket: &Bucket, refusal: Refusal) -> StoreError {
        if refusal == Refusal::NoSuchBucket {
            self.inner.suspects.mark(&bucket.info.name);
        }
        refusal.into()
    }

    /// A linearizable read.
    pub(crate) async fn query(&self, cx: &RequestContext, shard: ShardId, query: Query) -> Result<Found, StoreError> {
        Ok(self.inner.planes.metadata.query(shard, query, cx.deadline).await??)
    }
}

impl Inner {
    /// The code of a policy that keeps fragments; none while its rings are not known.
    pub(crate) fn code(&self, policy: PolicyId) -> Option<Code> {
        self.placement(policy).ok().and_then(|placement| placement.code())
    }

    /// The live rings of a policy.
    pub(crate) fn placement(&self, policy: PolicyId) -> Result<Arc<Placement>, StoreError> {
        let live = self.planes.data.rings(policy);
        let live = live.ok_or_else(|| StoreError::Unavailable(format!("no ring for policy {}", policy.0)))?;
        let mut placements = self.placements.lock();
        if let Some(placement) = placements.get(&policy).filter(|placement| placement.is_of(&live)) {
            return Ok(placement.clone());
        }
        let placement = Arc::new(Placement::new(live));
        placements.insert(policy, placement.clone());
        Ok(placement)
    }
}

/// The answer of a shard to another question than the one asked.
pub(crate) fn unexpected(what: &str) -> StoreError {
    StoreError::Internal(format!("the shard's answer to {what} has the wrong kind"))
}
