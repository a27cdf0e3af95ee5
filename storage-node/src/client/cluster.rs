//! [`ClusterClient`]: both planes of a whole cluster, seen from one process.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::{Dice, WallClock};
use metadata::command::{Command, RecordCondition};
use metadata::ids::{DeviceId, NodeId, RequestId, ShardId};
use metadata::model::PolicyId;
use metadata::query::{Answer, Found, Query};
use metadata::reply::{Done, Refusal, Reply};
use ring::Ring;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::blobs::Blobs;
use super::health::Health;
use super::hints::Hints;
use super::local::{LocalFirst, LocalNode};
use super::proposals::Proposals;
use super::rings::{NODES_TABLE, NodeRecord, RINGS_TABLE, Rings};
use super::shard_caller::ShardCaller;
use super::system_copy::{STALENESS_MAX, SystemCopy, Watcher};
use super::{BlobError, DataPlane, MetadataPlane, PlaneError, Planes};
use crate::blob_http::{BlobClient, ListCall};
use crate::device::{Blob, BlobHeader, BlobKey, BlobSlice, Digest};
use crate::node::admin::{AdminAnswer, AdminCall};
use crate::node::{ClusterStatus, NodeStatus};
use crate::shard::calls::{QueryCall, ReadFrom, ReadIndexCall, decode, encode};
use crate::wire::{AddressBook, CallKind, Channel, Credentials, SharedCaller};

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
        let ClientConfig {
            credentials,
            book,
            key_shards,
            local,
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
        let derive = derive(Arc::clone(&copy), Arc::clone(&rings), book.clone());
        let tasks = vec![
            tokio::spawn(watcher.run()).abort_handle(),
            tokio::spawn(derive).abort_handle(),
        ];
        let remote_blobs = BlobClient::new(credentials, book.clone());
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

    /// Makes `ring` the live one of `policy`, in the system shard's records. A ring that is not newer than the recorded
    /// one is refused; the same one again is fine.
    ///
    /// # Errors
    /// When the system shard does not answer, or holds another ring of this version or a newer one.
    pub async fn install_ring(&self, policy: PolicyId, ring: &Ring, deadline: Duration) -> Result<(), RecordError> {
        let key = policy.0.to_string();
        let query = Query::GetRecord {
            table: RINGS_TABLE.to_owned(),
            key: key.clone(),
        };
        let value: bytes::Bytes = ring.to_bytes().into();
        let expect = match self.query(ShardId::SYSTEM, query, deadline).await? {
            Ok(Found::Record(None)) => RecordCondition::Absent,
            Ok(Found::Record(Some(record))) if record.value == value => return Ok(()),
            Ok(Found::Record(Some(record))) => match Ring::from_bytes(&record.value) {
                Ok(live) if live.version() >= ring.version() => {
                    return Err(RecordError::NotNewer {
                        live: live.version(),
                        given: ring.version(),
                    });
                }
                _ => RecordCondition::Version(record.version),
            },
            Ok(_) => return Err(RecordError::Odd),
            Err(refusal) => return Err(RecordError::Refused(refusal)),
        };
        self.put_record(RINGS_TABLE, &key, expect, value, deadline).await?;
        Ok(())
    }

    /// Writes a record of the system shard; its version afterwards.
    ///
    /// # Errors
    /// When the system shard does not answer or refuses.
    pub async fn put_record(
        &self,
        table: &str,
        key: &str,
        expect: RecordCondition,
        value: bytes::Bytes,
        deadline: Duration,
    ) -> Result<u64, RecordError> {
        let command = Command::PutRecord {
            table: table.to_owned(),
            key: key.to_owned(),
            expect,
            value,
        };
        match self
            .propose(ShardId::SYSTEM, self.request_id(), command, deadline)
            .await?
        {
            Ok(Done::Record { version }) => Ok(version),
            Ok(_) => Err(RecordError::Odd),
            Err(refusal) => Err(RecordError::Refused(refusal)),
        }
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

    /// The digest of a device's keys in a range of placement hashes.
    ///
    /// # Errors
    /// As [`DataPlane::stat_blob`].
    pub async fn digest_blobs(
        &self,
        device: DeviceId,
        placements: RangeInclusive<u64>,
        deadline: Duration,
    ) -> Result<Digest, BlobError> {
        self.0.blobs.digest(device, placements, deadline).await
    }

    /// True when no failure of the node is remembered.
    #[must_use]
    pub fn node_seems_up(&self, node: NodeId) -> bool {
        self.0.blobs.node_seems_up(node)
    }

    /// Asks one node for administration.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn admin(&self, node: NodeId, call: &AdminCall, deadline: Duration) -> Result<AdminAnswer, String> {
        let answered = self
            .0
            .caller
            .call(node, Channel::Metadata, CallKind::Admin, encode(call), deadline)
            .await;
        let body = answered.map_err(|e| e.to_string())?;
        decode::<AdminAnswer>(&body).map_err(|e| e.to_string())
    }

    /// What one node says about itself.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn node_status(&self, node: NodeId, deadline: Duration) -> Result<NodeStatus, String> {
        let body = bytes::Bytes::new();
        let answered = self
            .0
            .caller
            .call(node, Channel::Metadata, CallKind::NodeStatus, body, deadline)
            .await;
        decode(&answered.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    }

    /// Asks every known node and every shard at once (HEAL-1).
    pub async fn cluster_status(&self, deadline: Duration) -> ClusterStatus {
        let nodes = self.0.book.nodes();
        let nodes = nodes
            .into_iter()
            .map(|node| async move { (node, self.node_status(node, deadline).await) });
        let shards = (0..=self.0.key_shards).map(ShardId).map(|shard| async move {
            let summary = match self.query(shard, Query::Summary, deadline).await {
                Ok(Ok(Found::Summary(summary))) => Ok(summary),
                Ok(other) => Err(format!("an answer of another kind: {other:?}")),
                Err(e) => Err(e.to_string()),
            };
            (shard, summary)
        });
        let (nodes, shards) = futures::join!(futures::future::join_all(nodes), futures::future::join_all(shards));
        ClusterStatus { nodes, shards }
    }

    /// True when every live copy, as far as all nodes know, has applied the system shard up to now.
    async fn copies_applied(&self, until: Instant) -> bool {
        let left = || until.saturating_duration_since(Instant::now());
        let body = encode(&ReadIndexCall { shard: ShardId::SYSTEM });
        let asked = self
            .0
            .shards
            .ask::<Option<u64>>(ShardId::SYSTEM, CallKind::RaftReadIndex, body, left())
            .await;
        let Ok(Some(index)) = asked else { return false };
        let nodes = self.0.book.nodes();
        let call = AdminCall::WatchersApplied {
            index,
            wait_ms: u64::try_from(left().as_millis()).unwrap_or(0),
        };
        let asks = nodes.iter().map(|node| self.admin(*node, &call, left()));
        let answers = futures::future::join_all(asks).await;
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(AdminAnswer::WatchersApplied(true))))
    }
}

