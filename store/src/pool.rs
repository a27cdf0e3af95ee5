//! Named pools of memory: whoever holds bytes of a body holds a share of a pool (MEM-1).
//!
//! A pool is fair: waiters are served in the order they came, so that a large request is not overtaken for ever.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::StoreError;
use crate::metrics::{POOL_REFUSALS, POOL_USED_BYTES};

/// Shares are counted in units of this many bytes.
const UNIT_BYTES: usize = 4096;

/// A bounded amount of memory. Clones are the same pool.
#[derive(Clone, Debug)]
pub(crate) struct BytePool {
    name: &'static str,
    units: u32,
    free: Arc<Semaphore>,
}

/// A share of a pool; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    pool: BytePool,
    permit: Option<OwnedSemaphorePermit>,
}

impl BytePool {
    pub(crate) fn new(name: &'static str, bytes: usize) -> Self {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let units = (bytes / UNIT_BYTES).clamp(1, most);
        let pool = Self {
            name,
            units: units as u32,
            free: Arc::new(Semaphore::new(units)),
        };
        pool.show();
        pool
    }

    /// Waits at most `wait` for a share of `bytes`. A share larger than the pool is the whole pool.
    pub(crate) async fn acquire(&self, bytes: usize, wait: Duration) -> Result<Share, StoreError> {
        if let Some(share) = self.try_acquire(bytes) {
            return Ok(share);
        }
        let waiting = self.free.clone().acquire_many_owned(self.units_of(bytes));
        match tokio::time::timeout(wait, waiting).await {
            Ok(Ok(permit)) => Ok(self.share(permit)),
            // The semaphore is never closed, so the other case is the end of the wait.
            _ => {
                metrics::counter!(POOL_REFUSALS, "pool" => self.name).increment(1);
                Err(StoreError::SlowDown)
            }
        }
    }

    /// A share of `bytes` if it is free now and nobody waits for it.
    pub(crate) fn try_acquire(&self, bytes: usize) -> Option<Share> {
        let permit = self.free.clone().try_acquire_many_owned(self.units_of(bytes)).ok()?;
        Some(self.share(permit))
    }

    /// Bytes in use now.
    pub(crate) fn used_bytes(&self) -> usize {
        (self.units as usize).saturating_sub(self.free.available_permits()) * UNIT_BYTES
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .min(self.units)
    }

    fn share(&self, permit: OwnedSemaphorePermit) -> Share {
        debug_assert!(
            permit.num_permits() <= self.units as usize,
            "MEM-1: a share fits its pool"
        );
        self.show();
        Share {
            pool: self.clone(),
            permit: Some(permit),
        }
    }

    fn show(&self) {
        metrics::gauge!(POOL_USED_BYTES, "pool" => self.name).set(self.used_bytes() as f64);
    }
}

impl Share {
    /// Gives back what is more than `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let keep = self.pool.units_of(bytes) as usize;
        if let Some(permit) = &mut self.permit
            && permit.num_permits() > keep
        {
            drop(permit.split(permit.num_permits() - keep));
            self.pool.show();
        }
    }

    /// The same bytes, which give the share back when the last reference to them is dropped.
    pub(crate) fn attach(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _share: self })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.permit = None;
        self.pool.show();
    }
}

struct Held {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn mem_1_a_full_pool_refuses_after_the_wait() {
        let pool = BytePool::new("test", 8 * UNIT_BYTES);
        let held = pool.acquire(8 * UNIT_BYTES, Duration::ZERO).await.unwrap();
        assert_eq!(
            pool.acquire(1, Duration::from_secs(1)).await.unwrap_err(),
            StoreError::SlowDown
        );
        drop(held);
        assert!(pool.acquire(1, Duration::from_secs(1)).await.is_ok());
        assert_eq!(pool.used_bytes(), 0);
    }

    #[tokio::test]
    async fn a_share_larger_than_the_pool_is_the_whole_pool() {
        let pool = BytePool::new("test", 2 * UNIT_BYTES);
        let share = pool.acquire(100 * UNIT_BYTES, Duration::ZERO).await.unwrap();
        assert_eq!(pool.used_bytes(), 2 * UNIT_BYTES);
        drop(share);
        assert_eq!(pool.used_bytes(), 0);
    }

    #[tokio::test]
    async fn a_share_shrinks_and_ends_with_its_bytes() {
        let pool = BytePool::new("test", 8 * UNIT_BYTES);
        let mut share = pool.acquire(8 * UNIT_BYTES, Duration::ZERO).await.unwrap();
        share.shrink(UNIT_BYTES + 1);
        assert_eq!(pool.used_bytes(), 2 * UNIT_BYTES);
        let bytes = share.attach(Bytes::from_static(b"halo"));
        let part = bytes.slice(1..3);
        drop(bytes);
        assert_eq!((&part[..], pool.used_bytes()), (&b"al"[..], 2 * UNIT_BYTES));
        drop(part);
        assert_eq!(pool.used_bytes(), 0);
    }
}
