//! One machine of the cluster: its devices (segments + index), its shards (Raft groups over one RocksDB), repair and
//! scrub, its server, and the thin client others reach it by.
//!
//! Knows: disks, Raft, the wire between nodes. Must not know: S3, Swift, users; an object is a stream of blobs here.

pub mod blob_http;
pub mod client;
pub mod device;
pub mod erasure;
pub mod ground;
pub mod node;
mod open_files;
pub mod shard;
pub mod threads;
pub mod wire;
