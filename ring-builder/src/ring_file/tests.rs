//! Of both files: ring and builder.

use proptest::prelude::*;

use super::*;
use crate::builder::Builder;
use crate::testing::{builder, even};

fn a_builder() -> Builder {
    let mut builder = builder(5, 3, even(2, 2, 2));
    builder.rebalance(7, 0).unwrap();
    builder
}

/// Puts a correct checksum behind changed bytes.
fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    let end = file.len() - 32;
    let sum = blake3::hash(&file[..end]);
    file[end..].copy_from_slice(sum.as_bytes());
    file
}

fn why<T: std::fmt::Debug>(result: Result<T, RingError>) -> &'static str {
    match result {
        Err(RingError::Damaged { why, .. }) => why,
        other => panic!("expected damage: {other:?}"),
    }
}

#[test]
fn files_come_back_as_they_were() {
    let mut builder = a_builder();
    let ring = builder.ring().unwrap();
    assert_eq!(Ring::from_bytes(&ring.to_bytes()), Ok(ring));
    assert_eq!(Builder::from_bytes(&builder.to_bytes()), Ok(builder.clone()));
    builder.remove(DeviceId(3)).unwrap();
    assert_eq!(Builder::from_bytes(&builder.to_bytes()), Ok(builder.clone()));
    builder.rebalance(9, 1).unwrap();
    assert_eq!(Builder::from_bytes(&builder.to_bytes()), Ok(builder));
    let new = Builder::new(0, 1, 24).unwrap();
    assert_eq!(Builder::from_bytes(&new.to_bytes()), Ok(new));
}

#[test]
fn every_truncation_and_every_flipped_bit_is_noticed() {
    let builder = a_builder();
    let ring = builder.ring().unwrap().to_bytes();
    let builder = builder.to_bytes();
    for cut in 0..ring.len() {
        assert!(Ring::from_bytes(&ring[..cut]).is_err(), "ring cut at {cut}");
    }
    for cut in 0..builder.len() {
        assert!(Builder::from_bytes(&builder[..cut]).is_err(), "builder cut at {cut}");
    }
    for bit in 0..ring.len() * 8 {
        let mut bad = ring.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Ring::from_bytes(&bad).is_err(), "bit {bit} of the ring");
    }
    assert_eq!(
        why(Ring::from_bytes(&[ring, vec![0]].concat())),
        "it is shorter or longer than it says"
    );
}

#[test]
fn other_files_and_other_versions_are_named() {
    let builder = a_builder();
    let mut ring = builder.ring().unwrap().to_bytes();
    assert_eq!(
        Ring::from_bytes(&builder.to_bytes()),
        Err(RingError::NotOurs { what: "ring" })
    );
    assert_eq!(Ring::from_bytes(b""), Err(RingError::NotOurs { what: "ring" }));
    assert_eq!(
        Builder::from_bytes(&ring),
        Err(RingError::NotOurs { what: "ring builder" })
    );
    ring[8] = 9;
    assert_eq!(
        Ring::from_bytes(&sealed(ring)),
        Err(RingError::OtherVersion {
            what: "ring",
            found: 9,
            known: 2
        })
    );
}

#[test]
fn well_sealed_nonsense_is_refused_before_memory_is_spent_on_it() {
    let ring = a_builder().ring().unwrap().to_bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = ring.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        Ring::from_bytes(&sealed(bad))
    };
    let (power, replicas, devices, table) = (28, 29, 30, ring.len() - 32 - 2 * 3 * 32);
    assert_eq!(why(with(12, &[0xff; 8])), "it is shorter or longer than it says");
    assert_eq!(why(with(power, &[24])), "it ends too early");
    assert_eq!(why(with(power, &[25])), "its size is beyond the limits");
    assert_eq!(why(with(replicas, &[0])), "its size is beyond the limits");
    assert_eq!(why(with(replicas, &[255])), "its size is beyond the limits");
    assert!(with(devices, &[255, 255]).is_err());
    assert_eq!(
        why(with(table, &[200, 0])),
        "its table names a device that it does not list"
    );
    assert_eq!(
        why(with(table, &[255, 255])),
        "its table names a device that it does not list"
    );
    assert_eq!(
        why(with(table, &[1, 0, 1, 0])),
        "a partition has two copies on one device"
    );
    // The first device's weight and second device's id.
    assert_eq!(
        why(with(52, &f64::NAN.to_bits().to_le_bytes())),
        "a device in it is not usable"
    );
    let first = 28 + 2 + "node-1000000:7000".len() + 2 + "d0".len();
    assert_eq!(why(with(32 + first, &[0; 4])), "its devices are not sorted by id");
    assert_eq!(why(with(32 + first + 4, &[9])), "a node in it stands in two places");
    assert_eq!(why(with(32 + 2 * first - 1, b"0")), "it lists a device twice");
}

proptest! {
    #[test]
    fn arbitrary_bodies_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        for (magic, what) in [(*b"HALORING", "ring"), (*b"HALOBLDR", "ring builder")] {
            let file = Kind { what, magic, version: 2 }.seal(&body);
            let _ = Ring::from_bytes(&file);
            let _ = Builder::from_bytes(&file);
        }
    }
}
