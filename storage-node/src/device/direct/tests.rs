use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::device::disk::{Disk, DiskFile, RealDisk};

fn bytes(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 251 + seed * 7) as u8).collect()
}

fn slices_of<'a>(bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut slices = Vec::new();
    for length in lengths {
        let (now, later) = rest.split_at((*length).min(rest.len()));
        slices.push(now);
        rest = later;
    }
    slices.push(rest);
    slices
}

fn fresh() -> (tempfile::TempDir, Arc<dyn DiskFile>) {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let file = RealDisk::open(dir.path()).unwrap().create("f").unwrap();
    (dir, file)
}

#[test]
fn a_cut_keeps_whole_blocks_in_the_middle() {
    assert_eq!(Cut::of(0, DIRECT_BYTES_MIN - 1), None);
    for offset in [0, 1, 128, 4095, 4096, 4097, 8192 + 128] {
        for len in [DIRECT_BYTES_MIN, DIRECT_BYTES_MIN + 1, DIRECT_BYTES_MIN + 4096, 1 << 22] {
            let cut = Cut::of(offset, len).unwrap();
            assert_eq!((cut.head.start, cut.tail.end), (0, len));
            assert_eq!((cut.head.end, cut.middle.end), (cut.middle.start, cut.tail.start));
            assert!((offset as usize + cut.middle.start).is_multiple_of(BLOCK_BYTES));
            assert!(cut.middle.len().is_multiple_of(BLOCK_BYTES));
            assert!(cut.head.len() < BLOCK_BYTES && cut.tail.len() < BLOCK_BYTES);
        }
    }
}

#[test]
fn this_file_system_is_written_past_the_cache() {
    let (dir, file) = fresh();
    let payload = bytes(2 * BUFFER_BYTES, 1);
    let direct = Direct::new(dir.path().join("f"));
    let wrote = direct.write(&AlignedBuffer::default(), 0, &[&payload], 0..payload.len());
    let Ok(wrote) = wrote else { panic!("{wrote:?}") };
    if wrote == 0 {
        // Some file systems refuse; then there is nothing to compare.
        return assert!(direct.file().is_none());
    }
    assert_eq!(wrote, payload.len());
    assert_eq!(file.read_at(0, payload.len()).unwrap(), payload);
    let read = direct.read(777, DIRECT_BYTES_MIN + 1).unwrap().unwrap();
    assert_eq!(read, payload[777..][..=DIRECT_BYTES_MIN]);
    assert_eq!(direct.read(0, DIRECT_BYTES_MIN - 1).unwrap(), None);
    // The end of the file lies inside a block, and behind it there is nothing.
    file.truncate(payload.len() as u64 - 100).unwrap();
    let read = direct.read(5000, payload.len()).unwrap().unwrap();
    assert_eq!(read, payload[5000..payload.len() - 100]);
    assert!(direct.read(4 << 20, DIRECT_BYTES_MIN).unwrap().unwrap().is_empty());
}

#[test]
fn where_direct_writes_are_refused_the_cache_takes_all() {
    let direct = Direct::new("/nonexistent/file".into());
    assert_eq!(
        direct
            .write(&AlignedBuffer::default(), 0, &[&[1; 8192]], 0..8192)
            .unwrap(),
        0
    );
}

#[test]
fn a_large_write_into_reserved_room_changes_nothing_beside_it() {
    let (_dir, file) = fresh();
    file.reserve(4 << 20).unwrap();
    let (offset, payload) = (5 * 128, bytes((1 << 20) + 777, 3));
    file.write_at(0, &[&[9; 5 * 128]]).unwrap();
    file.write_at(offset, &[&payload[..1000], &payload[1000..]]).unwrap();
    file.sync().unwrap();
    let all = file.read_at(0, 4 << 20).unwrap();
    let (start, end) = (offset as usize, offset as usize + payload.len());
    assert!(all[..start].iter().all(|byte| *byte == 9));
    assert_eq!(all[start..end], payload);
    assert!(all[end..].iter().all(|byte| *byte == 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Appends of any sizes, cut in any slices, read back as one file; readers in between see what was written.
    #[test]
    fn dur_4_appends_read_back_whatever_way_they_went(
        writes in prop::collection::vec(
            (1_usize..3 * BUFFER_BYTES / 2, prop::collection::vec(0_usize..200_000, 0..6)), 1..5),
        first in 0_u64..9000,
    ) {
        let (_dir, file) = fresh();
        let mut expected = vec![0; first as usize];
        for (seed, (len, lengths)) in writes.iter().enumerate() {
            let payload = bytes(*len, seed);
            file.write_at(expected.len() as u64, &slices_of(&payload, lengths)).unwrap();
            expected.extend_from_slice(&payload);
            prop_assert!(file.read_at(0, expected.len() + 1).unwrap() == expected);
            let from = expected.len() / 3;
            prop_assert!(file.read_once(from as u64, expected.len()).unwrap() == expected[from..]);
        }
        file.sync().unwrap();
        prop_assert_eq!(file.len().unwrap(), expected.len() as u64);
    }

    #[test]
    fn parts_and_sources_are_cut_alike(
        lengths in prop::collection::vec(0_usize..50, 0..8),
        len in 0_usize..300,
        at in 0_usize..300,
        take in 0_usize..300,
    ) {
        let payload = bytes(len, 1);
        let slices = slices_of(&payload, &lengths);
        let range = at.min(len)..(at + take).min(len);
        prop_assert_eq!(part(&slices, range.clone()).concat(), &payload[range.clone()]);
        let mut filled = vec![0; range.len()];
        Source::new(&slices, range.start).fill(&mut filled);
        prop_assert_eq!(&filled[..], &payload[range]);
    }
}
