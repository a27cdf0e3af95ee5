//! The latest changes of the system shard, for processes that keep a copy of it.
//!
//! A ring of changes by log index, bounded in bytes. A reader that is too far behind is sent a dump instead: pages of
//! rows, each from the replica as it is then, and after them all changes since the dump began. Rows and changes are
//! written over each other in that order, so the copy ends equal to the replica.
//!
//! Knows: rows and indexes. Must not know: who watches.

use std::collections::VecDeque;

use bytes::Bytes;
use metadata::rows::{Family, RowChange};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::calls::WatchRow;

/// Bytes of keys and values kept in the ring.
const RING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of rows in one answer.
pub(crate) const PAGE_BYTES_MAX: usize = 512 * 1024;

/// The families a copy needs: all but the replies kept for repeats.
pub(crate) const FAMILIES: [Family; 4] = [Family::Meta, Family::Buckets, Family::Names, Family::Records];

/// A ring of changes.
pub(crate) struct SystemFeed {
    ring: Mutex<Ring>,
    last: watch::Sender<Option<u64>>,
}

#[derive(Default)]
struct Ring {
    /// Changes above this index are all here; `None`: from the beginning of the log.
    floor: Option<u64>,
    changes: VecDeque<(u64, Vec<WatchRow>)>,
    bytes: usize,
}

/// What a reader at some index gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Changes up to this index; `all` when there are no more.
    Changes { rows: Vec<WatchRow>, upto: u64, all: bool },
    /// Nothing new.
    Nothing,
    /// The ring does not reach back so far.
    TooOld,
}

impl SystemFeed {
    pub(crate) fn new() -> Self {
        Self {
            ring: Mutex::default(),
            last: watch::Sender::new(None),
        }
    }

    /// Forgets everything; the replica now stands at `index`.
    pub(crate) fn restart_at(&self, index: Option<u64>) {
        *self.ring.lock() = Ring {
            floor: index,
            ..Ring::default()
        };
        self.last.send_replace(index);
    }

    /// Adds the changes of one applied entry.
    pub(crate) fn push(&self, index: u64, changes: Vec<RowChange>) {
        let wanted = changes.into_iter().filter(|change| FAMILIES.contains(&change.family));
        let rows: Vec<WatchRow> = wanted.map(to_watch_row).collect();
        let mut ring = self.ring.lock();
        if !rows.is_empty() {
            ring.bytes += rows.iter().map(bytes_of).sum::<usize>();
            ring.changes.push_back((index, rows));
        }
        while ring.bytes > RING_BYTES_MAX {
            let Some((index, rows)) = ring.changes.pop_front() else {
                break;
            };
            ring.bytes -= rows.iter().map(bytes_of).sum::<usize>();
            ring.floor = Some(index);
        }
        drop(ring);
        self.last.send_replace(Some(index));
    }

    /// The last index applied, as it grows.
    pub(crate) fn last(&self) -> watch::Receiver<Option<u64>> {
        self.last.subscribe()
    }

    /// Changes after `index`, at most about [`PAGE_BYTES_MAX`] of them.
    pub(crate) fn since(&self, index: u64) -> Since {
        let ring = self.ring.lock();
        if ring.floor.is_some_and(|floor| index < floor) {
            return Since::TooOld;
        }
        let last = *self.last.borrow();
        let mut rows = Vec::new();
        let mut bytes = 0;
        let mut upto = index;
        for (at, changed) in ring.changes.iter().filter(|(at, _)| *at > index) {
            if bytes >= PAGE_BYTES_MAX {
                break;
            }
            bytes += changed.iter().map(bytes_of).sum::<usize>();
            rows.extend(changed.iter().cloned());
            upto = *at;
        }
        if rows.is_empty() && last.is_none_or(|last| last <= index) {
            return Since::Nothing;
        }
        let all = ring.changes.back().is_none_or(|(at, _)| *at <= upto);
        if all {
            upto = upto.max(last.unwrap_or(0));
        }
        Since::Changes { rows, upto, all }
    }
}

pub(crate) fn to_watch_row(change: RowChange) -> WatchRow {
    WatchRow {
        family: change.family as u8,
        key: Bytes::from(change.key),
        value: change.value,
    }
}

pub(crate) fn bytes_of(row: &WatchRow) -> usize {
    row.key.len() + row.value.as_ref().map_or(0, Bytes::len)
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
