//! `PUT ?extract-archive=tar|tar.gz|tar.bz2`: every file of an archive becomes an object. The status is always 200; what went
//! wrong stands in the answer's body.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures::StreamExt;
use http::{HeaderMap, Method, StatusCode};
use store::{Body, BodyError, PutObject};
use tokio::sync::Mutex;

use super::authorize::may_write;
use super::bulk::{FAILURES_MAX, Outcome, words};
use super::bunzip::bunzip;
use super::format::Format;
use super::path::{Path, quote};
use super::put::{self, Target};
use super::reply::{Answer, Refused, bad_request, refuse};
use super::request::Ask;
use super::tar::{Archive, File};

/// The most containers that one archive makes.
pub(crate) const CONTAINERS_MAX: usize = 10_000;
/// Compressed bytes unpacked in one step, so that a step never makes more than a few MiB.
const STEP_BYTES: usize = 4096;

/// Takes an archive apart.
pub(crate) async fn extract(ask: &Arc<Ask>) -> Answer {
    let format = Format::of(ask)?;
    let kind = ask
        .query
        .get("extract-archive")
        .unwrap_or_default()
        .trim_matches('.')
        .to_ascii_lowercase();
    let body = ask.body(u64::MAX);
    let body = match kind.as_str() {
        "tar" => body,
        "tar.gz" | "tgz" => gunzip(body),
        "tar.bz2" | "tbz2" => bunzip(body),
        _ => return Err(bad_request("Unsupported archive format")),
    };
    ask.require_length()?;
    let archive = Arc::new(Mutex::new(Archive::new(body)));
    let mut outcome = Outcome::default();
    let mut containers = HashMap::new();
    let mut created = 0;
    loop {
        let file = archive.lock().await.next().await;
        let file = match file {
            Ok(Some(file)) => file,
            Ok(None) => break,
            Err(error) => {
                outcome.status = words(StatusCode::BAD_REQUEST);
                outcome.body = format!("Invalid Tar File: {}", error.message);
                break;
            }
        };
        let Some(path) = target(ask, &file) else { continue };
        match store_file(ask, &archive, &path, &mut containers).await {
            Ok(()) => created += 1,
            Err(refused) => {
                let name = format!("{}/{}", path.container(), path.object());
                outcome.errors.push((quote(&name), words(refused.status)));
                if outcome.errors.len() > FAILURES_MAX {
                    break;
                }
            }
        }
    }
    outcome.counts = vec![("Number Files Created", created)];
    if outcome.status.is_empty() {
        let worst = outcome.errors.first().map(|(_, status)| status.clone());
        outcome.status = match (worst, created) {
            (None, 0) => {
                outcome.body = "Invalid Tar File: No Valid Files".to_owned();
                words(StatusCode::BAD_REQUEST)
            }
            (None, _) => words(StatusCode::CREATED),
            (Some(status), _) if status.starts_with("401") => status,
            (Some(status), _) if status.starts_with('5') => words(StatusCode::BAD_GATEWAY),
            (Some(_), _) => words(StatusCode::BAD_REQUEST),
        };
    }
    Ok(outcome.answer(format, "extract"))
}

/// Where a file goes; `None` for what is no file.
fn target(ask: &Ask, file: &File) -> Option<Path> {
    if !file.regular {
        return None;
    }
    let mut name = file.name.as_str();
    while let Some(rest) = name.strip_prefix("./").or(name.strip_prefix('/')) {
        name = rest;
    }
    let whole = match (&ask.path.container, &ask.path.object) {
        (None, _) => name.to_owned(),
        (Some(container), None) => format!("{container}/{name}"),
        (Some(container), Some(prefix)) => format!("{container}/{}/{name}", prefix.trim_end_matches('/')),
    };
    let (container, object) = whole.split_once('/')?;
    (!container.is_empty() && !object.is_empty() && !whole.contains('\0')).then(|| Path {
        account: ask.path.account.clone(),
        container: Some(container.to_owned()),
        object: Some(object.to_owned()),
    })
}

