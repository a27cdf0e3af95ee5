//! A shard's Raft log and vote over the store.
//!
//! DUR-1   An append is reported to openraft only after the sync that covers it; a vote is synced before it is cast.
//!
//! The latest entries stay in memory, bounded by bytes, so that replication and apply do not read the disk for the
//! tail.
//!
//! When a snapshot is installed, openraft purges the log up to it at once, while the rows are still being switched. A
//! purge above what is applied is therefore only noted in memory; it becomes durable in the batch that makes the
//! snapshot's rows live, and appends wait for that, so that a crash at any point leaves a log without holes.
//!
//! Knows: entries and votes. Must not know: what commands mean.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clock::WallClock;
use metadata::ids::ShardId;
use metadata::rows::Visit;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState, OptionalSend, RaftLogReader, StorageIOError};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::layout;
use super::pool::Pool;
use super::retention::{LogLimits, LogSizes};
use super::store::{RowStore, Space, StoreFailed, WriteSet};
use super::types::{Entry, LogId, ShardTypes, StorageError, Vote, from_value, to_value};
use super::writer::{Durability, Writer};

/// One read for replication returns at most about this many bytes (and at least one entry).
const READ_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How long an append waits for a snapshot's rows to be switched.
const INSTALL_WAIT_MAX: Duration = Duration::from_secs(60);
/// Rows removed from the log in one batch.
const REMOVE_ROWS_MAX: u64 = 4096;

/// What a shard's log works with.
pub(crate) struct LogParts {
    pub(crate) shard: ShardId,
    pub(crate) store: Arc<dyn RowStore>,
    pub(crate) writer: Writer,
    pub(crate) reads: Pool,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) cache_bytes_max: usize,
    /// The index after the last applied entry.
    pub(crate) applied_next: watch::Receiver<u64>,
}

/// A shard's log; clones share it.
#[derive(Clone)]
pub(crate) struct ShardLog {
    inner: Arc<Inner>,
}

struct Inner {
    parts: LogParts,
    tail: Mutex<Tail>,
    /// Whether a snapshot is given to openraft to be installed.
    installing: AtomicBool,
}

/// What is known without reading the store.
#[derive(Default)]
struct Tail {
    vote: Option<Vote>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// The latest entries without gaps, ending with `last`, and their encoded sizes.
    recent: VecDeque<(Entry, usize)>,
    recent_bytes: usize,
    sizes: LogSizes,
    /// The last index of a snapshot that is being installed: purged for openraft, not yet in the store.
    awaited: Option<u64>,
}

/// CON-1: openraft lets a node that led when it died lead on under the same vote, but it no longer knows how far the log
/// was committed, so its read index could lie before what was acknowledged. As a vote that was only cast it orders the
/// same among all votes, and the node leads again only after an election, whose first entry commits all before it.
fn to_be_elected_anew(vote: Vote) -> Vote {
    Vote {
        committed: false,
        ..vote
    }
}

