//! The machines of a cluster: what a storage node and a proxy are made of, and how they start and end.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clock::Dice;
use metadata::ids::{ClusterId, DeviceId, NodeId, ShardId};
use metadata::model::PolicyId;
use metadata::query::{Found, Query};
use parking_lot::Mutex;
use storage_node::client::{ClientConfig, ClusterClient, DataPlane, MetadataPlane, Policy, PolicyKind};
use storage_node::device::{DeviceOptions, DeviceState};
use storage_node::ground::Ground;
use storage_node::node::{DeviceConfig, Links, NodeConfig, NodeCore, WorkOptions};
use storage_node::shard::ShardsStatus;
use storage_node::wire::{AddressBook, Credentials, NodeAddress, Peer, Role, Secret};
use store::{
    CopyState, ListObjects, LocateDepth, RequestContext, RequestId, Store, StoreError, StoreOptions, VersionSelector,
};

use crate::client::{BUCKET, Client, KEYS};
use crate::dice::SimDice;
use crate::ground::{Death, NodeGround};
use crate::history::Told;
use crate::machine::{MachineClock, Process};
use crate::net::{Endpoint, MachineId, Net, SimBlobs, SimCaller};
use crate::plan::Plan;

const CLUSTER: ClusterId = ClusterId(0xc1);
const KEY_SHARDS: u64 = 2;
/// What three nodes can hold when one of them is lost.
const CODED: PolicyKind = PolicyKind::ErasureCoded { data: 2, parity: 1 };
const SECRET: &[u8] = b"the secret of a simulated cluster";
const DEADLINE: Duration = Duration::from_secs(5);
/// Chunks of one object looked at.
const CHUNKS_MAX: usize = 1_000;

/// What all machines know from their configuration.
pub(crate) struct Cluster {
    seed: u64,
    plan: Plan,
    net: Net,
}

impl Cluster {
    pub(crate) fn new(seed: u64, plan: &Plan, net: Net) -> Self {
        Self {
            seed,
            plan: plan.clone(),
            net,
        }
    }

    fn address(node: u64) -> NodeAddress {
        NodeAddress {
            wire: format!("10.0.0.{node}:1"),
            blobs: format!("10.0.0.{node}:2"),
        }
    }

    fn book(&self) -> AddressBook {
        AddressBook::new((1..=self.plan.nodes).map(|node| (NodeId(node), Self::address(node))))
    }

    /// Whether the bucket's chunks are kept as fragments.
    fn is_coded(&self) -> bool {
        self.seed % 4 == 3
    }

    fn devices_of(&self, node: MachineId) -> Vec<DeviceId> {
        let first = (node - 1) * self.plan.devices_per_node;
        let numbers = first..first + self.plan.devices_per_node;
        numbers.map(|number| DeviceId(number as u32)).collect()
    }

    fn home(&self, device: DeviceId) -> MachineId {
        u64::from(device.0) / self.plan.devices_per_node + 1
    }

    fn ring(&self) -> ring::Ring {
        let mut builder = ring::Builder::new(4, 3, 0).expect("a small ring");
        for node in 1..=self.plan.nodes {
            for device in self.devices_of(node) {
                let added = ring::Device {
                    id: ring::DeviceId::default(),
                    region: 1,
                    zone: node as u32,
                    node,
                    address: Self::address(node).blobs,
                    name: format!("d{device}"),
                    weight: 1.0,
                    meta: String::new(),
                    replication: None,
                };
                builder.add(added).expect("a device of its own");
            }
        }
        builder.rebalance(1, self.seed).expect("a new ring");
        builder.ring().expect("a balanced ring")
    }

