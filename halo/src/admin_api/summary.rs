//! Puts the answers of nodes and shards together to one status: a plain function.

use std::collections::BTreeMap;

use metadata::ids::{NodeId, ShardId};
use metadata::query::Summary;
use storage_node::device::{DeviceState, Usage};
use storage_node::node::{DeviceStatus, NodeStatus};
use storage_node::shard::{ShardRole, ShardStatus};

use super::model::{DeviceLine, MemberLine, NodeLine, ShardHealth, ShardLine, Status};

/// How many entries a member may be behind before its shard counts as degraded: more than a busy second of entries.
const BEHIND_MAX: u64 = 2_000;

/// Everything that was asked.
#[derive(Clone, Debug)]
pub struct Answers {
    /// The cluster's id.
    pub cluster: String,
    /// When, in milliseconds since the Unix epoch.
    pub taken_ms: u64,
    /// What every node said, or why it said nothing.
    pub nodes: Vec<(NodeId, Result<NodeStatus, String>)>,
    /// What every shard said, or why it said nothing.
    pub shards: Vec<(ShardId, Result<Summary, String>)>,
}

/// The status that follows from the answers.
#[must_use]
pub fn status(answers: &Answers) -> Status {
    let shards: Vec<ShardLine> = answers
        .shards
        .iter()
        .map(|(id, said)| shard_line(*id, said, &answers.nodes))
        .collect();
    let nodes: Vec<NodeLine> = answers
        .nodes
        .iter()
        .map(|(id, said)| node_line(*id, said, &shards))
        .collect();
    let devices: Vec<DeviceLine> = answers
        .nodes
        .iter()
        .flat_map(|(id, said)| device_lines(*id, said))
        .collect();
    let sum = |count: fn(&ShardLine) -> Option<u64>| shards.iter().map(count).sum::<Option<u64>>();
    let (short_chunks, lost_chunks) = (sum(|shard| shard.short_chunks), sum(|shard| shard.lost_chunks));
    let healthy = (short_chunks, lost_chunks) == (Some(0), Some(0))
        && nodes.iter().all(|node| node.up && node.problem.is_none())
        && devices.iter().all(|device| device.problem.is_none())
        && shards.iter().all(|shard| shard.health == ShardHealth::Ok);
    Status {
        cluster: answers.cluster.clone(),
        taken_ms: answers.taken_ms,
        healthy,
        short_chunks,
        lost_chunks,
        nodes,
        devices,
        shards,
    }
}

fn node_line(id: NodeId, said: &Result<NodeStatus, String>, shards: &[ShardLine]) -> NodeLine {
    let leads = shards.iter().filter(|shard| shard.leader == Some(id.0)).count() as u64;
    match said {
        Err(why) => NodeLine {
            node: id.0,
            up: false,
            leads,
            syncs: 0,
            problem: Some(why.clone()),
        },
        Ok(report) => NodeLine {
            node: id.0,
            up: true,
            leads,
            syncs: report.shards.syncs + device_syncs(report),
            problem: report
                .shards
                .quarantine
                .clone()
                .or_else(|| report.shards.store_failed.clone()),
        },
    }
}

fn device_syncs(report: &NodeStatus) -> u64 {
    report
        .devices
        .iter()
        .filter_map(|device| Some(device.usage.as_ref().ok()?.syncs))
        .sum()
}

fn device_lines(node: NodeId, said: &Result<NodeStatus, String>) -> Vec<DeviceLine> {
    let Ok(report) = said else { return Vec::new() };
    report.devices.iter().map(|device| device_line(node, device)).collect()
}

fn device_line(node: NodeId, device: &DeviceStatus) -> DeviceLine {
    let nothing = Usage {
        state: DeviceState::Out,
        ..Usage::default()
    };
    let usage = device.usage.as_ref().unwrap_or(&nothing);
    let said = device.usage.as_ref().err().or(usage.why.as_ref());
    DeviceLine {
        device: device.device.0,
        node: node.0,
        path: device.path.clone(),
        state: state_name(usage.state).to_owned(),
        problem: match usage.state {
            DeviceState::Ok => None,
            DeviceState::ReadOnly | DeviceState::Out => {
                Some(said.cloned().unwrap_or_else(|| "no reason is known".to_owned()))
            }
        },
        capacity_bytes: usage.capacity_bytes,
        used_bytes: usage.used_bytes,
        live_bytes: usage.live_bytes,
        blobs: usage.blobs,
        segments: usage.segments,
        corrupt_records: usage.corrupt_records,
    }
}

