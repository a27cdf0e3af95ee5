use proptest::prelude::*;

use super::*;
use crate::testing::{builder, even};

fn file() -> RingFile {
    let mut builder = builder(10, 3, even(2, 2, 2));
    builder.rebalance(1, 0).unwrap();
    RingFile::of(&builder.ring().unwrap())
}

fn why(result: Result<RingFile, RingError>) -> &'static str {
    match result {
        Err(RingError::Damaged { why, .. }) => why,
        other => panic!("expected damage: {other:?}"),
    }
}

#[test]
fn a_small_ring_is_one_plain_file() {
    let file = file();
    let parts = file.parts(file.bytes().len()).unwrap();
    assert_eq!(parts, [file.bytes()]);
    assert_eq!(RingFile::count(&parts[0]), Ok(1));
    assert_eq!(RingFile::assemble(&parts), Ok(file));
}

#[test]
fn pieces_come_back_in_any_order_and_none_is_too_long() {
    let file = file();
    let mut parts = file.parts(MIN_PART_BYTES).unwrap();
    assert!(parts.len() > 5 && parts.iter().all(|part| part.len() <= MIN_PART_BYTES));
    assert_eq!(RingFile::count(&parts[3]), Ok(parts.len()));
    parts.reverse();
    parts.swap(0, 2);
    let again = RingFile::assemble(&parts).unwrap();
    assert_eq!(again.ring().unwrap(), file.ring().unwrap());
}

#[test]
fn the_largest_usual_ring_is_a_few_records_of_one_mebibyte() {
    let mut builder = builder(20, 3, even(3, 2, 2));
    builder.rebalance(1, 0).unwrap();
    let ring = builder.ring().unwrap();
    let parts = RingFile::of(&ring).parts(1 << 20).unwrap();
    assert_eq!(parts.len(), 7);
    assert_eq!(RingFile::assemble(&parts).unwrap().ring().unwrap(), ring);
}

#[test]
fn missing_doubled_foreign_and_flipped_pieces_are_noticed() {
    let parts = file().parts(MIN_PART_BYTES).unwrap();
    assert_eq!(why(RingFile::assemble(&parts[1..])), "a piece is missing or doubled");
    assert_eq!(why(RingFile::assemble(&parts[..1])), "a piece is missing or doubled");
    let mut doubled = parts.clone();
    doubled[1] = doubled[2].clone();
    assert_eq!(why(RingFile::assemble(&doubled)), "a piece is missing or doubled");
    assert_eq!(why(RingFile::assemble::<Vec<u8>>(&[])), "there is none");
    let mut other = builder(10, 3, even(2, 2, 3));
    other.rebalance(1, 0).unwrap();
    let mut mixed = RingFile::of(&other.ring().unwrap()).parts(MIN_PART_BYTES).unwrap();
    mixed.truncate(parts.len());
    mixed[1] = parts[1].clone();
    assert_eq!(why(RingFile::assemble(&mixed)), "the pieces are of different rings");
    for (at, bit) in [(0, 0), (2, 500), (5, 90)] {
        let mut bad = parts.clone();
        bad[at][HEADER + bit] ^= 1;
        assert_eq!(why(RingFile::assemble(&bad)), "the checksum of the whole differs");
    }
    let mut newer = parts.clone();
    newer[0][8] = 2;
    let refused = RingFile::assemble(&newer);
    assert_eq!(
        refused,
        Err(RingError::OtherVersion {
            what: "piece of a ring",
            found: 2,
            known: 1
        })
    );
    assert!(RingFile::assemble(&[&parts[0][..HEADER - 1]]).is_err());
}

#[test]
fn a_limit_that_no_piece_fits_is_refused() {
    assert!(matches!(
        file().parts(100),
        Err(RingError::PartsTooSmall { max_bytes: 100, .. })
    ));
}

proptest! {
    #[test]
    fn arbitrary_pieces_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let piece = [&PART.magic[..], &bytes].concat();
        let _ = RingFile::count(&piece);
        let _ = RingFile::assemble(&[piece]);
    }
}
