//! What container sync relies on: the queue of changes, deletions that are remembered, and writes from elsewhere.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{BUCKET, START_MS, TestShard, invariants, object, tag};
use crate::DELETION_LIFE_MS;
use crate::command::{Command, Condition, NewBody};
use crate::ids::Seq;
use crate::model::BucketConfig;
use crate::model::{Change, VersionSelector, Versioning};
use crate::query::{Found, Query, answer};
use crate::read;
use crate::reply::{Done, Refusal};
use crate::rows::{Family, ReadRows};

fn shard(documents: &[&str]) -> TestShard {
    let mut shard = TestShard::keys();
    for name in documents {
        set(&mut shard, name, true);
    }
    shard
}

fn set(shard: &mut TestShard, name: &str, on: bool) {
    shard.done(Command::SetDocument {
        bucket: BUCKET,
        name: name.to_owned(),
        document: on.then(|| "1".into()),
    });
}

fn both() -> TestShard {
    shard(&[BucketConfig::KEEP_DELETIONS, BucketConfig::NOTE_CHANGES])
}

fn put(key: &str, condition: Condition) -> Command {
    Command::PutObject {
        bucket: BUCKET,
        key: key.into(),
        condition,
        object: object(NewBody::Inline("bytes".into()), tag(1)),
    }
}

fn delete(key: &str, condition: Condition) -> Command {
    Command::DeleteObject {
        bucket: BUCKET,
        key: key.into(),
        version: VersionSelector::Latest,
        condition,
        owner: "alice".to_owned(),
    }
}

fn changes(shard: &TestShard, after: Option<Seq>, limit: usize) -> (Vec<Change>, bool) {
    let query = Query::Changes {
        bucket: BUCKET,
        after,
        limit,
    };
    match answer(&shard.rows, &query) {
        Ok(Ok(Found::Changes { changes, more })) => (changes, more),
        other => panic!("{other:?}"),
    }
}

fn queue(shard: &TestShard) -> Vec<(String, Option<u64>)> {
    let (changes, more) = changes(shard, None, 1000);
    assert!(!more);
    let text = |change: Change| (String::from_utf8(change.key).unwrap(), change.deleted_ms);
    changes.into_iter().map(text).collect()
}

fn forget(shard: &mut TestShard, changes: Vec<Seq>) {
    shard.done(Command::ForgetChanges {
        bucket: BUCKET,
        changes,
    });
}

fn time(shard: &TestShard, key: &str) -> Option<u64> {
    let found = read::current(&shard.rows, BUCKET, key.as_bytes()).unwrap();
    found.map(|object| object.modified_ms)
}

#[test]
fn a_bucket_that_was_not_told_to_notes_nothing() {
    let mut shard = TestShard::keys();
    shard.done(put("a", Condition::Always));
    shard.done(delete("a", Condition::Always));
    assert!(queue(&shard).is_empty());
    assert_eq!(shard.rows.family(Family::Changes).count(), 0);
}

#[test]
fn a_key_stands_in_the_queue_once_at_its_last_change() {
    let mut shard = both();
    for key in ["a", "b", "c", "a"] {
        shard.done(put(key, Condition::Always));
    }
    assert_eq!(
        queue(&shard),
        [("b", None), ("c", None), ("a", None)].map(|(k, d)| (k.to_owned(), d))
    );
    shard.now_ms += 5;
    shard.done(delete("b", Condition::Always));
    let deleted = Some(START_MS + 5);
    assert_eq!(queue(&shard).last(), Some(&("b".to_owned(), deleted)));
    let (first, more) = changes(&shard, None, 1);
    assert!(more);
    let (rest, more) = changes(&shard, Some(first[0].seq), 10);
    assert_eq!((rest.len(), more), (2, false));
    // What was seen is dropped; what changed since stands elsewhere and stays.
    shard.done(put("c", Condition::Always));
    forget(&mut shard, vec![first[0].seq]);
    assert_eq!(
        queue(&shard).len(),
        3,
        "the place of c moved, so its old one means nothing"
    );
    let all = changes(&shard, None, 10).0.iter().map(|change| change.seq).collect();
    forget(&mut shard, all);
    assert!(queue(&shard).is_empty());
}

#[test]
fn keys_that_were_there_before_are_put_into_the_queue_behind_what_waits() {
    let mut shard = both();
    shard.done(put("b", Condition::Always));
    let keys = ["a", "b", "c"].map(|key| key.as_bytes().to_vec()).to_vec();
    shard.done(Command::NoteChanges { bucket: BUCKET, keys });
    let names: Vec<String> = queue(&shard).into_iter().map(|(key, _)| key).collect();
    assert_eq!(names, ["b", "a", "c"]);
}

#[test]
fn a_write_from_elsewhere_takes_its_time_and_never_replaces_what_is_newer() {
    let mut shard = both();
    let at = |ms| Condition::WrittenAt(START_MS + ms);
    shard.done(put("a", at(100)));
    assert_eq!(time(&shard, "a"), Some(START_MS + 100));
    for older in [99, 100] {
        assert_eq!(shard.refused(put("a", at(older))), Refusal::PreconditionFailed);
        assert_eq!(shard.refused(delete("a", at(older))), Refusal::PreconditionFailed);
    }
    shard.done(put("a", at(101)));
    shard.done(delete("a", at(102)));
    assert_eq!(time(&shard, "a"), None);
    // The deletion is remembered: what is older does not come back.
    assert_eq!(shard.refused(put("a", at(102))), Refusal::PreconditionFailed);
    shard.done(put("a", at(103)));
    // A deletion of what never was here holds as well.
    let Done::Deleted(done) = shard.done(delete("never", at(50))) else {
        panic!()
    };
    assert_eq!(done.version, None);
    assert_eq!(shard.refused(put("never", at(49))), Refusal::PreconditionFailed);
    assert!(matches!(shard.refused(put("x", at(90_000_000))), Refusal::Invalid(_)));
    invariants::check(&shard.rows);
}