    fn node_config(&self, node: MachineId, ground: Arc<NodeGround>, dice: &SimDice) -> NodeConfig {
        let secret = Secret::new(SECRET).expect("long enough");
        let dir = PathBuf::from(format!("/simulated/{node}"));
        let mut config = NodeConfig::new(CLUSTER, NodeId(node), dir.clone(), secret);
        config.book = self.book();
        config.founders = Some((1..=3).map(NodeId).collect::<BTreeSet<_>>());
        config.shards.key_shards = KEY_SHARDS;
        config.shards.log_limits = self.plan.log_limits;
        // openraft draws election timeouts by a system call of its own; from a range of one value it draws that.
        config.shards.timers.election_min_ms = dice.within(500..800);
        config.shards.timers.election_max_ms = config.shards.timers.election_min_ms + 1;
        let options = DeviceOptions {
            segment_bytes: 256 * 1024,
            reserve_bytes: 0,
            capacity_bytes: Some(64 << 20),
            ..DeviceOptions::default()
        };
        let device = |id: DeviceId| DeviceConfig {
            id,
            path: dir.join(id.to_string()),
            options,
        };
        config.devices = ground.device_ids().into_iter().map(device).collect();
        config.shards.ground = Some(ground as Arc<dyn Ground>);
        config.index_cache_bytes = 64 * 1024;
        config.work = WorkOptions {
            reclaim_delay_ms: 3_000,
            reclaim_patience_ms: 60_000,
            orphan_grace_ms: 4_000,
            orphan_interval: Duration::from_secs(4),
            orphan_pause: Duration::from_millis(20),
            missing_interval: Duration::from_secs(3_600),
            bucket_patience: Duration::from_secs(2),
            device_patience: self.plan.device_patience,
            node_patience: self.plan.device_patience * 2,
            return_patience: Duration::from_secs(3),
            ..WorkOptions::default()
        };
        config
    }
}

type Slot = Arc<Mutex<Option<Result<NodeCore, String>>>>;

/// A storage node's machine.
pub(crate) struct NodeMachine {
    id: MachineId,
    cluster: Arc<Cluster>,
    pub(crate) clock: MachineClock,
    pub(crate) ground: Arc<NodeGround>,
    lives: u64,
    process: Option<(Process, Slot)>,
}

impl NodeMachine {
    pub(crate) fn new(id: MachineId, cluster: Arc<Cluster>, clock: MachineClock) -> Self {
        let dice = SimDice::new(cluster.seed, &format!("ground {id}"));
        Self {
            id,
            clock,
            ground: Arc::new(NodeGround::new(dice, &cluster.devices_of(id))),
            cluster,
            lives: 0,
            process: None,
        }
    }

    pub(crate) fn start(&mut self, now_ms: u64) {
        if self.process.is_some() {
            return;
        }
        self.lives += 1;
        let process = Process::start(now_ms);
        let dice = SimDice::new(self.cluster.seed, &format!("node {} life {}", self.id, self.lives));
        let config = self.cluster.node_config(self.id, Arc::clone(&self.ground), &dice);
        let (net, id) = (self.cluster.net.clone(), self.id);
        let number = dice.next();
        let caller = SimCaller {
            net: net.clone(),
            from: id,
            peer: Peer {
                node: Some(NodeId(id)),
                process: number,
            },
        };
        let blobs = SimBlobs {
            net: net.clone(),
            from: id,
        };
        let links = Links {
            caller: Arc::new(caller),
            blobs: Arc::new(blobs),
            process: number,
        };
        let slot = Slot::default();
        let (filled, handle, clock) = (Arc::clone(&slot), process.handle(), Arc::new(self.clock.clone()));
        process.spawn(async move {
            let serve = |service, devices| {
                let endpoint = Endpoint {
                    handle,
                    service,
                    devices,
                };
                net.attach(id, endpoint);
            };
            let started = NodeCore::start(&config, Cluster::address(id), links, clock, Arc::new(dice), serve).await;
            *filled.lock() = Some(started.map_err(|error| error.to_string()));
        });
        self.process = Some((process, slot));
    }

    pub(crate) fn die(&mut self, death: Death) {
        if let Some((process, slot)) = self.process.take() {
            let core = slot.lock().take();
            process.die(core);
            self.ground.die(death);
        }
    }

