//! Dice of the simulation: one stream per purpose, all from the seed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use clock::Dice;
use parking_lot::Mutex;

/// Scrambles a number so that neighbours have nothing in common (the finalizer of SplitMix64).
#[must_use]
pub(crate) fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of random numbers; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct SimDice(Arc<Mutex<u64>>);

impl SimDice {
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let start = purpose.bytes().fold(mix(seed), |n, byte| mix(n ^ u64::from(byte)));
        Self(Arc::new(Mutex::new(start)))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(*state)
    }

    /// A number below `end`; 0 when `end` is.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn within(&self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// True in `permille` of 1000 throws.
    pub(crate) fn chance(&self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    pub(crate) fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    pub(crate) fn pick<'a, T>(&self, all: &'a [T]) -> Option<&'a T> {
        all.get(usize::try_from(self.below(all.len() as u64)).unwrap_or(0))
    }
}

impl Dice for SimDice {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.next().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}
