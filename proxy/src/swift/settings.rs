//! What an account or a container is told about itself: metadata, access lists, locations. A map from the header's name
//! (lower case) to its value, changed by compare-and-set so that two POSTs never lose each other's items.
//!
//! ```text
//! container   document "swift" of its bucket        JSON {header: value}
//! account     table "swift-accounts", its project   JSON {header: value}
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use store::{Bucket, BucketConfig, RecordCondition, RequestContext, Store, StoreError};

use super::limits::{self, Subject};
use super::reply::{Refused, from_store, refuse};

/// The name of a container's document.
pub(crate) const DOCUMENT: &str = "swift";
/// The table of accounts.
const ACCOUNTS: &str = "swift-accounts";
/// How often a change begins anew because another one came first.
const ATTEMPTS: usize = 16;

/// Settings by header name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings(BTreeMap<String, String>);

/// A change: new values, or `None` to remove.
pub(crate) type Changes = Vec<(String, Option<String>)>;

impl Settings {
    /// One value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A value that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.trim().parse().ok()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Refused> {
        serde_json::from_slice(bytes).map(Self).map_err(|error| {
            tracing::error!(%error, "settings cannot be read");
            refuse(StatusCode::INTERNAL_SERVER_ERROR)
        })
    }

    fn encode(&self) -> Option<Bytes> {
        let text = || serde_json::to_vec(&self.0).expect("a map of strings is JSON");
        (!self.0.is_empty()).then(|| text().into())
    }

    /// Applies changes, within the limits of metadata.
    fn apply(&mut self, changes: &Changes, subject: Subject) -> Result<(), Refused> {
        for (name, value) in changes {
            match value {
                Some(value) if !value.is_empty() => drop(self.0.insert(name.clone(), value.clone())),
                _ => drop(self.0.remove(name)),
            }
        }
        let prefix = subject.meta_prefix();
        let items: Vec<(String, String)> = self
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.to_owned())))
            .collect();
        limits::check(&items, subject)
    }

    /// Those of a container.
    pub(crate) fn of_container(config: &BucketConfig) -> Result<Self, Refused> {
        config
            .documents
            .get(DOCUMENT)
            .map_or(Ok(Self::default()), |document| Self::decode(document))
    }

    /// Changes those of a container.
    pub(crate) async fn change_container(
        store: &Store,
        cx: &RequestContext,
        bucket: &Bucket,
        changes: &Changes,
    ) -> Result<(), Refused> {
        if changes.is_empty() {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let (config, _) = store.bucket_state(cx, bucket).await.map_err(from_store)?;
            let mut settings = Self::of_container(&config)?;
            settings.apply(changes, Subject::Container)?;
            let (expect, document) = (config.documents.get(DOCUMENT).cloned(), settings.encode());
            match store.swap_document(cx, bucket, DOCUMENT, expect, document).await {
                Err(StoreError::PreconditionFailed) => {}
                done => return done.map_err(from_store),
            }
        }
        Err(refuse(StatusCode::CONFLICT))
    }

    /// Those of the account that `cx` acts in, by a linearizable read.
    pub(crate) async fn of_account(store: &Store, cx: &RequestContext) -> Result<Self, Refused> {
        let record = store.record(cx, ACCOUNTS, &cx.project).await.map_err(from_store)?;
        record.map_or(Ok(Self::default()), |record| Self::decode(&record.value))
    }

    /// Those of the account that `cx` acts in, as the copy of the system shard has them.
    pub(crate) async fn of_account_recent(store: &Store, cx: &RequestContext) -> Result<Self, Refused> {
        let record = store
            .recent_record(cx, ACCOUNTS, &cx.project)
            .await
            .map_err(from_store)?;
        record.map_or(Ok(Self::default()), |record| Self::decode(&record.value))
    }

    /// Changes those of the account that `cx` acts in.
    pub(crate) async fn change_account(store: &Store, cx: &RequestContext, changes: &Changes) -> Result<(), Refused> {
        if changes.is_empty() {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let record = store.record(cx, ACCOUNTS, &cx.project).await.map_err(from_store)?;
            let mut settings = record
                .as_ref()
                .map_or(Ok(Self::default()), |record| Self::decode(&record.value))?;
            settings.apply(changes, Subject::Account)?;
            let expect = record.map_or(RecordCondition::Absent, |record| {
                RecordCondition::Version(record.version)
            });
            let value = settings.encode().unwrap_or_else(|| Bytes::from_static(b"{}"));
            match store.put_record(cx, ACCOUNTS, &cx.project, expect, value).await {
                Err(StoreError::RecordConflict { .. }) => {}
                done => return done.map(drop).map_err(from_store),
            }
        }
        Err(refuse(StatusCode::CONFLICT))
    }
}

/// The metadata that a request sets and removes; an empty value removes as well.
pub(crate) fn metadata_changes(headers: &HeaderMap, subject: Subject) -> Result<Changes, Refused> {
    let (prefix, remove) = (subject.meta_prefix(), subject.remove_prefix());
    let mut changes: Changes = limits::metadata(headers, subject)?
        .into_iter()
        .map(|(name, value)| (format!("{prefix}{name}"), Some(value)))
        .collect();
    for name in headers.keys() {
        if let Some(name) = name.as_str().strip_prefix(remove) {
            changes.push((format!("{prefix}{name}"), None));
        }
    }
    Ok(changes)
}
