//! The books of a device: what each segment holds, and the decisions made from them. Plain state and functions: a
//! record in, changes out. Commit, recovery and rebuild all go through [`Accounts::note`], so that a replay of the
//! segments gives the books that the running device had.
//!
//! Why a tombstone may be dropped (DUR-3: a removed blob never comes back, not even by a full rebuild): records of one
//! key are ordered by `seq`, and a full rebuild lets the largest win. A tombstone is needed as long as any segment
//! holds an older record of its blob. Such records are
//! 1. the copy that was alive when the blob was removed: the tombstone names its segment (`killed`), and
//! 2. copies that lost their place to a newer copy, not to a tombstone: reclaim moved the blob and the old segment is
//!    not deleted yet, or repair put it again over a damaged copy. Their segments are flagged `stale_copies`.
//!
//! So a tombstone is droppable when `killed` is gone (or is the segment being reclaimed, which goes with it) and no
//! other segment has `stale_copies`. Reclaim never writes a copy behind the tombstone that kills it, because one thread
//! does both and looks at the index first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::blob::BlobKey;
use super::index::{Entry, IndexBatch, IndexError, Kill, SegmentRow};
use super::record::{HEAD_BYTES, HEADER_BYTES, Kind, Place, Record, blob_disk_bytes};

/// The rows of all segments, with what changed since the last [`Accounts::drain_into`].
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    rows: BTreeMap<u64, SegmentRow>,
    kills: BTreeMap<Kill, u64>,
    /// Segments whose row says `stale_copies`.
    stale: BTreeSet<u64>,
    dirty_rows: BTreeSet<u64>,
    dirty_kills: BTreeSet<Kill>,
}

/// A key's new entry, if a record changed it: `Some(None)` is removed.
pub(super) type Change = Option<Option<Entry>>;

impl Accounts {
    pub(super) fn load(rows: BTreeMap<u64, SegmentRow>, kills: BTreeMap<Kill, u64>) -> Self {
        let stale = rows
            .iter()
            .filter(|(_, row)| row.stale_copies)
            .map(|(segment, _)| *segment)
            .collect();
        Self {
            rows,
            kills,
            stale,
            ..Self::default()
        }
    }

    pub(super) fn rows(&self) -> &BTreeMap<u64, SegmentRow> {
        &self.rows
    }

    pub(super) fn row(&self, segment: u64) -> Option<&SegmentRow> {
        self.rows.get(&segment)
    }

    pub(super) fn edit(&mut self, segment: u64) -> &mut SegmentRow {
        self.dirty_rows.insert(segment);
        self.rows.entry(segment).or_default()
    }

    /// The largest `seq` in any segment.
    pub(super) fn seq_max(&self) -> u64 {
        self.rows.values().map(|row| row.seq_max).max().unwrap_or(0)
    }

    fn mark_stale(&mut self, segment: u64) {
        self.edit(segment).stale_copies = true;
        self.stale.insert(segment);
    }

    /// Books one record that lies synced in its segment; `now` is the key's entry before it. An error means that the
    /// books were wrong before: the index must be rebuilt.
    pub(super) fn note(&mut self, record: &Record, now: Option<&Entry>) -> Result<Change, IndexError> {
        let row = self.edit(record.place.segment);
        row.seq_max = row.seq_max.max(record.seq);
        match &record.kind {
            Kind::Blob { header, .. } => {
                let entry = Entry {
                    place: record.place,
                    seq: record.seq,
                    header: *header,
                };
                self.note_blob(record, entry, now)
            }
            Kind::Tombstone { killed, .. } => self.note_tombstone(record, *killed, now),
            Kind::Void { garbage } => {
                self.edit(record.place.segment).void_bytes += u64::from(*garbage);
                Ok(None)
            }
            Kind::Seal => {
                self.edit(record.place.segment).sealed = true;
                Ok(None)
            }
            Kind::Mark => Ok(None),
        }
    }

    fn note_blob(&mut self, record: &Record, entry: Entry, now: Option<&Entry>) -> Result<Change, IndexError> {
        if let Some(old) = now {
            if old.place == entry.place {
                return Ok(None);
            }
            if (old.seq, old.place) > (entry.seq, entry.place) {
                self.mark_stale(entry.place.segment);
                return Ok(None);
            }
            self.take_out(old)?;
            self.mark_stale(old.place.segment);
        }
        let row = self.edit(entry.place.segment);
        row.live_blobs += 1;
        row.live_bytes += u64::from(record.disk_bytes());
        Ok(Some(Some(entry)))
    }

    fn note_tombstone(&mut self, record: &Record, killed: u64, now: Option<&Entry>) -> Result<Change, IndexError> {
        let here = record.place.segment;
        let exists = self.rows.contains_key(&killed);
        let row = self.edit(here);
        row.tombstones += 1;
        if !exists || killed == here {
            row.spent_tombstones += 1;
        } else {
            let kill = Kill {
                killed,
                tombstones_in: here,
            };
            *self.kills.entry(kill).or_default() += 1;
            self.dirty_kills.insert(kill);
        }
        let Some(old) = now.filter(|old| old.seq < record.seq) else {
            return Ok(None);
        };
        if old.place.segment != killed {
            self.mark_stale(old.place.segment);
        }
        self.take_out(old)?;
        Ok(Some(None))
    }

