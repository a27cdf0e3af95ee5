//! The contract of a device: [`BlobStore`]. The real device, the in-memory one and the fault-injecting wrapper all pass
//! [`super::conformance::conforms`].

use std::ops::{Range, RangeInclusive};

use async_trait::async_trait;
use metadata::model::PolicyId;
use serde::{Deserialize, Serialize};

use super::blob::{Blob, BlobHeader, BlobKey, BlobSlice};
use super::error::DeviceError;

/// The most entries one [`BlobStore::list`] call returns, whatever was asked.
pub const LIST_MAX: usize = 10_000;

/// The most keys one [`BlobStore::remove`] call takes; more are taken in turns.
pub const REMOVE_BATCH: usize = 4_096;

/// Immutable blobs on one device.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Stores a blob and returns only after a sync covers it (DUR-1). Frame CRCs are verified first.
    ///
    /// The same key with the same bytes again is `Ok`; if the copy here is damaged it is replaced, which is how repair
    /// heals. Other bytes under the same key are [`DeviceError::Conflict`]. Dropping the future does not undo the write.
    async fn put(&self, blob: Blob) -> Result<(), DeviceError>;

    /// The whole frames that cover `range`; a range that reaches beyond the end is cut. The record's header and CRC
    /// table are checked here, the payload is not: the last hop calls [`BlobSlice::verify`].
    async fn read(&self, key: BlobKey, range: Range<u32>) -> Result<BlobSlice, DeviceError>;

    /// The same for repair and moves, which want a blob once: it drives nothing out of a cache that clients use.
    async fn read_for_upkeep(&self, key: BlobKey, range: Range<u32>) -> Result<BlobSlice, DeviceError> {
        self.read(key, range).await
    }

    /// The header, from the index: says what is believed to be here, proves nothing about the payload.
    async fn stat(&self, key: BlobKey) -> Result<Option<BlobHeader>, DeviceError>;

    /// Removes blobs; returns after their tombstones are synced. Unknown keys are fine. Only the owner of the metadata
    /// log may call this (DUR-3).
    async fn remove(&self, keys: Vec<BlobKey>) -> Result<(), DeviceError>;

    /// Up to `limit` (at most [`LIST_MAX`]) blobs in key order, behind `after`, with placement hashes up to and
    /// including `until_placement`.
    async fn list(
        &self,
        after: Option<BlobKey>,
        until_placement: u64,
        limit: usize,
    ) -> Result<Vec<(BlobKey, BlobHeader)>, DeviceError>;

    /// Digest of one policy's keys in a range of placement hashes, equal on two devices that hold the same blobs, or
    /// fragments of the same chunks.
    async fn digest(&self, placements: RangeInclusive<u64>, policy: PolicyId) -> Result<Digest, DeviceError>;

    /// Fill, state and counters.
    fn usage(&self) -> Usage;
}

/// What blobs are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client waits for them, and others may want the same.
    Serve,
    /// Repair, moves, scrub and reclaim, which want each once.
    Upkeep,
}

/// What a range of keys holds, whatever the order of arrival. A difference is a question, never an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Number of blobs.
    pub blobs: u64,
    /// Wrapping sum of one 128-bit hash per key, which does not tell the fragments of a chunk apart.
    pub sum: u128,
}

impl Digest {
    /// Adds one key.
    pub fn add(&mut self, key: &BlobKey) {
        let hash = blake3::hash(&key.without_fragment().to_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&hash.as_bytes()[..16]);
        self.blobs += 1;
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(half));
    }
}

/// Whether a device serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceState {
    /// Reads and writes.
    #[default]
    Ok,
    /// Reads only: a write or a sync failed, so its promises are no longer believed.
    ReadOnly,
    /// Nothing: reads fail too, or it was closed.
    Out,
}

/// Fill, state and counters of a device. Counters begin at zero with every open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Whether it serves.
    pub state: DeviceState,
    /// Why it does not.
    pub why: Option<String>,
    /// What the device can hold in bytes, dead ones included.
    pub capacity_bytes: u64,
    /// Bytes of all segments.
    pub used_bytes: u64,
    /// Bytes of records of blobs that live.
    pub live_bytes: u64,
    /// Bytes that reclaim could free.
    pub dead_bytes: u64,
    /// Number of blobs.
    pub blobs: u64,
    /// Number of segments.
    pub segments: u64,
    /// Segments that reclaim leaves alone because something in them is damaged.
    pub blocked_segments: u64,
    /// fdatasync calls on segments since open.
    pub syncs: u64,
    /// Blobs stored since open.
    pub puts: u64,
    /// Blobs removed since open.
    pub removes: u64,
    /// Reads answered since open.
    pub reads: u64,
    /// Damaged records met since open (by reads, scrub, reclaim and recovery).
    pub corrupt_records: u64,
    /// Bytes of torn tail voided by recovery at open: never acknowledged, or reported.
    pub torn_bytes: u64,
}

impl Usage {
    /// How full the device is, in thousandths.
    #[must_use]
    pub fn fill_permille(&self) -> u64 {
        permille(self.used_bytes, self.capacity_bytes)
    }
}

/// `part` of `whole` in thousandths; a device without capacity is full.
#[must_use]
pub fn permille(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 1000;
    }
    u64::try_from(u128::from(part) * 1000 / u128::from(whole)).unwrap_or(u64::MAX)
}
