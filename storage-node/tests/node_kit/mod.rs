//! Three storage nodes in this process: real sockets, real folders, one test's own everything.

pub mod growing;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::{Dice, ManualClock, SystemDice, WallClock};
use metadata::command::{Command, Condition, NewBody, NewObject};
use metadata::ids::{BucketId, ClusterId, DeviceId, NodeId, RequestId, ShardId, WriteId};
use metadata::model::{BucketInfo, ETag, PolicyId, ShortChunks, Stored, Stream, VersionSelector};
use metadata::query::{Found, Query, Summary};
use metadata::reply::Done;
use storage_node::client::{BlobError, ClientConfig, ClusterClient, DataPlane, MetadataPlane, chunk_key, chunk_len};
use storage_node::device::{Blob, BlobHeader, DeviceOptions};
use storage_node::node::{DeviceConfig, NodeConfig, StorageNode, WorkOptions};
use storage_node::wire::{AddressBook, Credentials, NodeAddress, Role, Secret, TcpCaller};

pub const CLUSTER: ClusterId = ClusterId(0xc1);
pub const DEADLINE: Duration = Duration::from_secs(20);
pub const CHUNK: u32 = 256 * 1024;
const SECRET: &[u8] = b"the secret of a test's own cluster";
const START_MS: u64 = 1_700_000_000_000;

/// A cluster of three nodes with a device each, and a client of its own that is no node.
pub struct Cluster {
    dir: tempfile::TempDir,
    pub clock: ManualClock,
    pub work: WorkOptions,
    /// Devices of each node.
    each: usize,
    nodes: Vec<Option<StorageNode>>,
    addresses: Vec<NodeAddress>,
    pub client: ClusterClient,
    pub bucket: BucketInfo,
}

pub fn quick() -> WorkOptions {
    WorkOptions {
        idle_pause: Duration::from_millis(50),
        orphan_pause: Duration::ZERO,
        orphan_interval: Duration::from_millis(100),
        missing_pause: Duration::ZERO,
        missing_interval: Duration::from_secs(3600),
        bucket_patience: Duration::from_millis(200),
        repair_pause: Duration::ZERO,
        seats_pause: Duration::from_millis(200),
        ..WorkOptions::default()
    }
}

fn address(at: &NodeAddress) -> (std::net::SocketAddr, std::net::SocketAddr) {
    (at.wire.parse().unwrap(), at.blobs.parse().unwrap())
}

impl Cluster {
    pub async fn start(work: WorkOptions) -> Self {
        Self::start_with(work, 1).await
    }

    /// As [`Self::start`]; node n has devices (n - 1) x `each` and those behind it.
    pub async fn start_with(work: WorkOptions, each: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(START_MS);
        let mut bound = Vec::new();
        for number in 0..3 {
            let config = config(
                dir.path().join(number.to_string()),
                number,
                each,
                work,
                AddressBook::default(),
            );
            bound.push(
                StorageNode::bind(config, Arc::new(clock.clone()), Arc::new(SystemDice))
                    .await
                    .unwrap(),
            );
        }
        let addresses: Vec<NodeAddress> = bound.iter().map(|node| node.address().clone()).collect();
        for node in &bound {
            fill(node.book(), &addresses);
        }
        let starting = bound.into_iter().map(storage_node::node::BoundNode::start);
        let nodes = futures::future::join_all(starting)
            .await
            .into_iter()
            .map(|node| Some(node.unwrap()))
            .collect();
        let client = client(&addresses, &clock);
        client.install_ring(PolicyId(0), &ring(each), DEADLINE).await.unwrap();
        let create = Command::CreateBucket {
            project: "p".into(),
            name: "b".into(),
            global: true,
            key_shards: 2,
        };
        let made = client
            .propose(ShardId::SYSTEM, client.request_id(), create, DEADLINE)
            .await
            .unwrap();
        let Ok(Done::Bucket { info: bucket, .. }) = made else {
            panic!("no bucket: {made:?}")
        };
        let cluster = Self {
            dir,
            clock,
            work,
            each,
            nodes,
            addresses,
            client,
            bucket,
        };
        until("every process knows the ring", async || {
            let everybody = cluster
                .nodes
                .iter()
                .flatten()
                .map(StorageNode::client)
                .chain([&cluster.client]);
            everybody.into_iter().all(|client| client.ring(PolicyId(0)).is_some())
        })
        .await;
        cluster
    }

    pub fn node(&self, number: usize) -> &StorageNode {
        self.nodes[number].as_ref().expect("the node runs")
    }

    pub fn shard(&self) -> ShardId {
        self.bucket.shard
    }

    pub async fn stop(&mut self, number: usize) {
        self.nodes[number].take().expect("the node runs").stop().await;
    }

