//! All shards of one node: started together over one store, looked after, and spoken to from here.
//!
//! Knows: which shards there are. Must not know: what is in them, and how calls travel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use clock::{Dice, WallClock};
use metadata::command::Envelope;
use metadata::ids::{NodeId, ShardId};
use metadata::query::{Answer, Query};
use metadata::reply::Reply;
use openraft::ServerState;
use parking_lot::RwLock;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::balance::{Balance, home};
use super::calls::{ReadFrom, ShardFault, WatchCall, WatchPage};
use super::feed::SystemFeed;
use super::group::ShardGroup;
use super::identity::StoreIdentity;
use super::node::{Node, Pools};
use super::opening::{OpenError, Opened, open};
use super::options::ShardOptions;
use super::peers::Peers;
use super::pool::Pool;
use super::renewal::{self, Newcomer};
use super::status::ShardsStatus;
use super::watch as watching;
use super::writer::Writer;
use crate::threads;
use crate::wire::SharedCaller;

/// Threads that answer queries and read logs.
const READ_THREADS: usize = 4;
/// Threads that apply entries.
const APPLY_THREADS: usize = 2;
/// Threads for snapshots and removals: one sent, one received, one removed.
const BULK_THREADS: usize = 3;
/// Jobs that may wait for a thread of each kind.
const POOL_QUEUE_MAX: usize = 4096;
/// How long a shard's home gets to initialize it before any other member does.
const HOME_INITIALIZES_WITHIN: Duration = Duration::from_secs(2);

/// The shards of one node; cheap to clone. They stop when the last clone is dropped, or by [`Shards::stop`].
#[derive(Clone)]
pub struct Shards {
    pub(super) inner: Arc<Inner>,
}

/// What stays when the store is replaced under the shards (see `renewal`).
pub(super) struct Inner {
    life: RwLock<Life>,
    pub(super) options: ShardOptions,
    caller: SharedCaller,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) dice: Arc<dyn Dice>,
    /// One renewal at a time.
    pub(super) renewing: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
pub(super) enum Life {
    Running(Arc<Running>),
    /// The store may not vote; nothing was started.
    Quarantined(String),
}

