//! An erasure coded policy over real devices: what is lost is copied or rebuilt, moves follow the ring's slots, and what
//! is deleted goes everywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use clock::{Dice, SystemDice, WallClock};
use metadata::ids::{DeviceId, WriteId};
use metadata::model::{PolicyId, ShortChunks, Stored, Stream};
use ring::Builder;
use storage_node::client::{DataPlane, Phase, Policy, PolicyError, PolicyKind, chunk_key};
use storage_node::device::Blob;
use storage_node::node::WorkOptions;

use super::node_kit::growing::AT_ONCE;
use super::node_kit::{CHUNK, Cluster, DEADLINE, add_device_of, quick, until};

const CODED: PolicyKind = PolicyKind::ErasureCoded { data: 4, parity: 2 };
/// Devices of each node.
const EACH: usize = 2;

fn options() -> WorkOptions {
    WorkOptions {
        move_bytes_per_second: 0,
        repair_interval: Duration::from_millis(200),
        ..quick()
    }
}

async fn coded(cluster: &Cluster) -> Policy {
    let made = cluster
        .client
        .create_policy("ec-4-2", CODED, None, false, DEADLINE)
        .await;
    let policy = made.unwrap();
    until("every process knows the policy and its ring", async || {
        cluster.everybody().all(|client| {
            let live = client.rings(policy.id());
            live.is_some_and(|live| live.code == CODED.code())
        })
    })
    .await;
    policy
}

/// The fragments of a chunk as they must be.
fn fragments(cluster: &Cluster, stream: &Stream, chunk: u32) -> Vec<Blob> {
    let whole = cluster.blob(stream, chunk);
    let pieces = CODED.code().unwrap().split(&whole.payload);
    let seal = |(number, bytes)| Blob::seal(whole.key.piece(number), whole.header, bytes);
    (0_u8..).zip(pieces).map(seal).collect()
}

/// Writes a stream of some chunks; `holder` says where each fragment lies instead of at home, if anywhere.
async fn write(
    cluster: &Cluster,
    policy: PolicyId,
    size: u64,
    holder: impl Fn(u8, DeviceId) -> Option<DeviceId>,
) -> Stored {
    let live = cluster.client.rings(policy).unwrap();
    let stream = Stream {
        write: WriteId::new(cluster.clock.now_ms(), SystemDice.u128()),
        size,
        chunk_bytes: CHUNK,
        policy,
        ring_version: live.current.epoch,
    };
    let mut short = Vec::new();
    for chunk in 0..stream.chunks() {
        let mut holders = Vec::new();
        let mut whole = true;
        for (number, blob) in (0_u8..).zip(fragments(cluster, &stream, chunk)) {
            let home = live.primaries(blob.key)[0];
            let device = holder(number, home);
            whole &= device == Some(home);
            if let Some(device) = device {
                cluster.client.put_blob(device, blob, DEADLINE).await.unwrap();
                holders.push(device);
            }
        }
        if !whole {
            holders.sort_unstable();
            let (first, count, devices) = (chunk, 1, holders);
            short.push(ShortChunks { first, count, devices });
        }
    }
    Stored { stream, short }
}

async fn put_some(cluster: &Cluster, policy: PolicyId, prefix: &str, count: usize) -> BTreeMap<String, Stream> {
    let mut streams = BTreeMap::new();
    for number in 0..count {
        let size = 2 * u64::from(CHUNK) + 100 * number as u64;
        let stored = write(cluster, policy, size, |_, home| Some(home)).await;
        let key = format!("{prefix}{number}");
        streams.insert(key.clone(), stored.stream.clone());
        cluster.put(&key, stored).await;
    }
    streams
}

/// True when every fragment lies at its home, byte by byte; with `exactly`, nowhere else.
async fn in_place(cluster: &Cluster, streams: &BTreeMap<String, Stream>, exactly: bool) -> bool {
    for stream in streams.values() {
        let live = cluster.client.rings(stream.policy).unwrap();
        let mut devices: Vec<DeviceId> = live
            .current
            .ring
            .devices()
            .map(|device| DeviceId(device.id.0))
            .collect();
        devices.sort_unstable();
        for chunk in 0..stream.chunks() {
            for blob in fragments(cluster, stream, chunk) {
                let home = live.primaries(blob.key)[0];
                let read = cluster
                    .client
                    .read_blob(home, blob.key, 0..blob.header.len, DEADLINE)
                    .await;
                let good = read.is_ok_and(|slice| slice.verify().is_ok() && slice.payload == blob.payload.to_bytes());
                if !good {
                    return false;
                }
                for other in devices.iter().filter(|other| exactly && **other != home) {
                    let there = cluster.client.stat_blob(*other, blob.key, DEADLINE).await;
                    if !matches!(there, Ok(None)) {
                        return false;
                    }
                }
            }
        }
    }
    true
}

