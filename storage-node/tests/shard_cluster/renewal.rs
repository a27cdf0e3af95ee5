//! DUR-5: a node whose store is gone joins again as a new member; a majority that is gone is recovered by an operator; a
//! backup makes a store.

use std::collections::BTreeSet;

use crate::kit::{Cluster, SYSTEM, get_from};
use clock::{SeededDice, SystemClock};
use metadata::ids::{ClusterId, NodeId};
use storage_node::shard::{Newcomer, ReadFrom, ShardFault, ShardOptions, Shards, restore};

async fn written_to() -> Cluster {
    let cluster = Cluster::start(3, |_: &mut ShardOptions| {}).await;
    for write in 0..30 {
        cluster.put(&format!("key-{write}"), "value").await;
    }
    let leader = cluster.leader(SYSTEM).await;
    let last = cluster.applied_index(leader, SYSTEM).unwrap();
    for node in cluster.running() {
        cluster.applied(node, SYSTEM, last).await;
    }
    cluster
}

/// Stops a node and takes its store away.
async fn destroy(cluster: &mut Cluster, node: NodeId) {
    cluster.stop(node).await;
    cluster.crash_image(node);
    std::fs::remove_dir_all(cluster.dir(node).join("db")).unwrap();
}

/// What `node::rejoin` does, step by step.
async fn rejoin(cluster: &Cluster, shards: &Shards, me: NodeId) {
    let others: Vec<NodeId> = cluster.running().into_iter().filter(|node| *node != me).collect();
    cluster
        .until_async("the others count without the node", || async {
            for node in &others {
                let _ = cluster.node(*node).dismiss(me).await;
            }
            let counted = others.iter().any(|node| voters(&cluster.node(*node)).contains(&me));
            (!counted).then_some(())
        })
        .await;
    shards.start_over().await.unwrap();
    let incarnation = shards.identity().unwrap().incarnation;
    for node in &others {
        cluster
            .until_async("the others know the new store", || async {
                let votes_in = shards.votes_in();
                let node = cluster.node(*node);
                let welcome = node.welcome(me, incarnation, &votes_in);
                welcome.await.ok()
            })
            .await;
    }
    cluster
        .until_async("the shards take the node in", || async {
            for node in &others {
                let _ = cluster.node(*node).admit(me).await;
            }
            shards.votes_in().contains(&SYSTEM).then_some(())
        })
        .await;
}