/// A node whose store is sound.
pub(crate) struct Running {
    pub(crate) node: Arc<Node>,
    pub(crate) groups: Arc<BTreeMap<ShardId, Arc<ShardGroup>>>,
    feed: Arc<SystemFeed>,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Shards {
    /// Opens the store and starts every shard of the node. A damaged store opens too, quarantined (DUR-5).
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(
        options: ShardOptions,
        caller: SharedCaller,
        clock: Arc<dyn WallClock>,
        dice: Arc<dyn Dice>,
    ) -> Result<Self, OpenError> {
        let inner = Inner {
            life: RwLock::new(Life::Quarantined("the store is being opened".into())),
            options: options.clone(),
            caller,
            clock,
            dice,
            renewing: tokio::sync::Mutex::default(),
        };
        let shards = Self { inner: Arc::new(inner) };
        shards.set_life(shards.live(options).await?);
        Ok(shards)
    }

    /// Opens the store and starts every shard on it.
    pub(super) async fn live(&self, options: ShardOptions) -> Result<Life, OpenError> {
        let dir = options.dir.display().to_string();
        let unusable = |reason: String| OpenError::Unusable {
            dir: dir.clone(),
            reason,
        };
        let (to_open, to_draw) = (options.clone(), Arc::clone(&self.inner.dice));
        let opened = threads::blocking(move || open(&to_open, to_draw.as_ref())).await;
        let (identity, store, note) = match opened.map_err(|e| unusable(e.to_string()))?? {
            Opened::Sound { identity, store, note } => (identity, store, note),
            Opened::Quarantined(reason) => {
                tracing::error!(%reason, "this node's shards are quarantined");
                return Ok(Life::Quarantined(reason));
            }
        };
        let thread = |e: std::io::Error| unusable(e.to_string());
        let writer = Writer::start(Arc::clone(&store), note).map_err(thread)?;
        let pools = Pools {
            reads: Pool::start("shard-read", READ_THREADS, POOL_QUEUE_MAX).map_err(thread)?,
            applies: Pool::start("shard-apply", APPLY_THREADS, POOL_QUEUE_MAX).map_err(thread)?,
            bulk: Pool::start("shard-bulk", BULK_THREADS, POOL_QUEUE_MAX).map_err(thread)?,
        };
        let node = Node {
            options,
            identity,
            peers: Peers::load(&store, writer.clone())?,
            newcomer: watch::Sender::new(renewal::newcomer(store.as_ref())?),
            store,
            writer,
            pools,
            clock: Arc::clone(&self.inner.clock),
            dice: Arc::clone(&self.inner.dice),
            caller: Arc::clone(&self.inner.caller),
            sending: Semaphore::new(1),
            quarantine: watch::Sender::new(None),
            unwelcome: parking_lot::Mutex::default(),
        };
        Ok(Life::Running(Arc::new(Running::start(Arc::new(node)).await?)))
    }

    pub(super) fn set_life(&self, life: Life) -> Life {
        std::mem::replace(&mut *self.inner.life.write(), life)
    }

    pub(super) fn life(&self) -> Life {
        self.inner.life.read().clone()
    }

    /// Has a brand-new cluster's shards initialized with `members` as voters; does nothing for shards that have
    /// members already. Every member calls it at every start of a cluster that may be new.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub async fn bootstrap(&self, members: &BTreeSet<NodeId>) -> Result<(), ShardFault> {
        let running = self.running()?;
        if *running.node.newcomer.borrow() != Newcomer::No {
            // A store that came later never founds a cluster.
            return Ok(());
        }
        let all: Vec<NodeId> = members.iter().copied().collect();
        for (shard, group) in running.groups.iter() {
            if home(*shard, &all) == Some(running.node.identity.node) {
                group.initialize(members).await?;
                continue;
            }
            let (group, members, stop) = (Arc::clone(group), members.clone(), running.stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = initialize_late(&group, &members) => {}
                }
            });
        }
        Ok(())
    }

    /// Initializes one shard with `members` as voters, unless it has members already.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub async fn initialize(&self, shard: ShardId, members: &BTreeSet<NodeId>) -> Result<(), ShardFault> {
        self.group(shard)?.initialize(members).await
    }

    /// Has commands decided by the shard this node leads, each exactly once by its request id. A reply means that the
    /// entry is synced on a majority (DUR-1).
    ///
    /// # Errors
    /// [`ShardFault`].
    pub async fn propose(&self, shard: ShardId, envelopes: Vec<Envelope>) -> Result<Vec<Reply>, ShardFault> {
        self.group(shard)?.propose(envelopes).await
    }

    /// Answers a query; linearizable (CON-1, CON-2) unless `from` is [`ReadFrom::Local`].
    ///
    /// # Errors
    /// [`ShardFault`].
    pub async fn query(&self, shard: ShardId, query: Query, from: ReadFrom) -> Result<Answer, ShardFault> {
        self.group(shard)?.query(query, from).await
    }

    /// Answers a query from what this node has applied, with the age of its last proof of being up to date in
    /// milliseconds. Not linearizable.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub async fn local_query(&self, shard: ShardId, query: Query) -> Result<(Answer, u64), ShardFault> {
        let group = self.group(shard)?;
        let behind_ms = group.behind_ms();
        Ok((group.query(query, ReadFrom::Local).await?, behind_ms))
    }

    /// Changes of the system shard since what the caller has; waits a little for news.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub async fn watch_system(&self, call: WatchCall) -> Result<WatchPage, ShardFault> {
        let group = self.group(ShardId::SYSTEM)?;
        watching::page(&group, &self.running()?.feed, call).await
    }

    /// Adds `node` to a shard as a member without a vote; returns when it has caught up but for a few entries. Only on the leader.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub async fn add_learner(&self, shard: ShardId, node: NodeId) -> Result<(), ShardFault> {
        self.group(shard)?.add_learner(node).await
    }

    /// Makes exactly `voters` the voters of a shard, by joint consensus; other members leave. New ones must be
    /// learners first. Only on the leader.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub async fn change_voters(&self, shard: ShardId, voters: &BTreeSet<NodeId>) -> Result<(), ShardFault> {
        self.group(shard)?.change_voters(voters).await
    }

    /// Hands a shard this node leads over to `target`; true when that node leads now.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub async fn hand_over(&self, shard: ShardId, target: NodeId) -> Result<bool, ShardFault> {
        Ok(self.group(shard)?.hand_over(target).await)
    }

    /// Forgets the store of a node that was taken out of the cluster, so that its id may come back with a new one.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub async fn forget_peer(&self, node: NodeId) -> Result<(), ShardFault> {
        self.running()?
            .node
            .peers
            .forget(node)
            .await
            .map_err(|e| ShardFault::Fatal(e.to_string()))
    }

    /// The store's identity; none while quarantined at start.
    #[must_use]
    pub fn identity(&self) -> Option<StoreIdentity> {
        self.running().ok().map(|running| running.node.identity)
    }

    /// Who leads a shard, as far as this node knows.
    #[must_use]
    pub fn leader(&self, shard: ShardId) -> Option<NodeId> {
        self.group(shard).ok()?.metrics().current_leader.map(NodeId)
    }

    /// Keeps the replica of a shard out of elections because this node is no member any more, or lets it stand again.
    /// As soon as a leader sends it something, it is a member as any other.
    pub fn set_departed(&self, shard: ShardId, departed: bool) {
        if let Ok(group) = self.group(shard) {
            group.set_departed(departed);
        }
    }

    /// Who leads a shard, as it changes.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub async fn wait_for_leader(&self, shard: ShardId, deadline: Duration) -> Result<NodeId, ShardFault> {
        let group = self.group(shard)?;
        let known = |metrics: &super::types::RaftMetrics| metrics.current_leader.is_some();
        let found = group.raft.wait(Some(deadline)).metrics(known, "a leader").await;
        let leader = found.ok().and_then(|metrics| metrics.current_leader).map(NodeId);
        leader.ok_or_else(|| ShardFault::Unavailable("no leader was elected in time".into()))
    }

    /// Everything an operator may want to know.
    #[must_use]
    pub fn status(&self) -> ShardsStatus {
        match self.life() {
            Life::Running(running) => running.status(),
            Life::Quarantined(reason) => ShardsStatus {
                node: self.inner.options.node,
                incarnation: String::new(),
                quarantine: Some(reason),
                store_failed: None,
                syncs: 0,
                synced_jobs: 0,
                clock_offsets_ms: Vec::new(),
                shards: Vec::new(),
            },
        }
    }

    /// Stops all shards in good order; what is synced stays. The store's files are free once all clones are dropped.
    pub async fn stop(&self) {
        if let Life::Running(running) = self.life() {
            running.end().await;
        }
    }

    pub(crate) fn running(&self) -> Result<Arc<Running>, ShardFault> {
        match self.life() {
            Life::Running(running) => Ok(running),
            Life::Quarantined(reason) => Err(ShardFault::Quarantined(reason)),
        }
    }

    pub(crate) fn group(&self, shard: ShardId) -> Result<Arc<ShardGroup>, ShardFault> {
        self.running()?
            .groups
            .get(&shard)
            .cloned()
            .ok_or(ShardFault::NoSuchShard)
    }
}

