//! The index of a device, as a trait: where each living blob lies, and one row of accounts per segment.
//!
//! It is a cache of the segments. Batches are applied whole and in order; without `sync` the last ones may be lost in a
//! crash, and recovery replays the segments from each row's `indexed`. Only reclaim asks for a sync (DUR-2).
//!
//! ```text
//! key of an entry   placement u64, write u128, chunk u32                                   (big endian, 28 bytes)
//! entry, version 1  version u8, segment u64, offset u32, seq u64, shard u64, bucket u64,
//!                   len u32, written_ms u64, BLAKE3 [32]                                 (little endian, 81 bytes)
//! ```

use std::collections::BTreeMap;
use std::ops::Bound;

use metadata::ids::{BucketId, ClusterId, ShardId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::blob::{BlobHeader, BlobKey};
use super::record::{Place, le_u32, le_u64};

const ENTRY_VERSION: u8 = 1;
const ENTRY_BYTES: usize = 81;

/// Where a living blob lies, and its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(super) place: Place,
    pub(super) seq: u64,
    pub(super) header: BlobHeader,
}

impl Entry {
    pub(super) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[0] = ENTRY_VERSION;
        bytes[1..9].copy_from_slice(&self.place.segment.to_le_bytes());
        bytes[9..13].copy_from_slice(&self.place.offset.to_le_bytes());
        bytes[13..21].copy_from_slice(&self.seq.to_le_bytes());
        bytes[21..29].copy_from_slice(&self.header.shard.0.to_le_bytes());
        bytes[29..37].copy_from_slice(&self.header.bucket.0.to_le_bytes());
        bytes[37..41].copy_from_slice(&self.header.len.to_le_bytes());
        bytes[41..49].copy_from_slice(&self.header.written_ms.to_le_bytes());
        bytes[49..81].copy_from_slice(&self.header.blake3);
        bytes
    }

    pub(super) fn decode(bytes: &[u8], cluster: ClusterId) -> Option<Self> {
        if bytes.len() != ENTRY_BYTES || bytes[0] != ENTRY_VERSION {
            return None;
        }
        let header = BlobHeader {
            cluster,
            shard: ShardId(le_u64(bytes, 21)),
            bucket: BucketId(le_u64(bytes, 29)),
            len: le_u32(bytes, 37),
            written_ms: le_u64(bytes, 41),
            blake3: bytes[49..81].try_into().ok()?,
        };
        let place = Place {
            segment: le_u64(bytes, 1),
            offset: le_u32(bytes, 9),
        };
        Some(Self {
            place,
            seq: le_u64(bytes, 13),
            header,
        })
    }
}

/// The accounts of one segment. Sizes count whole records on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRow {
    /// Recognises the file: from the segment's salt.
    pub(super) tag: u64,
    /// The index knows every record before this offset, and all of them are synced.
    pub(super) indexed: u32,
    /// Nothing will be appended any more.
    pub(super) sealed: bool,
    /// Nothing in it is needed and the index says so durably: the file may be gone.
    pub(super) retired: bool,
    /// Holds an older copy of a blob that was rewritten elsewhere rather than removed.
    pub(super) stale_copies: bool,
    /// Living blobs.
    pub(super) live_blobs: u64,
    /// Their bytes.
    pub(super) live_bytes: u64,
    /// Tombstones.
    pub(super) tombstones: u64,
    /// Those whose killed copy is gone with its segment.
    pub(super) spent_tombstones: u64,
    /// Bytes that should hold records and do not: rot.
    pub(super) rot_bytes: u64,
    /// Bytes of torn regions that recovery voided.
    pub(super) void_bytes: u64,
    /// Largest `seq` of its records.
    pub(super) seq_max: u64,
}

/// Which segment's blobs are killed by tombstones in which other segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kill {
    pub(super) killed: u64,
    pub(super) tombstones_in: u64,
}

/// Changes applied together. Values are absolute, so applying twice is harmless.
#[derive(Clone, Debug, Default)]
pub struct IndexBatch {
    /// New state of keys; `None` removes.
    pub(super) entries: BTreeMap<BlobKey, Option<Entry>>,
    /// New state of segment rows; `None` removes.
    pub(super) rows: BTreeMap<u64, Option<SegmentRow>>,
    /// New counts of kills; 0 removes.
    pub(super) kills: BTreeMap<Kill, u64>,
}