/// Why a record was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The system shard did not answer; a repeat is safe when the expectation still holds.
    #[error(transparent)]
    Plane(#[from] PlaneError),
    /// The system shard refused.
    #[error(transparent)]
    Refused(Refusal),
    /// The recorded ring is as new or newer: rebalance the builder's newest file instead.
    #[error("the live ring has version {live}, the given one {given}: install a ring that is newer than the live one")]
    NotNewer {
        /// The version in the records.
        live: u64,
        /// The version given.
        given: u64,
    },
    /// The shard answered something else than was asked.
    #[error("the system shard gave an answer of another kind")]
    Odd,
}

/// Reads rings and nodes anew whenever the copy changed.
async fn derive(copy: Arc<SystemCopy>, rings: Arc<Rings>, book: AddressBook) {
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
        rings.take_rings(&records(RINGS_TABLE));
        let nodes: Vec<NodeRecord> = records(NODES_TABLE)
            .iter()
            .filter_map(|(_, record)| serde_json::from_slice(&record.value).ok())
            .collect();
        rings.take_nodes(&nodes);
        for node in nodes {
            book.set(node.node, node.address);
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
}

#[async_trait]
impl DataPlane for ClusterClient {
    fn ring(&self, policy: PolicyId) -> Option<Arc<Ring>> {
        self.0.rings.ring(policy)
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
        self.0.blobs.read(device, key, range, deadline).await
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
