//! A store that is given up for an empty one, and shards that are opened with what one node has left.
//!
//! DUR-5   A node whose store lost something comes back as a new member:
//! ```text
//!  the node itself        the others
//!  quarantined
//!   dismiss  ───────────> every leader takes it out of its shard, unless its former store is alive somewhere
//!   start over            (only when every shard has a leader that counts without it)
//!   welcome  ───────────> know its new store from now on, unless a shard of theirs still counts the former one
//!   admit    ───────────> leaders of shards with too few voters give it the log, then a vote
//! ```
//! The former store is set aside beside the new one (`damaged-TIME`), one at most. A store that came to be in this way
//! never founds a cluster, and does not quarantine itself when a peer that was away knows the former one: it makes
//! itself known to that peer.
//!
//! Where no majority is left an operator decides ([`Shards::recover`]): the node's replica of each shard without a
//! majority gets an entry that makes it the only voter, behind everything its log holds. What was acknowledged and is in
//! that log stays; what was only in the lost stores is gone.
//!
//! Knows: stores, membership. Must not know: who asks whom (`node::rejoin`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metadata::ids::{NodeId, ShardId};
use metadata::query::Query;
use openraft::{ChangeMembers, CommittedLeaderId, EmptyNode, EntryPayload};
use serde::{Deserialize, Serialize};

use super::calls::{ReadFrom, ShardFault};
use super::group::ShardGroup;
use super::layout;
use super::node::Node;
use super::opening::OpenError;
use super::options::{Damage, ShardOptions};
use super::shards::{Life, Running, Shards};
use super::store::{ReadSpaces, Space, StoreFailed, WriteSet};
use super::types::{Entry, LogId, Vote, from_value, to_value};
use super::writer::Durability;
use crate::open_files::wait_until_closed;
use crate::threads;

/// How many voters a shard gets, as far as there are nodes (DESIGN §3.1).
pub const VOTERS_WANTED: usize = 3;
/// A store heard of within this time is alive, and nobody else gets its node's name.
const ALIVE_WITHIN: Duration = Duration::from_secs(5);
/// How long a shard gets to prove that it has a majority.
const MAJORITY_WITHIN: Duration = Duration::from_secs(3);
/// How long the former store may take to be closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(20);
/// How long the last user of a stopped replica may take to let go of it.
const RELEASED_WITHIN: Duration = Duration::from_secs(5);
/// How long a recovered shard may take to have a leader.
const LEADS_WITHIN: Duration = Duration::from_secs(10);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Whether a store came to a cluster that existed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Newcomer {
    /// It has been a member since it was born.
    #[default]
    No,
    /// It waits for the shards to take it in.
    Waiting,
    /// They have.
    Admitted,
}

/// Reads what the store says of itself.
pub(super) fn newcomer(store: &dyn ReadSpaces) -> Result<Newcomer, StoreFailed> {
    let found = store.get(Space::State, &layout::newcomer())?;
    found.map_or(Ok(Newcomer::No), |value| from_value(&value))
}

impl Shards {
    /// Gives the store up for an empty one with a new incarnation. The former is set aside. Only for a node that no shard
    /// counts any more.
    ///
    /// # Errors
    /// When the former store does not close in time, or the new one does not open; the node stays quarantined.
    pub async fn start_over(&self) -> Result<(), OpenError> {
        let _turn = self.inner.renewing.lock().await;
        let options = ShardOptions {
            damage: Damage::Quarantine,
            expected: false,
            ..self.inner.options.clone()
        };
        let unusable = |reason: String| OpenError::Unusable {
            dir: options.dir.display().to_string(),
            reason,
        };
        if options.ground.is_some() {
            return Err(unusable("a simulated store cannot be replaced".into()));
        }
        let before = self.set_life(Life::Quarantined("the metadata store is being replaced".into()));
        if let Life::Running(running) = before {
            running.end().await;
        }
        let dir = options.dir.canonicalize().unwrap_or_else(|_| options.dir.clone());
        if !wait_until_closed(vec![dir.clone()], CLOSED_WITHIN).await {
            let reason = "the former metadata store is still in use: restart this process".to_owned();
            self.set_life(Life::Quarantined(reason.clone()));
            return Err(unusable(reason));
        }
        let now_ms = self.inner.clock.now_ms();
        let aside = threads::blocking(move || set_aside(&dir, now_ms)).await;
        let aside = aside.map_err(|e| unusable(e.to_string()))?;
        aside.map_err(|e| unusable(e.to_string()))?;
        let life = self.live(options.clone()).await?;
        if let Life::Running(running) = &life {
            running.node.set_newcomer(Newcomer::Waiting).await?;
            tracing::warn!("this node starts over with an empty metadata store and joins its cluster again");
        }
        self.set_life(life);
        Ok(())
    }

