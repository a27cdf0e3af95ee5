//! Versions kept in the container itself (`X-Versions-Enabled`): the same ones as over S3.

use std::collections::VecDeque;
use std::sync::Arc;

use http::StatusCode;
use serde_json::json;
use store::{CopyChanges, CopySource, CopyTarget, ListVersions, VersionFound, VersionSelector};

use super::attributes::{etag_text, version_selector, version_text};
use super::format::Format;
use super::limits::LISTING_MAX;
use super::listing::{Entry, ObjectEntry, Page};
use super::objects::object_line;
use super::reply::{Answer, Refused, Reply, bad_request, from_store, refuse};
use super::request::{Ask, Container};
use super::timestamp::http_date;

/// The type under which a deletion is listed.
pub(crate) const DELETED_TYPE: &str = "application/x-deleted;swift_versions_deleted=1";

/// Versions are told in JSON only: 406 to who asks for something else.
pub(crate) fn format(ask: &Ask) -> Result<Format, Refused> {
    let named = ask.query.get("format").is_some_and(|format| !format.is_empty());
    let accepts = ask.header("accept").is_some_and(|accept| !accept.trim().is_empty());
    if !named && (!accepts || Format::accepts_json(ask)) {
        return Ok(Format::Json);
    }
    match Format::of(ask)? {
        Format::Json => Ok(Format::Json),
        _ => Err(refuse(StatusCode::NOT_ACCEPTABLE)),
    }
}

/// The versions that a page shows: of every name the newest first, in reverse the oldest.
pub(crate) async fn list(ask: &Ask, container: &Container, page: &Page) -> Result<Vec<Entry>, Refused> {
    if page.reverse {
        list_backwards(ask, container, page).await
    } else {
        list_forwards(ask, container, page).await
    }
}

/// The store lists forwards only, so everything from the end marker on is walked and the last entries before the marker
/// are kept.
async fn list_backwards(ask: &Ask, container: &Container, page: &Page) -> Result<Vec<Entry>, Refused> {
    let stop = match ask.query.get("version_marker").filter(|marker| !marker.is_empty()) {
        None => None,
        Some(_) if page.marker.is_none() => return Err(bad_request("version_marker param requires marker")),
        Some(marker) => version_place(ask, container, page, marker).await?,
    };
    let mut walk = Walk::new(ask, container, page, page.end_marker.as_deref(), None);
    let mut last: VecDeque<Entry> = VecDeque::new();
    while let Some(found) = walk.next(LISTING_MAX).await? {
        for (place, entry) in found {
            match page.marker.as_deref() {
                Some(marker) if entry.name() > marker => return Ok(last.into_iter().rev().collect()),
                // Of the marker's own name only what is newer than the marked version comes after it.
                Some(marker) if entry.name() == marker && !(stop.is_some() && place > stop) => continue,
                _ => {}
            }
            last.push_back(entry);
            if last.len() > page.limit {
                last.pop_front();
            }
        }
    }
    Ok(last.into_iter().rev().collect())
}

/// A walk over all versions of all names, pseudo-directories between them.
struct Walk<'a> {
    ask: &'a Ask,
    container: &'a Container,
    list: ListVersions,
    ended: bool,
}

/// Where a version stands, nowhere for a pseudo-directory; and its entry.
type Placed = (Option<store::Seq>, Entry);

impl<'a> Walk<'a> {
    fn new(
        ask: &'a Ask,
        container: &'a Container,
        page: &Page,
        after: Option<&str>,
        after_version: Option<store::Seq>,
    ) -> Self {
        let list = ListVersions {
            prefix: page.prefix.as_bytes().to_vec(),
            delimiter: page.delimiter.as_ref().map(|delimiter| delimiter.as_bytes().to_vec()),
            after: after.map(|after| after.as_bytes().to_vec()),
            after_version,
            ..ListVersions::default()
        };
        Self {
            ask,
            container,
            list,
            ended: false,
        }
    }

    /// The next entries, at most `limit`; `None` at the end.
    async fn next(&mut self, limit: usize) -> Result<Option<Vec<Placed>>, Refused> {
        if self.ended || limit == 0 {
            return Ok(None);
        }
        self.list.limit = limit.min(LISTING_MAX);
        let (store, bucket) = (&self.ask.swift.store, &self.container.bucket);
        let found = store.list_versions(&self.ask.cx, bucket, self.list.clone()).await;
        let found = found.map_err(from_store)?;
        let subdir = |prefix: Vec<u8>| Entry::Subdir(String::from_utf8_lossy(&prefix).into_owned());
        let mut prefixes = found.prefixes.into_iter().peekable();
        let last = found.entries.last().map(|(key, version)| (key.clone(), place(version)));
        let last_prefix = prefixes.clone().last();
        let mut shown = Vec::with_capacity(found.entries.len());
        for (key, version) in found.entries {
            while let Some(prefix) = prefixes.next_if(|prefix| *prefix < key) {
                shown.push((None, subdir(prefix)));
            }
            shown.push((Some(place(&version)), Entry::Object(Box::new(line(key, version)))));
        }
        shown.extend(prefixes.map(|prefix| (None, subdir(prefix))));
        match (last, last_prefix) {
            (last, Some(prefix)) if last.as_ref().is_none_or(|(key, _)| prefix > *key) => {
                (self.list.after, self.list.after_version) = (Some(prefix), None);
            }
            (Some((key, seq)), _) => (self.list.after, self.list.after_version) = (Some(key), Some(seq)),
            (None, _) => self.ended = true,
        }
        self.ended |= !found.more;
        Ok(Some(shown))
    }
}

