//! The one ordered store under all shards of a node, as a trait: rows in a few *spaces*, batches that become visible
//! at once and durable with the next sync, consistent views.
//!
//! STORE-1  A write is atomic: after a crash all of its rows are there, or none.
//! STORE-2  Writes survive in order: when one survived a crash, all written before it did.
//! STORE-3  What was written before [`RowStore::sync`] was called survives when it returned `Ok`.
//!
//! Implementations: [`RocksStore`](super::rocks::RocksStore) and [`MemoryStore`](super::memory::MemoryStore); both pass
//! [`conformance`](super::conformance). Must not know: Raft, shards, metadata's families.

use bytes::Bytes;
use metadata::rows::Visit;

/// An ordered space of rows; a column family of its own where that pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// Raft log entries.
    Log = 0,
    /// Identity, votes, purge points, applied state, generations.
    State = 1,
    /// What a plain listing shows, alone, so that listings read nothing else.
    Current = 2,
    /// Noncurrent versions and markers.
    Versions = 3,
    /// Bytes of small objects; kept in blob files so that compaction does not copy them.
    Inline = 4,
    /// Replies kept for repeats: written and removed at the rate of commands.
    Requests = 5,
    /// All other families.
    Rows = 6,
}

impl Space {
    /// All spaces, in order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Log,
        Self::State,
        Self::Current,
        Self::Versions,
        Self::Inline,
        Self::Requests,
        Self::Rows,
    ];

    /// The space with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// One row written or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceRow {
    /// Where.
    pub space: Space,
    /// Which row.
    pub key: Vec<u8>,
    /// The value; `None` removes the row.
    pub value: Option<Bytes>,
}

/// Rows written together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteSet {
    rows: Vec<SpaceRow>,
    bytes: usize,
}

impl WriteSet {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub fn put(&mut self, space: Space, key: Vec<u8>, value: impl Into<Bytes>) {
        self.push(SpaceRow {
            space,
            key,
            value: Some(value.into()),
        });
    }

    /// Removes a row.
    pub fn remove(&mut self, space: Space, key: Vec<u8>) {
        self.push(SpaceRow {
            space,
            key,
            value: None,
        });
    }

    /// Adds a change.
    pub fn push(&mut self, row: SpaceRow) {
        self.bytes += row.key.len() + row.value.as_ref().map_or(0, Bytes::len);
        self.rows.push(row);
    }

    /// Adds all of another set, after this one's.
    pub fn append(&mut self, mut other: Self) {
        self.bytes += other.bytes;
        self.rows.append(&mut other.rows);
    }

    /// The rows in the order they were added; a later one wins over an earlier one of the same key.
    #[must_use]
    pub fn rows(&self) -> &[SpaceRow] {
        &self.rows
    }

    /// True when there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The storage failed. After a failed write or sync nothing may be acknowledged any more by this store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed while {doing}: {reason}")]
pub struct StoreFailed {
    /// What was tried.
    pub doing: &'static str,
    /// What the storage said.
    pub reason: String,
}

/// Reads rows.
pub trait ReadSpaces {
    /// One row.
    ///
    /// # Errors
    /// When the storage fails.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreFailed>;

    /// Visits rows with `from <= key < until` in order; see [`metadata::rows::ReadRows::scan`].
    ///
    /// # Errors
    /// When the storage fails.
    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreFailed>;

    /// The last row with `from <= key < until`.
    ///
    /// # Errors
    /// When the storage fails.
    fn last(&self, space: Space, from: &[u8], until: &[u8]) -> Result<Option<(Vec<u8>, Bytes)>, StoreFailed>;
}

/// What a view is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPurpose {
    /// Answering somebody: what is read may be cached.
    Serve,
    /// Reading much of it once (snapshots): the cache is left alone.
    Bulk,
}

/// The ordered store. Every call may block on a disk: never on a tokio worker.
pub trait RowStore: ReadSpaces + Send + Sync + 'static {
    /// Writes all rows at once (STORE-1). They are visible when this returns, and durable after a later sync.
    ///
    /// # Errors
    /// When the storage fails; then the store is not to be used any more.
    fn write(&self, set: &WriteSet) -> Result<(), StoreFailed>;

    /// Makes everything written before this call durable (STORE-3). Writes go on meanwhile.
    ///
    /// # Errors
    /// When the storage fails: what was written since the last success may be lost, and a repeat that succeeds would
    /// prove nothing. The store is not to be used any more.
    fn sync(&self) -> Result<(), StoreFailed>;

    /// A number that grows with every write and never goes back unless writes were lost.
    fn sequence(&self) -> u64;

    /// Calls `read` with a view that no later write changes.
    fn with_view(&self, purpose: ReadPurpose, read: &mut dyn FnMut(&dyn ReadSpaces));

    /// Removes all rows with `from <= key < until`. Only for ranges nobody reads any more (a dropped generation): a
    /// range removal inside live rows would slow every later read of the space.
    ///
    /// # Errors
    /// When the storage fails.
    fn drop_range(&self, space: Space, from: &[u8], until: &[u8]) -> Result<(), StoreFailed>;

    /// Ends or cuts short what runs in the background (compaction), so that closing the store does not wait for it. Called
    /// once nothing is written any more; what is still written is kept.
    fn end_background_work(&self) {}

    /// About how many bytes the rows with `from <= key < until` take.
    fn bytes_between(&self, space: Space, from: &[u8], until: &[u8]) -> u64;
}
