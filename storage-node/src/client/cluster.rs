//! [`ClusterClient`]: both planes of a whole cluster, seen from one process.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::{Dice, WallClock};
use metadata::command::Command;
use metadata::ids::{DeviceId, NodeId, RequestId, ShardId};
use metadata::model::PolicyId;
use metadata::query::{Answer, Found, Query};
use metadata::reply::Reply;
use ring::Ring;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::blobs::Blobs;
use super::health::Health;
use super::hints::Hints;
use super::local::{LocalFirst, LocalNode};
use super::operations::RecordError;
use super::policies::{KnownPolicies, POLICIES_TABLE, PolicyList};
use super::proposals::Proposals;
use super::ring_state::RING_STATE_TABLE;
use super::rings::{LiveRings, NODES_TABLE, NodeRecord, RINGS_TABLE, Rings, below_level};
use super::shard_caller::ShardCaller;
use super::system_copy::{STALENESS_MAX, SystemCopy, Watcher};
use super::{BlobError, DataPlane, MetadataPlane, PlaneError, Planes};
use crate::blob_http::{BlobClient, ListCall, RemoteBlobs};
use crate::device::{Blob, BlobHeader, BlobKey, BlobSlice, Digest, Purpose};
use crate::shard::calls::{QueryCall, ReadFrom, encode};
use crate::wire::{AddressBook, CallKind, Credentials, SharedCaller};

/// The most rings and nodes read from the system shard.
const RECORDS_MAX: usize = 10_000;

/// What a client is made of.
pub struct ClientConfig {
    /// Who this process is.
    pub credentials: Credentials,
    /// Where nodes are reached, as configured; the system shard's records are added.
    pub book: AddressBook,
    /// How many key shards the cluster has.
    pub key_shards: u64,
    /// Set in a process that is a storage node itself.
    pub local: Option<LocalNode>,
}

/// Both planes of the cluster. Cheap to clone; the last clone ends its tasks.
#[derive(Clone)]
pub struct ClusterClient(Arc<Inner>);

struct Inner {
    key_shards: u64,
    caller: SharedCaller,
    book: AddressBook,
    shards: Arc<ShardCaller>,
    proposals: Proposals,
    copy: Arc<SystemCopy>,
    rings: Arc<Rings>,
    policies: Arc<KnownPolicies>,
    blobs: Blobs,
    clock: Arc<dyn WallClock>,
    dice: Arc<dyn Dice>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl ClusterClient {
    /// Starts a client over `remote`, which reaches the other nodes. Must be called inside a runtime.
    #[must_use]
    pub fn start(config: ClientConfig, remote: SharedCaller, clock: Arc<dyn WallClock>, dice: Arc<dyn Dice>) -> Self {
        let blobs = BlobClient::new(config.credentials.clone(), config.book.clone(), Arc::clone(&dice));
        Self::start_over(config, remote, Arc::new(blobs), clock, dice)
    }

    /// As [`Self::start`], over any way to the devices of other nodes.
    #[must_use]
    pub fn start_over(
        config: ClientConfig,
        remote: SharedCaller,
        remote_blobs: Arc<dyn RemoteBlobs>,
        clock: Arc<dyn WallClock>,
        dice: Arc<dyn Dice>,
    ) -> Self {
        let ClientConfig {
            book,
            key_shards,
            local,
            ..
        } = config;
        let (hints, rings, copy) = (
            Arc::new(Hints::default()),
            Arc::new(Rings::default()),
            SystemCopy::new(),
        );
        let caller: SharedCaller = Arc::new(LocalFirst::new(local.clone(), remote));
        let shards = ShardCaller::new(Arc::clone(&caller), book.clone(), Arc::clone(&hints), Arc::clone(&dice));
        let shards = Arc::new(shards);
        let watcher = Watcher {
            copy: Arc::clone(&copy),
            caller: Arc::clone(&caller),
            book: book.clone(),
            shards: Arc::clone(&shards),
            hints: Arc::clone(&hints),
            local: local.as_ref().map(|local| local.node),
        };
        let policies = Arc::new(KnownPolicies::default());
        let derive = derive(
            Arc::clone(&copy),
            Arc::clone(&rings),
            Arc::clone(&policies),
            book.clone(),
        );
        let health = Health {
            caller: Arc::clone(&caller),
            book: book.clone(),
            hints: Arc::clone(&hints),
            local: local.as_ref().map(|local| local.node),
        };
        let tasks = vec![
            tokio::spawn(watcher.run()).abort_handle(),
            tokio::spawn(derive).abort_handle(),
            tokio::spawn(health.run()).abort_handle(),
        ];
        let blobs = Blobs::new(local, remote_blobs, Arc::clone(&rings), hints);
        let proposals = Proposals::new(Arc::clone(&shards));
        Self(Arc::new(Inner {
            key_shards,
            caller,
            book,
            shards,
            proposals,
            copy,
            rings,
            policies,
            blobs,
            clock,
            dice,
            tasks,
        }))
    }

    /// The two planes, as `store` takes them.
    #[must_use]
    pub fn planes(&self) -> Planes {
        Planes {
            metadata: Arc::new(self.clone()),
            data: Arc::new(self.clone()),
        }
    }

    /// Where nodes are reached.
    #[must_use]
    pub fn book(&self) -> &AddressBook {
        &self.0.book
    }

    /// What calls nodes (the own one without a socket).
    #[must_use]
    pub fn caller(&self) -> &SharedCaller {
        &self.0.caller
    }

    pub(super) fn shard_caller(&self) -> &ShardCaller {
        &self.0.shards
    }

    /// The wall clock, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        self.0.clock.now_ms()
    }

