//! Which processes keep their copy of the system shard through this node, and how far each has come.
//!
//! A watcher that asks for changes after an index says thereby that it has applied everything up to it. One that has
//! not asked for longer than the staleness bound does not use its copy any more, so nobody waits for it.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::client::STALENESS_MAX;
use crate::shard::calls::WatchFrom;

/// Watchers remembered; the longest silent one makes room.
const WATCHERS_MAX: usize = 4096;

/// Live watchers by the number of their process.
#[derive(Default)]
pub(crate) struct Watchers {
    seen: Mutex<HashMap<u64, Seen>>,
    news: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// All changes up to here are applied; `None` while it has no usable copy.
    applied: Option<u64>,
    at: Instant,
}

impl Watchers {
    /// Notes a poll.
    pub(crate) fn polled(&self, process: u64, from: &WatchFrom) {
        let applied = match from {
            WatchFrom::Index(index) => Some(*index),
            WatchFrom::Nothing | WatchFrom::Dump { .. } => None,
        };
        let at = Instant::now();
        {
            let mut seen = self.seen.lock();
            if seen.len() >= WATCHERS_MAX && !seen.contains_key(&process) {
                seen.retain(|_, watcher| watcher.at.elapsed() < STALENESS_MAX);
            }
            seen.insert(process, Seen { applied, at });
        }
        self.news.notify_waiters();
    }

    /// How many were heard of lately.
    pub(crate) fn live(&self) -> usize {
        self.seen
            .lock()
            .values()
            .filter(|watcher| watcher.at.elapsed() < STALENESS_MAX)
            .count()
    }

    fn all_applied(&self, index: u64) -> bool {
        let live = |watcher: &&Seen| watcher.at.elapsed() < STALENESS_MAX;
        let behind = |watcher: &Seen| watcher.applied.is_some_and(|applied| applied < index);
        !self.seen.lock().values().filter(live).any(behind)
    }

    /// Waits until every live watcher has applied `index`; false when `at_most` passed before.
    pub(crate) async fn applied(&self, index: u64, at_most: Duration) -> bool {
        let waiting = async {
            loop {
                let news = self.news.notified();
                tokio::pin!(news);
                // Registered before the look, so that no poll slips in between.
                news.as_mut().enable();
                if self.all_applied(index) {
                    return;
                }
                news.await;
            }
        };
        tokio::time::timeout(at_most, waiting).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_live_watcher_that_is_behind_is_waited_for_and_a_silent_one_is_not() {
        let watchers = Watchers::default();
        let bound = Duration::from_millis(1900);
        assert!(watchers.applied(7, bound).await);
        watchers.polled(1, &WatchFrom::Index(6));
        assert!(!watchers.applied(7, bound).await);
        watchers.polled(1, &WatchFrom::Index(7));
        watchers.polled(2, &WatchFrom::Nothing);
        assert!(watchers.applied(7, Duration::ZERO).await);
        watchers.polled(3, &WatchFrom::Index(1));
        assert_eq!(watchers.live(), 3);
        tokio::time::advance(STALENESS_MAX).await;
        assert!(watchers.applied(7, Duration::ZERO).await);
        assert_eq!(watchers.live(), 0);
    }

    #[tokio::test]
    async fn a_poll_wakes_who_waits() {
        let watchers = std::sync::Arc::new(Watchers::default());
        watchers.polled(1, &WatchFrom::Index(6));
        let waiting = {
            let watchers = std::sync::Arc::clone(&watchers);
            tokio::spawn(async move { watchers.applied(7, Duration::from_secs(60)).await })
        };
        tokio::task::yield_now().await;
        watchers.polled(1, &WatchFrom::Index(9));
        assert!(waiting.await.unwrap());
    }
}
