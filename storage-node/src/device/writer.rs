//! The only hand that changes segments: one group of operations, one write, one fdatasync, then the index, then the
//! acknowledgements (DUR-1, DUR-4).
//!
//! ```text
//! commit(ops):  plan (index lookups, no change) -> append all records -> fdatasync -> books + index batch, unsynced
//!               -> answers
//! roll:         seal record, fdatasync -> new file, header, fdatasync, folder sync -> only then records go there
//! retire:       nothing alive -> row "retired", index synced -> file removed, folder synced -> row removed   (DUR-2)
//! ```
//! A failed sync, and a failed write other than for want of space, makes the device read-only: the segment's tail
//! behind the last good sync is void, its writers get an error, nothing is tried again. A write that found no space is
//! cut off again before anything else happens.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::blob::{Blob, BlobKey};
use super::core::{Core, count};
use super::disk::{Disk, DiskFile};
use super::error::DeviceError;
use super::index::{Entry, IndexBatch};
use super::options::DeviceOptions;
use super::record::{HEAD_BYTES, HEADER_BYTES, Kind, Place, Record, SegmentHeader, blob_disk_bytes, file_name};
use super::segment::SegmentFile;

/// Zeros behind a payload, up to where the next record may begin.
const PADDING: [u8; HEAD_BYTES] = [0; HEAD_BYTES];

/// One change asked of the device.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Store a blob. `over` names the damaged copy that it may replace.
    Put { blob: Arc<Blob>, over: Option<Place> },
    /// Remove blobs.
    Remove { keys: Vec<BlobKey> },
    /// Reclaim: append these records again, as far as they are still needed.
    Move { records: Vec<Moved> },
}

/// A record that reclaim takes out of its segment: still as it lay there.
#[derive(Clone, Debug)]
pub(super) struct Moved {
    pub(super) record: Record,
    pub(super) payload: bytes::Bytes,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    /// Done and synced.
    Done,
    /// A blob with this key and this content lay here before; whether it can be read is for the caller to find out.
    Exists(Entry),
}

/// What may still fill the disk (DESIGN, "Full").
#[derive(Clone, Copy)]
enum Admission {
    Put,
    Reclaim,
    Tombstone,
}

/// Appends to the newest segment.
pub(super) struct Writer {
    pub(super) core: Arc<Core>,
    pub(super) active: Option<Active>,
    pub(super) next_segment: u64,
    pub(super) next_seq: u64,
}

/// The segment that takes records; all of it is synced.
pub(super) struct Active {
    pub(super) segment: u64,
    pub(super) file: Arc<SegmentFile>,
    /// Where the next record goes.
    pub(super) len: u32,
    /// Up to here the file has its place on the disk, as zeros. A sync that need not make the file longer costs a
    /// sixth of one that must (measured on ext4).
    pub(super) reserved: u32,
}

impl Active {
    pub(super) fn new(file: Arc<SegmentFile>, len: u32) -> Self {
        Self {
            segment: file.header.segment,
            file,
            len,
            reserved: len,
        }
    }

    /// Makes the file longer ahead of the records, a step at a time. Where that fails, writing will tell why.
    fn reserve(&mut self, bytes: u32, options: &DeviceOptions) {
        let end = self.len + bytes;
        if end <= self.reserved || options.reserve_bytes == 0 {
            return;
        }
        let ahead = end
            .saturating_add(options.reserve_bytes)
            .min(options.segment_bytes)
            .max(end);
        if self.file.file.reserve(ahead.into()).is_ok() {
            self.reserved = ahead;
        }
    }
}

/// A group on its way to the disk.
struct Group {
    segment: u64,
    start: u32,
    len: u32,
    used: u64,
    capacity: u64,
    next_seq: u64,
    planned: Vec<Planned>,
    /// The entries as they will be once the group is booked.
    ahead: HashMap<BlobKey, Option<Entry>>,
    puts: u64,
    removes: u64,
}

struct Planned {
    record: Record,
    body: Body,
    /// The key's entry before this record.
    before: Option<Entry>,
}

enum Body {
    None,
    Put(Arc<Blob>),
    Moved(bytes::Bytes),
}

impl Writer {
    /// Commits a group with one sync; the answers come in the order of `ops`.
    pub(super) fn commit(&mut self, ops: &[Op]) -> Vec<Result<Committed, DeviceError>> {
        let ready = self.core.status.check_writable().and_then(|()| self.ready_segment());
        if let Err(error) = ready {
            return ops.iter().map(|_| Err(error.clone())).collect();
        }
        let mut group = self.begin_group();
        let mut answers: Vec<_> = ops.iter().map(|op| self.plan(&mut group, op)).collect();
        if group.planned.is_empty() {
            return answers;
        }
        if let Err(error) = self.append(&group).and_then(|()| self.book(group)) {
            // What lay here before the group is still true; everything else depended on it.
            for answer in &mut answers {
                if *answer == Ok(Committed::Done) {
                    *answer = Err(error.clone());
                }
            }
        }
        answers
    }

