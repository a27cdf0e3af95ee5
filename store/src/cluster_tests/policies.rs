//! Buckets under several policies side by side.

use metadata::command::CopyChanges;
use metadata::model::{Body, PolicyId, Stream};
use storage_node::client::{PolicyKind, chunk_key};

use super::*;
use crate::{CopySource, CopyTarget, Created, LocateDepth};

const CHUNK: u32 = 8192;

fn stream_of(reader: &ObjectReader) -> Stream {
    match &reader.head.object.body {
        Body::Stream(stream) => stream.clone(),
        other => panic!("unexpected body {other:?}"),
    }
}

async fn under(cluster: &Cluster, name: &str, policy: PolicyId) -> Bucket {
    let made = cluster
        .store
        .create_bucket_under(&cluster.request(), name, true, policy)
        .await;
    made.unwrap().0
}

#[tokio::test(start_paused = true)]
async fn each_bucket_s_objects_lie_as_its_policy_says() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let two = cluster.data.add_policy("two", PolicyKind::Replicated { copies: 2 });
    assert_eq!(
        cluster.store.policies().named("TWO").map(|policy| policy.id()),
        Some(two)
    );
    let (plain, pair) = (cluster.bucket("plain").await, under(&cluster, "pair", two).await);
    assert_eq!((plain.info.policy, pair.info.policy), (PolicyId(0), two));
    let bytes = pattern(3 * CHUNK as usize, 1);
    cluster.put(&plain, "k", &bytes).await.unwrap();
    assert_eq!(cluster.data.copies().await, 9);
    cluster.put(&pair, "k", &bytes).await.unwrap();
    assert_eq!(cluster.data.copies().await, 9 + 6);
    for bucket in [&plain, &pair] {
        assert_eq!(cluster.get(bucket, "k").await.unwrap(), bytes);
        let page = cluster
            .store
            .verify(&cluster.request(), bucket, None, 10, LocateDepth::Bytes)
            .await
            .unwrap();
        assert!(page.problems.is_empty());
        assert_eq!(page.copies, if bucket == &pair { 6 } else { 9 });
    }
    let stream = stream_of(&cluster.open(&pair, "k").await.unwrap());
    assert_eq!((stream.policy, chunk_key(&stream, 2).id.policy()), (two, two));

    // What lacks a copy is told to the shard by the chunk's own number.
    let key = chunk_key(&stream, 2);
    for device in cluster.data.devices() {
        if cluster.data.blobs(device).await.contains(&key) {
            cluster.data.lose(device, key).await;
            break;
        }
    }
    for _ in 0..2 {
        assert_eq!(cluster.get(&pair, "k").await.unwrap(), bytes);
        cluster.settle().await;
    }
    let short = cluster.short(pair.info.shard);
    assert!(short.iter().all(|range| (range.first, range.count) == (2, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_copy_into_a_bucket_of_another_policy_moves_the_bytes() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let two = cluster.data.add_policy("two", PolicyKind::Replicated { copies: 2 });
    let plain = cluster.bucket("plain").await;
    let mut pair = under(&cluster, "pair", two).await;
    for number in 0.. {
        if pair.info.shard == plain.info.shard {
            break;
        }
        pair = under(&cluster, &format!("pair-{number}"), two).await;
    }
    let bytes = pattern(2 * CHUNK as usize, 2);
    cluster.put(&plain, "k", &bytes).await.unwrap();
    let from = CopySource {
        bucket: plain,
        key: "k".into(),
        version: LATEST,
        condition: Condition::Always,
    };
    let to = CopyTarget {
        bucket: pair.clone(),
        key: "copy".into(),
        condition: Condition::Always,
    };
    let request = cluster.request();
    let copied = cluster
        .store
        .copy_object(&request, from, to, CopyChanges::default(), None);
    copied.await.unwrap();
    assert_eq!(stream_of(&cluster.open(&pair, "copy").await.unwrap()).policy, two);
    assert_eq!(cluster.get(&pair, "copy").await.unwrap(), bytes);
}

#[tokio::test(start_paused = true)]
async fn dur_3_a_broken_off_body_of_any_policy_is_taken_back() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let two = cluster.data.add_policy("two", PolicyKind::Replicated { copies: 2 });
    let pair = under(&cluster, "pair", two).await;
    let put = PutObject {
        length: Some(u64::from(3 * CHUNK)),
        ..PutObject::plain()
    };
    let short = pattern(2 * CHUNK as usize, 3);
    let request = cluster.request();
    let broken = cluster.store.put_object(&request, &pair, "k".into(), put, body(&short));
    assert!(broken.await.is_err());
    cluster.settle().await;
    assert_eq!(cluster.data.copies().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_policy_without_a_ring_gets_no_buckets_and_a_bucket_keeps_its_own() {
    let cluster = Cluster::default();
    let two = cluster.data.add_policy("two", PolicyKind::Replicated { copies: 2 });
    let refused = cluster
        .store
        .create_bucket_under(&cluster.request(), "b", true, PolicyId(9))
        .await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    let made = under(&cluster, "b", two).await;
    let again = cluster
        .store
        .create_bucket(&cluster.request(), "b", true)
        .await
        .unwrap();
    assert_eq!(again, (made, Created::AlreadyOwned));
}
