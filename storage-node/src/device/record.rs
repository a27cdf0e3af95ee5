//! What lies in a segment: its header, then records one after the other.
//!
//! ```text
//! segment file  "0000000000000007.seg", little endian
//! +--------------------+--------------------+--------+--------+-----
//! | header, 4096 bytes | the header again   | record | record | ...     every record begins at a multiple of 128
//! +--------------------+--------------------+--------+--------+-----
//!
//! header  0 magic "HALOSEGM"  8 version u32 (1)  12 zero u32  16 cluster u128  32 device u32  36 zero u32
//!        40 segment u64  48 created_ms u64  56 salt [32]  88 BLAKE3 of bytes 0..88 [32]  120 zeros
//!
//! record = head (128) + CRC table (4 per frame) + payload + zeros up to the next multiple of 128
//! head    0 magic "HREC"  4 kind u8  5 version u8 (1)  6 zero u16  8 segment u64  16 offset u32  20 covered u32
//!        24 seq u64  32 placement u64  40 write u128  56 chunk u32  60 len u32
//!        64 shard u64  72 bucket u64  80 written_ms u64  88 BLAKE3 of the payload [32]
//!       120 check [8]: BLAKE3 keyed with the segment's salt over bytes 0..120 and the CRC table, first 8 bytes
//!
//! kind 1 blob
//!      2 tombstone: `len` is 0, `shard` holds the segment of the copy that it kills
//!      3 mark: nothing but `covered`, written at a clean stop
//!      4 void: recovery found a torn region here; `len` bytes behind the head's end are garbage
//!      5 seal: the last record of a segment; everything before it is synced
//! ```
//!
//! `covered` is the length of the segment that was known synced when the record was written: each group of records
//! records what the sync before it covered (DUR-4). `seq` counts all blobs and tombstones of a device and stays with a
//! record that reclaim moves: of two records of one key the larger `seq` is true, wherever they lie.
//! The salt is random and never leaves the device, so that bytes a user stored cannot pass for a record when recovery
//! searches a damaged region; the check also binds a record to its segment and offset.

use metadata::ids::{BlobId, BucketId, ClusterId, DeviceId, ShardId, WriteId};

use super::blob::{BLOB_BYTES_MAX, BlobHeader, BlobKey, FRAMES_MAX, frames_of};

/// Version of both formats above.
const VERSION: u8 = 1;
/// One copy of the segment header, so that no single bad page costs a segment.
const HEADER_COPY_BYTES: usize = 4096;
/// Where the first record begins.
pub(super) const HEADER_BYTES: u32 = 2 * HEADER_COPY_BYTES as u32;
/// Length of a record's head, and what every record's offset is a multiple of.
pub(super) const HEAD_BYTES: usize = 128;
/// The most bytes a head with its CRC table can have.
pub(super) const HEAD_AND_TABLE_MAX: usize = HEAD_BYTES + 4 * FRAMES_MAX;
/// Suffix of a segment's file name.
const SUFFIX: &str = ".seg";

const SEGMENT_MAGIC: &[u8; 8] = b"HALOSEGM";
const RECORD_MAGIC: &[u8; 4] = b"HREC";

/// Who a device is: it refuses segments and blobs of any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The device.
    pub device: DeviceId,
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) identity: Identity,
    pub(super) segment: u64,
    pub(super) created_ms: u64,
    pub(super) salt: [u8; 32],
}

impl SegmentHeader {
    /// Both copies.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut copy = vec![0; HEADER_COPY_BYTES];
        copy[..8].copy_from_slice(SEGMENT_MAGIC);
        copy[8..12].copy_from_slice(&u32::from(VERSION).to_le_bytes());
        copy[16..32].copy_from_slice(&self.identity.cluster.0.to_le_bytes());
        copy[32..36].copy_from_slice(&self.identity.device.0.to_le_bytes());
        copy[40..48].copy_from_slice(&self.segment.to_le_bytes());
        copy[48..56].copy_from_slice(&self.created_ms.to_le_bytes());
        copy[56..88].copy_from_slice(&self.salt);
        let check = *blake3::hash(&copy[..88]).as_bytes();
        copy[88..120].copy_from_slice(&check);
        copy.repeat(2)
    }

    /// Reads either copy; the flag says whether the other one is damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, bool)> {
        let first = bytes.get(..HEADER_COPY_BYTES).and_then(Self::decode_copy);
        let second = bytes
            .get(HEADER_COPY_BYTES..2 * HEADER_COPY_BYTES)
            .and_then(Self::decode_copy);
        let damaged = first.is_none() || second.is_none();
        first.or(second).map(|header| (header, damaged))
    }

    fn decode_copy(copy: &[u8]) -> Option<Self> {
        let right = copy[..8] == *SEGMENT_MAGIC
            && le_u32(copy, 8) == u32::from(VERSION)
            && copy[88..120] == *blake3::hash(&copy[..88]).as_bytes();
        right.then(|| Self {
            identity: Identity {
                cluster: ClusterId(le_u128(copy, 16)),
                device: DeviceId(le_u32(copy, 32)),
            },
            segment: le_u64(copy, 40),
            created_ms: le_u64(copy, 48),
            salt: copy[56..88].try_into().expect("the slice has 32 bytes"),
        })
    }

    /// A short mark by which the index recognises that a file is still the one it indexed.
    pub(super) fn tag(&self) -> u64 {
        le_u64(blake3::hash(&self.salt).as_bytes(), 0)
    }
}

