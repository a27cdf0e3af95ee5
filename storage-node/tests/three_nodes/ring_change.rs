//! Rings that follow each other while the cluster is in use (REB-1).

use metadata::model::PolicyId;
use metadata::reply::Refusal;
use storage_node::client::{DataPlane, Phase, RingChangeError};
use storage_node::node::WorkOptions;

use super::node_kit::growing::{AT_ONCE, builder, four};
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
