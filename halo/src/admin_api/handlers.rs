//! One function for each request: parse, ask, render.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use metadata::ids::{BucketId, DeviceId, ShardId};
use metadata::query::{Found, Query, Summary};
use store::{
    Bucket, BucketInfo, BucketState, CopyState, LocateDepth, Located, RequestContext, RequestId, Seq, VersionSelector,
};

use super::AdminParts;
use super::model::{
    BucketLine, Buckets, ChunkLine, CopyLine, DoneLine, IssuedKeyLine, KeyLine, Keys, NewKey, NewProject, Place,
    ProjectLine, Projects, Status, StreamLine, Where,
};
use super::refusal::{ApiError, Document};
use super::summary::{self, Answers};

/// How long one shard may take to say something of itself.
const SHARD_ANSWER_MAX: Duration = Duration::from_secs(3);
/// How long an action on keys or buckets may take.
const ACTION_MAX: Duration = Duration::from_secs(15);
/// Buckets asked for in one round.
const BUCKET_PAGE: usize = 1000;
/// Chunks whose copies are asked for by one `where`: 4 GiB of an object.
const WHERE_CHUNKS_MAX: usize = 1024;

type Parts = State<Arc<AdminParts>>;
type Answer<T> = Result<Json<T>, ApiError>;

pub(super) async fn status(State(parts): Parts) -> Json<Status> {
    let shards = (0..=parts.planes.metadata.key_shards()).map(ShardId);
    let asked = shards.map(|shard| {
        let parts = parts.clone();
        async move { (shard, summary_of(&parts, shard).await) }
    });
    let (nodes, shards) = tokio::join!(parts.operator.reports(), futures::future::join_all(asked));
    Json(summary::status(&Answers {
        cluster: parts.cluster.to_string(),
        taken_ms: parts.clock.now_ms(),
        nodes: nodes.into_iter().collect(),
        shards,
    }))
}

async fn summary_of(parts: &AdminParts, shard: ShardId) -> Result<Summary, String> {
    match parts
        .planes
        .metadata
        .query(shard, Query::Summary, SHARD_ANSWER_MAX)
        .await
    {
        Ok(Ok(Found::Summary(summary))) => Ok(summary),
        Ok(Ok(_)) => Err("the shard's answer has the wrong kind".to_owned()),
        Ok(Err(refusal)) => Err(refusal.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) async fn projects(State(parts): Parts) -> Answer<Projects> {
    let line = |project: identity::Project| ProjectLine {
        id: project.id,
        name: project.name,
        created_ms: project.created_ms,
    };
    Ok(Json(Projects {
        projects: parts.directory.projects().await?.into_iter().map(line).collect(),
    }))
}

pub(super) async fn create_project(State(parts): Parts, Document(wanted): Document<NewProject>) -> Answer<ProjectLine> {
    let made = parts.directory.create_project(&wanted.name, wanted.id).await?;
    Ok(Json(ProjectLine {
        id: made.id,
        name: made.name,
        created_ms: made.created_ms,
    }))
}

pub(super) async fn keys(State(parts): Parts) -> Answer<Keys> {
    let line = |key: identity::KeyInfo| KeyLine {
        access_key: key.access_key,
        project: key.project,
        description: key.description,
        created_ms: key.created_ms,
    };
    Ok(Json(Keys {
        keys: parts.directory.keys(None).await?.into_iter().map(line).collect(),
    }))
}

pub(super) async fn create_key(State(parts): Parts, Document(wanted): Document<NewKey>) -> Answer<IssuedKeyLine> {
    let NewKey {
        project,
        description,
        access_key,
        secret_key,
    } = wanted;
    let (access_key, secret_key) = match (access_key, secret_key) {
        (Some(access_key), Some(secret_key)) => {
            parts
                .directory
                .import_key(&project, &description, &access_key, &secret_key)
                .await?;
            (access_key, secret_key)
        }
        (None, None) => {
            let issued = parts.directory.create_key(&project, &description).await?;
            (issued.access_key, issued.secret.to_string())
        }
        _ => {
            let sentence = "give both access_key and secret_key, or neither";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, sentence));
        }
    };
    Ok(Json(IssuedKeyLine {
        access_key,
        secret_key,
        project,
    }))
}

pub(super) async fn revoke_key(State(parts): Parts, Path(access_key): Path<String>) -> Answer<DoneLine> {
    parts.directory.revoke_key(&access_key).await?;
    Ok(Json(DoneLine {
        done: format!("{access_key} opens nothing any more, on any process of the cluster"),
    }))
}

pub(super) async fn buckets(State(parts): Parts) -> Answer<Buckets> {
    let mut lines = Vec::new();
    let mut after: Option<BucketId> = None;
    loop {
        let query = Query::AllBuckets {
            after,
            limit: BUCKET_PAGE,
        };
        let answer = parts.planes.metadata.query(ShardId::SYSTEM, query, ACTION_MAX).await;
        let (infos, more) = match answer
            .map_err(store::StoreError::from)?
            .map_err(store::StoreError::from)?
        {
            Found::Buckets { buckets, more } => (buckets, more),
            _ => {
                return Err(ApiError::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the answer has the wrong kind",
                ));
            }
        };
        after = infos.last().map(|info| info.id);
        lines.extend(futures::future::join_all(infos.into_iter().map(|info| bucket_line(&parts, info))).await);
        if !more || after.is_none() {
            return Ok(Json(Buckets { buckets: lines }));
        }
    }
}

