//! How fast one device receives copies: so many chunks on their way at once, and whoever comes may overdraw by one chunk,
//! the next waits until that is paid for at the rate set by then.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// The longest wait at once, so that a new rate is noticed.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Chunks on their way to one device at once: what is not yet there has its place in memory.
const CHUNKS_AT_ONCE: usize = 8;

/// One device's pace. Its users share it.
#[derive(Debug)]
pub(in crate::node::work) struct Pace {
    debt: Mutex<Debt>,
    places: Semaphore,
}

/// Bytes let through and not paid for, and when that was so.
#[derive(Debug)]
struct Debt {
    bytes: f64,
    at: Instant,
}

impl Pace {
    pub(in crate::node::work) fn new() -> Self {
        let at = Instant::now();
        Self {
            debt: Mutex::new(Debt { bytes: 0.0, at }),
            places: Semaphore::new(CHUNKS_AT_ONCE),
        }
    }

    /// Waits until `bytes` may be sent at the rate that `rate` tells; 0 is no limit. They are on their way until the
    /// answer is dropped.
    pub(in crate::node::work) async fn take(&self, bytes: u64, rate: impl Fn() -> u64) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        let place = self.places.acquire().await.ok();
        loop {
            let wait = self.ask(bytes, rate(), Instant::now());
            if wait.is_zero() {
                return place;
            }
            tokio::time::sleep(wait.min(WAIT_MAX)).await;
        }
    }

    /// Zero when the bytes may go; then they are accounted for.
    #[allow(clippy::cast_precision_loss, reason = "a pace need not be exact to the byte")]
    fn ask(&self, bytes: u64, rate: u64, now: Instant) -> Duration {
        let mut debt = self.debt.lock();
        if rate == 0 {
            *debt = Debt { bytes: 0.0, at: now };
            return Duration::ZERO;
        }
        let paid = now.saturating_duration_since(debt.at).as_secs_f64() * rate as f64;
        *debt = Debt {
            bytes: (debt.bytes - paid).max(0.0),
            at: now,
        };
        if debt.bytes > 0.0 {
            // At least a moment, so that rounding never makes the waiter spin.
            return Duration::from_secs_f64((debt.bytes / rate as f64).clamp(0.001, 3600.0));
        }
        debt.bytes = bytes as f64;
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_device_receives_at_the_set_rate_and_a_new_rate_is_noticed() {
        let (pace, begun) = (Pace::new(), Instant::now());
        for _ in 0..10 {
            pace.take(1000, || 1000).await;
        }
        let taken = begun.elapsed();
        assert!((8.9..10.1).contains(&taken.as_secs_f64()), "{taken:?}");
        // A chunk at one byte a second, then no limit: the waiter goes on within half a second.
        pace.take(1000, || 1).await;
        let begun = Instant::now();
        pace.take(1, || 0).await;
        assert!(begun.elapsed() <= Duration::from_secs(1));
    }
}
