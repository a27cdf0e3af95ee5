//! Three whole nodes in one process: shards, devices, wire, client and background work together.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test's own steps may panic; a test has no outside"
)]

#[path = "three_nodes/fragments.rs"]
mod fragments;
mod node_kit;
#[path = "three_nodes/policies.rs"]
mod policies;
#[path = "three_nodes/ring_change.rs"]
mod ring_change;

use std::time::Duration;

use metadata::command::{Command, RecordCondition};
use metadata::ids::{RequestId, ShardId};
use metadata::query::{Found, Query};
use metadata::reply::Done;
use node_kit::{CHUNK, Cluster, DEADLINE, inline, object_query, quick, until};
use storage_node::client::{DataPlane, MetadataPlane, STALENESS_MAX};
use storage_node::node::WorkOptions;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heal_1_a_node_that_was_away_gets_its_copies_and_the_queue_drains() {
    let mut cluster = Cluster::start(quick()).await;
    let before = cluster.store(3 * u64::from(CHUNK) + 5).await;
    cluster.put("before", before.clone()).await;
    assert_eq!(cluster.whole_copies(&before.stream).await, 3);
    assert_eq!(cluster.summary().await.short_chunks, 0);

    // The leader of the bucket's shard goes: the next command needs a new one, inside its deadline.
    let away = cluster.leader(cluster.shard()).await;
    cluster.stop(away).await;
    let during = cluster.store(2 * u64::from(CHUNK)).await;
    assert_eq!(during.short.len(), 2);
    cluster.put("during", during.clone()).await;
    assert_eq!(cluster.summary().await.short_chunks, 2);
    assert_eq!(cluster.whole_copies(&during.stream).await, 2);

    cluster.restart(away).await;
    until("the queue is empty", async || cluster.summary().await.short_chunks == 0).await;
    assert_eq!(cluster.whole_copies(&during.stream).await, 3);
    until("every node and shard answers, and none is short", async || {
        let status = cluster.client.cluster_status(DEADLINE).await;
        status.short_chunks() == Some(0) && status.nodes.iter().all(|(_, node)| node.is_ok())
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn con_1_a_repeat_under_the_same_request_id_changes_nothing_and_two_nodes_down_refuse() {
    let mut cluster = Cluster::start(quick()).await;
    let request = cluster.client.request_id();
    cluster.put_as(request, "k", inline("one")).await;
    let second = RequestId(request.0 + 1);
    cluster.put_as(second, "k", inline("two")).await;
    cluster.put_as(request, "k", inline("one")).await;
    let query = object_query(cluster.bucket.id, "k");
    let found = cluster
        .client
        .query(cluster.shard(), query, DEADLINE)
        .await
        .unwrap()
        .unwrap();
    assert!(
        matches!(&found, Found::Object(object) if object.inline.as_deref() == Some(b"two")),
        "{found:?}"
    );

    cluster.stop(0).await;
    cluster.stop(1).await;
    let (shard, query) = (cluster.shard(), object_query(cluster.bucket.id, "k"));
    let refused = cluster.client.query(shard, query.clone(), Duration::from_secs(2)).await;
    assert!(refused.is_err(), "{refused:?}");
    cluster.restart(0).await;
    let found = cluster.client.query(shard, query, DEADLINE).await.unwrap().unwrap();
    assert!(matches!(found, Found::Object(_)));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dur_3_deleted_blobs_stay_for_the_delay_and_orphans_for_the_grace() {
    let options = WorkOptions {
        reclaim_delay_ms: 3_600_000,
        orphan_grace_ms: 24 * 3_600_000,
        ..quick()
    };
    let cluster = Cluster::start(options).await;
    let kept = cluster.store(u64::from(CHUNK)).await;
    cluster.put("kept", kept.clone()).await;
    let deleted = cluster.store(2 * u64::from(CHUNK)).await;
    cluster.put("deleted", deleted.clone()).await;
    let orphan = cluster.store(u64::from(CHUNK)).await;
    assert_eq!(cluster.blobs(), 3 * 4);

    cluster.delete("deleted").await;
    cluster.pass(3_500_000).await;
    assert_eq!(cluster.summary().await.reclaim_streams, 1);
    assert_eq!(cluster.whole_copies(&deleted.stream).await, 3);
    cluster.pass(200_000).await;
    until("the deleted blobs are gone", async || cluster.blobs() == 3 * 2).await;
    until("the entry is dropped", async || {
        cluster.summary().await.reclaim_streams == 0
    })
    .await;
    assert_eq!(cluster.whole_copies(&orphan.stream).await, 3);

    cluster.pass(24 * 3_600_000).await;
    until("the orphan is gone", async || cluster.blobs() == 3).await;
    assert_eq!(cluster.whole_copies(&kept.stream).await, 3);
    // A commit that comes after the condemnation is refused: its blobs are gone.
    let late = cluster.client.propose(
        cluster.shard(),
        cluster.client.request_id(),
        Command::Condemn {
            writes: vec![orphan.stream.write, kept.stream.write],
        },
        DEADLINE,
    );
    assert_eq!(late.await.unwrap(), Ok(Done::Condemned(vec![orphan.stream.write])));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heal_1_copies_that_nobody_noted_as_missing_are_found_and_made_again() {
    let options = WorkOptions {
        missing_interval: Duration::from_millis(200),
        ..quick()
    };
    let cluster = Cluster::start(options).await;
    let stored = cluster.store(3 * u64::from(CHUNK)).await;
    cluster.put("k", stored.clone()).await;
    let keys = (0..3).map(|chunk| cluster.blob(&stored.stream, chunk).key).collect();
    cluster
        .client
        .remove_blobs(Cluster::device(1), keys, DEADLINE)
        .await
        .unwrap();
    until("all copies are back", async || {
        cluster.whole_copies(&stored.stream).await == 3
    })
    .await;
    until("the queue is empty", async || cluster.summary().await.short_chunks == 0).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_whose_deletion_was_cut_off_is_finished_or_given_back() {
    let cluster = Cluster::start(quick()).await;
    let tell = async |command: Command| {
        cluster
            .client
            .propose(ShardId::SYSTEM, cluster.client.request_id(), command, DEADLINE)
            .await
            .unwrap()
            .unwrap()
    };
    let create = |name: &str| Command::CreateBucket {
        project: "p".into(),
        name: name.into(),
        global: false,
        key_shards: 2,
    };
    let Done::Bucket { info: empty, .. } = tell(create("empty")).await else {
        panic!("no bucket")
    };
    cluster.put_as(cluster.client.request_id(), "k", inline("x")).await;
    tell(Command::BeginDeleteBucket { id: empty.id }).await;
    tell(Command::BeginDeleteBucket { id: cluster.bucket.id }).await;
    let find = async |id| {
        let query = Query::BucketById { id };
        match cluster
            .client
            .query(ShardId::SYSTEM, query, DEADLINE)
            .await
            .unwrap()
            .unwrap()
        {
            Found::Bucket(bucket) => bucket,
            other => panic!("{other:?}"),
        }
    };
    until("the empty bucket is gone", async || find(empty.id).await.is_none()).await;
    until("the full bucket is active again", async || {
        find(cluster.bucket.id)
            .await
            .is_some_and(|bucket| bucket.state == metadata::model::BucketState::Active)
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_1_a_right_taken_away_is_gone_from_every_copy_when_settling_returns() {
    let cluster = Cluster::start(quick()).await;
    let put = cluster
        .client
        .put_record("keys", "k", RecordCondition::Absent, "v".into(), DEADLINE)
        .await;
    put.unwrap();
    let query = Query::GetRecord {
        table: "keys".into(),
        key: "k".into(),
    };
    let seen = |client: &storage_node::client::ClusterClient| match client.query_system_copy(&query) {
        Some(Ok(Found::Record(record))) => Some(record.is_some()),
        _ => None,
    };
    let everybody = || {
        (0..3)
            .map(|number| cluster.node(number).client())
            .chain([&cluster.client])
    };
    until("all copies show the record", async || {
        everybody().all(|client| seen(client) == Some(true))
    })
    .await;
    for _ in 0..5 {
        let remove = Command::DeleteRecord {
            table: "keys".into(),
            key: "k".into(),
            expect: RecordCondition::Any,
        };
        let system = ShardId::SYSTEM;
        cluster
            .client
            .propose(system, cluster.client.request_id(), remove, DEADLINE)
            .await
            .unwrap()
            .unwrap();
        let begun = tokio::time::Instant::now();
        cluster.client.settle_system_copies().await;
        assert!(begun.elapsed() <= STALENESS_MAX + Duration::from_millis(500));
        assert!(
            everybody().all(|client| seen(client) != Some(true)),
            "a copy still shows what was taken away"
        );
        cluster
            .client
            .put_record("keys", "k", RecordCondition::Absent, "v".into(), DEADLINE)
            .await
            .unwrap();
        until("all copies show the record", async || {
            everybody().all(|client| seen(client) == Some(true))
        })
        .await;
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_rebuilt_while_the_node_runs_and_the_others_serve() {
    let cluster = Cluster::start(quick()).await;
    let stored = cluster.store(2 * u64::from(CHUNK)).await;
    cluster.put("k", stored.clone()).await;
    assert_eq!(cluster.node(1).rebuild_index(Cluster::device(1)).await.unwrap(), 2);
    assert_eq!(cluster.whole_copies(&stored.stream).await, 3);
    assert!(cluster.node(0).client().local(Cluster::device(0)));
    assert!(!cluster.node(0).client().local(Cluster::device(1)));
    assert!(cluster.data_dir(1).join("d0").is_dir());
    assert!(cluster.node(1).rebuild_index(Cluster::device(2)).await.is_err());
    cluster.end().await;
}
