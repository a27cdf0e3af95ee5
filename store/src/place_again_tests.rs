//! Commits that a fence refuses (REB-1): placed by the ring before, committed under the one that follows.

use std::collections::BTreeSet;
use std::ops::Range;

use async_trait::async_trait;
use futures::TryStreamExt;
use metadata::model::VersionSelector;
use metadata::query::{Found, Query};
use parking_lot::Mutex;
use ring::Ring;
use storage_node::client::{BlobError, DataPlane, LiveRing, LiveRings, Planes, PolicyKind};
use storage_node::device::{BlobHeader, BlobSlice};

use super::*;
use crate::testing::{Cluster, Shape, body};
use crate::{Bucket, PutObject, PutOutcome};

const CHUNK: u32 = 8192;

/// The cluster's devices under rings that a test changes.
struct Rings {
    data: Arc<crate::testing::MemoryData>,
    live: Mutex<Arc<LiveRings>>,
}

#[async_trait]
impl DataPlane for Rings {
    fn ring(&self, _: PolicyId) -> Option<Arc<Ring>> {
        Some(Arc::clone(&self.live.lock().current.ring))
    }

    fn rings(&self, _: PolicyId) -> Option<Arc<LiveRings>> {
        Some(Arc::clone(&self.live.lock()))
    }

    fn writable(&self, device: DeviceId) -> bool {
        self.data.writable(device)
    }

    fn local(&self, _: DeviceId) -> bool {
        false
    }

    async fn put_blob(&self, device: DeviceId, blob: Blob, deadline: Duration) -> Result<(), BlobError> {
        self.data.put_blob(device, blob, deadline).await
    }

    async fn read_blob(
        &self,
        device: DeviceId,
        key: BlobKey,
        range: Range<u32>,
        deadline: Duration,
    ) -> Result<BlobSlice, BlobError> {
        self.data.read_blob(device, key, range, deadline).await
    }

    async fn stat_blob(
        &self,
        device: DeviceId,
        key: BlobKey,
        deadline: Duration,
    ) -> Result<Option<BlobHeader>, BlobError> {
        self.data.stat_blob(device, key, deadline).await
    }

    async fn remove_blobs(&self, device: DeviceId, keys: Vec<BlobKey>, deadline: Duration) -> Result<(), BlobError> {
        self.data.remove_blobs(device, keys, deadline).await
    }
}

/// Six devices, each on a node of its own: the ring before uses `before` of them, the one after it knows `after` alone.
struct Moving {
    cluster: Cluster,
    rings: Arc<Rings>,
    store: Store,
    bucket: Bucket,
    next: Arc<LiveRings>,
}

impl Moving {
    async fn new(before: Range<u32>, after: Range<u32>) -> Self {
        let copies = PolicyKind::Replicated { copies: 3 };
        Self::keeping(copies, before, after).await
    }

    async fn keeping(kind: PolicyKind, before: Range<u32>, after: Range<u32>) -> Self {
        let mut shape = Shape {
            nodes: 6,
            ..Shape::default()
        };
        shape.options.chunk_bytes = CHUNK;
        let cluster = Cluster::new(shape.clone());
        let mut builder = ring::Builder::from_ring(&cluster.data.ring(PolicyId::default()).unwrap(), 0);
        let first = Arc::new(over(&mut builder, before));
        let second = Arc::new(only(&mut builder, after));
        let rings = Arc::new(Rings {
            data: cluster.data.clone(),
            live: Mutex::new(Arc::new(LiveRings::only(Arc::clone(&first)).keeping(kind))),
        });
        let planes = Planes {
            metadata: cluster.metadata.clone(),
            data: rings.clone(),
        };
        let dice = Arc::new(clock::SeededDice::new(2));
        let store = Store::new(planes, Arc::new(cluster.clock.clone()), dice, shape.options);
        let (bucket, _) = store.create_bucket(&cluster.request(), "b", true).await.unwrap();
        let mut next = LiveRings::only(Arc::clone(&second)).keeping(kind);
        next.previous = Some(LiveRing {
            epoch: first.version(),
            whole: Arc::clone(&first),
            ring: first,
        });
        Self {
            cluster,
            rings,
            store,
            bucket,
            next: Arc::new(next),
        }
    }

    /// No shard takes commits of the ring before from now on.
    async fn fence(&self) {
        let ring_version = self.next.current.epoch;
        let policy = PolicyId::default();
        let command = Command::RaiseFence { policy, ring_version };
        let (metadata, shard) = (&self.store.inner.planes.metadata, self.bucket.info.shard);
        let request = self.cluster.request().next_command(1_700_000_000_000);
        metadata
            .propose(shard, request, command, Duration::from_secs(1))
            .await
            .unwrap()
            .unwrap();
    }

    /// This process hears of the new ring after `later`.
    fn learn(&self, later: Duration) {
        let (rings, next) = (Arc::clone(&self.rings), Arc::clone(&self.next));
        tokio::spawn(async move {
            tokio::time::sleep(later).await;
            *rings.live.lock() = next;
        });
    }

    async fn put(&self, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        let put = PutObject::plain();
        let request = self.cluster.request();
        self.store
            .put_object(&request, &self.bucket, "k".into(), put, body(bytes))
            .await
    }

