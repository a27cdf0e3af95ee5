//! The containers that are sent somewhere, and how far each is: one record a container, changed by compare-and-set.
//!
//! ```text
//! table "swift-sync", key = bucket id    JSON, see `Synced`
//! ```
//! The record is made before the container says where it is sent to, so that no container is forgotten; a record whose
//! container says nothing is dropped by a worker when it has been so for [`UNUSED_MS`].

use std::collections::BTreeMap;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use store::{Bucket, BucketConfig, BucketId, Record, RecordCondition, RequestContext, ShardId, StoreError};

use super::{KEY, TO};
use crate::swift::context::Swift;
use crate::swift::reply::{Refused, from_store, refuse, refuse_with};
use crate::swift::settings::{Changes, Settings};

/// The table of records.
pub(super) const TABLE: &str = "swift-sync";
/// How often a change of a record begins anew because another one came first.
const ATTEMPTS: usize = 16;
/// How long a record may be there without its container saying where it is sent to, in milliseconds.
pub(super) const UNUSED_MS: u64 = 3_600_000;

/// What is known of a container that is sent somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Synced {
    pub(super) project: String,
    pub(super) container: String,
    pub(super) bucket: u64,
    pub(super) shard: u64,
    /// When it was made, in milliseconds.
    pub(super) made_ms: u64,
    /// The destination for which all keys were put into the queue, or are being put.
    pub(super) to: String,
    /// The last key that was, hex; `None` before the first.
    pub(super) walked: Option<String>,
    /// Whether all were.
    pub(super) walk_done: bool,
    /// Who works on it, and until when it may be taken for granted.
    pub(super) holder: String,
    pub(super) lease_ms: u64,
    /// When it is tried again, and how often in a row it failed.
    pub(super) retry_ms: u64,
    pub(super) failures: u32,
    /// Places up to here that failed by themselves wait until then.
    pub(super) skip_to: u64,
    pub(super) skip_until_ms: u64,
    /// What went wrong last.
    pub(super) problem: Option<String>,
}

impl Synced {
    /// Reads a record.
    pub(super) fn decode(record: &Record) -> Option<Self> {
        serde_json::from_slice(&record.value).ok()
    }

    fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("strings and numbers are JSON").into()
    }

    /// Where its queue is.
    pub(super) fn place(&self) -> (ShardId, BucketId) {
        (ShardId(self.shard), BucketId(self.bucket))
    }

    /// The record's key.
    pub(super) fn name(&self) -> String {
        self.bucket.to_string()
    }

    /// Writes the record over the version that was read; answers the new version, `None` when somebody else was first.
    pub(super) async fn write(
        &self,
        swift: &Swift,
        cx: &RequestContext,
        version: u64,
    ) -> Result<Option<u64>, StoreError> {
        let expect = RecordCondition::Version(version);
        let done = swift
            .store
            .put_record(cx, TABLE, &self.name(), expect, self.encode())
            .await;
        match done {
            Ok(version) => Ok(Some(version)),
            Err(StoreError::RecordConflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What a change of a container's settings means for its sync.
pub(crate) struct Intent {
    keyed: bool,
    sent: bool,
}

/// Whether a container is sent somewhere.
pub(crate) fn is_source(settings: &Settings) -> bool {
    settings.get(TO).is_some() && settings.get(KEY).is_some()
}

impl Intent {
    /// What the settings are after the changes.
    pub(crate) fn of(settings: &Settings, changes: &Changes) -> Self {
        let mut after: BTreeMap<&str, &str> = settings.iter().collect();
        for (name, value) in changes {
            match value.as_deref().filter(|value| !value.is_empty()) {
                Some(value) => drop(after.insert(name, value)),
                None => drop(after.remove(name.as_str())),
            }
        }
        let keyed = after.contains_key(KEY);
        Self {
            keyed,
            sent: keyed && after.contains_key(TO),
        }
    }

    /// Whether the container will be sent somewhere.
    pub(crate) fn sends(&self) -> bool {
        self.sent
    }
}

/// Has the bucket's shard note what sync needs, before the settings say so.
pub(crate) async fn arrange(
    swift: &Swift,
    cx: &RequestContext,
    bucket: &Bucket,
    config: &BucketConfig,
    intent: &Intent,
) -> Result<(), Refused> {
    if intent.sent || intent.keyed {
        let behind = swift.store.nodes_without_changes(cx).await.map_err(from_store)?;
        if let Some(node) = behind.first() {
            let why = format!("node {node} runs a release without container sync: upgrade it first");
            return Err(refuse_with(StatusCode::SERVICE_UNAVAILABLE, why));
        }
    }
    if intent.sent {
        let synced = Synced {
            project: cx.project.clone(),
            container: bucket.info.name.clone(),
            bucket: bucket.info.id.0,
            shard: bucket.info.shard.0,
            made_ms: swift.clock.now_ms(),
            ..Synced::default()
        };
        enter(swift, cx, synced).await?;
    }
    let wanted = [
        (BucketConfig::KEEP_DELETIONS, intent.keyed),
        (BucketConfig::NOTE_CHANGES, intent.sent),
    ];
    for (name, on) in wanted {
        if config.documents.contains_key(name) != on {
            let document = on.then(|| Bytes::from_static(b"on"));
            let done = swift.store.set_document(cx, bucket, name, document).await;
            done.map_err(from_store)?;
        }
    }
    Ok(())
}

/// Makes the record, or tells whoever is about to drop it or waits with it that somebody wants it now.
async fn enter(swift: &Swift, cx: &RequestContext, fresh: Synced) -> Result<(), Refused> {
    for _ in 0..ATTEMPTS {
        let there = swift.store.record(cx, TABLE, &fresh.name()).await.map_err(from_store)?;
        let (expect, synced) = match there {
            None => (RecordCondition::Absent, fresh.clone()),
            Some(record) => {
                let mut synced = Synced::decode(&record).unwrap_or_else(|| fresh.clone());
                (synced.made_ms, synced.retry_ms, synced.skip_until_ms) = (fresh.made_ms, 0, 0);
                (RecordCondition::Version(record.version), synced)
            }
        };
        let done = swift
            .store
            .put_record(cx, TABLE, &fresh.name(), expect, synced.encode())
            .await;
        match done {
            Err(StoreError::RecordConflict { .. }) => {}
            done => return done.map(drop).map_err(from_store),
        }
    }
    Err(refuse(StatusCode::CONFLICT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(changes: &[(&str, Option<&str>)]) -> (bool, bool) {
        let owned = |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
        let intent = Intent::of(&Settings::default(), &changes.iter().map(owned).collect());
        (intent.keyed, intent.sent)
    }

    #[test]
    fn a_container_is_sent_when_it_has_a_key_and_a_place() {
        assert_eq!(intent(&[]), (false, false));
        assert_eq!(intent(&[(TO, Some("x"))]), (false, false));
        assert_eq!(intent(&[(KEY, Some("k"))]), (true, false));
        assert_eq!(intent(&[(KEY, Some("k")), (TO, Some("x"))]), (true, true));
        assert_eq!(intent(&[(KEY, Some("k")), (TO, Some("x")), (TO, None)]), (true, false));
        assert_eq!(
            intent(&[(KEY, Some("k")), (TO, Some("x")), (KEY, Some(""))]),
            (false, false)
        );
    }
}
