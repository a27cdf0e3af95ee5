//! Blob bodies between processes: HTTP/1.1 over pooled connections, fixed lengths, no delay (DESIGN §3.2).
//!
//! ```text
//! PUT  /v1/devices/{id}/blobs/{key}     head | payload  -> 204, after the sync (DUR-1)
//! GET  /v1/devices/{id}/blobs/{key}     range: bytes=a-b -> 200  head | whole frames that cover the range
//!                                       x-halo-purpose: upkeep  a hint: nobody is about to read it again
//! HEAD /v1/devices/{id}/blobs/{key}     -> 200 with the head in `x-halo-head`, hex
//! POST /v1/devices/{id}/remove          RemoveCall -> 204
//! POST /v1/devices/{id}/stat            StatCall   -> 200  StatAnswer
//! POST /v1/devices/{id}/list            ListCall   -> 200  ListAnswer
//! POST /v1/devices/{id}/digest          DigestCall -> 200  Digest
//! POST /v1/devices/{id}/policy-digest   PolicyDigestCall -> 200  Digest
//! ```
//! `{key}` is `{placement, 16 hex}.{write, 32 hex}.{chunk, decimal}`. Heads and bodies of POST carry a version of their
//! own (see [`codec`]). A fault is a code in `x-halo-fault`, never guessed from text.
//!
//! Before the first request both sides prove themselves with the handshake of [`crate::wire`] on channel `Blobs`, inside
//! TLS both ways off loopback (SEC-1). A token in each request would be shown to whoever happens to listen on a dead
//! node's port; a handshake shows nothing, and costs nothing on a connection that is kept.
//!
//! Knows: one node's devices. Must not know: rings, shards, quorums.

mod body;
mod client;
mod codec;
mod desk;
mod fault;
mod pool;
mod server;
#[cfg(test)]
mod tests;

pub use client::{BlobClient, BlobClientError, RemoteBlobs};
pub use codec::{DigestCall, ListAnswer, ListCall, PolicyDigestCall};
pub use fault::Fault;
pub use server::{Admission, BlobServer, BoundBlobs};

/// The header that says what a read is for; without it a client waits for the bytes.
const PURPOSE_HEADER: &str = "x-halo-purpose";
/// The value for repair and moves.
const UPKEEP: &str = "upkeep";
/// The header that carries a fault's code.
const FAULT_HEADER: &str = "x-halo-fault";
/// The header that carries a fault's sentence, for people.
const WHY_HEADER: &str = "x-halo-why";
/// The header that carries a blob's head in the answer to HEAD.
const HEAD_HEADER: &str = "x-halo-head";
