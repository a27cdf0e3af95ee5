//! Large appends, and large reads for upkeep, past the page cache.
//!
//! Nobody reads a chunk right after it was written, so its copy in the page cache only costs: a fresh page for every
//! 4 KiB, and on a virtual machine a fault in the host for each of them. One large write is cut in three:
//!
//! ```text
//!      offset                                      end
//! ------|------|--------------------------------|---|------
//!         head   middle: whole blocks, O_DIRECT  tail
//!         cached from one aligned buffer         cached
//! ```
//! No byte is written twice, and a write promises no more than a cached one: nothing of it counts before the sync that
//! follows (DUR-4). Where a file system refuses, all of it goes through the cache.
//!
//! What repair, scrub and reclaim read is not wanted again soon either; through the cache it would drive out what clients
//! read. It is read in whole blocks around the bytes asked for.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::OFlags;

/// Offsets, lengths and addresses of direct writes are multiples of this: no disk has larger logical blocks, and no
/// page is shared between a direct and a cached write.
pub(super) const BLOCK_BYTES: usize = 4096;
/// Shorter writes go through the page cache: there one write is cheaper than three.
pub(super) const DIRECT_BYTES_MIN: usize = 128 * 1024;
/// Bytes of one direct write, and of the buffer it is made from (MEM-1: one per open folder).
const BUFFER_BYTES: usize = 1024 * 1024;

/// The memory that direct writes of one folder are made from.
#[derive(Debug, Default)]
pub(super) struct AlignedBuffer(Mutex<Vec<u8>>);

/// The second, direct door to a file.
#[derive(Debug)]
pub(super) struct Direct {
    path: PathBuf,
    file: OnceLock<Option<File>>,
    /// The file system opened the file so, but then did not write.
    refused: AtomicBool,
}

/// A write, cut.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) head: Range<usize>,
    pub(super) middle: Range<usize>,
    pub(super) tail: Range<usize>,
}

impl Cut {
    /// Cuts `len` bytes that go to `offset`; `None` when they are too few.
    pub(super) fn of(offset: u64, len: usize) -> Option<Self> {
        if len < DIRECT_BYTES_MIN {
            return None;
        }
        let start = usize::try_from(offset.next_multiple_of(BLOCK_BYTES as u64) - offset).ok()?;
        let whole_blocks = (len - start) / BLOCK_BYTES * BLOCK_BYTES;
        let end = start + whole_blocks;
        Some(Self {
            head: 0..start,
            middle: start..end,
            tail: end..len,
        })
    }
}

impl Direct {
    /// For the file at `path`, which is opened again only when something large is written.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: OnceLock::new(),
            refused: AtomicBool::new(false),
        }
    }

    fn file(&self) -> Option<&File> {
        let open = || {
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .custom_flags(OFlags::DIRECT.bits().cast_signed());
            options.open(&self.path).ok()
        };
        let file = self.file.get_or_init(open).as_ref();
        file.filter(|_| !self.refused.load(Ordering::Relaxed))
    }

    /// Writes `range` of the concatenated `slices`, whose first byte goes to `offset`. Offset and range are whole
    /// blocks. Returns how many bytes of it were written before the file system refused to write so.
    pub(super) fn write(
        &self,
        buffer: &AlignedBuffer,
        mut offset: u64,
        slices: &[&[u8]],
        range: Range<usize>,
    ) -> io::Result<usize> {
        let Some(file) = self.file() else { return Ok(0) };
        let mut buffer = buffer.0.lock();
        buffer.resize(BUFFER_BYTES + BLOCK_BYTES, 0);
        let aligned = buffer.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        let buffer = &mut buffer[aligned..aligned + BUFFER_BYTES];
        let mut source = Source::new(slices, range.start);
        let mut done = 0;
        while done < range.len() {
            let len = BUFFER_BYTES.min(range.len() - done);
            source.fill(&mut buffer[..len]);
            match write_blocks(file, offset, &buffer[..len])? {
                Blocks::Written => {}
                Blocks::Refused => {
                    self.refused.store(true, Ordering::Relaxed);
                    return Ok(done);
                }
            }
            offset += len as u64;
            done += len;
        }
        Ok(done)
    }

    /// Reads `len` bytes at `offset`, fewer only at the end of the file; `None` when they are too few, or the file system
    /// refuses.
    pub(super) fn read(&self, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
        if len < DIRECT_BYTES_MIN {
            return Ok(None);
        }
        let Some(file) = self.file() else { return Ok(None) };
        let block = BLOCK_BYTES as u64;
        let start = offset / block * block;
        let skip = (offset - start) as usize;
        let whole = (skip + len).next_multiple_of(BLOCK_BYTES);
        let mut bytes = vec![0; whole + BLOCK_BYTES];
        let aligned = bytes.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        let Some(got) = read_blocks(file, start, &mut bytes[aligned..aligned + whole])? else {
            self.refused.store(true, Ordering::Relaxed);
            return Ok(None);
        };
        let wanted = got.saturating_sub(skip).min(len);
        let from = aligned + skip.min(got);
        Ok(Some(Bytes::from(bytes).slice(from..from + wanted)))
    }
}

