//! Rings that follow each other while the cluster is in use (REB-1).

use metadata::model::PolicyId;
use metadata::reply::Refusal;
use storage_node::client::{DataPlane, Phase, RingChangeError};
use storage_node::node::WorkOptions;

use super::node_kit::growing::{AT_ONCE, builder, four, without_the_first};
use super::node_kit::{CHUNK, Cluster, DEADLINE, quick, until};

fn no_limit() -> WorkOptions {
    WorkOptions {
        move_bytes_per_second: 0,
        ..quick()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reb_1_a_new_device_gets_its_copies_before_any_is_removed_and_late_commits_are_refused() {
    let mut cluster = Cluster::start(no_limit()).await;
    let mut streams = cluster.put_some("before", 12).await;
    // Placed by the first ring, committed in the middle of the change; and a body whose commit comes too late.
    let middle = cluster.write_placed(2 * u64::from(CHUNK)).await;
    let late = cluster.write_placed(u64::from(CHUNK)).await;
    cluster.grow().await;

    // The copies rest, so that the middle of the change lasts as long as the test needs it.
    cluster.client.pause_ring(PolicyId(0), true, DEADLINE).await.unwrap();
    let applied = cluster
        .client
        .apply_ring(PolicyId(0), &four(), AT_ONCE, DEADLINE)
        .await
        .unwrap();
    assert_eq!((applied.replicas_moved, applied.state.phase), (12, Phase::Copying));
    until("every process knows both rings", async || {
        cluster
            .everybody()
            .all(|client| client.rings(PolicyId(0)).is_some_and(|live| live.moving()))
    })
    .await;
    assert_eq!(cluster.commit("middle", middle.clone()).await.map(drop), Ok(()));
    streams.insert("middle".into(), middle.stream);
    streams.extend(cluster.put_some("during", 6).await);
    let third = cluster.client.apply_ring(PolicyId(0), &four(), AT_ONCE, DEADLINE).await;
    assert!(matches!(third, Err(RingChangeError::State(_))), "{third:?}");
    assert_eq!(cluster.ring_state().await.phase, Phase::Copying);

    cluster.client.pause_ring(PolicyId(0), false, DEADLINE).await.unwrap();
    cluster.settled().await;
    assert!(cluster.all_in_place(&streams, false).await);
    assert_eq!(
        cluster.commit("late", late.clone()).await,
        Err(Refusal::RingRetired { fence: 2 })
    );
    let mut again = late;
    again.stream.ring_version = 2;
    assert!(cluster.commit("late", again).await.is_ok());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reb_1_a_change_outlives_restarts_and_an_abort_brings_everything_back() {
    // So slow that it does not end by itself.
    let slow = WorkOptions {
        move_bytes_per_second: 1,
        ..quick()
    };
    let mut cluster = Cluster::start(slow).await;
    let mut streams = cluster.put_some("before", 8).await;
    let fourth = cluster.grow().await;
    cluster
        .client
        .apply_ring(PolicyId(0), &four(), AT_ONCE, DEADLINE)
        .await
        .unwrap();
    until("the test knows both rings", async || {
        cluster.client.rings(PolicyId(0)).is_some_and(|live| live.moving())
    })
    .await;
    streams.extend(cluster.put_some("during", 8).await);
    cluster.stop(fourth).await;
    cluster.restart(fourth).await;
    let leader = cluster.leader(metadata::ids::ShardId::SYSTEM).await;
    cluster.stop(leader).await;
    cluster.restart(leader).await;
    assert_eq!(cluster.ring_state().await.phase, Phase::Copying);

    cluster.client.abort_ring(PolicyId(0), DEADLINE).await.unwrap();
    cluster
        .client
        .throttle_ring(PolicyId(0), Some(0), DEADLINE)
        .await
        .unwrap();
    cluster.settled().await;
    let state = cluster.ring_state().await;
    assert_eq!((state.current.version, state.current.epoch), (1, 3));
    assert!(cluster.all_in_place(&streams, false).await);
    // The same file again, and this time it stays.
    cluster
        .client
        .apply_ring(PolicyId(0), &four(), AT_ONCE, DEADLINE)
        .await
        .unwrap();
    cluster.settled().await;
    assert_eq!(cluster.ring_state().await.current.version, 2);
    assert!(cluster.all_in_place(&streams, false).await);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heal_1_a_failed_device_is_rebuilt_onto_the_others_and_given_back() {
    let mut cluster = Cluster::start(no_limit()).await;
    cluster.grow().await;
    cluster
        .client
        .apply_ring(PolicyId(0), &four(), AT_ONCE, DEADLINE)
        .await
        .unwrap();
    cluster.settled().await;
    let streams = cluster.put_some("k", 12).await;
    cluster.stop(1).await;
    let failed = Cluster::device(1);
    cluster
        .client
        .device_failed(PolicyId(0), failed, true, DEADLINE)
        .await
        .unwrap();
    cluster.settled().await;
    let live = cluster.client.rings(PolicyId(0)).unwrap();
    let named = |placement| live.primaries(placement).contains(&failed);
    assert!(
        !streams
            .values()
            .any(|stream| named(storage_node::client::chunk_key(stream, 0).placement))
    );
    assert!(cluster.all_in_place(&streams, false).await);

    cluster.restart(1).await;
    cluster
        .client
        .device_failed(PolicyId(0), failed, false, DEADLINE)
        .await
        .unwrap();
    cluster.settled().await;
    assert!(cluster.all_in_place(&streams, false).await);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reb_1_a_ring_that_does_not_fit_is_refused_with_a_sentence() {
    let cluster = Cluster::start(quick()).await;
    let apply = async |ring: &ring::Ring| cluster.client.apply_ring(PolicyId(0), ring, AT_ONCE, DEADLINE).await;
    let unknown = apply(&four()).await.unwrap_err();
    assert!(unknown.to_string().contains("unknown to the cluster"), "{unknown}");
    let older = apply(&builder().ring().unwrap()).await.unwrap_err();
    assert!(older.to_string().contains("version 1"), "{older}");
    assert_eq!(cluster.ring_state().await.phase, Phase::Settled);
    assert!(cluster.client.abort_ring(PolicyId(0), DEADLINE).await.is_err());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reb_1_a_node_is_added_and_another_drained_of_copies_and_of_seats() {
    let mut cluster = Cluster::start(no_limit()).await;
    let mut streams = cluster.put_some("first", 12).await;
    cluster.grow().await;
    cluster
        .client
        .apply_ring(PolicyId(0), &four(), AT_ONCE, DEADLINE)
        .await
        .unwrap();
    cluster.settled().await;
    until("the new node holds its share of seats", async || {
        cluster
            .seats()
            .await
            .is_some_and(|seats| seats[3] == 2 && seats.iter().sum::<usize>() == 9)
    })
    .await;
    until("every chunk lies where it belongs and nowhere else", async || {
        cluster.all_in_place(&streams, true).await
    })
    .await;
    streams.extend(cluster.put_some("second", 6).await);

    let ring = without_the_first();
    cluster
        .client
        .apply_ring(PolicyId(0), &ring, AT_ONCE, DEADLINE)
        .await
        .unwrap();
    cluster.settled().await;
    until("the drained node holds nothing and votes nowhere", async || {
        let empty = cluster
            .node(0)
            .devices()
            .all()
            .iter()
            .all(|(_, device)| device.usage().blobs == 0);
        empty && cluster.seats().await.is_some_and(|seats| seats == [0, 3, 3, 3])
    })
    .await;
    assert!(cluster.all_in_place(&streams, true).await);
    assert_eq!(cluster.summary().await.short_chunks, 0);
    cluster.stop(0).await;
    streams.extend(cluster.put_some("third", 3).await);
    assert!(cluster.all_in_place(&streams, false).await);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dur_3_a_deleted_blob_on_a_node_that_was_away_is_never_copied_back() {
    let options = WorkOptions {
        reclaim_delay_ms: 1000,
        reclaim_patience_ms: 1000,
        repair_interval: std::time::Duration::from_millis(100),
        // By jobs for whole partitions: the queues' shards would refuse what does not live by themselves.
        repair_queued_max: 0,
        ..no_limit()
    };
    let mut cluster = Cluster::start(options).await;
    let kept = cluster.put_some("kept", 4).await;
    let gone = cluster.put_some("gone", 4).await;
    cluster.stop(2).await;
    for key in gone.keys() {
        cluster.delete(key).await;
    }
    cluster.pass(5_000).await;
    until("the others have let go", async || {
        cluster.summary().await.reclaim_streams == 0
    })
    .await;
    let others = |cluster: &Cluster| -> u64 {
        let devices = [0, 1].into_iter().flat_map(|node| cluster.node(node).devices().all());
        devices.map(|(_, device)| device.usage().blobs).sum()
    };
    let chunks: u64 = kept.values().map(|stream| u64::from(stream.chunks())).sum();
    assert_eq!(others(&cluster), 2 * chunks);
    cluster.restart(2).await;
    until("the devices were compared", async || {
        (0..3).all(|node| {
            let status = cluster.node(node).status();
            status
                .work
                .iter()
                .any(|line| line.name.starts_with("repair of") && line.state.starts_with("compared 16"))
        })
    })
    .await;
    assert_eq!(others(&cluster), 2 * chunks);
    assert_eq!(
        cluster.node(2).devices().all()[0].1.usage().blobs,
        chunks + gone.values().map(|stream| u64::from(stream.chunks())).sum::<u64>()
    );
    assert!(cluster.all_in_place(&kept, true).await);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heal_1_a_device_that_comes_back_empty_is_filled_by_partition_jobs() {
    let options = WorkOptions {
        repair_interval: std::time::Duration::from_millis(200),
        repair_queued_max: 1,
        ..no_limit()
    };
    let cluster = Cluster::start(options).await;
    let streams = cluster.put_some("k", 40).await;
    // As a new disk in the old one's place would be.
    let keys: Vec<_> = streams
        .values()
        .flat_map(|stream| (0..stream.chunks()).map(|chunk| storage_node::client::chunk_key(stream, chunk)))
        .collect();
    cluster
        .client
        .remove_blobs(Cluster::device(1), keys, DEADLINE)
        .await
        .unwrap();
    until("all copies are back", async || {
        cluster.all_in_place(&streams, true).await
    })
    .await;
    until("and the queue is empty", async || {
        cluster.summary().await.short_chunks == 0
    })
    .await;
    cluster.end().await;
}
