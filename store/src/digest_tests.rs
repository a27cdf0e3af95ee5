//! Digests against published check values, and combination against the bytes themselves.

use bytes::Bytes;
use metadata::ids::WriteId;
use metadata::model::{PolicyId, Stream};
use proptest::prelude::*;

use super::*;

const ALL: [ChecksumAlgorithm; 5] = [
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Crc32c,
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Sha1,
    ChecksumAlgorithm::Sha256,
];

fn digests(bytes: &[u8], cut: usize) -> Digests {
    let mut digests = BodyDigests::new(&ALL);
    let (left, right) = bytes.split_at(cut.min(bytes.len()));
    digests.update(&Pieces::from(Bytes::copy_from_slice(left)));
    digests.update(&Pieces::from(Bytes::copy_from_slice(right)));
    digests.finish()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn part(number: u16, bytes: &[u8], algorithm: ChecksumAlgorithm) -> PartRow {
    let found = digests(bytes, 0);
    let value = found.checksum(algorithm).unwrap().to_vec();
    let size = bytes.len() as u64;
    PartRow {
        number,
        stream: Stream {
            write: WriteId(1),
            size,
            chunk_bytes: 1,
            policy: PolicyId(0),
            ring_version: 1,
        },
        md5: found.md5,
        checksum: Some(Checksum {
            algorithm,
            kind: ChecksumKind::FullObject,
            value,
        }),
        modified_ms: 0,
    }
}

#[test]
fn digests_have_their_published_check_values() {
    let found = digests(b"123456789", 4);
    assert_eq!(found.size, 9);
    assert_eq!(hex(&found.md5), "25f9e794323b453885f5181f1b624d0b");
    let shown: Vec<String> = found.checksums.iter().map(|(_, value)| hex(value)).collect();
    assert_eq!(
        shown,
        [
            "cbf43926",
            "e3069283",
            "ae8b14860a799888",
            "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
        ]
    );
}

#[test]
fn a_part_without_the_checksum_is_named() {
    let parts = [part(3, b"x", ChecksumAlgorithm::Crc32)];
    let error = of_parts(ChecksumAlgorithm::Crc32c, ChecksumKind::FullObject, parts.iter()).unwrap_err();
    assert_eq!(error, StoreError::InvalidPart(3));
}

#[test]
fn a_composite_covers_the_checksums_of_the_parts() {
    let parts = [
        part(1, b"abc", ChecksumAlgorithm::Sha256),
        part(2, b"de", ChecksumAlgorithm::Sha256),
    ];
    let checksum = of_parts(ChecksumAlgorithm::Sha256, ChecksumKind::Composite, parts.iter()).unwrap();
    let joined = [Sha256::digest(b"abc"), Sha256::digest(b"de")].concat();
    assert_eq!(checksum.value, Sha256::digest(joined).to_vec());
    let error = of_parts(ChecksumAlgorithm::Sha256, ChecksumKind::FullObject, parts.iter()).unwrap_err();
    assert!(matches!(error, StoreError::InvalidRequest(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn combined_crcs_are_those_of_all_bytes(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6)) {
        let whole = digests(&parts.concat(), 5);
        for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
            let rows: Vec<PartRow> = parts.iter().zip(1..).map(|(bytes, number)| part(number, bytes, algorithm)).collect();
            let checksum = of_parts(algorithm, ChecksumKind::FullObject, rows.iter()).unwrap();
            prop_assert_eq!(checksum.value.as_slice(), whole.checksum(algorithm).unwrap());
        }
    }
}
