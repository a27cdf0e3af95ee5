//! Buckets, listings, versions and records.

use std::time::Duration;

use bytes::Bytes;
use metadata::command::{Command, Condition, RecordCondition};
use metadata::ids::ShardId;
use metadata::model::Versioning;
use metadata::query::{ListObjects, ListVersions};
use tokio::time::Instant;

use super::{LATEST, pattern};
use crate::testing::{Cluster, Outage};
use crate::{Created, StoreError, VersionSelector};

#[tokio::test(start_paused = true)]
async fn con_2_a_bucket_has_one_owner() {
    let cluster = Cluster::default();
    let (bucket, created) = cluster
        .store
        .create_bucket(&cluster.request(), "b", true)
        .await
        .unwrap();
    assert_eq!(created, Created::New);
    let again = cluster
        .store
        .create_bucket(&cluster.request(), "b", true)
        .await
        .unwrap();
    assert_eq!(again, (bucket.clone(), Created::AlreadyOwned));
    let other = cluster.request_of("q");
    assert_eq!(
        cluster.store.create_bucket(&other, "b", true).await,
        Err(StoreError::BucketTaken)
    );
    assert_eq!(
        cluster.store.bucket(&other, "b").await.unwrap(),
        bucket,
        "the global name serves everybody"
    );
    assert_eq!(cluster.store.bucket(&other, "c").await, Err(StoreError::NoSuchBucket));
}