    /// Whether this node's store came to a cluster that existed.
    #[must_use]
    pub fn newcomer(&self) -> Newcomer {
        self.running()
            .map_or(Newcomer::No, |running| *running.node.newcomer.borrow())
    }

    /// The shards have taken this node in.
    ///
    /// # Errors
    /// [`ShardFault`].
    pub async fn admitted(&self) -> Result<(), ShardFault> {
        let running = self.running()?;
        running.node.set_newcomer(Newcomer::Admitted).await.map_err(fatal)
    }

    /// Peers that still know this node with the store it had before.
    #[must_use]
    pub fn unwelcome(&self) -> BTreeSet<NodeId> {
        self.running()
            .map_or_else(|_| BTreeSet::new(), |running| running.node.unwelcome.lock().clone())
    }

    /// A peer knows this node's store now.
    pub fn welcomed_by(&self, peer: NodeId) {
        if let Ok(running) = self.running() {
            running.node.unwelcome.lock().remove(&peer);
        }
    }

    /// The shards in whose rows this node stands as a voter.
    #[must_use]
    pub fn votes_in(&self) -> BTreeSet<ShardId> {
        let Ok(running) = self.running() else {
            return BTreeSet::new();
        };
        let me = running.node.identity.node.0;
        let counts = |group: &&Arc<ShardGroup>| {
            let membership = group.state.applied().membership;
            membership.voter_ids().any(|voter| voter == me)
        };
        running
            .groups
            .values()
            .filter(counts)
            .map(|group| group.shard)
            .collect()
    }

    /// Takes a node out of every shard this node leads, because its store is gone. Returns how many shards that were.
    ///
    /// # Errors
    /// When that node's store is alive, or a shard does not decide.
    pub async fn dismiss(&self, node: NodeId) -> Result<usize, ShardFault> {
        let running = self.running()?;
        refuse_living(&running.node, node)?;
        running.node.peers.note_dismissed(node);
        let mut changed = 0;
        for group in running.groups.values().filter(|group| group.leads()) {
            changed += usize::from(group.dismiss(node).await?);
        }
        Ok(changed)
    }

    /// Knows `node` with another store from now on. `votes_in` names the shards that have taken that store in.
    ///
    /// # Errors
    /// When the store known here is alive, or a replica here still counts it.
    pub async fn welcome(
        &self,
        node: NodeId,
        incarnation: u128,
        votes_in: &BTreeSet<ShardId>,
    ) -> Result<(), ShardFault> {
        let running = self.running()?;
        let peers = &running.node.peers;
        if peers.incarnation(node) == Some(incarnation) {
            peers.note_welcome(node);
            return Ok(());
        }
        refuse_living(&running.node, node)?;
        for group in running.groups.values() {
            let counted = group.metrics().membership_config.nodes().any(|(id, _)| *id == node.0);
            if counted && !votes_in.contains(&group.shard) {
                let reason = format!(
                    "shard {} still counts the former store of node {node} here",
                    group.shard
                );
                return Err(ShardFault::Unavailable(reason));
            }
        }
        peers.replace(node, incarnation).await.map_err(fatal)
    }

