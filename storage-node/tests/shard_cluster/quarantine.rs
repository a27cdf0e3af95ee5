//! DUR-5: a store that was shortened, emptied or replaced does not vote, and says what to do.

use std::path::Path;

use crate::kit::{Cluster, SYSTEM, get_from, put_record};
use metadata::ids::NodeId;
use storage_node::shard::{Damage, ReadFrom, ShardFault, ShardOptions};

async fn written_to() -> (Cluster, NodeId) {
    let cluster = Cluster::start(3, |_: &mut ShardOptions| {}).await;
    let leader = cluster.leader(SYSTEM).await;
    for write in 0..30 {
        cluster.put(&format!("key-{write}"), "value").await;
    }
    let victim = cluster.running().into_iter().find(|node| *node != leader).unwrap();
    let last = cluster.applied_index(leader, SYSTEM).unwrap();
    cluster.applied(victim, SYSTEM, last).await;
    cluster.stop(victim).await;
    (cluster, victim)
}

async fn is_quarantined(cluster: &mut Cluster, victim: NodeId) {
    let shards = cluster.open(victim).await;
    let reason = cluster
        .until("the node knows that it is quarantined", || shards.status().quarantine)
        .await;
    assert!(
        reason.contains("halo admin shard recover"),
        "it says what to do: {reason}"
    );
    let asked = get_from(&shards, "key-0", ReadFrom::AnyReplica).await;
    assert!(matches!(asked, Err(ShardFault::Quarantined(_))), "{asked:?}");
    // The others go on without it, and without its vote.
    cluster.put("key-0", "after").await;
    let leader = cluster.leader_among_healthy().await;
    assert_ne!(leader, victim, "DUR-5: a quarantined node leads nothing");
    let other = cluster
        .running()
        .into_iter()
        .find(|node| *node != leader && *node != victim)
        .unwrap();
    cluster.stop(other).await;
    let node = cluster.node(leader);
    let envelope = metadata::command::Envelope {
        request: cluster.request(),
        command: put_record("key-0", "alone"),
    };
    let refused = node.propose(SYSTEM, vec![envelope]).await;
    assert!(refused.is_err(), "the quarantined node's vote was counted: {refused:?}");
}

/// The database's write-ahead log files, newest last.
fn wal_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(dir.join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
        .collect();
    logs.sort();
    logs
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_5_a_truncated_write_ahead_log_is_quarantined() {
    let (mut cluster, victim) = written_to().await;
    cluster.crash_image(victim);
    let log = wal_files(&cluster.dir(victim)).pop().expect("a database has a log");
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(length * 2 / 3)
        .unwrap();
    is_quarantined(&mut cluster, victim).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_5_a_flipped_bit_in_the_write_ahead_log_is_quarantined() {
    let (mut cluster, victim) = written_to().await;
    cluster.crash_image(victim);
    let log = wal_files(&cluster.dir(victim)).pop().expect("a database has a log");
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&log, bytes).unwrap();
    is_quarantined(&mut cluster, victim).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_5_an_emptied_database_is_quarantined_by_its_side_file() {
    let (mut cluster, victim) = written_to().await;
    cluster.crash_image(victim);
    std::fs::remove_dir_all(cluster.dir(victim).join("db")).unwrap();
    is_quarantined(&mut cluster, victim).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_5_an_emptied_folder_is_quarantined_by_its_peers() {
    let (mut cluster, victim) = written_to().await;
    cluster.crash_image(victim);
    std::fs::remove_dir_all(cluster.dir(victim).join("db")).unwrap();
    std::fs::remove_file(cluster.dir(victim).join("synced")).unwrap();
    is_quarantined(&mut cluster, victim).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_5_an_operator_may_accept_the_damage() {
    let (mut cluster, victim) = written_to().await;
    cluster.crash_image(victim);
    let log = wal_files(&cluster.dir(victim)).pop().expect("a database has a log");
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(length * 2 / 3)
        .unwrap();
    cluster.adjust(|options| options.damage = Damage::Accept);
    let shards = cluster.open(victim).await;
    assert_eq!(shards.status().quarantine, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_5_a_killed_node_that_lost_nothing_is_not_quarantined() {
    let (mut cluster, victim) = written_to().await;
    cluster.crash_image(victim);
    let shards = cluster.open(victim).await;
    assert_eq!(shards.status().quarantine, None);
    assert_eq!(
        get_from(&shards, "key-29", ReadFrom::Local).await.unwrap(),
        Some("value".into())
    );
}