    async fn get(&self) -> Vec<u8> {
        let request = self.cluster.request();
        let latest = VersionSelector::Latest;
        let reader = self
            .store
            .open_object(&request, &self.bucket, b"k", latest)
            .await
            .unwrap();
        let pieces: Vec<_> = reader.read(0..u64::MAX).try_collect().await.unwrap();
        pieces.concat()
    }

    /// The devices that hold anything.
    async fn holders(&self) -> BTreeSet<u32> {
        let mut holders = BTreeSet::new();
        for device in self.cluster.data.devices() {
            if !self.cluster.data.blobs(device).await.is_empty() {
                holders.insert(device.0);
            }
        }
        holders
    }

    async fn short(&self) -> usize {
        let query = Query::Short { limit: 100 };
        let metadata = &self.store.inner.planes.metadata;
        match metadata
            .query(self.bucket.info.shard, query, Duration::from_secs(1))
            .await
        {
            Ok(Ok(Found::Short(short))) => short.len(),
            other => panic!("{other:?}"),
        }
    }
}

/// The ring in which only these devices have weight.
fn over(builder: &mut ring::Builder, devices: Range<u32>) -> Ring {
    for device in 0..6 {
        let weight = if devices.contains(&device) { 1.0 } else { 0.0 };
        builder.set_weight(ring::DeviceId(device), weight).unwrap();
    }
    balanced(builder)
}

/// The ring that follows it, of these devices alone: the others were lost.
fn only(builder: &mut ring::Builder, devices: Range<u32>) -> Ring {
    for device in 0..6 {
        let id = ring::DeviceId(device);
        if devices.contains(&device) {
            builder.set_weight(id, 1.0).unwrap();
        } else {
            builder.remove(id).unwrap();
        }
    }
    balanced(builder)
}

fn balanced(builder: &mut ring::Builder) -> Ring {
    // A rebalance moves one copy of a partition at a time.
    for _ in 0..4 {
        builder.rebalance(1, 1).unwrap();
    }
    builder.ring().unwrap()
}

fn bytes() -> Vec<u8> {
    (0..5 * CHUNK + 7).map(|at| (at % 251) as u8).collect()
}

#[tokio::test(start_paused = true)]
async fn reb_1_a_late_commit_is_copied_to_the_new_ring_when_nothing_of_it_lies_there() {
    let moving = Moving::new(0..3, 3..6).await;
    moving.fence().await;
    moving.learn(Duration::from_secs(1));
    moving.put(&bytes()).await.unwrap();
    assert_eq!(moving.holders().await, (0..6).collect());
    assert_eq!(
        moving.short().await,
        0,
        "all primaries of the new ring have every chunk"
    );
    // The copies of the ring before are not needed.
    for device in 0..3 {
        for key in moving.cluster.data.blobs(DeviceId(device)).await {
            moving.cluster.data.lose(DeviceId(device), key).await;
        }
    }
    assert_eq!(moving.get().await, bytes());
}

#[tokio::test(start_paused = true)]
async fn reb_1_a_late_commit_that_lies_on_a_quorum_of_the_new_ring_is_sent_nowhere_and_counts_as_short() {
    let moving = Moving::new(0..3, 1..4).await;
    moving.fence().await;
    moving.learn(Duration::ZERO);
    moving.put(&bytes()).await.unwrap();
    assert_eq!(moving.holders().await, BTreeSet::from([0, 1, 2]));
    assert!(
        moving.short().await > 0,
        "repair brings the third copy to its new place"
    );
    assert_eq!(moving.get().await, bytes());
}

#[tokio::test(start_paused = true)]
async fn reb_1_fragments_of_a_late_commit_are_made_again_at_the_new_ring_s_slots() {
    let coded = PolicyKind::ErasureCoded { data: 2, parity: 1 };
    let moving = Moving::keeping(coded, 0..3, 2..5).await;
    moving.fence().await;
    moving.learn(Duration::from_secs(1));
    moving.put(&bytes()).await.unwrap();
    assert_eq!(moving.short().await, 0, "every slot of the new ring has its fragment");
    for device in 0..2 {
        for key in moving.cluster.data.blobs(DeviceId(device)).await {
            moving.cluster.data.lose(DeviceId(device), key).await;
        }
    }
    // Any one of those that are left may go.
    for lost in 2..5 {
        moving
            .cluster
            .data
            .set_health(DeviceId(lost), crate::testing::Health::Down);
        assert_eq!(moving.get().await, bytes());
        moving
            .cluster
            .data
            .set_health(DeviceId(lost), crate::testing::Health::Good);
    }
}

#[tokio::test(start_paused = true)]
async fn reb_1_a_process_that_never_hears_of_the_new_ring_acknowledges_nothing() {
    let moving = Moving::new(0..3, 3..6).await;
    moving.fence().await;
    let begun = Instant::now();
    let refused = moving.put(&bytes()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    assert!(begun.elapsed() >= RING_WAIT);
    let request = moving.cluster.request();
    let latest = VersionSelector::Latest;
    let opened = moving.store.open_object(&request, &moving.bucket, b"k", latest).await;
    assert_eq!(opened.err(), Some(StoreError::NoSuchKey));
}