    /// A fresh request id.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        RequestId::new(self.0.clock.now_ms(), self.0.dice.u128())
    }

    /// The node that has a device, as far as the rings and the nodes' records tell.
    #[must_use]
    pub fn home(&self, device: DeviceId) -> Option<NodeId> {
        self.0.rings.home(device)
    }

    /// The policies that have a ring, by number; the default one is the first.
    #[must_use]
    pub fn placed_policies(&self) -> Vec<PolicyId> {
        self.0.rings.policies()
    }

    /// The policies whose live rings name the device.
    #[must_use]
    pub fn policies_of(&self, device: DeviceId) -> Vec<PolicyId> {
        self.0.rings.policies_of(device)
    }

    /// What the device holds of each of `keys`, in their order.
    ///
    /// # Errors
    /// As [`DataPlane::stat_blob`].
    pub async fn stat_blobs(
        &self,
        device: DeviceId,
        keys: Vec<BlobKey>,
        deadline: Duration,
    ) -> Result<Vec<Option<BlobHeader>>, BlobError> {
        self.0.blobs.stat_many(device, keys, deadline).await
    }

    /// A page of a device's blobs in key order.
    ///
    /// # Errors
    /// As [`DataPlane::stat_blob`].
    pub async fn list_blobs(
        &self,
        device: DeviceId,
        call: ListCall,
        deadline: Duration,
    ) -> Result<Vec<(BlobKey, BlobHeader)>, BlobError> {
        self.0.blobs.list(device, call, deadline).await
    }

    /// The digest of a policy's keys on a device in a range of placement hashes.
    ///
    /// # Errors
    /// As [`DataPlane::stat_blob`].
    pub async fn digest_blobs(
        &self,
        device: DeviceId,
        placements: RangeInclusive<u64>,
        policy: PolicyId,
        deadline: Duration,
    ) -> Result<Digest, BlobError> {
        self.0.blobs.digest(device, placements, policy, deadline).await
    }

    /// True when no failure of the node is remembered.
    #[must_use]
    pub fn node_seems_up(&self, node: NodeId) -> bool {
        self.0.blobs.node_seems_up(node)
    }
}