async fn bucket_line(parts: &AdminParts, info: BucketInfo) -> BucketLine {
    let cx = context(parts, &info.project);
    let bucket = Bucket { info: Arc::new(info) };
    let totals = parts
        .store
        .bucket_state(&cx, &bucket)
        .await
        .ok()
        .map(|(_, totals)| totals);
    let info = &bucket.info;
    BucketLine {
        name: info.name.clone(),
        id: info.id.0,
        project: info.project.clone(),
        global: info.global,
        shard: info.shard.0,
        created_ms: info.created_ms,
        state: match info.state {
            BucketState::Active => "active".to_owned(),
            BucketState::Deleting => "deleting".to_owned(),
        },
        objects: totals.map(|totals| totals.objects),
        bytes: totals.map(|totals| totals.bytes + totals.noncurrent_bytes),
    }
}

pub(super) fn context(parts: &AdminParts, project: &str) -> RequestContext {
    let request = RequestId::new(parts.clock.now_ms(), parts.dice.u128());
    RequestContext::new(request, project.to_owned(), ACTION_MAX)
}

pub(super) async fn locate(State(parts): Parts, Document(wanted): Document<Where>) -> Answer<Place> {
    let version = match wanted.version.as_deref() {
        None => VersionSelector::Latest,
        Some("null") => VersionSelector::Null,
        Some(text) => VersionSelector::Id(parse_version(text)?),
    };
    let cx = context(&parts, wanted.project.as_deref().unwrap_or_default());
    let bucket = parts.store.bucket(&cx, &wanted.bucket).await?;
    let depth = if wanted.verify {
        LocateDepth::Bytes
    } else {
        LocateDepth::Index
    };
    let located = parts
        .store
        .locate(&cx, &bucket, wanted.key.as_bytes(), version, depth, WHERE_CHUNKS_MAX)
        .await?;
    Ok(Json(place(wanted, bucket.info.shard, &located)))
}

fn parse_version(text: &str) -> Result<Seq, ApiError> {
    let bad = || ApiError::new(StatusCode::BAD_REQUEST, format!("{text} is not a version id"));
    u64::from_str_radix(text, 16).map(Seq).map_err(|_| bad())
}

fn place(wanted: Where, shard: ShardId, located: &Located) -> Place {
    let object = &located.object;
    let streams = located.streams.iter().map(|stream| StreamLine {
        part: stream.part,
        write: stream.stream.write.to_string(),
        size: stream.stream.size,
        chunks: stream.chunks.iter().map(chunk_line).collect(),
    });
    let parts = if object.etag.parts > 0 {
        format!("-{}", object.etag.parts)
    } else {
        String::new()
    };
    Place {
        bucket: wanted.bucket,
        key: wanted.key,
        version: if object.null {
            "null".to_owned()
        } else {
            format!("{:016x}", object.seq.0)
        },
        size: object.size,
        etag: format!("{}{parts}", hex::encode(object.etag.md5)),
        shard: shard.0,
        inline: located.streams.is_empty(),
        streams: streams.collect(),
        truncated: located.truncated,
    }
}

fn chunk_line(chunk: &store::LocatedChunk) -> ChunkLine {
    let copy = |copy: &store::LocatedCopy| CopyLine {
        device: copy.device.0,
        fragment: copy.fragment,
        primary: copy.primary,
        state: match copy.state {
            CopyState::Ok => "ok",
            CopyState::Absent => "absent",
            CopyState::Corrupt => "corrupt",
            CopyState::Unreachable => "unreachable",
        }
        .to_owned(),
    };
    ChunkLine {
        chunk: chunk.chunk,
        partition: chunk.partition,
        copies: chunk.copies.iter().map(copy).collect(),
    }
}

pub(super) async fn rebuild_index(State(parts): Parts, Path(id): Path<String>) -> Answer<DoneLine> {
    let device = parse_device(&id)?;
    done(parts.operator.rebuild_index(device).await)
}

pub(super) async fn approve_orphans(State(parts): Parts, Path(id): Path<String>) -> Answer<DoneLine> {
    let device = parse_device(&id)?;
    done(parts.operator.approve_orphans(device).await)
}

fn parse_device(id: &str) -> Result<DeviceId, ApiError> {
    let no_number = |_| ApiError::new(StatusCode::BAD_REQUEST, format!("{id} is not the number of a device"));
    id.parse().map(DeviceId).map_err(no_number)
}

fn done(outcome: Result<String, String>) -> Answer<DoneLine> {
    match outcome {
        Ok(done) => Ok(Json(DoneLine { done })),
        Err(sentence) => Err(ApiError::new(StatusCode::CONFLICT, sentence)),
    }
}
