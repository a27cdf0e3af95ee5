//! Latencies in a fixed amount of memory, exact to 1.6 %.
//!
//! ```text
//! microseconds   0..64        one bucket each
//!                64..128      64 buckets of 1
//!                128..256     64 buckets of 2
//!                ...          64 buckets in every further power of two
//! ```

/// Buckets in every power of two; half of one bucket's width is the error.
const STEPS: u64 = 64;
const STEPS_LOG2: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = ((64 - STEPS_LOG2 as usize) + 1) * STEPS as usize;

/// How many requests took how long.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum_us: u128,
    max_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            sum_us: 0,
            max_us: 0,
        }
    }
}

impl Histogram {
    /// Counts one request.
    pub fn record(&mut self, us: u64) {
        self.buckets[bucket_of(us)] += 1;
        self.count += 1;
        self.sum_us += u128::from(us);
        self.max_us = self.max_us.max(us);
    }

    /// Adds another's requests.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum_us += other.sum_us;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// How many requests were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest, in microseconds; exact.
    #[must_use]
    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// The mean, in microseconds; exact.
    #[must_use]
    pub fn mean_us(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum_us as f64 / self.count as f64
        }
    }

    /// The latency that `share` (0.0 to 1.0) of the requests did not exceed, in microseconds; 0 without requests.
    #[must_use]
    pub fn percentile_us(&self, share: f64) -> u64 {
        let wanted = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_bound(bucket).min(self.max_us);
            }
        }
        0
    }
}

fn bucket_of(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let power = us.ilog2();
    let shift = power - STEPS_LOG2;
    let step = (us >> shift) - STEPS;
    (u64::from(shift + 1) * STEPS + step) as usize
}

/// The largest value that falls into the bucket.
fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = (bucket / STEPS - 1) as u32;
    let first = u128::from(STEPS + bucket % STEPS) << shift;
    u64::try_from(first + (1 << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_of_a_known_series() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|us| histogram.record(us));
        assert_eq!(histogram.count(), 1000);
        assert_eq!(histogram.max_us(), 1000);
        for (share, exact) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (0.999, 999.0)] {
            let found = histogram.percentile_us(share) as f64;
            assert!((found / exact - 1.0).abs() <= 0.016, "{share}: {found} for {exact}");
        }
        assert!((histogram.mean_us() - 500.5).abs() < 1e-9);
    }

    #[test]
    fn an_empty_histogram_answers_zero() {
        assert_eq!(Histogram::default().percentile_us(0.99), 0);
    }

    proptest! {
        #[test]
        fn every_value_lies_in_its_bucket(us in any::<u64>()) {
            let bucket = bucket_of(us);
            prop_assert!(bucket < BUCKETS);
            prop_assert!(us <= upper_bound(bucket));
            prop_assert!(bucket == 0 || us > upper_bound(bucket - 1));
        }

        #[test]
        fn merging_equals_recording_together(a in prop::collection::vec(0u64..1_000_000, 1..50),
                                             b in prop::collection::vec(0u64..1_000_000, 1..50)) {
            let (mut one, mut two, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
            a.iter().for_each(|us| { one.record(*us); both.record(*us) });
            b.iter().for_each(|us| { two.record(*us); both.record(*us) });
            one.merge(&two);
            for share in [0.0, 0.5, 0.99, 1.0] {
                prop_assert_eq!(one.percentile_us(share), both.percentile_us(share));
            }
        }
    }
}
