//! Buckets of an erasure coded policy.

use std::time::Duration;

use metadata::ids::NodeId;
use metadata::model::{Body, PolicyId, Stream};
use storage_node::client::{PolicyKind, chunk_key};

use super::*;
use crate::testing::{Health, Shape};
use crate::{CopyState, Lack, LocateDepth};

const CHUNK: u32 = 16 * 1024;
/// ec-4-2.
const CODED: PolicyKind = PolicyKind::ErasureCoded { data: 4, parity: 2 };

/// A cluster with a bucket of ec-4-2.
async fn coded(nodes: u64, devices_per_node: u32) -> (Cluster, Bucket) {
    let mut shape = Shape {
        nodes,
        devices_per_node,
        ..Shape::default()
    };
    shape.options.chunk_bytes = CHUNK;
    let cluster = Cluster::new(shape);
    let policy = cluster.data.add_policy("ec-4-2", CODED);
    assert_eq!(policy, PolicyId(1));
    let made = cluster
        .store
        .create_bucket_under(&cluster.request(), "b", true, policy)
        .await;
    (cluster, made.unwrap().0)
}

async fn stream_of(cluster: &Cluster, bucket: &Bucket, key: &str) -> Stream {
    match cluster.open(bucket, key).await.unwrap().head.object.body {
        Body::Stream(stream) => stream,
        other => panic!("unexpected body {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn dur_1_every_chunk_lies_in_six_fragments_each_on_a_device_of_its_own() {
    let (cluster, bucket) = coded(6, 1).await;
    for (number, len) in [5000, CHUNK as usize, 3 * CHUNK as usize + 1, 200_000]
        .into_iter()
        .enumerate()
    {
        let (key, bytes) = (format!("k{number}"), pattern(len, number as u64 + 1));
        let before = cluster.data.copies().await;
        cluster.put(&bucket, &key, &bytes).await.unwrap();
        cluster.settle().await;
        let chunks = len.div_ceil(CHUNK as usize);
        assert_eq!(cluster.data.copies().await - before, 6 * chunks);
        assert_eq!(cluster.get(&bucket, &key).await.unwrap(), bytes);
        for range in [0..1, 63..4097, 4999..5000, 3000..70_000, 16_383..16_385] {
            let within = range.start.min(len)..range.end.min(len);
            let read = cluster
                .get_range(&bucket, &key, range.start as u64..range.end as u64)
                .await
                .unwrap();
            assert_eq!(read, bytes[within]);
        }
        let stream = stream_of(&cluster, &bucket, &key).await;
        for device in cluster.data.devices() {
            let of_it = cluster
                .data
                .blobs(device)
                .await
                .into_iter()
                .filter(|key| key.id.write == stream.write);
            let mut numbers: Vec<u32> = of_it.map(|key| key.id.number()).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..stream.chunks()).collect::<Vec<_>>());
        }
    }
    assert!(cluster.short(bucket.info.shard).is_empty());
    // Small objects lie in the shard all the same.
    let before = cluster.data.copies().await;
    cluster.put(&bucket, "small", &pattern(4096, 9)).await.unwrap();
    assert_eq!(cluster.data.copies().await, before);
}

