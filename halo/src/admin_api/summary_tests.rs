//! Unit tests of the status: who leads, who is away, and that what nobody knows is not called zero.

use metadata::ids::DeviceId;
use storage_node::shard::ShardsStatus;
use storage_node::wire::NodeAddress;

use super::*;

fn replica(role: ShardRole, term: u64, applied: u64) -> ShardStatus {
    ShardStatus {
        shard: ShardId(1),
        role,
        leader: None,
        term,
        last_index: Some(applied),
        applied_index: Some(applied),
        purged_index: None,
        log_bytes: 0,
        voters: vec![NodeId(1), NodeId(2), NodeId(3)],
        learners: Vec::new(),
        matched: Vec::new(),
        quorum_age_ms: None,
        fault: None,
    }
}

fn node(id: u64, role: ShardRole, term: u64, applied: u64) -> (NodeId, Result<NodeStatus, String>) {
    let shards = ShardsStatus {
        node: NodeId(id),
        incarnation: String::new(),
        quarantine: None,
        store_failed: None,
        syncs: 10,
        synced_jobs: 40,
        clock_offsets_ms: Vec::new(),
        shards: vec![replica(role, term, applied)],
    };
    let usage = Usage {
        syncs: 5,
        ..Usage::default()
    };
    let device = u32::try_from(id).expect("small");
    let status = NodeStatus {
        node: NodeId(id),
        address: NodeAddress {
            wire: "127.0.0.1:1".into(),
            blobs: "127.0.0.1:2".into(),
        },
        now_ms: 7,
        started_ms: 1,
        watchers: 0,
        shards,
        devices: vec![DeviceStatus {
            device: DeviceId(device),
            path: "/disk".into(),
            usage: Ok(usage),
        }],
        work: Vec::new(),
    };
    (NodeId(id), Ok(status))
}

fn away(id: u64) -> (NodeId, Result<NodeStatus, String>) {
    (NodeId(id), Err("no answer".into()))
}

fn answers(nodes: Vec<(NodeId, Result<NodeStatus, String>)>, summary: Result<Summary, String>) -> Answers {
    Answers {
        cluster: "c".into(),
        taken_ms: 7,
        nodes,
        shards: vec![(ShardId(1), summary)],
    }
}

fn three() -> Vec<(NodeId, Result<NodeStatus, String>)> {
    vec![
        node(1, ShardRole::Follower, 4, 99),
        node(2, ShardRole::Leader, 4, 100),
        node(3, ShardRole::Follower, 4, 100),
    ]
}

#[test]
fn a_whole_cluster_is_healthy() {
    let status = status(&answers(three(), Ok(Summary::default())));
    assert!(status.healthy);
    assert_eq!(status.short_chunks, Some(0));
    assert_eq!(status.shards[0].leader, Some(2));
    assert_eq!(status.shards[0].health, ShardHealth::Ok);
    assert_eq!(status.shards[0].members[0].behind, Some(1));
    assert_eq!((status.nodes[1].leads, status.nodes[1].syncs), (1, 15));
}

/// After a cluster grew, its status said for ever that shards were degraded.
#[test]
fn a_replica_that_gave_up_its_seat_is_no_member_whatever_its_term() {
    let mut nodes = three();
    nodes.push(node(4, ShardRole::Candidate, 900, 50));
    if let (_, Ok(said)) = &mut nodes[3] {
        said.shards.shards[0].voters.push(NodeId(4));
    }
    let status = status(&answers(nodes, Ok(Summary::default())));
    assert_eq!(status.shards[0].health, ShardHealth::Ok);
    assert_eq!(status.shards[0].members.len(), 3);
    assert_eq!(status.shards[0].leader, Some(2));
}

#[test]
fn a_node_that_is_away_degrades_its_shards() {
    let nodes = vec![
        node(1, ShardRole::Follower, 4, 100),
        node(2, ShardRole::Leader, 4, 100),
        away(3),
    ];
    let status = status(&answers(
        nodes,
        Ok(Summary {
            short_chunks: 3,
            ..Summary::default()
        }),
    ));
    assert!(!status.healthy);
    assert_eq!(status.shards[0].health, ShardHealth::Degraded);
    assert_eq!(status.shards[0].members[2].role, "away");
    assert_eq!(status.short_chunks, Some(3));
    assert!(!status.nodes[2].up);
}

#[test]
fn a_member_far_behind_degrades_its_shard() {
    let mut nodes = three();
    nodes[0] = node(1, ShardRole::Follower, 4, 100);
    nodes[1] = node(2, ShardRole::Leader, 4, 100 + BEHIND_MAX + 1);
    let status = status(&answers(nodes, Ok(Summary::default())));
    assert_eq!(status.shards[0].health, ShardHealth::Degraded);
}

#[test]
fn heal_1_what_nobody_could_be_asked_is_not_zero() {
    let status = status(&answers(vec![away(1), away(2), away(3)], Err("no majority".into())));
    assert_eq!(status.short_chunks, None);
    assert_eq!(status.shards[0].health, ShardHealth::Down);
    assert!(!status.healthy);
}

#[test]
fn a_leader_of_an_older_term_is_not_believed() {
    let nodes = vec![
        node(1, ShardRole::Leader, 3, 90),
        node(2, ShardRole::Leader, 4, 100),
        node(3, ShardRole::Follower, 4, 100),
    ];
    assert_eq!(
        status(&answers(nodes, Ok(Summary::default()))).shards[0].leader,
        Some(2)
    );
}

#[test]
fn a_device_that_takes_no_writes_needs_an_eye() {
    let mut nodes = three();
    let Ok(report) = &mut nodes[0].1 else {
        panic!("it answers")
    };
    report.devices[0].usage = Ok(Usage {
        state: DeviceState::ReadOnly,
        ..Usage::default()
    });
    let status = status(&answers(nodes, Ok(Summary::default())));
    assert!(!status.healthy);
    assert_eq!(status.devices[0].state, "read-only");
    assert!(status.devices[0].problem.is_some());
}

#[test]
fn a_device_that_did_not_open_says_why() {
    let mut nodes = three();
    let Ok(report) = &mut nodes[0].1 else {
        panic!("it answers")
    };
    report.devices[0].usage = Err("the disk is not mounted".into());
    let status = status(&answers(nodes, Ok(Summary::default())));
    assert!(!status.healthy);
    assert_eq!(status.devices[0].state, "out");
    assert_eq!(status.devices[0].problem.as_deref(), Some("the disk is not mounted"));
}
