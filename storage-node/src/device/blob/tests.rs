use bytes::Bytes;
use metadata::ids::{BlobId, BucketId, ClusterId, ShardId, WriteId};
use proptest::prelude::*;

use super::*;

fn id(write: u128, chunk: u32) -> BlobId {
    BlobId {
        write: WriteId(write),
        chunk,
    }
}

fn blob(len: usize) -> Blob {
    let payload: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
    let header = BlobHeader {
        cluster: ClusterId(1),
        shard: ShardId(2),
        bucket: BucketId(3),
        len: 0,
        blake3: [0; 32],
        written_ms: 4,
    };
    Blob::seal(
        BlobKey {
            placement: 9,
            id: id(7, 1),
        },
        header,
        payload.into(),
    )
}

fn whole(blob: &Blob) -> BlobSlice {
    BlobSlice {
        key: blob.key,
        header: blob.header,
        first_frame: 0,
        frame_crcs: blob.frame_crcs.clone(),
        payload: blob.payload.to_bytes(),
    }
}

#[test]
fn crc_is_crc32c_of_id_offset_and_bytes() {
    let mut plain = Vec::new();
    plain.extend_from_slice(&7u128.to_be_bytes());
    plain.extend_from_slice(&1u32.to_be_bytes());
    plain.extend_from_slice(&65536u32.to_be_bytes());
    plain.extend_from_slice(b"frame");
    assert_eq!(frame_crc(id(7, 1), 65536, b"frame"), crc_fast::crc32_iscsi(&plain));
}

#[test]
fn int1_a_frame_at_another_place_or_name_does_not_verify() {
    let blob = blob(2 * FRAME_BYTES);
    let mut swapped = whole(&blob);
    swapped.payload = [&swapped.payload[FRAME_BYTES..], &swapped.payload[..FRAME_BYTES]]
        .concat()
        .into();
    swapped.frame_crcs.swap(0, 1);
    assert_eq!(swapped.verify(), Err(BlobFault::Frame { frame: 0 }));
    let mut renamed = whole(&blob);
    renamed.key.id.chunk += 1;
    assert_eq!(renamed.verify(), Err(BlobFault::Frame { frame: 0 }));
}

#[test]
fn int1_a_shortened_slice_does_not_verify() {
    let mut slice = whole(&blob(FRAME_BYTES + 10));
    slice.payload.truncate(FRAME_BYTES + 9);
    assert!(slice.verify().is_err());
}

#[test]
fn keys_sort_as_their_bytes() {
    let keys = [
        BlobKey {
            placement: 1,
            id: id(u128::MAX, u32::MAX),
        },
        BlobKey {
            placement: 2,
            id: id(0, 0),
        },
        BlobKey {
            placement: 2,
            id: id(0, 256),
        },
        BlobKey {
            placement: 2,
            id: id(1 << 100, 0),
        },
        BlobKey {
            placement: 1 << 60,
            id: id(0, 0),
        },
    ];
    assert!(
        keys.windows(2)
            .all(|w| w[0] < w[1] && w[0].to_bytes() < w[1].to_bytes())
    );
    assert!(
        keys.iter()
            .all(|key| BlobKey::from_bytes(&key.to_bytes()) == Some(*key))
    );
}

#[test]
fn spans_are_cut_at_the_end_and_empty_blobs_have_one() {
    assert_eq!(frame_span(100, &(10..20)), Some(0..100));
    assert_eq!(frame_span(200_000, &(65_535..65_537)), Some(0..131_072));
    assert_eq!(frame_span(200_000, &(131_072..u32::MAX)), Some(131_072..200_000));
    assert_eq!(frame_span(100, &(100..200)), None);
    assert_eq!(frame_span(0, &(0..u32::MAX)), Some(0..0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn crcs_do_not_depend_on_how_the_payload_was_cut(len in 0usize..200_000, cuts in prop::collection::vec(1usize..90_000, 0..8)) {
        let mut blob = blob(len);
        let mut rest = blob.payload.to_bytes();
        let mut pieces = Pieces::default();
        for cut in cuts {
            pieces.push(rest.split_to(cut.min(rest.len())));
        }
        pieces.push(rest);
        blob.payload = pieces;
        prop_assert_eq!(blob.check(), Ok(()));
    }

    #[test]
    fn int1_any_flipped_bit_is_seen(len in 1usize..150_000, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let good = blob(len);
        let mut bytes = good.payload.to_bytes().to_vec();
        bytes[at.index(len)] ^= 1 << bit;
        let bad = Blob { payload: Bytes::from(bytes).into(), ..good };
        let seen = matches!(bad.check(), Err(BlobFault::Frame { .. }));
        prop_assert!(seen);
        prop_assert!(whole(&bad).verify().is_err());
    }

    #[test]
    fn a_slice_yields_exactly_the_bytes_asked(len in 1u32..200_000, a in 0u32..220_000, b in 0u32..220_000) {
        let blob = blob(len as usize);
        let range = a.min(b)..a.max(b);
        let all = blob.payload.to_bytes();
        let want = &all[(range.start.min(len) as usize)..(range.end.min(len) as usize)];
        match frame_span(len, &range) {
            None => prop_assert!(want.is_empty()),
            Some(span) => {
                let frames = (span.start as usize / FRAME_BYTES)..(span.end as usize).div_ceil(FRAME_BYTES);
                let slice = BlobSlice {
                    first_frame: frames.start as u32,
                    frame_crcs: blob.frame_crcs[frames].to_vec(),
                    payload: all.slice(span.start as usize..span.end as usize),
                    ..whole(&blob)
                };
                prop_assert_eq!(slice.verify(), Ok(()));
                prop_assert_eq!(&slice.bytes(range)[..], want);
            }
        }
    }
}
