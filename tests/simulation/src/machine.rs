//! One simulated machine: a runtime of its own on the simulation's one thread, with a clock that moves only when the
//! world says so. Dropping the runtime is how a process dies: every task ends where it stands.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use clock::WallClock;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::Instant;

/// The wall clock of one machine: the world's time and how far this machine is off.
#[derive(Clone, Debug)]
pub(crate) struct MachineClock {
    world_ms: Arc<AtomicU64>,
    offset_ms: Arc<AtomicI64>,
}

/// What the wall clocks show when the world begins.
const START_MS: u64 = 1_700_000_000_000;

impl MachineClock {
    pub(crate) fn new(world_ms: Arc<AtomicU64>) -> Self {
        Self {
            world_ms,
            offset_ms: Arc::default(),
        }
    }

    pub(crate) fn set_offset_ms(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::SeqCst);
    }
}

impl WallClock for MachineClock {
    fn now_ms(&self) -> u64 {
        let right = START_MS + self.world_ms.load(Ordering::SeqCst);
        right.saturating_add_signed(self.offset_ms.load(Ordering::SeqCst))
    }
}

/// A process that runs.
pub(crate) struct Process {
    runtime: Runtime,
    /// The runtime's clock when the world's stood at `started_ms`.
    base: Instant,
    started_ms: u64,
}

impl Process {
    pub(crate) fn start(now_ms: u64) -> Self {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without threads and sockets needs nothing of the system");
        let base = runtime.block_on(async { Instant::now() });
        Self {
            runtime,
            base,
            started_ms: now_ms,
        }
    }

    pub(crate) fn handle(&self) -> Handle {
        self.runtime.handle().clone()
    }

    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Lets everything happen that happens until `now_ms`.
    pub(crate) fn run_until(&self, now_ms: u64) {
        let until = self.base + Duration::from_millis(now_ms - self.started_ms);
        self.runtime.block_on(async { tokio::time::sleep_until(until).await });
    }

    /// Goes on after a time in which nothing ran, as after SIGCONT: all timers that passed are due at once.
    pub(crate) fn thaw(&self, now_ms: u64) {
        let until = self.base + Duration::from_millis(now_ms - self.started_ms);
        self.runtime.block_on(async {
            let missed = until.saturating_duration_since(Instant::now());
            tokio::time::advance(missed).await;
        });
    }

    /// Ends here and now; `held` are the things of this process that live outside its tasks.
    pub(crate) fn die<T>(self, held: T) {
        let inside = self.runtime.enter();
        drop(held);
        drop(inside);
        drop(self.runtime);
    }
}
