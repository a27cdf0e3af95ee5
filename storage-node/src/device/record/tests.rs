use metadata::ids::{BlobId, BucketId, ClusterId, DeviceId, ShardId, WriteId};
use proptest::prelude::*;

use super::*;

const SALT: [u8; 32] = [7; 32];
const CLUSTER: ClusterId = ClusterId(9);

fn key() -> BlobKey {
    BlobKey {
        placement: 0x0102_0304_0506_0708,
        id: BlobId {
            write: WriteId(u128::MAX - 5),
            chunk: 77,
        },
    }
}

fn record(kind: Kind) -> Record {
    let frame_crcs = match &kind {
        Kind::Blob { header, .. } => (0..frames_of(header.len) as u32).collect(),
        _ => Vec::new(),
    };
    Record {
        place: Place {
            segment: 5,
            offset: 8192 + 128,
        },
        covered: 8192,
        seq: 1 << 40,
        kind,
        frame_crcs,
    }
}

fn kinds() -> Vec<Kind> {
    let header = |len| BlobHeader {
        cluster: CLUSTER,
        shard: ShardId(3),
        bucket: BucketId(4),
        len,
        blake3: [0xab; 32],
        written_ms: 1_700_000_000_000,
    };
    vec![
        Kind::Blob {
            key: key(),
            header: header(0),
        },
        Kind::Blob {
            key: key(),
            header: header(4096),
        },
        Kind::Blob {
            key: key(),
            header: header(BLOB_BYTES_MAX as u32),
        },
        Kind::Tombstone { key: key(), killed: 4 },
        Kind::Mark,
        Kind::Void { garbage: 1280 },
        Kind::Seal,
    ]
}

fn decode(bytes: &[u8], place: Place) -> Option<Record> {
    Record::decode(bytes, place, &SALT, CLUSTER)
}

#[test]
fn every_kind_is_read_as_it_was_written() {
    for kind in kinds() {
        let record = record(kind);
        let mut bytes = record.encode(&SALT);
        assert!(bytes.len() <= HEAD_AND_TABLE_MAX);
        bytes.resize(HEAD_AND_TABLE_MAX, 0xee);
        assert_eq!(decode(&bytes, record.place), Some(record));
    }
}

#[test]
fn int1_a_record_is_bound_to_its_place_and_its_segments_salt() {
    let record = record(kinds()[1]);
    let bytes = record.encode(&SALT);
    assert_eq!(
        decode(
            &bytes,
            Place {
                offset: record.place.offset + 128,
                ..record.place
            }
        ),
        None
    );
    assert_eq!(
        decode(
            &bytes,
            Place {
                segment: 6,
                ..record.place
            }
        ),
        None
    );
    assert_eq!(Record::decode(&bytes, record.place, &[8; 32], CLUSTER), None);
}

#[test]
fn a_segment_header_survives_the_loss_of_either_copy() {
    let identity = Identity {
        cluster: CLUSTER,
        device: DeviceId(12),
    };
    let header = SegmentHeader {
        identity,
        segment: 3,
        created_ms: 99,
        salt: SALT,
    };
    let bytes = header.encode();
    assert_eq!(bytes.len(), HEADER_BYTES as usize);
    assert_eq!(SegmentHeader::decode(&bytes), Some((header, false)));
    for at in [0, 60, 100, 4096 + 20] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert_eq!(SegmentHeader::decode(&bad), Some((header, true)));
    }
    let mut bad = bytes.clone();
    bad[40] ^= 1;
    bad[4096 + 40] ^= 1;
    assert_eq!(SegmentHeader::decode(&bad), None);
    assert_eq!(SegmentHeader::decode(&bytes[..100]), None);
}

#[test]
fn file_names_sort_as_numbers_and_nothing_else_passes() {
    assert_eq!(segment_of(&file_name(0x1f)), Some(0x1f));
    assert!(file_name(9) < file_name(10) && file_name(255) < file_name(256));
    for name in [
        "1.seg",
        "000000000000001F.seg",
        "000000000000001f.seg~",
        "+00000000000001f.seg",
        "lock",
    ] {
        assert_eq!(segment_of(name), None, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn int1_any_flipped_bit_of_a_head_or_table_is_seen(kind in 0usize..7, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let record = record(kinds()[kind]);
        let mut bytes = record.encode(&SALT);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(decode(&bytes, record.place), None);
    }

    #[test]
    fn garbage_is_no_record_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), magic in any::<bool>()) {
        let mut bytes = bytes;
        if magic && bytes.len() > 24 {
            bytes[..4].copy_from_slice(b"HREC");
            bytes[5] = 1;
            bytes[8..16].copy_from_slice(&5u64.to_le_bytes());
            bytes[16..20].copy_from_slice(&8320u32.to_le_bytes());
        }
        prop_assert_eq!(decode(&bytes, Place { segment: 5, offset: 8320 }), None);
    }
}
