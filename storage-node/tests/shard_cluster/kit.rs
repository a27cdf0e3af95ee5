//! Nodes with real stores in one process, joined by a network that can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use clock::{ManualClock, SeededDice, SystemClock, WallClock};
use metadata::command::{Command, Envelope, RecordCondition};
use metadata::ids::{ClusterId, NodeId, RequestId, ShardId};
use metadata::query::{Found, Query};
use metadata::reply::{Done, Reply};
use parking_lot::Mutex;
use storage_node::shard::{ReadFrom, ShardFault, ShardOptions, Shards, StoreFaults};
use storage_node::wire::{CallKind, Caller, Channel, Peer, Service, WireError};
use tempfile::TempDir;

pub(crate) const SYSTEM: ShardId = ShardId::SYSTEM;
/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Calls travel as function calls, unless they are cut.
#[derive(Default)]
pub(crate) struct Net {
    nodes: Mutex<BTreeMap<NodeId, Shards>>,
    cut: Mutex<BTreeSet<(NodeId, NodeId)>>,
    /// Messages delivered, by kind.
    pub(crate) delivered: Mutex<BTreeMap<CallKind, u64>>,
}

impl Net {
    /// Cuts a node off from all others, both ways.
    pub(crate) fn isolate(&self, node: NodeId) {
        let others: Vec<NodeId> = (1..=9).map(NodeId).filter(|other| *other != node).collect();
        let mut cut = self.cut.lock();
        for other in others {
            cut.insert((node, other));
            cut.insert((other, node));
        }
    }

    pub(crate) fn heal(&self) {
        self.cut.lock().clear();
    }

    pub(crate) fn delivered(&self, kind: CallKind) -> u64 {
        self.delivered.lock().get(&kind).copied().unwrap_or(0)
    }
}

struct NetCaller {
    net: Arc<Net>,
    from: NodeId,
}

#[async_trait]
impl Caller for NetCaller {
    async fn call(
        &self,
        node: NodeId,
        _channel: Channel,
        kind: CallKind,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, WireError> {
        let target = self.net.nodes.lock().get(&node).cloned();
        let cut = self.net.cut.lock().contains(&(self.from, node));
        let Some(target) = target.filter(|_| !cut) else {
            return Err(WireError::Unreachable {
                node,
                reason: "cut".into(),
            });
        };
        *self.net.delivered.lock().entry(kind).or_default() += 1;
        let peer = Peer {
            node: Some(self.from),
            process: self.from.0,
        };
        let answer = tokio::time::timeout(deadline, target.serve(&peer, kind, body)).await;
        if self.net.cut.lock().contains(&(node, self.from)) {
            return Err(WireError::NoAnswer {
                node,
                reason: "cut".into(),
            });
        }
        match answer {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(WireError::UnknownCall { node }),
            Err(_) => Err(WireError::NoAnswer {
                node,
                reason: "late".into(),
            }),
        }
    }
}

/// Some nodes, their folders and their network.
pub(crate) struct Cluster {
    pub(crate) net: Arc<Net>,
    dirs: BTreeMap<NodeId, TempDir>,
    pub(crate) faults: BTreeMap<NodeId, Arc<StoreFaults>>,
    clocks: BTreeMap<NodeId, Arc<dyn WallClock>>,
    adjust: Arc<dyn Fn(&mut ShardOptions) + Send + Sync>,
    members: BTreeSet<NodeId>,
    requests: Mutex<u128>,
}

impl Cluster {
    /// `count` nodes, started and bootstrapped.
    pub(crate) async fn start(count: u64, adjust: impl Fn(&mut ShardOptions) + Send + Sync + 'static) -> Self {
        let members: BTreeSet<NodeId> = (1..=count).map(NodeId).collect();
        let mut cluster = Self {
            net: Arc::default(),
            dirs: BTreeMap::new(),
            faults: BTreeMap::new(),
            clocks: BTreeMap::new(),
            adjust: Arc::new(adjust),
            members: members.clone(),
            requests: Mutex::new(1),
        };
        for node in &members {
            cluster.open(*node).await;
        }
        cluster.bootstrap().await;
        cluster
    }

    pub(crate) async fn bootstrap(&self) {
        for node in self.running() {
            self.node(node).bootstrap(&self.members).await.unwrap();
        }
    }

    /// Starts a node, in the folder it had before.
    pub(crate) async fn open(&mut self, node: NodeId) -> Shards {
        let dir = self
            .dirs
            .entry(node)
            .or_insert_with(|| tempfile::tempdir().unwrap())
            .path()
            .to_path_buf();
        let faults = Arc::clone(self.faults.entry(node).or_default());
        let clock = Arc::clone(self.clocks.entry(node).or_insert_with(|| Arc::new(SystemClock)));
        let mut options = ShardOptions::new(ClusterId(7), node, dir);
        options.key_shards = 0;
        options.faults = Some(faults);
        (self.adjust)(&mut options);
        let caller = Arc::new(NetCaller {
            net: Arc::clone(&self.net),
            from: node,
        });
        let seed = u64::from_le_bytes(uuid_bytes());
        let dice = Arc::new(SeededDice::new(seed));
        let began = Instant::now();
        let shards = loop {
            // The store's lock is free only once the last thread of the node's former life has let go.
            match Shards::open(options.clone(), caller.clone(), Arc::clone(&clock), dice.clone()).await {
                Ok(shards) => break shards,
                Err(e) => assert!(began.elapsed() < PATIENCE, "node {node} does not open: {e}"),
            }
            tokio::task::yield_now().await;
        };
        self.net.nodes.lock().insert(node, shards.clone());
        shards
    }

