//! Links: objects without bytes that lead to another one. Static links also say which tag it must have.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use store::ObjectRow;

use super::attributes::{
    LINK, LINK_ACCOUNT, LINK_BYTES, LINK_ETAG, LINK_SLO_ETAG, SLO_ETAG, Said, attribute, told_size,
};
use super::path::{Path, container_and_object, quote};
use super::read;
use super::reply::{Refused, bad_request, put, refuse_with};
use super::request::Ask;

/// The headers that make a link and tell of it, and where they are kept.
const HEADERS: [(&str, &str); 4] = [
    ("x-symlink-target", LINK),
    ("x-symlink-target-account", LINK_ACCOUNT),
    ("x-symlink-target-etag", LINK_ETAG),
    ("x-symlink-target-bytes", LINK_BYTES),
];

/// The names under which a link is kept, so that a POST keeps it a link.
pub(crate) const KEPT: &str = "swift/symlink";

/// What a link tells of itself.
pub(crate) fn describe(row: &ObjectRow, headers: &mut HeaderMap) {
    for (header, name) in HEADERS {
        if let Some(value) = attribute(row, name) {
            put(headers, header, value);
        }
    }
}

/// Notes the link that a PUT makes; answers whether it makes one.
pub(crate) async fn read_headers(ask: &Arc<Ask>, said: &mut Said) -> Result<bool, Refused> {
    let Some(target) = ask.header("x-symlink-target") else {
        return Ok(false);
    };
    let malformed = || {
        refuse_with(
            StatusCode::PRECONDITION_FAILED,
            "X-Symlink-Target header must be of the form <container name>/<object name>",
        )
    };
    let (container, object) = container_and_object(target)
        .filter(|_| !target.starts_with('/'))
        .ok_or_else(malformed)?;
    if ask.content_length().is_some_and(|length| length > 0) {
        return Err(bad_request("Symlink requests require a zero byte body"));
    }
    if said.get(super::attributes::DLO).is_some() {
        return Err(bad_request("A link cannot be a manifest"));
    }
    let account = ask
        .header("x-symlink-target-account")
        .filter(|account| !account.is_empty());
    if account.is_some_and(|account| account.contains('/')) {
        return Err(refuse_with(
            StatusCode::PRECONDITION_FAILED,
            "Account name cannot contain slashes",
        ));
    }
    let path = Path {
        account: account.unwrap_or(&ask.path.account).to_owned(),
        container: Some(container.clone()),
        object: Some(object.clone()),
    };
    if path == ask.path {
        return Err(bad_request("Symlink cannot target itself"));
    }
    said.set(LINK, format!("{}/{}", quote(&container), quote(&object)));
    if let Some(account) = account {
        said.set(LINK_ACCOUNT, account);
    }
    if ask.header("content-type").is_none() {
        said.set("content-type", "application/symlink");
    }
    if let Some(etag) = ask.header("x-symlink-target-etag").filter(|etag| !etag.is_empty()) {
        if ask.elsewhere.is_some() {
            as_told(ask, etag.trim_matches('"'), said);
        } else {
            check_target(ask, path, etag.trim_matches('"'), said).await?;
        }
    }
    Ok(true)
}

/// A static link that was made elsewhere may come before its target.
fn as_told(ask: &Ask, etag: &str, said: &mut Said) {
    said.set(LINK_ETAG, etag);
    let bytes = ask.header("x-symlink-target-bytes");
    if let Some(bytes) = bytes.filter(|bytes| bytes.parse::<u64>().is_ok()) {
        said.set(LINK_BYTES, bytes);
    }
}

/// A static link is made only to what is there under that tag.
async fn check_target(ask: &Arc<Ask>, path: Path, etag: &str, said: &mut Said) -> Result<(), Refused> {
    let inner = Arc::new(ask.inner(Method::HEAD, path, HeaderMap::new()));
    if !super::authorize::may_read(ask, &inner).await? {
        return Err(super::authorize::denied(ask));
    }
    let seen = match read::open_itself(&inner, None).await {
        Ok(seen) => seen,
        Err(refused) if refused.status == StatusCode::NOT_FOUND => {
            return Err(refuse_with(StatusCode::CONFLICT, "X-Symlink-Target does not exist"));
        }
        Err(refused) => return Err(refused),
    };
    let row = &seen.reader.head.object;
    let now = read::link_etag(row);
    if now != etag {
        let why = format!("Object Etag '{now}' does not match X-Symlink-Target-Etag header '{etag}'");
        return Err(refuse_with(StatusCode::CONFLICT, why));
    }
    said.set(LINK_ETAG, now);
    let bytes = attribute(row, LINK_BYTES).map_or_else(|| told_size(row).to_string(), str::to_owned);
    said.set(LINK_BYTES, bytes);
    if let Some(etag) = attribute(row, SLO_ETAG) {
        said.set(LINK_SLO_ETAG, etag);
    }
    if ask.header("content-type").is_none()
        && let Some(kind) = attribute(row, "content-type")
    {
        said.set("content-type", kind);
    }
    Ok(())
}
