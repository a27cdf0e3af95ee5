//! Several policies over the same devices: each is looked after by its own ring, and none touches what another's has.

use std::time::Duration;

use metadata::model::PolicyId;
use ring::Builder;
use storage_node::client::{DataPlane, Phase, Policy, PolicyError, PolicyKind, chunk_key};
use storage_node::node::WorkOptions;

use super::node_kit::growing::AT_ONCE;
use super::node_kit::{Cluster, DEADLINE, quick, until};

const PAIR: PolicyKind = PolicyKind::Replicated { copies: 2 };

async fn pair(cluster: &Cluster) -> Policy {
    let made = cluster.client.create_policy("pair", PAIR, None, false, DEADLINE).await;
    let pair = made.unwrap();
    until("every process knows the policy and its ring", async || {
        cluster.everybody().all(|client| {
            let known = client.policies().named("pair").map(Policy::id);
            known == Some(pair.id()) && client.rings(pair.id()).is_some()
        })
    })
    .await;
    pair
}

/// True when every node has looked through its device for a policy.
async fn looked_through(cluster: &Cluster, policy: PolicyId) -> bool {
    let status = cluster.client.cluster_status(DEADLINE).await;
    let suffix = format!(", policy {}", policy.0);
    status.nodes.iter().all(|(_, said)| {
        let lines = said.as_ref().map(|said| said.work.as_slice()).unwrap_or_default();
        let of_policy = |name: &str| name.ends_with(&suffix) || (policy == PolicyId(0) && !name.contains(", policy"));
        let mut repairs = lines.iter().filter(|line| line.name.starts_with("repair of"));
        repairs.any(|line| of_policy(&line.name) && line.state.contains("queued"))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reb_1_policies_on_the_same_devices_leave_each_other_alone_and_each_is_repaired_and_moved() {
    let options = WorkOptions {
        move_bytes_per_second: 0,
        repair_interval: Duration::from_millis(200),
        ..quick()
    };
    let cluster = Cluster::start(options).await;
    let pair = pair(&cluster).await;
    let threes = cluster.put_some("three", 8).await;
    let pairs = cluster.put_some_under(pair.id(), "pair", 8).await;
    assert!(cluster.all_in_place(&threes, true).await && cluster.all_in_place(&pairs, true).await);

    // A lost copy comes back where the policy's own ring wants it.
    let stream = &pairs["pair3"];
    let key = chunk_key(stream, 1);
    let loser = cluster.client.rings(pair.id()).unwrap().primaries(key)[0];
    cluster.client.remove_blobs(loser, vec![key], DEADLINE).await.unwrap();
    until("the lost copy is back", async || {
        cluster.all_in_place(&pairs, true).await
    })
    .await;

    // Only this policy's ring changes: its copies leave the first device, the other policy's stay.
    let live = cluster.client.rings(pair.id()).unwrap();
    let mut builder = Builder::from_ring(&live.current.ring, 0);
    builder.remove(ring::DeviceId(0)).unwrap();
    builder.rebalance(1, 1).unwrap();
    let without = builder.ring().unwrap();
    let applied = cluster.client.apply_ring(pair.id(), &without, AT_ONCE, DEADLINE).await;
    assert!(applied.unwrap().replicas_moved > 0);
    until("the move is done", async || {
        let state = cluster.client.ring_state(pair.id(), DEADLINE).await;
        state.is_ok_and(|(state, _)| state.phase == Phase::Settled && state.current.version == without.version())
    })
    .await;
    until("the policy's copies are at home and nowhere else", async || {
        cluster.all_in_place(&pairs, true).await
    })
    .await;
    until("every device was looked through for both", async || {
        looked_through(&cluster, pair.id()).await && looked_through(&cluster, PolicyId(0)).await
    })
    .await;
    assert!(cluster.all_in_place(&threes, true).await);
    assert_eq!(cluster.ring_state().await.phase, Phase::Settled);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_s_name_is_taken_once_and_its_ring_must_fit() {
    let cluster = Cluster::start(quick()).await;
    let made = pair(&cluster).await;
    assert_eq!(made.id(), PolicyId(1));
    for taken in ["PAIR", "policy-0"] {
        let again = cluster.client.create_policy(taken, PAIR, None, false, DEADLINE).await;
        assert!(matches!(again, Err(PolicyError::Exists(_))), "{again:?}");
    }
    let many = PolicyKind::Replicated { copies: 4 };
    let refused = cluster.client.create_policy("many", many, None, false, DEADLINE).await;
    assert!(matches!(refused, Err(PolicyError::Unfit(_))), "{refused:?}");
    let wrong = cluster.client.rings(PolicyId(0)).unwrap().current.ring.as_ref().clone();
    let refused = cluster
        .client
        .create_policy("wrong", PAIR, Some(wrong), false, DEADLINE)
        .await;
    assert!(matches!(refused, Err(PolicyError::Unfit(_))), "{refused:?}");
    let names = cluster.client.policy_list(DEADLINE).await.unwrap();
    assert_eq!(
        names.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(),
        ["pair"]
    );
    cluster.end().await;
}