impl IndexBatch {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.rows.is_empty() && self.kills.is_empty()
    }
}

/// What an index cannot do at the moment, as text: the device goes read-only or rebuilds it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("index: {0}")]
pub struct IndexError(pub(super) String);

/// An ordered map of entries with accounts beside it.
pub trait Index: Send + Sync + 'static {
    /// The entry of a key.
    fn get(&self, key: &BlobKey) -> Result<Option<Entry>, IndexError>;
    /// Up to `limit` entries in key order, from `from`, placement hashes up to and including `until_placement`.
    fn scan(
        &self,
        from: Bound<BlobKey>,
        until_placement: u64,
        limit: usize,
    ) -> Result<Vec<(BlobKey, Entry)>, IndexError>;
    /// All segment rows.
    fn rows(&self) -> Result<BTreeMap<u64, SegmentRow>, IndexError>;
    /// All kill counts.
    fn kills(&self) -> Result<BTreeMap<Kill, u64>, IndexError>;
    /// Applies a batch atomically; with `sync` it and all before it survive a power cut when this returns.
    fn apply(&self, batch: IndexBatch, sync: bool) -> Result<(), IndexError>;
    /// Forgets everything, before a rebuild.
    fn clear(&self) -> Result<(), IndexError>;
}

/// An index in memory that knows synced from unsynced: for crash tests, where RocksDB would only be in the way.
#[derive(Debug, Default)]
pub struct MapIndex {
    state: Mutex<MapState>,
}

#[derive(Debug, Default)]
struct MapState {
    now: Maps,
    durable: Maps,
    unsynced: Vec<IndexBatch>,
}

#[derive(Clone, Debug, Default)]
struct Maps {
    entries: BTreeMap<BlobKey, Entry>,
    rows: BTreeMap<u64, SegmentRow>,
    kills: BTreeMap<Kill, u64>,
}

impl Maps {
    fn apply(&mut self, batch: &IndexBatch) {
        for (key, entry) in &batch.entries {
            match entry {
                Some(entry) => self.entries.insert(*key, *entry),
                None => self.entries.remove(key),
            };
        }
        for (segment, row) in &batch.rows {
            match row {
                Some(row) => self.rows.insert(*segment, *row),
                None => self.rows.remove(segment),
            };
        }
        for (kill, count) in &batch.kills {
            match count {
                0 => self.kills.remove(kill),
                count => self.kills.insert(*kill, *count),
            };
        }
    }
}

impl MapIndex {
    /// What a power cut leaves: everything synced and the first `kept` of the unsynced batches.
    #[must_use]
    pub fn after_power_cut(&self, kept: usize) -> Self {
        let state = self.state.lock();
        let mut durable = state.durable.clone();
        state.unsynced.iter().take(kept).for_each(|batch| durable.apply(batch));
        Self {
            state: Mutex::new(MapState {
                now: durable.clone(),
                durable,
                unsynced: Vec::new(),
            }),
        }
    }

    /// How many batches a power cut may lose.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.state.lock().unsynced.len()
    }
}

impl Index for MapIndex {
    fn get(&self, key: &BlobKey) -> Result<Option<Entry>, IndexError> {
        Ok(self.state.lock().now.entries.get(key).copied())
    }

    fn scan(
        &self,
        from: Bound<BlobKey>,
        until_placement: u64,
        limit: usize,
    ) -> Result<Vec<(BlobKey, Entry)>, IndexError> {
        let state = self.state.lock();
        let rows = state.now.entries.range((from, Bound::Unbounded));
        let rows = rows.take_while(|(key, _)| key.placement <= until_placement).take(limit);
        Ok(rows.map(|(key, entry)| (*key, *entry)).collect())
    }

    fn rows(&self) -> Result<BTreeMap<u64, SegmentRow>, IndexError> {
        Ok(self.state.lock().now.rows.clone())
    }

    fn kills(&self) -> Result<BTreeMap<Kill, u64>, IndexError> {
        Ok(self.state.lock().now.kills.clone())
    }

    fn apply(&self, batch: IndexBatch, sync: bool) -> Result<(), IndexError> {
        let mut state = self.state.lock();
        state.now.apply(&batch);
        state.unsynced.push(batch);
        if sync {
            state.durable = state.now.clone();
            state.unsynced.clear();
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), IndexError> {
        *self.state.lock() = MapState::default();
        Ok(())
    }
}
