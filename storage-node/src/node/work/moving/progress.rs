//! How far one device is with the copies of one change, as noted in the system shard.
//!
//! ```text
//! table "ring_progress", key = policy "/" epoch, 20 digits "/" device, 10 digits:   JSON of Progress
//! ```
//! Only the device's node writes it, so nobody contends. Jobs are numbered by their place among the device's arrivals,
//! which follow from the two rings alone.

use metadata::ids::DeviceId;
use metadata::model::PolicyId;
use serde::{Deserialize, Serialize};

use crate::client::Phase;

/// The table of progress.
pub const RING_PROGRESS_TABLE: &str = "ring_progress";

const FORMAT: u32 = 1;

/// One device's copies of one change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The format version, 1.
    pub format: u32,
    /// Which device receives.
    pub device: u32,
    /// Partitions it is to receive.
    pub total: u64,
    /// Those that were copied: runs of job numbers, (first, count).
    pub copied: Vec<(u32, u32)>,
    /// Those that were swept after the fence.
    pub swept: Vec<(u32, u32)>,
    /// Blobs copied.
    pub blobs: u64,
    /// Bytes copied.
    pub bytes: u64,
    /// Why jobs wait, if some do.
    #[serde(default)]
    pub waiting: Option<String>,
    /// When it was written, in milliseconds since the Unix epoch.
    pub updated_ms: u64,
}

impl Progress {
    /// Nothing done yet.
    #[must_use]
    pub fn new(device: DeviceId, total: u64) -> Self {
        Self {
            format: FORMAT,
            device: device.0,
            total,
            ..Self::default()
        }
    }

    /// Reads a record; `None` when it is of another format, or of other rings.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let progress: Self = serde_json::from_slice(value).ok()?;
        (progress.format == FORMAT).then_some(progress)
    }

    /// The record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("progress has nothing JSON cannot write")
    }

    /// How many jobs are done in a phase.
    #[must_use]
    pub fn done(&self, phase: Phase) -> u64 {
        self.runs(phase).iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// True when the phase's jobs are all done.
    #[must_use]
    pub fn complete(&self, phase: Phase) -> bool {
        self.done(phase) >= self.total
    }

    /// Notes a job as done.
    pub fn note(&mut self, phase: Phase, job: u32) {
        let runs = match phase {
            Phase::Sweeping => &mut self.swept,
            Phase::Copying | Phase::Settled => &mut self.copied,
        };
        insert(runs, job);
    }

    /// Whether a job is done.
    #[must_use]
    pub fn has(&self, phase: Phase, job: u32) -> bool {
        let runs = self.runs(phase);
        let at = runs.partition_point(|(first, _)| *first <= job);
        at > 0 && job - runs[at - 1].0 < runs[at - 1].1
    }

    fn runs(&self, phase: Phase) -> &[(u32, u32)] {
        match phase {
            Phase::Sweeping => &self.swept,
            Phase::Copying | Phase::Settled => &self.copied,
        }
    }
}

/// Adds a number to ascending runs that do not touch.
fn insert(runs: &mut Vec<(u32, u32)>, number: u32) {
    let at = runs.partition_point(|(first, _)| *first <= number);
    if at > 0 && number - runs[at - 1].0 < runs[at - 1].1 {
        return;
    }
    let joins_left = at > 0 && runs[at - 1].0 + runs[at - 1].1 == number;
    let joins_right = at < runs.len() && number + 1 == runs[at].0;
    match (joins_left, joins_right) {
        (true, true) => {
            runs[at - 1].1 += 1 + runs[at].1;
            runs.remove(at);
        }
        (true, false) => runs[at - 1].1 += 1,
        (false, true) => {
            runs[at].0 -= 1;
            runs[at].1 += 1;
        }
        (false, false) => runs.insert(at, (number, 1)),
    }
}

/// The start of the keys of one change's records.
#[must_use]
pub fn progress_prefix(policy: PolicyId, epoch: u64) -> String {
    format!("{}/{epoch:020}/", policy.0)
}

/// The key of one device's record.
pub(super) fn progress_key(policy: PolicyId, epoch: u64, device: DeviceId) -> String {
    format!("{}{:010}", progress_prefix(policy, epoch), device.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn runs_remember_exactly_what_was_noted(jobs in prop::collection::vec(0_u32..60, 0..80)) {
            let mut progress = Progress::new(DeviceId(1), 60);
            for job in &jobs {
                progress.note(Phase::Sweeping, *job);
            }
            let noted: std::collections::BTreeSet<u32> = jobs.iter().copied().collect();
            for job in 0..60 {
                prop_assert_eq!(progress.has(Phase::Sweeping, job), noted.contains(&job));
            }
            prop_assert_eq!(progress.done(Phase::Sweeping), noted.len() as u64);
            prop_assert_eq!(progress.done(Phase::Copying), 0);
            prop_assert!(progress.swept.windows(2).all(|pair| pair[0].0 + pair[0].1 < pair[1].0));
            prop_assert_eq!(Progress::decode(&progress.encode()), Some(progress));
        }
    }
}