impl ShardLog {
    /// Finds out where the shard's log stands, and removes what an unfinished purge left. Blocks on the store.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) fn open(parts: LogParts) -> Result<Self, StoreFailed> {
        let store = parts.store.as_ref();
        let shard = parts.shard;
        let vote = store
            .get(Space::State, &layout::vote(shard))?
            .map(|v| from_value(&v))
            .transpose()?
            .map(to_be_elected_anew);
        let purged: Option<LogId> = store
            .get(Space::State, &layout::purged(shard))?
            .map(|v| from_value(&v))
            .transpose()?;
        let first = purged.map_or(0, |purged| purged.index + 1);
        remove_below(store, shard, first)?;
        let (from, until) = (layout::log(shard, first), layout::log(shard, u64::MAX));
        let last = match store.last(Space::Log, &from, &until)? {
            Some((_, value)) => Some(from_value::<Entry>(&value)?.log_id),
            None => purged,
        };
        let mut tail = Tail {
            vote,
            purged,
            last,
            ..Tail::default()
        };
        if let Some(last) = last.filter(|last| last.index >= first) {
            let bytes = store.bytes_between(Space::Log, &from, &until);
            tail.sizes = LogSizes::found(first, last.index, bytes, parts.clock.now_ms());
        }
        Ok(Self {
            inner: Arc::new(Inner {
                parts,
                tail: Mutex::new(tail),
                installing: AtomicBool::new(false),
            }),
        })
    }

    /// Bytes of the log, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        self.inner.tail.lock().sizes.bytes()
    }

    /// Bytes of the entries `from..until`, roughly.
    pub(crate) fn bytes_between(&self, from: u64, until: u64) -> u64 {
        self.inner.tail.lock().sizes.bytes_between(from, until)
    }

    /// The last log id, as far as openraft was told.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.inner.tail.lock().last
    }

    /// The last index that may be purged; see [`LogSizes::purge_upto`].
    pub(crate) fn purge_upto(&self, limits: LogLimits, applied: u64, held: Option<u64>) -> Option<u64> {
        let now_ms = self.inner.parts.clock.now_ms();
        self.inner.tail.lock().sizes.purge_upto(limits, now_ms, applied, held)
    }

    /// Tells that a snapshot is given to openraft to be installed, or that this has ended.
    pub(crate) fn set_installing(&self, installing: bool) {
        self.inner.installing.store(installing, Ordering::SeqCst);
    }

    /// The first index that was not purged.
    fn first(&self) -> u64 {
        self.inner.tail.lock().purged.map_or(0, |purged| purged.index + 1)
    }

    /// Removes rows of a purged log that are still in the store.
    pub(crate) fn remove_purged_rows(&self) -> Result<(), StoreFailed> {
        let first = self.inner.tail.lock().purged.map_or(0, |purged| purged.index + 1);
        remove_below(self.inner.parts.store.as_ref(), self.inner.parts.shard, first)
    }

    /// Waits until the snapshot that is being installed is in the store.
    async fn install_finished(&self) -> Result<(), StorageError> {
        let Some(awaited) = self.inner.tail.lock().awaited else {
            return Ok(());
        };
        let mut applied_next = self.inner.parts.applied_next.clone();
        let finished = tokio::time::timeout(INSTALL_WAIT_MAX, applied_next.wait_for(|next| *next > awaited)).await;
        if !matches!(finished, Ok(Ok(_))) {
            let reason = format!("the snapshot up to {awaited} was not installed in time");
            return Err(StorageIOError::write_logs(AnyError::error(reason)).into());
        }
        self.inner.tail.lock().awaited = None;
        Ok(())
    }

    async fn read(&self, from: u64, until: u64, bytes_max: usize) -> Result<Vec<Entry>, StorageError> {
        // Rows of purged entries may still be in the store for a while.
        let from = from.max(self.first());
        if from >= until {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.inner.tail.lock().recent(from, until, bytes_max) {
            return Ok(entries);
        }
        let inner = Arc::clone(&self.inner);
        let read = self
            .inner
            .parts
            .reads
            .run(move || inner.read_store(from, until, bytes_max))
            .await;
        match read {
            Ok(entries) => entries.map_err(|e| StorageIOError::read_logs(AnyError::new(&e)).into()),
            Err(fault) => Err(StorageIOError::read_logs(AnyError::error(format!("{fault:?}"))).into()),
        }
    }
}

impl Inner {
    fn read_store(&self, from: u64, until: u64, bytes_max: usize) -> Result<Vec<Entry>, StoreFailed> {
        let (first, end) = (
            layout::log(self.parts.shard, from),
            layout::log(self.parts.shard, until),
        );
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut outcome = Ok(());
        self.parts
            .store
            .scan(Space::Log, &first, &end, &mut |_, value| match from_value(value) {
                Ok(entry) => {
                    entries.push(entry);
                    bytes += value.len();
                    if bytes < bytes_max { Visit::Next } else { Visit::Stop }
                }
                Err(e) => {
                    outcome = Err(e);
                    Visit::Stop
                }
            })?;
        outcome.map(|()| entries)
    }
}

impl Tail {
    /// Entries from memory, when it holds the first of them.
    fn recent(&self, from: u64, until: u64, bytes_max: usize) -> Option<Vec<Entry>> {
        let first = self.recent.front()?.0.log_id.index;
        let skipped = usize::try_from(from.checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let wanted = self.recent.iter().skip(skipped).take_while(|(entry, size)| {
            let fits = bytes < bytes_max && entry.log_id.index < until;
            bytes += size;
            fits
        });
        Some(wanted.map(|(entry, _)| entry.clone()).collect())
    }

    fn push(&mut self, entry: Entry, bytes: usize, now_ms: u64) {
        self.last = Some(entry.log_id);
        self.sizes.appended(entry.log_id.index, bytes as u64, now_ms);
        self.recent_bytes += bytes;
        self.recent.push_back((entry, bytes));
    }

    /// Forgets the oldest entries until `bytes_max` are left. Called before new ones are pushed, so that an entry is
    /// never forgotten before it was written.
    fn trim(&mut self, bytes_max: usize) {
        while self.recent_bytes > bytes_max {
            let Some((_, bytes)) = self.recent.pop_front() else {
                return;
            };
            self.recent_bytes -= bytes;
        }
    }

    fn truncate(&mut self, since: u64, last: Option<LogId>) {
        while self.recent.back().is_some_and(|(entry, _)| entry.log_id.index >= since) {
            self.recent_bytes -= self.recent.pop_back().map_or(0, |(_, bytes)| bytes);
        }
        self.sizes.truncated(since);
        self.last = last;
    }

    fn purge(&mut self, upto: LogId) {
        while self
            .recent
            .front()
            .is_some_and(|(entry, _)| entry.log_id.index <= upto.index)
        {
            self.recent_bytes -= self.recent.pop_front().map_or(0, |(_, bytes)| bytes);
        }
        self.sizes.purged(upto.index);
        self.purged = Some(upto);
        if self.last < Some(upto) {
            self.last = Some(upto);
        }
    }
}

/// Removes the entries below `first`, a bounded number per batch.
fn remove_below(store: &dyn RowStore, shard: ShardId, first: u64) -> Result<(), StoreFailed> {
    let (from, until) = (layout::log(shard, 0), layout::log(shard, first));
    let mut next = from;
    loop {
        let mut set = WriteSet::new();
        let mut rows = 0;
        store.scan(Space::Log, &next, &until, &mut |key, _| {
            set.remove(Space::Log, key.to_vec());
            rows += 1;
            if rows < REMOVE_ROWS_MAX {
                Visit::Next
            } else {
                Visit::Stop
            }
        })?;
        let Some(last) = set.rows().last().map(|row| row.key.clone()) else {
            return Ok(());
        };
        store.write(&set)?;
        next = last;
        next.push(0);
    }
}

fn start_of(range: &impl RangeBounds<u64>) -> u64 {
    match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    }
}

