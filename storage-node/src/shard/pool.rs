//! A few named threads for work that may block on the store, so that tokio's workers never do.

use std::sync::Arc;

use parking_lot::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use tokio::sync::oneshot;

use crate::threads::{self, Running};

type Job = Box<dyn FnOnce() + Send>;

/// A bounded number of threads with a bounded queue. Dropping the last clone waits until queued work is finished.
#[derive(Clone)]
pub(crate) struct Pool {
    jobs: SyncSender<Job>,
    /// Last, because the threads end when `jobs` is gone.
    _threads: Arc<Vec<Running>>,
}

/// The queue is full, or the work panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolFault {
    Full,
    Panicked,
}

impl Pool {
    /// Starts `count` threads that take work from a queue of at most `queue` jobs.
    pub(crate) fn start(name: &str, count: usize, queue: usize) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel::<Job>(queue);
        let waiting = Arc::new(Mutex::new(waiting));
        // A simulation runs every job as a task.
        let started = if threads::simulated() { 0 } else { count };
        let start = |number| {
            let waiting = Arc::clone(&waiting);
            Running::start(&format!("{name}-{number}"), move || work(&waiting))
        };
        Ok(Self {
            jobs,
            _threads: Arc::new((0..started).map(start).collect::<std::io::Result<_>>()?),
        })
    }

    /// Runs `job` on one of the threads and waits for what it returns.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolFault> {
        if threads::simulated() {
            return threads::blocking(job).await.map_err(|_| PoolFault::Panicked);
        }
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            let _ = done.send(job());
        });
        match self.jobs.try_send(job) {
            Ok(()) => result.await.map_err(|_| PoolFault::Panicked),
            Err(TrySendError::Full(_)) => Err(PoolFault::Full),
            Err(TrySendError::Disconnected(_)) => Err(PoolFault::Panicked),
        }
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let job = waiting.lock().recv();
        let Ok(job) = job else { return };
        // A panic belongs to its job, whose waiter sees the dropped channel; the thread serves on.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("work on the shard store panicked");
        }
    }
}
