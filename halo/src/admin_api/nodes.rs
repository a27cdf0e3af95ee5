//! Which nodes there are, the live ring, and the end of a node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use bytes::Bytes;
use http::StatusCode;
use metadata::command::RecordCondition;
use metadata::ids::NodeId;
use metadata::model::PolicyId;
use ring::Ring;
use serde::{Deserialize, Serialize};
use storage_node::client::{ClusterClient, NODES_TABLE, NodeRecord, Phase, RingChangeError};
use storage_node::node::NodeStatus;
use storage_node::shard::ShardRole;

use super::AdminParts;
use super::model::DoneLine;
use super::policies::WhichPolicy;
use super::refusal::{ApiError, Document};
use super::rings::cluster;

/// How long the system shard may take.
const STEP_MAX: Duration = Duration::from_secs(10);
/// How long a node may take to show that it lives.
const LIFE_MAX: Duration = Duration::from_secs(3);

type Parts = State<Arc<AdminParts>>;
type Answer<T> = Result<Json<T>, ApiError>;

/// `GET /v1/nodes`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nodes {
    /// Every node that ever was.
    pub nodes: Vec<KnownNode>,
}

/// What a node has recorded of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownNode {
    /// Its id.
    pub node: u64,
    /// Where it takes blob bodies, `host:port`.
    pub blobs: String,
    /// Numbers of its devices.
    pub devices: Vec<u32>,
    /// An operator has removed it for good.
    pub removed: bool,
}

/// `GET /v1/ring/file`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRingFile {
    /// The ring as its builder made it, in hex: failed devices keep their partitions in it.
    pub ring: String,
    /// Its version.
    pub version: u64,
    /// True while a change is under way.
    pub moving: bool,
}

/// `POST /v1/nodes/{id}/remove`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveNode {}

pub(super) async fn list(State(parts): Parts) -> Answer<Nodes> {
    let records = cluster(&parts)?.node_records(STEP_MAX).await?;
    let nodes = records.into_iter().map(|record| KnownNode {
        node: record.node.0,
        blobs: record.address.blobs,
        devices: record.devices.iter().map(|device| device.0).collect(),
        removed: record.removed,
    });
    Ok(Json(Nodes { nodes: nodes.collect() }))
}

pub(super) async fn ring_file(State(parts): Parts, Query(which): Query<WhichPolicy>) -> Answer<LiveRingFile> {
    let client = cluster(&parts)?;
    let (ring, moving) = whole_ring(client, which.find(client).await?).await?;
    Ok(Json(LiveRingFile {
        ring: hex::encode(ring.to_bytes()),
        version: ring.version(),
        moving,
    }))
}

/// A policy's live ring as its builder made it, and whether a change is under way.
async fn whole_ring(client: &ClusterClient, policy: PolicyId) -> Result<(Ring, bool), ApiError> {
    let (state, _) = client.ring_state(policy, STEP_MAX).await?;
    let mut file = state.current.clone();
    file.failed.clear();
    let live = client.ring_of_file(policy, &file, STEP_MAX).await?;
    Ok(((*live.ring).clone(), state.phase != Phase::Settled))
}

