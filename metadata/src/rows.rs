//! Rows: the ordered key-value store a shard's state lies in, as traits, so that RocksDB, a `BTreeMap` and an overlay
//! of unwritten changes serve alike.

use bytes::Bytes;

mod memory;
mod overlay;

pub use memory::MemoryRows;
pub use overlay::Overlay;

/// A kind of row. Each is an ordered space of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    /// The shard's counters (time, next seq, next bucket id, sums) and its fences.
    Meta = 0,
    /// Exactly what a plain listing shows.
    Current = 1,
    /// Noncurrent versions and delete markers, newest first within a key.
    Versions = 2,
    /// Which version of a key is the null version, when it is not the current one.
    Nulls = 3,
    /// Bytes of inline objects.
    Inline = 4,
    /// Multipart uploads.
    Uploads = 5,
    /// Parts of uploads and manifests.
    Parts = 6,
    /// Order and sizes of completed uploads' parts.
    Manifests = 7,
    /// Stream -> references: the proof that a blob lives.
    Refs = 8,
    /// Streams that will never be committed.
    Condemned = 9,
    /// Chunks that lack copies, fewest copies first.
    Short = 10,
    /// Streams that wait to be reclaimed, oldest first.
    Reclaim = 11,
    /// Request id -> reply.
    Requests = 12,
    /// Bucket configuration and totals (key shards).
    Buckets = 13,
    /// Bucket names (system shard).
    Names = 14,
    /// Small records of services (system shard).
    Records = 15,
    /// What changed in buckets that note it, and when their keys were deleted (container sync).
    Changes = 16,
}

impl Family {
    /// All families, in order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::Meta,
        Self::Current,
        Self::Versions,
        Self::Nulls,
        Self::Inline,
        Self::Uploads,
        Self::Parts,
        Self::Manifests,
        Self::Refs,
        Self::Condemned,
        Self::Short,
        Self::Reclaim,
        Self::Requests,
        Self::Buckets,
        Self::Names,
        Self::Records,
        Self::Changes,
    ];
}

/// The storage under the rows failed; nothing was decided.
#[derive(Debug, thiserror::Error)]
#[error("reading rows: {0}")]
pub struct RowsError(pub String);

/// A consistent view of a shard's rows.
pub trait ReadRows {
    /// One row.
    ///
    /// # Errors
    /// When the storage fails.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, RowsError>;

    /// Calls `visit` with the rows whose key is `>= from` and, when `until` is given, `< until`, in ascending order,
    /// until it returns [`Visit::Stop`]. [`Visit::Seek`] continues at the first row whose key is `>=` the given one
    /// (which must be greater than the row just visited).
    ///
    /// # Errors
    /// When the storage fails.
    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), RowsError>;
}

/// What a scan does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Goes to the next row.
    Next,
    /// Jumps ahead.
    Seek(Vec<u8>),
    /// Ends.
    Stop,
}

/// A change of one row: a new value, or its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// Where.
    pub family: Family,
    /// Which row.
    pub key: Vec<u8>,
    /// The new value; `None` removes the row.
    pub value: Option<Bytes>,
}
