//! How the store's values are written in S3's words: version ids, entity tags, dates, owners, key encoding.

use s3s::dto;
use store::{ETag, VersionSelector};

use super::errors::invalid_argument;
use crate::object_text::NULL;
pub(crate) use crate::object_text::{etag_text, parse_etag, parse_seq, version_text};

/// Reads a version id given by a client.
pub(crate) fn version_selector(text: Option<&str>) -> s3s::S3Result<VersionSelector> {
    match text {
        None => Ok(VersionSelector::Latest),
        Some(NULL) => Ok(VersionSelector::Null),
        Some("") => Err(invalid_argument("Version id cannot be the empty string")),
        Some(text) => parse_seq(text)
            .map(VersionSelector::Id)
            .ok_or_else(|| invalid_argument("Invalid version id specified")),
    }
}

/// An entity tag for an answer.
pub(crate) fn etag(etag: &ETag) -> dto::ETag {
    dto::ETag::Strong(etag_text(etag))
}

/// The entity tag of one part.
pub(crate) fn md5_etag(md5: [u8; 16]) -> dto::ETag {
    etag(&ETag { md5, parts: 0 })
}

/// A time for an answer.
pub(crate) fn timestamp(ms: u64) -> dto::Timestamp {
    let nanos = i128::from(ms) * 1_000_000;
    time::OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
        .into()
}

/// A time as HTTP headers show it.
pub(crate) fn http_date(ms: u64) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(ms / 1000))
}

/// Reads a date of an HTTP header into seconds since the Unix epoch.
pub(crate) fn parse_http_date(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text).ok()?;
    time.duration_since(std::time::UNIX_EPOCH)
        .ok()
        .map(|since| since.as_secs())
}

/// A project as owner of a bucket or object.
pub(crate) fn owner(project: &str, display_name: &str) -> dto::Owner {
    dto::Owner {
        id: Some(project.to_owned()),
        display_name: Some(display_name.to_owned()),
    }
}

/// A length for an answer.
pub(crate) fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A key as text. Keys enter as UTF-8, so nothing is ever replaced for keys that came over S3.
pub(crate) fn key_text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// What a listing with `encoding-type=url` leaves as it is.
const LISTED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*')
    .remove(b'/');

/// A key as a listing shows it: percent-encoded when the client asked for it.
pub(crate) fn listed(text: &[u8], url: bool) -> String {
    if url {
        percent_encoding::percent_encode(text, LISTED).to_string()
    } else {
        key_text(text)
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
