//! Values of rows that only this crate sees; those the outside knows are in [`crate::model`].

use serde::{Deserialize, Serialize};

use crate::ids::{BucketId, DeviceId, Seq};
use crate::model::{Key, Totals, UploadRow};

/// The shard's counters: a row of `meta`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Shard time: the largest stamp seen, milliseconds since the Unix epoch.
    pub(crate) time_ms: u64,
    /// The next version's sort position.
    pub(crate) next_seq: u64,
    /// The next bucket's id (system shard).
    pub(crate) next_bucket: u64,
    /// The version last given to a record (system shard); shared by all records, so that a record deleted and made
    /// again never repeats a version.
    pub(crate) record_version: u64,
    /// Chunks in the `short` queue.
    pub(crate) short_chunks: u64,
    /// Those of them without any known copy.
    pub(crate) lost_chunks: u64,
    /// Rows of `refs`.
    pub(crate) streams: u64,
    /// Entries of `reclaim`.
    pub(crate) reclaim_streams: u64,
    /// Sum over the shard's buckets.
    pub(crate) totals: Totals,
    /// Where the next purge of `requests` begins: everything before is gone, and never read again, so that a purge does
    /// not step over the tombstones of earlier ones.
    pub(crate) requests_floor: Vec<u8>,
    /// The same for `condemned`.
    pub(crate) condemned_floor: Vec<u8>,
    /// The same for completed uploads by age.
    pub(crate) completed_floor: Vec<u8>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            time_ms: 0,
            next_seq: 1,
            next_bucket: 1,
            record_version: 0,
            short_chunks: 0,
            lost_chunks: 0,
            streams: 0,
            reclaim_streams: 0,
            totals: Totals::default(),
            requests_floor: Vec::new(),
            condemned_floor: Vec::new(),
            completed_floor: Vec::new(),
        }
    }
}

/// A row of `nulls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NullRow {
    /// Which row of `versions` is the null version.
    pub(crate) seq: Seq,
}

/// A completed upload, found by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CompletedRow {
    pub(crate) bucket: BucketId,
    pub(crate) key: Key,
    pub(crate) upload: UploadRow,
}

/// Short chunks in the order of urgency; the name holds copies, stream and first chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShortRow {
    pub(crate) count: u32,
    pub(crate) devices: Vec<DeviceId>,
}
