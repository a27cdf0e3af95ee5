use proptest::prelude::*;

use super::*;

fn bytes_of(len: usize, seed: u64) -> Bytes {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Puts a chunk together again from its data fragments.
fn joined(code: Code, data: &BTreeMap<u8, Bytes>, len: usize) -> Bytes {
    let len = u32::try_from(len).unwrap();
    let places = code.places(len, &(0..len));
    let parts = places
        .into_iter()
        .map(|(number, range)| data[&number].slice(range.start as usize..range.end as usize));
    parts.collect::<Vec<_>>().concat().into()
}

fn numbered(fragments: &[Bytes]) -> BTreeMap<u8, Bytes> {
    (0..).zip(fragments.iter().cloned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn dur_1_any_k_fragments_give_the_chunk_and_every_other_fragment_back(
        data in 2_usize..9,
        parity in 1_usize..5,
        len in prop_oneof![0_usize..300, 0_usize..70_000],
        order in any::<u64>(),
        seed in any::<u64>(),
    ) {
        let code = Code::new(data, parity).unwrap();
        let chunk = bytes_of(len, seed);
        let all = code.split(&chunk.clone().into());
        prop_assert_eq!(all.len(), code.fragments());
        let slice = code.fragment_len(u32::try_from(len).unwrap());
        prop_assert_eq!(slice % BLOCK_BYTES, 0);
        prop_assert!(all.iter().all(|fragment| fragment.len() == slice as usize));

        let mut numbers: Vec<u8> = code.numbers().collect();
        numbers.sort_by_key(|number| blake3::hash(&[&order.to_le_bytes()[..], &[*number]].concat()).as_bytes()[0]);
        let known: BTreeMap<u8, Bytes> = numbers[..data].iter().map(|n| (*n, all[usize::from(*n)].clone())).collect();
        prop_assert_eq!(joined(code, &code.rebuild_data(&known).unwrap(), len), chunk);
        for wanted in code.numbers() {
            prop_assert_eq!(&code.rebuild(&known, wanted).unwrap(), &all[usize::from(wanted)]);
        }
        let mut few = known;
        few.pop_first();
        prop_assert_eq!(code.rebuild_data(&few), Err(CodeError::TooFew { found: data - 1, needed: data }));
    }

    #[test]
    fn a_window_of_blocks_is_decoded_from_the_same_window(
        blocks in 1_u32..40,
        window in (0_u32..40, 1_u32..40),
        missing in 0_u8..4,
        seed in any::<u64>(),
    ) {
        let code = Code::new(4, 2).unwrap();
        let len = blocks * 4 * BLOCK_BYTES;
        let all = numbered(&code.split(&bytes_of(len as usize, seed).into()));
        let start = window.0.min(blocks - 1);
        let range = (start * BLOCK_BYTES) as usize..((start + window.1).min(blocks) * BLOCK_BYTES) as usize;
        let known: BTreeMap<u8, Bytes> = all
            .iter()
            .filter(|(number, _)| **number != missing)
            .map(|(number, bytes)| (*number, bytes.slice(range.clone())))
            .collect();
        prop_assert_eq!(code.rebuild(&known, missing).unwrap(), all[&missing].slice(range));
    }

    #[test]
    fn a_range_is_covered_once_and_in_order(len in 1_u32..100_000, ends in (0_u32..100_000, 0_u32..100_000)) {
        let code = Code::new(5, 2).unwrap();
        let range = ends.0.min(ends.1).min(len)..ends.0.max(ends.1).min(len);
        let chunk = bytes_of(len as usize, 5);
        let data = numbered(&code.split(&chunk.clone().into()));
        let places = code.places(len, &range);
        let read: Vec<u8> = places
            .iter()
            .flat_map(|(number, part)| data[number].slice(part.start as usize..part.end as usize))
            .collect();
        prop_assert_eq!(&read[..], &chunk[range.start as usize..range.end as usize]);
        prop_assert!(places.is_sorted_by_key(|(number, _)| *number));
    }
}

#[test]
fn chunks_in_pieces_are_cut_like_whole_ones() {
    let code = Code::new(4, 2).unwrap();
    let chunk = bytes_of(10_000, 9);
    let pieces: Pieces = [0..1, 1..700, 700..6_000, 6_000..10_000]
        .into_iter()
        .map(|range| chunk.slice(range))
        .collect();
    assert_eq!(code.split(&pieces), code.split(&chunk.into()));
}

#[test]
fn codes_that_make_no_sense_are_refused() {
    for (data, parity) in [(0, 1), (1, 2), (4, 0), (30, 2), (usize::MAX, 2)] {
        assert_eq!(Code::new(data, parity), None);
    }
    assert_eq!(Code::new(28, 3).map(Code::fragments), Some(31));
}

#[test]
fn fragments_that_do_not_fit_together_are_refused() {
    let code = Code::new(2, 1).unwrap();
    let known = BTreeMap::from([(0, Bytes::from(vec![0; 64])), (2, Bytes::from(vec![0; 128]))]);
    assert!(matches!(code.rebuild_data(&known), Err(CodeError::Unfit(_))));
}

#[test]
fn the_code_on_disk_never_changes() {
    // Fragments on devices were made by these values: a change of the code loses every chunk that misses one.
    let fragments = Code::new(4, 2).unwrap().split(&bytes_of(1000, 1).into());
    let hashes: Vec<String> = fragments
        .iter()
        .map(|one| blake3::hash(one).to_hex()[..16].to_owned())
        .collect();
    assert_eq!(hashes[4..], ["b6eecff7eb653659", "f93e440c7cd7cf7f"]);
}
