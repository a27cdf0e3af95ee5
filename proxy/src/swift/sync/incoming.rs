//! Writes that were made elsewhere: who may send them, and what becomes of them (SEC-1).
//!
//! Whoever has the realm's key and the container's may look at an object, write it and delete it under the time of the
//! original write: nothing else, and nowhere else. There is no list of nonces, as in Swift: a request that is sent again
//! finds what is here as new, and changes nothing.

use std::sync::Arc;

use http::{Method, StatusCode};
use store::{Condition, StoreError, VersionSelector};
use subtle::ConstantTimeEq;

use super::KEY;
use super::realms::{Realms, Signed};
use crate::swift::attributes::{self, etag_text};
use crate::swift::path::quote;
use crate::swift::reply::{Answer, Refused, Reply, TEXT, bad_request, from_store, not_found, refuse};
use crate::swift::request::Ask;
use crate::swift::timestamp::parse_milliseconds;
use crate::swift::{put, read, slo, symlink};

/// How far ahead of this clock a write may be dated, in milliseconds: less than the shards allow, by what clocks differ.
const AHEAD_MS: u64 = store::WRITTEN_AHEAD_MS - 3_600_000;

/// A request of another cluster's container sync that was found to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// When the write was made there, in milliseconds; `None`: now.
    pub(crate) written_ms: Option<u64>,
}

impl Elsewhere {
    /// What must hold for the write.
    pub(crate) fn condition(self) -> Condition {
        self.written_ms.map_or(Condition::Always, Condition::WrittenAt)
    }
}

fn not_valid(account: &str) -> Refused {
    let text = "X-Container-Sync-Auth header not valid; contact cluster operator for support.";
    let refused = Reply::text(StatusCode::UNAUTHORIZED, TEXT, text);
    Box::new(refused.with("www-authenticate", format!("SwiftContainerSync realm=\"{account}\"")))
}

/// Judges what a request says about itself, if it says that it comes from container sync.
pub(crate) async fn judge(ask: &mut Ask) -> Result<(), Refused> {
    let judged = match ask.header("x-container-sync-auth") {
        Some(auth) if signed(ask, auth).await? => true,
        Some(_) => return Err(not_valid(&ask.path.account)),
        None => has_key(ask).await?,
    };
    if !judged {
        return Ok(());
    }
    // The signature covers method, path and time; what could make them mean something else has no place here.
    let other = ["x-copy-from", "if-match", "if-none-match"]
        .into_iter()
        .find(|name| ask.headers.contains_key(*name));
    if let Some(name) = other.or((!ask.query.is_empty()).then_some("a query")) {
        return Err(bad_request(format!(
            "{name} is not allowed in a request of container sync"
        )));
    }
    let written_ms = match ask.header("x-timestamp") {
        None => None,
        Some(text) => Some(written(text, ask.now_ms)?),
    };
    ask.elsewhere = Some(Elsewhere { written_ms });
    (ask.principal, ask.home) = (None, crate::swift::principal::Home::Stranger);
    Ok(())
}

fn written(text: &str, now_ms: u64) -> Result<u64, Refused> {
    let written_ms = parse_milliseconds(text).filter(|at| *at > 0 && *at <= now_ms.saturating_add(AHEAD_MS));
    written_ms.ok_or_else(|| {
        bad_request(format!(
            "X-Timestamp should be a UNIX timestamp float value; was '{text}'"
        ))
    })
}

fn is_of_sync(ask: &Ask) -> bool {
    ask.path.object.is_some() && matches!(ask.method, Method::HEAD | Method::PUT | Method::DELETE)
}

/// The key of the container that the request names.
async fn container_key(ask: &Ask) -> Result<Option<String>, Refused> {
    if ask.path.project().is_none() {
        return Ok(None);
    }
    let container = ask.find_container().await?;
    let key = container.and_then(|container| container.settings.get(KEY).map(str::to_owned));
    Ok(key.filter(|key| !key.is_empty()))
}

async fn signed(ask: &Ask, auth: &str) -> Result<bool, Refused> {
    let fields: Vec<&str> = auth.split_ascii_whitespace().collect();
    let (&[realm, nonce, signature], true) = (fields.as_slice(), is_of_sync(ask)) else {
        return Ok(false);
    };
    let Some(key) = container_key(ask).await? else {
        return Ok(false);
    };
    let path = &ask.path;
    let version = ask.raw_path.split('/').nth(1).unwrap_or_default();
    let names = [&path.account, path.container(), path.object()].map(quote);
    // Swift signs the path as it encodes it itself, whatever was sent.
    let encoded = format!("/{version}/{}", names.join("/"));
    let timestamp = ask.header("x-timestamp").unwrap_or("0");
    let request = |path| Signed {
        method: ask.method.as_str(),
        path,
        timestamp,
        nonce,
        container_key: &key,
    };
    let realms = Realms(&ask.swift.options.sync);
    Ok(realms.is_signed(realm, signature, &request(&encoded))
        | realms.is_signed(realm, signature, &request(&ask.raw_path)))
}

/// The older form: the key itself, and a time. A wrong key is no reason to refuse: there may be a token as well.
async fn has_key(ask: &Ask) -> Result<bool, Refused> {
    let (Some(given), true) = (ask.header(KEY), ask.swift.options.sync.key_header) else {
        return Ok(false);
    };
    if !is_of_sync(ask) || ask.header("x-timestamp").is_none() {
        return Ok(false);
    }
    let key = container_key(ask).await?;
    Ok(key.is_some_and(|key| key.as_bytes().ct_eq(given.as_bytes()).into()))
}

/// Answers a request of container sync.
pub(crate) async fn handle(ask: &Arc<Ask>, elsewhere: Elsewhere) -> Answer {
    match ask.method {
        Method::HEAD => look(ask).await,
        Method::PUT
            if ask
                .header("x-static-large-object")
                .is_some_and(crate::swift::request::is_true) =>
        {
            slo::put_synced(ask).await
        }
        Method::PUT => put::put_plain(ask).await,
        Method::DELETE => delete(ask, elsewhere).await,
        _ => Err(not_valid(&ask.path.account)),
    }
}

/// The object itself, manifest or link, and its time.
async fn look(ask: &Arc<Ask>) -> Answer {
    let seen = read::open_itself(ask, None).await?;
    let head = &seen.reader.head;
    let mut reply = Reply::new(StatusCode::OK);
    attributes::describe(&head.object, false, &mut reply.headers);
    symlink::describe(&head.object, &mut reply.headers);
    reply.set("etag", etag_text(&head.object.etag));
    reply.set("content-length", head.object.size.to_string());
    Ok(reply)
}

async fn delete(ask: &Arc<Ask>, elsewhere: Elsewhere) -> Answer {
    let container = ask.container().await?;
    let key = ask.path.object().as_bytes().to_vec();
    let done = ask
        .swift
        .store
        .delete_object(
            &ask.cx,
            &container.bucket,
            key,
            VersionSelector::Latest,
            elsewhere.condition(),
        )
        .await;
    match done {
        Ok(done) if done.version.is_some() => Ok(Reply::new(StatusCode::NO_CONTENT)),
        Ok(_) => Err(not_found()),
        Err(StoreError::PreconditionFailed) => Err(refuse(StatusCode::CONFLICT)),
        Err(error) => Err(from_store(error)),
    }
}
