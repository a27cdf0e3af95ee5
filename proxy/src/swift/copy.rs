//! COPY, and PUT with `X-Copy-From`.
//!
//! A plain object is copied by the store, inside a shard without moving a byte. A range, and a large object that is not
//! copied as its manifest, are read and written anew.

use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt;
use http::{HeaderMap, Method, StatusCode};
use store::{
    Body, BodyError, CopyChanges, CopySource, CopyTarget, ObjectRow, PutObject, PutOutcome, StoreError, VersionSelector,
};

use super::attributes::{DELETE_AT, DLO, LINK, LINK_ACCOUNT, SLO, Said, etag_text};
use super::authorize::{denied, may_read, may_write};
use super::path::{Path, container_and_object, quote};
use super::put::{self, Target, check_name};
use super::ranges::{self, Wanted};
use super::read::{self, Bytes, Seen};
use super::reply::{Answer, Refused, SEGMENT_FAILED, bad_request, from_store, not_found, refuse, refuse_with};
use super::request::{Ask, Query, is_true};
use super::timestamp::http_date;
use super::{archive, conditions, expiry};

/// PUT with `X-Copy-From`: the path names the target.
pub(crate) async fn put(ask: &Arc<Ask>) -> Answer {
    if ask.content_length().unwrap_or(0) > 0 || ask.header("transfer-encoding").is_some() {
        return Err(bad_request("Copy requests require a zero byte body"));
    }
    let from = ask.header("x-copy-from").unwrap_or_default();
    let (from, query) = from.split_once('?').unwrap_or((from, ""));
    let malformed = || {
        refuse_with(
            StatusCode::PRECONDITION_FAILED,
            "X-Copy-From header must be of the form <container name>/<object name>",
        )
    };
    let (container, object) = container_and_object(from).ok_or_else(malformed)?;
    let path = Path {
        account: account_of(ask, "x-copy-from-account")?,
        container: Some(container),
        object: Some(object),
    };
    let source = Arc::new(ask.inner(Method::GET, path, ask.headers.clone()));
    if !may_read(ask, &source).await? {
        return Err(denied(ask));
    }
    let query = Query::parse(Some(query)).unwrap_or_default();
    copy_between(ask, &source, ask, &query).await
}

/// COPY: the path names the source.
pub(crate) async fn copy(ask: &Arc<Ask>) -> Answer {
    let destination = ask.header("destination").filter(|destination| !destination.is_empty());
    let destination =
        destination.ok_or_else(|| refuse_with(StatusCode::PRECONDITION_FAILED, "Destination header required"))?;
    let malformed = || {
        refuse_with(
            StatusCode::PRECONDITION_FAILED,
            "Destination header must be of the form <container name>/<object name>",
        )
    };
    let (container, object) = container_and_object(destination).ok_or_else(malformed)?;
    let path = Path {
        account: account_of(ask, "destination-account")?,
        container: Some(container),
        object: Some(object),
    };
    let target = Arc::new(ask.inner(Method::PUT, path, ask.headers.clone()));
    if ask.by_signature.is_some() || !may_write(&target).await? {
        return Err(denied(ask));
    }
    copy_between(ask, ask, &target, &ask.query).await
}

fn account_of(ask: &Ask, header: &str) -> Result<String, Refused> {
    let Some(account) = ask.header(header).filter(|account| !account.is_empty()) else {
        return Ok(ask.path.account.clone());
    };
    let account = super::path::unquote(account).filter(|account| !account.contains('/'));
    account.ok_or_else(|| refuse_with(StatusCode::PRECONDITION_FAILED, "Account name cannot contain slashes"))
}

