//! Deletions of buckets that a crash left in the middle (DESIGN §3.3): finished when the key shard seals the bucket,
//! undone when it is not empty. Done by the leader of the system shard; repeating any step is safe.

use std::collections::HashMap;

use metadata::command::Command;
use metadata::ids::{BucketId, ShardId};
use metadata::model::{BucketInfo, BucketState};
use metadata::query::{Found, Query};
use metadata::reply::Refusal;
use tokio::time::Instant;

use super::{SHARD_DEADLINE, Workshop};
use crate::client::MetadataPlane;

const NAME: &str = "bucket deletions";
/// Buckets asked for at once.
const PAGE: usize = 1000;
/// Deletions in progress that are remembered.
const SEEN_MAX: usize = 10_000;

/// Looks again and again while this node leads the system shard.
pub(super) async fn run(workshop: Workshop) {
    let mut seen: HashMap<BucketId, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(workshop.options.bucket_patience / 2).await;
        if !workshop.leads(ShardId::SYSTEM) {
            seen.clear();
            continue;
        }
        match deleting(&workshop).await {
            Ok(buckets) => {
                let now = Instant::now();
                seen.retain(|id, _| buckets.iter().any(|bucket| bucket.id == *id));
                for bucket in buckets {
                    let first = *seen.entry(bucket.id).or_insert(now);
                    if now.duration_since(first) >= workshop.options.bucket_patience {
                        match settle(&workshop, &bucket).await {
                            Ok(()) => workshop.board.done(NAME, 1),
                            Err(why) => workshop.board.failed(NAME, why),
                        }
                    }
                }
                workshop.board.state(NAME, format!("{} in progress", seen.len()));
            }
            Err(why) => workshop.board.failed(NAME, why),
        }
    }
}

async fn deleting(workshop: &Workshop) -> Result<Vec<BucketInfo>, String> {
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let query = Query::AllBuckets { after, limit: PAGE };
        let Found::Buckets { buckets, more } = workshop.ask(ShardId::SYSTEM, query).await? else {
            break;
        };
        after = buckets.last().map(|bucket| bucket.id);
        found.extend(
            buckets
                .into_iter()
                .filter(|bucket| bucket.state == BucketState::Deleting),
        );
        if !more || after.is_none() || found.len() >= SEEN_MAX {
            break;
        }
    }
    Ok(found)
}

/// Takes the deletion to its end, or back to its beginning.
async fn settle(workshop: &Workshop, bucket: &BucketInfo) -> Result<(), String> {
    let seal = Command::SealBucket { bucket: bucket.id };
    let request = workshop.client.request_id();
    let sealed = workshop
        .client
        .propose(bucket.shard, request, seal, SHARD_DEADLINE)
        .await
        .map_err(|e| e.to_string())?;
    let next = match sealed {
        Ok(_) | Err(Refusal::NoSuchBucket) => Command::FinishDeleteBucket { id: bucket.id },
        Err(Refusal::BucketNotEmpty) => Command::CancelDeleteBucket { id: bucket.id },
        Err(other) => return Err(other.to_string()),
    };
    workshop.tell(ShardId::SYSTEM, next).await.map(|_| ())
}