    /// Gives a node a clock of its own; before it is opened.
    pub(crate) fn set_clock(&mut self, node: NodeId, clock: ManualClock) {
        self.clocks.insert(node, Arc::new(clock));
    }

    /// Stops a node; its folder stays.
    pub(crate) async fn stop(&self, node: NodeId) {
        let shards = self.net.nodes.lock().remove(&node);
        if let Some(shards) = shards {
            shards.stop().await;
        }
    }

    pub(crate) fn dir(&self, node: NodeId) -> std::path::PathBuf {
        self.dirs[&node].path().to_path_buf()
    }

    pub(crate) fn node(&self, node: NodeId) -> Shards {
        self.net.nodes.lock().get(&node).cloned().expect("the node runs")
    }

    pub(crate) fn running(&self) -> Vec<NodeId> {
        self.net.nodes.lock().keys().copied().collect()
    }

    pub(crate) fn request(&self) -> RequestId {
        let mut next = self.requests.lock();
        *next += 1;
        RequestId::new(SystemClock.now_ms(), *next)
    }

    /// Has a command decided, wherever the leader is, under one request id.
    pub(crate) async fn propose_as(&self, shard: ShardId, request: RequestId, command: Command) -> Reply {
        let began = Instant::now();
        let mut at = 0;
        loop {
            let nodes = self.running();
            let node = self.node(nodes[at % nodes.len()]);
            let envelope = Envelope {
                request,
                command: command.clone(),
            };
            match node.propose(shard, vec![envelope]).await {
                Ok(mut replies) => return replies.remove(0),
                Err(ShardFault::NotLeader { leader: Some(leader) }) if nodes.contains(&leader) => {
                    at = nodes.iter().position(|node| *node == leader).unwrap();
                }
                Err(_) => at += 1,
            }
            assert!(began.elapsed() < PATIENCE, "nobody decided {request} in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn propose(&self, shard: ShardId, command: Command) -> Reply {
        self.propose_as(shard, self.request(), command).await
    }

    /// Writes a record and returns its version.
    pub(crate) async fn put(&self, key: &str, value: &str) -> u64 {
        match self.propose(SYSTEM, put_record(key, value)).await {
            Ok(Done::Record { version }) => version,
            other => panic!("{other:?}"),
        }
    }

    /// Reads a record linearizably from any node that answers.
    pub(crate) async fn get(&self, key: &str) -> Option<String> {
        let began = Instant::now();
        loop {
            for node in self.running() {
                if let Ok(found) = get_from(&self.node(node), key, ReadFrom::AnyReplica).await {
                    return found;
                }
            }
            assert!(began.elapsed() < PATIENCE, "nobody answered in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The node that leads a shard, as all running nodes agree.
    pub(crate) async fn leader(&self, shard: ShardId) -> NodeId {
        self.until("all agree on a running leader", || {
            let running = self.running();
            let leaders: BTreeSet<_> = running.iter().map(|node| self.node(*node).leader(shard)).collect();
            let only = leaders.first().copied().flatten();
            only.filter(|leader| leaders.len() == 1 && running.contains(leader))
        })
        .await
    }

    /// The node that leads the system shard, by the word of nodes that take part.
    pub(crate) async fn leader_among_healthy(&self) -> NodeId {
        self.until("a healthy node leads", || {
            let healthy = self.running().into_iter().map(|node| self.node(node));
            let healthy = healthy.filter(|node| node.status().quarantine.is_none());
            let leaders: BTreeSet<_> = healthy.map(|node| node.leader(SYSTEM)).collect();
            leaders.first().copied().flatten().filter(|_| leaders.len() == 1)
        })
        .await
    }

    /// Gives a stopped node a copy of its folder as it is now: what a killed process leaves.
    pub(crate) fn crash_image(&mut self, node: NodeId) {
        let image = tempfile::tempdir().unwrap();
        copy_folder(&self.dir(node), image.path());
        self.dirs.insert(node, image);
    }

    /// Changes the options of nodes opened from now on.
    pub(crate) fn adjust(&mut self, adjust: impl Fn(&mut ShardOptions) + Send + Sync + 'static) {
        self.adjust = Arc::new(adjust);
    }

    /// Waits until `look` finds something.
    pub(crate) async fn until_async<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        mut look: impl FnMut() -> F,
    ) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "waited too long until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until `look` finds something.
    pub(crate) async fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "waited too long until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn applied(&self, node: NodeId, shard: ShardId, index: u64) {
        self.until("the entry is applied", || {
            (self.applied_index(node, shard) >= Some(index)).then_some(())
        })
        .await;
    }

    pub(crate) fn applied_index(&self, node: NodeId, shard: ShardId) -> Option<u64> {
        let status = self.node(node).status();
        status.shards.iter().find(|line| line.shard == shard)?.applied_index
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Dice of two nodes must differ; a test needs no more.
fn uuid_bytes() -> [u8; 8] {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
        .to_le_bytes()
}

pub(crate) fn put_record(key: &str, value: &str) -> Command {
    put_record_if(key, value, RecordCondition::Any)
}

pub(crate) fn put_record_if(key: &str, value: &str, expect: RecordCondition) -> Command {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Command::PutRecord {
        table: "t".into(),
        key: key.into(),
        expect,
        value,
    }
}

pub(crate) async fn get_from(shards: &Shards, key: &str, from: ReadFrom) -> Result<Option<String>, ShardFault> {
    let query = Query::GetRecord {
        table: "t".into(),
        key: key.into(),
    };
    match shards.query(SYSTEM, query, from).await? {
        Ok(Found::Record(record)) => Ok(record.map(|record| String::from_utf8(record.value.to_vec()).unwrap())),
        other => panic!("{other:?}"),
    }
}