    fn begin_group(&self) -> Group {
        let active = self.active.as_ref().expect("ready_segment made one");
        let (used, capacity) = self.core.space();
        Group {
            segment: active.segment,
            start: active.len,
            len: 0,
            used,
            capacity,
            next_seq: self.next_seq,
            planned: Vec::new(),
            ahead: HashMap::new(),
            puts: 0,
            removes: 0,
        }
    }

    fn plan(&self, group: &mut Group, op: &Op) -> Result<Committed, DeviceError> {
        match op {
            Op::Put { blob, over } => self.plan_put(group, blob, *over),
            Op::Remove { keys } => self.plan_remove(group, keys),
            Op::Move { records } => self.plan_move(group, records),
        }
    }

    fn plan_put(&self, group: &mut Group, blob: &Arc<Blob>, over: Option<Place>) -> Result<Committed, DeviceError> {
        let before = self.before(group, &blob.key)?;
        if let Some(old) = &before {
            if (old.header.blake3, old.header.len) != (blob.header.blake3, blob.header.len) {
                return Err(DeviceError::Conflict);
            }
            if Some(old.place) != over {
                let in_this_group = old.place.segment == group.segment && old.place.offset >= group.start;
                return Ok(if in_this_group {
                    Committed::Done
                } else {
                    Committed::Exists(*old)
                });
            }
        }
        group.admit(&self.core, Admission::Put, blob_disk_bytes(blob.header.len))?;
        let kind = Kind::Blob {
            key: blob.key,
            header: blob.header,
        };
        let seq = group.take_seq();
        group.push(kind, seq, blob.frame_crcs.clone(), Body::Put(Arc::clone(blob)), before);
        group.puts += 1;
        Ok(Committed::Done)
    }

    fn plan_remove(&self, group: &mut Group, keys: &[BlobKey]) -> Result<Committed, DeviceError> {
        for key in keys {
            let Some(old) = self.before(group, key)? else { continue };
            group.admit(&self.core, Admission::Tombstone, HEAD_BYTES as u32)?;
            let seq = group.take_seq();
            let kind = Kind::Tombstone {
                key: *key,
                killed: old.place.segment,
            };
            group.push(kind, seq, Vec::new(), Body::None, Some(old));
            group.removes += 1;
        }
        Ok(Committed::Done)
    }

    /// A blob that was removed or moved since reclaim looked is left behind, so that no copy ever lies behind the
    /// tombstone that kills it.
    fn plan_move(&self, group: &mut Group, records: &[Moved]) -> Result<Committed, DeviceError> {
        for Moved { record, payload } in records {
            let Some(key) = super::accounts::key_of(record) else {
                continue;
            };
            let before = self.before(group, &key)?;
            let living = super::accounts::is_living(record.place, before.as_ref());
            if matches!(record.kind, Kind::Blob { .. }) && !living {
                continue;
            }
            group.admit(&self.core, Admission::Reclaim, record.disk_bytes())?;
            let body = Body::Moved(payload.clone());
            group.push(record.kind, record.seq, record.frame_crcs.clone(), body, before);
        }
        Ok(Committed::Done)
    }

    fn before(&self, group: &Group, key: &BlobKey) -> Result<Option<Entry>, DeviceError> {
        match group.ahead.get(key) {
            Some(entry) => Ok(*entry),
            None => self.core.entry(key),
        }
    }

    /// Writes and syncs the group's records.
    fn append(&mut self, group: &Group) -> Result<(), DeviceError> {
        let active = self.active.as_mut().expect("the group was planned for it");
        let salt = &active.file.header.salt;
        let heads: Vec<Vec<u8>> = group
            .planned
            .iter()
            .map(|planned| planned.record.encode(salt))
            .collect();
        let mut slices: Vec<&[u8]> = Vec::with_capacity(heads.len() * 3);
        for (planned, head) in group.planned.iter().zip(&heads) {
            slices.push(head);
            let mut written = head.len();
            match &planned.body {
                Body::None => {}
                Body::Put(blob) => slices.extend(blob.payload.iter().map(|piece| &piece[..])),
                Body::Moved(payload) => slices.push(payload),
            }
            if let Kind::Blob { header, .. } = &planned.record.kind {
                written += header.len as usize;
            }
            slices.push(&PADDING[..planned.record.disk_bytes() as usize - written]);
        }
        active.reserve(group.len, &self.core.options);
        let file = Arc::clone(&active.file.file);
        if let Err(error) = file.write_at(active.len.into(), &slices) {
            active.reserved = active.len;
            let len = active.len;
            return Err(self.undo_write(&*file, len, &error));
        }
        self.sync_segment(&*file)
    }

