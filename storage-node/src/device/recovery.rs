//! Opening a device: checks the folder, replays what the index does not know, mends the newest segment's tail.
//!
//! Only the newest segment can have a torn tail, because a segment is sealed and synced before the next one is made.
//! In it, `covered` (the largest any record or the index knows) divides what was acknowledged from what may have been:
//! - before it, bytes that are no record are rot: counted, reported, left as they are;
//! - zeros at the end of the file were reserved and never used: cut off, and no damage;
//! - behind it, whole records stay (their sync may have been under way or done), torn ones are voided: cut off at the
//!   end of the file, covered by a void record in between. Keys whose heads were readable are reported as suspects,
//!   for a record of the very last group may also be rot.
//!
//! What stays behind `covered` is written again over itself and synced before anything is served: after a kill it may
//! lie in the page cache only, and after a failed sync the cache calls it clean although the disk never got it. A
//! repeated put is answered from the index, so what the index knows must be on the disk (DUR-1).
//!
//! An index that does not fit the segments (another device's, older than a deletion, damaged) is cleared, and
//! everything is replayed.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::accounts::{Accounts, key_of};
use super::blob::BlobKey;
use super::core::{Core, Counters, Parts, Status, count};
use super::error::DeviceError;
use super::index::{Entry, IndexBatch, IndexError};
use super::options::{DeviceOptions, OnEmpty};
use super::record::{HEAD_BYTES, HEADER_BYTES, Identity, Kind, Place, Record, file_name, segment_of};
use super::segment::{Files, Found, Opened, Scanner, SegmentFile, entry_of};
use super::writer::{Active, Writer, removed};

/// The lock file's name.
const LOCK: &str = "lock";
/// Names beside segments that belong into a device's folder.
const KNOWN_NAMES: [&str; 4] = [LOCK, "index", "index.old", "lost+found"];
/// Bytes read at once while looking for the end of what was written.
const READ_BYTES: usize = 1 << 20;
/// Records replayed per index batch.
const REPLAY_BATCH: usize = 512;
/// The most suspects a report names; the rest is only counted.
const SUSPECTS_MAX: usize = 10_000;

/// What opening a device found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Records read from segments because the index did not know them.
    pub replayed: u64,
    /// Why the index was thrown away and rebuilt, if it was.
    pub rebuilt: Option<String>,
    /// Bytes of torn tail voided: never acknowledged, or else among the suspects.
    pub torn_bytes: u64,
    /// Damaged regions inside what was synced: their blobs must be fetched from other devices.
    pub rot_regions: u64,
    /// Their bytes.
    pub rot_bytes: u64,
    /// Blobs that lay in voided records and could still be named; repair asks their shards. Bounded.
    pub suspects: Vec<BlobKey>,
    /// Living blobs after the open.
    pub blobs: u64,
}

enum Failure {
    /// The index does not fit.
    Stale(String),
    Fatal(DeviceError),
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        Self::Stale(error.to_string())
    }
}

fn disk_failed(doing: &str) -> impl FnOnce(io::Error) -> Failure + use<'_> {
    move |error| Failure::Fatal(DeviceError::Out(format!("{doing}: {error}")))
}

/// Opens the device; blocks for as long as the replay takes.
pub(super) fn open(
    parts: Parts,
    identity: Identity,
    options: DeviceOptions,
) -> Result<(Writer, OpenReport), DeviceError> {
    let lock = parts.disk.lock(LOCK).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => DeviceError::Refused(
            "the device folder is in use by another process; stop it, or give this node another folder".into(),
        ),
        _ => DeviceError::Out(format!("locking the device folder: {error}")),
    })?;
    let segments = segments_in(&parts)?;
    if segments.is_empty() && options.on_empty == OnEmpty::Refuse {
        return Err(DeviceError::Refused(format!(
            "the folder of device {} is empty although it was used before; mount its disk, or remove the device from \
             the ring and add a new one",
            identity.device
        )));
    }
    let core = Core {
        files: Files::new(Arc::clone(&parts.disk), identity),
        parts,
        identity,
        options: options.clamped(),
        books: Mutex::default(),
        status: Status::default(),
        counters: Counters::default(),
        at_disk_since: Mutex::default(),
        blocked: Mutex::default(),
        _lock: lock,
    };
    let mut writer = Writer {
        core: Arc::new(core),
        active: None,
        next_segment: 1,
        next_seq: 1,
    };
    let report = replay_or_rebuild(&mut writer, &segments)?;
    count(&writer.core.counters.torn_bytes, report.torn_bytes);
    count(&writer.core.counters.corrupt, report.rot_regions);
    if writer.core.books.lock().rows().is_empty() {
        // A folder that never held an acknowledged byte becomes a device now.
        writer.create_segment()?;
    }
    Ok((writer, report))
}

