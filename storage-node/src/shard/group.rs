//! One replica of one shard: its Raft, its packer, its readers.
//!
//! CON-1   A reply comes from an entry that a majority has synced; a read is answered after the read index is applied.
//!
//! Knows: Raft and the shard's state. Must not know: other shards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metadata::command::{Command, Envelope};
use metadata::ids::{NodeId, RequestId, ShardId};
use metadata::query::{Answer, Query, answer};
use metadata::reply::Reply;
use openraft::error::{InitializeError, RaftError};
use openraft::{ChangeMembers, Config, EmptyNode, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::balance::Led;
use super::calls::{ENVELOPES_MAX, ReadFrom, ShardFault};
use super::feed::SystemFeed;
use super::freshness::Freshness;
use super::handover::Handover;
use super::log::{LogParts, ShardLog};
use super::machine::ShardMachine;
use super::network::{Contacts, ShardNetwork};
use super::node::Node;
use super::packer::Packer;
use super::pool::PoolFault;
use super::read_index::ReadIndex;
use super::rounds::{AnyRound, LeaderRound};
use super::shard_rows::ShardRows;
use super::state::ShardState;
use super::status::{ShardRole, ShardStatus};
use super::store::{ReadPurpose, StoreFailed};
use super::types::{Raft, RaftMetrics};
use crate::threads;

/// A leader that no majority has answered for this long says so at once instead of letting commands wait.
const QUORUM_SILENCE_MAX: Duration = Duration::from_secs(3);
/// Followers that answered within this time count as live.
pub(crate) const LIVE_WITHIN: Duration = Duration::from_secs(2);
/// A node that is being added and does not answer for this long is given up.
const LEARNER_SILENCE_MAX: Duration = Duration::from_secs(30);
/// The pause between two looks at how far it has come.
const LEARNER_LOOK: Duration = Duration::from_millis(20);
/// How far a follower's log may be behind and still count as up to date, in entries.
const WELL_BEHIND_MAX: u64 = 64;

/// One replica.
pub(crate) struct ShardGroup {
    pub(crate) shard: ShardId,
    pub(crate) node: Arc<Node>,
    pub(crate) raft: Raft,
    pub(crate) log: ShardLog,
    pub(crate) state: Arc<ShardState>,
    pub(crate) contacts: Arc<Contacts>,
    pub(crate) handover: Handover,
    /// How up to date a leader's messages have shown this replica to be.
    pub(crate) freshness: Mutex<Freshness>,
    /// Why this replica stopped itself.
    pub(crate) stopped: OnceLock<String>,
    pub(crate) receiving: tokio::sync::Mutex<Option<super::incoming::Transfer>>,
    packer: Packer,
    leader_reads: ReadIndex,
    any_reads: ReadIndex,
    proposed: Mutex<Instant>,
    /// Whether this node's clock differed from most voters' at the last look.
    clock_off: AtomicBool,
    /// The shard's leader does not count this node as a member.
    departed: AtomicBool,
}

impl ShardGroup {
    /// Opens the replica and starts its Raft.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn open(
        node: Arc<Node>,
        shard: ShardId,
        feed: Option<Arc<SystemFeed>>,
    ) -> Result<Self, StoreFailed> {
        let (state, log) = open_store(&node, shard, feed).await?;
        let contacts = Arc::new(Contacts::default());
        let network = ShardNetwork {
            node: Arc::clone(&node),
            state: Arc::clone(&state),
            contacts: Arc::clone(&contacts),
        };
        let machine = ShardMachine {
            state: Arc::clone(&state),
            log: log.clone(),
            applies: node.pools.applies.clone(),
            bulk: node.pools.bulk.clone(),
        };
        let raft = Raft::new(
            node.identity.node.0,
            raft_config(&node, shard)?,
            network,
            log.clone(),
            machine,
        )
        .await;
        let raft = raft.map_err(|e| StoreFailed {
            doing: "starting raft",
            reason: e.to_string(),
        })?;
        let leader_round = LeaderRound { raft: raft.clone() };
        let any_round = AnyRound {
            local: leader_round.clone(),
            node: Arc::clone(&node),
            shard,
        };
        Ok(Self {
            shard,
            packer: Packer::start(raft.clone(), Arc::clone(&node.clock), node.options.packing),
            leader_reads: ReadIndex::start(Arc::new(leader_round)),
            any_reads: ReadIndex::start(Arc::new(any_round)),
            handover: Handover::default(),
            freshness: Mutex::default(),
            stopped: OnceLock::new(),
            receiving: tokio::sync::Mutex::new(None),
            proposed: Mutex::new(Instant::now()),
            clock_off: AtomicBool::new(false),
            departed: AtomicBool::new(false),
            node,
            raft,
            log,
            state,
            contacts,
        })
    }

    pub(crate) fn metrics(&self) -> RaftMetrics {
        self.raft.metrics().borrow().clone()
    }

    /// Has commands decided, each exactly once by its request id.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub(crate) async fn propose(&self, envelopes: Vec<Envelope>) -> Result<Vec<Reply>, ShardFault> {
        if envelopes.len() > ENVELOPES_MAX {
            return Err(ShardFault::BadCall(format!("more than {ENVELOPES_MAX} commands")));
        }
        self.handover.finished().await;
        self.check_leads()?;
        *self.proposed.lock() = Instant::now();
        self.packer.propose(envelopes).await
    }

    /// Answers a query from one consistent view.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub(crate) async fn query(&self, query: Query, from: ReadFrom) -> Result<Answer, ShardFault> {
        self.check_runs()?;
        let index = match from {
            ReadFrom::Leader => self.read_index().await?,
            ReadFrom::AnyReplica => self.any_reads.get().await?,
            ReadFrom::Local => None,
        };
        if let Some(index) = index {
            self.applied(index).await?;
        }
        let (state, shard) = (Arc::clone(&self.state), self.shard);
        let answered = self
            .node
            .pools
            .reads
            .run(move || answer_from(&state, shard, &query))
            .await;
        answered
            .map_err(fault_of_pool)?
            .map_err(|e| ShardFault::Fatal(e.to_string()))
    }

    /// The index a reader must have applied to see all that was acknowledged before this call (leader only).
    ///
    /// # Errors
    /// [`ShardFault`].
    pub(crate) async fn read_index(&self) -> Result<Option<u64>, ShardFault> {
        self.check_runs()?;
        self.handover.finished().await;
        self.leader_reads.get().await
    }

    /// Waits until this replica has applied all that was acknowledged before this call.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub(crate) async fn catch_up(&self) -> Result<(), ShardFault> {
        self.check_runs()?;
        match self.any_reads.get().await? {
            Some(index) => self.applied(index).await,
            None => Ok(()),
        }
    }

    /// Waits until the entry at `index` is applied here.
    async fn applied(&self, index: u64) -> Result<(), ShardFault> {
        let mut applied_next = self.state.applied_next();
        let wait = applied_next.wait_for(|next| *next > index);
        match tokio::time::timeout(self.node.options.packing.wait_max, wait).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ShardFault::Fatal("the shard has stopped".into())),
            Err(_) => Err(ShardFault::Unavailable(format!(
                "entry {index} was not applied in time"
            ))),
        }
    }

    /// Why this replica cannot do anything.
    pub(crate) fn check_runs(&self) -> Result<(), ShardFault> {
        if let Some(reason) = self.node.quarantined() {
            return Err(ShardFault::Quarantined(reason));
        }
        match self.fault() {
            Some(reason) => Err(ShardFault::Fatal(reason)),
            None => Ok(()),
        }
    }

    fn fault(&self) -> Option<String> {
        let stopped = self.stopped.get().cloned();
        let stopped = stopped.or_else(|| self.node.writer.failed().map(|failure| failure.to_string()));
        stopped.or_else(|| {
            self.raft
                .metrics()
                .borrow()
                .running_state
                .as_ref()
                .err()
                .map(ToString::to_string)
        })
    }

    /// Why this replica cannot decide anything now.
    fn check_leads(&self) -> Result<(), ShardFault> {
        self.check_runs()?;
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        if metrics.state != ServerState::Leader {
            return Err(ShardFault::NotLeader {
                leader: metrics.current_leader.map(NodeId),
            });
        }
        let silence = metrics.millis_since_quorum_ack.map(Duration::from_millis);
        if silence.is_some_and(|silence| silence > QUORUM_SILENCE_MAX) {
            return Err(ShardFault::Unavailable("the leader does not reach a majority".into()));
        }
        if self.clock_off.load(Ordering::Relaxed) {
            return Err(ShardFault::Unavailable(
                "the leader's clock differs from its peers'".into(),
            ));
        }
        Ok(())
    }

    fn clock_is_off(&self, metrics: &RaftMetrics) -> bool {
        let me = self.node.identity.node.0;
        let others = metrics
            .membership_config
            .voter_ids()
            .filter(|node| *node != me)
            .map(NodeId);
        self.node.peers.clock_is_off(&others.collect::<Vec<_>>())
    }

    /// Makes `members` the voters of a shard that was never initialized; otherwise does nothing.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub(crate) async fn initialize(&self, members: &BTreeSet<NodeId>) -> Result<(), ShardFault> {
        self.check_runs()?;
        let members: BTreeMap<u64, EmptyNode> = members.iter().map(|node| (node.0, EmptyNode::default())).collect();
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(e)) => Err(ShardFault::BadCall(e.to_string())),
            Err(RaftError::Fatal(e)) => Err(ShardFault::Fatal(e.to_string())),
        }
    }

    /// True once the shard has members.
    pub(crate) fn is_initialized(&self) -> bool {
        self.raft
            .metrics()
            .borrow()
            .membership_config
            .voter_ids()
            .next()
            .is_some()
    }

    /// Adds a member that receives everything but does not vote; returns when it has caught up but for a few entries.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub(crate) async fn add_learner(&self, node: NodeId) -> Result<(), ShardFault> {
        self.check_leads()?;
        if self.node.peers.is_dismissed(node) {
            let reason = format!("the metadata store of node {node} is gone and no other one is known here yet");
            return Err(ShardFault::Unavailable(reason));
        }
        let added = self.raft.add_learner(node.0, EmptyNode::default(), false).await;
        added.map_err(|e| membership_fault(&e))?;
        let mut heard = Instant::now();
        loop {
            self.check_leads()?;
            let metrics = self.metrics();
            let matched = metrics
                .replication
                .as_ref()
                .and_then(|all| all.get(&node.0).copied().flatten());
            let has = matched.map_or(0, |matched| matched.index + 1);
            if has + WELL_BEHIND_MAX > metrics.last_log_index.unwrap_or(0) {
                return Ok(());
            }
            if self.contacts.is_live(node, LIVE_WITHIN) {
                heard = Instant::now();
            }
            if heard.elapsed() > LEARNER_SILENCE_MAX {
                return Err(ShardFault::Unavailable(format!(
                    "node {node} does not answer and has not caught up"
                )));
            }
            tokio::time::sleep(LEARNER_LOOK).await;
        }
    }

    /// Makes exactly `voters` the voters; voters that are not among them leave. New ones must be learners first.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub(crate) async fn change_voters(&self, voters: &BTreeSet<NodeId>) -> Result<(), ShardFault> {
        let voters: BTreeSet<u64> = voters.iter().map(|node| node.0).collect();
        self.change_members(ChangeMembers::ReplaceAllVoters(voters)).await
    }

    /// Changes the members. Only on the leader.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub(crate) async fn change_members(&self, change: ChangeMembers<u64, EmptyNode>) -> Result<(), ShardFault> {
        self.check_leads()?;
        let changed = self.raft.change_membership(change, false).await;
        changed.map(|_| ()).map_err(|e| membership_fault(&e))
    }

    /// True while this replica leads and reaches a majority.
    pub(crate) fn leads(&self) -> bool {
        self.check_leads().is_ok()
    }

    /// Who votes, as far as this replica knows.
    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        self.metrics().membership_config.voter_ids().map(NodeId).collect()
    }

    /// Keeps this replica out of elections, or lets it stand again: the leader does not count this node as a member.
    pub(crate) fn set_departed(&self, departed: bool) {
        self.departed.store(departed, Ordering::Relaxed);
    }

    /// Stops this replica for good, with a reason for the operator.
    pub(crate) fn stop(&self, reason: String) {
        tracing::error!(shard = %self.shard, %reason, "this replica stops");
        if self.stopped.set(reason).is_ok() {
            let raft = self.raft.clone();
            tokio::spawn(async move { raft.shutdown().await });
        }
    }

    /// Purges what the limits let go, moves time forward when idle, keeps a leader with a wrong clock from leading.
    pub(crate) async fn upkeep(&self) {
        if self.check_runs().is_err() {
            return;
        }
        let metrics = self.metrics();
        self.purge_log(&metrics).await;
        let off = self.clock_is_off(&metrics);
        self.clock_off.store(off, Ordering::Relaxed);
        let config = self.raft.runtime_config();
        // Whoever is asked to vote or sent something again is a member again.
        if metrics.state != ServerState::Candidate {
            self.departed.store(false, Ordering::Relaxed);
        }
        config.elect(!off && !self.departed.load(Ordering::Relaxed));
        // Without heartbeats the others elect another leader.
        config.heartbeat(!off && !self.handover.is_quiet());
        if off && metrics.state == ServerState::Leader {
            tracing::error!(shard = %self.shard, offsets = ?self.node.peers.clock_offsets(), "this node's clock is off");
        }
        let idle = self.proposed.lock().elapsed() >= self.node.options.upkeep.tick;
        if idle && metrics.state == ServerState::Leader {
            let now_ms = self.node.clock.now_ms();
            let request = RequestId::new(now_ms, self.node.dice.u128());
            // A tick that fails is made up for by the next.
            let _ = self
                .propose(vec![Envelope {
                    request,
                    command: Command::Tick,
                }])
                .await;
        }
    }

    async fn purge_log(&self, metrics: &RaftMetrics) {
        let applied = self.state.applied().last.map(|last| last.index);
        let Some(applied) = applied else { return };
        let limits = self.node.options.log_limits;
        let needed = if self.log.bytes() <= limits.bytes_max.saturating_mul(2) {
            self.needed_by_live(metrics)
        } else {
            None
        };
        let held = self.contacts.held().into_iter().chain(needed).min();
        let Some(upto) = self.log.purge_upto(limits, applied, held) else {
            return;
        };
        // openraft purges only what a snapshot covers; ours is whatever is applied, but it must be told.
        let triggered = if metrics.snapshot.is_none_or(|snapshot| snapshot.index < upto) {
            self.raft.trigger().snapshot().await
        } else {
            self.raft.trigger().purge_log(upto).await
        };
        if let Err(e) = triggered {
            tracing::warn!(shard = %self.shard, error = %e, "the log was not purged");
        }
    }

    /// The first index that a follower which answers still lacks.
    fn needed_by_live(&self, metrics: &RaftMetrics) -> Option<u64> {
        let matched = metrics.replication.as_ref()?;
        let live = matched
            .iter()
            .filter(|(node, _)| self.contacts.is_live(NodeId(**node), LIVE_WITHIN));
        live.map(|(_, matched)| matched.map_or(0, |matched| matched.index + 1))
            .min()
    }

    /// What the balance of leaders needs to know, when this node leads the shard.
    pub(crate) fn led(&self) -> Option<Led> {
        let metrics = self.metrics();
        if metrics.state != ServerState::Leader || self.check_runs().is_err() {
            return None;
        }
        let matched = metrics.replication.as_ref()?;
        let last = metrics.last_log_index.unwrap_or(0);
        let is_well = |node: &NodeId| {
            let has = matched
                .get(&node.0)
                .copied()
                .flatten()
                .map_or(0, |matched| matched.index);
            self.contacts.is_live(*node, LIVE_WITHIN)
                && has + WELL_BEHIND_MAX >= last
                && !self.node.peers.clock_offset_is_large(*node)
        };
        let voters: Vec<NodeId> = metrics.membership_config.voter_ids().map(NodeId).collect();
        let well = voters.iter().copied().filter(is_well).collect();
        Some(Led {
            shard: self.shard,
            voters,
            well,
        })
    }

    /// How long ago this replica was last known to be up to date, in milliseconds.
    pub(crate) fn behind_ms(&self) -> u64 {
        let metrics = self.metrics();
        if metrics.state == ServerState::Leader {
            return metrics.millis_since_quorum_ack.unwrap_or(u64::MAX);
        }
        let applied_next = self.state.next_index();
        let proven = self.freshness.lock().proven(applied_next).map(|at| at.elapsed());
        proven.map_or(u64::MAX, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }

    /// What an operator is shown.
    pub(crate) fn status(&self) -> ShardStatus {
        let metrics = self.metrics();
        let fault = self.fault();
        let matched = metrics.replication.iter().flatten();
        let membership = metrics.membership_config.membership();
        ShardStatus {
            shard: self.shard,
            role: role(&metrics, fault.is_some()),
            leader: metrics.current_leader.map(NodeId),
            term: metrics.current_term,
            last_index: metrics.last_log_index,
            applied_index: self.state.applied().last.map(|last| last.index),
            purged_index: metrics.purged.map(|purged| purged.index),
            log_bytes: self.log.bytes(),
            voters: membership.voter_ids().map(NodeId).collect(),
            learners: membership.learner_ids().map(NodeId).collect(),
            matched: matched
                .map(|(node, log_id)| (NodeId(*node), log_id.map(|log_id| log_id.index)))
                .collect(),
            quorum_age_ms: metrics.millis_since_quorum_ack,
            fault: fault.or_else(|| self.clock_is_off(&metrics).then(|| "this node's clock is off".into())),
        }
    }
}

