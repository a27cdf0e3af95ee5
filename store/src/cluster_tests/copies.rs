//! Copies inside a shard and across shards, with their conditions and changes.

use metadata::command::{Condition, CopyChanges};
use metadata::model::{ChecksumAlgorithm, ETag, Versioning};

use super::{LATEST, pattern};
use crate::testing::Cluster;
use crate::{Bucket, CopySource, CopyTarget, PutObject, StoreError, VersionSelector};

fn source(bucket: &Bucket, key: &str) -> CopySource {
    CopySource {
        bucket: bucket.clone(),
        key: key.into(),
        version: LATEST,
        condition: Condition::Always,
    }
}

fn target(bucket: &Bucket, key: &str) -> CopyTarget {
    CopyTarget {
        bucket: bucket.clone(),
        key: key.into(),
        condition: Condition::Always,
    }
}

async fn buckets(cluster: &Cluster) -> (Bucket, Bucket) {
    let (here, there) = (cluster.bucket("b").await, cluster.bucket("c").await);
    assert_ne!(here.info.shard, there.info.shard);
    (here, there)
}

#[tokio::test(start_paused = true)]
async fn a_copy_inside_a_shard_moves_no_byte() {
    let cluster = Cluster::with_chunks_of(8192);
    let (here, _) = buckets(&cluster).await;
    let bytes = pattern(20_000, 1);
    cluster.put(&here, "from", &bytes).await.unwrap();
    let copies = cluster.data.copies().await;
    let cx = cluster.request();
    let done = cluster.store.copy_object(
        &cx,
        source(&here, "from"),
        target(&here, "to"),
        CopyChanges::default(),
        None,
    );
    let done = done.await.unwrap();
    assert_eq!(done.put.size, 20_000);
    assert_eq!(cluster.data.copies().await, copies);
    cluster.delete(&here, "from").await;
    assert_eq!(cluster.get(&here, "to").await.unwrap(), bytes);
}

#[tokio::test(start_paused = true)]
async fn a_copy_across_shards_has_blobs_of_its_own() {
    let cluster = Cluster::with_chunks_of(8192);
    let (here, there) = buckets(&cluster).await;
    for len in [0, 100, 20_000] {
        let bytes = pattern(len, 1);
        let put = PutObject {
            attributes: vec![("content-type".into(), "text/plain".into())],
            user: vec![("a".into(), "1".into())],
            tags: vec![("t".into(), "2".into())],
            ..PutObject::plain()
        };
        let body = crate::testing::body(&bytes);
        cluster
            .store
            .put_object(&cluster.request(), &here, b"from".to_vec(), put, body)
            .await
            .unwrap();
        let copies = cluster.data.copies().await;
        let changes = CopyChanges {
            metadata: None,
            tags: Some(vec![("t".into(), "3".into())]),
        };
        let (cx, to) = (cluster.request(), target(&there, "to"));
        let done = cluster
            .store
            .copy_object(&cx, source(&here, "from"), to, changes, None)
            .await
            .unwrap();
        let moved = if len > 4096 { len.div_ceil(8192) * 3 } else { 0 };
        assert_eq!(cluster.data.copies().await, copies + moved);
        assert_eq!(cluster.get(&there, "to").await.unwrap(), bytes);
        let object = cluster.open(&there, "to").await.unwrap().head.object;
        assert_eq!(object.etag, done.put.etag);
        assert_eq!(object.attributes[0].1, "text/plain");
        assert_eq!((object.user[0].1.as_str(), object.tags[0].1.as_str()), ("1", "3"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_checksum_is_computed_from_the_bytes() {
    let cluster = Cluster::with_chunks_of(8192);
    let (here, _) = buckets(&cluster).await;
    cluster.put(&here, "k", b"123456789").await.unwrap();
    let (cx, wanted) = (cluster.request(), Some(ChecksumAlgorithm::Crc32));
    let to = target(&here, "k");
    let done = cluster
        .store
        .copy_object(&cx, source(&here, "k"), to, CopyChanges::default(), wanted)
        .await
        .unwrap();
    assert_eq!(done.put.checksum.unwrap().value, [0xcb, 0xf4, 0x39, 0x26]);
}

#[tokio::test(start_paused = true)]
async fn con_1_both_conditions_of_a_copy_are_decided() {
    let cluster = Cluster::with_chunks_of(8192);
    let (here, there) = buckets(&cluster).await;
    let etag = cluster.put(&here, "from", &pattern(10_000, 1)).await.unwrap().etag;
    for to in [&here, &there] {
        let copy = async |source_condition, condition| {
            let from = CopySource {
                condition: source_condition,
                ..source(&here, "from")
            };
            let to = CopyTarget {
                condition,
                ..target(to, "to")
            };
            cluster
                .store
                .copy_object(&cluster.request(), from, to, CopyChanges::default(), None)
                .await
                .map(drop)
        };
        let other = ETag { md5: [1; 16], parts: 0 };
        let failed = Err(StoreError::PreconditionFailed);
        assert_eq!(copy(Condition::ETagIn(vec![other]), Condition::Always).await, failed);
        assert_eq!(copy(Condition::ETagNotIn(vec![etag]), Condition::Always).await, failed);
        assert_eq!(
            copy(Condition::Always, Condition::Present).await,
            Err(StoreError::NoSuchKey)
        );
        assert_eq!(copy(Condition::ETagIn(vec![etag]), Condition::Absent).await, Ok(()));
        assert_eq!(copy(Condition::ETagIn(vec![etag]), Condition::Absent).await, failed);
    }
    cluster.settle().await;
    assert_eq!(
        cluster.data.copies().await,
        2 * 2 * 3,
        "what a refused copy wrote is taken back"
    );
    let cx = cluster.request();
    let absent = cluster.store.copy_object(
        &cx,
        source(&here, "nothing"),
        target(&there, "to"),
        CopyChanges::default(),
        None,
    );
    assert_eq!(absent.await.unwrap_err(), StoreError::NoSuchKey);
}

#[tokio::test(start_paused = true)]
async fn an_old_version_is_copied_and_named() {
    let cluster = Cluster::with_chunks_of(8192);
    let (here, there) = buckets(&cluster).await;
    cluster
        .store
        .set_versioning(&cluster.request(), &here, Versioning::Enabled)
        .await
        .unwrap();
    let old = cluster.put(&here, "k", &pattern(9000, 1)).await.unwrap();
    let new = cluster.put(&here, "k", &pattern(9000, 2)).await.unwrap();
    for to in [&here, &there] {
        let from = CopySource {
            version: VersionSelector::Id(old.seq),
            ..source(&here, "k")
        };
        let (cx, to_key) = (cluster.request(), target(to, "copy"));
        let done = cluster
            .store
            .copy_object(&cx, from, to_key, CopyChanges::default(), None)
            .await
            .unwrap();
        assert_eq!(done.source_version, Some((old.seq, false)));
        assert_eq!(cluster.get(to, "copy").await.unwrap(), pattern(9000, 1));
    }
    let (cx, to) = (cluster.request(), target(&there, "copy"));
    let done = cluster
        .store
        .copy_object(&cx, source(&here, "k"), to, CopyChanges::default(), None)
        .await
        .unwrap();
    assert_eq!(done.source_version, Some((new.seq, false)));
}