#[tokio::test(start_paused = true)]
async fn con_2_a_deleted_and_new_bucket_is_seen_at_once_in_spite_of_an_old_copy() {
    let cluster = Cluster::default();
    let old = cluster.bucket("b").await;
    cluster.metadata.freeze_copy();
    cluster.store.delete_bucket(&cluster.request(), &old).await.unwrap();
    assert_eq!(
        cluster.store.bucket(&cluster.request(), "b").await,
        Err(StoreError::NoSuchBucket)
    );
    let new = cluster.bucket("b").await;
    assert_ne!(new.info.id, old.info.id);
    assert_eq!(cluster.store.bucket(&cluster.request(), "b").await.unwrap(), new);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_met_a_sealed_bucket_is_resolved_anew() {
    let cluster = Cluster::default();
    let old = cluster.bucket("b").await;
    cluster.metadata.freeze_copy();
    // Another process deletes the bucket: this one's copy does not know, and its own suspicion is over.
    for (shard, command) in [
        (ShardId::SYSTEM, Command::BeginDeleteBucket { id: old.info.id }),
        (old.info.shard, Command::SealBucket { bucket: old.info.id }),
        (ShardId::SYSTEM, Command::FinishDeleteBucket { id: old.info.id }),
    ] {
        let request = cluster.request().request;
        cluster.metadata.execute(shard, request, command).unwrap();
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    let stale = cluster.store.bucket(&cluster.request(), "b").await.unwrap();
    assert_eq!(cluster.put(&stale, "k", b"x").await, Err(StoreError::NoSuchBucket));
    assert_eq!(
        cluster.store.bucket(&cluster.request(), "b").await,
        Err(StoreError::NoSuchBucket)
    );
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_holds_something_stays_as_it_is() {
    let cluster = Cluster::default();
    let bucket = cluster.bucket("b").await;
    cluster.put(&bucket, "k", b"x").await.unwrap();
    let refused = cluster.store.delete_bucket(&cluster.request(), &bucket).await;
    assert_eq!(refused, Err(StoreError::BucketNotEmpty));
    assert_eq!(cluster.store.bucket(&cluster.request(), "b").await.unwrap(), bucket);
    cluster.put(&bucket, "k2", b"x").await.unwrap();
    cluster.delete(&bucket, "k").await;
    cluster.delete(&bucket, "k2").await;
    cluster.store.delete_bucket(&cluster.request(), &bucket).await.unwrap();
    assert_eq!(
        cluster.store.bucket_state(&cluster.request(), &bucket).await,
        Err(StoreError::NoSuchBucket)
    );
}

#[tokio::test(start_paused = true)]
async fn a_half_done_deletion_is_ended_by_the_finisher() {
    let cluster = Cluster::default();
    let (empty, full) = (cluster.bucket("empty").await, cluster.bucket("full").await);
    cluster.put(&full, "k", b"x").await.unwrap();
    for bucket in [&empty, &full] {
        let request = cluster.request().request;
        let begin = Command::BeginDeleteBucket { id: bucket.info.id };
        cluster.metadata.execute(ShardId::SYSTEM, request, begin).unwrap();
        let name = &bucket.info.name;
        assert_eq!(
            cluster.store.bucket(&cluster.request(), name).await,
            Err(StoreError::NoSuchBucket)
        );
        assert_eq!(
            cluster.store.create_bucket(&cluster.request(), name, true).await,
            Err(StoreError::BucketBusy)
        );
    }
    assert_eq!(cluster.store.finish_deletions(&cluster.request()).await, Ok(2));
    assert_eq!(cluster.store.finish_deletions(&cluster.request()).await, Ok(0));
    assert_eq!(cluster.store.bucket(&cluster.request(), "full").await.unwrap(), full);
    let again = cluster
        .store
        .create_bucket(&cluster.request(), "empty", true)
        .await
        .unwrap();
    assert_eq!(again.1, Created::New);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_goes_on_when_its_client_is_gone() {
    let cluster = Cluster::default();
    let bucket = cluster.bucket("b").await;
    cluster.metadata.set_delay(Duration::from_millis(50));
    let cx = cluster.request();
    let gone = tokio::time::timeout(Duration::from_millis(70), cluster.store.delete_bucket(&cx, &bucket)).await;
    assert!(gone.is_err());
    cluster.settle().await;
    assert_eq!(
        cluster.store.bucket(&cluster.request(), "b").await,
        Err(StoreError::NoSuchBucket)
    );
    assert_eq!(
        cluster
            .store
            .create_bucket(&cluster.request(), "b", true)
            .await
            .unwrap()
            .1,
        Created::New
    );
}

#[tokio::test(start_paused = true)]
async fn con_2_a_listing_shows_what_was_acknowledged() {
    let cluster = Cluster::default();
    let bucket = cluster.bucket("b").await;
    for n in 0..30 {
        cluster
            .put(&bucket, &format!("d/{n:02}"), &pattern(n * 300, 1))
            .await
            .unwrap();
        let list = ListObjects {
            prefix: b"d/".to_vec(),
            limit: 100,
            ..ListObjects::default()
        };
        let page = cluster
            .store
            .list_objects(&cluster.request(), &bucket, list)
            .await
            .unwrap();
        assert_eq!(page.entries.len(), n + 1);
        assert_eq!(page.entries[n].1.size, n as u64 * 300);
    }
    let keys = (0..29)
        .map(|n| (format!("d/{n:02}").into_bytes(), LATEST, Condition::Always))
        .collect();
    let gone = cluster.store.delete_objects(&cluster.request(), &bucket, keys).await;
    assert!(gone.iter().all(Result::is_ok) && gone.len() == 29);
    let list = ListObjects {
        limit: 100,
        delimiter: Some(b"/".to_vec()),
        ..ListObjects::default()
    };
    let page = cluster
        .store
        .list_objects(&cluster.request(), &bucket, list)
        .await
        .unwrap();
    assert_eq!((page.entries.len(), page.prefixes), (0, vec![b"d/".to_vec()]));
    let (_, totals) = cluster.store.bucket_state(&cluster.request(), &bucket).await.unwrap();
    assert_eq!((totals.objects, totals.bytes), (1, 29 * 300));
}

#[tokio::test(start_paused = true)]
async fn delete_markers_are_told_from_absence() {
    let cluster = Cluster::default();
    let bucket = cluster.bucket("b").await;
    cluster
        .store
        .set_versioning(&cluster.request(), &bucket, Versioning::Enabled)
        .await
        .unwrap();
    let first = cluster.put(&bucket, "k", b"one").await.unwrap();
    cluster.put(&bucket, "k/deeper", b"other").await.unwrap();
    let cx = cluster.request();
    let gone = cluster
        .store
        .delete_object(&cx, &bucket, b"k".to_vec(), LATEST, Condition::Always);
    let (marker, _) = gone.await.unwrap().version.unwrap();
    let look = |version| {
        let (store, cx, bucket) = (cluster.store.clone(), cluster.request(), bucket.clone());
        async move { store.object(&cx, &bucket, b"k", version).await }
    };
    let latest = StoreError::DeleteMarker {
        seq: marker,
        null: false,
        modified_ms: None,
        latest: true,
    };
    assert_eq!(look(LATEST).await.unwrap_err(), latest);
    match look(VersionSelector::Id(marker)).await.unwrap_err() {
        StoreError::DeleteMarker {
            seq,
            modified_ms: Some(_),
            latest: false,
            ..
        } => assert_eq!(seq, marker),
        other => panic!("{other}"),
    }
    assert_eq!(look(VersionSelector::Id(first.seq)).await.unwrap().object.size, 3);
    assert_eq!(
        look(VersionSelector::Null).await.unwrap_err(),
        StoreError::NoSuchVersion
    );
    let list = ListVersions {
        limit: 10,
        ..ListVersions::default()
    };
    let page = cluster
        .store
        .list_versions(&cluster.request(), &bucket, list)
        .await
        .unwrap();
    assert_eq!(page.entries.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn tags_and_metadata_change_without_a_new_version() {
    let cluster = Cluster::default();
    let bucket = cluster.bucket("b").await;
    let put = cluster.put(&bucket, "k", &pattern(9000, 1)).await.unwrap();
    let pair = |name: &str| vec![(name.to_owned(), "v".to_owned())];
    cluster
        .store
        .set_tags(&cluster.request(), &bucket, b"k".to_vec(), LATEST, pair("t"))
        .await
        .unwrap();
    let (attributes, user) = (pair("content-type"), pair("u"));
    cluster
        .store
        .set_metadata(&cluster.request(), &bucket, b"k".to_vec(), attributes, user)
        .await
        .unwrap();
    let object = cluster.open(&bucket, "k").await.unwrap().head.object;
    assert_eq!((object.seq, object.tags, object.user), (put.seq, pair("t"), pair("u")));
    let absent = cluster
        .store
        .set_tags(&cluster.request(), &bucket, b"no".to_vec(), LATEST, pair("t"))
        .await;
    assert_eq!(absent, Err(StoreError::NoSuchKey));
}

#[tokio::test(start_paused = true)]
async fn records_are_compared_and_swapped_within_one_request() {
    let cluster = Cluster::default();
    let (cx, value) = (cluster.request(), Bytes::from_static(b"v"));
    let put = |expect| cluster.store.put_record(&cx, "users", "a", expect, value.clone());
    let first = put(RecordCondition::Absent).await.unwrap();
    // The same request, another command: it must not get the first one's answer.
    assert_eq!(
        put(RecordCondition::Absent).await,
        Err(StoreError::RecordConflict { version: first })
    );
    let second = put(RecordCondition::Version(first)).await.unwrap();
    assert!(second > first);
    assert_eq!(
        cluster.store.record(&cx, "users", "a").await.unwrap().unwrap().version,
        second
    );
    let (records, more) = cluster.store.list_records(&cx, "users", None, 10).await.unwrap();
    assert_eq!((records.len(), more), (1, false));
}

#[tokio::test(start_paused = true)]
async fn records_of_the_copy_may_be_old_but_never_missing() {
    let cluster = Cluster::default();
    let (cx, value) = (cluster.request(), Bytes::from_static(b"v"));
    let old = cluster
        .store
        .put_record(&cx, "t", "a", RecordCondition::Any, value.clone())
        .await
        .unwrap();
    cluster.metadata.freeze_copy();
    cluster
        .store
        .put_record(&cx, "t", "a", RecordCondition::Any, value.clone())
        .await
        .unwrap();
    cluster
        .store
        .put_record(&cx, "t", "b", RecordCondition::Any, value)
        .await
        .unwrap();
    let read = async |key| {
        cluster
            .store
            .record_from_copy(&cx, "t", key)
            .await
            .unwrap()
            .map(|record| record.version)
    };
    assert_eq!(read("a").await, Some(old));
    assert!(read("b").await.is_some(), "a miss is confirmed by the shard");
    let begun = Instant::now();
    cluster
        .store
        .revoke_record(&cx, "t", "a", RecordCondition::Any)
        .await
        .unwrap();
    assert!(begun.elapsed() >= cluster.store.options().staleness_bound);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_shard_is_unavailable() {
    let cluster = Cluster::default();
    let bucket = cluster.bucket("b").await;
    cluster.metadata.set_outage(Outage::Unreachable);
    assert!(matches!(
        cluster.put(&bucket, "k", b"x").await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(
        cluster.get(&bucket, "k").await,
        Err(StoreError::Unavailable(_))
    ));
}
