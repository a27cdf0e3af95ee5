//! The live rings: parse, ask, render.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use http::StatusCode;
use metadata::ids::DeviceId;
use metadata::model::PolicyId;
use ring::Ring;
use ring::change::even_partition_bytes;
use storage_node::client::{
    ApplyOptions, ClusterClient, DataPlane, LiveRings, Phase, Reason, RecordError, RingChangeError, RingState,
};
use storage_node::node::ClusterStatus;
use storage_node::node::work::moving::{Progress, RING_PROGRESS_TABLE, progress_prefix, receivers};

use super::AdminParts;
use super::model::DoneLine;
use super::policies::WhichPolicy;
use super::refusal::{ApiError, Document};
use super::ring_model::{NewRate, NewRing, ReceiverLine, RingApplied, RingStatus};

/// How long one step of a change may take.
const STEP_MAX: Duration = Duration::from_secs(10);
/// How long the nodes and shards may take to say something of themselves.
pub(super) const STATUS_MAX: Duration = Duration::from_secs(5);

type Parts = State<Arc<AdminParts>>;
type Which = Query<WhichPolicy>;
type Answer<T> = Result<Json<T>, ApiError>;

impl From<RingChangeError> for ApiError {
    fn from(error: RingChangeError) -> Self {
        let status = match &error {
            RingChangeError::File(_) => StatusCode::BAD_REQUEST,
            RingChangeError::Change(_) | RingChangeError::State(_) | RingChangeError::Contended => StatusCode::CONFLICT,
            RingChangeError::NoRing(_) => StatusCode::NOT_FOUND,
            RingChangeError::Record(_) => StatusCode::SERVICE_UNAVAILABLE,
            RingChangeError::Recorded(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<RecordError> for ApiError {
    fn from(error: RecordError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

pub(super) fn cluster(parts: &AdminParts) -> Result<&ClusterClient, ApiError> {
    let none = || {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "this process does not reach the cluster",
        )
    };
    parts.operator.cluster().ok_or_else(none)
}

pub(super) async fn status(State(parts): Parts, Query(which): Which) -> Answer<RingStatus> {
    let client = cluster(&parts)?;
    let policy = which.find(client).await?;
    let (state, _) = client.ring_state(policy, STATUS_MAX).await?;
    let progress = progress(client, policy, &state).await?;
    let live = client
        .rings(policy)
        .filter(|live| live.state.current.epoch == state.current.epoch);
    let wanted = match live {
        Some(live) => receivers_of(live).await,
        // This process is a moment behind: what the devices noted is what there is.
        None => progress.values().map(|one| (DeviceId(one.device), one.total)).collect(),
    };
    let stored_bytes = stored_bytes(&client.cluster_status(STATUS_MAX).await);
    let partition_bytes = client
        .ring(policy)
        .map_or(0, |ring| even_partition_bytes(&ring, stored_bytes));
    let taken_ms = parts.clock.now_ms();
    Ok(Json(ring_status(&state, &wanted, &progress, partition_bytes, taken_ms)))
}

pub(super) async fn receivers_of(live: Arc<LiveRings>) -> Vec<(DeviceId, u64)> {
    // A ring of a quarter of a million partitions takes a moment to compare.
    let found = tokio::task::spawn_blocking(move || receivers(&live)).await;
    found.unwrap_or_default()
}

pub(super) async fn progress(
    client: &ClusterClient,
    policy: PolicyId,
    state: &RingState,
) -> Result<BTreeMap<DeviceId, Progress>, ApiError> {
    let prefix = progress_prefix(policy, state.current.epoch);
    let records = client.records(RING_PROGRESS_TABLE, &prefix, STATUS_MAX).await?;
    let noted = records.iter().filter_map(|(_, record)| Progress::decode(&record.value));
    Ok(noted.map(|one| (DeviceId(one.device), one)).collect())
}

fn stored_bytes(status: &ClusterStatus) -> u64 {
    let devices = status.nodes.iter().filter_map(|(_, node)| node.as_ref().ok());
    let devices = devices.flat_map(|node| &node.devices);
    devices
        .filter_map(|device| Some(device.usage.as_ref().ok()?.live_bytes))
        .sum()
}

/// Puts a change's numbers together. Plain function.
pub(super) fn ring_status(
    state: &RingState,
    wanted: &[(DeviceId, u64)],
    progress: &BTreeMap<DeviceId, Progress>,
    partition_bytes: u64,
    taken_ms: u64,
) -> RingStatus {
    let line = |device: DeviceId, total: u64| {
        let noted = progress.get(&device);
        ReceiverLine {
            device: device.0,
            total,
            copied: noted.map_or(0, |noted| noted.done(Phase::Copying)),
            swept: noted.map_or(0, |noted| noted.done(Phase::Sweeping)),
            bytes: noted.map_or(0, |noted| noted.bytes),
            waiting: noted.and_then(|noted| noted.waiting.clone()),
            updated_ms: noted.map(|noted| noted.updated_ms),
        }
    };
    // After the change its notes still tell how it went.
    let devices: Vec<ReceiverLine> = if wanted.is_empty() {
        progress
            .values()
            .map(|noted| line(DeviceId(noted.device), noted.total))
            .collect()
    } else {
        wanted.iter().map(|(device, total)| line(*device, *total)).collect()
    };
    let sum = |count: fn(&ReceiverLine) -> u64| devices.iter().map(count).sum::<u64>();
    let (total, copied, bytes) = (sum(|one| one.total), sum(|one| one.copied), sum(|one| one.bytes));
    let ended_ms = state.done_ms.unwrap_or(taken_ms);
    let taken_s = (ended_ms.saturating_sub(state.since_ms) / 1000).max(1);
    let moving = state.phase != Phase::Settled;
    let left = total.saturating_sub(copied);
    RingStatus {
        taken_ms,
        phase: phase_name(state.phase).to_owned(),
        paused: state.paused,
        reason: reason_name(state.reason).to_owned(),
        version: state.current.version,
        epoch: state.current.epoch,
        previous_version: state.previous.as_ref().map(|previous| previous.version),
        failed_devices: state.current.failed.iter().copied().collect(),
        noticed_devices: state.noticed.iter().copied().collect(),
        since_ms: state.since_ms,
        done_ms: state.done_ms,
        bytes_per_second_max: state.bytes_per_second,
        partitions_total: total,
        partitions_copied: copied,
        partitions_swept: sum(|one| one.swept),
        bytes_copied: bytes,
        bytes_total_estimate: total.saturating_mul(partition_bytes).max(bytes),
        blobs_copied: progress.values().map(|noted| noted.blobs).sum(),
        bytes_per_second: bytes / taken_s,
        eta_s: (moving && copied > 0).then(|| left.saturating_mul(taken_s) / copied),
        devices,
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Settled => "settled",
        Phase::Copying => "copying",
        Phase::Sweeping => "sweeping",
    }
}

fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::First => "first",
        Reason::Apply => "apply",
        Reason::Abort => "abort",
        Reason::Device => "device",
    }
}

pub(super) async fn apply(
    State(parts): Parts,
    Query(which): Which,
    Document(wanted): Document<NewRing>,
) -> Answer<RingApplied> {
    let bad = |sentence: String| ApiError::new(StatusCode::BAD_REQUEST, sentence);
    let bytes = hex::decode(&wanted.ring).map_err(|_| bad("the ring is not in hex".to_owned()))?;
    let ring = Ring::from_bytes(&bytes).map_err(|error| bad(error.to_string()))?;
    let options = ApplyOptions {
        min_part_hours: wanted.min_part_hours,
        accept_fewer_domains: wanted.accept_fewer_domains,
        dry_run: wanted.dry_run,
    };
    let client = cluster(&parts)?;
    let policy = which.find(client).await?;
    let applied = client.apply_ring(policy, &ring, options, STEP_MAX).await?;
    Ok(Json(RingApplied {
        begun: !wanted.dry_run,
        version: ring.version(),
        replicas_moved: applied.replicas_moved,
        bytes_moved_estimate: applied.bytes_moved,
    }))
}

pub(super) async fn pause(State(parts): Parts, Query(which): Which) -> Answer<DoneLine> {
    let client = cluster(&parts)?;
    client.pause_ring(which.find(client).await?, true, STEP_MAX).await?;
    done("copies rest until `halo ring resume`")
}

pub(super) async fn resume(State(parts): Parts, Query(which): Which) -> Answer<DoneLine> {
    let client = cluster(&parts)?;
    client.pause_ring(which.find(client).await?, false, STEP_MAX).await?;
    done("copies go on")
}

pub(super) async fn abort(State(parts): Parts, Query(which): Which) -> Answer<DoneLine> {
    let client = cluster(&parts)?;
    let state = client.abort_ring(which.find(client).await?, STEP_MAX).await?;
    done(&format!("going back to ring version {}", state.current.version))
}

pub(super) async fn throttle(
    State(parts): Parts,
    Query(which): Which,
    Document(wanted): Document<NewRate>,
) -> Answer<DoneLine> {
    let client = cluster(&parts)?;
    let policy = which.find(client).await?;
    client.throttle_ring(policy, wanted.bytes_per_second, STEP_MAX).await?;
    done(&match wanted.bytes_per_second {
        None => "each device receives at its node's default rate".to_owned(),
        Some(0) => "each device receives as fast as it can".to_owned(),
        Some(rate) => format!("each device receives at most {rate} bytes a second"),
    })
}

fn done(sentence: &str) -> Answer<DoneLine> {
    let done = sentence.to_owned();
    Ok(Json(DoneLine { done }))
}

#[cfg(test)]
#[path = "rings_tests.rs"]
mod tests;
