//! A blob as it travels and lies: key, header, one CRC per frame, payload.
//!
//! The payload is cut into frames of [`FRAME_BYTES`]; each frame has a CRC-32C over the blob's id, the frame's offset
//! and its bytes, so that a frame that ends up under another name or at another place does not verify (INT-1). The
//! writer computes the CRCs once; the device checks them before it stores, the last hop checks them before it serves.

use std::ops::Range;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use metadata::ids::{BlobId, BucketId, ClusterId, ShardId, WriteId};
use serde::{Deserialize, Serialize};

/// Payload bytes covered by one CRC.
pub const FRAME_BYTES: usize = 64 * 1024;

/// The longest payload of one blob: one chunk of an object.
pub const BLOB_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most frames a blob can have.
pub const FRAMES_MAX: usize = BLOB_BYTES_MAX / FRAME_BYTES;

/// Length of an encoded [`BlobKey`].
pub(super) const KEY_BYTES: usize = 8 + 16 + 4;

/// The index's order: placement hash first (its top bits are the partition), then the blob's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobKey {
    /// The 64-bit placement hash; the partition is its top bits.
    pub placement: u64,
    /// The blob's name, unique in the cluster.
    pub id: BlobId,
}

impl BlobKey {
    /// Fragment `number` of the chunk that this blob is, or is a fragment of.
    #[must_use]
    pub fn piece(self, number: u8) -> Self {
        let id = self.id.piece(number);
        Self { id, ..self }
    }

    /// The chunk as a whole.
    #[must_use]
    pub fn without_fragment(self) -> Self {
        let id = self.id.without_fragment();
        Self { id, ..self }
    }

    /// The smallest key with this placement hash.
    #[must_use]
    pub fn first(placement: u64) -> Self {
        Self {
            placement,
            id: BlobId {
                write: WriteId(0),
                chunk: 0,
            },
        }
    }

    /// Big endian, so that the order of the bytes is the order of the keys.
    #[must_use]
    pub fn to_bytes(self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        bytes[..8].copy_from_slice(&self.placement.to_be_bytes());
        bytes[8..24].copy_from_slice(&self.id.write.0.to_be_bytes());
        bytes[24..].copy_from_slice(&self.id.chunk.to_be_bytes());
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote; `None` for any other length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != KEY_BYTES {
            return None;
        }
        let placement = u64::from_be_bytes(bytes[..8].try_into().ok()?);
        let write = WriteId(u128::from_be_bytes(bytes[8..24].try_into().ok()?));
        let chunk = u32::from_be_bytes(bytes[24..].try_into().ok()?);
        Some(Self {
            placement,
            id: BlobId { write, chunk },
        })
    }
}

/// Where a blob says it belongs. A hint for repair and for people, never proof: `refs` of the shard is the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobHeader {
    /// The cluster; a device refuses blobs of another one.
    pub cluster: ClusterId,
    /// The shard whose log decides about the blob's life.
    pub shard: ShardId,
    /// The bucket it was written for.
    pub bucket: BucketId,
    /// Payload length in bytes, at most [`BLOB_BYTES_MAX`].
    pub len: u32,
    /// BLAKE3 of the payload: for scrub, repair and verify.
    pub blake3: [u8; 32],
    /// When the writer cut it, in milliseconds since the Unix epoch.
    pub written_ms: u64,
}

/// A payload in the pieces it arrived in, so that it reaches the disk without being copied together.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Pieces {
    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    /// Total length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in order; none is empty.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }

    /// One contiguous buffer; copies only when there is more than one piece.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.pieces.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        let mut pieces = Self::default();
        pieces.push(bytes);
        pieces
    }
}

impl FromIterator<Bytes> for Pieces {
    fn from_iter<I: IntoIterator<Item = Bytes>>(iter: I) -> Self {
        let mut pieces = Self::default();
        iter.into_iter().for_each(|piece| pieces.push(piece));
        pieces
    }
}

/// A blob on its way to a device.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its name and place.
    pub key: BlobKey,
    /// What it says about itself.
    pub header: BlobHeader,
    /// One CRC per frame, made by [`frame_crc`].
    pub frame_crcs: Vec<u32>,
    /// The bytes.
    pub payload: Pieces,
}

impl Blob {
    /// Makes a blob from its bytes, computing BLAKE3 and frame CRCs; `header`'s length and hash are filled in.
    #[must_use]
    pub fn seal(key: BlobKey, mut header: BlobHeader, payload: Bytes) -> Self {
        header.len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        header.blake3 = *blake3::hash(&payload).as_bytes();
        Self {
            key,
            header,
            frame_crcs: frame_crcs(key.id, 0, &payload),
            payload: payload.into(),
        }
    }

    /// Whether lengths agree and every frame carries its CRC. Says what is wrong.
    pub fn check(&self) -> Result<(), BlobFault> {
        let len = self.payload.len();
        if len > BLOB_BYTES_MAX || len != self.header.len as usize {
            return Err(BlobFault::Length);
        }
        if self.frame_crcs.len() != frames_of(self.header.len) {
            return Err(BlobFault::FrameCount);
        }
        let mut frames = FrameHasher::new(self.key.id);
        for piece in self.payload.iter() {
            frames.update(piece);
        }
        match frames
            .finish()
            .iter()
            .zip(&self.frame_crcs)
            .position(|(is, says)| is != says)
        {
            Some(frame) => Err(BlobFault::Frame { frame }),
            None => Ok(()),
        }
    }
}