    /// Takes a node into every shard this node leads that has fewer than [`VOTERS_WANTED`] voters. Returns how many.
    ///
    /// # Errors
    /// When the node does not catch up, or a shard does not decide.
    pub async fn admit(&self, node: NodeId) -> Result<usize, ShardFault> {
        let running = self.running()?;
        let mut changed = 0;
        for group in running.groups.values().filter(|group| group.leads()) {
            let mut voters = group.voters();
            if voters.len() >= VOTERS_WANTED || !voters.insert(node) {
                continue;
            }
            group.add_learner(node).await?;
            group.change_voters(&voters).await?;
            changed += 1;
        }
        Ok(changed)
    }

    /// Makes this node the only voter of every shard that has lost its majority; the loss is accepted. Returns them.
    ///
    /// # Errors
    /// When no shard has lost it, this node's store is empty or cannot be opened, or no leader comes of it.
    pub async fn recover(&self) -> Result<Vec<ShardId>, ShardFault> {
        let _turn = self.inner.renewing.lock().await;
        let running = self.opened_at_any_price().await?;
        let groups: Vec<Arc<ShardGroup>> = running.groups.values().cloned().collect();
        let checks = groups.into_iter().map(|group| async move {
            let lost = group.is_initialized() && !has_majority(&group).await;
            lost.then_some(group.shard)
        });
        let lost: Vec<ShardId> = futures::future::join_all(checks).await.into_iter().flatten().collect();
        if lost.is_empty() {
            let reason = "every shard of this node has a majority: there is nothing to recover from a loss";
            return Err(ShardFault::BadCall(reason.into()));
        }
        tracing::error!(shards = ?lost, "an operator has accepted a loss: these shards go on with this node alone");
        self.set_life(Life::Quarantined("its shards are being recovered".into()));
        running.end().await;
        let node = Arc::clone(&running.node);
        released(&running).await?;
        drop(running);
        for shard in &lost {
            let (node, shard) = (Arc::clone(&node), *shard);
            let set = threads::blocking({
                let node = Arc::clone(&node);
                move || sole_voter(&node, shard)
            });
            let set = set
                .await
                .map_err(|e| ShardFault::Fatal(e.to_string()))?
                .map_err(fatal)?;
            node.writer.write(set, Durability::Synced).await.map_err(fatal)?;
        }
        node.quarantine.send_replace(None);
        let running = Running::start(node)
            .await
            .map_err(|e| ShardFault::Fatal(e.to_string()))?;
        self.set_life(Life::Running(Arc::new(running)));
        for shard in &lost {
            self.wait_for_leader(*shard, LEADS_WITHIN).await?;
        }
        Ok(lost)
    }

    /// The running shards; a quarantined store is opened with its damage accepted.
    async fn opened_at_any_price(&self) -> Result<Arc<Running>, ShardFault> {
        if let Life::Running(running) = self.life() {
            return Ok(running);
        }
        let options = ShardOptions {
            damage: Damage::Accept,
            ..self.inner.options.clone()
        };
        let life = self.live(options).await;
        let life = life.map_err(|e| ShardFault::Fatal(e.to_string()))?;
        self.set_life(life);
        self.running()
    }
}

impl Node {
    async fn set_newcomer(&self, newcomer: Newcomer) -> Result<(), StoreFailed> {
        let mut set = WriteSet::new();
        set.put(Space::State, layout::newcomer(), to_value(&newcomer));
        self.writer.write(set, Durability::Synced).await?;
        self.newcomer.send_replace(newcomer);
        Ok(())
    }
}

impl ShardGroup {
    /// Takes a node out of this shard; false when it was no member.
    async fn dismiss(&self, node: NodeId) -> Result<bool, ShardFault> {
        let mut voters = self.voters();
        if voters.remove(&node) {
            if voters.is_empty() {
                return Err(ShardFault::BadCall(format!("shard {} has no other voter", self.shard)));
            }
            self.change_voters(&voters).await?;
            return Ok(true);
        }
        let learns = self.metrics().membership_config.nodes().any(|(id, _)| *id == node.0);
        if learns {
            self.change_members(ChangeMembers::RemoveNodes(BTreeSet::from([node.0])))
                .await?;
        }
        Ok(learns)
    }
}