#[test]
fn local_writes_are_later_than_what_they_replace_also_when_that_came_from_a_clock_ahead() {
    let mut shard = both();
    shard.done(put("a", Condition::WrittenAt(START_MS + 5000)));
    shard.done(put("a", Condition::Always));
    assert_eq!(time(&shard, "a"), Some(START_MS + 5001));
    shard.done(delete("a", Condition::Always));
    assert_eq!(queue(&shard), [("a".to_owned(), Some(START_MS + 5002))]);
    shard.done(put("a", Condition::Always));
    assert_eq!(time(&shard, "a"), Some(START_MS + 5003));
}

#[test]
fn deletions_are_forgotten_after_their_time() {
    let mut shard = both();
    for key in ["a", "b", "c"] {
        shard.done(put(key, Condition::Always));
        shard.done(delete(key, Condition::Always));
    }
    shard.now_ms += DELETION_LIFE_MS + 10;
    for key in ["d", "e"] {
        shard.done(put(key, Condition::Always));
        shard.done(delete(key, Condition::Always));
    }
    let kept = |key: &str| read::deleted_ms(&shard.rows, BUCKET, key.as_bytes()).unwrap().is_some();
    assert_eq!(["a", "b", "c", "d", "e"].map(kept), [false, false, false, true, true]);
    // One that is that old already is not remembered.
    shard.done(delete("z", Condition::WrittenAt(START_MS)));
    assert_eq!(read::deleted_ms(&shard.rows, BUCKET, b"z").unwrap(), None);
}

#[test]
fn a_version_that_comes_back_and_one_that_goes_for_good_are_changes() {
    let mut shard = both();
    shard.done(Command::SetVersioning {
        bucket: BUCKET,
        versioning: Versioning::Enabled,
    });
    shard.done(put("a", Condition::Always));
    shard.done(put("a", Condition::Always));
    for left in [false, true] {
        let all: Vec<Seq> = changes(&shard, None, 10).0.iter().map(|change| change.seq).collect();
        forget(&mut shard, all);
        let current = read::current(&shard.rows, BUCKET, b"a").unwrap().unwrap();
        shard.done(Command::DeleteObject {
            bucket: BUCKET,
            key: b"a".to_vec(),
            version: VersionSelector::Id(current.seq),
            condition: Condition::Always,
            owner: "alice".to_owned(),
        });
        let (queued, _) = changes(&shard, None, 10);
        assert_eq!(queued.len(), 1);
        assert_eq!(queued[0].deleted_ms.is_some(), left);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The queue holds exactly the keys that changed since they were looked at, and each row of it is found both ways.
    #[test]
    fn the_queue_is_what_changed(steps in prop::collection::vec((0..5_u8, 0..6_u8, 0..40_u64), 1..60)) {
        let mut shard = both();
        let mut waiting = BTreeSet::new();
        for (what, key, at) in steps {
            let key = format!("k{key}");
            shard.now_ms += 3;
            let before = time(&shard, &key);
            let condition = if at < 20 { Condition::Always } else { Condition::WrittenAt(START_MS + 4 * at) };
            match what {
                0 | 1 => if shard.run(put(&key, condition)).is_ok() {
                    prop_assert!(time(&shard, &key) > before);
                    waiting.insert(key);
                },
                2 => {
                    let elsewhere = matches!(condition, Condition::WrittenAt(_));
                    if shard.run(delete(&key, condition)).is_ok() && (before.is_some() || elsewhere) {
                        waiting.insert(key);
                    }
                }
                3 => if let Some(first) = changes(&shard, None, 1).0.pop() {
                    waiting.remove(&String::from_utf8(first.key).unwrap());
                    forget(&mut shard, vec![first.seq]);
                },
                _ => forget(&mut shard, vec![Seq(at)]),
            }
            let queued: Vec<String> = queue(&shard).into_iter().map(|(key, _)| key).collect();
            if what != 4 {
                let set: BTreeSet<String> = queued.iter().cloned().collect();
                prop_assert_eq!(set.len(), queued.len(), "a key stands in the queue once");
                prop_assert_eq!(&set, &waiting);
            } else {
                waiting = queued.into_iter().collect();
            }
            for (name, _) in shard.rows.family(Family::Changes).filter(|(name, _)| name[0] == 0) {
                let seq = crate::keys::seq_of_change(name).unwrap();
                let key: Vec<u8> = read::get(&shard.rows, Family::Changes, name).unwrap().unwrap();
                let back = shard.rows.get(Family::Changes, &crate::keys::change_of(BUCKET, &key)).unwrap();
                prop_assert_eq!(back.map(|row| crate::codec::decode_row::<Seq>(&row).unwrap()), Some(seq));
            }
            invariants::check(&shard.rows);
        }
    }
}
