//! Questions about single objects and buckets.

use crate::apply::tests::{BUCKET, TestShard, delete, put_inline, put_stream};
use crate::command::Command;
use crate::ids::Seq;
use crate::model::{VersionSelector, Versioning};
use crate::query::{Answer, Found, ListObjects, Query, answer};
use crate::reply::Refusal;

fn get(shard: &TestShard, version: VersionSelector) -> Answer {
    answer(
        &shard.rows,
        &Query::GetObject {
            bucket: BUCKET,
            key: b"k".to_vec(),
            version,
            body: true,
        },
    )
    .unwrap()
}

#[test]
fn con_1_get_sees_the_latest_version_and_each_by_id() {
    let mut shard = TestShard::keys();
    assert_eq!(get(&shard, VersionSelector::Latest), Err(Refusal::NoSuchKey));
    shard.done(put_inline(b"k", b"null version"));
    shard.done(Command::SetVersioning {
        bucket: BUCKET,
        versioning: Versioning::Enabled,
    });
    shard.done(put_stream(b"k", 1, 500));
    let Ok(Found::Object(found)) = get(&shard, VersionSelector::Latest) else {
        panic!("an object is found")
    };
    assert_eq!((found.object.seq, found.versioned, found.inline), (Seq(2), true, None));
    let Ok(Found::Object(found)) = get(&shard, VersionSelector::Null) else {
        panic!("an object is found")
    };
    assert_eq!(found.inline.as_deref(), Some(b"null version".as_slice()));
    assert_eq!(
        get(&shard, VersionSelector::Id(Seq(1))),
        Err(Refusal::NoSuchVersion),
        "that is the null version"
    );
    shard.done(delete(b"k", VersionSelector::Latest));
    assert_eq!(
        get(&shard, VersionSelector::Latest),
        Err(Refusal::Deleted {
            marker: Seq(3),
            null: false
        })
    );
    assert_eq!(get(&shard, VersionSelector::Id(Seq(3))), Err(Refusal::IsDeleteMarker));
    assert!(get(&shard, VersionSelector::Id(Seq(2))).is_ok());
}

#[test]
fn an_empty_object_has_empty_bytes() {
    let mut shard = TestShard::keys();
    shard.done(put_inline(b"k", b""));
    let Ok(Found::Object(found)) = get(&shard, VersionSelector::Latest) else {
        panic!("an object is found")
    };
    assert_eq!(found.inline.as_deref(), Some(b"".as_slice()));
}

#[test]
fn a_bucket_tells_configuration_and_totals_also_when_sealed() {
    let mut shard = TestShard::keys();
    shard.done(put_inline(b"k", b"12345"));
    let state = |shard: &TestShard| match answer(&shard.rows, &Query::Bucket { bucket: BUCKET }).unwrap() {
        Ok(Found::BucketState { config, totals }) => (config, totals),
        other => panic!("{other:?}"),
    };
    assert_eq!((state(&shard).1.objects, state(&shard).1.bytes), (1, 5));
    shard.done(delete(b"k", VersionSelector::Latest));
    shard.done(Command::SealBucket { bucket: BUCKET });
    assert!(state(&shard).0.sealed);
    assert_eq!(get(&shard, VersionSelector::Latest), Err(Refusal::NoSuchBucket));
    let list = Query::ListObjects(ListObjects {
        bucket: BUCKET,
        limit: 1,
        ..Default::default()
    });
    assert_eq!(answer(&shard.rows, &list).unwrap(), Err(Refusal::NoSuchBucket));
}

#[test]
fn documents_are_set_replaced_removed_and_bounded() {
    let mut shard = TestShard::keys();
    let set = |name: &str, bytes: Option<usize>| Command::SetDocument {
        bucket: BUCKET,
        name: name.to_owned(),
        document: bytes.map(|bytes| vec![b'x'; bytes].into()),
    };
    shard.done(set("cors", Some(10)));
    shard.done(set("tagging", Some(crate::apply::DOCUMENTS_BYTES_MAX - 100)));
    assert!(matches!(shard.refused(set("cors", Some(200))), Refusal::Invalid(_)));
    shard.done(set("tagging", None));
    shard.done(set("cors", Some(200)));
    let Ok(Found::BucketState { config, .. }) = answer(&shard.rows, &Query::Bucket { bucket: BUCKET }).unwrap() else {
        panic!("a bucket is found")
    };
    assert_eq!(
        config
            .documents
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.len()))
            .collect::<Vec<_>>(),
        [("cors", 200)]
    );
}

#[test]
fn damaged_rows_are_reported_not_guessed() {
    let mut shard = TestShard::keys();
    shard.done(put_inline(b"k", b"12345"));
    let name = crate::keys::current(BUCKET, b"k");
    let value = Some(bytes::Bytes::from_static(b"\x01rubbish"));
    shard.rows.write([crate::rows::RowChange {
        family: crate::rows::Family::Current,
        key: name,
        value,
    }]);
    let query = Query::GetObject {
        bucket: BUCKET,
        key: b"k".to_vec(),
        version: VersionSelector::Latest,
        body: false,
    };
    assert!(answer(&shard.rows, &query).is_err());
    assert!(
        answer(
            &shard.rows,
            &Query::ListObjects(ListObjects {
                bucket: BUCKET,
                limit: 1,
                ..Default::default()
            })
        )
        .is_err()
    );
}
