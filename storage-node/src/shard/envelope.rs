//! The bytes of Raft messages between nodes.
//!
//! ```text
//! call   = version (1 byte, RAFT_FORMAT) | postcard(Header) | postcard(message)
//! answer = version (1 byte, RAFT_FORMAT) | postcard(AnswerHeader) | postcard(Result<answer, RaftFault>)
//!
//! kind          message          answer
//! RaftAppend    AppendMessage    AppendEntriesResponse
//! RaftVote      VoteMessage      VoteAnswer
//! RaftSnapshot  SnapshotMessage  SnapshotAnswer
//! ```
//! Every message shows who sends it, by which store, and what store it expects at the other end (DUR-5); every message
//! and answer shows its sender's clock.

use bytes::Bytes;
use metadata::ids::{ClusterId, NodeId, ShardId};
use openraft::raft::{AppendEntriesRequest, VoteRequest, VoteResponse};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::calls::BadBody;
use super::snapshot::Part;
use super::types::{LogId, ShardTypes, Vote};

/// The format version of Raft messages.
pub(crate) const RAFT_FORMAT: u8 = 1;

/// In front of every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) cluster: ClusterId,
    pub(crate) from: NodeId,
    /// The sender's store.
    pub(crate) incarnation: u128,
    /// The receiver's store, when the sender has met it.
    pub(crate) expects: Option<u128>,
    /// The sender's clock.
    pub(crate) clock_ms: u64,
    pub(crate) shard: ShardId,
}

/// In front of every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnswerHeader {
    /// The answering store.
    pub(crate) incarnation: u128,
    /// Its clock.
    pub(crate) clock_ms: u64,
}

/// Why a Raft message was not handled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum RaftFault {
    /// The receiver has no such shard.
    #[error("the node holds no replica of the shard")]
    NoSuchShard,
    /// The receiver's store may not take part.
    #[error("the node is quarantined")]
    Quarantined,
    /// The sender's store is not the one the receiver knows under this node id.
    #[error("the node knows the sender with another store")]
    SenderReplaced,
    /// The receiver's store is not the one the sender expects.
    #[error("the node's store was replaced")]
    ReceiverReplaced,
    /// Another cluster, or a node that is not who it says.
    #[error("the message is not for this node: {0}")]
    Misdirected(String),
    /// The receiver's Raft has stopped.
    #[error("the node's raft has stopped: {0}")]
    Stopped(String),
    /// Not understood.
    #[error("the message is malformed: {0}")]
    Malformed(String),
    /// Too much that is committed is not applied yet: to be sent again after a pause.
    #[error("the node has not yet applied what it was sent")]
    Behind,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct AppendMessage {
    /// The leader's digest at an index that every replica digests.
    pub(crate) digest: Option<(u64, [u8; 32])>,
    pub(crate) request: AppendEntriesRequest<ShardTypes>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum VoteMessage {
    /// A candidate asks for a vote.
    Vote(VoteRequest<u64>),
    /// The leader asks the receiver to become leader at once, if its log ends just there.
    TakeOver { last: Option<LogId> },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum VoteAnswer {
    Vote(VoteResponse<u64>),
    /// Whether an election was begun.
    TakingOver(bool),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotMessage {
    /// Random, one per transfer.
    pub(crate) transfer: u128,
    pub(crate) part: Part,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotAnswer {
    pub(crate) vote: Vote,
}

/// Writes a message or an answer behind its header.
pub(crate) fn encode<H: Serialize, T: Serialize>(header: &H, message: &T) -> Bytes {
    let impossible = "these types have nothing postcard cannot write";
    let bytes = postcard::to_extend(header, vec![RAFT_FORMAT]).expect(impossible);
    Bytes::from(postcard::to_extend(message, bytes).expect(impossible))
}

/// Reads the header, and leaves the message.
pub(crate) fn decode_header<H: DeserializeOwned>(body: &[u8]) -> Result<(H, &[u8]), BadBody> {
    match body.split_first() {
        Some((&RAFT_FORMAT, rest)) => postcard::take_from_bytes(rest).map_err(|e| BadBody::Garbled(e.to_string())),
        first => Err(BadBody::Version(first.map(|(version, _)| *version))),
    }
}

/// Reads what follows a header.
pub(crate) fn decode_message<T: DeserializeOwned>(rest: &[u8]) -> Result<T, BadBody> {
    postcard::from_bytes(rest).map_err(|e| BadBody::Garbled(e.to_string()))
}
