//! GET and HEAD of an object: the version meant, links followed, large objects put together, ranges, conditions.

use std::ops::Range;
use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use http::{HeaderMap, Method, StatusCode};
use store::{BodyStream, ObjectReader, ObjectRow, VersionSelector};

use super::attributes::{
    self, LINK, LINK_ACCOUNT, LINK_ETAG, SLO, attribute, etag_text, has_expired, version_selector, version_text,
};
use super::authorize::may_read;
use super::conditions;
use super::large::{self, Large, Part};
use super::path::{Path, container_and_object, quote};
use super::ranges::{self, Wanted};
use super::reply::{Answer, Content, Refused, Reply, TEXT, from_store, not_found, put, refuse, refuse_with};
use super::request::Ask;

/// So many links are followed one after the other.
pub(crate) const LINKS_MAX: usize = 2;

/// An object found at the end of its links.
pub(crate) struct Seen {
    pub(crate) reader: ObjectReader,
    /// Where it lies.
    pub(crate) account: String,
    pub(crate) container: String,
    pub(crate) object: String,
    /// Whether links led there.
    pub(crate) followed: bool,
}

/// Opens the object that the path names, as it is: links and manifests are objects of their own here.
pub(crate) async fn open_itself(ask: &Arc<Ask>, version: Option<&str>) -> Result<Seen, Refused> {
    let selector = version_selector(version)?;
    let bucket = ask
        .swift
        .bucket(&ask.cx, ask.path.container())
        .await?
        .ok_or_else(not_found)?;
    let key = ask.path.object().as_bytes();
    let opened = ask.swift.store.open_object(&ask.cx, &bucket, key, selector).await;
    let reader = opened.map_err(|error| absent(error, version))?;
    if selector == VersionSelector::Latest && has_expired(&reader.head.object, ask.now_ms) {
        return Err(not_found());
    }
    Ok(Seen {
        reader,
        account: ask.path.account.clone(),
        container: ask.path.container().to_owned(),
        object: ask.path.object().to_owned(),
        followed: false,
    })
}

/// A delete marker that was asked for by its id tells who it is.
fn absent(error: store::StoreError, version: Option<&str>) -> Refused {
    match error {
        store::StoreError::DeleteMarker { seq, null, .. } if version.is_some() => {
            let mut refused = not_found();
            refused.set("x-object-version-id", version_text(seq, null));
            refused.set("content-type", super::versions::DELETED_TYPE);
            refused
        }
        other => from_store(other),
    }
}

/// Opens the object that the path names, following links.
pub(crate) async fn find(ask: &Arc<Ask>, version: Option<&str>) -> Result<Seen, Refused> {
    follow(ask, version, 0).await
}

fn follow<'a>(
    ask: &'a Arc<Ask>,
    version: Option<&'a str>,
    links: usize,
) -> futures::future::BoxFuture<'a, Result<Seen, Refused>> {
    async move {
        let seen = open_itself(ask, version).await?;
        let row = &seen.reader.head.object;
        let Some(target) = attribute(row, LINK) else {
            return Ok(seen);
        };
        if links >= LINKS_MAX {
            let why = format!("Too many levels of symbolic links, maximum allowed is {LINKS_MAX}");
            return Err(refuse_with(StatusCode::CONFLICT, why));
        }
        let (container, object) = container_and_object(target).ok_or_else(not_found)?;
        let path = Path {
            account: attribute(row, LINK_ACCOUNT).unwrap_or(&seen.account).to_owned(),
            container: Some(container),
            object: Some(object),
        };
        let location = location(&path);
        let expected = attribute(row, LINK_ETAG).map(str::to_owned);
        let inner = Arc::new(ask.inner(Method::GET, path, ask.headers.clone()));
        // Whatever is wrong with the target, the client is told where it is.
        let located = |mut refused: Refused| {
            if !refused.headers.contains_key("content-location") {
                refused.set("content-location", &location);
            }
            refused
        };
        if !may_read(ask, &inner).await? {
            return Err(located(super::authorize::denied(ask)));
        }
        let found = enter(&inner, expected.as_deref(), links + 1).await.map_err(located)?;
        Ok(Seen {
            followed: true,
            ..found
        })
    }
    .boxed()
}

/// Follows a link into its target, which must have the tag that a static link names: its own one, not that of what it
/// leads to, and of a manifest the manifest's.
async fn enter(ask: &Arc<Ask>, expected: Option<&str>, links: usize) -> Result<Seen, Refused> {
    if let Some(expected) = expected {
        let itself = open_itself(ask, None).await?;
        let now = link_etag(&itself.reader.head.object);
        if now != expected {
            let why = format!("Object Etag '{now}' does not match X-Symlink-Target-Etag header '{expected}'");
            return Err(refuse_with(StatusCode::CONFLICT, why));
        }
    }
    follow(ask, None, links).await
}