    pub(crate) fn run_until(&self, now_ms: u64) {
        if let Some((process, _)) = &self.process {
            process.run_until(now_ms);
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn thaw(&self, now_ms: u64) {
        if let Some((process, _)) = &self.process {
            process.thaw(now_ms);
        }
    }

    pub(crate) fn device(&self, number: u64) -> Option<DeviceId> {
        self.ground.device_ids().get(number as usize).copied()
    }

    fn with_core<T>(&self, look: impl FnOnce(&NodeCore) -> T) -> Option<T> {
        let (_, slot) = self.process.as_ref()?;
        match slot.lock().as_ref() {
            Some(Ok(core)) => Some(look(core)),
            _ => None,
        }
    }

    pub(crate) fn shards_status(&self) -> Option<ShardsStatus> {
        self.with_core(|core| core.shards().status())
    }

    /// Why the node did not start.
    pub(crate) fn failure(&self) -> Option<String> {
        let (_, slot) = self.process.as_ref()?;
        slot.lock().as_ref()?.as_ref().err().cloned()
    }

    /// True when something in it has stopped for good.
    pub(crate) fn needs_restart(&self) -> bool {
        let bad = self.with_core(|core| {
            let status = core.shards().status();
            let devices = core.devices().all();
            status.store_failed.is_some()
                || devices.len() < self.ground.device_ids().len()
                || devices
                    .iter()
                    .any(|(_, device)| device.usage().state != DeviceState::Ok)
        });
        self.ground.row_syncs_fail() || bad.unwrap_or(false)
    }
}

/// A machine with a proxy's part of the cluster on it: the store.
pub(crate) struct ProxyMachine {
    id: MachineId,
    cluster: Arc<Cluster>,
    pub(crate) clock: MachineClock,
    lives: u64,
    process: Option<(Process, Held)>,
    last_word: Arc<Mutex<String>>,
}

/// What a proxy's process works with.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) client: ClusterClient,
    store: Store,
    dice: SimDice,
}

impl ProxyMachine {
    pub(crate) fn new(id: MachineId, cluster: Arc<Cluster>, clock: MachineClock) -> Self {
        Self {
            id,
            cluster,
            clock,
            lives: 0,
            process: None,
            last_word: Arc::default(),
        }
    }

    /// True when it was down.
    pub(crate) fn start(&mut self, now_ms: u64) -> bool {
        if self.process.is_some() {
            return false;
        }
        self.lives += 1;
        let process = Process::start(now_ms);
        let dice = SimDice::new(self.cluster.seed, &format!("proxy {} life {}", self.id, self.lives));
        let (net, clock) = (self.cluster.net.clone(), Arc::new(self.clock.clone()));
        let config = ClientConfig {
            credentials: Credentials {
                cluster: CLUSTER,
                role: Role::Proxy,
                secret: Secret::new(SECRET).expect("long enough"),
                tls: None,
            },
            book: self.cluster.book(),
            key_shards: KEY_SHARDS,
            local: None,
        };
        let caller = SimCaller {
            net: net.clone(),
            from: self.id,
            peer: Peer {
                node: None,
                process: dice.next(),
            },
        };
        let blobs = Arc::new(SimBlobs { net, from: self.id });
        let inside = process.handle();
        let _inside = inside.enter();
        let client = ClusterClient::start_over(config, Arc::new(caller), blobs, clock.clone(), Arc::new(dice.clone()));
        let options = StoreOptions {
            chunk_bytes: 16 * 1024,
            part_bytes_min: 1_000,
            read_slice_bytes: 16 * 1024,
            ..StoreOptions::new(CLUSTER)
        };
        let store = Store::new(client.planes(), clock, Arc::new(dice.clone()), options);
        self.process = Some((process, Held { client, store, dice }));
        true
    }

    pub(crate) fn die(&mut self) {
        if let Some((process, held)) = self.process.take() {
            process.die(held);
        }
    }

    pub(crate) fn run_until(&self, now_ms: u64) {
        if let Some((process, _)) = &self.process {
            process.run_until(now_ms);
        }
    }

    pub(crate) fn thaw(&self, now_ms: u64) {
        if let Some((process, _)) = &self.process {
            process.thaw(now_ms);
        }
    }

    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some((process, _)) = &self.process {
            process.spawn(work);
        }
    }

    pub(crate) fn store(&self) -> Option<Store> {
        self.process.as_ref().map(|(_, held)| held.store.clone())
    }

    pub(crate) fn last_word(&self) -> String {
        self.last_word.lock().clone()
    }

    pub(crate) fn held(&self) -> Held {
        let (_, held) = self.process.as_ref().expect("proxies are up while the world is quiet");
        held.clone()
    }

