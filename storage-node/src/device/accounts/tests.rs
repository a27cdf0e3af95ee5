use metadata::ids::{BlobId, BucketId, ClusterId, ShardId, WriteId};

use super::super::blob::BlobHeader;
use super::*;

fn key(n: u128) -> BlobKey {
    BlobKey {
        placement: 1,
        id: BlobId {
            write: WriteId(n),
            chunk: 0,
        },
    }
}

fn blob(segment: u64, offset: u32, seq: u64, n: u128) -> Record {
    let header = BlobHeader {
        cluster: ClusterId(1),
        shard: ShardId(1),
        bucket: BucketId(1),
        len: 1000,
        blake3: [0; 32],
        written_ms: 0,
    };
    let kind = Kind::Blob { key: key(n), header };
    Record {
        place: Place { segment, offset },
        covered: 0,
        seq,
        kind,
        frame_crcs: vec![0],
    }
}

fn tombstone(segment: u64, offset: u32, seq: u64, n: u128, killed: u64) -> Record {
    let kind = Kind::Tombstone { key: key(n), killed };
    Record {
        place: Place { segment, offset },
        covered: 0,
        seq,
        kind,
        frame_crcs: Vec::new(),
    }
}

/// Books with the entries they lead to.
#[derive(Default)]
struct Ledger {
    books: Accounts,
    entries: BTreeMap<BlobKey, Entry>,
}

impl Ledger {
    fn with_segments(segments: std::ops::RangeInclusive<u64>) -> Self {
        let mut ledger = Self::default();
        for segment in segments {
            ledger.books.edit(segment).indexed = 10 * HEADER_BYTES;
            ledger.books.edit(segment).sealed = true;
        }
        ledger
    }

    fn note(&mut self, record: &Record) -> &mut Self {
        let key = key_of(record).unwrap();
        match self.books.note(record, self.entries.get(&key)).unwrap() {
            Some(Some(entry)) => drop(self.entries.insert(key, entry)),
            Some(None) => drop(self.entries.remove(&key)),
            None => {}
        }
        self
    }

    fn living(&self, segment: u64) -> u64 {
        self.books.row(segment).unwrap().live_blobs
    }
}

#[test]
fn a_put_lives_a_tombstone_kills_and_a_later_put_lives_again() {
    let mut ledger = Ledger::with_segments(1..=3);
    ledger.note(&blob(1, 0, 1, 7));
    assert_eq!(ledger.living(1), 1);
    ledger.note(&tombstone(2, 0, 2, 7, 1));
    assert_eq!((ledger.living(1), ledger.entries.len()), (0, 0));
    ledger.note(&blob(3, 0, 3, 7));
    assert_eq!((ledger.living(3), ledger.entries.len()), (1, 1));
}

#[test]
fn dur3_a_tombstone_moved_behind_a_newer_put_does_not_kill_it() {
    let mut ledger = Ledger::with_segments(1..=3);
    ledger
        .note(&blob(1, 0, 1, 7))
        .note(&tombstone(2, 0, 2, 7, 1))
        .note(&blob(3, 0, 3, 7));
    ledger.note(&tombstone(3, 2000, 2, 7, 1));
    assert_eq!((ledger.living(3), ledger.entries[&key(7)].seq), (1, 3));
}

#[test]
fn noting_the_same_record_again_changes_nothing() {
    let mut ledger = Ledger::with_segments(1..=2);
    ledger.note(&blob(1, 0, 1, 7)).note(&blob(1, 0, 1, 7));
    assert_eq!(ledger.living(1), 1);
    assert!(ledger.books.stale.is_empty());
}

#[test]
fn dur3_a_tombstone_stays_while_the_copy_it_killed_exists() {
    let mut ledger = Ledger::with_segments(1..=3);
    ledger.note(&blob(1, 0, 1, 7)).note(&tombstone(2, 0, 2, 7, 1));
    assert!(!ledger.books.droppable(1, 2));
    assert_eq!(ledger.books.row(2).unwrap().spent_tombstones, 0);
    ledger.books.forget(1);
    assert!(ledger.books.droppable(1, 2));
    assert_eq!(ledger.books.row(2).unwrap().spent_tombstones, 1);
}

#[test]
fn dur3_a_tombstone_goes_with_the_segment_that_holds_both() {
    let mut ledger = Ledger::with_segments(1..=2);
    ledger.note(&blob(1, 0, 1, 7)).note(&tombstone(1, 2000, 2, 7, 1));
    assert!(ledger.books.droppable(1, 1));
    assert_eq!(ledger.books.row(1).unwrap().spent_tombstones, 1);
}