/// The numbers of the segments in the folder, in order. Foreign files are refused, not ignored: they show that the
/// folder is not what the configuration says.
fn segments_in(parts: &Parts) -> Result<Vec<u64>, DeviceError> {
    let names = parts
        .disk
        .list()
        .map_err(|error| DeviceError::Out(format!("listing the device folder: {error}")))?;
    let mut segments = Vec::new();
    for name in names {
        match segment_of(&name) {
            Some(segment) => segments.push(segment),
            None if KNOWN_NAMES.contains(&name.as_str()) => {}
            None => {
                return Err(DeviceError::Refused(format!(
                    "the device folder holds `{name}`, which is not Halo's; move it away, or give the device a folder \
                     of its own"
                )));
            }
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

fn replay_or_rebuild(writer: &mut Writer, segments: &[u64]) -> Result<OpenReport, DeviceError> {
    let why = match Replay::new(writer).and_then(|replay| replay.run(segments)) {
        Ok(report) => return Ok(report),
        Err(Failure::Fatal(error)) => return Err(error),
        Err(Failure::Stale(why)) => why,
    };
    tracing::warn!(why, "the device's index does not fit its segments and is rebuilt");
    let unusable = |error: IndexError| DeviceError::Out(format!("rebuilding the index: {error}"));
    writer.core.parts.index.clear().map_err(unusable)?;
    match Replay::new(writer).and_then(|replay| replay.run(segments)) {
        Ok(report) => Ok(OpenReport {
            rebuilt: Some(why),
            ..report
        }),
        Err(Failure::Fatal(error)) => Err(error),
        Err(Failure::Stale(why)) => Err(DeviceError::Out(format!("the index cannot be rebuilt: {why}"))),
    }
}

/// One pass over the segments.
struct Replay<'a> {
    writer: &'a mut Writer,
    books: Accounts,
    batch: IndexBatch,
    report: OpenReport,
}

impl<'a> Replay<'a> {
    fn new(writer: &'a mut Writer) -> Result<Self, Failure> {
        let index = &writer.core.parts.index;
        let books = Accounts::load(index.rows()?, index.kills()?);
        Ok(Self {
            writer,
            books,
            batch: IndexBatch::default(),
            report: OpenReport::default(),
        })
    }

    fn run(mut self, segments: &[u64]) -> Result<OpenReport, Failure> {
        let segments = self.finish_retired(segments)?;
        self.check_order(&segments)?;
        self.writer.next_segment = segments.last().map_or(1, |last| last + 1);
        let (newest, older) = match segments.split_last() {
            Some((newest, older)) => (Some(*newest), older),
            None => (None, &[][..]),
        };
        for segment in older {
            if self.books.row(*segment).is_none_or(|row| !row.sealed) {
                self.replay_segment(*segment, false)?;
            }
        }
        if let Some(newest) = newest {
            self.replay_segment(newest, true)?;
        }
        self.flush()?;
        self.writer.next_seq = self.books.seq_max() + 1;
        self.report.blobs = self.books.rows().values().map(|row| row.live_blobs).sum();
        *self.writer.core.books.lock() = self.books;
        Ok(self.report)
    }

    /// Deletes segments whose deletion a crash interrupted, and strikes them and those already gone from the books.
    fn finish_retired(&mut self, segments: &[u64]) -> Result<Vec<u64>, Failure> {
        let retired: Vec<u64> = self
            .books
            .rows()
            .iter()
            .filter(|(_, row)| row.retired)
            .map(|(segment, _)| *segment)
            .collect();
        let disk = Arc::clone(&self.writer.core.parts.disk);
        for segment in retired.iter().filter(|segment| segments.contains(segment)) {
            // Only the file that the index speaks of, never one that got its number in another life of the folder.
            let opened = SegmentFile::open(&*disk, *segment).map_err(disk_failed("opening a segment"))?;
            let tag = self.books.row(*segment).map(|row| row.tag);
            if !matches!(opened, Opened::Fine(file) if Some(file.header.tag()) == tag) {
                return Err(Failure::Stale(format!("segment {segment:016x} is another file")));
            }
            removed(&*disk, &file_name(*segment)).map_err(disk_failed("removing a segment"))?;
        }
        if !retired.is_empty() {
            disk.sync_dir().map_err(disk_failed("syncing the folder"))?;
        }
        retired.iter().for_each(|segment| self.books.forget(*segment));
        Ok(segments
            .iter()
            .copied()
            .filter(|segment| !retired.contains(segment))
            .collect())
    }

    /// An index is a prefix of history: it knows no segment that is gone, and none behind one that it does not know
    /// to the end.
    fn check_order(&self, segments: &[u64]) -> Result<(), Failure> {
        if let Some(gone) = self
            .books
            .rows()
            .keys()
            .find(|known| segments.binary_search(known).is_err())
        {
            return Err(Failure::Stale(format!("segment {gone:016x} is gone")));
        }
        let mut incomplete = None;
        for segment in segments {
            match (self.books.row(*segment), incomplete) {
                (Some(_), Some(before)) => {
                    return Err(Failure::Stale(format!(
                        "segment {before:016x} is not indexed, a newer one is"
                    )));
                }
                (Some(row), None) if row.sealed => {}
                _ => incomplete = incomplete.or(Some(*segment)),
            }
        }
        Ok(())
    }

    fn replay_segment(&mut self, segment: u64, newest: bool) -> Result<(), Failure> {
        let disk = Arc::clone(&self.writer.core.parts.disk);
        let opened = SegmentFile::open(&*disk, segment).map_err(disk_failed("opening a segment"))?;
        let file = match opened {
            Opened::Fine(file) => Arc::new(file),
            // Nothing goes into a segment before its header is synced.
            Opened::NoHeader(len) if newest && len <= u64::from(HEADER_BYTES) => {
                removed(&*disk, &file_name(segment)).map_err(disk_failed("removing a segment"))?;
                disk.sync_dir().map_err(disk_failed("syncing the folder"))?;
                self.report.torn_bytes += len;
                if self.books.row(segment).is_some() {
                    return Err(Failure::Stale(format!("segment {segment:016x} was never finished")));
                }
                return Ok(());
            }
            Opened::NoHeader(len) => return self.give_up_segment(segment, len),
        };
        self.check_identity(segment, &file)?;
        let row = self.books.edit(segment);
        let tag = file.header.tag();
        if row.indexed > 0 && row.tag != tag {
            return Err(Failure::Stale(format!("segment {segment:016x} is another file")));
        }
        row.tag = tag;
        let from = row.indexed.max(HEADER_BYTES);
        row.indexed = from;
        let len = file.file.len().map_err(disk_failed("asking a segment's length"))?;
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        if len < from && !(newest && from == HEADER_BYTES) {
            return Err(Failure::Stale(format!(
                "segment {segment:016x} is shorter than the index says"
            )));
        }
        if file.header_damaged && !newest {
            self.report.rot_regions += 1;
        }
        self.writer.core.files.insert(segment, Arc::clone(&file));
        if newest {
            return self.replay_newest(&file, from..len.max(from));
        }
        let mut scanner = Scanner::new(&file, from..len);
        while let Some(found) = scanner.step().map_err(disk_failed("reading a segment"))? {
            match found {
                Found::Record(record) => self.note(&record)?,
                Found::Gap(gap) => self.note_rot(segment, &gap),
            }
        }
        let row = self.books.edit(segment);
        row.indexed = len;
        row.sealed = true;
        Ok(())
    }

    /// The newest segment: finds where the synced part ends, judges what lies behind, mends it.
    fn replay_newest(&mut self, file: &Arc<SegmentFile>, range: Range<u32>) -> Result<(), Failure> {
        let segment = file.header.segment;
        let reading = || disk_failed("reading a segment");
        let mut covered = range.start;
        let mut scanner = Scanner::new(file, range.clone());
        while let Some(found) = scanner.step().map_err(reading())? {
            if let Found::Record(record) = found {
                covered = covered.max(record.covered.min(record.place.offset));
            }
        }
        let mut tail = Tail {
            end: covered,
            gap: None,
        };
        let mut scanner = Scanner::new(file, range.clone());
        while let Some(found) = scanner.step().map_err(reading())? {
            match found {
                Found::Gap(gap) => {
                    let (rot, torn) = (gap.start..gap.end.min(covered), gap.start.max(covered)..gap.end);
                    if !rot.is_empty() {
                        self.note_rot(segment, &rot);
                    }
                    tail.tear(torn);
                }
                Found::Record(record) if record.place.offset < covered => self.note(&record)?,
                Found::Record(record) => self.keep_or_tear(file, record, &mut tail)?,
            }
        }
        self.mend(file, &tail, range.end)?;
        // Only what is synced may be booked: the index could reach the disk before the segment does.
        let mut scanner = Scanner::new(file, covered..tail.end);
        while let Some(found) = scanner.step().map_err(reading())? {
            match found {
                Found::Record(record) => self.note(&record)?,
                Found::Gap(gap) => self.note_rot(segment, &gap),
            }
        }
        let row = self.books.edit(segment);
        row.indexed = tail.end;
        if !row.sealed {
            self.writer.active = Some(Active::new(Arc::clone(file), tail.end));
        }
        Ok(())
    }

    /// A record behind `covered`: kept when it is whole, and then written again.
    fn keep_or_tear(&mut self, file: &SegmentFile, record: Record, tail: &mut Tail) -> Result<(), Failure> {
        let start = record.place.offset;
        let end = start + record.disk_bytes();
        let payload = match entry_of(&record) {
            None => bytes::Bytes::new(),
            Some((key, entry)) => match file.read_verified(key, &entry) {
                Ok(slice) => slice.payload,
                Err(_) => {
                    if self.report.suspects.len() < SUSPECTS_MAX {
                        self.report.suspects.push(key);
                    }
                    tail.tear(start..end);
                    return Ok(());
                }
            },
        };
        let writing = || disk_failed("mending a segment's tail");
        if let Some(gap) = tail.gap.take() {
            let void = void(file, &gap);
            file.file
                .write_at(gap.start.into(), &[&void.encode(&file.header.salt)])
                .map_err(writing())?;
            self.report.torn_bytes += u64::from(gap.end - gap.start);
        }
        let head = record.encode(&file.header.salt);
        file.file
            .write_at(start.into(), &[&head, &payload])
            .map_err(writing())?;
        tail.end = end;
        Ok(())
    }

    /// Cuts off what is torn at the end and syncs what stays.
    fn mend(&mut self, file: &SegmentFile, tail: &Tail, file_len: u32) -> Result<(), Failure> {
        let writing = || disk_failed("mending a segment's tail");
        if file.header_damaged {
            file.file.write_at(0, &[&file.header.encode()]).map_err(writing())?;
        }
        if tail.end < file_len {
            // Zeros at the end were reserved, not torn.
            self.report.torn_bytes += used_bytes(file, tail.end..file_len).map_err(writing())?;
            file.file.truncate(tail.end.into()).map_err(writing())?;
        }
        count(&self.writer.core.counters.syncs, 1);
        file.file.sync().map_err(writing())?;
        // The file itself may be as new as its tail.
        self.writer.core.parts.disk.sync_dir().map_err(writing())
    }

    fn check_identity(&self, segment: u64, file: &SegmentFile) -> Result<(), Failure> {
        let (found, ours) = (file.header.identity, self.writer.core.identity);
        let refuse = |text: String| Err(Failure::Fatal(DeviceError::Refused(text)));
        if found.cluster != ours.cluster {
            return refuse(format!(
                "the folder belongs to cluster {}, this node to {}; give the device another folder, or wipe this one",
                found.cluster, ours.cluster
            ));
        }
        if found.device != ours.device {
            return refuse(format!(
                "the folder belongs to device {}, not to device {}; check which disk is mounted where",
                found.device, ours.device
            ));
        }
        if file.header.segment != segment {
            return refuse(format!("{} was renamed; give it back its name", file_name(segment)));
        }
        Ok(())
    }

    /// A segment whose header is lost, and with it the salt: all of it is rot.
    fn give_up_segment(&mut self, segment: u64, len: u64) -> Result<(), Failure> {
        if self.books.row(segment).is_some_and(|row| row.live_blobs > 0) {
            return Err(Failure::Stale(format!("segment {segment:016x} lost its header")));
        }
        let row = self.books.edit(segment);
        row.sealed = true;
        row.indexed = u32::try_from(len).unwrap_or(u32::MAX);
        let all = 0..row.indexed;
        self.note_rot(segment, &all);
        Ok(())
    }

    fn note_rot(&mut self, segment: u64, gap: &Range<u32>) {
        tracing::error!(segment, start = gap.start, end = gap.end, "damaged region in a segment");
        self.report.rot_regions += 1;
        self.report.rot_bytes += u64::from(gap.end - gap.start);
        self.books.edit(segment).rot_bytes += u64::from(gap.end - gap.start);
    }

    fn note(&mut self, record: &Record) -> Result<(), Failure> {
        self.report.replayed += 1;
        let key = key_of(record);
        let before = match key {
            Some(key) => self.entry(&key)?,
            None => None,
        };
        if let (Some(key), Some(change)) = (key, self.books.note(record, before.as_ref())?) {
            self.batch.entries.insert(key, change);
        }
        self.books.edit(record.place.segment).indexed = record.place.offset + record.disk_bytes();
        if self.batch.entries.len() >= REPLAY_BATCH {
            self.flush()?;
        }
        Ok(())
    }

    fn entry(&self, key: &BlobKey) -> Result<Option<Entry>, IndexError> {
        match self.batch.entries.get(key) {
            Some(entry) => Ok(*entry),
            None => self.writer.core.parts.index.get(key),
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let mut batch = std::mem::take(&mut self.batch);
        self.books.drain_into(&mut batch);
        if batch.is_empty() {
            return Ok(());
        }
        Ok(self.writer.core.parts.index.apply(batch, false)?)
    }
}

/// Bytes of a region up to the last one that is not zero.
fn used_bytes(file: &SegmentFile, region: Range<u32>) -> io::Result<u64> {
    let mut used = 0;
    for at in region.clone().step_by(READ_BYTES) {
        let bytes = file
            .file
            .read_at(at.into(), READ_BYTES.min((region.end - at) as usize))?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            used = u64::from(at - region.start) + last as u64 + 1;
        }
    }
    Ok(used)
}

fn void(file: &SegmentFile, gap: &Range<u32>) -> Record {
    Record {
        place: Place {
            segment: file.header.segment,
            offset: gap.start,
        },
        covered: 0,
        seq: 0,
        kind: Kind::Void {
            garbage: gap.end - gap.start - HEAD_BYTES as u32,
        },
        frame_crcs: Vec::new(),
    }
}

/// The mended part of the newest segment so far.
struct Tail {
    /// End of the last record that stays.
    end: u32,
    /// A torn region behind it.
    gap: Option<Range<u32>>,
}

impl Tail {
    fn tear(&mut self, region: Range<u32>) {
        if region.is_empty() {
            return;
        }
        let start = self.gap.as_ref().map_or(region.start, |gap| gap.start);
        self.gap = Some(start..region.end);
    }
}