impl Running {
    /// Stops every Raft in good order.
    pub(super) async fn end(&self) {
        self.stop.cancel();
        for group in self.groups.values() {
            if let Err(e) = group.raft.shutdown().await {
                tracing::warn!(shard = %group.shard, error = %e, "raft did not stop in good order");
            }
        }
        self.node.store.end_background_work();
    }

    pub(super) async fn start(node: Arc<Node>) -> Result<Self, OpenError> {
        let feed = Arc::new(SystemFeed::new());
        let mut groups = BTreeMap::new();
        for shard in (0..=node.options.key_shards).map(ShardId) {
            let feed = (shard == ShardId::SYSTEM).then(|| Arc::clone(&feed));
            groups.insert(shard, Arc::new(ShardGroup::open(Arc::clone(&node), shard, feed).await?));
        }
        let groups = Arc::new(groups);
        let stop = CancellationToken::new();
        tokio::spawn(look_after(Arc::clone(&node), Arc::clone(&groups), stop.clone()));
        let stop_on_drop = stop.clone().drop_guard();
        Ok(Self {
            node,
            groups,
            feed,
            stop,
            _stop_on_drop: stop_on_drop,
        })
    }

    fn status(&self) -> ShardsStatus {
        ShardsStatus {
            node: self.node.identity.node,
            incarnation: format!("{:032x}", self.node.identity.incarnation),
            quarantine: self.node.quarantined(),
            store_failed: self.node.writer.failed().map(|failure| failure.to_string()),
            syncs: self.node.writer.syncs(),
            synced_jobs: self.node.writer.jobs(),
            clock_offsets_ms: self.node.peers.clock_offsets(),
            shards: self.groups.values().map(|group| group.status()).collect(),
        }
    }
}

/// Initializes a shard whose home did not, as a member that is up when the home is not.
async fn initialize_late(group: &ShardGroup, members: &BTreeSet<NodeId>) {
    tokio::time::sleep(HOME_INITIALIZES_WITHIN).await;
    if group.is_initialized() {
        return;
    }
    if let Err(fault) = group.initialize(members).await {
        tracing::warn!(shard = %group.shard, %fault, "the shard was not initialized");
    }
}

/// Looks at every shard again and again until `stop`; a quarantine in between stops their Raft.
async fn look_after(node: Arc<Node>, groups: Arc<BTreeMap<ShardId, Arc<ShardGroup>>>, stop: CancellationToken) {
    let mut balance = Balance::default();
    let started = Instant::now();
    let mut quarantine = node.quarantine.subscribe();
    loop {
        tokio::select! {
            () = stop.cancelled() => return shut_down(&groups).await,
            () = quarantined(&mut quarantine) => return shut_down(&groups).await,
            () = tokio::time::sleep(node.options.upkeep.interval) => {}
        }
        for group in groups.values() {
            group.upkeep().await;
        }
        let led: Vec<_> = groups.values().filter_map(|group| group.led()).collect();
        let handover = balance.look(node.identity.node, &led, started.elapsed(), node.options.upkeep.settle);
        if let Some((group, target)) = handover.and_then(|(shard, target)| Some((groups.get(&shard)?, target))) {
            group.hand_over(target).await;
        }
    }
}

async fn quarantined(state: &mut watch::Receiver<Option<String>>) {
    // The sender lives in the node, which the waiting task holds.
    let _ = state.wait_for(Option::is_some).await;
}

async fn shut_down(groups: &BTreeMap<ShardId, Arc<ShardGroup>>) {
    for group in groups.values() {
        if group.metrics().state != ServerState::Shutdown {
            let _ = group.raft.shutdown().await;
        }
    }
}
