//! How the store's values are written in S3's words: version ids, entity tags, dates, owners, key encoding.

use s3s::dto;
use store::{ETag, Seq, VersionSelector};

use super::errors::invalid_argument;

/// The version id that a null version shows.
const NULL: &str = "null";

/// A version's id as clients see it: opaque to them, 16 hex digits of its place for us.
pub(crate) fn version_text(seq: Seq, null: bool) -> String {
    if null {
        NULL.to_owned()
    } else {
        format!("{:016x}", seq.0)
    }
}

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

/// Reads the 16 lower-case hex digits that [`version_text`] writes.
pub(crate) fn parse_seq(text: &str) -> Option<Seq> {
    let plain = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if plain {
        u64::from_str_radix(text, 16).ok().map(Seq)
    } else {
        None
    }
}

/// An entity tag without quotes.
pub(crate) fn etag_text(etag: &ETag) -> String {
    let mut text = hex::encode(etag.md5);
    if etag.parts > 0 {
        text.push_str(&format!("-{}", etag.parts));
    }
    text
}

/// An entity tag for an answer.
pub(crate) fn etag(etag: &ETag) -> dto::ETag {
    dto::ETag::Strong(etag_text(etag))
}

/// The entity tag of one part.
pub(crate) fn md5_etag(md5: [u8; 16]) -> dto::ETag {
    etag(&ETag { md5, parts: 0 })
}

/// Reads an entity tag without quotes; `None` when it is none of ours and so can match nothing.
pub(crate) fn parse_etag(text: &str) -> Option<ETag> {
    let (digest, parts) = match text.split_once('-') {
        Some((digest, parts)) => (digest, parts.parse().ok()?),
        None => (text, 0),
    };
    let mut md5 = [0; 16];
    hex::decode_to_slice(digest, &mut md5).ok()?;
    Some(ETag { md5, parts })
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