pub(super) async fn remove(
    State(parts): Parts,
    Path(id): Path<String>,
    Document(RemoveNode {}): Document<RemoveNode>,
) -> Answer<DoneLine> {
    let refused = |sentence: String| ApiError::new(StatusCode::CONFLICT, sentence);
    let no_number = |_| ApiError::new(StatusCode::BAD_REQUEST, format!("{id} is not the number of a node"));
    let node = id.parse().map(NodeId).map_err(no_number)?;
    let client = cluster(&parts)?;
    let records = client.node_records(STEP_MAX).await?;
    let Some(record) = records.into_iter().find(|record| record.node == node) else {
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("no node {node} is known")));
    };
    let done = || DoneLine {
        done: format!("node {node} is removed; its id never comes back"),
    };
    if record.removed {
        return Ok(Json(done()));
    }
    if client.node_status(node, LIFE_MAX).await.is_ok() {
        return Err(refused(format!("node {node} answers: stop its process first")));
    }
    let reports: Vec<NodeStatus> = parts.operator.reports().await.into_values().flatten().collect();
    let (ring, moving) = whole_ring(client, PolicyId::default()).await?;
    check_removal(node, &ring, moving, &reports).map_err(refused)?;
    for policy in client.policy_list(STEP_MAX).await?.iter() {
        let (ring, moving) = match client.ring_state(policy.id(), STEP_MAX).await {
            // It was not made to its end, so nothing lies under it.
            Err(RingChangeError::NoRing(_)) => continue,
            _ => whole_ring(client, policy.id()).await?,
        };
        let of_policy = |why: String| {
            let name = &policy.name;
            refused(format!(
                "policy {name}: {why}; its ring is changed with `halo ring apply --policy {name}`"
            ))
        };
        check_removal(node, &ring, moving, &reports).map_err(of_policy)?;
    }
    let key = node.to_string();
    let gone = NodeRecord {
        devices: Vec::new(),
        removed: true,
        ..record
    };
    let value = Bytes::from(serde_json::to_vec(&gone).expect("a record has nothing JSON cannot write"));
    client
        .put_record(NODES_TABLE, &key, RecordCondition::Any, value, STEP_MAX)
        .await?;
    Ok(Json(done()))
}

/// Why a node that does not answer cannot be removed yet. Plain function.
fn check_removal(node: NodeId, ring: &Ring, moving: bool, reports: &[NodeStatus]) -> Result<(), String> {
    let own: BTreeSet<ring::DeviceId> = ring
        .devices()
        .filter(|device| device.node == node.0)
        .map(|device| device.id)
        .collect();
    let partitions = ring
        .partition_ids()
        .flat_map(|partition| ring.primaries(partition).iter())
        .filter(|device| own.contains(device))
        .count();
    if partitions > 0 {
        return Err(format!(
            "{partitions} copies of partitions belong on node {node}: drain it first with `halo admin node drain {node}`"
        ));
    }
    if moving {
        return Err("a change of the ring is under way: wait until `halo ring status` says it is settled".to_owned());
    }
    let leaders = reports
        .iter()
        .flat_map(|report| &report.shards.shards)
        .filter(|shard| shard.role == ShardRole::Leader);
    let seat = leaders
        .filter(|shard| shard.voters.contains(&node))
        .map(|shard| shard.shard)
        .min();
    match seat {
        None => Ok(()),
        Some(shard) => Err(format!(
            "node {node} votes in shard {shard}: its seats move to other nodes by themselves as long as there are three; \
             wait, and look at `halo admin status`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring_with_weight(weight: f64) -> Ring {
        let mut builder = ring::Builder::new(4, 3, 0).expect("a builder");
        for number in 0..4_u32 {
            let device = ring::Device {
                region: 1,
                zone: number,
                node: u64::from(number) + 1,
                address: format!("127.0.0.1:{}", 7000 + number),
                name: "d0".into(),
                weight: if number == 3 { weight } else { 1.0 },
                ..ring::Device::default()
            };
            builder.add(device).expect("added");
        }
        builder.rebalance(1, 1).expect("balanced");
        builder.ring().expect("a ring")
    }

    #[test]
    fn reb_1_a_node_that_has_copies_or_a_move_under_way_stays() {
        let holds = check_removal(NodeId(4), &ring_with_weight(1.0), false, &[]);
        assert!(holds.expect_err("refused").contains("halo admin node drain 4"));
        let drained = ring_with_weight(0.0);
        assert!(check_removal(NodeId(4), &drained, true, &[]).is_err());
        assert_eq!(check_removal(NodeId(4), &drained, false, &[]), Ok(()));
    }
}
