//! The few file operations a device needs, as a trait, so that tests can own the disk: the real one here, one that
//! loses and tears what was not synced in [`super::memory_disk`], one that fails on demand in [`super::faulty_disk`].
//!
//! A disk is one flat folder. Nothing here retries a failed sync (DUR-4).

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, FlockOperation};

use super::direct::{AlignedBuffer, Cut, Direct, part};

/// The most slices one vectored write may carry (Linux' IOV_MAX).
const SLICES_MAX: usize = 1024;

/// One folder of files.
pub trait Disk: Send + Sync + 'static {
    /// The names in the folder, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes a new file; one that exists is an error. It survives a power cut only after [`Disk::sync_dir`].
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Removes a file. Readers that have it open keep it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations and removals survive a power cut.
    fn sync_dir(&self) -> io::Result<()>;
    /// Bytes the folder's file system can still take.
    fn free_bytes(&self) -> io::Result<u64>;
    /// Takes the folder for this process until the guard is dropped; `WouldBlock` when another one has it.
    fn lock(&self, name: &str) -> io::Result<Box<dyn Send + Sync>>;
}

/// One open file.
pub trait DiskFile: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Up to `len` bytes at `offset`, fewer only at the end of the file.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>>;
    /// The same for bytes that nobody is expected to want again soon: where that can be, they take no place in a cache.
    fn read_once(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.read_at(offset, len).map(Bytes::from)
    }
    /// Writes all slices one after the other, beginning at `offset`.
    fn write_at(&self, offset: u64, slices: &[&[u8]]) -> io::Result<()>;
    /// fdatasync: returns when everything written before is on stable storage.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Makes the file at least `len` bytes long, with zeros that have their place on the disk.
    fn reserve(&self, len: u64) -> io::Result<()>;
}

/// A folder of the operating system's.
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
    buffer: Arc<AlignedBuffer>,
}

impl RealDisk {
    /// Opens a folder, making it when it is missing (its parent must exist).
    pub fn open(dir: &Path) -> io::Result<Self> {
        match std::fs::create_dir(dir) {
            Ok(()) => sync_parent(dir)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            buffer: Arc::default(),
        })
    }

    fn file(&self, file: File, path: PathBuf) -> Arc<dyn DiskFile> {
        Arc::new(RealFile {
            file,
            direct: Direct::new(path),
            buffer: Arc::clone(&self.buffer),
        })
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.dir)?;
        names
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.dir.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        Ok(self.file(file, path))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.dir.join(name);
        let writable = OpenOptions::new().read(true).write(true).open(&path);
        // A file system that was remounted read-only after an error must still be readable.
        let file = match writable {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(&path)?,
            other => other?,
        };
        Ok(self.file(file, path))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.dir.join(name))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }
}

struct RealFile {
    file: File,
    direct: Direct,
    buffer: Arc<AlignedBuffer>,
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        // The kernel fills the spare capacity directly: no zeroing, and normally one call however long the blob.
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            let missing = len - bytes.len();
            let got = if bytes.capacity() - bytes.len() == missing {
                retry_interrupted(|| rustix::io::pread(&self.file, spare_capacity(&mut bytes), at))?
            } else {
                let mut rest = vec![0; missing];
                let got = retry_interrupted(|| rustix::io::pread(&self.file, &mut rest[..], at))?;
                bytes.extend_from_slice(&rest[..got]);
                got
            };
            if got == 0 {
                break;
            }
        }
        Ok(bytes)
    }

    fn read_once(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        match self.direct.read(offset, len)? {
            Some(bytes) => Ok(bytes),
            None => self.read_at(offset, len).map(Bytes::from),
        }
    }

    fn write_at(&self, offset: u64, slices: &[&[u8]]) -> io::Result<()> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        let Some(Cut { head, middle, tail }) = Cut::of(offset, len) else {
            return write_cached(&self.file, offset, slices);
        };
        let at = |position: usize| offset + position as u64;
        write_cached(&self.file, offset, &part(slices, head))?;
        let direct = self
            .direct
            .write(&self.buffer, at(middle.start), slices, middle.clone())?;
        let rest = middle.start + direct..tail.end;
        write_cached(&self.file, at(rest.start), &part(slices, rest))
    }

    fn sync(&self) -> io::Result<()> {
        // Not even an interrupted one is tried again: the kernel reports a lost page once, then calls it clean.
        Ok(rustix::fs::fdatasync(&self.file)?)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len)?)
    }
}

/// Writes through the page cache.
fn write_cached(file: &File, mut offset: u64, slices: &[&[u8]]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
    let mut rest = slices.as_mut_slice();
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let now = &rest[..rest.len().min(SLICES_MAX)];
        let wrote = retry_interrupted(|| rustix::io::pwritev(file, now, offset))?;
        if wrote == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += wrote as u64;
        IoSlice::advance_slices(&mut rest, wrote);
    }
    Ok(())
}

/// A new folder survives a power cut once its parent is synced.
fn sync_parent(dir: &Path) -> io::Result<()> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Calls again only while a signal interrupted the call before it did anything.
fn retry_interrupted<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
