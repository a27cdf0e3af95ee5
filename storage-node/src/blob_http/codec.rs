//! Heads, keys and bodies as bytes.
//!
//! ```text
//! head (all little endian): version 1 | cluster 16 | shard 8 | bucket 8 | payload length of the blob 4 | BLAKE3 32 |
//!                           written ms 8 | first frame 4 | frames 2 | CRC 4 x frames
//! POST body               : version 1 | postcard of the call
//! ```

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use metadata::ids::{BlobId, BucketId, ClusterId, ShardId, WriteId};
use metadata::model::PolicyId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::device::{BLOB_BYTES_MAX, BlobHeader, BlobKey, FRAME_BYTES, FRAMES_MAX};

/// The format version of heads and bodies.
const FORMAT: u8 = 1;
/// Length of a head without its CRCs.
const FIXED_BYTES: usize = 1 + 16 + 8 + 8 + 4 + 32 + 8 + 4 + 2;
/// The longest head.
pub(super) const HEAD_BYTES_MAX: usize = FIXED_BYTES + 4 * FRAMES_MAX;
/// The longest body of a PUT or of the answer to a GET.
pub(super) const BODY_BYTES_MAX: usize = HEAD_BYTES_MAX + BLOB_BYTES_MAX;
/// The longest body of a POST and of its answer: a full list.
pub(super) const POST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What stands before a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) header: BlobHeader,
    pub(super) first_frame: u32,
    pub(super) frame_crcs: Vec<u32>,
}

impl Head {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(FIXED_BYTES + 4 * self.frame_crcs.len());
        bytes.put_u8(FORMAT);
        bytes.put_u128_le(self.header.cluster.0);
        bytes.put_u64_le(self.header.shard.0);
        bytes.put_u64_le(self.header.bucket.0);
        bytes.put_u32_le(self.header.len);
        bytes.put_slice(&self.header.blake3);
        bytes.put_u64_le(self.header.written_ms);
        bytes.put_u32_le(self.first_frame);
        bytes.put_u16_le(u16::try_from(self.frame_crcs.len()).unwrap_or(u16::MAX));
        self.frame_crcs.iter().for_each(|crc| bytes.put_u32_le(*crc));
        bytes.freeze()
    }

    /// The head's length, told by its first [`FIXED_BYTES`] bytes; `None` when there are fewer, or they are no head.
    pub(super) fn length(bytes: &[u8]) -> Option<usize> {
        let count = bytes.get(FIXED_BYTES - 2..FIXED_BYTES)?;
        let frames = usize::from(u16::from_le_bytes([count[0], count[1]]));
        (bytes[0] == FORMAT && frames <= FRAMES_MAX).then_some(FIXED_BYTES + 4 * frames)
    }

    /// Reads a whole head, and nothing behind it.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if Self::length(bytes) != Some(bytes.len()) {
            return None;
        }
        bytes.advance(1);
        let (cluster, shard) = (ClusterId(bytes.get_u128_le()), ShardId(bytes.get_u64_le()));
        let (bucket, len) = (BucketId(bytes.get_u64_le()), bytes.get_u32_le());
        let mut blake3 = [0; 32];
        bytes.copy_to_slice(&mut blake3);
        let header = BlobHeader {
            cluster,
            shard,
            bucket,
            len,
            blake3,
            written_ms: bytes.get_u64_le(),
        };
        let first_frame = bytes.get_u32_le();
        let frames = bytes.get_u16_le();
        Some(Self {
            header,
            first_frame,
            frame_crcs: (0..frames).map(|_| bytes.get_u32_le()).collect(),
        })
    }

    /// How many payload bytes belong behind this head: its frames are full but for the blob's last one.
    pub(super) fn payload_bytes(&self) -> Option<usize> {
        let len = self.header.len as usize;
        let start = (self.first_frame as usize).checked_mul(FRAME_BYTES)?;
        let end = start.checked_add(self.frame_crcs.len() * FRAME_BYTES)?.min(len);
        (len <= BLOB_BYTES_MAX).then(|| end.checked_sub(start)).flatten()
    }
}

/// Collects the first bytes of a body, arriving in pieces, until the head is whole.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    bytes: BytesMut,
}

/// What [`HeadReader::push`] found.
#[derive(Debug)]
pub(super) enum HeadProgress {
    /// More bytes are needed.
    More,
    /// The head is whole; the rest of the piece is payload.
    Whole(Head, Bytes),
    /// This is no head.
    Bad,
}

impl HeadReader {
    pub(super) fn push(&mut self, mut piece: Bytes) -> HeadProgress {
        loop {
            let wanted = if self.bytes.len() < FIXED_BYTES {
                FIXED_BYTES
            } else {
                match Head::length(&self.bytes) {
                    Some(length) => length,
                    None => return HeadProgress::Bad,
                }
            };
            if self.bytes.len() == wanted {
                let head = Head::decode(&self.bytes);
                return head.map_or(HeadProgress::Bad, |head| HeadProgress::Whole(head, piece));
            }
            if piece.is_empty() {
                return HeadProgress::More;
            }
            let take = piece.len().min(wanted - self.bytes.len());
            self.bytes.extend_from_slice(&piece.split_to(take));
        }
    }
}

/// A blob's key as it stands in a path.
pub(super) fn key_text(key: &BlobKey) -> String {
    format!("{:016x}.{}", key.placement, key.id)
}

/// Reads what [`key_text`] wrote, and nothing else.
pub(super) fn parse_key(text: &str) -> Option<BlobKey> {
    let mut parts = text.split('.');
    let (placement, write, chunk) = (parts.next()?, parts.next()?, parts.next()?);
    let write: WriteId = write.parse().ok()?;
    let key = BlobKey {
        placement: u64::from_str_radix(placement, 16).ok()?,
        id: BlobId {
            write,
            chunk: chunk.parse().ok()?,
        },
    };
    (parts.next().is_none() && key_text(&key) == text).then_some(key)
}

/// `bytes=a-b`, both inclusive, as a half-open range.
pub(super) fn parse_range(text: &str) -> Option<Range<u32>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| first..last.saturating_add(1))
}

/// Keys to remove.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RemoveCall {
    pub(super) keys: Vec<BlobKey>,
}

/// Keys to ask about.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StatCall {
    pub(super) keys: Vec<BlobKey>,
}

/// What is known of the keys of a [`StatCall`], in their order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StatAnswer {
    pub(super) headers: Vec<Option<BlobHeader>>,
}

/// A page of a device's blobs; see [`crate::device::BlobStore::list`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListCall {
    /// Only keys behind it.
    pub after: Option<BlobKey>,
    /// Only placement hashes up to and including it.
    pub until_placement: u64,
    /// At most so many.
    pub limit: u32,
}

/// The page.
pub type ListAnswer = Vec<(BlobKey, BlobHeader)>;

/// A digest of the default policy's blobs over placement hashes, both ends inclusive; see [`crate::device::BlobStore::digest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestCall {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// As [`DigestCall`], of another policy than the default one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDigestCall {
    /// The policy.
    pub policy: PolicyId,
    /// The placement hashes.
    pub placements: DigestCall,
}

/// A POST body or its answer.
pub(super) fn encode<T: Serialize>(value: &T) -> Bytes {
    postcard::to_extend(value, vec![FORMAT])
        .expect("these types have nothing postcard cannot write")
        .into()
}

/// Reads what [`encode`] wrote.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (&FORMAT, rest) = bytes.split_first()? else {
        return None;
    };
    postcard::from_bytes(rest).ok()
}