/// The tag by which a static link knows its target: of a manifest the manifest's own, of a static link that of its target.
pub(crate) fn link_etag(row: &ObjectRow) -> String {
    attribute(row, LINK_ETAG).map_or_else(|| etag_text(&row.etag), str::to_owned)
}

/// The tag of a static large object, or of a plain one.
pub(crate) fn told_etag(row: &ObjectRow) -> String {
    attribute(row, attributes::SLO_ETAG).map_or_else(|| etag_text(&row.etag), str::to_owned)
}

fn location(path: &Path) -> String {
    format!(
        "/v1/{}/{}/{}",
        quote(&path.account),
        quote(path.container()),
        quote(path.object())
    )
}

/// Where an answer's bytes lie: behind links, or as one of several versions. `None`: where the request says.
fn content_location(seen: &Seen) -> Option<String> {
    let head = &seen.reader.head;
    let version = (head.versioned && !head.object.null).then(|| version_text(head.object.seq, false));
    if !seen.followed && version.is_none() {
        return None;
    }
    let place = location(&Path {
        account: seen.account.clone(),
        container: Some(seen.container.clone()),
        object: Some(seen.object.clone()),
    });
    Some(version.map_or(place.clone(), |version| format!("{place}?version-id={version}")))
}

/// The bytes of what was found: of a plain object, or of a large one's segments.
pub(crate) enum Bytes {
    Plain(Box<ObjectReader>),
    Large(Arc<Large>),
}

impl Bytes {
    /// Takes large objects apart unless their manifest itself is meant.
    pub(crate) async fn of(ask: &Arc<Ask>, seen: &Seen, manifest: bool) -> Result<Self, Refused> {
        if manifest || !large::is_large(&seen.reader.head.object) {
            return Ok(Self::Plain(Box::new(seen.reader.clone())));
        }
        Ok(Self::Large(Arc::new(large::open(ask, seen).await?)))
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Plain(reader) => reader.head.object.size,
            Self::Large(large) => large.size,
        }
    }

    /// The tag as it is told: that of a large object in quotes, as Swift does.
    pub(crate) fn etag(&self) -> String {
        match self {
            Self::Plain(reader) => etag_text(&reader.head.object.etag),
            Self::Large(large) => format!("\"{}\"", large.etag),
        }
    }

    /// Reads a range. What fails at the first byte is refused, later the body is cut.
    pub(crate) async fn read(&self, ask: &Arc<Ask>, range: Range<u64>) -> Result<BodyStream, Refused> {
        match self {
            Self::Plain(reader) => Ok(reader.clone().read(range)),
            Self::Large(large) => large.read(ask, range).await,
        }
    }
}

/// Answers GET and HEAD of an object.
pub(crate) async fn show(ask: &Arc<Ask>) -> Answer {
    // A signed URL is for the newest version: its signature says nothing of others.
    let version = ask.query.get("version-id").filter(|_| ask.by_signature.is_none());
    let itself = ask.query.get("symlink") == Some("get");
    let seen = if itself {
        open_itself(ask, version).await?
    } else {
        find(ask, version).await?
    };
    let row = &seen.reader.head.object;
    let manifest = ask.query.get("multipart-manifest") == Some("get") && large::is_large(row);
    if manifest && attribute(row, SLO).is_some() {
        return super::slo::show_manifest(ask, &seen).await;
    }
    let bytes = Bytes::of(ask, &seen, manifest).await?;
    let (size, etag) = (bytes.size(), bytes.etag());
    let mut headers = HeaderMap::new();
    attributes::describe(row, seen.reader.head.versioned, &mut headers);
    put(&mut headers, "etag", &etag);
    if itself {
        super::symlink::describe(row, &mut headers);
    }
    if let Some(location) = content_location(&seen) {
        put(&mut headers, "content-location", location);
    }
    if attribute(row, SLO).is_some() {
        put(&mut headers, "x-manifest-etag", etag_text(&row.etag));
    }
    if let Some(status) = conditions::of_read(&ask.headers, &etag, row.modified_ms) {
        return Err(conditional(status, headers));
    }
    let mut reply = Reply::new(StatusCode::OK);
    reply.headers = headers;
    if let Some(number) = ask.query.get("part-number")
        && let Bytes::Large(large) = &bytes
        && attribute(row, SLO).is_some()
    {
        return part(ask, reply, &bytes, large.part(number)?).await;
    }
    if ask.method == Method::HEAD {
        reply.set("content-length", size.to_string());
        return Ok(reply);
    }
    match ranges::wanted(ask.header("range"), size) {
        Wanted::All => {
            reply.body = Content::Stream(bytes.read(ask, 0..size).await?, Some(size));
            Ok(reply)
        }
        Wanted::Nothing => Err(unsatisfiable(reply.headers, size)),
        Wanted::Some(ranges) => partial(ask, reply, bytes, ranges).await,
    }
}

