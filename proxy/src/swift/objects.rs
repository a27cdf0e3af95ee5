//! Listings of a container's objects, over the store's pages.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use serde_json::json;
use store::{Key, ListObjects, ObjectRow, VersionSelector};

use super::attributes::{
    LINK, LINK_ACCOUNT, LINK_BYTES, LINK_ETAG, LINK_SLO_ETAG, SLO_ETAG, attribute, etag_text, told_size,
};
use super::limits::LISTING_MAX;
use super::listing::{Entry, ObjectEntry, Page};
use super::path::quote;
use super::reply::{Refused, from_store};
use super::request::{Ask, Container};

/// Directory objects looked at at once, for `path=`.
const LOOKS_AT_ONCE: usize = 16;

/// The part of a container that a page shows.
pub(crate) async fn list(ask: &Ask, container: &Container, page: &Page) -> Result<Vec<Entry>, Refused> {
    if page.limit == 0 {
        return Ok(Vec::new());
    }
    match &page.path {
        Some(path) => list_path(ask, container, page, path).await,
        None if page.reverse => list_backwards(ask, container, page).await,
        None => list_forwards(ask, container, page).await,
    }
}

async fn list_forwards(ask: &Ask, container: &Container, page: &Page) -> Result<Vec<Entry>, Refused> {
    let mut walk = Walk::new(
        ask,
        container,
        &page.prefix,
        page.delimiter.as_deref(),
        page.marker.as_deref(),
    );
    let mut shown = Vec::new();
    while let Some(entries) = walk.next(page.limit - shown.len()).await? {
        for entry in entries {
            if page.ends_before(entry.name()) {
                return Ok(shown);
            }
            shown.push(entry);
        }
        if shown.len() >= page.limit {
            break;
        }
    }
    Ok(shown)
}

/// The store lists forwards only, so everything between the markers is walked and the last entries are kept.
async fn list_backwards(ask: &Ask, container: &Container, page: &Page) -> Result<Vec<Entry>, Refused> {
    let from = page.end_marker.as_deref();
    let mut walk = Walk::new(ask, container, &page.prefix, page.delimiter.as_deref(), from);
    let mut last: VecDeque<Entry> = VecDeque::new();
    'walk: while let Some(entries) = walk.next(LISTING_MAX).await? {
        for entry in entries {
            if page
                .marker
                .as_ref()
                .is_some_and(|marker| entry.name() >= marker.as_str())
            {
                break 'walk;
            }
            last.push_back(entry);
            if last.len() > page.limit {
                last.pop_front();
            }
        }
    }
    Ok(last.into_iter().rev().collect())
}

/// The objects directly under a pseudo-directory, directory objects included.
async fn list_path(ask: &Ask, container: &Container, page: &Page, path: &str) -> Result<Vec<Entry>, Refused> {
    let prefix = match path.trim_end_matches('/') {
        "" => String::new(),
        path => format!("{path}/"),
    };
    let (first, last) = match page.reverse {
        true => (page.end_marker.as_deref(), page.marker.as_deref()),
        false => (page.marker.as_deref(), page.end_marker.as_deref()),
    };
    let mut walk = Walk::new(ask, container, &prefix, Some("/"), first);
    let mut shown = Vec::new();
    while let Some(entries) = walk.next(LISTING_MAX).await? {
        let objects: Vec<Option<Entry>> = futures::stream::iter(entries)
            .map(|entry| directory_object(ask, container, entry))
            .buffered(LOOKS_AT_ONCE)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect::<Result<_, _>>()?;
        for entry in objects.into_iter().flatten() {
            let ended = last.is_some_and(|last| entry.name() >= last);
            if ended || (!page.reverse && shown.len() == page.limit) {
                return Ok(turned(shown, page));
            }
            if entry.name() != prefix {
                shown.push(entry);
            }
        }
    }
    Ok(turned(shown, page))
}

fn turned(mut entries: Vec<Entry>, page: &Page) -> Vec<Entry> {
    if page.reverse {
        entries.reverse();
        entries.truncate(page.limit);
    }
    entries
}

/// An object as it is; for a subdirectory the object of the same name, if there is one.
async fn directory_object(ask: &Ask, container: &Container, entry: Entry) -> Result<Option<Entry>, Refused> {
    let Entry::Subdir(name) = &entry else {
        return Ok(Some(entry));
    };
    let found = ask
        .swift
        .store
        .object(&ask.cx, &container.bucket, name.as_bytes(), VersionSelector::Latest)
        .await;
    match found {
        Ok(head) => Ok(Some(object_entry(name.clone().into_bytes(), &head.object))),
        Err(error) if error.class() == store::Class::Absent => Ok(None),
        Err(error) => Err(from_store(error)),
    }
}

/// A walk over a container's objects and subdirectories in the order of their names.
pub(crate) struct Walk<'a> {
    ask: &'a Ask,
    container: &'a Container,
    list: ListObjects,
    ended: bool,
}

