//! A store that is slow or broken on demand: the injectable sync delay, and failures for tests. Wraps any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use metadata::rows::Visit;

use super::store::{ReadPurpose, ReadSpaces, RowStore, Space, StoreFailed, WriteSet};

/// How often a held write looks whether it may go on.
const HOLD_POLL: Duration = Duration::from_millis(1);

/// The switches of a [`FaultyStore`], to be turned while it runs.
#[derive(Debug, Default)]
pub struct StoreFaults {
    sync_delay_us: AtomicU64,
    syncs_fail: AtomicBool,
    syncs_begun: AtomicU64,
    rows_held: AtomicBool,
}

impl StoreFaults {
    /// Syncs that take `delay` longer.
    #[must_use]
    pub fn slow(delay: Duration) -> Arc<Self> {
        let faults = Self::default();
        faults.set_sync_delay(delay);
        Arc::new(faults)
    }

    /// Changes the delay.
    pub fn set_sync_delay(&self, delay: Duration) {
        self.sync_delay_us
            .store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// From now on every sync fails, as a dying disk's would.
    pub fn fail_syncs(&self) {
        self.syncs_fail.store(true, Ordering::SeqCst);
    }

    /// Holds every write of rows, as a stalled disk would, or lets them go on; log and votes are written all the same.
    pub fn hold_rows(&self, held: bool) {
        self.rows_held.store(held, Ordering::SeqCst);
    }

    /// How many syncs were begun.
    pub fn syncs_begun(&self) -> u64 {
        self.syncs_begun.load(Ordering::SeqCst)
    }
}

/// A store with [`StoreFaults`].
pub struct FaultyStore {
    inner: Arc<dyn RowStore>,
    faults: Arc<StoreFaults>,
}

impl FaultyStore {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn RowStore>, faults: Arc<StoreFaults>) -> Self {
        Self { inner, faults }
    }
}

impl ReadSpaces for FaultyStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreFailed> {
        self.inner.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreFailed> {
        self.inner.scan(space, from, until, visit)
    }

    fn last(&self, space: Space, from: &[u8], until: &[u8]) -> Result<Option<(Vec<u8>, Bytes)>, StoreFailed> {
        self.inner.last(space, from, until)
    }
}

impl RowStore for FaultyStore {
    fn write(&self, set: &WriteSet) -> Result<(), StoreFailed> {
        let rows = set.rows();
        if rows.iter().any(|row| !matches!(row.space, Space::Log | Space::State)) {
            while self.faults.rows_held.load(Ordering::SeqCst) {
                // The thread that applies waits here, as it would for a disk.
                std::thread::sleep(HOLD_POLL);
            }
        }
        self.inner.write(set)
    }

    fn sync(&self) -> Result<(), StoreFailed> {
        self.faults.syncs_begun.fetch_add(1, Ordering::SeqCst);
        let delay = self.faults.sync_delay_us.load(Ordering::SeqCst);
        if delay > 0 {
            // This is the writer's own thread: a slow disk would hold it just so.
            std::thread::sleep(Duration::from_micros(delay));
        }
        if self.faults.syncs_fail.load(Ordering::SeqCst) {
            return Err(StoreFailed {
                doing: "syncing",
                reason: "injected fault".into(),
            });
        }
        self.inner.sync()
    }

    fn sequence(&self) -> u64 {
        self.inner.sequence()
    }

    fn with_view(&self, purpose: ReadPurpose, read: &mut dyn FnMut(&dyn ReadSpaces)) {
        self.inner.with_view(purpose, read);
    }

    fn drop_range(&self, space: Space, from: &[u8], until: &[u8]) -> Result<(), StoreFailed> {
        self.inner.drop_range(space, from, until)
    }

    fn end_background_work(&self) {
        self.inner.end_background_work();
    }

    fn bytes_between(&self, space: Space, from: &[u8], until: &[u8]) -> u64 {
        self.inner.bytes_between(space, from, until)
    }
}
