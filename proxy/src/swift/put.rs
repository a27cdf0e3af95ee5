//! PUT of an object.

use std::sync::Arc;

use http::{Method, StatusCode};
use store::{Body, Condition, Digests, PutObject, PutOutcome, Rejected, StoreError};

use super::attributes::{DELETE_AT, Said, etag_text, version_text};
use super::conditions;
use super::limits::OBJECT_NAME_MAX;
use super::reply::{Answer, Refused, Reply, bad_request, from_store, not_found, refuse, refuse_with};
use super::request::{Ask, Container};
use super::timestamp::{http_date, seconds};
use super::{archive, copy, expiry, quota, slo, symlink};

/// Where an object is written, and what is said about it.
pub(crate) struct Target {
    pub(crate) container: Arc<Container>,
    pub(crate) said: Said,
    pub(crate) condition: Condition,
}

impl Target {
    /// Reads and checks what can be before a body is taken.
    pub(crate) async fn of(ask: &Ask) -> Result<Self, Refused> {
        check_name(ask.path.object())?;
        let mut said = Said::of(&ask.headers, ask.now_ms)?;
        said.fill_type(&ask.headers, ask.path.object());
        let condition = match ask.elsewhere {
            Some(elsewhere) => elsewhere.condition(),
            None => conditions::of_write(&ask.headers)?,
        };
        let container = ask.container().await?;
        Ok(Self {
            container,
            said,
            condition,
        })
    }

    /// Refuses `bytes` that no quota has room for; answers how many there is room for.
    pub(crate) async fn check_quota(&self, ask: &Ask, bytes: u64) -> Result<u64, Refused> {
        quota::check_put(ask, &self.container, bytes).await
    }
}

/// Names that cannot be a key.
pub(crate) fn check_name(name: &str) -> Result<(), Refused> {
    if name.len() > OBJECT_NAME_MAX {
        let why = format!("Object name length of {} longer than {OBJECT_NAME_MAX}", name.len());
        return Err(bad_request(why));
    }
    Ok(())
}

/// Answers PUT.
pub(crate) async fn put(ask: &Arc<Ask>) -> Answer {
    if ask.query.has("version-id") {
        return super::versions::restore(ask).await;
    }
    if ask.query.get("multipart-manifest") == Some("put") {
        return slo::put(ask).await;
    }
    if ask.header("x-copy-from").is_some_and(|from| !from.is_empty()) {
        return copy::put(ask).await;
    }
    put_plain(ask).await
}

/// Stores the body as it is.
pub(crate) async fn put_plain(ask: &Arc<Ask>) -> Answer {
    ask.require_length()?;
    let most = ask.swift.store.options().body_bytes_max;
    if ask.content_length().is_some_and(|length| length > most) {
        return Err(refuse_with(StatusCode::PAYLOAD_TOO_LARGE, "Your request is too large."));
    }
    let mut target = Target::of(ask).await?;
    let mut said = std::mem::take(&mut target.said);
    symlink::read_headers(ask, &mut said).await?;
    let length = ask.content_length();
    let room = target.check_quota(ask, length.unwrap_or(0)).await?;
    let promised = ask.header("etag").map(|etag| etag.trim_matches('"').to_lowercase());
    let put = PutObject {
        condition: target.condition.clone(),
        attributes: said.attributes.clone(),
        user: said.user.clone(),
        length,
        finish: Box::new(
            move |digests: &Digests| match promised.filter(|etag| !etag.is_empty()) {
                Some(etag) if etag != hex::encode(digests.md5) => Err(Rejected("etag")),
                _ => Ok(None),
            },
        ),
        ..PutObject::plain()
    };
    let body = ask.body(room.min(most));
    let done = commit(ask, &target, &said, put, body).await?;
    let mut reply = created(&target, &done);
    reply.set("etag", etag_text(&done.etag));
    Ok(reply)
}

/// Stores an object, and what belongs to that: its place in the queue of those that end, old versions in the archive.
pub(crate) async fn commit(
    ask: &Arc<Ask>,
    target: &Target,
    said: &Said,
    put: PutObject,
    body: Body,
) -> Result<PutOutcome, Refused> {
    let container = &target.container;
    if let Some(at) = said.get(DELETE_AT).and_then(|at| at.parse().ok()) {
        expiry::note(&ask.swift, &ask.cx, &container.bucket, ask.path.object(), at).await?;
    }
    archive::before_put(ask, container).await?;
    let key = ask.path.object().as_bytes().to_vec();
    let done = ask
        .swift
        .store
        .put_object(&ask.cx, &container.bucket, key, put, body)
        .await;
    done.map_err(|error| match error {
        StoreError::NoSuchBucket => not_found(),
        // What is here is as new (Swift): nothing is wrong, and nothing was done.
        StoreError::PreconditionFailed if ask.elsewhere.is_some() => Box::new(Reply::new(StatusCode::ACCEPTED)),
        StoreError::PreconditionFailed => refuse(StatusCode::PRECONDITION_FAILED),
        other => from_store(other),
    })
}

/// 201, and what was made.
pub(crate) fn created(target: &Target, done: &PutOutcome) -> Reply {
    let mut reply = Reply::new(StatusCode::CREATED);
    reply.set("last-modified", http_date(done.modified_ms));
    reply.set("x-timestamp", seconds(done.modified_ms));
    reply.set(
        "content-type",
        target.said.get("content-type").unwrap_or("text/html; charset=UTF-8"),
    );
    if done.versioned && !done.null {
        reply.set("x-object-version-id", version_text(done.seq, done.null));
    }
    reply
}

/// Answers a request to an object.
pub(crate) async fn handle(ask: &Arc<Ask>) -> Answer {
    match ask.method.as_str() {
        "GET" | "HEAD" => super::read::show(ask).await,
        "PUT" => put(ask).await,
        "POST" => super::change::post(ask).await,
        "DELETE" if ask.query.get("multipart-manifest") == Some("delete") => slo::delete(ask).await,
        "DELETE" => super::change::delete(ask).await,
        "COPY" => copy::copy(ask).await,
        _ => Err(method_not_allowed()),
    }
}

fn method_not_allowed() -> Refused {
    let allowed = [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::POST,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let allowed = allowed.map(|method| method.to_string()).join(", ");
    Box::new(refuse(StatusCode::METHOD_NOT_ALLOWED).with("allow", format!("{allowed}, COPY")))
}