/// Reads up to the end of the blocks or of the file; `None` where the file system refuses to read so.
fn read_blocks(file: &File, offset: u64, blocks: &mut [u8]) -> io::Result<Option<usize>> {
    let mut done = 0;
    while done < blocks.len() {
        match rustix::io::pread(file, &mut blocks[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(rustix::io::Errno::INTR) => continue,
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Only the end of the file is no whole block.
        if !done.is_multiple_of(BLOCK_BYTES) {
            break;
        }
    }
    Ok(Some(done))
}

enum Blocks {
    Written,
    /// Some of it may be written; all of it has to be written again another way.
    Refused,
}

fn write_blocks(file: &File, mut offset: u64, mut blocks: &[u8]) -> io::Result<Blocks> {
    while !blocks.is_empty() {
        match rustix::io::pwrite(file, blocks, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            // The rest of a write that ended inside a block is no longer aligned.
            Ok(wrote) if !wrote.is_multiple_of(BLOCK_BYTES) => return Ok(Blocks::Refused),
            Ok(wrote) => {
                offset += wrote as u64;
                blocks = &blocks[wrote..];
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => return Ok(Blocks::Refused),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Blocks::Written)
}

/// Copies the concatenation of slices out, front to back.
struct Source<'a> {
    slices: &'a [&'a [u8]],
    /// What is left of the slice before `slices`.
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    fn new(slices: &'a [&'a [u8]], skip: usize) -> Self {
        let mut source = Self { slices, rest: &[] };
        let mut left = skip;
        while left > 0 && source.refill() {
            let take = left.min(source.rest.len());
            source.rest = &source.rest[take..];
            left -= take;
        }
        source
    }

    fn refill(&mut self) -> bool {
        while self.rest.is_empty() {
            let Some((first, others)) = self.slices.split_first() else {
                return false;
            };
            (self.rest, self.slices) = (first, others);
        }
        true
    }

    fn fill(&mut self, mut buffer: &mut [u8]) {
        while !buffer.is_empty() && self.refill() {
            let take = buffer.len().min(self.rest.len());
            let (now, later) = self.rest.split_at(take);
            buffer[..take].copy_from_slice(now);
            self.rest = later;
            buffer = &mut buffer[take..];
        }
    }
}

/// The parts of `slices` that make up `range` of their concatenation.
pub(super) fn part<'a>(slices: &[&'a [u8]], range: Range<usize>) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut at = 0;
    for slice in slices {
        let start = range.start.clamp(at, at + slice.len()) - at;
        let end = range.end.clamp(at, at + slice.len()) - at;
        if start < end {
            parts.push(&slice[start..end]);
        }
        at += slice.len();
    }
    parts
}

#[cfg(test)]
mod tests;
