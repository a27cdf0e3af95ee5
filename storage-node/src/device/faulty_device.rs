//! A device that fails, answers slowly or serves rot on demand, around any other: for tests of what stands above.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metadata::model::PolicyId;
use parking_lot::Mutex;

use super::blob::{Blob, BlobHeader, BlobKey, BlobSlice};
use super::error::DeviceError;
use super::store::{BlobStore, DeviceState, Digest, Usage};

/// A store of blobs with faults. Without any it behaves as the one inside.
pub struct FaultyDevice {
    inner: Arc<dyn BlobStore>,
    faults: Mutex<Faults>,
}

#[derive(Clone, Default)]
struct Faults {
    writes: Option<DeviceError>,
    reads: Option<DeviceError>,
    rot: bool,
    delay: Option<Duration>,
}

impl FaultyDevice {
    /// Wraps a store.
    #[must_use]
    pub fn new(inner: Arc<dyn BlobStore>) -> Self {
        Self {
            inner,
            faults: Mutex::default(),
        }
    }

    /// Puts and removes fail with this error, or work again.
    pub fn fail_writes(&self, error: Option<DeviceError>) {
        self.faults.lock().writes = error;
    }

    /// Reads, stats, lists and digests fail with this error, or work again.
    pub fn fail_reads(&self, error: Option<DeviceError>) {
        self.faults.lock().reads = error;
    }

    /// Reads serve payloads with one flipped bit, which only `verify` can notice.
    pub fn rot_reads(&self, rot: bool) {
        self.faults.lock().rot = rot;
    }

    /// Everything takes this much longer (tokio's time).
    pub fn delay(&self, delay: Option<Duration>) {
        self.faults.lock().delay = delay;
    }

    async fn before_write(&self) -> Result<(), DeviceError> {
        let faults = self.faults.lock().clone();
        wait(faults.delay).await;
        faults.writes.map_or(Ok(()), Err)
    }

    async fn before_read(&self) -> Result<bool, DeviceError> {
        let faults = self.faults.lock().clone();
        wait(faults.delay).await;
        faults.reads.map_or(Ok(faults.rot), Err)
    }
}

async fn wait(delay: Option<Duration>) {
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
}

#[async_trait]
impl BlobStore for FaultyDevice {
    async fn put(&self, blob: Blob) -> Result<(), DeviceError> {
        self.before_write().await?;
        self.inner.put(blob).await
    }

    async fn read(&self, key: BlobKey, range: Range<u32>) -> Result<BlobSlice, DeviceError> {
        let rot = self.before_read().await?;
        let mut slice = self.inner.read(key, range).await?;
        if rot && !slice.payload.is_empty() {
            let mut bytes = slice.payload.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            slice.payload = bytes.into();
        }
        Ok(slice)
    }

    async fn stat(&self, key: BlobKey) -> Result<Option<BlobHeader>, DeviceError> {
        self.before_read().await?;
        self.inner.stat(key).await
    }

    async fn remove(&self, keys: Vec<BlobKey>) -> Result<(), DeviceError> {
        self.before_write().await?;
        self.inner.remove(keys).await
    }

    async fn list(
        &self,
        after: Option<BlobKey>,
        until_placement: u64,
        limit: usize,
    ) -> Result<Vec<(BlobKey, BlobHeader)>, DeviceError> {
        self.before_read().await?;
        self.inner.list(after, until_placement, limit).await
    }

    async fn digest(&self, placements: RangeInclusive<u64>, policy: PolicyId) -> Result<Digest, DeviceError> {
        self.before_read().await?;
        self.inner.digest(placements, policy).await
    }

    fn usage(&self) -> Usage {
        let mut usage = self.inner.usage();
        if matches!(self.faults.lock().writes, Some(DeviceError::ReadOnly(_))) {
            usage.state = DeviceState::ReadOnly;
        }
        usage
    }
}
