//! A device in memory: the small reference model that the real one is compared with, and a stand-in for tests above.
//! It keeps nothing across a restart and is no part of the product.

use std::collections::BTreeMap;
use std::ops::{Bound, Range, RangeInclusive};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use metadata::ids::ClusterId;
use metadata::model::PolicyId;
use parking_lot::Mutex;

use super::blob::{Blob, BlobHeader, BlobKey, BlobSlice, FRAME_BYTES, frame_span};
use super::error::DeviceError;
use super::store::{BlobStore, Digest, LIST_MAX, Usage};

/// Blobs in an ordered map.
#[derive(Debug)]
pub struct MemoryDevice {
    cluster: ClusterId,
    capacity_bytes: u64,
    blobs: Mutex<BTreeMap<BlobKey, Stored>>,
    puts: AtomicU64,
    removes: AtomicU64,
    reads: AtomicU64,
}

#[derive(Debug)]
struct Stored {
    header: BlobHeader,
    frame_crcs: Vec<u32>,
    payload: Bytes,
}

impl MemoryDevice {
    /// An empty device of `cluster` that takes `capacity_bytes` of payload.
    #[must_use]
    pub fn new(cluster: ClusterId, capacity_bytes: u64) -> Self {
        Self {
            cluster,
            capacity_bytes,
            blobs: Mutex::default(),
            puts: AtomicU64::new(0),
            removes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        }
    }

    /// Flips one bit of a stored payload, to see who notices.
    pub fn flip(&self, key: &BlobKey, byte: usize) {
        if let Some(stored) = self.blobs.lock().get_mut(key) {
            let mut bytes = stored.payload.to_vec();
            bytes[byte] ^= 1;
            stored.payload = bytes.into();
        }
    }

    fn used(blobs: &BTreeMap<BlobKey, Stored>) -> u64 {
        blobs.values().map(|stored| stored.payload.len() as u64).sum()
    }
}

#[async_trait]
impl BlobStore for MemoryDevice {
    async fn put(&self, blob: Blob) -> Result<(), DeviceError> {
        blob.check()?;
        if blob.header.cluster != self.cluster {
            return Err(DeviceError::ForeignCluster);
        }
        let mut blobs = self.blobs.lock();
        if let Some(old) = blobs.get(&blob.key) {
            if (old.header.blake3, old.header.len) != (blob.header.blake3, blob.header.len) {
                return Err(DeviceError::Conflict);
            }
        } else if Self::used(&blobs) + blob.payload.len() as u64 > self.capacity_bytes {
            return Err(DeviceError::Full);
        }
        let payload = Bytes::from(blob.payload.to_bytes().to_vec());
        blobs.insert(
            blob.key,
            Stored {
                header: blob.header,
                frame_crcs: blob.frame_crcs,
                payload,
            },
        );
        self.puts.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn read(&self, key: BlobKey, range: Range<u32>) -> Result<BlobSlice, DeviceError> {
        let blobs = self.blobs.lock();
        let stored = blobs.get(&key).ok_or(DeviceError::NotFound)?;
        let span = frame_span(stored.header.len, &range).ok_or(DeviceError::Range)?;
        let bytes = span.start as usize..span.end as usize;
        let frames = bytes.start / FRAME_BYTES..bytes.end.div_ceil(FRAME_BYTES);
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(BlobSlice {
            key,
            header: stored.header,
            first_frame: frames.start as u32,
            frame_crcs: stored.frame_crcs[frames].to_vec(),
            payload: stored.payload.slice(bytes),
        })
    }

    async fn stat(&self, key: BlobKey) -> Result<Option<BlobHeader>, DeviceError> {
        Ok(self.blobs.lock().get(&key).map(|stored| stored.header))
    }

    async fn remove(&self, keys: Vec<BlobKey>) -> Result<(), DeviceError> {
        let mut blobs = self.blobs.lock();
        let removed = keys.iter().filter(|key| blobs.remove(key).is_some()).count();
        self.removes.fetch_add(removed as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn list(
        &self,
        after: Option<BlobKey>,
        until_placement: u64,
        limit: usize,
    ) -> Result<Vec<(BlobKey, BlobHeader)>, DeviceError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let blobs = self.blobs.lock();
        let rows = blobs
            .range((from, Bound::Unbounded))
            .take_while(|(key, _)| key.placement <= until_placement);
        Ok(rows
            .take(limit.min(LIST_MAX))
            .map(|(key, stored)| (*key, stored.header))
            .collect())
    }

    async fn digest(&self, placements: RangeInclusive<u64>, policy: PolicyId) -> Result<Digest, DeviceError> {
        let mut digest = Digest::default();
        self.blobs
            .lock()
            .keys()
            .filter(|key| placements.contains(&key.placement) && key.id.policy() == policy)
            .for_each(|key| digest.add(key));
        Ok(digest)
    }

    fn usage(&self) -> Usage {
        let blobs = self.blobs.lock();
        let used = Self::used(&blobs);
        Usage {
            capacity_bytes: self.capacity_bytes,
            used_bytes: used,
            live_bytes: used,
            blobs: blobs.len() as u64,
            puts: self.puts.load(Ordering::Relaxed),
            removes: self.removes.load(Ordering::Relaxed),
            reads: self.reads.load(Ordering::Relaxed),
            ..Usage::default()
        }
    }
}