fn voters(shards: &Shards) -> BTreeSet<NodeId> {
    let status = shards.status();
    status.shards.into_iter().flat_map(|line| line.voters).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_5_a_node_without_its_store_joins_again_and_its_vote_counts() {
    let mut cluster = written_to().await;
    let leader = cluster.leader(SYSTEM).await;
    let victim = cluster.running().into_iter().find(|node| *node != leader).unwrap();
    destroy(&mut cluster, victim).await;
    let shards = cluster.open(victim).await;
    assert!(shards.status().quarantine.is_some());
    rejoin(&cluster, &shards, victim).await;
    assert_eq!(shards.newcomer(), Newcomer::Waiting);
    shards.admitted().await.unwrap();
    // With the new member and one of the old ones there is a majority.
    let other = cluster.running().into_iter().find(|node| *node != victim).unwrap();
    cluster.stop(other).await;
    cluster.put("key-0", "after").await;
    assert_eq!(cluster.get("key-0").await.as_deref(), Some("after"));
    assert_eq!(cluster.get("key-29").await.as_deref(), Some("value"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_5_a_living_store_is_not_dismissed() {
    let cluster = written_to().await;
    let leader = cluster.leader(SYSTEM).await;
    let living = cluster.running().into_iter().find(|node| *node != leader).unwrap();
    let refused = cluster.node(leader).dismiss(living).await;
    assert!(
        refused
            .as_ref()
            .is_err_and(|fault| fault.to_string().contains("is alive")),
        "{refused:?}"
    );
    let refused = cluster.node(leader).welcome(living, 1, &BTreeSet::new()).await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_5_an_empty_folder_of_a_node_that_had_a_store_founds_nothing() {
    let mut cluster = written_to().await;
    for node in [NodeId(1), NodeId(2)] {
        destroy(&mut cluster, node).await;
        std::fs::remove_file(cluster.dir(node).join("synced")).unwrap();
    }
    cluster.stop(NodeId(3)).await;
    cluster.adjust(|options| options.expected = true);
    for node in [NodeId(1), NodeId(2)] {
        let shards = cluster.open(node).await;
        assert!(
            shards.status().quarantine.is_some(),
            "two empty stores must not make a cluster"
        );
        let members = BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]);
        let founding = shards.bootstrap(&members).await;
        assert!(matches!(founding, Err(ShardFault::Quarantined(_))), "{founding:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_recovers_from_one_of_three() {
    let mut cluster = written_to().await;
    for node in [NodeId(1), NodeId(2)] {
        destroy(&mut cluster, node).await;
    }
    let survivor = cluster.node(NodeId(3));
    let recovered = survivor.recover().await.unwrap();
    assert_eq!(recovered, [SYSTEM]);
    cluster.put("key-0", "after").await;
    assert_eq!(cluster.get("key-29").await.as_deref(), Some("value"));
    let refused = survivor.recover().await;
    assert!(
        refused
            .as_ref()
            .is_err_and(|fault| fault.to_string().contains("majority")),
        "a shard that decides is not touched: {refused:?}"
    );
    for node in [NodeId(1), NodeId(2)] {
        let shards = cluster.open(node).await;
        rejoin(&cluster, &shards, node).await;
    }
    cluster.stop(NodeId(3)).await;
    cluster.put("key-1", "after").await;
    assert_eq!(cluster.get("key-28").await.as_deref(), Some("value"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_made_from_a_backup() {
    let mut cluster = written_to().await;
    let folder = tempfile::tempdir().unwrap();
    let leader = cluster.leader(SYSTEM).await;
    let other = cluster.running().into_iter().find(|node| *node != leader).unwrap();
    let backup = cluster.node(other).backup(folder.path()).await.unwrap();
    cluster.put("key-0", "after the backup").await;
    let bytes = std::fs::read(&backup.file).unwrap();
    for node in cluster.running() {
        cluster.stop(node).await;
        cluster.crash_image(node);
    }
    let node = NodeId(1);
    let mut options = ShardOptions::new(ClusterId(7), node, cluster.dir(node));
    options.key_shards = 0;
    let dice = SeededDice::new(9);
    let refused = restore(&options, &mut bytes.as_slice(), &SystemClock, &dice);
    assert!(refused.is_err(), "a store that is there is not overwritten");
    std::fs::remove_dir_all(cluster.dir(node).join("db")).unwrap();
    std::fs::remove_file(cluster.dir(node).join("synced")).unwrap();
    for broken in [&bytes[..bytes.len() - 1], &bytes[..bytes.len() / 2], &[]] {
        let refused = restore(&options, &mut &*broken, &SystemClock, &dice);
        assert!(refused.is_err(), "an incomplete backup is refused");
    }
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    assert!(restore(&options, &mut flipped.as_slice(), &SystemClock, &dice).is_err());
    options.cluster = ClusterId(8);
    assert!(restore(&options, &mut bytes.as_slice(), &SystemClock, &dice).is_err());
    options.cluster = ClusterId(7);
    restore(&options, &mut bytes.as_slice(), &SystemClock, &dice).unwrap();
    let shards = cluster.open(node).await;
    cluster.put("key-1", "after the restore").await;
    let shown = get_from(&shards, "key-0", ReadFrom::AnyReplica).await.unwrap();
    assert_eq!(
        shown.as_deref(),
        Some("value"),
        "it stands as when the backup was taken"
    );
}