async fn queue_is_empty(cluster: &Cluster) {
    until("the queue is empty", async || cluster.summary().await.short_chunks == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heal_1_lost_fragments_are_rebuilt_and_strays_sent_home() {
    let cluster = Cluster::start_with(options(), EACH).await;
    let policy = coded(&cluster).await.id();
    let streams = put_some(&cluster, policy, "k", 4).await;
    assert!(in_place(&cluster, &streams, true).await);

    // Two fragments of a chunk that nobody else has.
    let stream = &streams["k1"];
    let live = cluster.client.rings(policy).unwrap();
    for number in [0, 5] {
        let key = chunk_key(stream, 1).piece(number);
        cluster
            .client
            .remove_blobs(live.primaries(key)[0], vec![key], DEADLINE)
            .await
            .unwrap();
    }
    until("both are rebuilt", async || in_place(&cluster, &streams, true).await).await;

    // A write that found five devices, and one whose fragments lie at each other's homes.
    let stored = write(&cluster, policy, 3 * u64::from(CHUNK), |number, home| {
        (number != 3).then_some(home)
    })
    .await;
    let mut late = BTreeMap::from([("five".to_owned(), stored.stream.clone())]);
    cluster.put("five", stored).await;
    let swapped = move |number: u8, home: DeviceId| match number {
        0 => None,
        1 => Some(DeviceId(home.0 ^ 1)),
        _ => Some(home),
    };
    let stored = write(&cluster, policy, 1000, swapped).await;
    late.insert("stray".to_owned(), stored.stream.clone());
    cluster.put("stray", stored).await;
    until("all is at home", async || in_place(&cluster, &late, true).await).await;
    queue_is_empty(&cluster).await;

    // What is deleted goes from everywhere.
    for key in streams.keys().chain(late.keys()) {
        cluster.delete(key).await;
    }
    let delay = cluster.work.reclaim_delay_ms + 1000;
    until("all fragments are gone", async || {
        cluster.pass(delay).await;
        cluster.blobs() == 0
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heal_1_a_device_that_comes_back_empty_is_rebuilt_from_the_others() {
    let mut cluster = Cluster::start_with(
        WorkOptions {
            repair_queued_max: 2,
            ..options()
        },
        EACH,
    )
    .await;
    let policy = coded(&cluster).await.id();
    let streams = put_some(&cluster, policy, "k", 24).await;
    cluster.stop(1).await;
    std::fs::remove_dir_all(cluster.data_dir(1).join("d1")).unwrap();
    cluster.restart(1).await;
    until("the device has its fragments again", async || {
        in_place(&cluster, &streams, true).await
    })
    .await;
    queue_is_empty(&cluster).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reb_1_fragments_follow_the_slots_of_a_new_ring() {
    let mut cluster = Cluster::start_with(options(), EACH).await;
    let policy = coded(&cluster).await.id();
    let streams = put_some(&cluster, policy, "k", 12).await;
    cluster.grow().await;
    let live = cluster.client.rings(policy).unwrap();
    let mut builder = Builder::from_ring(&live.current.ring, 0);
    (6..8).for_each(|number| add_device_of(&mut builder, number, EACH));
    builder.rebalance(2, 1).unwrap();
    let wider = builder.ring().unwrap();
    let applied = cluster.client.apply_ring(policy, &wider, AT_ONCE, DEADLINE).await;
    assert!(applied.unwrap().replicas_moved > 0);
    // Written while fragments move.
    let stored = write(&cluster, policy, u64::from(CHUNK), |_, home| Some(home)).await;
    cluster.put("meanwhile", stored).await;
    until("the move is done", async || {
        let state = cluster.client.ring_state(policy, DEADLINE).await;
        state.is_ok_and(|(state, _)| state.phase == Phase::Settled && state.current.version == wider.version())
    })
    .await;
    until("every fragment is at its new home and nowhere else", async || {
        in_place(&cluster, &streams, true).await
    })
    .await;

    // The loss of a device that others can stand in for.
    let lost = DeviceId(7);
    cluster
        .client
        .device_failed(policy, lost, true, DEADLINE)
        .await
        .unwrap();
    until("others have its fragments", async || {
        let live = cluster.client.rings(policy).unwrap();
        let named = |partition| live.current.ring.primaries(partition).contains(&ring::DeviceId(lost.0));
        let free = !live.moving() && !live.current.ring.partition_ids().any(named);
        free && in_place(&cluster, &streams, true).await
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_would_put_too_many_fragments_on_a_node_is_refused() {
    let cluster = Cluster::start_with(quick(), EACH).await;
    let one = PolicyKind::ErasureCoded { data: 5, parity: 1 };
    let refused = cluster.client.create_policy("ec-5-1", one, None, false, DEADLINE).await;
    assert!(matches!(refused, Err(PolicyError::Ring(_))), "{refused:?}");
    let wide = PolicyKind::ErasureCoded { data: 5, parity: 2 };
    let refused = cluster
        .client
        .create_policy("ec-5-2", wide, None, false, DEADLINE)
        .await;
    assert!(matches!(refused, Err(PolicyError::Unfit(_))), "{refused:?}");
    let policy = coded(&cluster).await.id();
    let live = cluster.client.rings(policy).unwrap();
    let mut builder = Builder::from_ring(&live.current.ring, 0);
    builder.set_replicas(5.0).unwrap();
    builder.rebalance(3, 1).unwrap();
    let narrow = builder.ring().unwrap();
    let refused = cluster.client.apply_ring(policy, &narrow, AT_ONCE, DEADLINE).await;
    assert!(refused.unwrap_err().to_string().contains("the policy needs 6"));
    cluster.end().await;
}