async fn open_store(
    node: &Arc<Node>,
    shard: ShardId,
    feed: Option<Arc<SystemFeed>>,
) -> Result<(Arc<ShardState>, ShardLog), StoreFailed> {
    let node = Arc::clone(node);
    let opened = threads::blocking(move || {
        let state = ShardState::open(shard, Arc::clone(&node.store), node.writer.clone(), feed)?;
        let log = ShardLog::open(LogParts {
            shard,
            store: Arc::clone(&node.store),
            writer: node.writer.clone(),
            reads: node.pools.reads.clone(),
            clock: Arc::clone(&node.clock),
            cache_bytes_max: node.options.log_cache_bytes,
            applied_next: state.applied_next(),
        })?;
        Ok((Arc::new(state), log))
    });
    opened.await.unwrap_or_else(|e| {
        Err(StoreFailed {
            doing: "opening a shard",
            reason: e.to_string(),
        })
    })
}

fn raft_config(node: &Node, shard: ShardId) -> Result<Arc<Config>, StoreFailed> {
    let timers = node.options.timers;
    let config = Config {
        cluster_name: format!("shard {shard}"),
        heartbeat_interval: timers.heartbeat_ms,
        election_timeout_min: timers.election_min_ms,
        election_timeout_max: timers.election_max_ms,
        // Snapshots and purges are driven by `upkeep`, from bytes and age.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        replication_lag_threshold: WELL_BEHIND_MAX,
        ..Config::default()
    };
    let valid = config.validate().map_err(|e| StoreFailed {
        doing: "reading raft's timers",
        reason: e.to_string(),
    })?;
    Ok(Arc::new(valid))
}

