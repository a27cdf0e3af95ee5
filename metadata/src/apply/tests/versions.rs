//! AWS's rules for versions, one example each.

use super::{BUCKET, TestShard, delete, invariants, object, put_inline, put_stream, tag, write_id};
use crate::command::{Command, Condition, CopyChanges, NewBody};
use crate::ids::Seq;
use crate::model::{VersionRow, VersionSelector, Versioning};
use crate::query::Life;
use crate::read;
use crate::reply::{DeleteDone, Done, Refusal};
use crate::{INLINE_BYTES_MAX, KEY_BYTES_MAX};

const LATEST: VersionSelector = VersionSelector::Latest;

fn shard(versioning: Versioning) -> TestShard {
    let mut shard = TestShard::keys();
    set(&mut shard, versioning);
    shard
}

fn set(shard: &mut TestShard, versioning: Versioning) {
    shard.done(Command::SetVersioning {
        bucket: BUCKET,
        versioning,
    });
}

fn put(shard: &mut TestShard, command: Command) -> Seq {
    match shard.done(command) {
        Done::Put(put) => put.seq,
        other => panic!("{other:?}"),
    }
}

fn deleted(shard: &mut TestShard, command: Command) -> DeleteDone {
    let Done::Deleted(done) = shard.done(command) else {
        panic!("a delete answers a delete")
    };
    invariants::check(&shard.rows);
    done
}

fn current(shard: &TestShard) -> Option<Seq> {
    read::current(&shard.rows, BUCKET, b"k")
        .unwrap()
        .map(|object| object.seq)
}

fn life(shard: &TestShard, write: u64) -> Life {
    read::life(&shard.rows, write_id(write), shard.now_ms).unwrap()
}

fn with_condition(command: Command, condition: Condition) -> Command {
    match command {
        Command::PutObject {
            bucket, key, object, ..
        } => Command::PutObject {
            bucket,
            key,
            condition,
            object,
        },
        Command::DeleteObject {
            bucket,
            key,
            version,
            owner,
            ..
        } => Command::DeleteObject {
            bucket,
            key,
            version,
            condition,
            owner,
        },
        other => other,
    }
}

fn copy(from: VersionSelector, changes: CopyChanges) -> Command {
    Command::CopyObject {
        source_bucket: BUCKET,
        source_key: b"k".to_vec(),
        source_version: from,
        source_condition: Condition::Always,
        bucket: BUCKET,
        key: b"k".to_vec(),
        condition: Condition::Always,
        changes,
        owner: "alice".to_owned(),
    }
}

#[test]
fn a_post_keeps_what_it_does_not_replace_and_expiry_spares_what_was_written_since() {
    let mut shard = TestShard::keys();
    let mut object = object(NewBody::Inline("bytes".into()), tag(1));
    object.attributes = vec![
        ("content-type".to_owned(), "text/plain".to_owned()),
        ("content-encoding".to_owned(), "gzip".to_owned()),
        ("swift/slo".to_owned(), "5".to_owned()),
    ];
    let put = Command::PutObject {
        bucket: BUCKET,
        key: b"k".to_vec(),
        condition: Condition::Always,
        object,
    };
    let post = |headers: &[(&str, &str)]| Command::PostObject {
        bucket: BUCKET,
        key: b"k".to_vec(),
        attributes: headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        user: vec![("new".to_owned(), "1".to_owned())],
        kept: vec!["content-type".to_owned(), "swift/".to_owned()],
    };
    let expire = || Command::DeleteMarked {
        bucket: BUCKET,
        key: b"k".to_vec(),
        attribute: ("x-delete-at".to_owned(), "9".to_owned()),
        owner: "alice".to_owned(),
    };
    assert_eq!(shard.refused(post(&[])), Refusal::NoSuchKey);
    shard.done(put.clone());
    shard.done(post(&[("x-delete-at", "9")]));
    let row = read::current(&shard.rows, BUCKET, b"k").unwrap().unwrap();
    let names: Vec<_> = row.attributes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content-type", "swift/slo", "x-delete-at"]);
    assert_eq!(row.user, vec![("new".to_owned(), "1".to_owned())]);
    shard.done(post(&[("content-type", "text/html")]));
    let row = read::current(&shard.rows, BUCKET, b"k").unwrap().unwrap();
    assert!(
        row.attributes
            .contains(&("content-type".to_owned(), "text/html".to_owned()))
    );
    shard.done(expire());
    assert!(
        read::current(&shard.rows, BUCKET, b"k").unwrap().is_some(),
        "its mark is gone"
    );
    shard.done(post(&[("x-delete-at", "9")]));
    shard.done(expire());
    assert!(read::current(&shard.rows, BUCKET, b"k").unwrap().is_none());
}

