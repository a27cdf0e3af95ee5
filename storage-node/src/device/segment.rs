//! Open segment files: a bounded cache of handles, reading one blob from its record, searching a region for records.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use metadata::ids::ClusterId;
use quick_cache::sync::Cache;

use super::blob::{BlobFault, BlobKey, BlobSlice, FRAME_BYTES, FRAMES_MAX, frames_of};
use super::disk::{Disk, DiskFile};
use super::error::DeviceError;
use super::index::Entry;
use super::record::{
    HEAD_AND_TABLE_MAX, HEAD_BYTES, HEADER_BYTES, Identity, Kind, Place, Record, SegmentHeader, file_name,
};
use super::store::Purpose;

/// Segment files kept open at once.
const FILES_OPEN_MAX: usize = 512;
/// Bytes read ahead while searching for records.
const WINDOW_BYTES: usize = 128 * 1024;
/// Unreadable places in one segment after which the disk is given up.
const READ_FAILURES_MAX: u32 = 64;

/// One segment, open.
pub(super) struct SegmentFile {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) header: SegmentHeader,
    /// One of the header's two copies is damaged.
    pub(super) header_damaged: bool,
}

/// What opening a segment found.
pub(super) enum Opened {
    Fine(SegmentFile),
    /// Neither copy of the header can be read; the file has this many bytes.
    NoHeader(u64),
}

impl SegmentFile {
    pub(super) fn open(disk: &dyn Disk, segment: u64) -> io::Result<Opened> {
        let file = disk.open(&file_name(segment))?;
        let bytes = file.read_at(0, HEADER_BYTES as usize)?;
        match SegmentHeader::decode(&bytes) {
            Some((header, header_damaged)) => Ok(Opened::Fine(Self {
                file,
                header,
                header_damaged,
            })),
            None => Ok(Opened::NoHeader(file.len()?)),
        }
    }

    /// Reads the frames that cover `span` (whole frames) of the blob that `entry` points at, and checks the record's
    /// head and CRC table. From the first frame on it is one read of the disk and no copy.
    pub(super) fn read(
        &self,
        key: BlobKey,
        entry: &Entry,
        span: Range<u32>,
        purpose: Purpose,
    ) -> Result<BlobSlice, DeviceError> {
        let bytes = |offset, len| {
            let read = match purpose {
                Purpose::Serve => self.file.read_at(offset, len).map(Bytes::from),
                Purpose::Upkeep => self.file.read_once(offset, len),
            };
            read.map_err(|error| DeviceError::io("reading a segment", &error))
        };
        let head_len = HEAD_BYTES + 4 * frames_of(entry.header.len);
        let at = u64::from(entry.place.offset);
        let (head, payload) = if span.start == 0 {
            let all = bytes(at, head_len + span.end as usize)?;
            (
                all.slice(..head_len.min(all.len())),
                all.slice(head_len.min(all.len())..),
            )
        } else {
            let head = bytes(at, head_len)?;
            let from = at + head_len as u64 + u64::from(span.start);
            (head, bytes(from, span.len())?)
        };
        let record = Record::decode(&head, entry.place, &self.header.salt, entry.header.cluster);
        let Some(Record {
            kind: Kind::Blob { key: found, header },
            mut frame_crcs,
            ..
        }) = record
        else {
            return Err(DeviceError::Corrupt("the record's head does not verify".into()));
        };
        if found != key || header.len != entry.header.len {
            return Err(DeviceError::Corrupt("another blob's record lies here".into()));
        }
        if payload.len() != span.len() {
            return Err(DeviceError::Corrupt("the segment ends inside the blob".into()));
        }
        let first_frame = span.start / FRAME_BYTES as u32;
        frame_crcs.drain(..first_frame as usize);
        frame_crcs.truncate(frames_of(span.len() as u32).min(FRAMES_MAX));
        Ok(BlobSlice {
            key,
            header,
            first_frame,
            frame_crcs,
            payload,
        })
    }

    /// Reads a whole blob and checks every frame and the BLAKE3 of all (INT-1).
    pub(super) fn read_verified(&self, key: BlobKey, entry: &Entry) -> Result<BlobSlice, DeviceError> {
        let slice = self.read(key, entry, 0..entry.header.len, Purpose::Upkeep)?;
        let corrupt = |fault: BlobFault| DeviceError::Corrupt(fault.to_string());
        slice.verify().map_err(corrupt)?;
        if *blake3::hash(&slice.payload).as_bytes() != slice.header.blake3 {
            return Err(DeviceError::Corrupt("the payload does not match its hash".into()));
        }
        Ok(slice)
    }
}

/// Open segments, by number, the least used closed first.
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    identity: Identity,
    open: Cache<u64, Arc<SegmentFile>>,
}

