//! Old versions in another container (`X-Versions-Location`, `X-History-Location`), for clients older than versions in
//! the container itself.
//!
//! ```text
//! archived name = length of the name in hex, three digits | name | / | time of the version
//! stack         DELETE brings the newest archived version back
//! history       DELETE archives the object and a marker of its deletion
//! ```

use std::sync::Arc;

use futures::StreamExt;
use http::{HeaderMap, Method, StatusCode};
use store::{Body, Condition, CopyChanges, CopySource, CopyTarget, ObjectRow, PutObject, StoreError, VersionSelector};

use super::attributes::{attribute, has_expired};
use super::container::{HISTORY, STACK};
use super::path::Path;
use super::reply::{Answer, Refused, Reply, from_store, not_found, refuse_with};
use super::request::{Ask, Container};
use super::timestamp::seconds;

/// The type of a deletion in the history.
const DELETED: &str = "application/x-deleted;swift_versions_deleted=1";
/// Archived versions looked at in one round.
const PAGE: usize = 1000;

/// Whether a container archives its old versions elsewhere.
pub(crate) fn is_on(container: &Container) -> bool {
    place(container).is_some()
}

fn place(container: &Container) -> Option<(&str, bool)> {
    let settings = &container.settings;
    let stack = settings.get(STACK).map(|place| (place, true));
    stack.or_else(|| settings.get(HISTORY).map(|place| (place, false)))
}

fn prefix(name: &str) -> String {
    format!("{:03x}{name}/", name.len())
}

async fn archive_container(ask: &Ask, name: &str) -> Result<Arc<Container>, Refused> {
    let path = Path {
        account: ask.path.account.clone(),
        container: Some(name.to_owned()),
        object: None,
    };
    let inner = ask.inner(Method::PUT, path, HeaderMap::new());
    let missing = || refuse_with(StatusCode::PRECONDITION_FAILED, "The versions container does not exist");
    inner.find_container().await?.ok_or_else(missing)
}

async fn current(ask: &Ask, container: &Container) -> Result<Option<ObjectRow>, Refused> {
    let key = ask.path.object().as_bytes();
    match ask
        .swift
        .store
        .object(&ask.cx, &container.bucket, key, VersionSelector::Latest)
        .await
    {
        Ok(head) => Ok(Some(head.object)),
        Err(error) if error.class() == store::Class::Absent => Ok(None),
        Err(error) => Err(from_store(error)),
    }
}

/// Archives the object that a PUT is about to replace.
pub(crate) async fn before_put(ask: &Arc<Ask>, container: &Container) -> Result<(), Refused> {
    let Some((name, _)) = place(container) else {
        return Ok(());
    };
    let archive = archive_container(ask, name).await?;
    match current(ask, container).await? {
        Some(row) => keep(ask, container, &archive, &row).await,
        None => Ok(()),
    }
}

async fn keep(ask: &Ask, container: &Container, archive: &Container, row: &ObjectRow) -> Result<(), Refused> {
    let from = CopySource {
        bucket: container.bucket.clone(),
        key: ask.path.object().as_bytes().to_vec(),
        version: VersionSelector::Latest,
        condition: Condition::ETagIn(vec![row.etag]),
    };
    let to = CopyTarget {
        bucket: archive.bucket.clone(),
        key: format!("{}{}", prefix(ask.path.object()), seconds(row.modified_ms)).into_bytes(),
        condition: Condition::Always,
    };
    match ask
        .swift
        .store
        .copy_object(&ask.cx, from, to, CopyChanges::default(), None)
        .await
    {
        Ok(_) | Err(StoreError::NoSuchKey) => Ok(()),
        Err(error) => Err(from_store(error)),
    }
}

/// DELETE in a container that archives.
pub(crate) async fn delete(ask: &Arc<Ask>, container: &Container) -> Answer {
    let Some((name, stack)) = place(container) else {
        return Err(not_found());
    };
    if stack {
        // Without its container there are no versions to bring back.
        match archive_container(ask, name).await {
            Ok(archive) => pop(ask, container, &archive).await,
            Err(refused) if refused.status == StatusCode::PRECONDITION_FAILED => end(ask, container).await,
            Err(refused) => Err(refused),
        }
    } else {
        let archive = archive_container(ask, name).await?;
        delete_with_history(ask, container, &archive).await
    }
}

