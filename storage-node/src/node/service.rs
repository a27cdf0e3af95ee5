//! Everything others may call on this node: its shards, its status, its administration.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::WallClock;
use metadata::ids::{NodeId, ShardId};

use super::admin::{AdminAnswer, AdminCall};
use super::open_devices::OpenDevices;
use super::status::{DeviceStatus, NodeStatus};
use super::watchers::Watchers;
use super::work::{Approvals, WorkBoard};
use crate::client::STALENESS_MAX;
use crate::shard::calls::{WatchCall, decode, encode};
use crate::shard::{ShardFault, Shards};
use crate::wire::{CallKind, NodeAddress, Peer, Service};

/// The node's front desk.
pub(crate) struct NodeService {
    pub(crate) node: NodeId,
    pub(crate) address: NodeAddress,
    pub(crate) started_ms: u64,
    pub(crate) shards: Shards,
    pub(crate) devices: Arc<OpenDevices>,
    pub(crate) watchers: Watchers,
    pub(crate) board: WorkBoard,
    pub(crate) approvals: Approvals,
    pub(crate) clock: Arc<dyn WallClock>,
}

impl NodeService {
    pub(crate) fn status(&self) -> NodeStatus {
        let devices = self.devices.report().into_iter();
        NodeStatus {
            node: self.node,
            address: self.address.clone(),
            now_ms: self.clock.now_ms(),
            started_ms: self.started_ms,
            watchers: self.watchers.live(),
            shards: self.shards.status(),
            devices: devices
                .map(|(device, path, usage)| DeviceStatus { device, path, usage })
                .collect(),
            work: self.board.lines(),
        }
    }

    async fn admin(&self, body: &[u8]) -> AdminAnswer {
        match decode(body) {
            Ok(AdminCall::WatchersApplied { index, wait_ms }) => {
                let at_most = Duration::from_millis(wait_ms).min(STALENESS_MAX);
                AdminAnswer::WatchersApplied(self.watchers.applied(index, at_most).await)
            }
            Ok(AdminCall::RebuildIndex { device }) => match self.devices.rebuild_index(device).await {
                Ok(report) => AdminAnswer::Done(format!("device {device} serves again with {} blobs", report.blobs)),
                Err(error) => AdminAnswer::Failed(error.to_string()),
            },
            Ok(AdminCall::OpenDevice { device }) => match self.devices.replaced(device).await {
                Ok(sentence) => AdminAnswer::Done(sentence),
                Err(sentence) => AdminAnswer::Failed(sentence),
            },
            Ok(AdminCall::ApproveOrphans { device }) => {
                self.approvals.approve(device);
                AdminAnswer::Done(format!(
                    "the next walk over device {device} removes all that is unreferenced"
                ))
            }
            Ok(AdminCall::AddLearner { shard, node }) => {
                let added = self.shards.add_learner(shard, node).await;
                told(added, || format!("node {node} has caught up with shard {shard}"))
            }
            Ok(AdminCall::ChangeVoters { shard, voters }) => {
                let changed = self.shards.change_voters(shard, &voters).await;
                told(changed, || format!("shard {shard} has {} voters", voters.len()))
            }
            Ok(AdminCall::HandOver { shard, target }) => match self.shards.hand_over(shard, target).await {
                Ok(false) => AdminAnswer::Failed(format!("node {target} does not lead shard {shard} yet: ask again")),
                other => told(other, || format!("node {target} leads shard {shard}")),
            },
            Ok(AdminCall::ForgetPeer { node }) => told(self.shards.forget_peer(node).await, || {
                format!("the store of node {node} is forgotten here")
            }),
            Ok(AdminCall::Dismiss { node }) => match self.shards.dismiss(node).await {
                Ok(count) => AdminAnswer::Done(format!("{count} shards led here count without node {node}")),
                // It leads nothing, so nothing here counts anybody.
                Err(ShardFault::Quarantined(_)) => AdminAnswer::Done("this node takes no part in any shard".into()),
                Err(fault) => AdminAnswer::Failed(fault.to_string()),
            },
            Ok(AdminCall::Welcome {
                node,
                incarnation,
                votes_in,
            }) => told(self.shards.welcome(node, incarnation, &votes_in).await, || {
                format!("the store of node {node} is known here")
            }),
            Ok(AdminCall::Admit { node }) => match self.shards.admit(node).await {
                Ok(count) => AdminAnswer::Done(format!("{count} shards led here have taken node {node} in")),
                Err(fault) => AdminAnswer::Failed(fault.to_string()),
            },
            Ok(AdminCall::RecoverShards) => match self.shards.recover().await {
                Ok(shards) => AdminAnswer::Done(recovered(self.node, &shards)),
                Err(fault) => AdminAnswer::Failed(fault.to_string()),
            },
            Ok(AdminCall::BackupMetadata { folder }) => match self.shards.backup(Path::new(&folder)).await {
                Ok(done) => AdminAnswer::Done(done.to_string()),
                Err(fault) => AdminAnswer::Failed(fault.to_string()),
            },
            Err(error) => AdminAnswer::Failed(error.to_string()),
        }
    }
}

fn recovered(node: NodeId, shards: &[ShardId]) -> String {
    let shards: Vec<String> = shards.iter().map(ToString::to_string).collect();
    format!(
        "shards {} go on with node {node} alone; the other nodes join again by themselves with empty stores",
        shards.join(", ")
    )
}

fn told<T>(outcome: Result<T, ShardFault>, done: impl FnOnce() -> String) -> AdminAnswer {
    match outcome {
        Ok(_) => AdminAnswer::Done(done()),
        Err(fault) => AdminAnswer::Failed(fault.to_string()),
    }
}

#[async_trait]
impl Service for NodeService {
    async fn serve(&self, peer: &Peer, kind: CallKind, body: Bytes) -> Option<Bytes> {
        match kind {
            CallKind::NodeStatus => Some(encode(&self.status())),
            CallKind::Admin => Some(encode(&self.admin(&body).await)),
            CallKind::WatchSystem => {
                if let Ok(call) = decode::<WatchCall>(&body) {
                    self.watchers.polled(peer.process, &call.from);
                }
                self.shards.serve(peer, kind, body).await
            }
            CallKind::RaftAppend
            | CallKind::RaftVote
            | CallKind::RaftSnapshot
            | CallKind::RaftReadIndex
            | CallKind::Propose
            | CallKind::Query => self.shards.serve(peer, kind, body).await,
        }
    }
}
