//! More nodes than three, and rings that follow each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use clock::{Dice, SystemDice};
use metadata::command::{Command, Condition, NewObject};
use metadata::ids::{DeviceId, NodeId, WriteId};
use metadata::model::{ETag, PolicyId, Stored, Stream};
use metadata::reply::Reply;
use ring::Ring;
use storage_node::client::{ApplyOptions, ClusterClient, DataPlane, MetadataPlane, Phase, RingState, chunk_key};
use storage_node::node::StorageNode;
use storage_node::wire::AddressBook;

use super::{CHUNK, Cluster, DEADLINE, NewBody, add_device_of, chunk_len, config, fill, inline, until};

/// What tests apply with: they do not wait for hours.
pub const AT_ONCE: ApplyOptions = ApplyOptions {
    min_part_hours: 0,
    accept_fewer_domains: false,
    dry_run: false,
};

/// A builder whose first ring is the one every test cluster begins with.
pub fn builder() -> ring::Builder {
    let mut builder = ring::Builder::new(4, 3, 0).unwrap();
    (0..3).for_each(|number| add_device(&mut builder, number));
    builder.rebalance(1, 1).unwrap();
    builder
}

/// Device `number` on node `number + 1`.
pub fn add_device(builder: &mut ring::Builder, number: u32) {
    add_device_of(builder, usize::try_from(number).unwrap(), 1);
}

/// The ring of four devices that follows the first one.
pub fn four() -> Ring {
    let mut builder = builder();
    add_device(&mut builder, 3);
    builder.rebalance(2, 1).unwrap();
    builder.ring().unwrap()
}

/// The ring that follows it and empties device 0.
pub fn without_the_first() -> Ring {
    let mut builder = builder();
    add_device(&mut builder, 3);
    builder.rebalance(2, 1).unwrap();
    builder.set_weight(ring::DeviceId(0), 0.0).unwrap();
    builder.rebalance(3, 1).unwrap();
    builder.ring().unwrap()
}

impl Cluster {
    /// How many seats of shards each node holds, as the leaders see it; `None` while a shard has no leader.
    pub async fn seats(&self) -> Option<Vec<usize>> {
        let status = self.client.cluster_status(DEADLINE).await;
        let mut seats = vec![0; self.nodes.len()];
        for shard in 0..=2 {
            let all = status.nodes.iter().filter_map(|(_, node)| node.as_ref().ok());
            let mut all = all.flat_map(|node| &node.shards.shards);
            let leader =
                all.find(|said| said.shard.0 == shard && said.role == storage_node::shard::ShardRole::Leader)?;
            for voter in &leader.voters {
                seats[usize::try_from(voter.0).unwrap() - 1] += 1;
            }
        }
        Some(seats)
    }

    /// Starts one more node, which takes part in no shard yet.
    pub async fn grow(&mut self) -> usize {
        let number = self.nodes.len();
        let book = AddressBook::default();
        fill(&book, &self.addresses);
        let dir = self.dir.path().join(number.to_string());
        let mut config = config(dir, number, self.each, self.work, book);
        config.founders = None;
        let clock = Arc::new(self.clock.clone());
        let node = StorageNode::start(config, clock, Arc::new(SystemDice)).await.unwrap();
        self.addresses.push(node.address().clone());
        self.nodes.push(Some(node));
        let id = NodeId(number as u64 + 1);
        until("every process reaches the new node", async || {
            self.everybody().all(|client| client.book().nodes().contains(&id))
        })
        .await;
        number
    }

    /// The clients of all running processes.
    pub fn everybody(&self) -> impl Iterator<Item = &ClusterClient> {
        let nodes = self.nodes.iter().flatten().map(StorageNode::client);
        nodes.chain([&self.client])
    }

    pub async fn ring_state(&self) -> RingState {
        self.client.ring_state(PolicyId(0), DEADLINE).await.unwrap().0
    }

