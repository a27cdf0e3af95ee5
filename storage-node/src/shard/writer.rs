//! One thread per node that makes everybody's appends durable: what all shards queue while a sync runs is written as
//! one batch and covered by the next sync, once.
//!
//! DUR-1   A callback is called with `Ok` only after the sync that covers its rows returned.
//! DUR-4   A failed sync is never retried: the writer stops for good, every waiting and later job gets the failure.
//!
//! Knows: batches and syncs. Must not know: what is written.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::store::{RowStore, StoreFailed, WriteSet};
use super::synced_note::SyncedNote;
use crate::threads::{self, Labour};

/// Jobs that may wait; beyond it appends wait for room (openraft has one append in flight per shard).
const QUEUE_MAX: usize = 1024;
/// Bytes of one batch; a larger job goes alone.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

type Done = Box<dyn FnOnce(Result<(), StoreFailed>) + Send>;

/// Whether a job needs a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Call back after a sync.
    Synced,
    /// Call back once written; a later sync covers it.
    Unsynced,
}

struct Job {
    set: WriteSet,
    durability: Durability,
    done: Done,
}

/// Hands jobs to the writer thread. Cheap to clone; the thread ends when the last handle is gone.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    counts: Arc<Counts>,
    /// Last, because the thread ends when `jobs` is gone.
    _thread: Arc<threads::Running>,
}

/// What the writer has done since it started.
#[derive(Debug, Default)]
struct Counts {
    syncs: AtomicU64,
    batches: AtomicU64,
    jobs: AtomicU64,
    failed: OnceLock<StoreFailed>,
}

impl Writer {
    /// Starts the thread. `note` is told the sequence number each sync has covered.
    pub(crate) fn start(store: Arc<dyn RowStore>, note: SyncedNote) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let counts = Arc::new(Counts::default());
        let thread = WriterThread {
            store,
            note,
            queue,
            counts: Arc::clone(&counts),
            carried: None,
        };
        let thread = threads::start("shard-writer", thread.run())?;
        Ok(Self {
            jobs,
            counts,
            _thread: Arc::new(thread),
        })
    }

    /// Queues `set`; waits only for room in the queue. `done` is called on the writer thread.
    pub(crate) async fn submit(
        &self,
        set: WriteSet,
        durability: Durability,
        done: impl FnOnce(Result<(), StoreFailed>) + Send + 'static,
    ) {
        let job = Job {
            set,
            durability,
            done: Box::new(done),
        };
        if let Err(mpsc::error::SendError(job)) = self.jobs.send(job).await {
            (job.done)(Err(self.failure()));
        }
    }

    /// Writes `set` and waits until it is as durable as asked.
    ///
    /// # Errors
    /// When the store failed.
    pub(crate) async fn write(&self, set: WriteSet, durability: Durability) -> Result<(), StoreFailed> {
        let (done, result) = oneshot::channel();
        self.submit(set, durability, move |outcome| {
            let _ = done.send(outcome);
        })
        .await;
        result.await.unwrap_or_else(|_| Err(self.failure()))
    }

    /// Syncs done so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.counts.syncs.load(Ordering::Relaxed)
    }

    /// Jobs written so far; with [`Self::syncs`] it shows how many share one.
    pub(crate) fn jobs(&self) -> u64 {
        self.counts.jobs.load(Ordering::Relaxed)
    }

    /// Why the writer stopped for good.
    pub(crate) fn failed(&self) -> Option<StoreFailed> {
        self.counts.failed.get().cloned()
    }

    fn failure(&self) -> StoreFailed {
        self.failed().unwrap_or(StoreFailed {
            doing: "writing",
            reason: "the writer has stopped".into(),
        })
    }
}

struct WriterThread {
    store: Arc<dyn RowStore>,
    note: SyncedNote,
    queue: mpsc::Receiver<Job>,
    counts: Arc<Counts>,
    /// Taken from the queue, but too large for the batch before it.
    carried: Option<Job>,
}

impl WriterThread {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            let outcome = match self.counts.failed.get() {
                Some(failure) => Err(failure.clone()),
                None => self.write(&batch.set, batch.done.len(), batch.synced).await,
            };
            if let Err(failure) = &outcome
                && self.counts.failed.set(failure.clone()).is_ok()
            {
                tracing::error!(%failure, "the metadata store failed; this node's shards stop");
            }
            for done in batch.done {
                done(outcome.clone());
            }
        }
        self.note.close();
    }

    /// Waits for a job and takes all that wait with it.
    async fn next_batch(&mut self) -> Option<Batch> {
        let first = match self.carried.take() {
            Some(carried) => carried,
            None => self.queue.recv().await?,
        };
        let mut batch = Batch {
            set: first.set,
            synced: first.durability == Durability::Synced,
            done: vec![first.done],
        };
        while let Ok(job) = self.queue.try_recv() {
            if batch.set.bytes() + job.set.bytes() > BATCH_BYTES_MAX {
                self.carried = Some(job);
                break;
            }
            batch.set.append(job.set);
            batch.synced |= job.durability == Durability::Synced;
            batch.done.push(job.done);
        }
        Some(batch)
    }

    async fn write(&mut self, set: &WriteSet, jobs: usize, synced: bool) -> Result<(), StoreFailed> {
        if !set.is_empty() {
            self.store.write(set)?;
        }
        self.counts.batches.fetch_add(1, Ordering::Relaxed);
        self.counts.jobs.fetch_add(jobs as u64, Ordering::Relaxed);
        if synced {
            let covered = self.store.sequence();
            threads::labour(Labour::StoreSync).await;
            self.store.sync()?;
            self.counts.syncs.fetch_add(1, Ordering::Relaxed);
            self.note.synced(covered);
        }
        Ok(())
    }
}

struct Batch {
    set: WriteSet,
    synced: bool,
    done: Vec<Done>,
}
