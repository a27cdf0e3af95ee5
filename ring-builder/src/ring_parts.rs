//! A ring file in pieces, for a store whose records are smaller than a large ring.
//!
//! ```text
//! offset  bytes
//!      0      8  magic: "HALOPART"
//!      8      2  format version, 1
//!     10      2  this piece's number, from 0
//!     12      2  number of pieces
//!     14      2  0
//!     16      8  length of the whole ring file
//!     24     32  BLAKE3 of the whole ring file
//!     56      n  the bytes of the ring file that this piece holds
//! ```
//! All numbers are little-endian. Every piece but the last is as long as the first. A ring that fits into one record is
//! stored as the plain ring file, so that a program that knows no pieces reads it too.

use crate::envelope::{Kind, Reader};
use crate::error::RingError;
use crate::ring::Ring;
use crate::ring_file::MAX_RING_BYTES;

const PART: Kind = Kind {
    what: "piece of a ring",
    magic: *b"HALOPART",
    version: 1,
};

const HEADER: usize = 56;

/// Smallest limit of a record that [`RingFile::parts`] works with.
pub const MIN_PART_BYTES: usize = 1024;

/// Most pieces that a ring file is cut into.
pub const MAX_PARTS: usize = 1024;

/// The bytes of a ring, whole or in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingFile {
    bytes: Vec<u8>,
}

impl RingFile {
    /// The file of `ring`.
    #[must_use]
    pub fn of(ring: &Ring) -> Self {
        Self { bytes: ring.to_bytes() }
    }

    /// The whole file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file in pieces of at most `max_bytes` each, in order. One piece is the plain file.
    ///
    /// # Errors
    /// [`RingError::PartsTooSmall`] when `max_bytes` is below [`MIN_PART_BYTES`], or more than [`MAX_PARTS`] pieces
    /// would be needed.
    pub fn parts(&self, max_bytes: usize) -> Result<Vec<Vec<u8>>, RingError> {
        if self.bytes.len() <= max_bytes {
            return Ok(vec![self.bytes.clone()]);
        }
        let refused = RingError::PartsTooSmall {
            max_bytes,
            bytes: self.bytes.len(),
        };
        if max_bytes < MIN_PART_BYTES {
            return Err(refused);
        }
        let payload = max_bytes - HEADER;
        let count = self.bytes.len().div_ceil(payload);
        if count > MAX_PARTS {
            return Err(refused);
        }
        let count = u16::try_from(count).expect("at most MAX_PARTS");
        let sum = blake3::hash(&self.bytes);
        let piece = |(at, bytes): (u16, &[u8])| {
            let mut part = Vec::with_capacity(HEADER + bytes.len());
            part.extend_from_slice(&PART.magic);
            for number in [PART.version, at, count, 0] {
                part.extend_from_slice(&number.to_le_bytes());
            }
            part.extend_from_slice(&(self.bytes.len() as u64).to_le_bytes());
            part.extend_from_slice(sum.as_bytes());
            part.extend_from_slice(bytes);
            part
        };
        Ok((0..).zip(self.bytes.chunks(payload)).map(piece).collect())
    }

    /// Whether `part` is a piece of several, so that others must be read before [`Self::assemble`] can succeed.
    /// Returns how many there are in all; 1 for a plain ring file.
    ///
    /// # Errors
    /// As [`Self::assemble`].
    pub fn count(part: &[u8]) -> Result<usize, RingError> {
        if part.starts_with(&PART.magic) {
            Ok(usize::from(Header::read(part)?.count))
        } else {
            Ok(1)
        }
    }

    /// Puts pieces together, in whatever order they come, and verifies that they are all of one file. A plain ring file
    /// counts as one piece. What the file says is verified when it is parsed: [`Ring::from_bytes`].
    ///
    /// # Errors
    /// [`RingError::Damaged`] when a piece is missing, doubled or of another ring, or the checksum differs;
    /// [`RingError::OtherVersion`] and [`RingError::NotOurs`] as for other files.
    pub fn assemble<B: AsRef<[u8]>>(parts: &[B]) -> Result<Self, RingError> {
        if let [whole] = parts
            && !whole.as_ref().starts_with(&PART.magic)
        {
            return Ok(Self {
                bytes: whole.as_ref().to_vec(),
            });
        }
        let mut read: Vec<Header<'_>> = Vec::with_capacity(parts.len());
        for part in parts {
            read.push(Header::read(part.as_ref())?);
        }
        read.sort_by_key(|part| part.number);
        let first = read.first().ok_or_else(|| PART.damaged("there is none"))?;
        if read
            .iter()
            .any(|part| (part.count, part.length, part.sum) != (first.count, first.length, first.sum))
        {
            return Err(PART.damaged("the pieces are of different rings"));
        }
        let in_order = (0..).zip(&read).all(|(at, part)| part.number == at);
        if read.len() != usize::from(first.count) || !in_order {
            return Err(PART.damaged("a piece is missing or doubled"));
        }
        let bytes = read.iter().map(|part| part.bytes).collect::<Vec<_>>().concat();
        if bytes.len() as u64 != first.length || blake3::hash(&bytes) != blake3::Hash::from_bytes(first.sum) {
            return Err(PART.damaged("the checksum of the whole differs"));
        }
        Ok(Self { bytes })
    }

    /// The ring in the file.
    ///
    /// # Errors
    /// As [`Ring::from_bytes`].
    pub fn ring(&self) -> Result<Ring, RingError> {
        Ring::from_bytes(&self.bytes)
    }
}

struct Header<'a> {
    number: u16,
    count: u16,
    length: u64,
    sum: [u8; 32],
    bytes: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(part: &'a [u8]) -> Result<Self, RingError> {
        if !part.starts_with(&PART.magic) {
            return Err(RingError::NotOurs { what: PART.what });
        }
        let mut reader = Reader::new(PART, part);
        reader.take(PART.magic.len())?;
        let found = reader.u16()?;
        if found != PART.version {
            return Err(RingError::OtherVersion {
                what: PART.what,
                found,
                known: PART.version,
            });
        }
        let (number, count, reserved) = (reader.u16()?, reader.u16()?, reader.u16()?);
        let length = reader.u64()?;
        let sum = reader.take(32)?.try_into().expect("take returned 32 bytes");
        let bytes = reader.take_rest();
        if reserved != 0 || number >= count || usize::from(count) > MAX_PARTS || length > MAX_RING_BYTES {
            return Err(PART.damaged("its header makes no sense"));
        }
        Ok(Self {
            number,
            count,
            length,
            sum,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests;
