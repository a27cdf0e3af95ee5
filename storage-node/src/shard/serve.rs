//! The calls of other processes to this node's shards.

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::calls::{
    self, ProposeAnswer, ProposeCall, QueryAnswer, QueryCall, ReadIndexAnswer, ReadIndexCall, ShardFault, WatchAnswer,
};
use super::envelope::{self, AnswerHeader, Header, RaftFault};
use super::shards::{Running, Shards};
use crate::wire::{CallKind, Peer, Service};

/// Answers [`CallKind::RaftAppend`], [`CallKind::RaftVote`], [`CallKind::RaftSnapshot`], [`CallKind::RaftReadIndex`],
/// [`CallKind::Propose`], [`CallKind::Query`] and [`CallKind::WatchSystem`]; all other kinds are unknown here.
#[async_trait]
impl Service for Shards {
    async fn serve(&self, peer: &Peer, kind: CallKind, body: Bytes) -> Option<Bytes> {
        match kind {
            CallKind::RaftAppend | CallKind::RaftVote | CallKind::RaftSnapshot => {
                Some(self.handle_raft(peer, kind, &body).await)
            }
            CallKind::RaftReadIndex => Some(calls::encode(&self.serve_read_index(&body).await)),
            CallKind::Propose => Some(calls::encode(&self.serve_propose(&body).await)),
            CallKind::Query => Some(calls::encode(&self.serve_query(&body).await)),
            CallKind::WatchSystem => Some(calls::encode(&self.serve_watch(&body).await)),
            CallKind::NodeStatus | CallKind::Admin => None,
        }
    }
}

impl Shards {
    async fn serve_propose(&self, body: &[u8]) -> ProposeAnswer {
        let call: ProposeCall = decode(body)?;
        self.propose(call.shard, call.envelopes).await
    }

    async fn serve_query(&self, body: &[u8]) -> QueryAnswer {
        let call: QueryCall = decode(body)?;
        self.query(call.shard, call.query, call.from).await
    }

    async fn serve_read_index(&self, body: &[u8]) -> ReadIndexAnswer {
        let call: ReadIndexCall = decode(body)?;
        self.group(call.shard)?.read_index().await
    }

    async fn serve_watch(&self, body: &[u8]) -> WatchAnswer {
        self.watch_system(decode(body)?).await
    }

    /// Handles one Raft message of a peer and returns the bytes of its answer.
    pub async fn handle_raft(&self, peer: &Peer, kind: CallKind, body: &[u8]) -> Bytes {
        match self.running() {
            Ok(running) => running.handle_raft(peer, kind, body).await,
            // Nothing here may speak for this node id, so no incarnation is shown.
            Err(_) => {
                let header = AnswerHeader {
                    incarnation: 0,
                    clock_ms: 0,
                };
                envelope::encode(&header, &Err::<(), _>(RaftFault::Quarantined))
            }
        }
    }
}

impl Running {
    async fn handle_raft(&self, peer: &Peer, kind: CallKind, body: &[u8]) -> Bytes {
        let (header, rest) = match envelope::decode_header::<Header>(body) {
            Ok(read) => read,
            Err(e) => return self.answer(&Err::<(), _>(RaftFault::Malformed(e.to_string()))),
        };
        if let Err(fault) = self.node.check_sender(&header, peer.node).await {
            return self.answer(&Err::<(), _>(fault));
        }
        let Some(group) = self.groups.get(&header.shard) else {
            return self.answer(&Err::<(), _>(RaftFault::NoSuchShard));
        };
        match kind {
            CallKind::RaftAppend => match message(rest) {
                Ok(message) => self.answer(&group.on_append(message).await),
                Err(fault) => self.answer(&Err::<(), _>(fault)),
            },
            CallKind::RaftVote => match message(rest) {
                Ok(message) => self.answer(&group.on_vote(message).await),
                Err(fault) => self.answer(&Err::<(), _>(fault)),
            },
            _ => match message(rest) {
                Ok(message) => self.answer(&group.on_snapshot(message).await),
                Err(fault) => self.answer(&Err::<(), _>(fault)),
            },
        }
    }

    fn answer<T: Serialize>(&self, outcome: &Result<T, RaftFault>) -> Bytes {
        envelope::encode(&self.node.answer_header(), outcome)
    }
}

fn message<T: DeserializeOwned>(rest: &[u8]) -> Result<T, RaftFault> {
    envelope::decode_message(rest).map_err(|e| RaftFault::Malformed(e.to_string()))
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ShardFault> {
    calls::decode(body).map_err(|e| ShardFault::BadCall(e.to_string()))
}
