//! Compacts what scans had to step over: a page of a list behind a million deleted keys reads a million tombstones, until
//! RocksDB gets round to compacting them, which after a burst of deletions may be never.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};
use rocksdb::{BottommostLevelCompaction, CompactOptions, DB};

use super::rocks::name;
use super::store::Space;
use crate::threads::Running;

/// A scan that stepped over this many tombstones has their range compacted: they cost it some milliseconds.
const TOMBSTONES_MAX: u64 = 10_000;
/// The rest after a compaction in which no other is begun, as a multiple of the time that it took.
const REST_FACTOR: u32 = 4;

/// A range of rows with many tombstones.
struct Stretch {
    space: Space,
    from: Vec<u8>,
    until: Vec<u8>,
}

/// Compacts one range at a time; what is asked meanwhile is forgotten, since the next scan asks again.
pub(super) struct Tidier {
    // Goes before the thread, which then ends.
    asked: SyncSender<Stretch>,
    _thread: Running,
}

impl Tidier {
    pub(super) fn start(db: &Arc<DB>) -> std::io::Result<Self> {
        let (asked, stretches) = sync_channel(1);
        let db = Arc::clone(db);
        let thread = Running::start("metadata-tidier", move || work(&db, &stretches))?;
        Ok(Self { asked, _thread: thread })
    }

    /// To be told what a scan from `from` up to `until` stepped over.
    pub(super) fn scanned(&self, space: Space, from: &[u8], until: &[u8], stepped_over: u64) {
        // The log's rows are purged from its front, and no list is made of them.
        if stepped_over < TOMBSTONES_MAX || space == Space::Log {
            return;
        }
        let stretch = Stretch {
            space,
            from: from.to_vec(),
            until: until.to_vec(),
        };
        drop(self.asked.try_send(stretch));
    }
}

fn work(db: &DB, stretches: &Receiver<Stretch>) {
    let mut rest_until = Instant::now();
    while let Ok(Stretch { space, from, until }) = stretches.recv() {
        let begun = Instant::now();
        let family = db.cf_handle(name(space));
        let Some(family) = family.filter(|_| begun >= rest_until) else {
            continue;
        };
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        // A lone file would only be moved down as it is, tombstones and all.
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        db.compact_range_cf_opt(&family, Some(from), Some(until), &options);
        let took = begun.elapsed();
        tracing::debug!(?space, ?took, "compacted a range with many deleted rows");
        rest_until = begun + took + (took * REST_FACTOR).max(Duration::from_secs(1));
    }
}

/// Counts the tombstones that this thread steps over.
pub(super) struct Steps(PerfContext);

impl Steps {
    pub(super) fn count() -> Self {
        set_perf_stats(PerfStatsLevel::EnableCount);
        let mut context = PerfContext::default();
        context.reset();
        Self(context)
    }

    pub(super) fn tombstones(&self) -> u64 {
        self.0.metric(PerfMetric::InternalDeleteSkippedCount)
    }
}

#[cfg(test)]
mod tests {
    use metadata::rows::Visit;

    use super::*;
    use crate::shard::rocks::{RocksMemory, RocksStore};
    use crate::shard::store::{ReadSpaces, RowStore, WriteSet};

    #[test]
    fn what_a_scan_stepped_over_is_soon_gone() {
        let dir = tempfile::tempdir().unwrap();
        let store = RocksStore::open(dir.path(), RocksMemory::default()).unwrap();
        let keys = || (0..3 * TOMBSTONES_MAX).map(|number| format!("{number:08}").into_bytes());
        let (mut put, mut delete) = (WriteSet::default(), WriteSet::default());
        keys().for_each(|key| put.put(Space::Current, key, b"row".as_slice()));
        keys().for_each(|key| delete.remove(Space::Current, key));
        store.write(&put).unwrap();
        store.write(&delete).unwrap();
        let step_over = || {
            let steps = Steps::count();
            store.scan(Space::Current, b"0", b"9", &mut |_, _| Visit::Next).unwrap();
            steps.tombstones()
        };
        assert!(step_over() >= TOMBSTONES_MAX, "the case has nothing to show");
        let begun = Instant::now();
        while step_over() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "the tombstones stay");
            std::thread::yield_now();
        }
    }
}
