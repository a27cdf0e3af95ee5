//! What readers, the writer and reclaim of one device share: index, open files, books, state, counters. Reading, and
//! scrubbing, happen here; everything that changes the segments is in [`super::writer`].
//!
//! All calls block: [`super::disk_device`] keeps them off the async threads.

use std::collections::BTreeMap;
use std::ops::{Bound, Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clock::{Dice, WallClock};
use metadata::model::PolicyId;
use parking_lot::{Mutex, RwLock};

use super::accounts::Accounts;
use super::blob::{BlobHeader, BlobKey, BlobSlice, frame_span};
use super::disk::Disk;
use super::error::DeviceError;
use super::index::{Entry, Index, IndexError};
use super::options::DeviceOptions;
use super::record::Identity;
use super::segment::Files;
use super::store::{DeviceState, Digest, LIST_MAX, Purpose, Usage};

/// Times a read looks the blob up again because reclaim moved it away meanwhile.
const LOOKUPS_MAX: usize = 4;
/// Reads that fail one after the other before the device counts as out.
const READ_FAILURES_MAX: u64 = 16;
/// Index entries fetched at once while a digest is computed.
const DIGEST_BATCH: usize = 4096;

/// The parts of a device that a test may own.
#[derive(Clone)]
pub struct Parts {
    /// Where the segments lie.
    pub disk: Arc<dyn Disk>,
    /// The cache of them.
    pub index: Arc<dyn Index>,
    /// Stamps new segments.
    pub clock: Arc<dyn WallClock>,
    /// Draws the salts of new segments.
    pub dice: Arc<dyn Dice>,
}

/// The shared side of an open device.
pub(super) struct Core {
    pub(super) parts: Parts,
    pub(super) identity: Identity,
    pub(super) options: DeviceOptions,
    pub(super) files: Files,
    pub(super) books: Mutex<Accounts>,
    pub(super) status: Status,
    pub(super) counters: Counters,
    /// Since when the writer waits for the disk.
    pub(super) at_disk_since: Mutex<Option<Instant>>,
    /// Victims that reclaim gave up, with the number of living blobs they had then.
    pub(super) blocked: Mutex<BTreeMap<u64, u64>>,
    pub(super) _lock: Box<dyn Send + Sync>,
}

/// What happened since open.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) syncs: AtomicU64,
    pub(super) puts: AtomicU64,
    pub(super) removes: AtomicU64,
    pub(super) reads: AtomicU64,
    pub(super) corrupt: AtomicU64,
    pub(super) torn_bytes: AtomicU64,
    pub(super) read_failures: AtomicU64,
}

/// Adds to a counter.
pub(super) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Whether the device serves, and why not. It only ever gets worse until the next open.
#[derive(Debug, Default)]
pub(super) struct Status(RwLock<(DeviceState, Option<String>)>);

impl Status {
    pub(super) fn get(&self) -> (DeviceState, Option<String>) {
        self.0.read().clone()
    }

    /// DUR-4: after a failed write or sync nothing more is written.
    pub(super) fn read_only(&self, why: String) -> DeviceError {
        let mut state = self.0.write();
        if state.0 == DeviceState::Ok {
            tracing::error!(why, "device is read-only");
            *state = (DeviceState::ReadOnly, Some(why.clone()));
        }
        DeviceError::ReadOnly(why)
    }

    pub(super) fn out(&self, why: &str) {
        let mut state = self.0.write();
        if state.0 != DeviceState::Out {
            tracing::error!(why, "device is out");
            *state = (DeviceState::Out, Some(why.to_owned()));
        }
    }

    pub(super) fn check_readable(&self) -> Result<(), DeviceError> {
        match &*self.0.read() {
            (DeviceState::Out, why) => Err(DeviceError::Out(why.clone().unwrap_or_default())),
            _ => Ok(()),
        }
    }

    pub(super) fn check_writable(&self) -> Result<(), DeviceError> {
        match &*self.0.read() {
            (DeviceState::Ok, _) => Ok(()),
            (DeviceState::ReadOnly, why) => Err(DeviceError::ReadOnly(why.clone().unwrap_or_default())),
            (DeviceState::Out, why) => Err(DeviceError::Out(why.clone().unwrap_or_default())),
        }
    }
}

fn index_failed(error: IndexError) -> DeviceError {
    DeviceError::Io(error.to_string())
}

impl Core {
    pub(super) fn entry(&self, key: &BlobKey) -> Result<Option<Entry>, DeviceError> {
        self.parts.index.get(key).map_err(index_failed)
    }

    /// See [`super::store::BlobStore::read`].
    pub(super) fn read(&self, key: BlobKey, range: &Range<u32>, purpose: Purpose) -> Result<BlobSlice, DeviceError> {
        count(&self.counters.reads, 1);
        self.with_entry(key, |entry| {
            let span = frame_span(entry.header.len, range).ok_or(DeviceError::Range)?;
            self.files.get(entry.place.segment)?.read(key, entry, span, purpose)
        })
    }

    /// Reads the whole blob and proves it (INT-1).
    pub(super) fn read_verified(&self, key: BlobKey) -> Result<BlobSlice, DeviceError> {
        self.with_entry(key, |entry| {
            self.files.get(entry.place.segment)?.read_verified(key, entry)
        })
    }

