//! What the cluster remembers, and how it changes.
//!
//! Knows: buckets, keys, versions, multipart uploads, small records; the commands that change them, the queries that
//! read them, and `apply`, the pure function from state and command to reply. Rows live behind the [`rows`] traits.
//! Must not know: Raft, RocksDB, HTTP, clocks, dice, and the bytes of blobs (only the inline bytes of small objects).
//!
//! One *shard* is one ordered set of rows changed only by [`apply`](apply::apply_batch). Shard 0 (the system shard)
//! owns bucket names and records; the others (key shards) own the keys of the buckets that live in them.

pub mod apply;
pub mod codec;
pub mod command;
pub mod ids;
pub mod keys;
pub mod model;
pub mod multipart;
pub mod query;
mod read;
pub mod reply;
pub mod rows;
mod values;

/// An inline object's largest size in bytes; anything longer goes to blobs.
pub const INLINE_BYTES_MAX: usize = 4096;
/// A key's largest size in bytes (AWS: 1024 bytes of UTF-8; Swift's limit is configured to the same).
pub const KEY_BYTES_MAX: usize = 1024;
/// The largest number of parts of one multipart upload (AWS).
pub const PARTS_MAX: u16 = 10_000;
/// The largest page a listing query returns, in entries (keys and common prefixes together).
pub const PAGE_MAX: usize = 10_000;
/// How long a shard remembers a request's reply, in milliseconds of its own time.
pub const REQUEST_WINDOW_MS: u64 = 300_000;
/// How long a completed multipart upload answers a repeated Complete, in milliseconds of shard time.
pub const COMPLETED_UPLOAD_MS: u64 = 7 * 86_400_000;
/// How long after its id was drawn a stream may still be committed, in milliseconds of shard time (DUR-3: see
/// [`apply`]).
pub const STREAM_LIFE_MS: u64 = 7 * 86_400_000;
/// How long a bucket that keeps deletions remembers one, in milliseconds of shard time: a write from elsewhere that is
/// older than the deletion and comes later than this is taken (Swift's `reclaim_age` is the same).
pub const DELETION_LIFE_MS: u64 = 7 * 86_400_000;
/// How far ahead of shard time a write from elsewhere may be dated, in milliseconds: its writer's clock is wrong.
pub const WRITTEN_AHEAD_MS: u64 = 86_400_000;
/// How far the time in a [`WriteId`](ids::WriteId) may lie ahead of shard time, in milliseconds: beyond it the writer's
/// clock is wrong, or the id was not made by [`WriteId::new`](ids::WriteId::new).
pub const STREAM_AHEAD_MS: u64 = 3_600_000;
