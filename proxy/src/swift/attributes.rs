//! What an object's row says in Swift's words, and the other way round.
//!
//! Standard headers stand in the row under their own names, so that both APIs show them. What only Swift knows stands
//! under names with a slash, which no header can have: the S3 edge neither shows nor sets them.

use http::HeaderMap;
use store::{Attributes, ETag, ObjectRow, Seq, VersionSelector};

use super::container_types::guess;
use super::limits::{self, Subject};
use super::path::container_and_object;
use super::reply::{Refused, bad_request, put};
use super::timestamp::{http_date, seconds};
use crate::object_text::{self, NULL, parse_seq};
pub(crate) use crate::object_text::{etag_text, version_text};

/// Set on a static large object: its body is a manifest.
pub(crate) const SLO: &str = "swift/slo";
/// The MD5 of its segments' tags.
pub(crate) const SLO_ETAG: &str = "swift/slo-etag";
/// The sum of its segments' bytes.
pub(crate) const SLO_SIZE: &str = "swift/slo-size";
/// The number of its segments.
pub(crate) const SLO_PARTS: &str = "swift/slo-parts";
/// The container and prefix of a dynamic large object's segments, percent-encoded.
pub(crate) const DLO: &str = "swift/dlo";
/// The container and object that a link leads to, percent-encoded.
pub(crate) const LINK: &str = "swift/symlink";
/// The account of that object, when it is another one.
pub(crate) const LINK_ACCOUNT: &str = "swift/symlink-account";
/// The tag that the object must have.
pub(crate) const LINK_ETAG: &str = "swift/symlink-etag";
/// The bytes it had when the link was made.
pub(crate) const LINK_BYTES: &str = "swift/symlink-bytes";
/// The tag of the static large object that it was then.
pub(crate) const LINK_SLO_ETAG: &str = "swift/symlink-slo-etag";
/// When the object ends, in seconds.
pub(crate) const DELETE_AT: &str = "x-delete-at";

/// The latest end, in seconds; anything later means this.
const DELETE_AT_MAX: u64 = 9_999_999_999;

/// Standard headers that a PUT sets and a POST replaces.
const STANDARD: [&str; 6] = [
    "content-encoding",
    "content-disposition",
    "cache-control",
    "content-language",
    "expires",
    "x-robots-tag",
];

/// One of an object's attributes.
pub(crate) fn attribute<'a>(row: &'a ObjectRow, name: &str) -> Option<&'a str> {
    let found = row.attributes.iter().find(|(given, _)| given == name);
    found.map(|(_, value)| value.as_str())
}

/// Whether an object's time is over. It may be there until the sweeper comes.
pub(crate) fn has_expired(row: &ObjectRow, now_ms: u64) -> bool {
    let at = attribute(row, DELETE_AT).and_then(|at| at.parse::<u64>().ok());
    at.is_some_and(|at| at.saturating_mul(1000) <= now_ms)
}

/// Reads a tag, quoted or not; `None` when it is none that an object can have.
pub(crate) fn parse_etag(text: &str) -> Option<ETag> {
    object_text::parse_etag(text.trim().trim_matches('"'))
}

/// Reads `version-id`.
pub(crate) fn version_selector(text: Option<&str>) -> Result<VersionSelector, Refused> {
    match text {
        None => Ok(VersionSelector::Latest),
        Some(NULL) => Ok(VersionSelector::Null),
        // Swift's own ids are times. None of ours is.
        Some(text) if is_time(text) => Ok(VersionSelector::Id(Seq(u64::MAX))),
        Some(text) => parse_seq(text)
            .map(VersionSelector::Id)
            .ok_or_else(|| bad_request("Invalid version parameter")),
    }
}

fn is_time(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.')
        .is_some_and(|(seconds, rest)| digits(seconds) && digits(rest))
}

/// What a request says about the object it writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) attributes: Attributes,
    pub(crate) user: Attributes,
}

impl Said {
    /// Reads the headers of a PUT, POST or COPY; the content type only when one is given.
    pub(crate) fn of(headers: &HeaderMap, now_ms: u64) -> Result<Self, Refused> {
        let user = limits::metadata(headers, Subject::Object)?;
        let user = user.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let mut attributes = Attributes::new();
        let text = |name: &str| match headers.get(name) {
            None => Ok(None),
            Some(value) => std::str::from_utf8(value.as_bytes())
                .map(Some)
                .map_err(|_| bad_request(format!("Invalid {name}"))),
        };
        if let Some(kind) = text("content-type")?.filter(|kind| !kind.is_empty()) {
            attributes.push(("content-type".to_owned(), kind.to_owned()));
        }
        for name in STANDARD {
            if let Some(value) = text(name)?.filter(|value| !value.is_empty()) {
                // Framing of the transfer, not a property of the object.
                let value = value.strip_prefix("aws-chunked,").unwrap_or(value);
                attributes.push((name.to_owned(), value.to_owned()));
            }
        }
        if let Some(at) = delete_at(headers, now_ms)? {
            attributes.push((DELETE_AT.to_owned(), at.to_string()));
        }
        if let Some(place) = text("x-object-manifest")?.filter(|place| !place.is_empty()) {
            let fits = !place.starts_with('/') && !place.contains(['?', '&']) && container_and_object(place).is_some();
            if !fits {
                return Err(bad_request("X-Object-Manifest must be in the format container/prefix"));
            }
            attributes.push((DLO.to_owned(), place.to_owned()));
        }
        Ok(Self { attributes, user })
    }

