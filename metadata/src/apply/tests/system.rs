//! The system shard: bucket names and records.

use bytes::Bytes;

use super::TestShard;
use crate::apply::ShardKind;
use crate::command::{Command, RecordCondition};
use crate::ids::{BucketId, ShardId};
use crate::model::{BucketInfo, BucketState, PolicyId};
use crate::query::{Found, Query, answer};
use crate::reply::{Done, Refusal};
use crate::rows::Family;

fn shard() -> TestShard {
    TestShard::new(ShardKind::System)
}

fn create(project: &str, name: &str, global: bool) -> Command {
    Command::CreateBucket {
        project: project.to_owned(),
        name: name.to_owned(),
        global,
        key_shards: 3,
    }
}

fn created(shard: &mut TestShard, command: Command) -> (BucketInfo, bool) {
    let Done::Bucket { info, created } = shard.done(command) else {
        panic!("a creation answers a bucket")
    };
    (info, created)
}

fn resolve(shard: &TestShard, project: &str, name: &str) -> Option<BucketInfo> {
    let query = Query::ResolveBucket {
        project: project.to_owned(),
        name: name.to_owned(),
    };
    match answer(&shard.rows, &query).unwrap().unwrap() {
        Found::Bucket(info) => info,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bucket_keeps_the_policy_it_was_born_with() {
    let mut shard = shard();
    let under = |name: &str, policy| Command::CreateBucketUnder {
        project: "alice".to_owned(),
        name: name.to_owned(),
        global: true,
        key_shards: 3,
        policy: PolicyId(policy),
    };
    let (cold, made) = created(&mut shard, under("cold", 4));
    assert!(made && cold.policy == PolicyId(4));
    // Created again with another one, or with none: nothing is reset.
    assert_eq!(created(&mut shard, under("cold", 5)), (cold.clone(), false));
    assert_eq!(
        created(&mut shard, create("alice", "cold", true)),
        (cold.clone(), false)
    );
    shard.done(Command::BeginDeleteBucket { id: cold.id });
    shard.done(Command::CancelDeleteBucket { id: cold.id });
    assert_eq!(resolve(&shard, "alice", "cold"), Some(cold));
    assert!(matches!(shard.refused(under("hot", 128)), Refusal::Invalid(_)));
}

#[test]
fn con_2_create_bucket_has_one_winner_and_one_s_own_again_resets_nothing() {
    let mut shard = shard();
    let (first, made) = created(&mut shard, create("alice", "photos", true));
    assert!(made);
    shard.now_ms += 5;
    assert_eq!(
        created(&mut shard, create("alice", "photos", true)),
        (first.clone(), false)
    );
    assert_eq!(shard.refused(create("bob", "photos", true)), Refusal::BucketTaken);
    let (own, _) = created(&mut shard, create("bob", "photos", false));
    assert_eq!(
        resolve(&shard, "bob", "photos"),
        Some(own.clone()),
        "one's own project comes first"
    );
    assert_eq!(resolve(&shard, "carol", "photos"), Some(first));
    assert_eq!(shard.refused(create("bob", "photos", true)), Refusal::BucketTaken);
    assert_eq!(resolve(&shard, "bob", "photos"), Some(own));
}

#[test]
fn a_container_takes_its_global_name_when_it_is_asked_for_later() {
    let mut shard = shard();
    let (info, _) = created(&mut shard, create("alice", "photos", false));
    assert_eq!(resolve(&shard, "bob", "photos"), None);
    let (again, made) = created(&mut shard, create("alice", "photos", true));
    assert_eq!((again.id, again.global, made), (info.id, true, false));
    assert_eq!(resolve(&shard, "bob", "photos"), Some(again));
}

#[test]
fn buckets_are_spread_over_the_shards_and_ids_are_never_used_again() {
    let mut shard = shard();
    let homes: Vec<ShardId> = (0..7)
        .map(|number| created(&mut shard, create("p", &format!("b{number}"), false)).0.shard)
        .collect();
    assert_eq!(
        homes.iter().map(|home| home.0).collect::<Vec<_>>(),
        [1, 2, 3, 1, 2, 3, 1]
    );
    let gone = resolve(&shard, "p", "b1").unwrap();
    shard.done(Command::BeginDeleteBucket { id: gone.id });
    shard.done(Command::FinishDeleteBucket { id: gone.id });
    let (again, _) = created(&mut shard, create("p", "b1", false));
    assert_eq!(
        (again.id, again.shard),
        (BucketId(8), ShardId(2)),
        "the shard with the fewest"
    );
    let grown = Command::CreateBucket {
        project: "p".into(),
        name: "new".into(),
        global: false,
        key_shards: 5,
    };
    assert_eq!(created(&mut shard, grown).0.shard, ShardId(4));
}

#[test]
fn a_deletion_is_resumed_undone_or_finished() {
    let mut shard = shard();
    let (info, _) = created(&mut shard, create("alice", "photos", true));
    let id = info.id;
    assert!(matches!(
        shard.refused(Command::FinishDeleteBucket { id }),
        Refusal::InvalidBucketState(_)
    ));
    shard.done(Command::BeginDeleteBucket { id });
    shard.done(Command::BeginDeleteBucket { id });
    assert_eq!(resolve(&shard, "alice", "photos").unwrap().state, BucketState::Deleting);
    assert_eq!(shard.refused(create("alice", "photos", true)), Refusal::BucketBusy);
    assert_eq!(shard.refused(create("bob", "photos", true)), Refusal::BucketBusy);
    shard.done(Command::CancelDeleteBucket { id });
    assert_eq!(resolve(&shard, "alice", "photos"), Some(info));
    shard.done(Command::BeginDeleteBucket { id });
    shard.done(Command::FinishDeleteBucket { id });
    shard.done(Command::FinishDeleteBucket { id });
    assert_eq!(resolve(&shard, "alice", "photos"), None);
    assert_eq!(shard.refused(Command::CancelDeleteBucket { id }), Refusal::NoSuchBucket);
    assert_eq!(shard.refused(Command::BeginDeleteBucket { id }), Refusal::NoSuchBucket);
    let (next, made) = created(&mut shard, create("bob", "photos", true));
    assert!(made && next.id != id);
    // Only the counters of buckets per shard and the new bucket's rows are left.
    assert_eq!(
        shard
            .rows
            .family(Family::Names)
            .filter(|(name, _)| name[0] != 3)
            .count(),
        3
    );
}

#[test]
fn names_and_shard_counts_are_checked() {
    let mut shard = shard();
    let none = Command::CreateBucket {
        project: "p".into(),
        name: "b".into(),
        global: false,
        key_shards: 0,
    };
    let many = Command::CreateBucket {
        project: "p".into(),
        name: "b".into(),
        global: false,
        key_shards: u64::MAX,
    };
    for command in [create("p", "", false), create("p", &"x".repeat(257), false), none, many] {
        assert!(matches!(shard.refused(command), Refusal::Invalid(_)));
    }
}

#[test]
fn buckets_are_listed_by_name_page_by_page() {
    let mut shard = shard();
    for name in ["b", "a", "ab", "abc", "c"] {
        created(&mut shard, create("p", name, false));
        created(&mut shard, create("p2", name, false));
    }
    let list = |after: Option<&str>, prefix: &str, limit| {
        let query = Query::ListBuckets {
            project: "p".into(),
            after: after.map(str::to_owned),
            prefix: prefix.into(),
            limit,
        };
        match answer(&shard.rows, &query).unwrap().unwrap() {
            Found::Buckets { buckets, more } => (
                buckets.into_iter().map(|info| info.name).collect::<Vec<_>>().join(" "),
                more,
            ),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(list(None, "", 3), ("a ab abc".to_owned(), true));
    assert_eq!(list(Some("abc"), "", 3), ("b c".to_owned(), false));
    assert_eq!(list(Some("a"), "ab", 1), ("ab".to_owned(), true));
    assert_eq!(list(Some("0"), "ab", 9), ("ab abc".to_owned(), false));
    assert_eq!(list(Some("b"), "ab", 9), (String::new(), false));
    assert_eq!(list(None, "", 0), (String::new(), false));
    let all = answer(
        &shard.rows,
        &Query::AllBuckets {
            after: Some(BucketId(8)),
            limit: 9,
        },
    )
    .unwrap()
    .unwrap();
    let Found::Buckets { buckets, more } = all else {
        panic!("buckets are found")
    };
    assert_eq!(
        (buckets.iter().map(|info| info.id.0).collect::<Vec<_>>(), more),
        (vec![9, 10], false)
    );
}

fn put(key: &str, expect: RecordCondition, value: &'static str) -> Command {
    Command::PutRecord {
        table: "users".into(),
        key: key.into(),
        expect,
        value: Bytes::from_static(value.as_bytes()),
    }
}

fn delete(key: &str, expect: RecordCondition) -> Command {
    Command::DeleteRecord {
        table: "users".into(),
        key: key.into(),
        expect,
    }
}

#[test]
fn con_1_records_change_by_compare_and_set() {
    let mut shard = shard();
    use RecordCondition::{Absent, Any, Version};
    assert_eq!(
        shard.refused(put("a", Version(1), "x")),
        Refusal::RecordConflict { version: 0 }
    );
    assert_eq!(
        shard.refused(put("a", Version(0), "x")),
        Refusal::RecordConflict { version: 0 }
    );
    assert_eq!(shard.done(put("a", Absent, "x")), Done::Record { version: 1 });
    assert_eq!(
        shard.refused(put("a", Absent, "y")),
        Refusal::RecordConflict { version: 1 }
    );
    assert_eq!(shard.done(put("a", Version(1), "y")), Done::Record { version: 2 });
    assert_eq!(
        shard.refused(delete("a", Version(1))),
        Refusal::RecordConflict { version: 2 }
    );
    assert_eq!(shard.done(delete("a", Version(2))), Done::Record { version: 0 });
    assert_eq!(shard.done(delete("a", Any)), Done::Record { version: 0 });
    assert_eq!(
        shard.done(put("a", Any, "z")),
        Done::Record { version: 3 },
        "a version is never used again"
    );
}

#[test]
fn records_are_listed_by_key_inside_their_table() {
    let mut shard = shard();
    for key in ["b", "a", "c"] {
        shard.done(put(key, RecordCondition::Any, "x"));
    }
    let other = Command::PutRecord {
        table: "user".into(),
        key: "s".into(),
        expect: RecordCondition::Any,
        value: Bytes::new(),
    };
    shard.done(other);
    let list = |after: Option<&str>, limit| {
        let query = Query::ListRecords {
            table: "users".into(),
            after: after.map(str::to_owned),
            limit,
        };
        match answer(&shard.rows, &query).unwrap().unwrap() {
            Found::Records { records, more } => (
                records.into_iter().map(|(key, _)| key).collect::<Vec<_>>().join(" "),
                more,
            ),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(list(None, 2), ("a b".to_owned(), true));
    assert_eq!(list(Some("b"), 2), ("c".to_owned(), false));
    let query = Query::GetRecord {
        table: "users".into(),
        key: "b".into(),
    };
    assert!(
        matches!(answer(&shard.rows, &query).unwrap().unwrap(), Found::Record(Some(record)) if record.version == 1)
    );
}