#[test]
fn a_document_is_swapped_only_by_whoever_saw_the_last_one() {
    let mut shard = TestShard::keys();
    let swap = |expect: Option<&'static str>, document: Option<&'static str>| Command::SwapDocument {
        bucket: BUCKET,
        name: "swift".to_owned(),
        expect: expect.map(Into::into),
        document: document.map(Into::into),
    };
    shard.done(swap(None, Some("one")));
    assert_eq!(shard.refused(swap(None, Some("two"))), Refusal::PreconditionFailed);
    shard.done(swap(Some("one"), Some("two")));
    shard.done(swap(Some("two"), None));
    shard.done(swap(None, Some("three")));
}

#[test]
fn an_unversioned_delete_ends_the_object_and_of_an_absent_key_does_nothing() {
    let mut shard = shard(Versioning::Off);
    let seq = put(&mut shard, put_stream(b"k", 1, 500));
    let done = deleted(&mut shard, delete(b"k", LATEST));
    assert_eq!(
        done,
        DeleteDone {
            version: Some((seq, true)),
            marker: false,
            versioned: false
        }
    );
    assert_eq!(life(&shard, 1), Life::Ending);
    let done = deleted(&mut shard, delete(b"k", LATEST));
    assert_eq!(
        done,
        DeleteDone {
            version: None,
            marker: false,
            versioned: false
        }
    );
}

#[test]
fn an_unversioned_put_hands_the_replaced_bytes_to_reclaim() {
    let mut shard = shard(Versioning::Off);
    put(&mut shard, put_stream(b"k", 1, 500));
    put(&mut shard, put_stream(b"k", 2, 500));
    assert_eq!((life(&shard, 1), life(&shard, 2)), (Life::Ending, Life::Referenced));
    invariants::check(&shard.rows);
}

#[test]
fn a_versioned_delete_adds_a_marker_even_where_nothing_was() {
    let mut shard = shard(Versioning::Enabled);
    let done = deleted(&mut shard, delete(b"k", LATEST));
    assert_eq!(
        done,
        DeleteDone {
            version: Some((Seq(1), false)),
            marker: true,
            versioned: true
        }
    );
}

#[test]
fn deleting_the_current_version_by_id_promotes_the_newest_that_remains() {
    let mut shard = shard(Versioning::Enabled);
    let first = put(&mut shard, put_inline(b"k", b"1"));
    let second = put(&mut shard, put_inline(b"k", b"22"));
    let third = put(&mut shard, put_inline(b"k", b"333"));
    deleted(&mut shard, delete(b"k", VersionSelector::Id(third)));
    assert_eq!(current(&shard), Some(second));
    deleted(&mut shard, delete(b"k", VersionSelector::Id(first)));
    assert_eq!(
        current(&shard),
        Some(second),
        "an older version ends without a change of the current one"
    );
}

#[test]
fn deleting_a_marker_brings_the_object_back_and_a_marker_below_stays_a_marker() {
    let mut shard = shard(Versioning::Enabled);
    let first = put(&mut shard, put_inline(b"k", b"1"));
    let lower = deleted(&mut shard, delete(b"k", LATEST)).version.unwrap().0;
    let upper = deleted(&mut shard, delete(b"k", LATEST)).version.unwrap().0;
    let done = deleted(&mut shard, delete(b"k", VersionSelector::Id(upper)));
    assert_eq!(
        done,
        DeleteDone {
            version: Some((upper, false)),
            marker: true,
            versioned: true
        }
    );
    assert_eq!(current(&shard), None);
    deleted(&mut shard, delete(b"k", VersionSelector::Id(lower)));
    assert_eq!(current(&shard), Some(first));
}

#[test]
fn suspended_writes_and_deletes_replace_the_null_version_only() {
    let mut shard = shard(Versioning::Off);
    put(&mut shard, put_stream(b"k", 1, 500));
    set(&mut shard, Versioning::Enabled);
    let kept = put(&mut shard, put_stream(b"k", 2, 500));
    set(&mut shard, Versioning::Suspended);
    put(&mut shard, put_stream(b"k", 3, 500));
    assert_eq!(
        life(&shard, 1),
        Life::Ending,
        "the null version behind the current one is replaced"
    );
    assert_eq!((life(&shard, 2), life(&shard, 3)), (Life::Referenced, Life::Referenced));
    let done = deleted(&mut shard, delete(b"k", LATEST));
    assert!(done.marker && done.version.is_some_and(|(_, null)| null));
    assert_eq!(
        life(&shard, 3),
        Life::Ending,
        "the null marker replaces the null version"
    );
    let again = deleted(&mut shard, delete(b"k", LATEST));
    assert_ne!(again.version, done.version);
    deleted(&mut shard, delete(b"k", VersionSelector::Null));
    assert_eq!(current(&shard), Some(kept));
}

