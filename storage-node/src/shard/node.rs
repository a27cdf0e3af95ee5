//! What all shards of a node share: its store, its threads, its peers, its clock.

use std::collections::BTreeSet;
use std::sync::Arc;

use clock::{Dice, WallClock};
use metadata::ids::{NodeId, ShardId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

use super::envelope::{self, AnswerHeader, Header, RaftFault};
use super::identity::{self, StoreIdentity};
use super::options::ShardOptions;
use super::peers::Peers;
use super::pool::Pool;
use super::renewal::Newcomer;
use super::store::RowStore;
use super::writer::Writer;
use crate::wire::{CallKind, Channel, SharedCaller, WireError};

/// Shared by the shards of one node.
pub(crate) struct Node {
    pub(crate) options: ShardOptions,
    pub(crate) identity: StoreIdentity,
    pub(crate) store: Arc<dyn RowStore>,
    pub(crate) writer: Writer,
    pub(crate) pools: Pools,
    pub(crate) peers: Peers,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) dice: Arc<dyn Dice>,
    pub(crate) caller: SharedCaller,
    /// One snapshot is sent at a time.
    pub(crate) sending: Semaphore,
    /// Why this node may not take part; set at most once.
    pub(crate) quarantine: watch::Sender<Option<String>>,
    /// Whether this store came to a cluster that existed.
    pub(crate) newcomer: watch::Sender<Newcomer>,
    /// Peers that still know this node with the store it had before.
    pub(crate) unwelcome: parking_lot::Mutex<BTreeSet<NodeId>>,
}

/// The threads that may block on the store.
#[derive(Clone)]
pub(crate) struct Pools {
    /// Queries and log reads.
    pub(crate) reads: Pool,
    /// Entries being applied.
    pub(crate) applies: Pool,
    /// Snapshots and removals.
    pub(crate) bulk: Pool,
}

/// Why a Raft call to a peer has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerFault {
    /// Not delivered, or not answered.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The peer refused.
    #[error(transparent)]
    Refused(#[from] RaftFault),
}

impl Node {
    /// Why this node may not take part.
    pub(crate) fn quarantined(&self) -> Option<String> {
        self.quarantine.borrow().clone()
    }

    /// Sends a Raft message and checks that the store that answers is the one known (DUR-5).
    pub(crate) async fn call_peer<M: Serialize, A: DeserializeOwned>(
        &self,
        target: NodeId,
        shard: ShardId,
        kind: CallKind,
        message: &M,
        deadline: Duration,
    ) -> Result<A, PeerFault> {
        if self.quarantined().is_some() {
            return Err(RaftFault::Quarantined.into());
        }
        let sent_ms = self.clock.now_ms();
        let header = Header {
            cluster: self.identity.cluster,
            from: self.identity.node,
            incarnation: self.identity.incarnation,
            expects: self.peers.incarnation(target),
            clock_ms: sent_ms,
            shard,
        };
        let body = envelope::encode(&header, message);
        let called = self.caller.call(target, Channel::Raft, kind, body, deadline).await;
        let answer = called.inspect_err(|why| self.peers.note_silence(target, why))?;
        self.peers.note_answer(target);
        let malformed = |e: super::calls::BadBody| RaftFault::Malformed(e.to_string());
        let (header, rest) = envelope::decode_header::<AnswerHeader>(&answer).map_err(malformed)?;
        let outcome: Result<A, RaftFault> = envelope::decode_message(rest).map_err(malformed)?;
        match outcome {
            // A quarantined node shows no store of its own.
            Err(RaftFault::Quarantined) => return Err(RaftFault::Quarantined.into()),
            Err(RaftFault::SenderReplaced) => self.refused_by(target),
            _ => {}
        }
        let known = self.peers.meet(target, header.incarnation).await;
        if !known.map_err(|e| RaftFault::Stopped(e.to_string()))? {
            return Err(RaftFault::ReceiverReplaced.into());
        }
        self.peers
            .note_clock(target, header.clock_ms, sent_ms, self.clock.now_ms());
        Ok(outcome?)
    }

    /// A peer knows this node with another store. One that was put in its place on purpose has yet to be made known to
    /// that peer; any other takes no part from now on.
    fn refused_by(&self, peer: NodeId) {
        if *self.newcomer.borrow() == Newcomer::No {
            self.enter_quarantine(identity::refused_by(peer));
        } else {
            self.unwelcome.lock().insert(peer);
        }
    }

    /// From now on this node takes no part.
    pub(crate) fn enter_quarantine(&self, reason: String) {
        self.quarantine.send_if_modified(|state| {
            let first = state.is_none();
            if first {
                tracing::error!(%reason, "this node's shards are quarantined");
                *state = Some(reason);
            }
            first
        });
    }

    /// Checks who sent a Raft message.
    pub(crate) async fn check_sender(&self, header: &Header, proven: Option<NodeId>) -> Result<(), RaftFault> {
        if header.cluster != self.identity.cluster {
            return Err(RaftFault::Misdirected(format!(
                "this is cluster {}",
                self.identity.cluster
            )));
        }
        if proven.is_some_and(|node| node != header.from) {
            return Err(RaftFault::Misdirected("the sender is not the node it says".into()));
        }
        if self.quarantined().is_some() {
            return Err(RaftFault::Quarantined);
        }
        if header
            .expects
            .is_some_and(|expected| expected != self.identity.incarnation)
        {
            self.refused_by(header.from);
            return Err(RaftFault::ReceiverReplaced);
        }
        match self.peers.meet(header.from, header.incarnation).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(RaftFault::SenderReplaced),
            Err(e) => Err(RaftFault::Stopped(e.to_string())),
        }
    }

    /// The header of this node's answers.
    pub(crate) fn answer_header(&self) -> AnswerHeader {
        AnswerHeader {
            incarnation: self.identity.incarnation,
            clock_ms: self.clock.now_ms(),
        }
    }
}