/// What of a request decides how it copies. It may be the request to the source or to the target.
async fn copy_between(ask: &Arc<Ask>, source: &Arc<Ask>, target: &Arc<Ask>, of_source: &Query) -> Answer {
    let version = of_source.get("version-id");
    let part_number = of_source.get("part-number").map(str::to_owned);
    check_name(target.path.object())?;
    let whole_manifest = ask.query.get("multipart-manifest") == Some("get");
    let seen = match ask.query.get("symlink") == Some("get") {
        true => read::open_itself(source, version).await?,
        false => read::find(source, version).await?,
    };
    let row = seen.reader.head.object.clone();
    if let Some(status) = conditions::of_read(&copy_conditions(&ask.headers), &etag_text(&row.etag), row.modified_ms) {
        return Err(refuse(if status == StatusCode::NOT_MODIFIED {
            StatusCode::PRECONDITION_FAILED
        } else {
            status
        }));
    }
    let container = target.container().await?;
    let said = merged(ask, &row, target.path.object(), whole_manifest)?;
    let place = Target {
        container,
        said: Said {
            attributes: Vec::new(),
            user: Vec::new(),
        },
        condition: match ask.headers.get("if-none-match") {
            Some(_) => conditions::of_write(&ask.headers)?,
            None => store::Condition::Always,
        },
    };
    if whole_manifest && source.path.account != target.path.account && said.get(SLO).is_some() {
        super::slo::check_elsewhere(target, &seen).await?;
    }
    let bytes = Bytes::of(source, &seen, whole_manifest).await?;
    let size = bytes.size();
    let part = match (&bytes, ask.query.get("part-number").or(part_number.as_deref())) {
        (Bytes::Large(large), Some(number)) => Some(large.part(number)?),
        _ => None,
    };
    let range = match part.map(|part| part.range) {
        Some(None) => return Err(refuse(StatusCode::RANGE_NOT_SATISFIABLE)),
        Some(Some(range)) => Some(range),
        None => range_of(ask, size)?,
    };
    let plain = matches!(bytes, Bytes::Plain(_)) && range.is_none();
    place.check_quota(target, size).await?;
    let done = if plain {
        share(target, source, &place, &said, &seen).await?
    } else {
        write_anew(target, source, &place, &said, bytes, range).await?
    };
    let mut reply = put::created(&place, &done);
    reply.set("etag", etag_text(&done.etag));
    reply.set(
        "x-copied-from",
        format!("{}/{}", quote(source.path.container()), quote(source.path.object())),
    );
    reply.set("x-copied-from-account", &source.path.account);
    reply.set("x-copied-from-last-modified", http_date(row.modified_ms));
    for (name, value) in &said.user {
        reply.set(&format!("x-object-meta-{name}"), value);
    }
    Ok(reply)
}

/// Conditions of a copy are about its source.
fn copy_conditions(headers: &HeaderMap) -> HeaderMap {
    let names = ["if-match", "if-modified-since", "if-unmodified-since"];
    let kept = names
        .into_iter()
        .filter_map(|name| Some((http::HeaderName::from_static(name), headers.get(name)?.clone())));
    kept.collect()
}

/// What the copy says: the source's words under the request's, or only the request's.
fn merged(ask: &Ask, row: &ObjectRow, name: &str, whole_manifest: bool) -> Result<Said, Refused> {
    let asked = Said::of(&ask.headers, ask.now_ms)?;
    let fresh = ask.header("x-fresh-metadata").is_some_and(is_true);
    let mut said = Said::default();
    for (name, value) in &row.attributes {
        let manifest = name.starts_with(SLO) || name == DLO;
        let internal = name.contains('/');
        let kept = match (manifest, internal) {
            (true, _) => whole_manifest,
            (false, true) => true,
            (false, false) => !fresh || name == "content-type",
        };
        if kept {
            said.set(name, value);
        }
    }
    for (name, value) in &asked.attributes {
        said.set(name, value);
    }
    let account = ask
        .header("x-symlink-target-account")
        .filter(|account| !account.is_empty());
    if let (Some(account), true) = (account, said.get(LINK).is_some()) {
        said.set(LINK_ACCOUNT, account);
    }
    said.user = asked.user;
    if !fresh {
        let old = row
            .user
            .iter()
            .filter(|(name, _)| !said.user.iter().any(|(given, _)| given == name));
        let old: Vec<_> = old.cloned().collect();
        said.user.extend(old);
    }
    // An empty value in the request takes the source's item away.
    said.user.retain(|(name, _)| {
        let header = format!("x-object-meta-{name}");
        !ask.headers.get(header.as_str()).is_some_and(|value| value.is_empty())
    });
    super::limits::check(&said.user, super::limits::Subject::Object)?;
    said.fill_type(&ask.headers, name);
    Ok(said)
}

