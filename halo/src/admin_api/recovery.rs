//! Requests for the worst days: recovering shards that have lost their majority, backups of the metadata.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use metadata::command::{Command, RecordCondition};
use metadata::ids::{DeviceId, NodeId, RequestId, ShardId};
use serde::{Deserialize, Serialize};
use storage_node::node::admin::AdminCall;
use storage_node::shard::{RESTORED_KEY, RESTORED_TABLE};

use super::AdminParts;
use super::model::DoneLine;
use super::refusal::{ApiError, Document};
use crate::join::JoinDesk;

/// How long recovering a node's shards may take.
pub const RECOVER_MAX: Duration = Duration::from_secs(300);
/// How long writing a backup may take.
pub const BACKUP_MAX: Duration = Duration::from_secs(12 * 3600);
/// How long the system shard may take to forget a restore.
const ACCEPT_MAX: Duration = Duration::from_secs(15);

type Parts = State<Arc<AdminParts>>;
type Answer = Result<Json<DoneLine>, ApiError>;

/// `POST /v1/shards/recover`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recover {
    /// The node whose replicas go on alone.
    pub node: u64,
    /// Must be true: whatever only the lost stores held is gone for good.
    #[serde(default)]
    pub accept_data_loss: bool,
}

/// `POST /v1/metadata/backup`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackUp {
    /// A folder on the machine of the node that writes the backup.
    pub folder: String,
    /// Which node writes it; any that is whole when absent.
    #[serde(default)]
    pub node: Option<u64>,
}

/// `POST /v1/devices/{id}/failed`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failed {
    /// True: others stand in for the device; false: it is back.
    pub failed: bool,
}

/// `POST /v1/nodes/tokens`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewToken {
    /// How long it may be used, in seconds.
    pub valid_s: u64,
}

/// The answer to it: the only time the token is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinToken {
    /// The token.
    pub token: String,
}

pub(super) async fn device_failed(
    State(parts): Parts,
    Path(id): Path<String>,
    Document(wanted): Document<Failed>,
) -> Answer {
    let no_number = |_| ApiError::new(StatusCode::BAD_REQUEST, format!("{id} is not the number of a device"));
    let device = id.parse().map(DeviceId).map_err(no_number)?;
    match parts.operator.device_failed(device, wanted.failed).await {
        Ok(done) => Ok(Json(DoneLine { done })),
        Err(sentence) => Err(ApiError::new(StatusCode::CONFLICT, sentence)),
    }
}

pub(super) async fn join_token(
    State(parts): Parts,
    Document(wanted): Document<NewToken>,
) -> Result<Json<JoinToken>, ApiError> {
    let desk = JoinDesk {
        metadata: parts.planes.metadata.clone(),
        clock: parts.clock.clone(),
        dice: parts.dice.clone(),
    };
    let issued = desk.issue(Duration::from_secs(wanted.valid_s)).await;
    let failed = |error: anyhow::Error| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}"));
    let token = issued.map_err(failed)?.reveal().to_owned();
    Ok(Json(JoinToken { token }))
}

pub(super) async fn recover(State(parts): Parts, Document(wanted): Document<Recover>) -> Answer {
    if !wanted.accept_data_loss {
        let sentence =
            "what only the lost metadata stores held is gone for good after this: say that you accept the loss";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, sentence));
    }
    tell(&parts, NodeId(wanted.node), &AdminCall::RecoverShards, RECOVER_MAX).await
}

pub(super) async fn back_up(State(parts): Parts, Document(wanted): Document<BackUp>) -> Answer {
    let node = match wanted.node {
        Some(node) => NodeId(node),
        None => whole_node(&parts).await?,
    };
    let call = AdminCall::BackupMetadata { folder: wanted.folder };
    tell(&parts, node, &call, BACKUP_MAX).await
}

async fn whole_node(parts: &AdminParts) -> Result<NodeId, ApiError> {
    let reports = parts.operator.reports().await;
    let whole = reports.into_iter().find(|(_, report)| {
        let shards = report.as_ref().map(|report| &report.shards);
        shards.is_ok_and(|shards| shards.quarantine.is_none() && !shards.shards.is_empty())
    });
    let none = || {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no node answers with a sound metadata store",
        )
    };
    whole.map(|(node, _)| node).ok_or_else(none)
}

async fn tell(parts: &AdminParts, node: NodeId, call: &AdminCall, longest: Duration) -> Answer {
    match parts.operator.tell(node, call, longest).await {
        Ok(done) => Ok(Json(DoneLine { done })),
        Err(sentence) => Err(ApiError::new(StatusCode::CONFLICT, sentence)),
    }
}

/// The operator has seen that the restored metadata is whole and newest: orphans may be collected again (DUR-3).
pub(super) async fn accept_restored(State(parts): Parts) -> Answer {
    let command = Command::DeleteRecord {
        table: RESTORED_TABLE.to_owned(),
        key: RESTORED_KEY.to_owned(),
        expect: RecordCondition::Any,
    };
    let request = RequestId::new(parts.clock.now_ms(), parts.dice.u128());
    let answer = parts
        .planes
        .metadata
        .propose(ShardId::SYSTEM, request, command, ACCEPT_MAX)
        .await;
    let done = "the restored metadata is accepted: blobs that it does not know may be collected";
    match answer.map_err(store::StoreError::from)? {
        Ok(_) => Ok(Json(DoneLine { done: done.to_owned() })),
        Err(refusal) => Err(ApiError::new(StatusCode::CONFLICT, refusal.to_string())),
    }
}
