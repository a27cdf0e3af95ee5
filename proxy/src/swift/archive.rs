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
    format!("{:03x}{name}/", name.chars().count())
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
    let archive = archive_container(ask, name).await?;
    if stack {
        pop(ask, container, &archive).await
    } else {
        delete_with_history(ask, container, &archive).await
    }
}

/// Brings the newest archived version back; without one the object ends.
async fn pop(ask: &Arc<Ask>, container: &Container, archive: &Container) -> Answer {
    let list = store::ListObjects {
        prefix: prefix(ask.path.object()).into_bytes(),
        limit: PAGE,
        ..store::ListObjects::default()
    };
    let mut list = list;
    let mut newest = None;
    loop {
        let page = ask
            .swift
            .store
            .list_objects(&ask.cx, &archive.bucket, list.clone())
            .await
            .map_err(from_store)?;
        if let Some(last) = page.entries.last() {
            newest = Some(last.clone());
            list.after = Some(last.0.clone());
        }
        if !page.more || page.entries.is_empty() {
            break;
        }
    }
    let Some((key, row)) = newest else {
        return end(ask, container).await;
    };
    if attribute(&row, "content-type") == Some(DELETED) {
        let done = end(ask, container).await;
        remove(ask, archive, key).await?;
        return done;
    }
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
    let done = ask
        .swift
        .store
        .copy_object(&ask.cx, from, to, CopyChanges::default(), None)
        .await;
    done.map_err(from_store)?;
    remove(ask, archive, key).await?;
    Ok(Reply::new(StatusCode::NO_CONTENT))
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
    let Some(row) = current(ask, container).await? else {
        return Err(not_found());
    };
    keep(ask, container, archive, &row).await?;
    let put = PutObject {
        attributes: vec![("content-type".to_owned(), DELETED.to_owned())],
        length: Some(0),
        ..PutObject::plain()
    };
    let body: Body = futures::stream::empty().boxed();
    let at = ask.swift.clock.now_ms().max(row.modified_ms + 1);
    let key = format!("{}{}", prefix(ask.path.object()), seconds(at)).into_bytes();
    ask.swift
        .store
        .put_object(&ask.cx, &archive.bucket, key, put, body)
        .await
        .map_err(from_store)?;
    end(ask, container).await
}