#[test]
fn versioning_never_goes_back_to_off() {
    let mut shard = shard(Versioning::Enabled);
    let off = Command::SetVersioning {
        bucket: BUCKET,
        versioning: Versioning::Off,
    };
    assert!(matches!(shard.refused(off), Refusal::InvalidBucketState(_)));
}

#[test]
fn deleting_a_version_that_does_not_exist_is_no_error() {
    let mut shard = shard(Versioning::Enabled);
    put(&mut shard, put_inline(b"k", b"1"));
    let done = deleted(&mut shard, delete(b"k", VersionSelector::Id(Seq(99))));
    assert_eq!(
        done,
        DeleteDone {
            version: None,
            marker: false,
            versioned: true
        }
    );
    let conditional = with_condition(delete(b"k", VersionSelector::Id(Seq(99))), Condition::Present);
    assert_eq!(shard.refused(conditional), Refusal::NoSuchVersion);
}

#[test]
fn a_null_version_is_not_found_by_its_sort_position() {
    let mut shard = shard(Versioning::Off);
    let seq = put(&mut shard, put_inline(b"k", b"1"));
    let done = deleted(&mut shard, delete(b"k", VersionSelector::Id(seq)));
    assert_eq!(done.version, None);
    assert!(
        deleted(&mut shard, delete(b"k", VersionSelector::Null))
            .version
            .is_some()
    );
}

#[test]
fn con_1_conditions_count_a_marker_as_absent_in_every_bucket() {
    for versioning in [Versioning::Off, Versioning::Enabled, Versioning::Suspended] {
        let mut shard = shard(versioning);
        let absent = || with_condition(put_inline(b"k", b"1"), Condition::Absent);
        let matching = |tags: Vec<u64>| Condition::ETagIn(tags.into_iter().map(tag).collect());
        assert_eq!(
            shard.refused(with_condition(put_inline(b"k", b"1"), matching(vec![1]))),
            Refusal::NoSuchKey
        );
        assert_eq!(
            shard.refused(with_condition(delete(b"k", LATEST), matching(vec![1]))),
            Refusal::NoSuchKey
        );
        shard.done(absent());
        assert_eq!(shard.refused(absent()), Refusal::PreconditionFailed);
        let wrong = with_condition(delete(b"k", LATEST), matching(vec![2, 3]));
        assert_eq!(shard.refused(wrong), Refusal::PreconditionFailed);
        shard.done(with_condition(put_inline(b"k", b"22"), matching(vec![9, 1])));
        let not = with_condition(put_inline(b"k", b"1"), Condition::ETagNotIn(vec![tag(2)]));
        assert_eq!(shard.refused(not), Refusal::PreconditionFailed);
        shard.done(with_condition(delete(b"k", LATEST), Condition::Present));
        assert_eq!(
            shard.refused(with_condition(delete(b"k", LATEST), Condition::Present)),
            Refusal::NoSuchKey
        );
        shard.done(absent());
        invariants::check(&shard.rows);
    }
}

#[test]
fn dur_3_a_copy_onto_itself_keeps_the_stream() {
    for versioning in [Versioning::Off, Versioning::Enabled] {
        let mut shard = shard(versioning);
        put(&mut shard, put_stream(b"k", 1, 500));
        let user = vec![("new".to_owned(), "yes".to_owned())];
        let changes = CopyChanges {
            metadata: Some((Vec::new(), user.clone())),
            tags: None,
        };
        let Done::Put(done) = shard.done(copy(LATEST, changes)) else {
            panic!("a copy answers a put")
        };
        assert_eq!(done.copied.unwrap().user, user);
        assert_eq!(life(&shard, 1), Life::Referenced);
        invariants::check(&shard.rows);
    }
}

#[test]
fn a_copy_of_an_old_version_restores_it_and_shares_its_bytes() {
    let mut shard = shard(Versioning::Enabled);
    let old = put(&mut shard, put_stream(b"k", 1, 500));
    put(&mut shard, put_inline(b"k", b"new"));
    put(&mut shard, copy(VersionSelector::Id(old), CopyChanges::default()));
    deleted(&mut shard, delete(b"k", VersionSelector::Id(old)));
    assert_eq!(life(&shard, 1), Life::Referenced, "the copy holds the stream");
    invariants::check(&shard.rows);
}