/// Two processes under one node's name: the living one keeps it.
fn refuse_living(me: &Node, node: NodeId) -> Result<(), ShardFault> {
    if me.identity.node == node {
        return Err(ShardFault::BadCall(format!(
            "this process is node {node}: two processes use one node id; give one of them an id of its own"
        )));
    }
    if me.peers.heard_within(node, ALIVE_WITHIN) {
        return Err(ShardFault::Unavailable(format!(
            "node {node} is alive with the metadata store known here: if that is another machine, give this one a node \
             id of its own"
        )));
    }
    Ok(())
}

async fn has_majority(group: &ShardGroup) -> bool {
    let asked = group.query(Query::Summary, ReadFrom::AnyReplica);
    matches!(tokio::time::timeout(MAJORITY_WITHIN, asked).await, Ok(Ok(_)))
}

/// Waits until nothing of the stopped replicas applies any more, so that the next ones begin where the rows are.
async fn released(running: &Running) -> Result<(), ShardFault> {
    let waiting = async {
        // The group itself, and nobody else.
        while running.groups.values().any(|group| Arc::strong_count(&group.state) > 1) {
            tokio::time::sleep(LOOK).await;
        }
    };
    let late = |_| ShardFault::Fatal("the stopped shards are still in use: restart this process and ask again".into());
    tokio::time::timeout(RELEASED_WITHIN, waiting).await.map_err(late)
}

/// The rows that make this node the only voter of a shard, behind everything in its log.
fn sole_voter(node: &Node, shard: ShardId) -> Result<WriteSet, StoreFailed> {
    let store = node.store.as_ref();
    let vote: Option<Vote> = read(store, &layout::vote(shard))?;
    let purged: Option<LogId> = read(store, &layout::purged(shard))?;
    let logged = store.last(Space::Log, &layout::log(shard, 0), &layout::log(shard, u64::MAX))?;
    let logged = logged.map(|(_, value)| from_value::<Entry>(&value)).transpose()?;
    let last = logged.map(|entry| entry.log_id).max(purged);
    let me = node.identity.node.0;
    let term = vote
        .map_or(0, |vote| vote.leader_id().term)
        .max(last.map_or(0, |last| last.leader_id.term))
        + 1;
    let members: BTreeMap<u64, EmptyNode> = BTreeMap::from([(me, EmptyNode::default())]);
    let entry = Entry {
        log_id: LogId::new(CommittedLeaderId::new(term, me), last.map_or(0, |last| last.index + 1)),
        payload: EntryPayload::Membership(openraft::Membership::new(vec![BTreeSet::from([me])], members)),
    };
    let mut set = WriteSet::new();
    set.put(Space::State, layout::vote(shard), to_value(&Vote::new(term, me)));
    set.put(Space::Log, layout::log(shard, entry.log_id.index), to_value(&entry));
    Ok(set)
}

fn read<T: serde::de::DeserializeOwned>(store: &dyn ReadSpaces, key: &[u8]) -> Result<Option<T>, StoreFailed> {
    store
        .get(Space::State, key)?
        .map(|value| from_value(&value))
        .transpose()
}

/// Moves the former database out of the way, and removes one that was moved before.
fn set_aside(dir: &Path, now_ms: u64) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("damaged-") {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    let absent_is_fine = |outcome: std::io::Result<()>| match outcome {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    };
    absent_is_fine(std::fs::rename(dir.join("db"), dir.join(format!("damaged-{now_ms}"))))?;
    absent_is_fine(std::fs::remove_file(dir.join("synced")))?;
    std::fs::File::open(dir)?.sync_all()
}

fn fatal(failure: StoreFailed) -> ShardFault {
    ShardFault::Fatal(failure.to_string())
}