/// Reads rings and nodes anew whenever the copy changed.
async fn derive(copy: Arc<SystemCopy>, rings: Arc<Rings>, policies: Arc<KnownPolicies>, book: AddressBook) {
    let mut changes = copy.changes();
    loop {
        let records = |table: &str| {
            let query = Query::ListRecords {
                table: table.to_owned(),
                after: None,
                limit: RECORDS_MAX,
            };
            match copy.query_stale(&query) {
                Some(Ok(Found::Records { records, .. })) => records,
                _ => Vec::new(),
            }
        };
        let fetch = |table: &str, key: &str| {
            let (table, key) = (table.to_owned(), key.to_owned());
            match copy.query_stale(&Query::GetRecord { table, key }) {
                Some(Ok(Found::Record(record))) => record.map(|record| record.value),
                _ => None,
            }
        };
        policies.take(&records(POLICIES_TABLE));
        rings.take_rings(
            &policies.list(),
            &records(RINGS_TABLE),
            &records(RING_STATE_TABLE),
            &fetch,
        );
        let nodes: Vec<NodeRecord> = records(NODES_TABLE)
            .iter()
            .filter_map(|(_, record)| serde_json::from_slice(&record.value).ok())
            .collect();
        rings.take_nodes(&nodes);
        for node in nodes {
            if node.removed {
                book.forget(node.node);
            } else {
                book.record(node.node, node.address);
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

#[async_trait]
impl MetadataPlane for ClusterClient {
    async fn propose(
        &self,
        shard: ShardId,
        request: RequestId,
        command: Command,
        deadline: Duration,
    ) -> Result<Reply, PlaneError> {
        self.0.proposals.propose(shard, request, command, deadline).await
    }

    async fn query(&self, shard: ShardId, query: Query, deadline: Duration) -> Result<Answer, PlaneError> {
        let body = encode(&QueryCall {
            shard,
            query,
            from: ReadFrom::Leader,
        });
        self.0.shards.ask(shard, CallKind::Query, body, deadline).await
    }

    fn query_system_copy(&self, query: &Query) -> Option<Answer> {
        self.0.copy.query(query)
    }

    fn key_shards(&self) -> u64 {
        self.0.key_shards
    }

    async fn settle_system_copies(&self) {
        let until = Instant::now() + STALENESS_MAX;
        if !matches!(
            tokio::time::timeout_at(until, self.copies_applied(until)).await,
            Ok(true)
        ) {
            tokio::time::sleep_until(until).await;
        }
    }

    async fn nodes_below(&self, level: u32, deadline: Duration) -> Result<Vec<NodeId>, PlaneError> {
        match self.node_records(deadline).await {
            Ok(nodes) => Ok(below_level(&nodes, level)),
            Err(RecordError::Plane(error)) => Err(error),
            Err(error) => Err(PlaneError::Unavailable {
                shard: ShardId::SYSTEM,
                reason: error.to_string(),
            }),
        }
    }
}

#[async_trait]
impl DataPlane for ClusterClient {
    fn ring(&self, policy: PolicyId) -> Option<Arc<Ring>> {
        self.0.rings.ring(policy)
    }

    fn rings(&self, policy: PolicyId) -> Option<Arc<LiveRings>> {
        self.0.rings.live(policy)
    }

    fn policies(&self) -> Arc<PolicyList> {
        self.0.policies.list()
    }

    fn writable(&self, device: DeviceId) -> bool {
        self.0.blobs.writable(device)
    }

    fn local(&self, device: DeviceId) -> bool {
        self.0.blobs.is_local(device)
    }

    async fn put_blob(&self, device: DeviceId, blob: Blob, deadline: Duration) -> Result<(), BlobError> {
        self.0.blobs.put(device, blob, deadline).await
    }

    async fn read_blob(
        &self,
        device: DeviceId,
        key: BlobKey,
        range: Range<u32>,
        deadline: Duration,
    ) -> Result<BlobSlice, BlobError> {
        self.0.blobs.read(device, key, range, Purpose::Serve, deadline).await
    }

    async fn read_for_upkeep(
        &self,
        device: DeviceId,
        key: BlobKey,
        range: Range<u32>,
        deadline: Duration,
    ) -> Result<BlobSlice, BlobError> {
        self.0.blobs.read(device, key, range, Purpose::Upkeep, deadline).await
    }

    async fn stat_blob(
        &self,
        device: DeviceId,
        key: BlobKey,
        deadline: Duration,
    ) -> Result<Option<BlobHeader>, BlobError> {
        self.0.blobs.stat(device, key, deadline).await
    }

    async fn remove_blobs(&self, device: DeviceId, keys: Vec<BlobKey>, deadline: Duration) -> Result<(), BlobError> {
        self.0.blobs.remove(device, keys, deadline).await
    }
}
