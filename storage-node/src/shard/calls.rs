//! What other processes ask of a node's shards, as bytes of a [`CallKind`](crate::wire::CallKind).
//!
//! ```text
//! body = version (1 byte, CALLS_FORMAT) | postcard(value)
//!
//! kind            body         answer
//! Propose         ProposeCall  ProposeAnswer
//! Query           QueryCall    QueryAnswer
//! RaftReadIndex   ReadIndexCall ReadIndexAnswer
//! WatchSystem     WatchCall    WatchAnswer
//! ```
//! New variants go at the end of their enum, because postcard numbers variants.
//!
//! Knows: the shapes. Must not know: Raft, RocksDB, sockets.

use bytes::Bytes;
use metadata::command::Envelope;
use metadata::ids::{NodeId, ShardId};
use metadata::query::{Answer, Query};
use metadata::reply::Reply;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The format version of every body in this module.
pub const CALLS_FORMAT: u8 = 1;

/// The most envelopes one [`ProposeCall`] may carry.
pub const ENVELOPES_MAX: usize = 1024;

/// Why a shard did not answer. Says what the caller may do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ShardFault {
    /// This node does not lead the shard: ask `leader`, or any other member when it is unknown. Not executed here.
    #[error("the shard is led by another node ({leader:?})")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// Nobody could decide in time. A command may or may not have been executed; a repeat under the same request id
    /// is safe, here or elsewhere.
    #[error("the shard is not available: {0}")]
    Unavailable(String),
    /// Too much waits already: not executed, come back later (503).
    #[error("too many requests wait for the shard")]
    Busy,
    /// This node has no replica of the shard: ask another member.
    #[error("this node holds no replica of the shard")]
    NoSuchShard,
    /// This node's store is damaged or was replaced (DUR-5); it takes no part until an operator acts. Ask another.
    #[error("this node is quarantined: {0}")]
    Quarantined(String),
    /// This node's store failed; the process must be looked at. Ask another member.
    #[error("this node's store failed: {0}")]
    Fatal(String),
    /// The body was not understood; a repeat will not help.
    #[error("the call is malformed: {0}")]
    BadCall(String),
}

/// Commands for one shard, answered in their order. They may travel in several Raft entries and are not one
/// transaction: each is decided by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposeCall {
    /// Which shard.
    pub shard: ShardId,
    /// At most [`ENVELOPES_MAX`] commands.
    pub envelopes: Vec<Envelope>,
}

/// Answer to a [`ProposeCall`]: one reply per envelope. A fault speaks for the whole call, of which a part may have
/// been executed; a repeat of all of it is safe.
pub type ProposeAnswer = Result<Vec<Reply>, ShardFault>;

/// Which replica may answer a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadFrom {
    /// Only the leader; another node answers [`ShardFault::NotLeader`].
    #[default]
    Leader,
    /// Any member: a follower asks the leader for the read index and answers from its own rows. As linearizable as a
    /// read from the leader (CON-1).
    AnyReplica,
    /// Any member, from whatever it has applied: not linearizable. For copies and for operators.
    Local,
}

/// A question to one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryCall {
    /// Which shard.
    pub shard: ShardId,
    /// What.
    pub query: Query,
    /// Who may answer.
    pub from: ReadFrom,
}

/// Answer to a [`QueryCall`].
pub type QueryAnswer = Result<Answer, ShardFault>;

/// Asks a leader for its read index: the log index a reader must have applied to see all that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadIndexCall {
    /// Which shard.
    pub shard: ShardId,
}

/// Answer to a [`ReadIndexCall`]; `None` while the log is empty.
pub type ReadIndexAnswer = Result<Option<u64>, ShardFault>;

/// Asks for changes of the system shard; a long poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchCall {
    /// What the caller has: the `next` of the page before, at first [`WatchFrom::Nothing`].
    pub from: WatchFrom,
    /// How long to wait for a change before an empty page is answered, in milliseconds; capped by the node.
    pub wait_ms: u32,
}

/// How far a copy of the system shard has come; ordered by progress.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WatchFrom {
    /// It is empty.
    Nothing,
    /// In the middle of a dump that began when `index` was applied.
    Dump {
        /// Changes after this index are to be applied once the dump ends.
        index: u64,
        /// The last row received: its family's number and key.
        family: u8,
        /// Its key.
        key: Bytes,
    },
    /// All changes up to this log index were received.
    Index(u64),
}

/// A piece of the system shard. The receiver writes `rows` over its copy in their order and asks on with `next`.
/// The copy may be used only after a page that says `complete`; a dump that starts anew clears it first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchPage {
    /// True when this page begins a dump: the copy is to be cleared before `rows` are written.
    pub restart: bool,
    /// Rows written or removed.
    pub rows: Vec<WatchRow>,
    /// What to ask with next.
    pub next: WatchFrom,
    /// True when the copy now equals the node's replica as of `next`.
    pub complete: bool,
    /// How old the replica's last proof of being up to date is, in milliseconds: a copy whose age plus this exceeds
    /// its staleness bound must not be used.
    pub behind_ms: u64,
}

/// One row of the system shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRow {
    /// The number of its [`Family`](metadata::rows::Family).
    pub family: u8,
    /// Its key.
    pub key: Bytes,
    /// Its value; `None` when it was removed.
    pub value: Option<Bytes>,
}

/// Answer to a [`WatchCall`].
pub type WatchAnswer = Result<WatchPage, ShardFault>;

/// Bytes that are not what they should be, or of another version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// An empty body or one of a format this release does not know.
    #[error("format version {0:?} is not known")]
    Version(Option<u8>),
    /// The rest does not decode.
    #[error("the body does not decode: {0}")]
    Garbled(String),
}

/// Writes any of this module's values as a call's or an answer's body.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    let body = postcard::to_extend(value, vec![CALLS_FORMAT]).expect("these types have nothing postcard cannot write");
    Bytes::from(body)
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// When the version is unknown or the bytes are not a `T`.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadBody> {
    match body.split_first() {
        Some((&CALLS_FORMAT, rest)) => postcard::from_bytes(rest).map_err(|e| BadBody::Garbled(e.to_string())),
        first => Err(BadBody::Version(first.map(|(version, _)| *version))),
    }
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
