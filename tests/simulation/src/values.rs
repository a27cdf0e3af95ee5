//! Bodies whose every byte follows from their size, so that a reader can prove them (INT-1) and name them.

use std::collections::BTreeSet;

use crate::dice::{SimDice, mix};

/// Hands out sizes, each once.
#[derive(Default)]
pub(crate) struct Sizes(BTreeSet<u64>);

impl Sizes {
    pub(crate) fn draw(&mut self, dice: &SimDice) -> u64 {
        loop {
            let size = match dice.below(10) {
                // Inline, one chunk, several chunks.
                0..4 => dice.within(1..4_000),
                4..8 => dice.within(4_200..16_000),
                _ => dice.within(16_400..60_000),
            };
            if self.0.insert(size) {
                return size;
            }
        }
    }

    pub(crate) fn take(&mut self, size: u64) -> bool {
        self.0.insert(size)
    }
}

/// The bytes of the body with this size.
pub(crate) fn bytes_of(size: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size as usize + 8);
    let mut word = 0;
    while bytes.len() < size as usize {
        bytes.extend_from_slice(&mix(size << 32 | word).to_le_bytes());
        word += 1;
    }
    bytes.truncate(size as usize);
    bytes
}
