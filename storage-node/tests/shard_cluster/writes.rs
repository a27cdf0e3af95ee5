//! Commands of three nodes: decided once, seen everywhere, synced before they are acknowledged.

use std::time::Duration;

use crate::kit::{Cluster, SYSTEM, get_from, put_record, put_record_if};
use metadata::command::RecordCondition;
use metadata::ids::NodeId;
use metadata::reply::Done;
use storage_node::shard::{ReadFrom, ShardFault};
use storage_node::wire::CallKind;

#[tokio::test(flavor = "multi_thread")]
async fn con_1_a_read_after_an_acknowledgement_sees_the_write_from_any_node() {
    let cluster = Cluster::start(3, |_| {}).await;
    cluster.leader(SYSTEM).await;
    for round in 0..20 {
        cluster.put("key", &round.to_string()).await;
        for node in cluster.running() {
            let seen = get_from(&cluster.node(node), "key", ReadFrom::AnyReplica)
                .await
                .unwrap();
            assert_eq!(seen, Some(round.to_string()), "node {node}");
        }
    }
    let leader = cluster.leader(SYSTEM).await;
    let follower = cluster.running().into_iter().find(|node| *node != leader).unwrap();
    let refused = get_from(&cluster.node(follower), "key", ReadFrom::Leader).await;
    assert_eq!(refused, Err(ShardFault::NotLeader { leader: Some(leader) }));
}

#[tokio::test(flavor = "multi_thread")]
async fn con_1_a_repeat_under_the_same_request_id_changes_nothing() {
    let cluster = Cluster::start(3, |_| {}).await;
    let request = cluster.request();
    let command = put_record_if("key", "a", RecordCondition::Absent);
    let first = cluster.propose_as(SYSTEM, request, command.clone()).await;
    assert!(matches!(first, Ok(Done::Record { .. })), "{first:?}");
    assert_eq!(cluster.propose_as(SYSTEM, request, command).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_writers_share_syncs() {
    let cluster = Cluster::start(3, |_| {}).await;
    let leader = cluster.leader(SYSTEM).await;
    cluster.put("warm", "up").await;
    for faults in cluster.faults.values() {
        faults.set_sync_delay(Duration::from_millis(5));
    }
    let before: Vec<u64> = cluster.faults.values().map(|faults| faults.syncs_begun()).collect();
    let writes = (0..64).map(|writer| {
        let (cluster, node) = (&cluster, cluster.node(leader));
        async move {
            let command = put_record(&format!("key-{writer}"), "value");
            let envelope = metadata::command::Envelope {
                request: cluster.request(),
                command,
            };
            node.propose(SYSTEM, vec![envelope]).await.unwrap()
        }
    });
    futures::future::join_all(writes).await;
    for (faults, before) in cluster.faults.values().zip(before) {
        let syncs = faults.syncs_begun() - before;
        assert!(syncs <= 16, "64 writes took {syncs} syncs on one node");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_readers_share_rounds() {
    let cluster = Cluster::start(3, |_| {}).await;
    cluster.put("key", "value").await;
    let leader = cluster.leader(SYSTEM).await;
    let before = cluster.net.delivered(CallKind::RaftAppend);
    let reads = (0..64).map(|_| {
        let node = cluster.node(leader);
        async move { get_from(&node, "key", ReadFrom::Leader).await.unwrap() }
    });
    for seen in futures::future::join_all(reads).await {
        assert_eq!(seen, Some("value".into()));
    }
    let messages = cluster.net.delivered(CallKind::RaftAppend) - before;
    assert!(messages <= 32, "64 reads took {messages} messages to two followers");
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_1_nothing_is_acknowledged_before_a_majority_has_synced() {
    let cluster = Cluster::start(3, |_| {}).await;
    let leader = cluster.leader(SYSTEM).await;
    cluster.put("key", "before").await;
    // The followers' disks hang: the leader's own sync is not a majority.
    for (node, faults) in &cluster.faults {
        if *node != leader {
            faults.set_sync_delay(Duration::from_secs(3));
        }
    }
    let node = cluster.node(leader);
    let envelope = metadata::command::Envelope {
        request: cluster.request(),
        command: put_record("key", "after"),
    };
    let write = tokio::spawn(async move { node.propose(SYSTEM, vec![envelope]).await });
    let early = tokio::time::timeout(Duration::from_secs(1), write).await;
    assert!(
        early.is_err(),
        "acknowledged while two of three disks had not synced: {early:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_4_a_failed_sync_stops_the_store_and_acknowledges_nothing() {
    let mut cluster = Cluster::start(1, |_| {}).await;
    let me = NodeId(1);
    cluster.put("key", "kept").await;
    cluster.faults[&me].fail_syncs();
    let node = cluster.node(me);
    for _ in 0..2 {
        let envelope = metadata::command::Envelope {
            request: cluster.request(),
            command: put_record("key", "lost"),
        };
        let refused = node.propose(SYSTEM, vec![envelope]).await;
        assert!(matches!(refused, Err(ShardFault::Fatal(_))), "{refused:?}");
    }
    assert!(node.status().store_failed.is_some());
    drop(node);
    cluster.stop(me).await;
    cluster.faults.insert(me, std::sync::Arc::default());
    cluster.open(me).await;
    assert!(
        cluster.get("key").await.is_some(),
        "what was acknowledged is still there"
    );
}