impl Files {
    pub(super) fn new(disk: Arc<dyn Disk>, identity: Identity) -> Self {
        Self {
            disk,
            identity,
            open: Cache::new(FILES_OPEN_MAX),
        }
    }

    /// The open segment; `NotFound` when reclaim deleted it meanwhile.
    pub(super) fn get(&self, segment: u64) -> Result<Arc<SegmentFile>, DeviceError> {
        self.open.get_or_insert_with(&segment, || self.open_segment(segment))
    }

    pub(super) fn insert(&self, segment: u64, file: Arc<SegmentFile>) {
        self.open.insert(segment, file);
    }

    pub(super) fn forget(&self, segment: u64) {
        self.open.remove(&segment);
    }

    fn open_segment(&self, segment: u64) -> Result<Arc<SegmentFile>, DeviceError> {
        match SegmentFile::open(&*self.disk, segment) {
            Ok(Opened::Fine(file)) if file.header.identity == self.identity && file.header.segment == segment => {
                Ok(Arc::new(file))
            }
            Ok(_) => Err(DeviceError::Corrupt("the segment's header does not verify".into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DeviceError::NotFound),
            Err(error) => Err(DeviceError::io("opening a segment", &error)),
        }
    }
}

/// What a search of a segment meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A right record; its payload is not checked.
    Record(Record),
    /// No record begins in these bytes, though one should.
    Gap(Range<u32>),
}

/// Walks a segment record by record. Where a record does not verify it tries every offset a record may begin at, so
/// that one damaged record does not hide those behind it.
pub(super) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    salt: &'a [u8; 32],
    segment: u64,
    cluster: ClusterId,
    at: u32,
    end: u32,
    window_at: u32,
    window: Vec<u8>,
    failures: u32,
}

impl<'a> Scanner<'a> {
    /// Walks `range` of a segment; its start must be the beginning of a record.
    pub(super) fn new(segment: &'a SegmentFile, range: Range<u32>) -> Self {
        Self {
            file: &*segment.file,
            salt: &segment.header.salt,
            segment: segment.header.segment,
            cluster: segment.header.identity.cluster,
            at: range.start,
            end: range.end,
            window_at: 0,
            window: Vec::new(),
            failures: 0,
        }
    }

    /// The next record or gap; `None` at the end.
    pub(super) fn step(&mut self) -> io::Result<Option<Found>> {
        let start = self.at;
        while self.at < self.end {
            if let Some(record) = self.record_here()? {
                if self.at > start {
                    return Ok(Some(Found::Gap(start..self.at)));
                }
                self.at = self.at.saturating_add(record.disk_bytes()).min(self.end);
                return Ok(Some(Found::Record(record)));
            }
            self.at = self.at.saturating_add(HEAD_BYTES as u32).min(self.end);
        }
        Ok((start < self.end).then_some(Found::Gap(start..self.end)))
    }

    fn record_here(&mut self) -> io::Result<Option<Record>> {
        let place = Place {
            segment: self.segment,
            offset: self.at,
        };
        let (salt, cluster) = (self.salt, self.cluster);
        let record = Record::decode(self.bytes_here()?, place, salt, cluster);
        // A payload that the file does not hold whole is no record; missing padding is harmless.
        Ok(record.filter(|record| match &record.kind {
            Kind::Blob { header, .. } => {
                u64::from(self.at) + u64::from(record.payload_start()) + u64::from(header.len) <= u64::from(self.end)
            }
            _ => true,
        }))
    }

    /// Enough bytes for a head and its table, fewer at the end of the file, none where the disk cannot read.
    fn bytes_here(&mut self) -> io::Result<&[u8]> {
        let missing = (self.end - self.at).min(HEAD_AND_TABLE_MAX as u32);
        let inside = self.at >= self.window_at
            && u64::from(self.at) + u64::from(missing) <= u64::from(self.window_at) + self.window.len() as u64;
        if !inside {
            let len = WINDOW_BYTES.min((self.end - self.at) as usize);
            let read = self.file.read_at(self.at.into(), len);
            let read = read.or_else(|_| self.file.read_at(self.at.into(), missing as usize));
            self.window_at = self.at;
            self.window = match read {
                Ok(bytes) => bytes,
                Err(error) if self.failures >= READ_FAILURES_MAX => return Err(error),
                Err(_) => {
                    self.failures += 1;
                    vec![0; missing as usize]
                }
            };
        }
        let from = (self.at - self.window_at) as usize;
        let until = (from + missing as usize).min(self.window.len());
        Ok(&self.window[from.min(until)..until])
    }
}

/// The entry that would point at a blob record.
pub(super) fn entry_of(record: &Record) -> Option<(BlobKey, Entry)> {
    match &record.kind {
        Kind::Blob { key, header } => Some((
            *key,
            Entry {
                place: record.place,
                seq: record.seq,
                header: *header,
            },
        )),
        _ => None,
    }
}