    pub async fn restart(&mut self, number: usize) {
        let book = AddressBook::default();
        fill(&book, &self.addresses);
        let mut config = config(
            self.dir.path().join(number.to_string()),
            number,
            self.each,
            self.work,
            book,
        );
        (config.listen_wire, config.listen_blobs) = address(&self.addresses[number]);
        let mut tries = 0;
        // The store's lock is free a moment after the last task of the stopped node has gone.
        self.nodes[number] = loop {
            tries += 1;
            let started = StorageNode::start(config.clone(), Arc::new(self.clock.clone()), Arc::new(SystemDice)).await;
            match started {
                Ok(node) => break Some(node),
                Err(e) if tries > 200 => panic!("{e}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
    }

    /// Stops everything and waits until the last file is closed: RocksDB aborts a process that exits in the middle.
    pub async fn end(self) {
        let Self { dir, nodes, client, .. } = self;
        drop(client);
        for node in nodes.into_iter().flatten() {
            node.stop().await;
        }
        until("all files are closed", async || !any_file_open_in(dir.path())).await;
    }

    pub fn device(number: usize) -> DeviceId {
        DeviceId(u32::try_from(number).unwrap())
    }

    pub fn data_dir(&self, number: usize) -> PathBuf {
        self.dir.path().join(number.to_string())
    }

    /// Stores a stream's chunks on all devices that take them; tells which did.
    pub async fn store(&self, size: u64) -> Stored {
        let write = WriteId::new(self.clock.now_ms(), SystemDice.u128());
        let stream = Stream {
            write,
            size,
            chunk_bytes: CHUNK,
            policy: PolicyId(0),
            ring_version: 1,
        };
        let mut short = Vec::new();
        for chunk in 0..stream.chunks() {
            let blob = self.blob(&stream, chunk);
            let mut holders = Vec::new();
            for number in 0..3 {
                let device = Self::device(number);
                match self.client.put_blob(device, blob.clone(), DEADLINE).await {
                    Ok(()) => holders.push(device),
                    Err(BlobError::Unreachable(..)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            if holders.len() < 3 {
                short.push(ShortChunks {
                    first: chunk,
                    count: 1,
                    devices: holders,
                });
            }
        }
        Stored { stream, short }
    }

    pub fn blob(&self, stream: &Stream, chunk: u32) -> Blob {
        let length = chunk_len(stream, chunk) as usize;
        let payload: Vec<u8> = (0..length)
            .map(|at| (at as u32 ^ chunk.wrapping_mul(31)) as u8)
            .collect();
        let header = BlobHeader {
            cluster: CLUSTER,
            shard: self.shard(),
            bucket: self.bucket.id,
            len: 0,
            blake3: [0; 32],
            written_ms: self.clock.now_ms(),
        };
        Blob::seal(chunk_key(stream, chunk), header, payload.into())
    }

    pub async fn put(&self, key: &str, stored: Stored) {
        self.put_as(self.client.request_id(), key, NewBody::Stored(stored))
            .await;
    }

    pub async fn put_as(&self, request: RequestId, key: &str, body: NewBody) {
        let object = NewObject {
            body,
            etag: ETag { md5: [1; 16], parts: 0 },
            checksum: None,
            owner: "p".into(),
            attributes: Vec::new(),
            user: Vec::new(),
            tags: Vec::new(),
        };
        let (bucket, key) = (self.bucket.id, key.as_bytes().to_vec());
        let put = Command::PutObject {
            bucket,
            key,
            condition: Condition::Always,
            object,
        };
        let done = self.client.propose(self.shard(), request, put, DEADLINE).await.unwrap();
        assert!(matches!(done, Ok(Done::Put(_))), "{done:?}");
    }

    pub async fn delete(&self, key: &str) {
        let command = Command::DeleteObject {
            bucket: self.bucket.id,
            key: key.as_bytes().to_vec(),
            version: VersionSelector::Latest,
            condition: Condition::Always,
            owner: "p".into(),
        };
        let done = self
            .client
            .propose(self.shard(), self.client.request_id(), command, DEADLINE)
            .await
            .unwrap();
        assert!(matches!(done, Ok(Done::Deleted(_))), "{done:?}");
    }

    /// Moves the clock and has every shard take note of the time.
    pub async fn pass(&self, ms: u64) {
        self.clock.advance_ms(ms);
        for shard in 0..=2 {
            let tick = self
                .client
                .propose(ShardId(shard), self.client.request_id(), Command::Tick, DEADLINE)
                .await;
            tick.unwrap().unwrap();
        }
    }

    pub async fn summary(&self) -> Summary {
        match self
            .client
            .query(self.shard(), Query::Summary, DEADLINE)
            .await
            .unwrap()
            .unwrap()
        {
            Found::Summary(summary) => summary,
            other => panic!("{other:?}"),
        }
    }

    /// How many of the three devices hold every chunk of the stream, proven byte by byte.
    pub async fn whole_copies(&self, stream: &Stream) -> usize {
        let mut whole = 0;
        for number in 0..3 {
            let mut holds = true;
            for chunk in 0..stream.chunks() {
                let wanted = self.blob(stream, chunk);
                let length = chunk_len(stream, chunk);
                let read = self
                    .client
                    .read_blob(Self::device(number), wanted.key, 0..length, DEADLINE)
                    .await;
                let good = |slice: storage_node::device::BlobSlice| {
                    slice.verify().is_ok() && slice.payload == wanted.payload.to_bytes()
                };
                holds &= read.is_ok_and(good);
            }
            whole += usize::from(holds);
        }
        whole
    }

    /// How many blobs the running devices hold together.
    pub fn blobs(&self) -> u64 {
        let nodes = self.nodes.iter().flatten();
        nodes
            .flat_map(|node| node.devices().all())
            .map(|(_, device)| device.usage().blobs)
            .sum()
    }

    /// The number of the node that leads a shard.
    pub async fn leader(&self, shard: ShardId) -> usize {
        let mut found = None;
        until("a leader", async || {
            let running = || {
                self.nodes
                    .iter()
                    .enumerate()
                    .filter_map(|(at, node)| Some((at, node.as_ref()?)))
            };
            found = running()
                .find(|(at, node)| node.shards().leader(shard) == Some(NodeId(*at as u64 + 1)))
                .map(|(at, _)| at);
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

/// Waits until `holds`; panics with `what` when it takes far too long.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(60), waiting).await.is_ok(),
        "never came true: {what}"
    );
}

fn any_file_open_in(dir: &std::path::Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .any(|file| file.starts_with(dir))
}

fn config(dir: PathBuf, number: usize, each: usize, work: WorkOptions, book: AddressBook) -> NodeConfig {
    let node = NodeId(number as u64 + 1);
    let mut config = NodeConfig::new(CLUSTER, node, dir.join("metadata"), Secret::new(SECRET).unwrap());
    config.book = book;
    config.founders = Some(BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]));
    config.shards.key_shards = 2;
    let options = DeviceOptions {
        segment_bytes: 4 << 20,
        ..DeviceOptions::default()
    };
    let device = |at: usize| DeviceConfig {
        id: Cluster::device(number * each + at),
        path: dir.join(format!("d{at}")),
        options,
    };
    config.devices = (0..each).map(device).collect();
    config.work = work;
    config
}

fn fill(book: &AddressBook, addresses: &[NodeAddress]) {
    for (number, address) in addresses.iter().enumerate() {
        book.set(NodeId(number as u64 + 1), address.clone());
    }
}

fn client(addresses: &[NodeAddress], clock: &ManualClock) -> ClusterClient {
    let book = AddressBook::default();
    fill(&book, addresses);
    let secret = Secret::new(SECRET).unwrap();
    let credentials = Credentials {
        cluster: CLUSTER,
        role: Role::Proxy,
        secret,
        tls: None,
    };
    let caller = TcpCaller::new(credentials.clone(), book.clone(), Arc::new(SystemDice));
    let config = ClientConfig {
        credentials,
        book,
        key_shards: 2,
        local: None,
    };
    ClusterClient::start(config, caller, Arc::new(clock.clone()), Arc::new(SystemDice))
}

/// Devices 0, 1, 2 and so on, `each` on nodes 1, 2, 3; three copies.
fn ring(each: usize) -> ring::Ring {
    let mut builder = ring::Builder::new(4, 3, 0).unwrap();
    (0..3 * each).for_each(|number| add_device_of(&mut builder, number, each));
    builder.rebalance(1, 1).unwrap();
    builder.ring().unwrap()
}

/// Small inline bytes.
pub fn inline(text: &str) -> NewBody {
    NewBody::Inline(Bytes::copy_from_slice(text.as_bytes()))
}

/// The bucket's id, for queries.
pub fn object_query(bucket: BucketId, key: &str) -> Query {
    Query::GetObject {
        bucket,
        key: key.as_bytes().to_vec(),
        version: VersionSelector::Latest,
        body: true,
    }
}

/// Device `number` on its node when each has `each`.
pub fn add_device_of(builder: &mut ring::Builder, number: usize, each: usize) {
    let (id, node) = (u32::try_from(number).unwrap(), u32::try_from(number / each).unwrap());
    let device = ring::Device {
        id: ring::DeviceId::default(),
        region: 1,
        zone: node,
        node: u64::from(node) + 1,
        address: format!("127.0.0.1:{}", 7000 + node),
        name: format!("d{}", number % each),
        weight: 1.0,
        ..ring::Device::default()
    };
    assert_eq!(builder.add(device).unwrap(), ring::DeviceId(id));
}
