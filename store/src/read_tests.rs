//! How ranges become parts and slices.

use metadata::ids::WriteId;
use metadata::model::PolicyId;
use proptest::prelude::*;

use super::*;

#[test]
fn a_range_finds_its_parts() {
    let parts = [(1, 10), (3, 0), (7, 5), (9, 20)];
    let find = |range| Vec::from(overlapping(parts.into_iter(), &range));
    assert_eq!(find(0..10), [(1, 0..10)]);
    assert_eq!(find(9..11), [(1, 9..10), (7, 0..1)]);
    assert_eq!(find(10..16), [(7, 0..5), (9, 0..1)]);
    assert_eq!(find(34..35), [(9, 19..20)]);
}

proptest! {
    #[test]
    fn slices_cover_the_range_in_order(
        size in 1_u64..5000,
        chunk_bytes in 1_u32..700,
        slice_bytes in 1_u32..900,
        at in any::<(u64, u64)>(),
    ) {
        let start = at.0 % size;
        let end = start + at.1 % (size - start + 1);
        let stream = Stream { write: WriteId(1), size, chunk_bytes, policy: PolicyId(0), ring_version: 1 };
        let mut segment = Segment { stream: stream.clone(), range: start..end };
        let mut position = start;
        while let Some(slice) = segment.cut(slice_bytes) {
            prop_assert!(!slice.range.is_empty() && slice.range.len() <= slice_bytes as usize);
            prop_assert!(slice.range.end <= slice.chunk_len);
            let first = u64::from(slice.key.id.chunk) * u64::from(chunk_bytes) + u64::from(slice.range.start);
            prop_assert_eq!(first, position);
            position += slice.range.len() as u64;
        }
        prop_assert_eq!(position, end);
    }
}
