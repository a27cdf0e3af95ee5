//! DUR-1, MEM-1, CON-1: what is acknowledged, with how many copies, in how much memory.

use std::time::Duration;

use futures::future::join_all;
use metadata::command::Condition;
use metadata::ids::NodeId;
use metadata::model::{Body as BodyPlace, Checksum, ChecksumAlgorithm, ChecksumKind};
use tokio::time::Instant;

use super::{device, pattern};
use crate::testing::{Cluster, Health, Outage, Shape, body, body_in_pieces};
use crate::{BodyError, PutObject, Rejected, StoreError};

const CHUNK: u32 = 8192;

#[tokio::test(start_paused = true)]
async fn dur_1_all_three_copies_are_stored_and_nothing_is_short() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    let bytes = pattern(5 * CHUNK as usize + 1, 1);
    cluster.put(&bucket, "k", &bytes).await.unwrap();
    assert_eq!(cluster.data.copies().await, 6 * 3);
    assert_eq!(cluster.short(bucket.info.shard), []);
    assert_eq!(cluster.get(&bucket, "k").await.unwrap(), bytes);
}

#[tokio::test(start_paused = true)]
async fn dur_1_a_node_down_leaves_two_copies_and_the_shard_knows() {
    for health in [Health::Down, Health::JustDied] {
        let cluster = Cluster::with_chunks_of(CHUNK);
        let bucket = cluster.bucket("b").await;
        cluster.data.set_node_health(NodeId(2), health);
        let bytes = pattern(3 * CHUNK as usize, 1);
        let begun = Instant::now();
        cluster.put(&bucket, "k", &bytes).await.unwrap();
        assert!(
            begun.elapsed() < Duration::from_millis(100),
            "a dead node delays nobody"
        );
        assert_eq!(cluster.data.copies().await, 3 * 2);
        let short = cluster.short(bucket.info.shard);
        assert_eq!(short.len(), 1, "neighbours are one entry");
        assert_eq!((short[0].first, short[0].count), (0, 3));
        let two: Vec<_> = cluster
            .data
            .devices()
            .into_iter()
            .filter(|id| cluster.node_of(*id) != Some(NodeId(2)))
            .collect();
        assert_eq!(short[0].devices, two);
        assert_eq!(cluster.get(&bucket, "k").await.unwrap(), bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn dur_1_two_nodes_down_are_refused_and_nothing_stays() {
    for health in [Health::Down, Health::JustDied, Health::Hangs] {
        let cluster = Cluster::with_chunks_of(CHUNK);
        let bucket = cluster.bucket("b").await;
        cluster.data.set_node_health(NodeId(1), health);
        cluster.data.set_node_health(NodeId(3), health);
        let refused = cluster.put(&bucket, "k", &pattern(40_000, 1)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable(_)), "{health:?}: {refused}");
        assert_eq!(cluster.get(&bucket, "k").await, Err(StoreError::NoSuchKey));
        cluster.settle().await;
        assert_eq!(cluster.data.copies().await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn dur_1_a_handoff_takes_the_copy_of_a_dead_primary_and_the_chunk_counts_as_short() {
    let shape = Shape {
        nodes: 4,
        ..Shape::default()
    };
    let cluster = Cluster::new(shape);
    let bucket = cluster.bucket("b").await;
    cluster.data.set_node_health(NodeId(2), Health::JustDied);
    for key in 0..20 {
        cluster
            .put(&bucket, &key.to_string(), &pattern(5000, key))
            .await
            .unwrap();
    }
    assert_eq!(cluster.data.copies().await, 20 * 3);
    let short = cluster.short(bucket.info.shard);
    assert!(!short.is_empty() && short.len() < 20, "only chunks of node 2 are short");
    assert!(short.iter().all(|entry| entry.devices.len() == 3));
}

#[tokio::test(start_paused = true)]
async fn dur_1_a_full_device_is_passed_over() {
    let cluster = Cluster::new(Shape {
        nodes: 4,
        ..Shape::default()
    });
    let bucket = cluster.bucket("b").await;
    cluster.data.set_health(device(0), Health::Full);
    for key in 0..10 {
        cluster
            .put(&bucket, &key.to_string(), &pattern(5000, key))
            .await
            .unwrap();
    }
    assert_eq!(cluster.data.blobs(device(0)).await, []);
    assert_eq!(cluster.data.copies().await, 10 * 3);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_node_delays_a_put_by_the_grace_only() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    cluster.data.set_node_health(NodeId(1), Health::Hangs);
    let begun = Instant::now();
    cluster.put(&bucket, "k", &pattern(30_000, 1)).await.unwrap();
    let grace = cluster.store.options().laggard_grace;
    assert!(
        begun.elapsed() >= grace && begun.elapsed() < grace * 2,
        "took {:?}",
        begun.elapsed()
    );
    assert_eq!(cluster.short(bucket.info.shard).len(), 1);
    cluster.settle().await;
    assert_eq!(cluster.data.in_flight(), 0, "laggards are given up");
    assert_eq!(cluster.store.inner.laggard_pool.used_bytes(), 0);
    assert_eq!(cluster.store.inner.write_pool.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_replica_is_waited_for_within_the_grace() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    cluster
        .data
        .set_health(device(1), Health::Slow(Duration::from_millis(300)));
    cluster.put(&bucket, "k", &pattern(30_000, 1)).await.unwrap();
    assert_eq!(cluster.short(bucket.info.shard), []);
}

#[tokio::test(start_paused = true)]
async fn two_hanging_primaries_get_company_by_handoffs() {
    let cluster = Cluster::new(Shape {
        nodes: 6,
        ..Shape::default()
    });
    let bucket = cluster.bucket("b").await;
    cluster.data.set_node_health(NodeId(1), Health::Hangs);
    cluster.data.set_node_health(NodeId(2), Health::Hangs);
    for key in 0..20 {
        cluster
            .put(&bucket, &key.to_string(), &pattern(5000, key))
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn key_1_borders_of_inline_and_chunks_come_back_as_they_were() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    let chunk = CHUNK as usize;
    for len in [
        0,
        1,
        4095,
        4096,
        4097,
        chunk - 1,
        chunk,
        chunk + 1,
        3 * chunk - 1,
        3 * chunk,
        3 * chunk + 1,
    ] {
        for declared in [None, Some(len as u64)] {
            let bytes = pattern(len, len as u64);
            let put = PutObject {
                length: declared,
                ..PutObject::plain()
            };
            let before = cluster.data.copies().await;
            let stream = body_in_pieces(&bytes, 1000);
            let done = cluster
                .store
                .put_object(&cluster.request(), &bucket, b"../a//b".to_vec(), put, stream)
                .await;
            assert_eq!(done.unwrap().size, len as u64);
            let added = cluster.data.copies().await - before;
            let chunks = if len <= 4096 { 0 } else { len.div_ceil(chunk) };
            assert_eq!(added, chunks * 3, "{len} bytes");
            assert_eq!(cluster.get(&bucket, "../a//b").await.unwrap(), bytes);
            let head = cluster.open(&bucket, "../a//b").await.unwrap().head;
            assert_eq!(head.object.body == BodyPlace::Inline, len <= 4096);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_another_length_is_refused_and_nothing_stays() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    for (len, declared) in [(30_000, 30_001), (30_000, 29_999), (0, 1), (1, 0), (100, 4000)] {
        let put = PutObject {
            length: Some(declared),
            ..PutObject::plain()
        };
        let stream = body_in_pieces(&pattern(len, 1), 1500);
        let refused = cluster
            .store
            .put_object(&cluster.request(), &bucket, b"k".to_vec(), put, stream)
            .await;
        assert_eq!(refused.unwrap_err(), StoreError::IncompleteBody);
    }
    let broken = BodyError {
        code: "RequestTimeout",
        message: String::new(),
    };
    let pieces = vec![Ok(pattern(20_000, 1).into()), Err(broken.clone())];
    let stream = Box::pin(futures::stream::iter(pieces));
    let refused = cluster
        .store
        .put_object(&cluster.request(), &bucket, b"k".to_vec(), PutObject::plain(), stream)
        .await;
    assert_eq!(refused.unwrap_err(), StoreError::Body(broken));
    assert_eq!(cluster.get(&bucket, "k").await, Err(StoreError::NoSuchKey));
    cluster.settle().await;
    assert_eq!(cluster.data.copies().await, 0);
}

#[tokio::test(start_paused = true)]
async fn con_3_the_edges_last_word_refuses_or_keeps_a_checksum() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    let bytes = pattern(20_000, 1);
    let rejecting = PutObject {
        digests: vec![ChecksumAlgorithm::Sha256],
        finish: Box::new(|digests| {
            assert_eq!(digests.size, 20_000);
            assert_eq!(digests.checksums[0].1.len(), 32);
            Err(Rejected("BadDigest"))
        }),
        ..PutObject::plain()
    };
    let refused = cluster
        .store
        .put_object(&cluster.request(), &bucket, b"k".to_vec(), rejecting, body(&bytes))
        .await;
    assert_eq!(refused.unwrap_err(), StoreError::Rejected(Rejected("BadDigest")));
    assert_eq!(cluster.get(&bucket, "k").await, Err(StoreError::NoSuchKey));
    cluster.settle().await;
    assert_eq!(cluster.data.copies().await, 0);

    let checksum = Checksum {
        algorithm: ChecksumAlgorithm::Crc32,
        kind: ChecksumKind::FullObject,
        value: vec![1; 4],
    };
    let kept = checksum.clone();
    let keeping = PutObject {
        finish: Box::new(move |_| Ok(Some(kept))),
        ..PutObject::plain()
    };
    cluster
        .store
        .put_object(&cluster.request(), &bucket, b"k".to_vec(), keeping, body(&bytes))
        .await
        .unwrap();
    assert_eq!(
        cluster.open(&bucket, "k").await.unwrap().head.object.checksum,
        Some(checksum)
    );
}

#[tokio::test(start_paused = true)]
async fn con_1_a_race_of_conditional_puts_has_one_winner_and_its_bytes() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    let bodies: Vec<_> = (0..50)
        .map(|n| pattern(if n % 2 == 0 { 100 } else { 9000 }, n))
        .collect();
    let races = bodies
        .iter()
        .map(|bytes| cluster.put_if(&bucket, "lock", Condition::Absent, bytes));
    let outcomes = join_all(races).await;
    let winners: Vec<_> = (0..50).filter(|n| outcomes[*n].is_ok()).collect();
    assert_eq!(winners.len(), 1);
    let lost = outcomes
        .iter()
        .filter(|outcome| **outcome == Err(StoreError::PreconditionFailed))
        .count();
    assert_eq!(lost, 49);
    assert_eq!(cluster.get(&bucket, "lock").await.unwrap(), bodies[winners[0]]);
    cluster.settle().await;
    let kept = if bodies[winners[0]].len() > 4096 { 2 * 3 } else { 0 };
    assert_eq!(cluster.data.copies().await, kept, "the losers' blobs are taken back");
}

#[tokio::test(start_paused = true)]
async fn con_1_a_commit_of_unknown_outcome_removes_nothing() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    let bytes = pattern(20_000, 1);
    cluster.metadata.set_outage(Outage::AnswersLost);
    let unknown = cluster.put(&bucket, "k", &bytes).await.unwrap_err();
    assert!(matches!(unknown, StoreError::Unavailable(_)));
    cluster.metadata.set_outage(Outage::None);
    cluster.settle().await;
    assert_eq!(
        cluster.get(&bucket, "k").await.unwrap(),
        bytes,
        "the commit had happened"
    );
}

#[tokio::test(start_paused = true)]
async fn mem_1_many_puts_stay_within_the_pools() {
    let mut shape = Shape::default();
    shape.options.chunk_bytes = 64 * 1024;
    shape.options.write_pool_bytes = 8 * 64 * 1024;
    shape.options.laggard_pool_bytes = 2 * 64 * 1024;
    let cluster = Cluster::new(shape);
    let bucket = cluster.bucket("b").await;
    cluster
        .data
        .set_health(device(0), Health::Slow(Duration::from_millis(20)));
    let bodies: Vec<_> = (0..32).map(|n| pattern(500_000, n)).collect();
    let keys: Vec<_> = (0..32).map(|n| n.to_string()).collect();
    let puts = bodies
        .iter()
        .zip(&keys)
        .map(|(bytes, key)| cluster.put(&bucket, key, bytes));
    for outcome in join_all(puts).await {
        outcome.unwrap();
    }
    let held = cluster.data.in_flight_bytes_max() / 3;
    assert!(held <= 10 * 64 * 1024, "{held} bytes were on their way at once");
    assert!(held > 4 * 64 * 1024, "the pool was used, else this test shows nothing");
    cluster.settle().await;
    assert_eq!(cluster.store.inner.write_pool.used_bytes(), 0);
    for (bytes, key) in bodies.iter().zip(&keys) {
        assert_eq!(cluster.get(&bucket, key).await.unwrap(), *bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn mem_1_a_put_that_finds_no_memory_is_told_to_slow_down() {
    let cluster = Cluster::default();
    let bucket = cluster.bucket("b").await;
    let pool = &cluster.store.inner.write_pool;
    let all = pool.acquire(usize::MAX, Duration::ZERO).await.unwrap();
    assert_eq!(
        cluster.put(&bucket, "k", &pattern(10, 1)).await,
        Err(StoreError::SlowDown)
    );
    drop(all);
    cluster.put(&bucket, "k", &pattern(10, 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_above_the_limit_is_too_large() {
    let mut shape = Shape::default();
    shape.options.body_bytes_max = 10_000;
    let cluster = Cluster::new(shape);
    let bucket = cluster.bucket("b").await;
    for length in [None, Some(10_001)] {
        let put = PutObject {
            length,
            ..PutObject::plain()
        };
        let stream = body_in_pieces(&pattern(10_001, 1), 900);
        let refused = cluster
            .store
            .put_object(&cluster.request(), &bucket, b"k".to_vec(), put, stream)
            .await;
        assert_eq!(refused.unwrap_err(), StoreError::EntityTooLarge);
    }
}

#[tokio::test]
async fn large_chunks_are_hashed_beside_the_io_and_come_back() {
    let cluster = Cluster::default();
    let bucket = cluster.bucket("b").await;
    let bytes = pattern(13 * 1024 * 1024 + 5, 1);
    let put = PutObject {
        digests: vec![ChecksumAlgorithm::Crc64Nvme],
        ..PutObject::plain()
    };
    let stream = body_in_pieces(&bytes, 100_000);
    let done = cluster
        .store
        .put_object(&cluster.request(), &bucket, b"k".to_vec(), put, stream)
        .await
        .unwrap();
    assert_eq!(
        done.etag.md5,
        <[u8; 16]>::from(<md5::Md5 as md5::Digest>::digest(&bytes))
    );
    assert!(cluster.get(&bucket, "k").await.unwrap() == bytes);
}
