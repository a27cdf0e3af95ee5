//! Bucket names that this process's copy of the system shard may know wrongly.
//!
//! The copy may be as old as the staleness bound. Who creates or deletes a bucket through this process, or meets a
//! bucket that its shard has sealed, makes the name suspect for twice that time: it is resolved by a linearizable read,
//! so that a client that deletes a bucket and makes it again meets the new one.

use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

/// Names remembered at most; the least used are forgotten, at worst a stale answer within the staleness bound.
const NAMES_MAX: usize = 10_000;

/// Suspect names and the end of their suspicion.
#[derive(Debug)]
pub(crate) struct Suspects {
    until: Cache<String, Instant>,
    time: Duration,
}

impl Suspects {
    pub(crate) fn new(staleness_bound: Duration) -> Self {
        Self {
            until: Cache::new(NAMES_MAX),
            time: staleness_bound * 2,
        }
    }

    pub(crate) fn mark(&self, name: &str) {
        self.until.insert(name.to_owned(), Instant::now() + self.time);
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.until.get(name).is_some_and(|until| Instant::now() < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_suspicion_ends() {
        let suspects = Suspects::new(Duration::from_secs(2));
        suspects.mark("b");
        assert!(suspects.contains("b") && !suspects.contains("c"));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(!suspects.contains("b"));
    }
}