    pub async fn settled(&self) {
        until("one ring is live", async || {
            self.ring_state().await.phase == Phase::Settled
        })
        .await;
        let epoch = self.ring_state().await.current.epoch;
        until("every process knows it", async || {
            self.everybody().all(|client| {
                let live = client.rings(PolicyId(0));
                live.is_some_and(|live| live.state.current.epoch == epoch && !live.moving())
            })
        })
        .await;
    }

    /// Stores a stream where the test's own process thinks it belongs.
    pub async fn write_placed(&self, size: u64) -> Stored {
        self.write_under(PolicyId(0), size).await
    }

    pub async fn write_under(&self, policy: PolicyId, size: u64) -> Stored {
        let live = self.client.rings(policy).unwrap();
        let stream = Stream {
            write: WriteId::new(metadata_now(self), SystemDice.u128()),
            size,
            chunk_bytes: CHUNK,
            policy,
            ring_version: live.current.epoch,
        };
        for chunk in 0..stream.chunks() {
            for device in live.primaries(chunk_key(&stream, chunk).placement) {
                self.client
                    .put_blob(device, self.blob(&stream, chunk), DEADLINE)
                    .await
                    .unwrap();
            }
        }
        Stored {
            stream,
            short: Vec::new(),
        }
    }

    /// Commits a stream; the shard's own reply.
    pub async fn commit(&self, key: &str, stored: Stored) -> Reply {
        let object = NewObject {
            body: NewBody::Stored(stored),
            etag: ETag { md5: [1; 16], parts: 0 },
            checksum: None,
            owner: "p".into(),
            attributes: Vec::new(),
            user: Vec::new(),
            tags: Vec::new(),
        };
        let command = Command::PutObject {
            bucket: self.bucket.id,
            key: key.as_bytes().to_vec(),
            condition: Condition::Always,
            object,
        };
        let request = self.client.request_id();
        self.client
            .propose(self.shard(), request, command, DEADLINE)
            .await
            .unwrap()
    }

    /// The devices that hold a chunk, proven byte by byte.
    pub async fn holders(&self, stream: &Stream, chunk: u32) -> Vec<DeviceId> {
        let wanted = self.blob(stream, chunk);
        let mut holders = Vec::new();
        for number in 0..self.nodes.len() {
            let (device, length) = (Self::device(number), chunk_len(stream, chunk));
            let read = self.client.read_blob(device, wanted.key, 0..length, DEADLINE).await;
            let good = read.is_ok_and(|slice| slice.verify().is_ok() && slice.payload == wanted.payload.to_bytes());
            holders.extend(good.then_some(device));
        }
        holders
    }

    /// Asserts that every chunk lies on all its primaries; with `exactly`, nowhere else.
    pub async fn all_in_place(&self, streams: &BTreeMap<String, Stream>, exactly: bool) -> bool {
        for stream in streams.values() {
            let live = self.client.rings(stream.policy).unwrap();
            for chunk in 0..stream.chunks() {
                let holders = self.holders(stream, chunk).await;
                let mut primaries = live.primaries(chunk_key(stream, chunk).placement);
                primaries.sort_unstable();
                let there = primaries.iter().all(|device| holders.contains(device));
                if !there || (exactly && holders != primaries) {
                    return false;
                }
            }
        }
        true
    }

    /// Writes `count` objects of some chunks, all placed by the live ring.
    pub async fn put_some(&self, prefix: &str, count: usize) -> BTreeMap<String, Stream> {
        self.put_some_under(PolicyId(0), prefix, count).await
    }

    pub async fn put_some_under(&self, policy: PolicyId, prefix: &str, count: usize) -> BTreeMap<String, Stream> {
        let mut streams = BTreeMap::new();
        for number in 0..count {
            let stored = self.write_under(policy, u64::from(CHUNK) + number as u64).await;
            let key = format!("{prefix}{number}");
            streams.insert(key.clone(), stored.stream.clone());
            self.put(&key, stored).await;
        }
        self.put_as(self.client.request_id(), &format!("{prefix}-inline"), inline("x"))
            .await;
        streams
    }
}

fn metadata_now(cluster: &Cluster) -> u64 {
    use clock::WallClock;
    cluster.clock.now_ms()
}