/// Makes a container once; remembers what became of it.
async fn make_container(
    ask: &Arc<Ask>,
    name: &str,
    known: &mut HashMap<String, Option<StatusCode>>,
) -> Result<(), Refused> {
    if !known.contains_key(name) {
        if known.len() >= CONTAINERS_MAX {
            return Err(bad_request("More than the allowed containers were made"));
        }
        let path = Path {
            account: ask.path.account.clone(),
            container: Some(name.to_owned()),
            object: None,
        };
        let inner = ask.inner(Method::PUT, path, HeaderMap::new());
        let made = match inner.find_container().await {
            Ok(Some(_)) => None,
            Ok(None) if !inner.is_owner() => Some(StatusCode::FORBIDDEN),
            Ok(None) => super::container::handle(&inner)
                .await
                .err()
                .map(|refused| refused.status),
            Err(refused) => Some(refused.status),
        };
        known.insert(name.to_owned(), made);
    }
    match known.get(name) {
        Some(Some(status)) => Err(refuse(*status)),
        _ => Ok(()),
    }
}

async fn store_file(
    ask: &Arc<Ask>,
    archive: &Arc<Mutex<Archive>>,
    path: &Path,
    containers: &mut HashMap<String, Option<StatusCode>>,
) -> Result<(), Refused> {
    make_container(ask, path.container(), containers).await?;
    let kept = ["x-delete-at", "x-delete-after", "x-detect-content-type"];
    let headers: HeaderMap = ask
        .headers
        .iter()
        .filter(|(name, _)| kept.contains(&name.as_str()) || name.as_str().starts_with("x-object-meta-"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let inner = Arc::new(ask.inner(Method::PUT, path.clone(), headers));
    if !may_write(&inner).await? {
        return Err(super::authorize::denied(ask));
    }
    let target = Target::of(&inner).await?;
    let room = target.check_quota(&inner, 0).await?;
    let put = PutObject {
        attributes: target.said.attributes.clone(),
        user: target.said.user.clone(),
        ..PutObject::plain()
    };
    let most = room.min(ask.swift.store.options().body_bytes_max);
    let done = put::commit(&inner, &target, &target.said, put, content(archive, most)).await;
    done.map(drop)
}

/// The content of the archive's current file as a body.
fn content(archive: &Arc<Mutex<Archive>>, most: u64) -> Body {
    futures::stream::unfold((Arc::clone(archive), most), |(archive, left)| async move {
        let piece = archive.lock().await.piece().await.transpose()?;
        let room = piece
            .as_ref()
            .map_or(Some(left), |bytes| left.checked_sub(bytes.len() as u64));
        match room {
            Some(left) => Some((piece, (archive, left))),
            None => {
                let error = BodyError {
                    code: super::reply::TOO_LARGE,
                    message: "the file is too large".to_owned(),
                };
                Some((Err(error), (archive, 0)))
            }
        }
    })
    .boxed()
}

/// Unpacks gzip in small steps. Blocks the worker for no longer than a few MiB of copying.
fn gunzip(body: Body) -> Body {
    let decoder = MultiGzDecoder::new(Vec::new());
    let start = Some((body, decoder, Bytes::new()));
    futures::stream::unfold(start, |state| async move {
        let (mut body, mut decoder, mut packed) = state?;
        loop {
            if packed.is_empty() {
                match body.next().await {
                    None => {
                        let rest = decoder.finish().map(Bytes::from).map_err(|error| unpacked(&error));
                        return Some((rest, None));
                    }
                    Some(Err(error)) => return Some((Err(error), None)),
                    Some(Ok(bytes)) => packed = bytes,
                }
            }
            let step = packed.split_to(packed.len().min(STEP_BYTES));
            if let Err(error) = decoder.write_all(&step) {
                return Some((Err(unpacked(&error)), None));
            }
            let bytes = std::mem::take(decoder.get_mut());
            if !bytes.is_empty() {
                return Some((Ok(bytes.into()), Some((body, decoder, packed))));
            }
        }
    })
    .boxed()
}

fn unpacked(error: &std::io::Error) -> BodyError {
    BodyError {
        code: "archive",
        message: format!("the compression is damaged: {error}"),
    }
}
