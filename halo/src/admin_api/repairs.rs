//! Whether everything has its copies: what repair and scrub have noted, and verification. Parse, ask, render.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use metadata::model::PolicyId;
use storage_node::client::{ClusterClient, DataPlane, Phase, RingChangeError, RingState};
use storage_node::node::ClusterStatus;
use storage_node::node::work::repair::{OpenJobs, REPAIR_JOBS_TABLE};
use storage_node::node::work::scrub::{SCRUB_TABLE, ScrubNote};
use store::{LocateDepth, Seq, VerifyAfter};

use super::AdminParts;
use super::handlers::context;
use super::refusal::{ApiError, Document};
use super::ring_model::{
    RepairJobLine, RepairStatus, RepairWorkLine, RingStatus, ScrubLine, ShardRepairLine, VerifyCall, VerifyPage,
    VerifyPlace, VerifyProblem,
};
use super::rings::{STATUS_MAX, cluster, progress, receivers_of, ring_status};

/// Versions in one page of verification, whatever was asked.
const VERIFY_PAGE_MAX: usize = 1000;

type Parts = State<Arc<AdminParts>>;
type Answer<T> = Result<Json<T>, ApiError>;

pub(super) async fn status(State(parts): Parts) -> Answer<RepairStatus> {
    let client = cluster(&parts)?;
    let list = client.policy_list(STATUS_MAX).await?;
    let policies = list.iter().map(storage_node::client::Policy::id);
    let mut rings = Vec::new();
    for policy in std::iter::once(PolicyId::default()).chain(policies) {
        match client.ring_state(policy, STATUS_MAX).await {
            Ok((state, _)) => rings.push(change_of(&parts, client, policy, state).await?),
            // It was not made to its end, so nothing lies under it.
            Err(RingChangeError::NoRing(_)) if policy != PolicyId::default() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let records = client.records(REPAIR_JOBS_TABLE, "", STATUS_MAX).await?;
    let jobs: Vec<OpenJobs> = records
        .iter()
        .filter_map(|(_, record)| OpenJobs::decode(&record.value))
        .collect();
    let records = client.records(SCRUB_TABLE, "", STATUS_MAX).await?;
    let scrubs = records
        .iter()
        .filter_map(|(_, record)| ScrubNote::decode(&record.value));
    let cluster = client.cluster_status(STATUS_MAX).await;
    Ok(Json(RepairStatus {
        scrubs: scrubs.map(|note| scrub_line(&note)).collect(),
        ..repair_status(&cluster, &jobs, &rings)
    }))
}

fn scrub_line(note: &ScrubNote) -> ScrubLine {
    let last = note.last.as_ref();
    ScrubLine {
        device: note.device,
        percent: note.percent(),
        damaged: note.pass.damaged,
        passes: note.passes,
        last_ended_ms: last.and_then(|last| last.ended_ms),
        last_blobs: last.map(|last| last.blobs),
        last_bytes: last.map(|last| last.bytes),
        last_damaged: last.map(|last| last.damaged),
    }
}

/// How far the change of one policy's ring is.
async fn change_of(
    parts: &AdminParts,
    client: &ClusterClient,
    policy: PolicyId,
    state: RingState,
) -> Result<RingStatus, ApiError> {
    let noted = progress(client, policy, &state).await?;
    let live = client
        .rings(policy)
        .filter(|live| live.state.current.epoch == state.current.epoch);
    let wanted = match live {
        Some(live) if state.phase != Phase::Settled => receivers_of(live).await,
        _ => Vec::new(),
    };
    Ok(ring_status(&state, &wanted, &noted, 0, parts.clock.now_ms()))
}

/// Counts what lacks copies, from the log alone (HEAL-1). Plain function.
pub(super) fn repair_status(cluster: &ClusterStatus, jobs: &[OpenJobs], rings: &[RingStatus]) -> RepairStatus {
    let found = jobs.iter().map(|jobs| RepairJobLine {
        device: jobs.device,
        kind: "repair".to_owned(),
        partitions: jobs.partitions.len() as u64,
        since_ms: jobs.since_ms,
    });
    let moving = rings.iter().filter(|ring| ring.phase != "settled");
    let asked = moving.flat_map(|ring| {
        ring.devices.iter().map(|one| RepairJobLine {
            device: one.device,
            kind: "ring".to_owned(),
            partitions: one.total - one.copied.min(one.total),
            since_ms: ring.since_ms,
        })
    });
    let jobs: Vec<RepairJobLine> = found.chain(asked).filter(|line| line.partitions > 0).collect();
    let shards: Vec<ShardRepairLine> = cluster
        .shards
        .iter()
        .map(|(shard, said)| ShardRepairLine {
            shard: shard.0,
            short_chunks: said.as_ref().ok().map(|summary| summary.short_chunks),
            lost_chunks: said.as_ref().ok().map(|summary| summary.lost_chunks),
            problem: said.as_ref().err().cloned(),
        })
        .collect();
    let open = jobs.iter().map(|line| line.partitions).sum::<u64>();
    let work = cluster
        .nodes
        .iter()
        .filter_map(|(node, said)| Some((node, said.as_ref().ok()?)));
    let concerns = |name: &str| {
        [
            "repair of",
            "short queue",
            "moves to",
            "search for",
            "change of",
            "watch over",
        ]
        .iter()
        .any(|start| name.starts_with(start))
    };
    let work = work.flat_map(|(node, status)| {
        let lines = status.work.iter().filter(|line| concerns(&line.name));
        lines.map(|line| RepairWorkLine {
            node: node.0,
            name: line.name.clone(),
            state: line.state.clone(),
            last_error: line.last_error.clone(),
            asks: line.asks.clone(),
        })
    });
    let short_chunks = cluster.short_chunks();
    RepairStatus {
        taken_ms: rings.iter().map(|ring| ring.taken_ms).max().unwrap_or_default(),
        healed: short_chunks.map(|short| short == 0 && open == 0),
        short_chunks,
        lost_chunks: cluster.lost_chunks(),
        open_partitions: Some(open),
        oldest_open_ms: jobs.iter().map(|line| line.since_ms).min(),
        shards,
        jobs,
        work: work.collect(),
        scrubs: Vec::new(),
    }
}

pub(super) async fn verify(State(parts): Parts, Document(call): Document<VerifyCall>) -> Answer<VerifyPage> {
    let bad = || ApiError::new(StatusCode::BAD_REQUEST, "the key of `after` is not in hex");
    let after = match &call.after {
        None => None,
        Some(place) => Some(VerifyAfter {
            key: hex::decode(&place.key).map_err(|_| bad())?,
            version: Seq(place.version),
        }),
    };
    let cx = context(&parts, call.project.as_deref().unwrap_or_default());
    let bucket = parts.store.bucket(&cx, &call.bucket).await?;
    let depth = if call.read {
        LocateDepth::Bytes
    } else {
        LocateDepth::Index
    };
    let limit = call.limit.clamp(1, VERIFY_PAGE_MAX);
    let page = parts.store.verify(&cx, &bucket, after, limit, depth).await?;
    let problems = page.problems.into_iter().map(|problem| VerifyProblem {
        bucket: call.bucket.clone(),
        key: String::from_utf8_lossy(&problem.key).into_owned(),
        version: problem
            .version
            .map_or("null".to_owned(), |version| format!("{:016x}", version.0)),
        kind: problem.kind.name().to_owned(),
        chunks: problem.chunks,
    });
    Ok(Json(VerifyPage {
        versions: page.versions,
        chunks: page.chunks,
        copies: page.copies,
        problems: problems.collect(),
        next: page.next.map(|next| VerifyPlace {
            key: hex::encode(next.key),
            version: next.version.0,
        }),
    }))
}
