//! Where work that may block runs, so that tokio's workers never do.
//!
//! In a server: on threads of its own. A simulation runs everything on one thread, which says so once ([`simulate`]);
//! the same work then runs as tasks of the runtime at hand, and what a disk would take it takes from the simulation's
//! clock. Loops that block are therefore futures that block between their awaits.
//!
//! Knows: threads. Must not know: what runs on them.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;

/// What a simulated disk or processor is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labour {
    /// A sync of the metadata store.
    StoreSync,
    /// A write and a sync of a device.
    DeviceSync,
    /// A job that may block: a read, an apply, a hash.
    Job,
}

/// How long things take in a simulation.
pub trait Pace: Send + Sync + 'static {
    /// How long this takes now.
    fn takes(&self, labour: Labour) -> Duration;
}

thread_local! {
    static SIMULATED: RefCell<Option<Arc<dyn Pace>>> = const { RefCell::new(None) };
}

/// From now on what this thread starts stays on this thread, as tasks of the runtime at hand.
pub fn simulate(pace: Arc<dyn Pace>) {
    SIMULATED.with(|simulated| *simulated.borrow_mut() = Some(pace));
}

fn pace() -> Option<Arc<dyn Pace>> {
    SIMULATED.with(|simulated| simulated.borrow().clone())
}

/// True on a thread that has called [`simulate`].
#[must_use]
pub fn simulated() -> bool {
    pace().is_some()
}

/// A running thread. Dropping it waits for the thread's end, so whoever owns the thread's queue drops that first: then
/// nothing of what the thread used is alive when its owner is gone, and a process never ends in the middle of RocksDB.
pub struct Running(Option<std::thread::JoinHandle<()>>);

impl Running {
    /// Starts a thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let thread = std::thread::Builder::new().name(name.to_owned());
        Ok(Self(Some(thread.spawn(work)?)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(thread) = self.0.take() else { return };
        // The last owner may be a job of this very thread, which ends right after it.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

/// Starts a thread for a loop that blocks; it ends with `work`.
///
/// # Errors
/// When the system has no thread to give.
pub fn start(name: &str, work: impl Future<Output = ()> + Send + 'static) -> io::Result<Running> {
    if pace().is_some() {
        tokio::spawn(work);
        return Ok(Running(None));
    }
    Running::start(name, move || futures::executor::block_on(work))
}

/// Runs a job that may block.
pub fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    match pace() {
        Some(_) => tokio::spawn(async move {
            labour(Labour::Job).await;
            job()
        }),
        None => tokio::task::spawn_blocking(job),
    }
}

/// Runs a longer piece of work that may block between its awaits.
pub fn blocking_steps<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    match pace() {
        Some(_) => tokio::spawn(work),
        None => tokio::task::spawn_blocking(move || futures::executor::block_on(work)),
    }
}

/// Stands before work that takes its time by itself in a server, and lets that time pass in a simulation.
pub async fn labour(labour: Labour) {
    if let Some(pace) = pace() {
        tokio::time::sleep(pace.takes(labour)).await;
    }
}

/// The bound of a queue that [`send`] fills: `bound`, or none in a simulation, where a full queue could not be waited for.
#[must_use]
pub fn queue_bound(bound: usize) -> usize {
    if pace().is_some() {
        Semaphore::MAX_PERMITS
    } else {
        bound
    }
}

/// Queues `item` from a job of [`blocking`], waiting for room; false when nobody takes it any more.
pub fn send<T>(queue: &Sender<T>, item: T) -> bool {
    if pace().is_some() {
        queue.try_send(item).is_ok()
    } else {
        queue.blocking_send(item).is_ok()
    }
}
