//! How long ago a follower was known to have applied all that its leader had committed. Decides only.

use tokio::time::Instant;

/// What a follower's leader last said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// At this time everything committed was applied here.
    proven: Option<Instant>,
    /// At this time the leader had committed entries below this index, and not all were applied here.
    owed: Option<(Instant, u64)>,
}

impl Freshness {
    /// The leader says, at `now`, that all entries below `committed_next` are committed.
    pub(crate) fn heard(&mut self, now: Instant, committed_next: u64, applied_next: u64) {
        self.settle(applied_next);
        if applied_next >= committed_next {
            self.proven = Some(now);
            self.owed = None;
        } else if self.owed.is_none() {
            self.owed = Some((now, committed_next));
        }
    }

    /// The last time at which everything committed is known to be applied here by now.
    pub(crate) fn proven(&mut self, applied_next: u64) -> Option<Instant> {
        self.settle(applied_next);
        self.proven
    }

    fn settle(&mut self, applied_next: u64) {
        if let Some((at, committed_next)) = self.owed
            && applied_next >= committed_next
        {
            self.proven = Some(at);
            self.owed = None;
        }
    }
}

#[cfg(test)]
#[path = "freshness_tests.rs"]
mod tests;
