//! What openraft is told about us, and the values of the log and state spaces.
//!
//! A Raft command is a packed batch as bytes ([`Packed`], written and read by `metadata::codec`), so that an entry is
//! decoded once, by `apply`, and is otherwise only passed on. The answer to an entry is one reply per command.

use std::fmt;

use bytes::Bytes;
use metadata::reply::Reply;
use openraft::{EmptyNode, StoredMembership};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::layout::VALUE_FORMAT;
use super::snapshot::SnapshotData;
use super::store::StoreFailed;

openraft::declare_raft_types!(
    /// openraft's parameters. Node ids are [`metadata::ids::NodeId`]'s numbers; addresses are the wire's business.
    pub(crate) ShardTypes:
        D = Packed,
        R = Replies,
        NodeId = u64,
        Node = EmptyNode,
        Entry = openraft::Entry<ShardTypes>,
        SnapshotData = SnapshotData,
        Responder = openraft::impls::OneshotResponder<ShardTypes>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<ShardTypes>;
pub(crate) type Entry = openraft::Entry<ShardTypes>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type Membership = StoredMembership<u64, EmptyNode>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type RaftMetrics = openraft::RaftMetrics<u64, EmptyNode>;

/// A batch of commands as `metadata::codec` writes it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Packed(pub(crate) Bytes);

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} bytes)", self.0.len())
    }
}

/// The answers to the commands of one entry, in their order; empty for entries of Raft's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replies(pub(crate) Vec<Reply>);

/// How far a shard's rows have come, written in the same set as the rows themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// The last entry whose changes are in the rows.
    pub(crate) last: Option<LogId>,
    /// The last membership among the entries up to `last`.
    pub(crate) membership: Membership,
    /// Rolling digest over all changes up to `last`; equal on all replicas at the same index.
    pub(crate) digest: [u8; 32],
}

impl Applied {
    /// Index of the last applied entry, plus one.
    pub(crate) fn next_index(&self) -> u64 {
        self.last.map_or(0, |last| last.index + 1)
    }
}

/// Which copies of a shard's rows exist in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Generations {
    /// The one that is read and applied to.
    pub(crate) live: u32,
    /// Half-filled or replaced ones: to be removed whole.
    pub(crate) dead: Vec<u32>,
}

impl Generations {
    /// A number that no rows stand under.
    pub(crate) fn unused(&self) -> u32 {
        self.dead.iter().copied().fold(self.live, u32::max) + 1
    }
}

/// Writes a value of the log or state space.
pub(crate) fn to_value<T: Serialize>(value: &T) -> Bytes {
    let bytes = postcard::to_extend(value, vec![VALUE_FORMAT]).expect("these types have nothing postcard cannot write");
    Bytes::from(bytes)
}

/// Reads what [`to_value`] wrote.
pub(crate) fn from_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreFailed> {
    let bad = |reason: String| StoreFailed {
        doing: "decoding a value",
        reason,
    };
    match bytes.split_first() {
        Some((&VALUE_FORMAT, rest)) => postcard::from_bytes(rest).map_err(|e| bad(e.to_string())),
        first => Err(bad(format!(
            "format version {:?} is not known",
            first.map(|(version, _)| *version)
        ))),
    }
}
