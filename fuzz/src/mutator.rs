//! Chance with a seed, and what it does to bytes.

use crate::INPUT_BYTES_MAX;

/// Numbers at which arithmetic goes wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];
/// Mutations of one input, at most.
const STEPS_MAX: usize = 6;

/// Changes inputs; the same seed changes them the same way.
#[derive(Clone, Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// Begins with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number (the generator is SplitMix64).
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.number() % end).unwrap_or(0)
    }

    /// A new input, made of one or two of the corpus.
    pub fn input(&mut self, corpus: &[Vec<u8>], words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = corpus.get(self.below(corpus.len())).cloned().unwrap_or_default();
        for _ in 0..=self.below(STEPS_MAX) {
            self.step(&mut bytes, corpus, words);
        }
        bytes.truncate(INPUT_BYTES_MAX);
        bytes
    }

    fn step(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&[u8]]) {
        let at = self.below(bytes.len() + 1);
        let len = self.below(bytes.len() - at + 1).min(64);
        match self.below(10) {
            0 => self.flip(bytes),
            1 => self.overwrite_number(bytes, at),
            2 => drop(bytes.drain(at..at + len)),
            3 => bytes.truncate(at),
            4 => {
                let count = self.below(16);
                let random: Vec<u8> = (0..count).map(|_| self.byte()).collect();
                drop(bytes.splice(at..at, random));
            }
            5 => {
                let copied = bytes[at..at + len].to_vec();
                let to = self.below(bytes.len() + 1);
                drop(bytes.splice(to..to, copied));
            }
            6 => {
                let other = corpus.get(self.below(corpus.len())).cloned().unwrap_or_default();
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            7 => self.repeat(bytes, at, len),
            _ => {
                if let Some(word) = words.get(self.below(words.len())) {
                    let replaced = if self.below(2) == 0 { len } else { 0 };
                    drop(bytes.splice(at..at + replaced, word.iter().copied()));
                }
            }
        }
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or(0)
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len());
        let value = if self.below(2) == 0 {
            1 << self.below(8)
        } else {
            self.byte()
        };
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= value;
        }
    }

    /// Writes an edge, or one beside it, in one to eight bytes of either order.
    fn overwrite_number(&mut self, bytes: &mut [u8], at: usize) {
        let edge = EDGES[self.below(EDGES.len())];
        let value = edge
            .wrapping_add(u64::try_from(self.below(3)).unwrap_or(0))
            .wrapping_sub(1);
        let width = 1 << self.below(4);
        let little = self.below(2) == 0;
        let (le, be) = (value.to_le_bytes(), value.to_be_bytes());
        let number = if little { &le[..width] } else { &be[8 - width..] };
        for (byte, new) in bytes[at..].iter_mut().zip(number) {
            *byte = *new;
        }
    }

    /// Repeats a stretch until it is long: limits are found this way.
    fn repeat(&mut self, bytes: &mut Vec<u8>, at: usize, len: usize) {
        let times = 1 << self.below(11);
        let piece = bytes[at..at + len].to_vec();
        let room = INPUT_BYTES_MAX.saturating_sub(bytes.len());
        let long: Vec<u8> = piece.iter().copied().cycle().take((len * times).min(room)).collect();
        drop(bytes.splice(at..at, long));
    }
}
