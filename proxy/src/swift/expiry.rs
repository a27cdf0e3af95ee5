//! Objects that end by themselves (`X-Delete-At`).
//!
//! A read refuses an object whose time is over; the sweeper removes it. Before an object with an end is written, a note
//! goes into a queue: a bucket of a project of its own, one for each key shard, so that notes do not meet in one place.
//!
//! ```text
//! project ".expiry", bucket "due-<shard>"
//! key     end in seconds, 20 digits | / | hash of bucket and name
//! body    JSON {project, container, bucket id, object}
//! ```
//! A note is only a hint: the object is deleted by a command that its shard decides, and only while it still carries that
//! very end. So an object written anew meanwhile stays, and a note whose object was never written does no harm.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use store::{
    Body, Bucket, Condition, ListObjects, PutObject, RequestContext, RequestId, Store, StoreError, VersionSelector,
};

use super::attributes::DELETE_AT;
use super::context::Swift;
use super::reply::{Refused, from_store};

/// The project of the queues. No account has such a name.
const PROJECT: &str = ".expiry";
/// Notes looked at in one round.
const PAGE: usize = 500;
/// Deletions at once.
const DELETES_AT_ONCE: usize = 8;
/// Rounds of one sweep over one queue, so that one full queue does not keep the others waiting.
const ROUNDS_MAX: usize = 20;

#[derive(Serialize, Deserialize)]
struct Note {
    project: String,
    container: String,
    bucket: u64,
    object: String,
}

fn context(swift: &Swift) -> RequestContext {
    let id = RequestId::new(swift.clock.now_ms(), swift.dice.u128());
    RequestContext::new(id, PROJECT.to_owned(), swift.options.deadline)
}

/// Notes that an object is about to be written that ends at `at` seconds.
pub(crate) async fn note(
    swift: &Swift,
    cx: &RequestContext,
    bucket: &Bucket,
    object: &str,
    at: u64,
) -> Result<(), Refused> {
    let own = context(swift);
    let name = format!("due-{}", bucket.info.shard);
    let queue = match swift.store.bucket(&own, &name).await {
        Ok(queue) => queue,
        Err(StoreError::NoSuchBucket) => {
            swift
                .store
                .create_bucket(&own, &name, false)
                .await
                .map_err(from_store)?
                .0
        }
        Err(error) => return Err(from_store(error)),
    };
    let note = Note {
        project: cx.project.clone(),
        container: bucket.info.name.clone(),
        bucket: bucket.info.id.0,
        object: object.to_owned(),
    };
    let mut digest = Md5::new();
    digest.update(note.bucket.to_be_bytes());
    digest.update(object.as_bytes());
    let key = format!("{at:020}/{}", hex::encode(digest.finalize()));
    let bytes = Bytes::from(serde_json::to_vec(&note).expect("strings and numbers are JSON"));
    let put = PutObject {
        length: Some(bytes.len() as u64),
        ..PutObject::plain()
    };
    let body: Body = futures::stream::iter([Ok(bytes)]).boxed();
    let done = swift.store.put_object(&own, &queue, key.into_bytes(), put, body).await;
    done.map(drop).map_err(from_store)
}

/// Removes what has ended, again and again. Every proxy may run it: what one has removed the others find gone.
pub(crate) async fn sweep_forever(swift: Swift, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        match sweep(&swift).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "expired objects were removed"),
            Err(error) => tracing::warn!(%error, "expired objects were not all removed"),
        }
    }
}

/// Removes what has ended by now; answers how many objects.
pub(crate) async fn sweep(swift: &Swift) -> Result<usize, StoreError> {
    let cx = context(swift);
    let (queues, _) = swift
        .store
        .list_buckets(&cx, None, "due-".to_owned(), store::PAGE_MAX)
        .await?;
    let mut removed = 0;
    for queue in queues {
        let queue = swift.store.bucket(&cx, &queue.name).await?;
        for _ in 0..ROUNDS_MAX {
            let (found, count) = sweep_page(swift, &cx, &queue).await?;
            removed += count;
            if found < PAGE {
                break;
            }
        }
    }
    Ok(removed)
}

async fn sweep_page(swift: &Swift, cx: &RequestContext, queue: &Bucket) -> Result<(usize, usize), StoreError> {
    let list = ListObjects {
        limit: PAGE,
        ..ListObjects::default()
    };
    let page = swift.store.list_objects(cx, queue, list).await?;
    let now = swift.clock.now_ms() / 1000;
    let due: Vec<(Vec<u8>, u64)> = page
        .entries
        .into_iter()
        .filter_map(|(key, _)| {
            let at = std::str::from_utf8(key.get(..20)?).ok()?.parse().ok()?;
            (at <= now).then_some((key, at))
        })
        .collect();
    let found = due.len();
    let done: Vec<Result<bool, StoreError>> = futures::stream::iter(due)
        .map(|(key, at)| end_one(swift, cx, queue, key, at))
        .buffered(DELETES_AT_ONCE)
        .collect()
        .await;
    let mut removed = 0;
    for ended in done {
        removed += usize::from(ended?);
    }
    Ok((found, removed))
}

/// Ends the object of one note, then the note.
async fn end_one(
    swift: &Swift,
    cx: &RequestContext,
    queue: &Bucket,
    key: Vec<u8>,
    at: u64,
) -> Result<bool, StoreError> {
    let removed = match read_note(&swift.store, cx, queue, &key).await? {
        None => false,
        Some(note) => {
            let theirs = RequestContext::new(
                RequestId::new(swift.clock.now_ms(), swift.dice.u128()),
                note.project.clone(),
                swift.options.deadline,
            );
            match swift.store.bucket(&theirs, &note.container).await {
                Ok(bucket) if bucket.info.id.0 == note.bucket => {
                    let mark = (DELETE_AT.to_owned(), at.to_string());
                    let done = swift
                        .store
                        .delete_marked(&theirs, &bucket, note.object.into_bytes(), mark)
                        .await;
                    match done {
                        Ok(done) => done.version.is_some(),
                        Err(StoreError::NoSuchBucket) => false,
                        Err(error) => return Err(error),
                    }
                }
                Ok(_) | Err(StoreError::NoSuchBucket) => false,
                Err(error) => return Err(error),
            }
        }
    };
    let (latest, always) = (VersionSelector::Latest, Condition::Always);
    swift.store.delete_object(cx, queue, key, latest, always).await?;
    Ok(removed)
}

async fn read_note(store: &Store, cx: &RequestContext, queue: &Bucket, key: &[u8]) -> Result<Option<Note>, StoreError> {
    let reader = match store.open_object(cx, queue, key, VersionSelector::Latest).await {
        Ok(reader) => reader,
        Err(error) if error.class() == store::Class::Absent => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = reader.head.object.size;
    let mut stream = reader.read(0..size);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(serde_json::from_slice(&bytes).ok())
}