/// The file name of a segment.
pub(super) fn file_name(segment: u64) -> String {
    format!("{segment:016x}{SUFFIX}")
}

/// The number in a segment's file name; `None` for a name that is not one.
pub(super) fn segment_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let segment = u64::from_str_radix(digits, 16).ok()?;
    (file_name(segment) == name).then_some(segment)
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u32,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A blob's payload follows.
    Blob { key: BlobKey, header: BlobHeader },
    /// The blob is dead; its copy lay in segment `killed`.
    Tombstone { key: BlobKey, killed: u64 },
    /// Only carries `covered`.
    Mark,
    /// `garbage` bytes behind the head are a torn region.
    Void { garbage: u32 },
    /// The end of a segment.
    Seal,
}

/// A record without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) place: Place,
    /// Length of the segment known synced when this was written.
    pub(super) covered: u32,
    /// Birth order of blobs and tombstones; 0 for the other kinds.
    pub(super) seq: u64,
    pub(super) kind: Kind,
    /// Empty except for blobs.
    pub(super) frame_crcs: Vec<u32>,
}

impl Record {
    /// Bytes the record takes on disk, padding included.
    pub(super) fn disk_bytes(&self) -> u32 {
        match &self.kind {
            Kind::Blob { header, .. } => blob_disk_bytes(header.len),
            Kind::Void { garbage } => HEAD_BYTES as u32 + garbage,
            Kind::Tombstone { .. } | Kind::Mark | Kind::Seal => HEAD_BYTES as u32,
        }
    }

    /// Where the payload begins, counted from the head.
    pub(super) fn payload_start(&self) -> u32 {
        (HEAD_BYTES + 4 * self.frame_crcs.len()) as u32
    }

    /// Head and CRC table as they lie on disk.
    pub(super) fn encode(&self, salt: &[u8; 32]) -> Vec<u8> {
        let mut bytes = vec![0; HEAD_BYTES];
        bytes[..4].copy_from_slice(RECORD_MAGIC);
        bytes[5] = VERSION;
        bytes[8..16].copy_from_slice(&self.place.segment.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.place.offset.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.covered.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.seq.to_le_bytes());
        match &self.kind {
            Kind::Blob { key, header } => {
                bytes[4] = 1;
                encode_key(&mut bytes, key);
                bytes[60..64].copy_from_slice(&header.len.to_le_bytes());
                bytes[64..72].copy_from_slice(&header.shard.0.to_le_bytes());
                bytes[72..80].copy_from_slice(&header.bucket.0.to_le_bytes());
                bytes[80..88].copy_from_slice(&header.written_ms.to_le_bytes());
                bytes[88..120].copy_from_slice(&header.blake3);
            }
            Kind::Tombstone { key, killed } => {
                bytes[4] = 2;
                encode_key(&mut bytes, key);
                bytes[64..72].copy_from_slice(&killed.to_le_bytes());
            }
            Kind::Mark => bytes[4] = 3,
            Kind::Void { garbage } => {
                bytes[4] = 4;
                bytes[60..64].copy_from_slice(&garbage.to_le_bytes());
            }
            Kind::Seal => bytes[4] = 5,
        }
        for crc in &self.frame_crcs {
            bytes.extend_from_slice(&crc.to_le_bytes());
        }
        let check = check_of(salt, &bytes);
        bytes[120..128].copy_from_slice(&check);
        bytes
    }