    /// More taken out than was put in would let reclaim delete living blobs: an error rather than a wrap (DUR-2).
    fn take_out(&mut self, old: &Entry) -> Result<(), IndexError> {
        let bytes = u64::from(blob_disk_bytes(old.header.len));
        let unbalanced = || {
            IndexError(format!(
                "segment {:016x} does not book a blob it holds",
                old.place.segment
            ))
        };
        let row = self.rows.get_mut(&old.place.segment).ok_or_else(unbalanced)?;
        row.live_blobs = row.live_blobs.checked_sub(1).ok_or_else(unbalanced)?;
        row.live_bytes = row.live_bytes.checked_sub(bytes).ok_or_else(unbalanced)?;
        self.dirty_rows.insert(old.place.segment);
        Ok(())
    }

    /// Strikes a deleted segment from the books; tombstones that killed its copies become spent.
    pub(super) fn forget(&mut self, segment: u64) {
        self.rows.remove(&segment);
        self.stale.remove(&segment);
        self.dirty_rows.insert(segment);
        let involved: Vec<Kill> = self
            .kills
            .keys()
            .filter(|kill| kill.killed == segment || kill.tombstones_in == segment)
            .copied()
            .collect();
        for kill in involved {
            let count = self.kills.remove(&kill).unwrap_or(0);
            self.dirty_kills.insert(kill);
            if kill.killed == segment && kill.tombstones_in != segment {
                self.edit(kill.tombstones_in).spent_tombstones += count;
            }
        }
    }

    /// Moves what changed into a batch.
    pub(super) fn drain_into(&mut self, batch: &mut IndexBatch) {
        for segment in std::mem::take(&mut self.dirty_rows) {
            batch.rows.insert(segment, self.rows.get(&segment).copied());
        }
        for kill in std::mem::take(&mut self.dirty_kills) {
            batch.kills.insert(kill, self.kills.get(&kill).copied().unwrap_or(0));
        }
    }

    /// Whether the tombstone of a segment under reclaim may be left behind.
    pub(super) fn droppable(&self, killed: u64, victim: u64) -> bool {
        let killed_gone = killed == victim || !self.rows.contains_key(&killed);
        killed_gone && self.no_stale_copies_but_in(victim)
    }

    fn no_stale_copies_but_in(&self, victim: u64) -> bool {
        self.stale.iter().all(|segment| *segment == victim)
    }

    /// The sealed segment that reclaim should rewrite next: the one with the most bytes to gain, if the gain is at least
    /// `gain_permille` of it. Segments with stale copies come first whatever the gain, because they hold up tombstones
    /// everywhere. Damaged segments (`rot_bytes`) are left alone, and so are those `blocked` names with their present
    /// number of living blobs: reclaim met a damaged living blob there that repair has not replaced yet.
    pub(super) fn choose(&self, gain_permille: u64, blocked: &BTreeMap<u64, u64>) -> Option<u64> {
        let candidates = self.rows.iter().filter(|(segment, row)| {
            row.sealed && !row.retired && row.rot_bytes == 0 && blocked.get(segment) != Some(&row.live_blobs)
        });
        let worth = candidates.filter_map(|(segment, row)| {
            let gain = self.gain_bytes(*segment, row);
            let enough = gain > 0 && gain * 1000 >= gain_permille * u64::from(row.indexed);
            (row.stale_copies || enough).then_some((row.stale_copies, gain, Reverse(*segment)))
        });
        worth.max().map(|(_, _, segment)| segment.0)
    }

    /// Bytes that rewriting a segment would free. Tombstones count only when they would really be dropped, so that
    /// reclaim does not carry the same ones from segment to segment for nothing.
    pub(super) fn gain_bytes(&self, segment: u64, row: &SegmentRow) -> u64 {
        let spent = if self.no_stale_copies_but_in(segment) {
            row.spent_tombstones
        } else {
            0
        };
        let kept = row.tombstones.saturating_sub(spent) * HEAD_BYTES as u64 + row.live_bytes;
        u64::from(row.indexed).saturating_sub(u64::from(HEADER_BYTES) + kept)
    }
}

/// The key a record is about.
pub(super) fn key_of(record: &Record) -> Option<BlobKey> {
    match &record.kind {
        Kind::Blob { key, .. } | Kind::Tombstone { key, .. } => Some(*key),
        Kind::Mark | Kind::Void { .. } | Kind::Seal => None,
    }
}

/// Whether the blob record at `place` is the living copy.
pub(super) fn is_living(place: Place, now: Option<&Entry>) -> bool {
    now.is_some_and(|entry| entry.place == place)
}

#[cfg(test)]
mod tests;