impl<'a> Walk<'a> {
    /// A walk that begins behind `marker`.
    pub(crate) fn new(
        ask: &'a Ask,
        container: &'a Container,
        prefix: &str,
        delimiter: Option<&str>,
        marker: Option<&str>,
    ) -> Self {
        // A subdirectory that was shown last is not shown again; one that holds the marker is.
        let shown = delimiter.is_some_and(|delimiter| marker.is_some_and(|marker| marker.ends_with(delimiter)));
        let list = ListObjects {
            prefix: prefix.as_bytes().to_vec(),
            delimiter: delimiter.map(|delimiter| delimiter.as_bytes().to_vec()),
            after: marker.map(|marker| marker.as_bytes().to_vec()),
            start_after: !shown,
            ..ListObjects::default()
        };
        Self {
            ask,
            container,
            list,
            ended: false,
        }
    }

    /// The next entries, at most `limit`; `None` at the end.
    pub(crate) async fn next(&mut self, limit: usize) -> Result<Option<Vec<Entry>>, Refused> {
        if self.ended || limit == 0 {
            return Ok(None);
        }
        self.list.limit = limit.min(LISTING_MAX);
        let (store, bucket) = (&self.ask.swift.store, &self.container.bucket);
        let page = store
            .list_objects(&self.ask.cx, bucket, self.list.clone())
            .await
            .map_err(from_store)?;
        self.ended = !page.more;
        let mut prefixes = page.prefixes.into_iter().peekable();
        let mut entries = Vec::with_capacity(page.entries.len());
        for (key, row) in page.entries {
            while let Some(prefix) = prefixes.next_if(|prefix| *prefix < key) {
                entries.push((prefix, None));
            }
            entries.push((key, Some(row)));
        }
        entries.extend(prefixes.map(|prefix| (prefix, None)));
        match entries.last() {
            Some((last, _)) => self.list.after = Some(last.clone()),
            None => self.ended = true,
        }
        self.list.start_after = false;
        let entries = entries.into_iter().map(|(key, row)| match row {
            Some(row) => object_entry(key, &row),
            None => Entry::Subdir(String::from_utf8_lossy(&key).into_owned()),
        });
        Ok(Some(entries.collect()))
    }
}

/// An object's line.
pub(crate) fn object_entry(key: Key, row: &ObjectRow) -> Entry {
    Entry::Object(Box::new(object_line(key, row)))
}

/// What an object's line holds.
pub(crate) fn object_line(key: Key, row: &ObjectRow) -> ObjectEntry {
    let mut more = Vec::new();
    if let Some(etag) = attribute(row, SLO_ETAG) {
        more.push(("slo_etag", json!(format!("\"{etag}\""))));
    }
    if let Some(target) = attribute(row, LINK) {
        let account = attribute(row, LINK_ACCOUNT).map_or_else(|| format!("AUTH_{}", row.owner), str::to_owned);
        more.push(("symlink_path", json!(format!("/v1/{}/{target}", quote(&account)))));
        if let Some(etag) = attribute(row, LINK_ETAG) {
            more.push(("symlink_etag", json!(etag)));
        }
        if let Some(etag) = attribute(row, LINK_SLO_ETAG) {
            more.push(("slo_etag", json!(format!("\"{etag}\""))));
        }
        if let Some(bytes) = attribute(row, LINK_BYTES).and_then(|bytes| bytes.parse::<u64>().ok()) {
            more.push(("symlink_bytes", json!(bytes)));
        }
    }
    ObjectEntry {
        name: String::from_utf8(key).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned()),
        bytes: told_size(row),
        hash: etag_text(&row.etag),
        content_type: attribute(row, "content-type")
            .unwrap_or("application/octet-stream")
            .to_owned(),
        modified_ms: row.modified_ms,
        more,
    }
}

/// All objects below a prefix, at most `max`; `None`: there are more.
pub(crate) async fn below(
    ask: &Ask,
    container: &Arc<Container>,
    prefix: &str,
    max: usize,
) -> Result<Option<Vec<(Key, ObjectRow)>>, Refused> {
    let mut list = ListObjects {
        prefix: prefix.as_bytes().to_vec(),
        limit: LISTING_MAX,
        ..ListObjects::default()
    };
    let mut all = Vec::new();
    loop {
        let page = ask
            .swift
            .store
            .list_objects(&ask.cx, &container.bucket, list.clone())
            .await;
        let page = page.map_err(from_store)?;
        all.extend(page.entries);
        if all.len() > max {
            return Ok(None);
        }
        match all.last() {
            Some((last, _)) if page.more => list.after = Some(last.clone()),
            _ => return Ok(Some(all)),
        }
    }
}

/// Whether there is anything below a prefix.
pub(crate) async fn below_any(ask: &Ask, container: &Container, prefix: &str) -> Result<bool, Refused> {
    let list = ListObjects {
        prefix: prefix.as_bytes().to_vec(),
        limit: 1,
        ..ListObjects::default()
    };
    let page = ask
        .swift
        .store
        .list_objects(&ask.cx, &container.bucket, list)
        .await
        .map_err(from_store)?;
    Ok(!page.entries.is_empty())
}