fn conditional(status: StatusCode, headers: HeaderMap) -> Refused {
    let mut refused = refuse(status);
    let body = std::mem::replace(&mut refused.body, Content::Empty);
    if status == StatusCode::NOT_MODIFIED {
        refused.headers = headers;
    } else {
        refused.headers.extend(headers.into_iter().filter(|(name, _)| {
            let kept = ["etag", "last-modified", "accept-ranges", "content-location"];
            name.as_ref().is_some_and(|name| kept.contains(&name.as_str()))
        }));
        refused.body = body;
    }
    refused
}

fn unsatisfiable(headers: HeaderMap, size: u64) -> Refused {
    let mut refused = refuse(StatusCode::RANGE_NOT_SATISFIABLE);
    let kept = ["etag", "last-modified", "x-timestamp", "accept-ranges"];
    for (name, value) in headers {
        if let Some(name) = name.filter(|name| kept.contains(&name.as_str())) {
            refused.headers.insert(name, value);
        }
    }
    refused.set("content-range", format!("bytes */{size}"));
    refused
}

/// One segment of a static large object.
async fn part(ask: &Arc<Ask>, mut reply: Reply, bytes: &Bytes, part: Part) -> Answer {
    let size = bytes.size();
    reply.set("x-parts-count", part.count.to_string());
    let Some(range) = part.range else {
        let kept = ["x-parts-count", "x-object-version-id", "x-static-large-object"]
            .map(|name| (name, reply.headers.get(name).cloned()));
        let mut refused = unsatisfiable(reply.headers, size);
        refused.body = match ask.method {
            Method::HEAD => Content::Empty,
            _ => Content::Whole("The requested part number is not satisfiable".into()),
        };
        refused.set("content-type", TEXT);
        for (name, value) in kept {
            if let Some(value) = value {
                refused.set(name, value);
            }
        }
        return Err(refused);
    };
    reply.status = StatusCode::PARTIAL_CONTENT;
    let (first, end) = (range.start, range.end);
    reply.set("content-range", format!("bytes {first}-{}/{size}", end - 1));
    if ask.method == Method::HEAD {
        reply.set("content-length", (end - first).to_string());
    } else {
        reply.body = Content::Stream(bytes.read(ask, range).await?, Some(end - first));
    }
    Ok(reply)
}

/// One range, or several in a body of parts.
async fn partial(ask: &Arc<Ask>, mut reply: Reply, bytes: Bytes, mut asked: Vec<Range<u64>>) -> Answer {
    reply.status = StatusCode::PARTIAL_CONTENT;
    let size = bytes.size();
    if let [range] = &asked[..] {
        let (first, end) = (range.start, range.end);
        reply.set(
            "content-range",
            format!("bytes {first}-{}/{size}", end.saturating_sub(1)),
        );
        reply.body = Content::Stream(bytes.read(ask, first..end).await?, Some(end - first));
        return Ok(reply);
    }
    let boundary = format!("{:032x}", ask.swift.dice.u128());
    let kind = reply
        .headers
        .get("content-type")
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    reply.set("content-type", format!("multipart/byteranges;boundary={boundary}"));
    // What is wrong with the first range's first segment is still told by the status.
    if let Some(first) = asked.first_mut() {
        drop(bytes.read(ask, first.clone()).await?);
    }
    let (parts, length) = ranges::parts(asked, size, &kind, &boundary);
    let (ask, bytes) = (Arc::clone(ask), Arc::new(bytes));
    let read = move |range: Range<u64>| {
        let (ask, bytes) = (Arc::clone(&ask), Arc::clone(&bytes));
        async move {
            match bytes.read(&ask, range).await {
                Ok(stream) => stream,
                Err(_) => futures::stream::iter([Err(store::StoreError::Lost)]).boxed(),
            }
        }
    };
    reply.body = Content::Stream(ranges::multipart(parts, &boundary, read), Some(length));
    Ok(reply)
}