#[test]
fn dur3_a_tombstone_stays_while_any_older_copy_may_exist() {
    let mut ledger = Ledger::with_segments(1..=4);
    // Reclaim moved the blob from 1 to 2 and was stopped before it deleted 1; then it was removed, then 2 went.
    ledger
        .note(&blob(1, 0, 1, 7))
        .note(&blob(2, 0, 1, 7))
        .note(&tombstone(3, 0, 2, 7, 2));
    assert!(ledger.books.row(1).unwrap().stale_copies);
    ledger.books.forget(2);
    assert!(!ledger.books.droppable(2, 3));
    assert_eq!(
        ledger.books.choose(0, &BTreeMap::new()),
        Some(1),
        "the stale copy goes first"
    );
    ledger.books.forget(1);
    assert!(ledger.books.droppable(2, 3));
}

#[test]
fn a_copy_older_than_the_living_one_is_only_remembered_as_stale() {
    let mut ledger = Ledger::with_segments(1..=2);
    ledger.note(&blob(2, 0, 5, 7)).note(&blob(1, 0, 4, 7));
    assert_eq!((ledger.living(1), ledger.living(2)), (0, 1));
    assert!(ledger.books.row(1).unwrap().stale_copies);
}

#[test]
fn the_larger_seq_wins_wherever_it_lies() {
    let mut ledger = Ledger::with_segments(1..=2);
    ledger.note(&blob(1, 0, 5, 7)).note(&blob(2, 0, 4, 7));
    assert_eq!((ledger.living(1), ledger.living(2)), (1, 0));
    ledger.note(&tombstone(2, 2000, 4, 7, 2));
    assert_eq!(ledger.living(1), 1);
}

#[test]
fn dur2_unbalanced_books_are_an_error_not_a_wrap() {
    let mut books = Accounts::default();
    books.edit(1);
    let entry = Entry {
        place: Place { segment: 1, offset: 0 },
        seq: 1,
        header: BlobHeader {
            ..header_of(&blob(1, 0, 1, 7))
        },
    };
    assert!(books.note(&tombstone(1, 9, 2, 7, 1), Some(&entry)).is_err());
}

fn header_of(record: &Record) -> BlobHeader {
    match record.kind {
        Kind::Blob { header, .. } => header,
        _ => unreachable!("only blobs are asked for"),
    }
}

#[test]
fn the_emptiest_segment_is_chosen_and_damaged_open_or_retired_ones_never() {
    let mut ledger = Ledger::with_segments(1..=5);
    for n in 0..4 {
        ledger.note(&blob(1, n * 2000, u64::from(n) + 1, u128::from(n)));
    }
    ledger.note(&blob(2, 0, 9, 9));
    ledger.books.edit(3).rot_bytes = 1;
    ledger.books.edit(4).sealed = false;
    ledger.books.edit(5).retired = true;
    assert_eq!(ledger.books.choose(100, &BTreeMap::new()), Some(2));
    assert_eq!(
        ledger.books.choose(100, &BTreeMap::from([(2, 1)])),
        Some(1),
        "2 is blocked as it stands"
    );
    assert_eq!(
        ledger.books.choose(100, &BTreeMap::from([(2, 2)])),
        Some(2),
        "2 changed since it was blocked"
    );
    assert_eq!(ledger.books.choose(1000, &BTreeMap::new()), None);
}

#[test]
fn tombstones_that_would_only_be_carried_along_are_no_gain() {
    let mut ledger = Ledger::with_segments(1..=2);
    let count = (9 * HEADER_BYTES) / HEAD_BYTES as u32;
    for n in 0..count {
        ledger.note(&blob(1, n * 2000, u64::from(n) + 1, u128::from(n)));
        ledger.note(&tombstone(2, n * 128, u64::from(n) + 10_000, u128::from(n), 1));
    }
    ledger.books.edit(1).sealed = false;
    assert_eq!(ledger.books.choose(1, &BTreeMap::new()), None);
    ledger.books.forget(1);
    assert_eq!(ledger.books.choose(1, &BTreeMap::new()), Some(2));
}

#[test]
fn drained_changes_are_absolute_and_complete() {
    let mut ledger = Ledger::with_segments(1..=2);
    ledger.note(&blob(1, 0, 1, 7)).note(&tombstone(2, 0, 2, 7, 1));
    let mut batch = IndexBatch::default();
    ledger.books.drain_into(&mut batch);
    let rows = batch
        .rows
        .iter()
        .filter_map(|(segment, row)| Some((*segment, (*row)?)))
        .collect();
    let loaded = Accounts::load(rows, batch.kills.clone());
    assert_eq!(loaded.rows(), ledger.books.rows());
    assert_eq!(loaded.kills, ledger.books.kills);
    ledger.books.forget(1);
    let mut batch = IndexBatch::default();
    ledger.books.drain_into(&mut batch);
    assert_eq!(batch.rows[&1], None);
    assert_eq!(batch.kills.values().copied().collect::<Vec<_>>(), [0]);
}