fn state_name(state: DeviceState) -> &'static str {
    match state {
        DeviceState::Ok => "ok",
        DeviceState::ReadOnly => "read-only",
        DeviceState::Out => "out",
    }
}

fn shard_line(
    id: ShardId,
    said: &Result<Summary, String>,
    nodes: &[(NodeId, Result<NodeStatus, String>)],
) -> ShardLine {
    let replicas: BTreeMap<NodeId, &ShardStatus> = nodes
        .iter()
        .filter_map(|(node, said)| Some((*node, said.as_ref().ok()?)))
        .filter_map(|(node, report)| Some((node, report.shards.shards.iter().find(|shard| shard.shard == id)?)))
        .collect();
    let leader = leader_of(&replicas);
    let members = members(&replicas);
    let keeps_up = |member: &MemberLine| {
        matches!(member.role.as_str(), "leader" | "follower")
            && member.behind.is_some_and(|behind| behind <= BEHIND_MAX)
    };
    let health = match said {
        Err(_) => ShardHealth::Down,
        Ok(_) if !members.is_empty() && members.iter().all(keeps_up) => ShardHealth::Ok,
        Ok(_) => ShardHealth::Degraded,
    };
    let faults = replicas
        .iter()
        .filter_map(|(node, shard)| Some(format!("node {node}: {}", shard.fault.as_ref()?)));
    let problems: Vec<String> = said.as_ref().err().cloned().into_iter().chain(faults).collect();
    let summary = said.as_ref().ok();
    ShardLine {
        shard: id.0,
        leader: leader.map(|node| node.0),
        health,
        members,
        short_chunks: summary.map(|summary| summary.short_chunks),
        lost_chunks: summary.map(|summary| summary.lost_chunks),
        streams: summary.map(|summary| summary.streams),
        problem: (!problems.is_empty()).then(|| problems.join("; ")),
    }
}

/// The replica that says it leads, in the highest term; a leader that was cut off may still believe it is one.
fn leader_of(replicas: &BTreeMap<NodeId, &ShardStatus>) -> Option<NodeId> {
    let leading = replicas.iter().filter(|(_, shard)| shard.role == ShardRole::Leader);
    let newest = leading.max_by_key(|(_, shard)| shard.term).map(|(node, _)| *node);
    newest.or_else(|| {
        replicas
            .values()
            .max_by_key(|shard| shard.term)
            .and_then(|shard| shard.leader)
    })
}

/// The voters, as the leader names them; without one as the replica with the newest log does. A replica that has given
/// up its seat may have the highest term, and know nothing of that.
fn members(replicas: &BTreeMap<NodeId, &ShardStatus>) -> Vec<MemberLine> {
    let leading = replicas.values().filter(|shard| shard.role == ShardRole::Leader);
    let newest = leading.max_by_key(|shard| shard.term);
    let Some(newest) = newest.or_else(|| replicas.values().max_by_key(|shard| (shard.last_index, shard.term))) else {
        return Vec::new();
    };
    let ahead = replicas.values().filter_map(|shard| shard.applied_index).max();
    let line = |node: &NodeId| {
        let replica = replicas.get(node);
        let applied = replica.and_then(|shard| shard.applied_index);
        MemberLine {
            node: node.0,
            role: replica.map_or("away", |shard| role_name(shard.role)).to_owned(),
            applied,
            behind: ahead.zip(applied).map(|(ahead, applied)| ahead - applied),
        }
    };
    newest.voters.iter().map(line).collect()
}

fn role_name(role: ShardRole) -> &'static str {
    match role {
        ShardRole::Leader => "leader",
        ShardRole::Follower => "follower",
        ShardRole::Candidate => "candidate",
        ShardRole::Learner => "learner",
        ShardRole::Stopped => "stopped",
    }
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