    /// Gives a content type where there is none: by the name, as Swift does.
    pub(crate) fn fill_type(&mut self, headers: &HeaderMap, name: &str) {
        let detect = headers.get("x-detect-content-type");
        if detect.is_some_and(|detect| detect.to_str().is_ok_and(super::request::is_true)) {
            self.attributes.retain(|(given, _)| given != "content-type");
        }
        if self.get("content-type").is_none() {
            self.attributes
                .push(("content-type".to_owned(), guess(name).to_owned()));
        }
    }

    /// One attribute.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Sets an attribute, instead of what it was.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.attributes.retain(|(given, _)| given != name);
        self.attributes.push((name.to_owned(), value.into()));
    }
}

fn delete_at(headers: &HeaderMap, now_ms: u64) -> Result<Option<u64>, Refused> {
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("?").trim().to_owned())
    };
    let now = now_ms / 1000;
    if let Some(after) = text("x-delete-after").filter(|after| !after.is_empty()) {
        let after: i64 = after.parse().map_err(|_| bad_request("Non-integer X-Delete-After"))?;
        let after = u64::try_from(after).map_err(|_| bad_request("X-Delete-After in past"))?;
        if after == 0 {
            return Err(bad_request("X-Delete-After in past"));
        }
        return Ok(Some(now.saturating_add(after).min(DELETE_AT_MAX)));
    }
    let Some(at) = text("x-delete-at").filter(|at| !at.is_empty()) else {
        return Ok(None);
    };
    let digits = !at.is_empty() && at.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(bad_request("Non-integer X-Delete-At"));
    }
    let at = at.parse().unwrap_or(DELETE_AT_MAX).min(DELETE_AT_MAX);
    if at <= now {
        return Err(bad_request("X-Delete-At in past"));
    }
    Ok(Some(at))
}

/// The size that clients are told.
pub(crate) fn told_size(row: &ObjectRow) -> u64 {
    attribute(row, SLO_SIZE)
        .and_then(|size| size.parse().ok())
        .unwrap_or(row.size)
}

/// The headers that GET and HEAD tell of an object, without its length and tag.
pub(crate) fn describe(row: &ObjectRow, versioned: bool, headers: &mut HeaderMap) {
    put(headers, "last-modified", http_date(row.modified_ms));
    put(headers, "x-timestamp", seconds(row.modified_ms));
    put(headers, "accept-ranges", "bytes");
    put(headers, "content-type", "application/octet-stream");
    for (name, value) in &row.attributes {
        put(headers, name, value);
    }
    for (name, value) in &row.user {
        put(headers, &format!("x-object-meta-{name}"), value);
    }
    if attribute(row, SLO).is_some() {
        put(headers, "x-static-large-object", "True");
    }
    if let Some(place) = attribute(row, DLO) {
        put(headers, "x-object-manifest", place);
    }
    if versioned {
        put(headers, "x-object-version-id", version_text(row.seq, row.null));
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn said(headers: &[(&'static str, &'static str)]) -> Result<Said, u16> {
        let pairs = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Said::of(&pairs.collect(), 1_000_000).map_err(|refused| refused.status.as_u16())
    }

    #[test]
    fn expiries_lie_ahead() {
        assert_eq!(
            said(&[("x-delete-at", "2000")]).expect("good").get(DELETE_AT),
            Some("2000")
        );
        assert_eq!(
            said(&[("x-delete-after", "10")]).expect("good").get(DELETE_AT),
            Some("1010")
        );
        for bad in [
            ("x-delete-at", "999"),
            ("x-delete-at", "x"),
            ("x-delete-after", "-1"),
            ("x-delete-after", "1.5"),
        ] {
            assert_eq!(said(&[bad]).err(), Some(400), "{bad:?}");
        }
    }

    #[test]
    fn manifests_name_container_and_prefix() {
        assert_eq!(
            said(&[("x-object-manifest", "c%20d/p")]).expect("good").get(DLO),
            Some("c%20d/p")
        );
        for bad in ["c", "/c/p", "c/p?x", "c/"] {
            assert_eq!(said(&[("x-object-manifest", bad)]).err(), Some(400), "{bad}");
        }
    }

    #[test]
    fn tags_and_versions_read_what_they_write() {
        let etag = ETag { md5: [7; 16], parts: 3 };
        assert_eq!(parse_etag(&format!("\"{}\"", etag_text(&etag))), Some(etag));
        assert_eq!(parse_etag("zz"), None);
        let read = version_selector(Some(&version_text(Seq(255), false))).map_err(|_| ());
        assert_eq!(read, Ok(VersionSelector::Id(Seq(255))));
        assert!(version_selector(Some("x")).is_err());
    }
}