    /// Installs the ring and makes the bucket, however often that takes; for every fourth seed under an erasure coded
    /// policy.
    pub(crate) fn found_cluster(&self) -> impl Future<Output = ()> + Send + use<> {
        let (held, ring, coded) = (self.held(), self.cluster.ring(), self.cluster.is_coded());
        async move {
            while held.client.install_ring(PolicyId(0), &ring, DEADLINE).await.is_err() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            let mut policy = PolicyId(0);
            while coded && policy == PolicyId(0) {
                let made = held.client.create_policy("coded", CODED, None, false, DEADLINE).await;
                let known = held.client.policies();
                policy = match made {
                    Ok(policy) => policy.id(),
                    // Made by a try whose answer was lost.
                    Err(_) => known.named("coded").map_or(policy, Policy::id),
                };
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            while held
                .store
                .create_bucket_under(&held.cx(), BUCKET, true, policy)
                .await
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// Ends when every shard answers and says that no chunk lacks a copy (HEAL-1), and one ring is live (REB-1).
    pub(crate) fn settled(&self) -> impl Future<Output = ()> + Send + use<> {
        let (held, last_word) = (self.held(), Arc::clone(&self.last_word));
        async move {
            loop {
                let mut word = String::new();
                for shard in (0..=KEY_SHARDS).map(ShardId) {
                    match held.client.query(shard, Query::Summary, DEADLINE).await {
                        Ok(Ok(Found::Summary(summary))) if summary.short_chunks + summary.lost_chunks == 0 => {}
                        other => word = format!("shard {shard}: {other:?}"),
                    }
                }
                if let Err(why) = held.rings_rest().await {
                    word = why;
                }
                if word.is_empty() {
                    return;
                }
                *last_word.lock() = word;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }

    /// Counts every copy of every object from the metadata and says what is missing (HEAL-1, DUR-1).
    pub(crate) fn every_copy(&self, rotting: MachineId) -> impl Future<Output = Vec<String>> + Send + use<> {
        let (held, cluster) = (self.held(), Arc::clone(&self.cluster));
        async move { held.every_copy(&cluster, rotting).await }
    }
}

impl Held {
    fn cx(&self) -> RequestContext {
        RequestContext::new(RequestId(Dice::u128(&self.dice)), "p".into(), DEADLINE)
    }

    async fn every_copy(&self, cluster: &Cluster, rotting: MachineId) -> Vec<String> {
        let mut problems = Vec::new();
        let Ok(bucket) = self.store.bucket(&self.cx(), BUCKET).await else {
            return vec!["the bucket is gone".to_owned()];
        };
        let list = ListObjects {
            limit: 1000,
            ..ListObjects::default()
        };
        let page = match self.store.list_objects(&self.cx(), &bucket, list).await {
            Ok(page) => page,
            Err(error) => return vec![format!("the bucket cannot be listed: {error}")],
        };
        for (key, row) in page.entries {
            let cx = self.cx();
            let found = self.store.locate(
                &cx,
                &bucket,
                &key,
                VersionSelector::Latest,
                LocateDepth::Bytes,
                CHUNKS_MAX,
            );
            let located = match found.await {
                Ok(located) => located,
                Err(StoreError::NoSuchKey) => continue,
                Err(error) => {
                    problems.push(format!("HEAL-1: {key:?} cannot be located: {error}"));
                    continue;
                }
            };
            for stream in located.streams {
                for chunk in stream.chunks {
                    let bad = chunk
                        .copies
                        .iter()
                        .filter(|copy| copy.primary && copy.state != CopyState::Ok)
                        .filter(|copy| cluster.home(copy.device) != rotting);
                    problems.extend(bad.map(|copy| {
                        format!(
                            "HEAL-1: chunk {} of {key:?} ({} bytes) is {:?} on device {}, and no queue knows",
                            chunk.chunk, row.size, copy.state, copy.device
                        )
                    }));
                }
            }
        }
        problems
    }
}

impl Client {
    /// Reads every key and lists the bucket; now nothing may fail.
    pub(crate) async fn read_everything(self) {
        let bucket = match self.store.bucket(&self.cx(), BUCKET).await {
            Ok(bucket) => bucket,
            Err(error) => return self.broke(format!("the bucket cannot be found: {error}")),
        };
        for key in &KEYS[..self.notebook.keys] {
            let ticket = self.begin(key, crate::history::Asked::Read);
            let mut read = self.get(&bucket, key).await;
            if read == Err(StoreError::NoSuchKey) {
                // A delete of before was committed while it was read.
                read = self.get(&bucket, key).await;
            }
            match read {
                Ok(state) => self.end(&ticket, &crate::client::End::Told(Told::Saw(state))),
                Err(error) => self.broke(format!(
                    "DUR-1: key {key:?} cannot be read in a healed cluster: {error}"
                )),
            }
        }
        if !self.list(&bucket).await {
            self.broke("CON-2: the bucket cannot be listed in a healed cluster".to_owned());
        }
    }
}
