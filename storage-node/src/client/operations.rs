//! What operators and the program's start ask of a cluster through its client: records, rings, status, administration.

use std::time::Duration;

use bytes::Bytes;
use metadata::apply::RECORD_BYTES_MAX;
use metadata::command::{Command, RecordCondition};
use metadata::ids::{NodeId, ShardId};
use metadata::model::PolicyId;
use metadata::query::{Found, Query};
use metadata::reply::{Done, Refusal};
use ring::Ring;
use tokio::time::Instant;

use super::cluster::ClusterClient;
use super::ring_state::{RING_STATE_TABLE, RingState};
use super::rings::RINGS_TABLE;
use super::{MetadataPlane, PlaneError};
use crate::node::admin::{AdminAnswer, AdminCall};
use crate::node::{ClusterStatus, NodeStatus};
use crate::shard::calls::{ReadIndexCall, decode, encode};
use crate::wire::{CallKind, Channel};

impl ClusterClient {
    /// Makes `ring` the first one of `policy`. A cluster that has one keeps its own; the same one again is fine. Later
    /// rings are applied: [`Self::apply_ring`].
    ///
    /// # Errors
    /// When the system shard does not answer, or the policy has another ring.
    pub async fn install_ring(&self, policy: PolicyId, ring: &Ring, deadline: Duration) -> Result<(), RecordError> {
        let key = policy.0.to_string();
        let given = ring.version();
        if let Some(record) = self.record(RING_STATE_TABLE, &key, deadline).await? {
            let live = RingState::decode(&record.value).map_or(u64::MAX, |state| state.current.version);
            return Err(RecordError::NotNewer { live, given });
        }
        let value: Bytes = ring.to_bytes().into();
        match self.record(RINGS_TABLE, &key, deadline).await? {
            Some(record) if record.value == value => return Ok(()),
            Some(record) => {
                let live = Ring::from_bytes(&record.value).map_or(u64::MAX, |ring| ring.version());
                return Err(RecordError::NotNewer { live, given });
            }
            None => {}
        }
        if value.len() > RECORD_BYTES_MAX {
            return self.install_in_pieces(policy, ring, deadline).await;
        }
        self.put_record(RINGS_TABLE, &key, RecordCondition::Absent, value, deadline)
            .await?;
        Ok(())
    }

    /// Writes a record of the system shard; its version afterwards.
    ///
    /// # Errors
    /// When the system shard does not answer or refuses.
    pub async fn put_record(
        &self,
        table: &str,
        key: &str,
        expect: RecordCondition,
        value: Bytes,
        deadline: Duration,
    ) -> Result<u64, RecordError> {
        let command = Command::PutRecord {
            table: table.to_owned(),
            key: key.to_owned(),
            expect,
            value,
        };
        match self
            .propose(ShardId::SYSTEM, self.request_id(), command, deadline)
            .await?
        {
            Ok(Done::Record { version }) => Ok(version),
            Ok(_) => Err(RecordError::Odd),
            Err(refusal) => Err(RecordError::Refused(refusal)),
        }
    }

    /// Asks one node for administration.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn admin(&self, node: NodeId, call: &AdminCall, deadline: Duration) -> Result<AdminAnswer, String> {
        let answered = self
            .caller()
            .call(node, Channel::Metadata, CallKind::Admin, encode(call), deadline)
            .await;
        let body = answered.map_err(|e| e.to_string())?;
        decode::<AdminAnswer>(&body).map_err(|e| e.to_string())
    }

    /// What one node says about itself.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn node_status(&self, node: NodeId, deadline: Duration) -> Result<NodeStatus, String> {
        let body = Bytes::new();
        let answered = self
            .caller()
            .call(node, Channel::Metadata, CallKind::NodeStatus, body, deadline)
            .await;
        decode(&answered.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    }

    /// Asks every known node and every shard at once (HEAL-1).
    pub async fn cluster_status(&self, deadline: Duration) -> ClusterStatus {
        let nodes = self.book().nodes();
        let nodes = nodes
            .into_iter()
            .map(|node| async move { (node, self.node_status(node, deadline).await) });
        let shards = (0..=self.key_shards()).map(ShardId).map(|shard| async move {
            let summary = match self.query(shard, Query::Summary, deadline).await {
                Ok(Ok(Found::Summary(summary))) => Ok(summary),
                Ok(other) => Err(format!("an answer of another kind: {other:?}")),
                Err(e) => Err(e.to_string()),
            };
            (shard, summary)
        });
        let (nodes, shards) = futures::join!(futures::future::join_all(nodes), futures::future::join_all(shards));
        ClusterStatus { nodes, shards }
    }

    /// True when every live copy, as far as all nodes know, has applied the system shard up to now.
    pub(super) async fn copies_applied(&self, until: Instant) -> bool {
        let left = || until.saturating_duration_since(Instant::now());
        let body = encode(&ReadIndexCall { shard: ShardId::SYSTEM });
        let asked = self
            .shard_caller()
            .ask::<Option<u64>>(ShardId::SYSTEM, CallKind::RaftReadIndex, body, left())
            .await;
        let Ok(Some(index)) = asked else { return false };
        let nodes = self.book().nodes();
        let call = AdminCall::WatchersApplied {
            index,
            wait_ms: u64::try_from(left().as_millis()).unwrap_or(0),
        };
        let asks = nodes.iter().map(|node| self.admin(*node, &call, left()));
        let answers = futures::future::join_all(asks).await;
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(AdminAnswer::WatchersApplied(true))))
    }
}

/// Why a record was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The system shard did not answer; a repeat is safe when the expectation still holds.
    #[error(transparent)]
    Plane(#[from] PlaneError),
    /// The system shard refused.
    #[error(transparent)]
    Refused(Refusal),
    /// The policy has a ring already: a first one is not wanted.
    #[error("the cluster has a ring (version {live}): apply version {given} with `halo ring apply`")]
    NotNewer {
        /// The version in the records.
        live: u64,
        /// The version given.
        given: u64,
    },
    /// The shard answered something else than was asked.
    #[error("the system shard gave an answer of another kind")]
    Odd,
}