/// The archived versions of the object, the newest last: at most two of them.
async fn newest(ask: &Ask, archive: &Container) -> Result<Vec<(store::Key, ObjectRow)>, Refused> {
    let mut list = store::ListObjects {
        prefix: prefix(ask.path.object()).into_bytes(),
        limit: PAGE,
        ..store::ListObjects::default()
    };
    let mut newest = Vec::new();
    loop {
        let page = ask
            .swift
            .store
            .list_objects(&ask.cx, &archive.bucket, list.clone())
            .await;
        let page = page.map_err(from_store)?;
        let Some((last, _)) = page.entries.last() else { break };
        list.after = Some(last.clone());
        newest.extend(page.entries);
        newest.drain(..newest.len().saturating_sub(2));
        if !page.more {
            break;
        }
    }
    Ok(newest)
}

fn is_marker(row: &ObjectRow) -> bool {
    attribute(row, "content-type") == Some(DELETED)
}

/// Brings the newest archived version back; without one the object ends. Where the newest is the marker of a deletion,
/// an object is deleted back to it, and nothing is brought back to what was before it.
async fn pop(ask: &Arc<Ask>, container: &Container, archive: &Container) -> Answer {
    let mut versions = newest(ask, archive).await?;
    let Some((key, row)) = versions.pop() else {
        return end(ask, container).await;
    };
    if !is_marker(&row) {
        restore(ask, container, archive, key).await?;
        return Ok(Reply::new(StatusCode::NO_CONTENT));
    }
    if current(ask, container).await?.is_some() {
        return end(ask, container).await;
    }
    if let Some((before, row)) = versions.pop()
        && !is_marker(&row)
    {
        restore(ask, container, archive, before).await?;
    }
    remove(ask, archive, key).await?;
    Ok(Reply::new(StatusCode::NO_CONTENT))
}

/// Moves an archived version back into its place.
async fn restore(ask: &Ask, container: &Container, archive: &Container, key: store::Key) -> Result<(), Refused> {
    let from = CopySource {
        bucket: archive.bucket.clone(),
        key: key.clone(),
        version: VersionSelector::Latest,
        condition: Condition::Always,
    };
    let to = CopyTarget {
        bucket: container.bucket.clone(),
        key: ask.path.object().as_bytes().to_vec(),
        condition: Condition::Always,
    };
    let store = &ask.swift.store;
    let done = store.copy_object(&ask.cx, from, to, CopyChanges::default(), None).await;
    done.map_err(from_store)?;
    remove(ask, archive, key).await
}

async fn remove(ask: &Ask, archive: &Container, key: store::Key) -> Result<(), Refused> {
    let (latest, always) = (VersionSelector::Latest, Condition::Always);
    let done = ask
        .swift
        .store
        .delete_object(&ask.cx, &archive.bucket, key, latest, always)
        .await;
    done.map(drop).map_err(from_store)
}

async fn end(ask: &Ask, container: &Container) -> Answer {
    let (latest, always) = (VersionSelector::Latest, Condition::Always);
    let expired = current(ask, container)
        .await?
        .is_some_and(|row| has_expired(&row, ask.now_ms));
    let key = ask.path.object().as_bytes().to_vec();
    let done = ask
        .swift
        .store
        .delete_object(&ask.cx, &container.bucket, key, latest, always)
        .await;
    let done = done.map_err(from_store)?;
    if done.version.is_none() || expired {
        return Err(not_found());
    }
    Ok(Reply::new(StatusCode::NO_CONTENT))
}

async fn delete_with_history(ask: &Arc<Ask>, container: &Container, archive: &Container) -> Answer {
    let row = current(ask, container).await?;
    if let Some(row) = &row {
        keep(ask, container, archive, row).await?;
    }
    let put = PutObject {
        attributes: vec![("content-type".to_owned(), DELETED.to_owned())],
        length: Some(0),
        ..PutObject::plain()
    };
    let body: Body = futures::stream::empty().boxed();
    let at = ask.swift.clock.now_ms().max(row.map_or(0, |row| row.modified_ms + 1));
    let key = format!("{}{}", prefix(ask.path.object()), seconds(at)).into_bytes();
    ask.swift
        .store
        .put_object(&ask.cx, &archive.bucket, key, put, body)
        .await
        .map_err(from_store)?;
    end(ask, container).await
}
