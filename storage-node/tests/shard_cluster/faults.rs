//! Lost leaders, lost nodes, restarts, followers that were away.

use std::sync::Arc;
use std::time::Duration;

use crate::kit::{Cluster, PATIENCE, SYSTEM, get_from, put_record, put_record_if};
use metadata::command::RecordCondition;
use metadata::ids::NodeId;
use metadata::reply::Done;
use storage_node::shard::{LogLimits, ReadFrom};
use storage_node::wire::CallKind;

#[tokio::test(flavor = "multi_thread")]
async fn con_1_a_leader_killed_during_writes_loses_and_repeats_nothing() {
    let cluster = Arc::new(Cluster::start(3, |_| {}).await);
    let leader = cluster.leader(SYSTEM).await;
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let cluster = Arc::clone(&cluster);
            tokio::spawn(async move {
                let key = format!("counter-{writer}");
                let mut expect = RecordCondition::Absent;
                for count in 1..=40 {
                    // Each put names the version the one before it made: a lost or doubled one shows.
                    let reply = cluster
                        .propose(SYSTEM, put_record_if(&key, &count.to_string(), expect))
                        .await;
                    let Ok(Done::Record { version }) = reply else {
                        panic!("{key} at {count}: {reply:?}")
                    };
                    expect = RecordCondition::Version(version);
                }
            })
        })
        .collect();
    cluster
        .until("some writes are done", || {
            (cluster.applied_index(leader, SYSTEM) > Some(6)).then_some(())
        })
        .await;
    cluster.stop(leader).await;
    for writer in writers {
        writer.await.unwrap();
    }
    for writer in 0..16 {
        assert_eq!(cluster.get(&format!("counter-{writer}")).await, Some("40".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn con_1_a_leader_cut_off_serves_no_stale_read() {
    let cluster = Cluster::start(3, |_| {}).await;
    let old = cluster.leader(SYSTEM).await;
    cluster.put("key", "old").await;
    cluster.net.isolate(old);
    let others: Vec<_> = cluster.running().into_iter().filter(|node| *node != old).collect();
    let new = cluster
        .until("the others elect a leader", || {
            cluster.node(others[0]).leader(SYSTEM).filter(|leader| *leader != old)
        })
        .await;
    cluster
        .until("it leads", || {
            cluster.node(new).leader(SYSTEM).filter(|leader| *leader == new)
        })
        .await;
    let request = cluster.request();
    let began = std::time::Instant::now();
    loop {
        let envelope = metadata::command::Envelope {
            request,
            command: put_record("key", "new"),
        };
        if cluster.node(new).propose(SYSTEM, vec![envelope]).await.is_ok() {
            break;
        }
        assert!(began.elapsed() < PATIENCE);
    }
    let stale = get_from(&cluster.node(old), "key", ReadFrom::Leader).await;
    assert!(stale.is_err(), "a leader without a majority answered {stale:?}");
    cluster.net.heal();
    assert_eq!(cluster.get("key").await, Some("new".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_1_a_restart_of_all_nodes_finds_everything() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    for write in 0..50 {
        cluster.put(&format!("key-{write}"), "value").await;
    }
    let nodes = cluster.running();
    for node in &nodes {
        cluster.stop(*node).await;
    }
    for node in &nodes {
        cluster.open(*node).await;
    }
    for write in 0..50 {
        assert_eq!(cluster.get(&format!("key-{write}")).await, Some("value".into()));
    }
    cluster.put("key-0", "again").await;
    assert_eq!(cluster.get("key-0").await, Some("again".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_away_catches_up_from_the_log() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    let leader = cluster.leader(SYSTEM).await;
    let away = cluster.running().into_iter().find(|node| *node != leader).unwrap();
    cluster.stop(away).await;
    for write in 0..200 {
        cluster.put(&format!("key-{write}"), "value").await;
    }
    let last = cluster.applied_index(leader, SYSTEM).unwrap();
    let back = cluster.open(away).await;
    cluster.applied(away, SYSTEM, last).await;
    assert_eq!(
        get_from(&back, "key-199", ReadFrom::Local).await.unwrap(),
        Some("value".into())
    );
    assert_eq!(purged(&cluster, away), None, "it came from the log");
}

/// What waits to be applied lies in memory: a node that catches up took more of it the longer it had been away.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_sent_little_more_than_it_applies() {
    const UNAPPLIED_BYTES_MAX: u64 = 16 << 20;
    const ONE_MESSAGE: u64 = 4 << 20;
    let mut cluster = Cluster::start(3, |_| {}).await;
    let leader = cluster.leader(SYSTEM).await;
    let away = cluster.running().into_iter().find(|node| *node != leader).unwrap();
    cluster.stop(away).await;
    let large = "v".repeat(1 << 20);
    for write in 0..32 {
        cluster.put(&format!("key-{write}"), &large).await;
    }
    let last = cluster.applied_index(leader, SYSTEM).unwrap();
    cluster.faults[&away].hold_rows(true);
    let back = cluster.open(away).await;
    let log_bytes = || back.status().shards[0].log_bytes;
    let full = || (log_bytes() + ONE_MESSAGE > UNAPPLIED_BYTES_MAX).then_some(());
    cluster.until("it was sent what it may keep waiting", full).await;
    let sent = cluster.net.delivered(CallKind::RaftAppend);
    let more = || (cluster.net.delivered(CallKind::RaftAppend) > sent + 30).then_some(());
    cluster.until("more was tried", more).await;
    assert!(log_bytes() <= UNAPPLIED_BYTES_MAX + ONE_MESSAGE, "{}", log_bytes());
    cluster.faults[&away].hold_rows(false);
    cluster.applied(away, SYSTEM, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_away_too_long_is_sent_a_snapshot() {
    let mut cluster = Cluster::start(3, |options| {
        options.log_limits = LogLimits {
            bytes_max: 64 * 1024,
            age_min: Duration::ZERO,
            bytes_hard_max: u64::MAX,
            age_max: Duration::from_secs(3600),
        };
        options.log_cache_bytes = 64 * 1024;
        options.upkeep.interval = Duration::from_millis(50);
    })
    .await;
    let leader = cluster.leader(SYSTEM).await;
    let away = cluster.running().into_iter().find(|node| *node != leader).unwrap();
    cluster.put("key-first", "value").await;
    cluster.stop(away).await;
    let large = "v".repeat(200 * 1024);
    for write in 0..20 {
        cluster.put(&format!("key-{write}"), &large).await;
    }
    let at_leave = 10;
    cluster
        .until("the leader has purged its log", || {
            purged(&cluster, leader).filter(|index| *index > at_leave)
        })
        .await;
    let last = cluster.applied_index(leader, SYSTEM).unwrap();
    let back = cluster.open(away).await;
    cluster.applied(away, SYSTEM, last).await;
    assert!(purged(&cluster, away).is_some(), "it came by snapshot");
    assert_eq!(
        get_from(&back, "key-first", ReadFrom::Local).await.unwrap(),
        Some("value".into())
    );
    assert!(
        get_from(&back, "key-19", ReadFrom::Local).await.unwrap() == Some(large),
        "all of a large row"
    );
    // It is a full member again: the other follower may go.
    let other = cluster
        .running()
        .into_iter()
        .find(|node| *node != leader && *node != away)
        .unwrap();
    cluster.stop(other).await;
    cluster.put("key-first", "again").await;
    // And what it was given survives a restart.
    drop(back);
    cluster.stop(away).await;
    cluster.open(other).await;
    let back = cluster.open(away).await;
    assert!(get_from(&back, "key-3", ReadFrom::Local).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_at_another_leader_gets_the_first_reply() {
    let cluster = Cluster::start(3, |_| {}).await;
    let request = cluster.request();
    let command = put_record_if("key", "a", RecordCondition::Absent);
    let first = cluster.propose_as(SYSTEM, request, command.clone()).await;
    assert!(matches!(first, Ok(Done::Record { .. })), "{first:?}");
    let leader = cluster.leader(SYSTEM).await;
    cluster.stop(leader).await;
    assert_eq!(cluster.propose_as(SYSTEM, request, command).await, first);
}

fn purged(cluster: &Cluster, node: NodeId) -> Option<u64> {
    cluster.node(node).status().shards[0].purged_index
}
