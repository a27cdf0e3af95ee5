//! Where a chunk belongs: the one function that writers, readers and repair share.
//!
//! ```text
//! extent    = chunk number x chunk bytes / 256 MiB
//! placement = first 8 bytes, little endian, of BLAKE3("halo placement 1" | write id, 16 LE | extent, 8 LE)
//! ```
//! The hash covers the extent, not the chunk, so that one object touches few device sets and there are few ways to
//! lose it (DESIGN §3.2). Changing this moves every blob of the cluster: it carries its version in the label.

use metadata::ids::{BlobId, WriteId};
use metadata::model::Stream;

use crate::device::BlobKey;

/// Consecutive bytes of a stream that share one placement.
pub const EXTENT_BYTES: u64 = 256 * 1024 * 1024;

const LABEL: &[u8] = b"halo placement 1";

/// The placement hash of chunk number `chunk` of a stream whose chunks have `chunk_bytes`.
#[must_use]
pub fn placement(write: WriteId, chunk: u32, chunk_bytes: u32) -> u64 {
    let extent = u64::from(chunk) * u64::from(chunk_bytes) / EXTENT_BYTES;
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(LABEL)
        .update(&write.0.to_le_bytes())
        .update(&extent.to_le_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// The key under which devices hold chunk number `chunk` of `stream`.
#[must_use]
pub fn chunk_key(stream: &Stream, chunk: u32) -> BlobKey {
    let placement = placement(stream.write, chunk, stream.chunk_bytes);
    BlobKey {
        placement,
        id: BlobId::whole(stream.write, stream.policy, chunk),
    }
}

/// The payload length of chunk number `chunk` of `stream`; 0 beyond its end.
#[must_use]
pub fn chunk_len(stream: &Stream, chunk: u32) -> u32 {
    let start = u64::from(chunk) * u64::from(stream.chunk_bytes);
    let left = stream.size.saturating_sub(start).min(u64::from(stream.chunk_bytes));
    u32::try_from(left).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use metadata::model::PolicyId;

    use super::*;

    fn stream(size: u64, chunk_bytes: u32) -> Stream {
        Stream {
            write: WriteId(7),
            size,
            chunk_bytes,
            policy: PolicyId(0),
            ring_version: 1,
        }
    }

    #[test]
    fn chunks_of_one_extent_share_their_place_and_the_next_extent_has_another() {
        let mib4 = 4 * 1024 * 1024;
        let stream = stream(1 << 40, mib4);
        let places: Vec<u64> = (0..128).map(|chunk| chunk_key(&stream, chunk).placement).collect();
        assert!(places[..64].iter().all(|place| *place == places[0]));
        assert!(places[64..].iter().all(|place| *place == places[64]));
        assert_ne!(places[0], places[64]);
    }

    #[test]
    fn the_hash_never_changes() {
        // Blobs on disk were placed by this value: a change of the function loses every object.
        let hash = blake3::hash(&[&b"halo placement 1"[..], &7_u128.to_le_bytes(), &0_u64.to_le_bytes()].concat());
        assert_eq!(
            placement(WriteId(7), 0, 1),
            u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap())
        );
    }

    #[test]
    fn the_last_chunk_is_short() {
        let stream = stream(10, 4);
        assert_eq!([0, 1, 2, 3].map(|chunk| chunk_len(&stream, chunk)), [4, 4, 2, 0]);
    }
}
