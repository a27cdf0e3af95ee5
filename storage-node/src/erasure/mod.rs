//! The erasure code of a storage policy: a chunk becomes k data and m parity fragments, any k of which give it back.
//!
//! ```text
//! slice      = ceil(chunk length / k), rounded up to 64 bytes: the length of every fragment
//! fragment i = bytes i x slice .. (i + 1) x slice of the chunk, zeros behind its end       (i < k)
//! fragment j = parity j - k of those, by Reed-Solomon over GF(2^16) in blocks of 64 bytes  (k <= j < k + m)
//! ```
//! Fragments are blobs of their own, with frame CRCs and BLAKE3; their true length follows from the stream's size in the
//! manifest. A range of the chunk is read from data fragments without decoding. Each block of 64 bytes is coded by
//! itself, so a window of the fragments is decoded from the same window of any k of them.
//!
//! What lies on disks depends on the library's polynomial and its order of fragments: a test holds both fast.

mod quorum;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use metadata::ids::BlobId;

use crate::device::Pieces;

pub use quorum::FragmentRule;

/// The code works on blocks of so many bytes.
pub const BLOCK_BYTES: u32 = 64;

/// How many fragments of which kind a chunk has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    data: u8,
    parity: u8,
}

/// Why fragments do not give another one; a caller has mixed up fragments or has too few.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// There are too few different ones.
    #[error("{found} fragments of a chunk are known and {needed} are needed")]
    TooFew {
        /// How many there are.
        found: usize,
        /// How many it takes.
        needed: usize,
    },
    /// They are not equally long, no whole blocks, or of another code.
    #[error("the fragments of a chunk do not fit together: {0}")]
    Unfit(String),
}

impl Code {
    /// `data` data and `parity` parity fragments; `None` when a chunk cannot have so many.
    #[must_use]
    pub fn new(data: usize, parity: usize) -> Option<Self> {
        let fits = data >= 2 && parity >= 1 && data.saturating_add(parity) <= BlobId::FRAGMENTS_MAX;
        fits.then_some(Self {
            data: u8::try_from(data).ok()?,
            parity: u8::try_from(parity).ok()?,
        })
    }

    /// k: as many fragments give the chunk back.
    #[must_use]
    pub fn data(self) -> usize {
        usize::from(self.data)
    }

    /// m: as many fragments may be lost.
    #[must_use]
    pub fn parity(self) -> usize {
        usize::from(self.parity)
    }

    /// k + m.
    #[must_use]
    pub fn fragments(self) -> usize {
        self.data() + self.parity()
    }

    /// The numbers of all fragments; those of data come first.
    pub fn numbers(self) -> impl Iterator<Item = u8> + use<> {
        0..self.data + self.parity
    }

    /// The length of each fragment of a chunk of `chunk_len` bytes.
    #[must_use]
    pub fn fragment_len(self, chunk_len: u32) -> u32 {
        let slice = chunk_len.div_ceil(u32::from(self.data));
        slice.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
    }

    /// Where bytes `range` of a chunk of `chunk_len` bytes lie: data fragments in order, and the bytes of each.
    #[must_use]
    pub fn places(self, chunk_len: u32, range: &Range<u32>) -> Vec<(u8, Range<u32>)> {
        let slice = self.fragment_len(chunk_len);
        let within = |number: u8| {
            let start = u32::from(number) * slice;
            let bytes = range.start.max(start)..range.end.min(start + slice);
            (bytes.start < bytes.end).then(|| (number, bytes.start - start..bytes.end - start))
        };
        (0..self.data).filter_map(within).collect()
    }

    /// All fragments of a chunk. Copies the chunk together where its pieces do not fit the slices.
    #[must_use]
    pub fn split(self, chunk: &Pieces) -> Vec<Bytes> {
        let len = u32::try_from(chunk.len()).expect("a chunk is at most a blob's limit");
        let slice = self.fragment_len(len) as usize;
        if slice == 0 {
            return vec![Bytes::new(); self.fragments()];
        }
        let whole = chunk.to_bytes();
        let mut fragments: Vec<Bytes> = (0..self.data()).map(|number| slice_of(&whole, number, slice)).collect();
        let parity = reed_solomon_simd::encode(self.data(), self.parity(), &fragments);
        let parity = parity.expect("there are k slices of one length in whole blocks");
        fragments.extend(parity.into_iter().map(Bytes::from));
        fragments
    }

    /// Window of fragment `wanted` from the same window of any k different ones.
    ///
    /// # Errors
    /// [`CodeError`]. Damaged fragments are not noticed: callers prove them first (INT-1).
    pub fn rebuild(self, known: &BTreeMap<u8, Bytes>, wanted: u8) -> Result<Bytes, CodeError> {
        if let Some(there) = known.get(&wanted) {
            return Ok(there.clone());
        }
        let mut data = self.rebuild_data(known)?;
        if wanted < self.data {
            return data.remove(&wanted).ok_or_else(|| unfit("the library left one out"));
        }
        let parity = reed_solomon_simd::encode(self.data(), self.parity(), data.values()).map_err(unfit)?;
        let parity = parity.into_iter().nth(usize::from(wanted - self.data));
        parity
            .map(Bytes::from)
            .ok_or_else(|| unfit("there is no such fragment"))
    }

    /// The same window of all data fragments, from any k different ones.
    ///
    /// # Errors
    /// As [`Self::rebuild`].
    pub fn rebuild_data(self, known: &BTreeMap<u8, Bytes>) -> Result<BTreeMap<u8, Bytes>, CodeError> {
        let mut data: BTreeMap<u8, Bytes> = known.range(..self.data).map(|(n, bytes)| (*n, bytes.clone())).collect();
        if data.len() == self.data() {
            return Ok(data);
        }
        let parity = || {
            known
                .range(self.data..)
                .map(|(n, bytes)| (usize::from(n - self.data), bytes))
        };
        let found = data.len() + parity().count();
        if found < self.data() {
            let needed = self.data();
            return Err(CodeError::TooFew { found, needed });
        }
        let whole = known.values().next().is_none_or(Bytes::is_empty);
        if whole {
            // Nothing was coded: all fragments of an empty chunk are empty.
            return Ok((0..self.data).map(|number| (number, Bytes::new())).collect());
        }
        let originals = data.iter().map(|(n, bytes)| (usize::from(*n), bytes));
        let restored = reed_solomon_simd::decode(self.data(), self.parity(), originals, parity()).map_err(unfit)?;
        for (number, bytes) in restored {
            data.insert(u8::try_from(number).map_err(unfit)?, bytes.into());
        }
        Ok(data)
    }
}

fn unfit(why: impl std::fmt::Display) -> CodeError {
    CodeError::Unfit(why.to_string())
}

/// Slice `number` of a chunk, filled up with zeros.
fn slice_of(whole: &Bytes, number: usize, slice: usize) -> Bytes {
    let start = (number * slice).min(whole.len());
    let end = (start + slice).min(whole.len());
    if end - start == slice {
        return whole.slice(start..end);
    }
    let mut padded = Vec::with_capacity(slice);
    padded.extend_from_slice(&whole[start..end]);
    padded.resize(slice, 0);
    padded.into()
}