    /// Nothing of a failed write was synced: it is cut off, and that is synced, so that a tombstone nobody was told of
    /// cannot come back after a repeated put was answered. Only when that works, and space was all that lacked, does the
    /// device go on.
    fn undo_write(&self, file: &dyn DiskFile, len: u32, error: &io::Error) -> DeviceError {
        let cut = file.truncate(len.into()).and_then(|()| file.sync());
        match (lacks_space(error), cut) {
            (true, Ok(())) => DeviceError::Full,
            _ => self.core.status.read_only(format!("a write failed: {error}")),
        }
    }

    /// DUR-4: one attempt. When it fails nobody knows what is on the disk, and the kernel forgets that it did.
    fn sync_segment(&self, file: &dyn DiskFile) -> Result<(), DeviceError> {
        count(&self.core.counters.syncs, 1);
        file.sync()
            .map_err(|error| self.core.status.read_only(format!("a sync failed: {error}")))
    }

    /// Books a synced group: from here on readers find it.
    fn book(&mut self, group: Group) -> Result<(), DeviceError> {
        let end = group.start + group.len;
        let mut batch = IndexBatch::default();
        let booked = {
            let mut books = self.core.books.lock();
            let noted = group.planned.iter().try_for_each(|planned| {
                if let Some(change) = books.note(&planned.record, planned.before.as_ref())? {
                    let key =
                        super::accounts::key_of(&planned.record).expect("only blobs and tombstones change entries");
                    batch.entries.insert(key, change);
                }
                Ok(())
            });
            books.edit(group.segment).indexed = end;
            books.drain_into(&mut batch);
            noted
        };
        self.active.as_mut().expect("the group was planned for it").len = end;
        self.next_seq = group.next_seq;
        booked
            .and_then(|()| self.core.parts.index.apply(batch, false))
            .map_err(|error| self.core.status.read_only(error.to_string()))?;
        count(&self.core.counters.puts, group.puts);
        count(&self.core.counters.removes, group.removes);
        Ok(())
    }

    /// Makes sure that there is a segment with room.
    fn ready_segment(&mut self) -> Result<(), DeviceError> {
        match &self.active {
            Some(active) if active.len < self.core.options.segment_bytes => return Ok(()),
            Some(_) => self.seal()?,
            None => {}
        }
        self.create_segment()
    }

    /// Ends the segment: its last record says that everything before is synced.
    fn seal(&mut self) -> Result<(), DeviceError> {
        let Some(active) = &self.active else { return Ok(()) };
        let (segment, end) = (active.segment, active.len + HEAD_BYTES as u32);
        self.append_alone(Kind::Seal)?;
        let mut books = self.core.books.lock();
        let row = books.edit(segment);
        row.sealed = true;
        row.indexed = end;
        drop(books);
        self.active = None;
        Ok(())
    }

    fn append_alone(&mut self, kind: Kind) -> Result<(), DeviceError> {
        let Some(active) = &self.active else { return Ok(()) };
        let place = Place {
            segment: active.segment,
            offset: active.len,
        };
        let record = Record {
            place,
            covered: active.len,
            seq: 0,
            kind,
            frame_crcs: Vec::new(),
        };
        let end = u64::from(place.offset) + HEAD_BYTES as u64;
        let file = Arc::clone(&active.file);
        let written = file
            .file
            .write_at(place.offset.into(), &[&record.encode(&file.header.salt)]);
        // What was reserved and not used goes back.
        if let Err(error) = written.and_then(|()| file.file.truncate(end)) {
            return Err(self.undo_write(&*file.file, place.offset, &error));
        }
        self.sync_segment(&*file.file)
    }