#[tokio::test(start_paused = true)]
async fn dur_1_any_two_devices_may_be_lost_and_every_byte_is_read() {
    let (cluster, bucket) = coded(6, 1).await;
    let bytes = pattern(2 * CHUNK as usize + 700, 1);
    cluster.put(&bucket, "k", &bytes).await.unwrap();
    cluster.settle().await;
    for health in [Health::Down, Health::JustDied, Health::Hangs] {
        for (one, other) in (0..6).flat_map(|one| (one + 1..6).map(move |other| (one, other))) {
            cluster.data.set_health(device(one), health);
            cluster.data.set_health(device(other), health);
            assert_eq!(
                cluster.get(&bucket, "k").await.unwrap(),
                bytes,
                "without {one} and {other}, {health:?}"
            );
            let range = CHUNK as usize - 5000..CHUNK as usize + 70;
            let read = cluster
                .get_range(&bucket, "k", range.start as u64..range.end as u64)
                .await
                .unwrap();
            assert_eq!(read, bytes[range]);
            cluster.data.set_health(device(one), Health::Good);
            cluster.data.set_health(device(other), Health::Good);
        }
    }
    for lost in 0..3 {
        cluster.data.set_health(device(lost), Health::JustDied);
    }
    assert!(matches!(
        cluster.get(&bucket, "k").await,
        Err(StoreError::Unavailable(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn int_1_a_damaged_fragment_is_never_served_and_is_told() {
    let (cluster, bucket) = coded(6, 1).await;
    let bytes = pattern(2 * CHUNK as usize, 1);
    cluster.put(&bucket, "k", &bytes).await.unwrap();
    cluster.settle().await;
    let stream = stream_of(&cluster, &bucket, "k").await;
    let key = chunk_key(&stream, 1);
    let home = |number: u8| {
        cluster
            .store
            .inner
            .placement(PolicyId(1))
            .unwrap()
            .primaries(key.piece(number))[0]
    };
    cluster.data.corrupt(home(2), &key.piece(2), 10);
    cluster.data.lose(home(0), key.piece(0)).await;
    assert_eq!(cluster.get(&bucket, "k").await.unwrap(), bytes);
    cluster.settle().await;
    let short = cluster.short(bucket.info.shard);
    assert_eq!(
        short.iter().map(|range| (range.first, range.count)).collect::<Vec<_>>(),
        [(1, 1)]
    );
    let mut others = [1, 3, 4, 5].map(home);
    others.sort_unstable();
    assert_eq!(short[0].devices, others);

    let request = cluster.request();
    let found = cluster
        .store
        .verify(&request, &bucket, None, 10, LocateDepth::Bytes)
        .await
        .unwrap();
    assert_eq!((found.chunks, found.copies), (2, 10));
    assert_eq!(
        found
            .problems
            .iter()
            .map(|one| (one.kind, one.chunks))
            .collect::<Vec<_>>(),
        [(Lack::Short, 1)]
    );
    let located = cluster
        .store
        .locate(&request, &bucket, b"k", LATEST, LocateDepth::Bytes, 10)
        .await
        .unwrap();
    let copies = &located.streams[0].chunks[1].copies;
    let states: Vec<_> = copies
        .iter()
        .map(|copy| (copy.fragment, copy.device, copy.state))
        .collect();
    let wanted = [0, 1, 2, 3, 4, 5].map(|number| {
        let state = match number {
            0 => CopyState::Absent,
            2 => CopyState::Corrupt,
            _ => CopyState::Ok,
        };
        (Some(number), home(number), state)
    });
    assert_eq!(states, wanted);

    // One more than parity is too much, and is said so.
    cluster.data.lose(home(5), key.piece(5)).await;
    assert_eq!(cluster.get_range(&bucket, "k", 0..100).await.unwrap(), bytes[..100]);
    assert!(matches!(cluster.get(&bucket, "k").await, Err(StoreError::Lost)));
    let found = cluster
        .store
        .verify(&request, &bucket, None, 10, LocateDepth::Index)
        .await
        .unwrap();
    assert_eq!(
        found.problems.iter().map(|one| one.kind).collect::<Vec<_>>(),
        [Lack::Short]
    );
}

#[tokio::test(start_paused = true)]
async fn dur_1_a_write_needs_five_fragments_and_what_is_missing_is_short() {
    let (cluster, bucket) = coded(6, 1).await;
    let bytes = pattern(3 * CHUNK as usize, 1);
    cluster.data.set_health(device(4), Health::JustDied);
    cluster.put(&bucket, "k", &bytes).await.unwrap();
    cluster.settle().await;
    let short = cluster.short(bucket.info.shard);
    assert_eq!(short.iter().map(|range| range.count).sum::<u32>(), 3);
    assert!(short.iter().all(|range| range.devices.len() == 5));
    assert_eq!(cluster.get(&bucket, "k").await.unwrap(), bytes);
    let before = cluster.data.copies().await;
    cluster.data.set_health(device(1), Health::JustDied);
    let refused = cluster.put(&bucket, "refused", &bytes).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    cluster.settle().await;
    assert_eq!(cluster.data.copies().await, before, "what was begun is taken back");
}

#[tokio::test(start_paused = true)]
async fn dur_1_three_nodes_stop_writes_without_one_and_four_go_on() {
    for (nodes, goes_on) in [(3, false), (4, true)] {
        let (cluster, bucket) = coded(nodes, 2).await;
        let bytes = pattern(2 * CHUNK as usize, nodes);
        cluster.put(&bucket, "before", &bytes).await.unwrap();
        cluster.data.set_node_health(NodeId(2), Health::JustDied);
        let put = cluster.put(&bucket, "k", &bytes).await;
        assert_eq!(put.is_ok(), goes_on, "{put:?}");
        assert_eq!(cluster.get(&bucket, "before").await.unwrap(), bytes);
        if goes_on {
            assert_eq!(cluster.get(&bucket, "k").await.unwrap(), bytes);
            // Any further node may be lost.
            for lost in [1, 3, 4].map(NodeId) {
                cluster.data.set_node_health(lost, Health::JustDied);
                assert_eq!(cluster.get(&bucket, "k").await.unwrap(), bytes);
                cluster.data.set_node_health(lost, Health::Good);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_device_is_accompanied_and_a_slow_fragment_hedged() {
    let (cluster, bucket) = coded(8, 1).await;
    let bytes = pattern(2 * CHUNK as usize, 1);
    for slow in [0, 1, 2] {
        cluster
            .data
            .set_health(device(slow), Health::Slow(Duration::from_secs(8)));
    }
    let begun = tokio::time::Instant::now();
    cluster.put(&bucket, "k", &bytes).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    cluster.settle().await;
    let begun = tokio::time::Instant::now();
    assert_eq!(cluster.get(&bucket, "k").await.unwrap(), bytes);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn dur_3_a_broken_off_body_of_fragments_is_taken_back() {
    let (cluster, bucket) = coded(6, 1).await;
    let put = PutObject {
        length: Some(u64::from(3 * CHUNK)),
        ..PutObject::plain()
    };
    let short = pattern(2 * CHUNK as usize, 3);
    let broken = cluster
        .store
        .put_object(&cluster.request(), &bucket, "k".into(), put, body(&short))
        .await;
    assert!(broken.is_err());
    cluster.settle().await;
    assert_eq!(cluster.data.copies().await, 0);
}
