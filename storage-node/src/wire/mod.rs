//! Calls between processes: one framed connection per pair and [`Channel`], many calls in flight on it.
//!
//! Knows: frames, correlation, authentication of the peer. Must not know: what a call means.
//! Services implement [`Service`]; whoever wants something of another node holds a [`Caller`]. Tests and simulation
//! bring callers of their own.

mod address_book;
mod credentials;
mod frame;
mod handshake;
mod server;
mod session;
mod socket;
mod tcp_caller;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use metadata::ids::NodeId;

pub use address_book::{AddressBook, NodeAddress};
pub use credentials::{CredentialError, Credentials, Role, SECRET_BYTES_MIN, Secret};
pub(crate) use handshake::Greeting;
pub use handshake::WIRE_VERSION;
pub(crate) use server::listen;
pub use server::{BoundWire, ListenError, WireServer};
pub(crate) use server::{Door, accepted};
#[cfg(test)]
pub(crate) use socket::Socket;
pub use tcp_caller::TcpCaller;
pub(crate) use tcp_caller::connect_and_greet;
pub use tls::Tls;

/// The largest body of one call or answer in bytes: a packed Raft entry (1 MiB) several times over.
pub const CALL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which connection a call travels on, so that Raft never waits behind anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Channel {
    /// Raft messages between storage nodes.
    Raft = 1,
    /// Commands and queries of proxies, and everything else.
    Metadata = 2,
    /// Blob bodies: behind the handshake the connection speaks HTTP/1.1 (see [`crate::blob_http`]), not frames.
    Blobs = 3,
}

impl Channel {
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Raft, Self::Metadata, Self::Blobs]
            .into_iter()
            .find(|channel| *channel as u8 == number)
    }
}

/// What is called; the number is the wire name. New kinds get new numbers; a peer that does not know one says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum CallKind {
    /// Raft AppendEntries for one shard.
    RaftAppend = 1,
    /// Raft vote.
    RaftVote = 2,
    /// A chunk of a Raft snapshot.
    RaftSnapshot = 3,
    /// The read index of a shard, asked by a follower.
    RaftReadIndex = 4,
    /// Commands for one shard.
    Propose = 16,
    /// A query of one shard.
    Query = 17,
    /// Changes of the system shard since an index (long poll).
    WatchSystem = 18,
    /// What a node knows of its shards and devices.
    NodeStatus = 19,
    /// Administration (membership, device work); the body says what.
    Admin = 20,
}

impl CallKind {
    /// Every kind this release knows.
    pub const ALL: [Self; 9] = [
        Self::RaftAppend,
        Self::RaftVote,
        Self::RaftSnapshot,
        Self::RaftReadIndex,
        Self::Propose,
        Self::Query,
        Self::WatchSystem,
        Self::NodeStatus,
        Self::Admin,
    ];

    pub(crate) fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u16 == number)
    }
}

/// Who calls: authenticated by the connection's handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node id it proved, when it is a storage node; proxies have none.
    pub node: Option<NodeId>,
    /// A number the calling process drew when it started; tells its connections from those of other processes.
    pub process: u64,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No connection; the call was certainly not executed.
    #[error("node {node} cannot be reached: {reason}")]
    Unreachable {
        /// Which.
        node: NodeId,
        /// What was tried and failed.
        reason: String,
    },
    /// The connection broke or the deadline passed after the call was sent; it may have been executed.
    #[error("node {node} did not answer: {reason}")]
    NoAnswer {
        /// Which.
        node: NodeId,
        /// What ended the wait.
        reason: String,
    },
    /// The peer does not know this kind of call (an older release).
    #[error("node {node} does not know this call")]
    UnknownCall {
        /// Which.
        node: NodeId,
    },
    /// Too many calls are waiting for this peer; not sent.
    #[error("too many calls wait for node {node}")]
    Busy {
        /// Which.
        node: NodeId,
    },
    /// The body is larger than [`CALL_BYTES_MAX`]; not sent.
    #[error("the call is too large")]
    TooLarge,
}

/// Calls other nodes.
#[async_trait]
pub trait Caller: Send + Sync + 'static {
    /// Sends `body` to `node` and waits at most `deadline` for its answer.
    async fn call(
        &self,
        node: NodeId,
        channel: Channel,
        kind: CallKind,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, WireError>;
}

/// Answers calls. Faults of the called service travel inside the answer, as codes of its own.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Answers one call; `None` when the kind is unknown here.
    async fn serve(&self, peer: &Peer, kind: CallKind, body: Bytes) -> Option<Bytes>;
}

/// A caller shared by everything in a process.
pub type SharedCaller = Arc<dyn Caller>;
