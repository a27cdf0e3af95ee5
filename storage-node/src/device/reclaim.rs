//! Reclaim: frees the dead bytes of a sealed segment by writing again what is still needed (DUR-2).
//!
//! ```text
//! 1. choose a victim                                     Accounts::choose
//! 2. walk it; anything unreadable, or a living blob that cannot be found: leave it alone for good
//! 3. for each record   dead blob: skip      living blob: prove every frame and the hash, append it again
//!                      tombstone still needed (Accounts::droppable): append it again
//!    a living blob that is damaged is counted and stays; the others move all the same
//! 4. the copies are synced and the index switched, group by group, by the writer
//! 5. everything moved: the writer syncs the index and only then deletes the file
//! ```
//! A stop at any point leaves either the old copy or both. A full disk stops step 3; nothing is deleted.

use std::sync::Arc;

use async_trait::async_trait;

use super::accounts::{is_living, key_of};
use super::core::{Core, count};
use super::error::DeviceError;
use super::record::{HEADER_BYTES, Kind, Record};
use super::segment::{Found, Scanner, SegmentFile, entry_of};
use super::writer::Moved;

/// Bytes moved per group.
const MOVE_BYTES: u64 = 8 << 20;
/// Records moved per group.
const MOVE_RECORDS: usize = 4096;

/// How one step of reclaim ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReclaimReport {
    /// The segment worked on; `None` when nothing was worth it.
    pub victim: Option<u64>,
    /// Blobs written again.
    pub moved_blobs: u64,
    /// Bytes written again.
    pub moved_bytes: u64,
    /// Bytes freed by deleting the victim; 0 when it had to stay.
    pub freed_bytes: u64,
    /// Living blobs that do not verify: repair must put them again.
    pub damaged: u64,
}

/// The writer, as reclaim sees it: directly in tests, through the queue in the device.
#[async_trait]
pub(super) trait Hand: Send {
    async fn move_records(&mut self, records: Vec<Moved>) -> Result<(), DeviceError>;
    async fn retire(&mut self, segment: u64) -> Result<(), DeviceError>;
}

/// Reclaims one segment, if one is worth it. Blocks between its awaits.
pub(super) async fn step(core: &Core, hand: &mut dyn Hand) -> Result<ReclaimReport, DeviceError> {
    core.status.check_writable()?;
    let victim = core
        .books
        .lock()
        .choose(core.options.reclaim_gain_permille, &core.blocked.lock());
    let Some(victim) = victim else {
        return Ok(ReclaimReport::default());
    };
    let file = core.files.get(victim)?;
    let end = core.books.lock().row(victim).map_or(HEADER_BYTES, |row| row.indexed);
    let mut report = ReclaimReport {
        victim: Some(victim),
        ..ReclaimReport::default()
    };
    if !all_found(core, victim, &file, end)? {
        return Ok(report);
    }
    move_needed(core, &file, end, hand, &mut report).await?;
    if report.damaged > 0 {
        let living = core.books.lock().row(victim).map_or(0, |row| row.live_blobs);
        core.blocked.lock().insert(victim, living);
        return Ok(report);
    }
    hand.retire(victim).await?;
    report.freed_bytes = end.into();
    Ok(report)
}

/// Walks the victim without touching anything. Unreadable bytes, and living blobs that the books know and the walk does
/// not meet, are booked as rot; such a segment is never deleted.
fn all_found(core: &Core, victim: u64, file: &Arc<SegmentFile>, end: u32) -> Result<bool, DeviceError> {
    let (mut living, mut tombstones, mut rot) = (0, 0, 0u64);
    let mut scanner = Scanner::new(file, HEADER_BYTES..end);
    let failed = |error| DeviceError::io("reading a segment", &error);
    let booked = core.books.lock().row(victim).copied().unwrap_or_default();
    while let Some(found) = scanner.step().map_err(failed)? {
        match found {
            Found::Gap(gap) => rot += u64::from(gap.end - gap.start),
            Found::Record(record) => match entry_of(&record) {
                Some((key, _)) => living += u64::from(is_living(record.place, core.entry(&key)?.as_ref())),
                None => tombstones += u64::from(matches!(record.kind, Kind::Tombstone { .. })),
            },
        }
    }
    // Blobs may die while we walk, but none comes to life in a sealed segment.
    let missing =
        core.books.lock().row(victim).is_some_and(|row| row.live_blobs > living) && booked.live_blobs > living;
    if rot == 0 && !missing && tombstones == booked.tombstones {
        return Ok(true);
    }
    tracing::error!(segment = victim, rot, "reclaim met damage and leaves the segment alone");
    count(&core.counters.corrupt, 1);
    core.books.lock().edit(victim).rot_bytes += rot.max(1);
    Ok(false)
}

async fn move_needed(
    core: &Core,
    file: &Arc<SegmentFile>,
    end: u32,
    hand: &mut dyn Hand,
    report: &mut ReclaimReport,
) -> Result<(), DeviceError> {
    let mut waiting = Vec::new();
    let mut waiting_bytes = 0;
    let mut scanner = Scanner::new(file, HEADER_BYTES..end);
    let failed = |error| DeviceError::io("reading a segment", &error);
    while let Some(found) = scanner.step().map_err(failed)? {
        let Found::Record(record) = found else {
            return Err(DeviceError::Corrupt("a segment decayed while it was reclaimed".into()));
        };
        let bytes = u64::from(record.disk_bytes());
        let Some(moved) = needed(core, file, record, report)? else {
            continue;
        };
        report.moved_blobs += u64::from(matches!(moved.record.kind, Kind::Blob { .. }));
        report.moved_bytes += bytes;
        waiting_bytes += bytes;
        waiting.push(moved);
        if waiting_bytes >= MOVE_BYTES || waiting.len() >= MOVE_RECORDS {
            hand.move_records(std::mem::take(&mut waiting)).await?;
            waiting_bytes = 0;
        }
    }
    if waiting.is_empty() {
        Ok(())
    } else {
        hand.move_records(waiting).await
    }
}

/// The record with its proven payload, if it must outlive its segment.
fn needed(
    core: &Core,
    file: &Arc<SegmentFile>,
    record: Record,
    report: &mut ReclaimReport,
) -> Result<Option<Moved>, DeviceError> {
    if let Kind::Tombstone { killed, .. } = record.kind {
        let droppable = core.books.lock().droppable(killed, record.place.segment);
        return Ok((!droppable).then(|| Moved {
            record,
            payload: bytes::Bytes::new(),
        }));
    }
    let Some((key, entry)) = entry_of(&record) else {
        return Ok(None);
    };
    debug_assert_eq!(key_of(&record), Some(key));
    if !is_living(record.place, core.entry(&key)?.as_ref()) {
        return Ok(None);
    }
    match file.read_verified(key, &entry) {
        Ok(slice) => Ok(Some(Moved {
            record,
            payload: slice.payload,
        })),
        Err(DeviceError::Corrupt(why)) => {
            tracing::error!(
                segment = record.place.segment,
                why,
                "reclaim met a damaged blob and keeps its segment"
            );
            count(&core.counters.corrupt, 1);
            report.damaged += 1;
            Ok(None)
        }
        Err(other) => Err(other),
    }
}
