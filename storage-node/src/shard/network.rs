//! Raft's messages to other nodes, over whatever [`Caller`](crate::wire::Caller) the process has.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use metadata::ids::{NodeId, ShardId};
use openraft::error::{Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{AnyError, EmptyNode, OptionalSend, RaftNetwork, RaftNetworkFactory, Snapshot, StorageIOError};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::envelope::{AppendMessage, SnapshotAnswer, SnapshotMessage, VoteAnswer, VoteMessage};
use super::node::{Node, PeerFault};
use super::snapshot::{Part, read_parts};
use super::state::ShardState;
use super::types::{ShardTypes, StorageError, Vote};
use crate::threads;
use crate::wire::{CallKind, WireError};

/// How long one part of a snapshot may take.
const PART_DEADLINE: Duration = Duration::from_secs(10);
/// How long the last part may take, which verifies and switches.
const INSTALL_DEADLINE: Duration = Duration::from_secs(60);
/// Parts read ahead of the network.
const PARTS_AHEAD: usize = 2;
/// How often one part is sent before the transfer is given up.
const PART_ATTEMPTS: usize = 3;
/// The pause before an unreachable node is tried again.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(200);

type CallError = RPCError<u64, EmptyNode, RaftError<u64>>;
type SnapshotError = StreamingError<ShardTypes, Fatal<u64>>;

/// Makes one shard's links to its peers.
#[derive(Clone)]
pub(crate) struct ShardNetwork {
    pub(crate) node: Arc<Node>,
    pub(crate) state: Arc<ShardState>,
    pub(crate) contacts: Arc<Contacts>,
}

/// When each peer last answered for one shard, and from which index on transfers in progress will need the log.
#[derive(Default)]
pub(crate) struct Contacts {
    answered: Mutex<BTreeMap<NodeId, Instant>>,
    transfers: Mutex<Vec<u64>>,
}

impl Contacts {
    /// True when `node` answered within `age`.
    pub(crate) fn is_live(&self, node: NodeId, age: Duration) -> bool {
        self.answered.lock().get(&node).is_some_and(|at| at.elapsed() <= age)
    }

    /// The first log index a transfer in progress will need.
    pub(crate) fn held(&self) -> Option<u64> {
        self.transfers.lock().iter().copied().min()
    }

    fn hold(self: &Arc<Self>, first: u64) -> Hold {
        self.transfers.lock().push(first);
        Hold {
            contacts: Arc::clone(self),
            first,
        }
    }
}

/// Keeps the log from `first` on for a transfer.
struct Hold {
    contacts: Arc<Contacts>,
    first: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut transfers = self.contacts.transfers.lock();
        if let Some(at) = transfers.iter().position(|first| *first == self.first) {
            transfers.swap_remove(at);
        }
    }
}

impl RaftNetworkFactory<ShardTypes> for ShardNetwork {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Link {
        Link {
            network: self.clone(),
            target: NodeId(target),
        }
    }
}

/// One shard's link to one peer.
pub(crate) struct Link {
    network: ShardNetwork,
    target: NodeId,
}

impl Link {
    fn shard(&self) -> ShardId {
        self.network.state.shard
    }

    async fn call<M: serde::Serialize, A: serde::de::DeserializeOwned>(
        &self,
        kind: CallKind,
        message: &M,
        deadline: Duration,
    ) -> Result<A, PeerFault> {
        let answer = self
            .network
            .node
            .call_peer(self.target, self.shard(), kind, message, deadline)
            .await;
        if answer.is_ok() {
            self.network
                .contacts
                .answered
                .lock()
                .insert(self.target, Instant::now());
        }
        answer
    }

    /// Sends the parts of one transfer until the peer has it all, or has seen a higher vote.
    async fn send_parts(&self, vote: Vote) -> Result<SnapshotResponse<u64>, SnapshotError> {
        let transfer = self.network.node.dice.u128();
        let (parts, mut read) = mpsc::channel(threads::queue_bound(PARTS_AHEAD));
        let state = Arc::clone(&self.network.state);
        let reader = self.network.node.pools.bulk.clone();
        let reading = tokio::spawn(async move {
            reader
                .run(move || read_parts(&state, vote, &mut |part| threads::send(&parts, part)))
                .await
        });
        let mut answered = vote;
        while let Some(part) = read.recv().await {
            let message = SnapshotMessage { transfer, part };
            answered = self.send_part(&message).await?.vote;
            if answered > vote {
                return Ok(SnapshotResponse::new(answered));
            }
        }
        match reading.await {
            Ok(Ok(Ok(()))) => Ok(SnapshotResponse::new(answered)),
            Ok(Ok(Err(e))) => {
                let failed: StorageError = StorageIOError::read_snapshot(None, AnyError::new(&e)).into();
                Err(failed.into())
            }
            _ => Err(NetworkError::new(&AnyError::error("the snapshot could not be read now")).into()),
        }
    }

    async fn send_part(&self, message: &SnapshotMessage) -> Result<SnapshotAnswer, SnapshotError> {
        let (deadline, attempts) = match message.part {
            Part::End { .. } => (INSTALL_DEADLINE, 1),
            Part::Begin { .. } | Part::Rows { .. } => (PART_DEADLINE, PART_ATTEMPTS),
        };
        let mut attempt = 1;
        loop {
            match self.call(CallKind::RaftSnapshot, message, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(PeerFault::Wire(e)) if attempt < attempts => {
                    tracing::debug!(error = %e, "a part of a snapshot is sent again");
                    attempt += 1;
                    tokio::time::sleep(UNREACHABLE_PAUSE).await;
                }
                Err(fault) => return Err(Unreachable::new(&fault).into()),
            }
        }
    }
}

impl RaftNetwork<ShardTypes> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<ShardTypes>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError> {
        let message = AppendMessage {
            digest: self.network.state.last_digest(),
            request,
        };
        self.call(CallKind::RaftAppend, &message, option.hard_ttl())
            .await
            .map_err(call_error)
    }

    async fn vote(&mut self, request: VoteRequest<u64>, option: RPCOption) -> Result<VoteResponse<u64>, CallError> {
        let message = VoteMessage::Vote(request);
        match self
            .call(CallKind::RaftVote, &message, option.hard_ttl())
            .await
            .map_err(call_error)?
        {
            VoteAnswer::Vote(response) => Ok(response),
            VoteAnswer::TakingOver(_) => {
                Err(NetworkError::new(&AnyError::error("the answer is not one to a vote")).into())
            }
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<ShardTypes>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, SnapshotError> {
        let first = snapshot.meta.last_log_id.map_or(0, |last| last.index + 1);
        let _hold = self.network.contacts.hold(first);
        let sent = async {
            let _turn = self.network.node.sending.acquire().await;
            self.send_parts(vote).await
        };
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = sent => sent,
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(UNREACHABLE_PAUSE))
    }
}

/// A call that may have arrived is repeated at once; otherwise openraft pauses first.
fn call_error(fault: PeerFault) -> CallError {
    match fault {
        PeerFault::Wire(e @ WireError::NoAnswer { .. }) => NetworkError::new(&e).into(),
        fault => Unreachable::new(&fault).into(),
    }
}
