//! How fast three nodes in one process decide and answer; run by name, prints what it measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kit::Cluster;
use bytes::Bytes;
use metadata::command::{Command, Condition, Envelope, NewBody, NewObject};
use metadata::ids::{BucketId, NodeId, ShardId};
use metadata::model::{ETag, VersionSelector};
use metadata::query::Query;
use storage_node::shard::{ReadFrom, ShardOptions, Shards};

const SHARD: ShardId = ShardId(1);
const CLIENTS: u64 = 64;

fn put_object(key: &str) -> Command {
    let object = NewObject {
        body: NewBody::Inline(Bytes::from(vec![7; 4096])),
        etag: ETag { md5: [1; 16], parts: 0 },
        checksum: None,
        owner: "project".into(),
        attributes: vec![("content-type".into(), "application/octet-stream".into())],
        user: Vec::new(),
        tags: Vec::new(),
    };
    Command::PutObject {
        bucket: BucketId(1),
        key: key.into(),
        condition: Condition::Always,
        object,
    }
}

/// User and system time of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Runs `each` from all clients for `time`; returns how many were done.
async fn load<F, Fut>(time: Duration, each: F) -> u64
where
    F: Fn(u64, u64) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let each = Arc::new(each);
    let until = Instant::now() + time;
    let clients = (0..CLIENTS).map(|client| {
        let each = Arc::clone(&each);
        tokio::spawn(async move {
            let mut done = 0;
            while Instant::now() < until {
                each(client, done).await;
                done += 1;
            }
            done
        })
    });
    let done = futures::future::join_all(clients).await;
    done.into_iter().map(Result::unwrap).sum()
}

async fn writes(cluster: &Arc<Cluster>, leader: &Shards, name: &str, time: Duration) {
    let syncs: u64 = cluster.faults.values().map(|faults| faults.syncs_begun()).sum();
    let (began, cpu_before) = (Instant::now(), cpu());
    let (shared, node) = (Arc::clone(cluster), leader.clone());
    let label = name.to_owned();
    let done = load(time, move |client, count| {
        let (shared, node) = (Arc::clone(&shared), node.clone());
        let key = format!("{label}-{client}-{count}");
        async move {
            let envelope = Envelope {
                request: shared.request(),
                command: put_object(&key),
            };
            node.propose(SHARD, vec![envelope]).await.unwrap();
        }
    })
    .await;
    let syncs = cluster.faults.values().map(|faults| faults.syncs_begun()).sum::<u64>() - syncs;
    report(name, done, began.elapsed(), cpu() - cpu_before);
    eprintln!("    {:.3} syncs per PUT and node", syncs as f64 / 3.0 / done as f64);
}

fn report(name: &str, done: u64, took: Duration, cpu: Duration) {
    let rate = done as f64 / took.as_secs_f64();
    let each = cpu.as_secs_f64() * 1e6 / done as f64;
    eprintln!("{name}: {rate:.0}/s, {each:.0} CPU us each (all three nodes and the clients)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, run by name"]
async fn small_puts_and_gets_of_64_clients() {
    for in_flight_max in [1, 2] {
        eprintln!("entries in flight: {in_flight_max}");
        measure(in_flight_max).await;
    }
}

async fn measure(in_flight_max: usize) {
    let adjust = move |options: &mut ShardOptions| {
        options.key_shards = 1;
        options.packing.in_flight_max = in_flight_max;
    };
    let cluster = Arc::new(Cluster::start(3, adjust).await);
    let leader = cluster.node(cluster.leader(SHARD).await);
    writes(&cluster, &leader, "put, real syncs", Duration::from_secs(5)).await;
    for faults in cluster.faults.values() {
        faults.set_sync_delay(Duration::from_millis(5));
    }
    writes(&cluster, &leader, "put, syncs delayed by 5 ms", Duration::from_secs(5)).await;
    for from in [ReadFrom::Leader, ReadFrom::AnyReplica] {
        let node = match from {
            ReadFrom::AnyReplica => cluster.node(follower(&cluster, SHARD).await),
            _ => leader.clone(),
        };
        let (began, cpu_before) = (Instant::now(), cpu());
        let done = load(Duration::from_secs(5), move |client, count| {
            let node = node.clone();
            let key = format!("put, real syncs-{client}-{}", count % 8).into_bytes();
            let query = Query::GetObject {
                bucket: BucketId(1),
                key,
                version: VersionSelector::Latest,
                body: true,
            };
            async move {
                node.query(SHARD, query, from).await.unwrap().unwrap();
            }
        })
        .await;
        report(&format!("get from {from:?}"), done, began.elapsed(), cpu() - cpu_before);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or_default();
    eprintln!("three nodes in one process: {peak}");
}

async fn follower(cluster: &Cluster, shard: ShardId) -> NodeId {
    let leader = cluster.leader(shard).await;
    cluster.running().into_iter().find(|node| *node != leader).unwrap()
}
