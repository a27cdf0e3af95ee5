//! Everything others may call on this node: its shards, its status, its administration.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::WallClock;
use metadata::ids::NodeId;

use super::admin::{AdminAnswer, AdminCall};
use super::open_devices::OpenDevices;
use super::status::{DeviceStatus, NodeStatus};
use super::watchers::Watchers;
use super::work::{Approvals, WorkBoard};
use crate::client::STALENESS_MAX;
use crate::shard::Shards;
use crate::shard::calls::{WatchCall, decode, encode};
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
            Ok(AdminCall::ApproveOrphans { device }) => {
                self.approvals.approve(device);
                AdminAnswer::Done(format!(
                    "the next walk over device {device} removes all that is unreferenced"
                ))
            }
            Err(error) => AdminAnswer::Failed(error.to_string()),
        }
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
