//! What every store under the shards must do; run on each of them.

use std::sync::Arc;

use bytes::Bytes;
use metadata::rows::Visit;
use proptest::prelude::*;

use super::faulty::{FaultyStore, StoreFaults};
use super::memory::MemoryStore;
use super::rocks::{RocksMemory, RocksStore};
use super::store::{ReadPurpose, ReadSpaces, RowStore, Space, WriteSet};

fn each_store(check: impl Fn(&dyn RowStore)) {
    let dir = tempfile::tempdir().unwrap();
    check(&RocksStore::open(dir.path(), RocksMemory::default()).unwrap());
    check(&MemoryStore::new());
    check(&FaultyStore::new(
        Arc::new(MemoryStore::new()),
        Arc::new(StoreFaults::default()),
    ));
}

fn write(store: &dyn RowStore, rows: &[(Space, &str, Option<&str>)]) {
    let mut set = WriteSet::new();
    for (space, key, value) in rows {
        match value {
            Some(value) => set.put(
                *space,
                key.as_bytes().to_vec(),
                Bytes::copy_from_slice(value.as_bytes()),
            ),
            None => set.remove(*space, key.as_bytes().to_vec()),
        }
    }
    store.write(&set).unwrap();
}

fn keys(rows: &dyn ReadSpaces, space: Space, from: &str, until: &str) -> Vec<String> {
    let mut keys = Vec::new();
    rows.scan(space, from.as_bytes(), until.as_bytes(), &mut |key, _| {
        keys.push(String::from_utf8(key.to_vec()).unwrap());
        Visit::Next
    })
    .unwrap();
    keys
}

#[test]
fn a_write_is_read_back_and_the_last_of_a_set_wins() {
    each_store(|store| {
        write(
            store,
            &[
                (Space::Rows, "a", Some("1")),
                (Space::Rows, "a", Some("2")),
                (Space::Log, "a", Some("3")),
            ],
        );
        write(store, &[(Space::Rows, "b", Some("1")), (Space::Rows, "b", None)]);
        assert_eq!(store.get(Space::Rows, b"a").unwrap().as_deref(), Some(b"2".as_slice()));
        assert_eq!(store.get(Space::Log, b"a").unwrap().as_deref(), Some(b"3".as_slice()));
        assert_eq!(store.get(Space::Rows, b"b").unwrap(), None);
    });
}

#[test]
fn scans_are_ordered_bounded_and_seek_forward() {
    each_store(|store| {
        let rows: Vec<_> = ["a", "b", "b\0", "c", "d"]
            .map(|key| (Space::Current, key, Some("v")))
            .to_vec();
        write(store, &rows);
        assert_eq!(keys(store, Space::Current, "b", "d"), ["b", "b\0", "c"]);
        assert_eq!(keys(store, Space::Current, "d", "b"), Vec::<String>::new());
        let mut seen = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            seen.push(key.to_vec());
            if key == b"a" {
                Visit::Seek(b"c".to_vec())
            } else {
                Visit::Next
            }
        };
        store.scan(Space::Current, b"a", b"d", &mut visit).unwrap();
        assert_eq!(seen, [b"a", b"c"]);
        let last = store.last(Space::Current, b"a", b"d").unwrap();
        assert_eq!(last.map(|(key, _)| key), Some(b"c".to_vec()));
        assert_eq!(store.last(Space::Current, b"x", b"z").unwrap(), None);
    });
}

#[test]
fn a_view_does_not_see_later_writes() {
    each_store(|store| {
        write(store, &[(Space::Rows, "a", Some("1"))]);
        store.with_view(ReadPurpose::Serve, &mut |view| {
            // The memory store hands out a copy, so writing inside a view is allowed by all of them.
            write(store, &[(Space::Rows, "b", Some("1"))]);
            assert_eq!(keys(view, Space::Rows, "a", "z"), ["a"]);
            assert_eq!(view.get(Space::Rows, b"b").unwrap(), None);
        });
        assert_eq!(keys(store, Space::Rows, "a", "z"), ["a", "b"]);
    });
}

#[test]
fn a_dropped_range_is_gone_and_nothing_else() {
    each_store(|store| {
        let rows: Vec<_> = ["a", "b", "c", "d"]
            .map(|key| (Space::Versions, key, Some("v")))
            .to_vec();
        write(store, &rows);
        store.drop_range(Space::Versions, b"b", b"d").unwrap();
        assert_eq!(keys(store, Space::Versions, "a", "z"), ["a", "d"]);
        write(store, &[(Space::Versions, "c", Some("again"))]);
        assert_eq!(keys(store, Space::Versions, "a", "z"), ["a", "c", "d"]);
    });
}

/// The last of what is written while a node stops is kept, and nothing waits for what runs in the background.
#[test]
fn a_store_that_is_about_to_close_still_takes_and_drops_rows() {
    each_store(|store| {
        let rows = ["a", "b", "c"].map(|key| (Space::Versions, key, Some("v"))).to_vec();
        write(store, &rows);
        store.end_background_work();
        write(store, &[(Space::Versions, "d", Some("v"))]);
        store.drop_range(Space::Versions, b"b", b"d").unwrap();
        store.sync().unwrap();
        assert_eq!(keys(store, Space::Versions, "a", "z"), ["a", "d"]);
    });
}

#[test]
fn the_sequence_grows_with_every_write() {
    each_store(|store| {
        let before = store.sequence();
        write(store, &[(Space::Rows, "a", Some("1"))]);
        let after = store.sequence();
        store.sync().unwrap();
        assert!(after > before && store.sequence() == after);
    });
}

#[test]
fn dur_5_a_reopened_database_has_its_rows_and_at_least_its_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let store = RocksStore::open(dir.path(), RocksMemory::default()).unwrap();
    write(
        &store,
        &[
            (Space::Log, "a", Some("1")),
            (Space::Inline, "b", Some(&"x".repeat(4096))),
        ],
    );
    store.sync().unwrap();
    let sequence = store.sequence();
    drop(store);
    let store = RocksStore::open(dir.path(), RocksMemory::default()).unwrap();
    assert!(store.sequence() >= sequence);
    assert_eq!(
        store.get(Space::Inline, b"b").unwrap().map(|value| value.len()),
        Some(4096)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn dur_4_a_crash_keeps_what_was_synced_and_a_prefix_of_the_rest(
        writes in prop::collection::vec((0_u8..6, prop::option::of(0_u8..9), prop::bool::weighted(0.2)), 1..40),
        kept in 0_usize..40,
    ) {
        let store = MemoryStore::new();
        let mut states = vec![Vec::new()];
        let mut synced = 0;
        for (key, value, sync) in &writes {
            let mut set = WriteSet::new();
            match value {
                Some(value) => set.put(Space::Rows, vec![*key], vec![*value]),
                None => set.remove(Space::Rows, vec![*key]),
            }
            store.write(&set).unwrap();
            let mut rows = Vec::new();
            store.scan(Space::Rows, &[], &[255], &mut |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                Visit::Next
            }).unwrap();
            states.push(rows);
            if *sync {
                store.sync().unwrap();
                synced = states.len() - 1;
            }
        }
        let crashed = store.crash(kept);
        let mut left = Vec::new();
        crashed.scan(Space::Rows, &[], &[255], &mut |key, value| {
            left.push((key.to_vec(), value.to_vec()));
            Visit::Next
        }).unwrap();
        prop_assert_eq!(&left, &states[(synced + kept).min(states.len() - 1)]);
    }
}
