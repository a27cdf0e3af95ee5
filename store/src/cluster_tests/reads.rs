//! INT-1 and what a reader meets: damaged, lost, slow and unreachable copies, ranges, deletions.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use metadata::command::Command;
use metadata::ids::NodeId;
use metadata::model::Body as BodyPlace;
use proptest::prelude::*;
use storage_node::client::chunk_key;
use tokio::time::Instant;

use super::{device, pattern};
use crate::testing::{Cluster, Health, Shape};
use crate::{CopyState, LocateDepth, StoreError, Stream};

const CHUNK: u32 = 200_000;

async fn stream_of(cluster: &Cluster, bucket: &crate::Bucket, key: &str) -> Stream {
    match cluster.open(bucket, key).await.unwrap().head.object.body {
        BodyPlace::Stream(stream) => stream,
        other => panic!("no stream: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn int_1_a_damaged_copy_is_never_served_and_is_told() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    let bytes = pattern(3 * CHUNK as usize, 1);
    cluster.put(&bucket, "k", &bytes).await.unwrap();
    let stream = stream_of(&cluster, &bucket, "k").await;
    // Two of three copies of the middle chunk are damaged, at both ends.
    cluster.data.corrupt(device(0), &chunk_key(&stream, 1), 0);
    cluster
        .data
        .corrupt(device(2), &chunk_key(&stream, 1), CHUNK as usize - 1);
    assert_eq!(cluster.get(&bucket, "k").await.unwrap(), bytes);
    cluster.settle().await;
    let short = cluster.short(bucket.info.shard);
    assert!(short.iter().all(|entry| (entry.first, entry.count) == (1, 1)));
    assert!(short.iter().all(|entry| entry.devices.len() < 3));
    assert!(short.iter().all(|entry| entry.devices.contains(&device(1))));
    let found = cluster
        .store
        .locate(
            &cluster.request(),
            &bucket,
            b"k",
            super::LATEST,
            LocateDepth::Bytes,
            100,
        )
        .await;
    let states: Vec<_> = found.unwrap().streams[0].chunks[1]
        .copies
        .iter()
        .map(|copy| (copy.device, copy.state))
        .collect();
    let state = |number| states.iter().find(|(id, _)| *id == device(number)).unwrap().1;
    assert_eq!(
        [state(0), state(1), state(2)],
        [CopyState::Corrupt, CopyState::Ok, CopyState::Corrupt]
    );
}

#[tokio::test(start_paused = true)]
async fn heal_1_an_absent_copy_is_told_once_with_who_holds_the_chunk() {
    let mut told = 0;
    for lost in 0..3 {
        // The same dice every time, so that the same device is asked first.
        let cluster = Cluster::with_chunks_of(CHUNK);
        let bucket = cluster.bucket("b").await;
        cluster.put(&bucket, "k", &pattern(100_000, 1)).await.unwrap();
        let stream = stream_of(&cluster, &bucket, "k").await;
        cluster.data.lose(device(lost), chunk_key(&stream, 0)).await;
        for _ in 0..3 {
            assert_eq!(cluster.get(&bucket, "k").await.unwrap(), pattern(100_000, 1));
            cluster.settle().await;
        }
        let commands = cluster.metadata.commands();
        let marks = commands
            .iter()
            .filter(|(_, command)| matches!(command, Command::MarkShort { .. }))
            .count();
        assert!(marks <= 1, "the same chunk is told once in a while only");
        told += marks;
        for entry in cluster.short(bucket.info.shard) {
            let others: Vec<_> = (0..3).filter(|number| *number != lost).map(device).collect();
            assert_eq!(entry.devices, others);
        }
    }
    assert_eq!(told, 1, "only the reader of the first device asked meets the loss");
}

#[tokio::test(start_paused = true)]
async fn int_1_without_a_good_copy_the_body_is_cut_and_the_loss_is_told() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    let bytes = pattern(3 * CHUNK as usize, 1);
    cluster.put(&bucket, "k", &bytes).await.unwrap();
    let stream = stream_of(&cluster, &bucket, "k").await;
    cluster.data.lose(device(0), chunk_key(&stream, 1)).await;
    cluster.data.corrupt(device(1), &chunk_key(&stream, 1), 7);
    cluster.data.corrupt(device(2), &chunk_key(&stream, 1), 7);
    let mut reading = cluster.open(&bucket, "k").await.unwrap().read(0..u64::MAX);
    let mut served = Vec::new();
    let error = loop {
        match reading
            .next()
            .await
            .expect("the body is cut by an error, not by its end")
        {
            Ok(piece) => served.extend_from_slice(&piece),
            Err(error) => break error,
        }
    };
    assert_eq!(error, StoreError::Lost);
    assert!(reading.next().await.is_none());
    assert_eq!(served, bytes[..served.len()]);
    assert!(served.len() <= CHUNK as usize);
    cluster.settle().await;
    let short = cluster.short(bucket.info.shard);
    assert_eq!(
        (short[0].first, short[0].devices.len()),
        (1, 0),
        "lost chunks are listed"
    );
}

#[tokio::test(start_paused = true)]
async fn int_1_every_copy_alone_serves_the_object() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    let bytes = pattern(300_000, 1);
    cluster.put(&bucket, "k", &bytes).await.unwrap();
    for (alone, health) in [(1, Health::Down), (2, Health::JustDied), (3, Health::Hangs)] {
        for node in (1..=3).filter(|node| *node != alone) {
            cluster.data.set_node_health(NodeId(node), health);
        }
        cluster.data.set_node_health(NodeId(alone), Health::Good);
        assert_eq!(cluster.get(&bucket, "k").await.unwrap(), bytes);
    }
    cluster.data.set_node_health(NodeId(3), Health::Down);
    assert!(
        matches!(cluster.get(&bucket, "k").await, Err(StoreError::Unavailable(_))),
        "not lost: nobody was asked"
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_copy_is_hedged() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    let bytes = pattern(100_000, 1);
    cluster.put(&bucket, "k", &bytes).await.unwrap();
    for number in 0..3 {
        let health = if number == 1 {
            Health::Good
        } else {
            Health::Slow(Duration::from_secs(8))
        };
        cluster.data.set_health(device(number), health);
    }
    let begun = Instant::now();
    assert_eq!(cluster.get(&bucket, "k").await.unwrap(), bytes);
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "took {:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn copies_are_found_wherever_they_are() {
    // Written while its primaries were down; read from the handoffs when these are back.
    let cluster = Cluster::new(Shape {
        nodes: 6,
        ..Shape::default()
    });
    let bucket = cluster.bucket("b").await;
    for node in [1, 2, 3] {
        cluster.data.set_node_health(NodeId(node), Health::Down);
    }
    for key in 0..10 {
        cluster
            .put(&bucket, &key.to_string(), &pattern(5000, key))
            .await
            .unwrap();
    }
    for node in [1, 2, 3] {
        cluster.data.set_node_health(NodeId(node), Health::Good);
    }
    for key in 0..10 {
        assert_eq!(
            cluster.get(&bucket, &key.to_string()).await.unwrap(),
            pattern(5000, key)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_object_whose_blobs_vanish_is_cut() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    let bytes = pattern(10 * CHUNK as usize, 1);
    cluster.put(&bucket, "k", &bytes).await.unwrap();
    let old = stream_of(&cluster, &bucket, "k").await;
    let mut reading = cluster.open(&bucket, "k").await.unwrap().read(0..u64::MAX);
    let first = reading.next().await.unwrap().unwrap();
    assert_eq!(first[..], bytes[..first.len()]);
    cluster.delete(&bucket, "k").await;
    cluster
        .put(&bucket, "k", &pattern(10 * CHUNK as usize, 2))
        .await
        .unwrap();
    for number in 0..3 {
        for chunk in 0..old.chunks() {
            cluster.data.lose(device(number), chunk_key(&old, chunk)).await;
        }
    }
    let rest: Result<Vec<_>, _> = reading.try_collect().await;
    assert_eq!(rest.unwrap_err(), StoreError::NoSuchKey);
    assert_eq!(cluster.short(bucket.info.shard), [], "a deleted stream is not lost");
}

#[tokio::test(start_paused = true)]
async fn mem_1_slow_clients_hold_no_more_than_the_pool() {
    let mut shape = Shape::default();
    shape.options.chunk_bytes = 128 * 1024;
    shape.options.read_slice_bytes = 64 * 1024;
    shape.options.read_pool_bytes = 40 * 64 * 1024;
    let cluster = Cluster::new(shape);
    let bucket = cluster.bucket("b").await;
    let bytes = pattern(600_000, 1);
    cluster.put(&bucket, "k", &bytes).await.unwrap();
    let pool = cluster.store.inner.read_pool.clone();
    let mut readers = Vec::new();
    for _ in 0..15 {
        let mut reading = cluster.open(&bucket, "k").await.unwrap().read(0..u64::MAX);
        let first = reading.next().await.unwrap().unwrap();
        readers.push((first.to_vec(), reading));
        assert!(pool.used_bytes() <= 40 * 64 * 1024);
    }
    for (mut read, mut reading) in readers {
        while let Some(piece) = reading.next().await {
            read.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(read, bytes);
    }
    cluster.settle().await;
    assert_eq!(pool.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn locate_names_every_copy() {
    let cluster = Cluster::with_chunks_of(CHUNK);
    let bucket = cluster.bucket("b").await;
    cluster
        .put(&bucket, "k", &pattern(3 * CHUNK as usize, 1))
        .await
        .unwrap();
    let stream = stream_of(&cluster, &bucket, "k").await;
    cluster.data.lose(device(0), chunk_key(&stream, 2)).await;
    cluster.data.set_health(device(1), Health::Down);
    let request = cluster.request();
    let found = cluster
        .store
        .locate(&request, &bucket, b"k", super::LATEST, LocateDepth::Index, 100)
        .await
        .unwrap();
    assert!(!found.truncated);
    let chunk = &found.streams[0].chunks[2];
    let state = |number| {
        chunk
            .copies
            .iter()
            .find(|copy| copy.device == device(number))
            .map(|copy| copy.state)
    };
    assert_eq!(state(0), Some(CopyState::Absent));
    assert_eq!(state(1), Some(CopyState::Unreachable));
    assert_eq!(state(2), Some(CopyState::Ok));
    let found = cluster
        .store
        .locate(&request, &bucket, b"k", super::LATEST, LocateDepth::Index, 2)
        .await
        .unwrap();
    assert!(found.truncated && found.streams[0].chunks.len() == 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn ranges_are_slices_of_the_bytes(
        len in 4097_usize..700_000,
        ranges in prop::collection::vec(any::<(u32, u32)>(), 8),
        slice_bytes in 10_000_u32..150_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut shape = Shape::default();
            shape.options.chunk_bytes = CHUNK;
            shape.options.read_slice_bytes = slice_bytes;
            let cluster = Cluster::new(shape);
            let bucket = cluster.bucket("b").await;
            let bytes = pattern(len, 9);
            cluster.put(&bucket, "k", &bytes).await.unwrap();
            for (at, size) in ranges {
                let start = at as usize % len;
                let end = (start + size as usize % (2 * CHUNK as usize)).min(len);
                let read = cluster.get_range(&bucket, "k", start as u64..end as u64).await.unwrap();
                assert!(read == bytes[start..end], "{start}..{end}");
            }
        });
    }
}