async fn list_forwards(ask: &Ask, container: &Container, page: &Page) -> Result<Vec<Entry>, Refused> {
    let inside = match ask.query.get("version_marker").filter(|marker| !marker.is_empty()) {
        None => None,
        Some(_) if page.marker.is_none() => return Err(bad_request("version_marker param requires marker")),
        Some(marker) => version_place(ask, container, page, marker).await?,
    };
    let mut walk = Walk::new(ask, container, page, page.marker.as_deref(), inside);
    let mut shown = Vec::new();
    while let Some(found) = walk.next(page.limit - shown.len()).await? {
        for (_, entry) in found {
            if page.ends_before(entry.name()) {
                return Ok(shown);
            }
            shown.push(entry);
        }
    }
    Ok(shown)
}

fn place(version: &VersionFound) -> store::Seq {
    match version {
        VersionFound::Object { object, .. } => object.seq,
        VersionFound::Marker { marker, .. } => marker.seq,
    }
}

/// Where the version that a marker names stands; the null version has to be looked up.
async fn version_place(
    ask: &Ask,
    container: &Container,
    page: &Page,
    marker: &str,
) -> Result<Option<store::Seq>, Refused> {
    let selector = version_selector(Some(marker)).map_err(|_| bad_request("invalid version_marker param"))?;
    match selector {
        VersionSelector::Id(seq) => Ok(Some(seq)),
        _ => {
            let key = page.marker.as_deref().unwrap_or_default().as_bytes();
            match ask.swift.store.object(&ask.cx, &container.bucket, key, selector).await {
                Ok(head) => Ok(Some(head.object.seq)),
                Err(error) if error.class() == store::Class::Absent => Ok(None),
                Err(error) => Err(from_store(error)),
            }
        }
    }
}

fn line(key: store::Key, version: VersionFound) -> ObjectEntry {
    let (mut line, id, latest) = match version {
        VersionFound::Object { object, latest } => {
            let id = version_text(object.seq, object.null);
            (object_line(key, &object), id, latest)
        }
        VersionFound::Marker { marker, latest } => {
            let line = ObjectEntry {
                name: String::from_utf8_lossy(&key).into_owned(),
                bytes: 0,
                hash: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
                content_type: DELETED_TYPE.to_owned(),
                modified_ms: marker.modified_ms,
                more: Vec::new(),
            };
            (line, version_text(marker.seq, marker.null), latest)
        }
    };
    line.more.push(("is_latest", json!(latest)));
    line.more.push(("version_id", json!(id)));
    line
}

/// PUT with `version-id`: an old version becomes the newest again.
pub(crate) async fn restore(ask: &Arc<Ask>) -> Answer {
    let selector = version_selector(ask.query.get("version-id"))?;
    if selector == VersionSelector::Null {
        return Err(bad_request("Invalid version parameter"));
    }
    if ask.content_length().unwrap_or(0) > 0 {
        return Err(bad_request("Restoring a version requires a zero byte body"));
    }
    let container = ask.container().await?;
    let key = ask.path.object().as_bytes().to_vec();
    let head = ask
        .swift
        .store
        .object(&ask.cx, &container.bucket, &key, selector)
        .await
        .map_err(from_store)?;
    let (bucket, condition) = (container.bucket.clone(), store::Condition::Always);
    let from = CopySource {
        bucket: bucket.clone(),
        key: key.clone(),
        version: selector,
        condition: condition.clone(),
    };
    let to = CopyTarget { bucket, key, condition };
    let done = ask
        .swift
        .store
        .copy_object(&ask.cx, from, to, CopyChanges::default(), None)
        .await;
    let put = done.map_err(from_store)?.put;
    let mut reply = Reply::new(StatusCode::CREATED);
    reply.set("etag", etag_text(&head.object.etag));
    reply.set("last-modified", http_date(put.modified_ms));
    reply.set("x-object-version-id", version_text(put.seq, put.null));
    Ok(reply)
}
