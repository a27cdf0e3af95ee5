//! A disk that is slow or fails on demand, around any other: for tests, and for measuring what a slow sync costs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};

/// The faults of one disk; shared with the test that turns them on and off.
#[derive(Debug, Default)]
pub struct DiskFaults {
    /// Every sync of a file takes at least this many microseconds longer.
    pub sync_delay_us: AtomicU64,
    /// Syncs of files fail.
    pub fail_syncs: AtomicBool,
    /// Writes fail with an I/O error.
    pub fail_writes: AtomicBool,
    /// Writes find no space.
    pub no_space: AtomicBool,
    /// Reads fail with an I/O error.
    pub fail_reads: AtomicBool,
    /// Syncs do not return while somebody else holds this.
    pub hang: Mutex<()>,
    /// Syncs begun, failed ones included.
    pub syncs: AtomicU64,
}

/// A disk with [`DiskFaults`].
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    faults: Arc<DiskFaults>,
}

impl FaultyDisk {
    /// Wraps a disk.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>, faults: Arc<DiskFaults>) -> Self {
        Self { inner, faults }
    }

    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile {
            inner: file,
            faults: Arc::clone(&self.faults),
        })
    }
}

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.inner.open(name)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Send + Sync>> {
        self.inner.lock(name)
    }
}

struct FaultyFile {
    inner: Arc<dyn DiskFile>,
    faults: Arc<DiskFaults>,
}

fn io_error() -> io::Error {
    io::Error::other("input/output error")
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if self.faults.fail_reads.load(Ordering::Relaxed) {
            return Err(io_error());
        }
        self.inner.read_at(offset, len)
    }

    fn write_at(&self, offset: u64, slices: &[&[u8]]) -> io::Result<()> {
        if self.faults.fail_writes.load(Ordering::Relaxed) {
            return Err(io_error());
        }
        if self.faults.no_space.load(Ordering::Relaxed) {
            // A full disk takes the beginning.
            self.inner.write_at(offset, &slices[..slices.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.write_at(offset, slices)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::Relaxed);
        let delay = self.faults.sync_delay_us.load(Ordering::Relaxed);
        if delay > 0 {
            std::thread::sleep(Duration::from_micros(delay));
        }
        drop(self.faults.hang.lock());
        if self.faults.fail_syncs.load(Ordering::Relaxed) {
            return Err(io_error());
        }
        self.inner.sync()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.inner.reserve(len)
    }
}