/// What is wrong with a blob or a slice of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobFault {
    /// The payload is not as long as the header says, or longer than a blob may be.
    #[error("payload length differs from the header or exceeds the limit")]
    Length,
    /// The number of CRCs does not fit the length.
    #[error("number of frame checksums does not fit the length")]
    FrameCount,
    /// A frame's bytes do not match its CRC.
    #[error("frame {frame} does not match its checksum")]
    Frame {
        /// Number of the frame within the blob.
        frame: usize,
    },
}

/// Whole frames that cover the byte range asked for. Not yet verified: the last hop calls [`Self::verify`].
#[derive(Clone, Debug)]
pub struct BlobSlice {
    /// Whose bytes these are.
    pub key: BlobKey,
    /// The blob's header.
    pub header: BlobHeader,
    /// Number of the first frame in `payload`.
    pub first_frame: u32,
    /// The CRCs of the frames in `payload`.
    pub frame_crcs: Vec<u32>,
    /// The frames' bytes, contiguous.
    pub payload: Bytes,
}

impl BlobSlice {
    /// INT-1: checks the shape and every frame's CRC.
    pub fn verify(&self) -> Result<(), BlobFault> {
        let span = self.span();
        if span.end > self.header.len as usize || self.payload.len() != span.len() {
            return Err(BlobFault::Length);
        }
        let whole_tail = span.end == self.header.len as usize || span.end.is_multiple_of(FRAME_BYTES);
        if !whole_tail || self.frame_crcs.len() != self.payload.len().div_ceil(FRAME_BYTES) {
            return Err(BlobFault::FrameCount);
        }
        let first = self.first_frame as usize;
        for (n, (frame, says)) in self.payload.chunks(FRAME_BYTES).zip(&self.frame_crcs).enumerate() {
            let offset = u32::try_from((first + n) * FRAME_BYTES).map_err(|_| BlobFault::Length)?;
            if frame_crc(self.key.id, offset, frame) != *says {
                return Err(BlobFault::Frame { frame: first + n });
            }
        }
        Ok(())
    }

    /// The blob's bytes `range`, as far as this slice holds them. No copy.
    #[must_use]
    pub fn bytes(&self, range: Range<u32>) -> Bytes {
        let span = self.span();
        let start = (range.start as usize).clamp(span.start, span.end) - span.start;
        let end = (range.end as usize).clamp(span.start, span.end) - span.start;
        self.payload.slice(start..end.max(start))
    }

    fn span(&self) -> Range<usize> {
        let start = (self.first_frame as usize).saturating_mul(FRAME_BYTES);
        start..start.saturating_add(self.payload.len())
    }
}

/// How many frames a payload of `len` bytes has.
#[must_use]
pub fn frames_of(len: u32) -> usize {
    (len as usize).div_ceil(FRAME_BYTES)
}

/// The bytes of the whole frames that cover `range` of a blob of `len` bytes. A range that reaches beyond the end is
/// cut; `None` when nothing is left of it. Of an empty blob every range is the empty span.
#[must_use]
pub fn frame_span(len: u32, range: &Range<u32>) -> Option<Range<u32>> {
    if len == 0 {
        return Some(0..0);
    }
    let end = range.end.min(len);
    if range.start >= end {
        return None;
    }
    let frame = FRAME_BYTES as u32;
    Some(range.start / frame * frame..end.div_ceil(frame).saturating_mul(frame).min(len))
}

/// CRC-32C of one frame, seeded by blob id and offset. The same on proxies, devices and readers.
#[must_use]
pub fn frame_crc(id: BlobId, offset: u32, payload: &[u8]) -> u32 {
    let mut digest = seeded(id, offset);
    digest.update(payload);
    digest.finalize() as u32
}

/// The CRCs of consecutive frames whose first byte lies at `offset` (a multiple of [`FRAME_BYTES`]).
#[must_use]
pub fn frame_crcs(id: BlobId, offset: u32, payload: &[u8]) -> Vec<u32> {
    let frames = payload.chunks(FRAME_BYTES).zip((offset..).step_by(FRAME_BYTES));
    frames.map(|(frame, offset)| frame_crc(id, offset, frame)).collect()
}

fn seeded(id: BlobId, offset: u32) -> Digest {
    let mut seed = [0; 24];
    seed[..16].copy_from_slice(&id.write.0.to_be_bytes());
    seed[16..20].copy_from_slice(&id.chunk.to_be_bytes());
    seed[20..].copy_from_slice(&offset.to_be_bytes());
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&seed);
    digest
}

/// Computes frame CRCs of a payload that arrives in pieces of any size.
#[derive(Debug)]
pub struct FrameHasher {
    id: BlobId,
    done: Vec<u32>,
    open: Option<Digest>,
    open_len: usize,
}

impl FrameHasher {
    /// Begins at the first byte of blob `id`.
    #[must_use]
    pub fn new(id: BlobId) -> Self {
        Self {
            id,
            done: Vec::new(),
            open: None,
            open_len: 0,
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let take = bytes.len().min(FRAME_BYTES - self.open_len);
            let (now, later) = bytes.split_at(take);
            let offset = u32::try_from(self.done.len() * FRAME_BYTES).unwrap_or(u32::MAX);
            self.open.get_or_insert_with(|| seeded(self.id, offset)).update(now);
            self.open_len += take;
            if self.open_len == FRAME_BYTES {
                self.close_frame();
            }
            bytes = later;
        }
    }

    /// The CRCs of all frames, the last one possibly short.
    #[must_use]
    pub fn finish(mut self) -> Vec<u32> {
        self.close_frame();
        self.done
    }

    fn close_frame(&mut self) {
        if let Some(digest) = self.open.take() {
            self.done.push(digest.finalize() as u32);
            self.open_len = 0;
        }
    }
}

#[cfg(test)]
mod tests;
