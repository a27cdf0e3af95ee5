//! The cluster's nodes as the admin API asks and tells them: over the wire, from any process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use metadata::ids::{DeviceId, NodeId};
use metadata::model::PolicyId;
use storage_node::client::{ClusterClient, check_stand_in};
use storage_node::node::NodeStatus;
use storage_node::node::admin::{AdminAnswer, AdminCall};
use storage_node::shard::calls;
use storage_node::wire::{CallKind, Channel};

use crate::admin_api::Operator;

/// How long a node may take to say something of itself.
const REPORT_MAX: Duration = Duration::from_secs(3);
/// How long a change of the live rings may take.
const CHANGE_MAX: Duration = Duration::from_secs(15);
/// How long opening a device may take: what its index lacks is read from its segments.
const OPEN_MAX: Duration = Duration::from_secs(120);
/// How long building an index anew may take: it reads every segment of the device.
const REBUILD_MAX: Duration = Duration::from_secs(3600);

/// Asks nodes over the wire.
pub struct WireOperator {
    client: ClusterClient,
    own: Option<NodeId>,
}

impl WireOperator {
    /// Asks the nodes that `client` knows; `own` is the one in this process.
    #[must_use]
    pub fn new(client: ClusterClient, own: Option<NodeId>) -> Self {
        Self { client, own }
    }

    /// Tells the node that has the device; its answer is a sentence.
    async fn tell_home(&self, device: DeviceId, call: &AdminCall, longest: Duration) -> Result<String, String> {
        let Some(node) = self.client.home(device) else {
            return Err(format!("no ring names device {device}"));
        };
        self.tell(node, call, longest).await
    }

    async fn check_stand_in(&self, policy: PolicyId, device: DeviceId) -> Result<(), String> {
        let (state, _) = self
            .client
            .ring_state(policy, CHANGE_MAX)
            .await
            .map_err(|e| e.to_string())?;
        let live = self.client.ring_of_file(policy, &state.current, CHANGE_MAX).await;
        let live = live.map_err(|e| e.to_string())?;
        let facts = self.client.facts(&state, CHANGE_MAX).await.map_err(|e| e.to_string())?;
        check_stand_in(&live.ring, &BTreeSet::from([device]), &facts)
            .map_err(|why| format!("nobody can stand in for device {device}: {why}"))
    }

    async fn report(&self, node: NodeId) -> Result<NodeStatus, String> {
        let caller = self.client.caller();
        let asked = caller
            .call(node, Channel::Metadata, CallKind::NodeStatus, Bytes::new(), REPORT_MAX)
            .await;
        calls::decode(&asked.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Operator for WireOperator {
    async fn reports(&self) -> BTreeMap<NodeId, Result<NodeStatus, String>> {
        let asked = self
            .client
            .book()
            .nodes()
            .into_iter()
            .map(|node| async move { (node, self.report(node).await) });
        futures::future::join_all(asked).await.into_iter().collect()
    }

    async fn own_report(&self) -> Option<NodeStatus> {
        self.report(self.own?).await.ok()
    }

    async fn tell(&self, node: NodeId, call: &AdminCall, longest: Duration) -> Result<String, String> {
        match self.client.admin(node, call, longest).await? {
            AdminAnswer::Done(sentence) => Ok(sentence),
            AdminAnswer::Failed(sentence) => Err(sentence),
            AdminAnswer::WatchersApplied(_) => Err(format!("node {node} gave an answer of another kind")),
        }
    }

    fn cluster(&self) -> Option<&ClusterClient> {
        Some(&self.client)
    }

    async fn device_failed(&self, device: DeviceId, failed: bool) -> Result<String, String> {
        if self.client.home(device).is_none() {
            return Err(format!("no ring names device {device}"));
        }
        let mut policies = self.client.policies_of(device);
        let mut alone = Vec::new();
        if failed {
            // Where nobody can stand in the device keeps its place, and gets its blobs back when it is replaced.
            for policy in std::mem::take(&mut policies) {
                match self.check_stand_in(policy, device).await {
                    Ok(()) => policies.push(policy),
                    Err(why) => alone.push((policy, why)),
                }
            }
            if let Some((_, why)) = alone.first().filter(|_| policies.is_empty()) {
                return Err(why.clone());
            }
        } else {
            // A disk that does not serve takes no partitions back.
            self.tell_home(device, &AdminCall::OpenDevice { device }, OPEN_MAX)
                .await?;
        }
        for policy in policies {
            let changed = self.client.device_failed(policy, device, failed, CHANGE_MAX).await;
            changed.map_err(|error| error.to_string())?;
        }
        Ok(if failed {
            let but = alone
                .iter()
                .map(|(policy, why)| format!("; policy {}: {why}", policy.0));
            let but: String = but.collect();
            format!("device {device} counts as failed: others stand in, and its copies are made anew there{but}")
        } else {
            format!("device {device} is in use again: its partitions come back to it")
        })
    }

    async fn rebuild_index(&self, device: DeviceId) -> Result<String, String> {
        self.tell_home(device, &AdminCall::RebuildIndex { device }, REBUILD_MAX)
            .await
    }

    async fn approve_orphans(&self, device: DeviceId) -> Result<String, String> {
        self.tell_home(device, &AdminCall::ApproveOrphans { device }, REPORT_MAX)
            .await
    }
}