    /// Reads through the key's entry. When the blob moved or went away meanwhile, it is looked up again; only a fault
    /// under an entry that stands is a fault of the copy.
    fn with_entry(
        &self,
        key: BlobKey,
        read: impl Fn(&Entry) -> Result<BlobSlice, DeviceError>,
    ) -> Result<BlobSlice, DeviceError> {
        self.status.check_readable()?;
        let mut entry = self.entry(&key)?.ok_or(DeviceError::NotFound)?;
        for _ in 0..LOOKUPS_MAX {
            let fault = match read(&entry) {
                Ok(slice) => {
                    self.counters.read_failures.store(0, Ordering::Relaxed);
                    return Ok(slice);
                }
                Err(DeviceError::Range) => return Err(DeviceError::Range),
                Err(fault) => fault,
            };
            let now = self.entry(&key)?.ok_or(DeviceError::NotFound)?;
            if now.place == entry.place {
                return Err(self.judge(fault));
            }
            entry = now;
        }
        Err(DeviceError::Io("the blob moved faster than it could be read".into()))
    }

    fn judge(&self, fault: DeviceError) -> DeviceError {
        match fault {
            DeviceError::NotFound => {
                count(&self.counters.corrupt, 1);
                DeviceError::Corrupt("its segment is missing".into())
            }
            DeviceError::Corrupt(why) => {
                count(&self.counters.corrupt, 1);
                DeviceError::Corrupt(why)
            }
            DeviceError::Io(why) => {
                if self.counters.read_failures.fetch_add(1, Ordering::Relaxed) + 1 >= READ_FAILURES_MAX {
                    self.status.out(&why);
                }
                DeviceError::Io(why)
            }
            other => other,
        }
    }

    /// See [`super::store::BlobStore::list`].
    pub(super) fn list(
        &self,
        after: Option<BlobKey>,
        until_placement: u64,
        limit: usize,
    ) -> Result<Vec<(BlobKey, BlobHeader)>, DeviceError> {
        self.status.check_readable()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self
            .parts
            .index
            .scan(from, until_placement, limit.min(LIST_MAX))
            .map_err(index_failed)?;
        Ok(rows.into_iter().map(|(key, entry)| (key, entry.header)).collect())
    }

    /// See [`super::store::BlobStore::digest`].
    pub(super) fn digest(&self, placements: &RangeInclusive<u64>, policy: PolicyId) -> Result<Digest, DeviceError> {
        self.status.check_readable()?;
        let mut digest = Digest::default();
        let mut from = Bound::Included(BlobKey::first(*placements.start()));
        loop {
            let rows = self
                .parts
                .index
                .scan(from, *placements.end(), DIGEST_BATCH)
                .map_err(index_failed)?;
            let asked = rows.iter().filter(|(key, _)| key.id.policy() == policy);
            asked.for_each(|(key, _)| digest.add(key));
            match rows.last() {
                Some((last, _)) if rows.len() == DIGEST_BATCH => from = Bound::Excluded(*last),
                _ => return Ok(digest),
            }
        }
    }

    /// Bytes of all segments, and what they may grow to: the configured capacity, or what the file system leaves.
    pub(super) fn space(&self) -> (u64, u64) {
        let used = self
            .books
            .lock()
            .rows()
            .values()
            .map(|row| u64::from(row.indexed))
            .sum::<u64>();
        // A file system that does not answer counts as full: nothing is lost by refusing.
        let room = used.saturating_add(self.parts.disk.free_bytes().unwrap_or(0));
        (
            used,
            self.options.capacity_bytes.map_or(room, |capacity| capacity.min(room)),
        )
    }

    /// Whether the device serves. One whose disk hangs takes no writes as long as that lasts: nothing has failed yet, and it
    /// may all be done in the end.
    fn state(&self) -> (DeviceState, Option<String>) {
        let (state, why) = self.status.get();
        let waits = self.at_disk_since.lock().map(|since| since.elapsed());
        match waits.filter(|waits| state == DeviceState::Ok && *waits > self.options.hangs_after) {
            Some(waits) => {
                let why = format!("the disk hangs: a write has been under way for {} s", waits.as_secs());
                (DeviceState::ReadOnly, Some(why))
            }
            None => (state, why),
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let (state, why) = self.state();
        let (used_bytes, capacity_bytes) = self.space();
        let books = self.books.lock();
        let blocked = self.blocked.lock();
        let rows = books.rows();
        let is_blocked =
            |segment: &u64, live: u64, rot: u64| rot > 0 || blocked.get(segment).is_some_and(|then| *then == live);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage {
            state,
            why,
            capacity_bytes,
            used_bytes,
            live_bytes: rows.values().map(|row| row.live_bytes).sum(),
            dead_bytes: rows.iter().map(|(segment, row)| books.gain_bytes(*segment, row)).sum(),
            blobs: rows.values().map(|row| row.live_blobs).sum(),
            segments: rows.len() as u64,
            blocked_segments: rows
                .iter()
                .filter(|(s, row)| is_blocked(s, row.live_blobs, row.rot_bytes))
                .count() as u64,
            syncs: read(&self.counters.syncs),
            puts: read(&self.counters.puts),
            removes: read(&self.counters.removes),
            reads: read(&self.counters.reads),
            corrupt_records: read(&self.counters.corrupt),
            torn_bytes: read(&self.counters.torn_bytes),
        }
    }
}
