//! How much of a shard's log is kept: by bytes and by age. Decides only; nothing is read or removed here.

use std::collections::VecDeque;
use std::time::Duration;

/// Bytes counted under one mark; a coarser ledger than one line per entry.
const MARK_BYTES: u64 = 1024 * 1024;
/// Age spread under one mark in milliseconds.
const MARK_MS: u64 = 5_000;

/// When log entries may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// The oldest entries go once the shard's log is larger than this, in bytes, and they are older than `age_min`.
    pub bytes_max: u64,
    /// Younger entries stay, so that a node that was away for ten minutes at full load catches up from the log.
    pub age_min: Duration,
    /// The oldest entries go, however young, once the log is larger than this, in bytes.
    pub bytes_hard_max: u64,
    /// Entries older than this go.
    pub age_max: Duration,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            bytes_max: 1024 * 1024 * 1024,
            age_min: Duration::from_secs(12 * 60),
            bytes_hard_max: 8 * 1024 * 1024 * 1024,
            age_max: Duration::from_secs(30 * 60),
        }
    }
}

/// Entries `first..` up to the next mark: their bytes, and when the first of them came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    first: u64,
    last: u64,
    bytes: u64,
    began_ms: u64,
}

/// The sizes and ages of a shard's log entries, roughly.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogSizes {
    marks: VecDeque<Mark>,
    bytes: u64,
}

impl LogSizes {
    /// A log found on the disk at start: `bytes` for all of `first..=last`, counted as new.
    pub(crate) fn found(first: u64, last: u64, bytes: u64, now_ms: u64) -> Self {
        let mark = Mark {
            first,
            last,
            bytes,
            began_ms: now_ms,
        };
        Self {
            marks: VecDeque::from([mark]),
            bytes,
        }
    }

    pub(crate) fn appended(&mut self, index: u64, bytes: u64, now_ms: u64) {
        self.bytes += bytes;
        match self.marks.back_mut() {
            Some(mark) if mark.bytes < MARK_BYTES && now_ms.saturating_sub(mark.began_ms) < MARK_MS => {
                mark.bytes += bytes;
                mark.last = index;
            }
            _ => self.marks.push_back(Mark {
                first: index,
                last: index,
                bytes,
                began_ms: now_ms,
            }),
        }
    }

    /// Entries from `since` on were removed.
    pub(crate) fn truncated(&mut self, since: u64) {
        while let Some(mark) = self.marks.back_mut() {
            if mark.last < since {
                return;
            }
            if mark.first < since {
                mark.last = since - 1;
                return;
            }
            self.bytes -= mark.bytes;
            self.marks.pop_back();
        }
    }

    /// Entries up to `upto` were removed.
    pub(crate) fn purged(&mut self, upto: u64) {
        while let Some(mark) = self.marks.front_mut() {
            if mark.first > upto {
                return;
            }
            if mark.last > upto {
                mark.first = upto + 1;
                return;
            }
            self.bytes -= mark.bytes;
            self.marks.pop_front();
        }
    }

    /// Bytes of all entries, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the entries `from..until`, roughly: those of all marks that hold one of them.
    pub(crate) fn bytes_between(&self, from: u64, until: u64) -> u64 {
        let latest_first = self.marks.iter().rev();
        latest_first
            .skip_while(|mark| mark.first >= until)
            .take_while(|mark| mark.last >= from)
            .map(|mark| mark.bytes)
            .sum()
    }

    /// The last index that may go by `limits`, but none above `applied`, which is the last entry that a snapshot
    /// would hold, and none from `held` on, where a transfer in progress will continue.
    pub(crate) fn purge_upto(&self, limits: LogLimits, now_ms: u64, applied: u64, held: Option<u64>) -> Option<u64> {
        let milliseconds = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let (age_min_ms, age_max_ms) = (milliseconds(limits.age_min), milliseconds(limits.age_max));
        let ceiling = match held {
            None => applied,
            Some(held) => applied.min(held.checked_sub(1)?),
        };
        let mut left = self.bytes;
        let mut upto = None;
        for mark in &self.marks {
            let age_ms = now_ms.saturating_sub(mark.began_ms).saturating_sub(MARK_MS);
            let large = left > limits.bytes_max && age_ms >= age_min_ms;
            if mark.last > ceiling || !(age_ms > age_max_ms || large || left > limits.bytes_hard_max) {
                break;
            }
            left -= mark.bytes;
            upto = Some(mark.last);
        }
        upto
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
