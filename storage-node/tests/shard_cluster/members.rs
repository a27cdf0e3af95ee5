//! Members, leaders, clocks, and copies of the system shard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::kit::{Cluster, SYSTEM, get_from, put_record};
use bytes::Bytes;
use clock::{ManualClock, SystemClock, WallClock};
use metadata::ids::{NodeId, ShardId};
use storage_node::shard::calls::{WatchCall, WatchFrom};
use storage_node::shard::{LogLimits, ReadFrom, ShardFault, Shards};

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_replaced_by_another_node() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    cluster.put("key", "before").await;
    let leader = cluster.leader(SYSTEM).await;
    let leaving = cluster.running().into_iter().find(|node| *node != leader).unwrap();
    let coming = NodeId(4);
    let fresh = cluster.open(coming).await;
    cluster.node(leader).add_learner(SYSTEM, coming).await.unwrap();
    let voters: BTreeSet<NodeId> = (1..=4).map(NodeId).filter(|node| *node != leaving).collect();
    cluster.node(leader).change_voters(SYSTEM, &voters).await.unwrap();
    cluster.stop(leaving).await;
    let seen = cluster
        .until_async("the new member hears of the leader", || async {
            get_from(&fresh, "key", ReadFrom::AnyReplica).await.ok()
        })
        .await;
    assert_eq!(seen, Some("before".into()));
    cluster.put("key", "after").await;
    let status = cluster.node(leader).status();
    assert_eq!(status.shards[0].voters.iter().copied().collect::<BTreeSet<_>>(), voters);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_are_spread_and_come_back_to_a_node_that_was_away() {
    let mut cluster = Cluster::start(3, |options| {
        options.key_shards = 5;
        options.upkeep.interval = Duration::from_millis(50);
        options.upkeep.settle = Duration::from_millis(1000);
    })
    .await;
    spread(&cluster).await;
    let away = NodeId(2);
    cluster.stop(away).await;
    for shard in (0..=5).map(ShardId) {
        cluster
            .until("the others lead everything", || {
                let leader = cluster.node(NodeId(1)).leader(shard)?;
                (leader != away && cluster.node(leader).leader(shard) == Some(leader)).then_some(())
            })
            .await;
    }
    cluster.open(away).await;
    spread(&cluster).await;
}

/// Waits until every node leads two of the six shards.
async fn spread(cluster: &Cluster) {
    cluster
        .until("leaders are spread evenly", || {
            let mut led: BTreeMap<NodeId, u64> = BTreeMap::new();
            for shard in (0..=5).map(ShardId) {
                let leader = cluster.node(NodeId(1)).leader(shard)?;
                if cluster.node(leader).leader(shard) == Some(leader) {
                    *led.entry(leader).or_default() += 1;
                }
            }
            (led.len() == 3 && led.values().all(|count| *count == 2)).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handover_loses_no_write() {
    let cluster = std::sync::Arc::new(Cluster::start(3, |_| {}).await);
    let old = cluster.leader(SYSTEM).await;
    // A leader's first lease must have passed before it votes for another.
    cluster
        .until("the leader is settled", || {
            cluster.node(old).status().shards[0].applied_index
        })
        .await;
    let writer = tokio::spawn({
        let cluster = std::sync::Arc::clone(&cluster);
        async move {
            for write in 0..300 {
                cluster.put("key", &write.to_string()).await;
            }
        }
    });
    let target = cluster.running().into_iter().find(|node| *node != old).unwrap();
    let handed = cluster
        .until_async("leadership is handed over", || async {
            cluster.node(old).hand_over(SYSTEM, target).await.ok()
        })
        .await;
    writer.await.unwrap();
    assert_eq!(cluster.get("key").await, Some("299".into()));
    if handed {
        assert_eq!(cluster.leader(SYSTEM).await, target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_clock_is_off_does_not_lead() {
    let mut cluster = Cluster::start(3, |options| options.upkeep.interval = Duration::from_millis(50)).await;
    let bad = NodeId(1);
    cluster.stop(bad).await;
    let clock = ManualClock::at(SystemClock.now_ms() + 60_000);
    cluster.set_clock(bad, clock);
    let shards = cluster.open(bad).await;
    let leader = cluster
        .until("somebody else leads", || {
            let leader = cluster.node(NodeId(2)).leader(SYSTEM)?;
            (leader != bad).then_some(leader)
        })
        .await;
    cluster.node(leader).hand_over(SYSTEM, bad).await.unwrap();
    cluster
        .until("the node with the wrong clock leads no longer", || {
            let leaders: BTreeSet<_> = [NodeId(2), NodeId(3)]
                .map(|node| cluster.node(node).leader(SYSTEM))
                .into();
            let leader = leaders.first().copied().flatten()?;
            (leaders.len() == 1 && leader != bad).then_some(())
        })
        .await;
    let envelope = metadata::command::Envelope {
        request: cluster.request(),
        command: put_record("key", "x"),
    };
    assert!(shards.propose(SYSTEM, vec![envelope]).await.is_err());
    cluster.put("key", "y").await;
}

/// A copy of the system shard as a proxy would keep it.
#[derive(Default)]
struct Copy {
    rows: BTreeMap<(u8, Bytes), Bytes>,
    from: Option<WatchFrom>,
    restarts: u64,
}

impl Copy {
    async fn follow(&mut self, shards: &Shards) -> bool {
        let from = self.from.clone().unwrap_or(WatchFrom::Nothing);
        let page = shards.watch_system(WatchCall { from, wait_ms: 100 }).await.unwrap();
        if page.restart {
            self.rows.clear();
            self.restarts += 1;
        }
        for row in page.rows {
            match row.value {
                Some(value) => self.rows.insert((row.family, row.key), value),
                None => self.rows.remove(&(row.family, row.key)),
            };
        }
        self.from = Some(page.next);
        page.complete
    }

    async fn of(shards: &Shards) -> Self {
        let mut copy = Self::default();
        while !copy.follow(shards).await {}
        copy
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn con_2_a_copy_of_the_system_shard_follows_its_changes() {
    let cluster = Cluster::start(3, |_| {}).await;
    // More than one page of a dump.
    let large = "v".repeat(100 * 1024);
    for write in 0..12 {
        cluster.put(&format!("key-{write}"), &large).await;
    }
    let node = cluster.node(cluster.leader(SYSTEM).await);
    let mut copy = Copy::of(&node).await;
    assert_eq!(copy.restarts, 1);
    for write in 0..5 {
        cluster.put("key-0", &write.to_string()).await;
    }
    let applied = node.status().shards[0].applied_index;
    while copy
        .from
        .as_ref()
        .is_none_or(|from| *from < WatchFrom::Index(applied.unwrap_or(0)))
    {
        copy.follow(&node).await;
    }
    let fresh = Copy::of(&node).await;
    assert!(copy.rows == fresh.rows, "the copy that followed equals a fresh one");
    assert_eq!(copy.restarts, 1, "it followed by changes");
    assert!(!fresh.rows.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_replica_or_leader_says_so() {
    let cluster = Cluster::start(3, |options| {
        options.log_limits = LogLimits::default();
    })
    .await;
    let node = cluster.node(NodeId(1));
    let envelope = metadata::command::Envelope {
        request: cluster.request(),
        command: put_record("key", "x"),
    };
    let refused = node.propose(ShardId(77), vec![envelope]).await;
    assert_eq!(refused, Err(ShardFault::NoSuchShard));
}
