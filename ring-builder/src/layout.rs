//! How many copies each partition has, and where they stand in a table.
//!
//! The number of replicas may be a fraction: with 2.25 replicas the first quarter of the partitions has three copies
//! and the others two. Tables are ordered by partition: all copies of partition 0, then those of partition 1.

use std::ops::Range;

use crate::error::RingError;
use crate::limits::{MAX_PART_POWER, MAX_REPLICAS, MAX_SLOTS};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) part_power: u8,
    /// Copies that every partition has.
    pub(crate) whole: usize,
    /// Partitions, from 0 on, that have one more; less than all.
    pub(crate) extra: u32,
}

impl Layout {
    /// The layout for a number of replicas that may be a fraction.
    pub(crate) fn new(part_power: u8, replicas: f64) -> Result<Self, RingError> {
        if part_power > MAX_PART_POWER {
            return Err(RingError::BadPartPower(part_power));
        }
        #[allow(clippy::cast_precision_loss, reason = "a small number")]
        if !(1.0..=MAX_REPLICAS as f64).contains(&replicas) {
            return Err(RingError::BadReplicas(replicas));
        }
        let (whole, rest) = (replicas.floor(), replicas.fract());
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most MAX_REPLICAS, and less than the number of partitions"
        )]
        let layout = Self {
            part_power,
            whole: whole as usize,
            extra: (rest * f64::from(1u32 << part_power)) as u32,
        };
        if layout.is_allowed() {
            Ok(layout)
        } else {
            Err(RingError::TooLarge {
                part_power,
                replicas: layout.most(),
            })
        }
    }

    /// Whether a file may ask for it.
    pub(crate) fn is_allowed(self) -> bool {
        self.part_power <= MAX_PART_POWER
            && (1..=MAX_REPLICAS).contains(&self.whole)
            && self.extra < 1 << self.part_power
            && self.most() <= MAX_REPLICAS
            && (self.most() as u64) << self.part_power <= MAX_SLOTS
    }

    pub(crate) fn partitions(self) -> u32 {
        1 << self.part_power
    }

    /// Copies of the partitions that have most.
    pub(crate) fn most(self) -> usize {
        self.whole + usize::from(self.extra > 0)
    }

    pub(crate) fn copies(self, partition: u32) -> usize {
        self.whole + usize::from(partition < self.extra)
    }

    /// Entries of a table.
    pub(crate) fn slots(self) -> usize {
        (self.whole << self.part_power) + self.extra as usize
    }

    /// The entries of `partition`.
    pub(crate) fn range(self, partition: u32) -> Range<usize> {
        let start = partition as usize * self.whole + partition.min(self.extra) as usize;
        start..start + self.copies(partition)
    }

    /// Replicas as a number.
    pub(crate) fn replicas(self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a small number")]
        let whole = self.whole as f64;
        whole + f64::from(self.extra) / f64::from(self.partitions())
    }
}