    /// Reads a head and its table from the bytes at `place`. `None` when they are not a whole, right record of this
    /// segment and this offset. `bytes` should hold [`HEAD_AND_TABLE_MAX`] bytes unless the file ends before.
    pub(super) fn decode(bytes: &[u8], place: Place, salt: &[u8; 32], cluster: ClusterId) -> Option<Self> {
        let head = bytes.get(..HEAD_BYTES)?;
        let here = le_u64(head, 8) == place.segment && le_u32(head, 16) == place.offset;
        if head[..4] != *RECORD_MAGIC || head[5] != VERSION || !here {
            return None;
        }
        let len = le_u32(head, 60);
        if head[4] == 1 && len as usize > BLOB_BYTES_MAX {
            return None;
        }
        let frames = if head[4] == 1 { frames_of(len) } else { 0 };
        let table = bytes.get(HEAD_BYTES..HEAD_BYTES + 4 * frames)?;
        if head[120..128] != check_of(salt, &bytes[..HEAD_BYTES + 4 * frames]) {
            return None;
        }
        let kind = match head[4] {
            1 => Kind::Blob {
                key: decode_key(head),
                header: decode_header(head, cluster),
            },
            2 => Kind::Tombstone {
                key: decode_key(head),
                killed: le_u64(head, 64),
            },
            3 => Kind::Mark,
            4 => Kind::Void { garbage: len },
            5 => Kind::Seal,
            _ => return None,
        };
        let frame_crcs = table.chunks_exact(4).map(|crc| le_u32(crc, 0)).collect();
        Some(Self {
            place,
            covered: le_u32(head, 20),
            seq: le_u64(head, 24),
            kind,
            frame_crcs,
        })
    }
}

/// Bytes a blob of `len` payload bytes takes on disk.
pub(super) fn blob_disk_bytes(len: u32) -> u32 {
    (HEAD_BYTES as u32 + 4 * frames_of(len) as u32 + len).next_multiple_of(HEAD_BYTES as u32)
}

/// The head's check covers the head up to itself, then the table.
fn check_of(salt: &[u8; 32], head_and_table: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new_keyed(salt);
    hasher
        .update(&head_and_table[..120])
        .update(&head_and_table[HEAD_BYTES..]);
    hasher.finalize().as_bytes()[..8]
        .try_into()
        .expect("the slice has 8 bytes")
}

fn encode_key(head: &mut [u8], key: &BlobKey) {
    head[32..40].copy_from_slice(&key.placement.to_le_bytes());
    head[40..56].copy_from_slice(&key.id.write.0.to_le_bytes());
    head[56..60].copy_from_slice(&key.id.chunk.to_le_bytes());
}

fn decode_key(head: &[u8]) -> BlobKey {
    let id = BlobId {
        write: WriteId(le_u128(head, 40)),
        chunk: le_u32(head, 56),
    };
    BlobKey {
        placement: le_u64(head, 32),
        id,
    }
}

fn decode_header(head: &[u8], cluster: ClusterId) -> BlobHeader {
    BlobHeader {
        cluster,
        shard: ShardId(le_u64(head, 64)),
        bucket: BucketId(le_u64(head, 72)),
        len: le_u32(head, 60),
        blake3: head[88..120].try_into().expect("the slice has 32 bytes"),
        written_ms: le_u64(head, 80),
    }
}

pub(super) fn le_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("the slice has 4 bytes"))
}

pub(super) fn le_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("the slice has 8 bytes"))
}

fn le_u128(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(bytes[at..at + 16].try_into().expect("the slice has 16 bytes"))
}

/// For the fuzzer: bytes of a segment at some place, as they came and with magic, place and check put right, so that
/// what stands behind the check is read too. What is read is what would be written.
pub fn fuzz(bytes: &[u8]) -> String {
    const SALT: [u8; 32] = [7; 32];
    let place = Place {
        segment: 3,
        offset: 128,
    };
    let cluster = ClusterId(5);
    if let Some((header, _)) = SegmentHeader::decode(bytes) {
        assert_eq!(SegmentHeader::decode(&header.encode()), Some((header, false)));
    }
    let mut right = bytes.to_vec();
    right.resize(right.len().clamp(HEAD_BYTES, HEAD_AND_TABLE_MAX), 0);
    let kind = (right[4] % 6).max(1);
    right[..8].copy_from_slice(&[b'H', b'R', b'E', b'C', kind, VERSION, 0, 0]);
    right[8..16].copy_from_slice(&place.segment.to_le_bytes());
    right[16..20].copy_from_slice(&place.offset.to_le_bytes());
    let len = le_u32(&right, 60);
    let frames = if kind == 1 && len as usize <= BLOB_BYTES_MAX {
        frames_of(len)
    } else {
        0
    };
    if let Some(covered) = right.get(..HEAD_BYTES + 4 * frames) {
        let check = check_of(&SALT, covered);
        right[120..128].copy_from_slice(&check);
    }
    let Some(record) = Record::decode(&right, place, &SALT, cluster) else {
        return format!("not a record of kind {kind}");
    };
    let again = record.encode(&SALT);
    assert_eq!(Record::decode(&again, place, &SALT, cluster).as_ref(), Some(&record));
    if !matches!(record.kind, Kind::Void { .. }) {
        assert!(
            record.disk_bytes() as usize >= again.len(),
            "the payload lies behind the table"
        );
    }
    format!("kind {kind}, frames: {}", record.frame_crcs.len().min(2))
}

#[cfg(test)]
mod tests;