fn end_of(range: &impl RangeBounds<u64>) -> u64 {
    match range.end_bound() {
        Bound::Included(end) => end + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    }
}

impl RaftLogReader<ShardTypes> for ShardLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read(start_of(&range), end_of(&range), usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.read(start, end, READ_BYTES_MAX).await
    }
}

impl RaftLogStorage<ShardTypes> for ShardLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<ShardTypes>, StorageError> {
        let tail = self.inner.tail.lock();
        Ok(LogState {
            last_purged_log_id: tail.purged,
            last_log_id: tail.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let mut set = WriteSet::new();
        set.put(Space::State, layout::vote(self.inner.parts.shard), to_value(vote));
        let written = self.inner.parts.writer.write(set, Durability::Synced).await;
        written.map_err(|e| StorageIOError::write_vote(AnyError::new(&e)))?;
        self.inner.tail.lock().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.inner.tail.lock().vote)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<ShardTypes>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.install_finished().await?;
        let mut set = WriteSet::new();
        {
            let now_ms = self.inner.parts.clock.now_ms();
            let mut tail = self.inner.tail.lock();
            tail.trim(self.inner.parts.cache_bytes_max);
            for entry in entries {
                let value = to_value(&entry);
                let size = value.len();
                set.put(
                    Space::Log,
                    layout::log(self.inner.parts.shard, entry.log_id.index),
                    value,
                );
                tail.push(entry, size, now_ms);
            }
        }
        let flushed = |outcome: Result<(), StoreFailed>| callback.log_io_completed(outcome.map_err(io::Error::other));
        self.inner.parts.writer.submit(set, Durability::Synced, flushed).await;
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let first = self.inner.tail.lock().purged.map_or(0, |purged| purged.index + 1);
        let before = match log_id.index.checked_sub(1).filter(|index| *index >= first) {
            Some(index) => self
                .read(index, index + 1, usize::MAX)
                .await?
                .first()
                .map(|entry| entry.log_id),
            None => self.inner.tail.lock().purged,
        };
        let last = self.inner.tail.lock().last.map_or(0, |last| last.index);
        let mut set = WriteSet::new();
        for index in log_id.index..=last {
            set.remove(Space::Log, layout::log(self.inner.parts.shard, index));
        }
        let written = self.inner.parts.writer.write(set, Durability::Synced).await;
        written.map_err(|e| StorageIOError::write_logs(AnyError::new(&e)))?;
        self.inner.tail.lock().truncate(log_id.index, before);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let above_applied = log_id.index >= *self.inner.parts.applied_next.borrow();
        if above_applied && self.inner.installing.load(Ordering::SeqCst) {
            let mut tail = self.inner.tail.lock();
            tail.purge(log_id);
            tail.awaited = Some(log_id.index);
            return Ok(());
        }
        let mut set = WriteSet::new();
        set.put(Space::State, layout::purged(self.inner.parts.shard), to_value(&log_id));
        let written = self.inner.parts.writer.write(set, Durability::Unsynced).await;
        written.map_err(|e| StorageIOError::write_logs(AnyError::new(&e)))?;
        self.inner.tail.lock().purge(log_id);
        // The rows themselves may go later: reads begin at the purge point, and the next start finishes the job.
        let log = self.clone();
        tokio::spawn(async move {
            log.inner
                .parts
                .reads
                .clone()
                .run(move || log.remove_purged_rows())
                .await
        });
        Ok(())
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