async fn prepare(target: &Arc<Ask>, place: &Target, said: &Said) -> Result<(), Refused> {
    if let Some(at) = said.get(DELETE_AT).and_then(|at| at.parse().ok()) {
        expiry::note(
            &target.swift,
            &target.cx,
            &place.container.bucket,
            target.path.object(),
            at,
        )
        .await?;
    }
    archive::before_put(target, &place.container).await
}

/// Copies inside the store.
async fn share(
    target: &Arc<Ask>,
    source: &Arc<Ask>,
    place: &Target,
    said: &Said,
    seen: &Seen,
) -> Result<PutOutcome, Refused> {
    prepare(target, place, said).await?;
    let row = &seen.reader.head.object;
    let from_cx = source
        .inner(
            Method::GET,
            Path {
                account: seen.account.clone(),
                ..source.path.clone()
            },
            HeaderMap::new(),
        )
        .cx;
    let bucket = source
        .swift
        .bucket(&from_cx, &seen.container)
        .await?
        .ok_or_else(not_found)?;
    let from = CopySource {
        bucket,
        key: seen.object.as_bytes().to_vec(),
        version: match (seen.reader.head.versioned, row.null) {
            (true, false) => VersionSelector::Id(row.seq),
            (true, true) => VersionSelector::Null,
            (false, _) => VersionSelector::Latest,
        },
        condition: store::Condition::ETagIn(vec![row.etag]),
    };
    let to = CopyTarget {
        bucket: place.container.bucket.clone(),
        key: target.path.object().as_bytes().to_vec(),
        condition: place.condition.clone(),
    };
    let changes = CopyChanges {
        metadata: Some((said.attributes.clone(), said.user.clone())),
        tags: None,
    };
    let done = target
        .swift
        .store
        .copy_object(&target.cx, from, to, changes, None)
        .await;
    Ok(done.map_err(from_store)?.put)
}

/// Reads what is to be copied and writes it.
async fn write_anew(
    target: &Arc<Ask>,
    source: &Arc<Ask>,
    place: &Target,
    said: &Said,
    bytes: Bytes,
    range: Option<Range<u64>>,
) -> Result<PutOutcome, Refused> {
    let range = range.unwrap_or(0..bytes.size());
    let length = range.end - range.start;
    if length > target.swift.store.options().body_bytes_max {
        return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE));
    }
    let stream = bytes.read(source, range).await?;
    let body: Body = stream.map(|piece| piece.map_err(unreadable)).boxed();
    let put = PutObject {
        condition: place.condition.clone(),
        attributes: said.attributes.clone(),
        user: said.user.clone(),
        length: Some(length),
        ..PutObject::plain()
    };
    put::commit(target, place, said, put, body).await
}

/// The one range that a copy may ask for.
fn range_of(ask: &Ask, size: u64) -> Result<Option<Range<u64>>, Refused> {
    match ranges::wanted(ask.header("range"), size) {
        Wanted::All => Ok(None),
        Wanted::Nothing => Err(refuse(StatusCode::RANGE_NOT_SATISFIABLE)),
        Wanted::Some(mut ranges) if ranges.len() == 1 => Ok(ranges.pop()),
        Wanted::Some(_) => Err(bad_request("A copy takes one range")),
    }
}

fn unreadable(error: StoreError) -> BodyError {
    BodyError {
        code: SEGMENT_FAILED,
        message: error.to_string(),
    }
}