#[test]
fn a_marker_is_no_source_of_a_copy_and_takes_no_tags() {
    let mut shard = shard(Versioning::Enabled);
    let marker = deleted(&mut shard, delete(b"k", LATEST)).version.unwrap().0;
    let by_name = Refusal::Deleted { marker, null: false };
    assert_eq!(shard.refused(copy(LATEST, CopyChanges::default())), by_name);
    assert_eq!(
        shard.refused(copy(VersionSelector::Id(marker), CopyChanges::default())),
        Refusal::IsDeleteMarker
    );
    assert_eq!(
        shard.refused(copy(VersionSelector::Null, CopyChanges::default())),
        Refusal::NoSuchVersion
    );
    let tags = |version| Command::SetTags {
        bucket: BUCKET,
        key: b"k".to_vec(),
        version,
        tags: Vec::new(),
    };
    assert_eq!(shard.refused(tags(LATEST)), by_name);
    assert_eq!(
        shard.refused(tags(VersionSelector::Id(marker))),
        Refusal::IsDeleteMarker
    );
}

#[test]
fn tags_of_a_noncurrent_version_change_in_place() {
    let mut shard = shard(Versioning::Enabled);
    let old = put(&mut shard, put_inline(b"k", b"1"));
    put(&mut shard, put_inline(b"k", b"2"));
    let tags = vec![("a".to_owned(), "b".to_owned())];
    let version = VersionSelector::Id(old);
    shard.done(Command::SetTags {
        bucket: BUCKET,
        key: b"k".to_vec(),
        version,
        tags: tags.clone(),
    });
    let found = read::select(&shard.rows, BUCKET, b"k", version).unwrap().unwrap();
    assert!(matches!(found.row, VersionRow::Object(object) if object.tags == tags));
    invariants::check(&shard.rows);
}

#[test]
fn key_1_limits_of_keys_inline_bytes_and_metadata() {
    let mut shard = shard(Versioning::Off);
    put(&mut shard, put_inline(&[b'k'; KEY_BYTES_MAX], b"x"));
    let body = |bytes: usize| NewBody::Inline(vec![0; bytes].into());
    let put_of = |object| Command::PutObject {
        bucket: BUCKET,
        key: b"k".to_vec(),
        condition: Condition::Always,
        object,
    };
    put(&mut shard, put_of(object(body(INLINE_BYTES_MAX), tag(1))));
    let mut heavy = object(body(0), tag(1));
    heavy.user = vec![("m".to_owned(), "x".repeat(super::super::METADATA_BYTES_MAX))];
    let refused = [
        put_inline(b"", b"x"),
        put_inline(&[b'k'; KEY_BYTES_MAX + 1], b"x"),
        delete(b"", LATEST),
        put_of(object(body(INLINE_BYTES_MAX + 1), tag(1))),
        put_of(heavy),
    ];
    for command in refused {
        assert!(matches!(shard.refused(command), Refusal::Invalid(_)));
    }
}

#[test]
fn modified_times_never_go_back() {
    let mut shard = shard(Versioning::Enabled);
    put(&mut shard, put_inline(b"k", b"1"));
    let late = shard.now_ms;
    shard.now_ms -= 10_000;
    let Done::Put(done) = shard.done(put_inline(b"k", b"2")) else {
        panic!("a put answers a put")
    };
    assert_eq!(done.modified_ms, late);
}

#[test]
fn a_sealed_bucket_is_gone_until_it_is_unsealed() {
    let mut shard = shard(Versioning::Off);
    put(&mut shard, put_inline(b"k", b"1"));
    assert_eq!(
        shard.refused(Command::SealBucket { bucket: BUCKET }),
        Refusal::BucketNotEmpty
    );
    deleted(&mut shard, delete(b"k", LATEST));
    shard.done(Command::SealBucket { bucket: BUCKET });
    shard.done(Command::SealBucket { bucket: BUCKET });
    assert_eq!(shard.refused(put_inline(b"k", b"1")), Refusal::NoSuchBucket);
    assert_eq!(shard.refused(delete(b"k", LATEST)), Refusal::NoSuchBucket);
    shard.done(Command::UnsealBucket { bucket: BUCKET });
    put(&mut shard, put_inline(b"k", b"1"));
}