fn answer_from(state: &ShardState, shard: ShardId, query: &Query) -> Result<Answer, String> {
    let mut answered = Err("the store gave no view".to_owned());
    state.store.with_view(ReadPurpose::Serve, &mut |view| {
        let rows = ShardRows::live(view, shard).map_err(|e| e.to_string());
        answered = rows.and_then(|rows| answer(&rows, query).map_err(|e| e.to_string()));
    });
    answered
}

fn fault_of_pool(fault: PoolFault) -> ShardFault {
    match fault {
        PoolFault::Full => ShardFault::Busy,
        PoolFault::Panicked => ShardFault::Fatal("the query could not be answered".into()),
    }
}

fn membership_fault(error: &RaftError<u64, openraft::error::ClientWriteError<u64, EmptyNode>>) -> ShardFault {
    use openraft::error::ClientWriteError;
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => ShardFault::NotLeader {
            leader: forward.leader_id.map(NodeId),
        },
        RaftError::APIError(ClientWriteError::ChangeMembershipError(e)) => ShardFault::Unavailable(e.to_string()),
        RaftError::Fatal(e) => ShardFault::Fatal(e.to_string()),
    }
}

fn role(metrics: &RaftMetrics, stopped: bool) -> ShardRole {
    match metrics.state {
        _ if stopped => ShardRole::Stopped,
        ServerState::Leader => ShardRole::Leader,
        ServerState::Follower => ShardRole::Follower,
        ServerState::Candidate => ShardRole::Candidate,
        ServerState::Learner => ShardRole::Learner,
        ServerState::Shutdown => ShardRole::Stopped,
    }
}