    /// DUR-4: file, header and folder entry are synced before any record goes into a segment.
    pub(super) fn create_segment(&mut self) -> Result<(), DeviceError> {
        let segment = self.next_segment;
        self.next_segment += 1;
        let mut salt = [0; 32];
        self.core.parts.dice.fill(&mut salt);
        let created_ms = self.core.parts.clock.now_ms();
        let header = SegmentHeader {
            identity: self.core.identity,
            segment,
            created_ms,
            salt,
        };
        let disk = &self.core.parts.disk;
        let made = disk.create(&file_name(segment)).and_then(|file| {
            file.write_at(0, &[&header.encode()])?;
            Ok(file)
        });
        let file = match made {
            Ok(file) => file,
            Err(error) if lacks_space(&error) && removed(&**disk, &file_name(segment)).is_ok() => {
                return Err(DeviceError::Full);
            }
            Err(error) => {
                return Err(self
                    .core
                    .status
                    .read_only(format!("a segment could not be made: {error}")));
            }
        };
        self.sync_segment(&*file)?;
        let synced = disk.sync_dir();
        synced.map_err(|error| {
            self.core
                .status
                .read_only(format!("the folder could not be synced: {error}"))
        })?;
        let file = Arc::new(SegmentFile {
            file,
            header,
            header_damaged: false,
        });
        self.core.files.insert(segment, Arc::clone(&file));
        let mut books = self.core.books.lock();
        let row = books.edit(segment);
        row.tag = header.tag();
        row.indexed = HEADER_BYTES;
        drop(books);
        self.active = Some(Active::new(file, HEADER_BYTES));
        Ok(())
    }

    /// Deletes a segment in which nothing is needed any more. Refused, with nothing changed, while anything lives there.
    pub(super) fn retire(&mut self, segment: u64) -> Result<(), DeviceError> {
        self.core.status.check_writable()?;
        let mut batch = IndexBatch::default();
        {
            let mut books = self.core.books.lock();
            let Some(row) = books.row(segment) else { return Ok(()) };
            // DUR-2: the last look before the deletion.
            if !row.sealed || row.live_blobs > 0 || row.live_bytes > 0 {
                return Err(DeviceError::Io("the segment still holds living blobs".into()));
            }
            books.edit(segment).retired = true;
            books.drain_into(&mut batch);
        }
        let index = &self.core.parts.index;
        index
            .apply(batch, true)
            .map_err(|error| self.core.status.read_only(error.to_string()))?;
        let disk = &self.core.parts.disk;
        let gone = removed(&**disk, &file_name(segment)).and_then(|()| disk.sync_dir());
        gone.map_err(|error| {
            self.core
                .status
                .read_only(format!("a segment could not be removed: {error}"))
        })?;
        self.core.files.forget(segment);
        self.core.blocked.lock().remove(&segment);
        let mut batch = IndexBatch::default();
        {
            let mut books = self.core.books.lock();
            books.forget(segment);
            books.drain_into(&mut batch);
        }
        index
            .apply(batch, false)
            .map_err(|error| self.core.status.read_only(error.to_string()))
    }

    /// A clean stop: a mark says that everything is synced, so that the next open takes no damage for a torn tail.
    pub(super) fn close(&mut self) -> Result<(), DeviceError> {
        self.core.status.check_writable()?;
        let mut batch = IndexBatch::default();
        if let Some(active) = &self.active {
            let (segment, end) = (active.segment, active.len + HEAD_BYTES as u32);
            self.append_alone(Kind::Mark)?;
            self.core.books.lock().edit(segment).indexed = end;
        }
        self.core.books.lock().drain_into(&mut batch);
        self.core
            .parts
            .index
            .apply(batch, true)
            .map_err(|error| DeviceError::Io(error.to_string()))
    }
}

impl Group {
    fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    fn admit(&self, core: &Core, admission: Admission, bytes: u32) -> Result<(), DeviceError> {
        let permille = match admission {
            Admission::Put => core.options.put_fill_permille,
            Admission::Reclaim => core.options.reclaim_fill_permille,
            Admission::Tombstone => return Ok(()),
        };
        let used = u128::from(self.used) + u128::from(self.len) + u128::from(bytes);
        let fits = used * 1000 <= u128::from(self.capacity) * u128::from(permille);
        if fits { Ok(()) } else { Err(DeviceError::Full) }
    }

    fn push(&mut self, kind: Kind, seq: u64, frame_crcs: Vec<u32>, body: Body, before: Option<Entry>) {
        let place = Place {
            segment: self.segment,
            offset: self.start + self.len,
        };
        let record = Record {
            place,
            covered: self.start,
            seq,
            kind,
            frame_crcs,
        };
        self.len += record.disk_bytes();
        match &record.kind {
            Kind::Blob { key, header } => {
                self.ahead.insert(
                    *key,
                    Some(Entry {
                        place,
                        seq,
                        header: *header,
                    }),
                );
            }
            Kind::Tombstone { key, .. } if before.is_none_or(|old| old.seq < seq) => {
                self.ahead.insert(*key, None);
            }
            _ => {}
        }
        self.planned.push(Planned { record, body, before });
    }
}

/// Removes a file; one that is gone already is fine.
pub(super) fn removed(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether an error only says that there is no room.
fn lacks_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
