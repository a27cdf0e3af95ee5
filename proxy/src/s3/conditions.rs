//! `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`: read leniently as AWS reads them, decided
//! for reads here, handed to `apply` for writes (CON-1).

use http::HeaderMap;
use s3s::S3Result;
use store::{Condition, ETag};

use super::errors::{invalid_request, not_implemented};
use super::names::{etag_text, parse_etag, parse_http_date};

/// A list of entity tags, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// `*`
    Any,
    /// These, without quotes; weak ones count as strong.
    These(Vec<String>),
}

/// The conditions of one request, or of its copy source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// `If-Match`
    pub(crate) matches: Option<Tags>,
    /// `If-None-Match`
    pub(crate) none_match: Option<Tags>,
    /// `If-Modified-Since`, seconds since the Unix epoch.
    pub(crate) modified_since: Option<u64>,
    /// `If-Unmodified-Since`, seconds since the Unix epoch.
    pub(crate) unmodified_since: Option<u64>,
}

/// What a read does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

impl Tags {
    fn parse(text: &str) -> Self {
        if text.trim() == "*" {
            return Self::Any;
        }
        let tags = text.split(',').map(|tag| {
            let tag = tag.trim();
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            tag.trim_matches('"').to_owned()
        });
        Self::These(tags.filter(|tag| !tag.is_empty()).collect())
    }

    fn hold(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|tag| tag == etag),
        }
    }

    /// The tags that an object of ours can have.
    fn ours(&self) -> Vec<ETag> {
        match self {
            Self::Any => Vec::new(),
            Self::These(tags) => tags.iter().filter_map(|tag| parse_etag(tag)).collect(),
        }
    }
}

impl Conditions {
    /// Takes the conditions whose names begin with `prefix` out of the headers. Dates that are none do not count.
    pub(crate) fn take(headers: &mut HeaderMap, prefix: &str) -> Self {
        let mut text = |name: &str| {
            let value = headers.remove(format!("{prefix}{name}"))?;
            Some(value.to_str().ok()?.to_owned())
        };
        Self {
            matches: text("if-match").map(|value| Tags::parse(&value)),
            none_match: text("if-none-match").map(|value| Tags::parse(&value)),
            modified_since: text("if-modified-since").and_then(|value| parse_http_date(&value)),
            unmodified_since: text("if-unmodified-since").and_then(|value| parse_http_date(&value)),
        }
    }

    /// Decides a read, in the order of RFC 9110 §13.2.2, which is AWS's: an entity tag that was given decides instead
    /// of the date of the same kind.
    pub(crate) fn verdict(&self, etag: &ETag, modified_ms: u64) -> Verdict {
        let etag = etag_text(etag);
        let modified = modified_ms / 1000;
        let unchanged = match (&self.matches, self.unmodified_since) {
            (Some(tags), _) => tags.hold(&etag),
            (None, Some(since)) => modified <= since,
            (None, None) => true,
        };
        if !unchanged {
            return Verdict::Failed;
        }
        let wanted = match (&self.none_match, self.modified_since) {
            (Some(tags), _) => !tags.hold(&etag),
            (None, Some(since)) => modified > since,
            (None, None) => true,
        };
        if wanted { Verdict::Proceed } else { Verdict::NotModified }
    }

    /// True when nothing is asked.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The condition of a write. Dates are not implemented for writes, as in AWS (CON-3).
    pub(crate) fn for_write(&self) -> S3Result<Condition> {
        if self.modified_since.is_some() || self.unmodified_since.is_some() {
            return Err(not_implemented("If-Modified-Since or If-Unmodified-Since on a write"));
        }
        match (&self.matches, &self.none_match) {
            (Some(_), Some(_)) => Err(not_implemented("If-Match and If-None-Match together")),
            (Some(Tags::Any), None) => Ok(Condition::Present),
            (Some(tags), None) => Ok(Condition::ETagIn(tags.ours())),
            (None, Some(Tags::Any)) => Ok(Condition::Absent),
            (None, Some(tags)) => Ok(Condition::ETagNotIn(tags.ours())),
            (None, None) => Ok(Condition::Always),
        }
    }

    /// The condition of a delete: only `If-Match`.
    pub(crate) fn for_delete(&self) -> S3Result<Condition> {
        if self.none_match.is_some() {
            return Err(not_implemented("If-None-Match on a delete"));
        }
        self.for_write()
    }

    /// Refuses conditions where the operation has none.
    pub(crate) fn none(&self) -> S3Result<()> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(invalid_request("This operation does not take conditional headers."))
        }
    }
}

#[cfg(test)]
#[path = "conditions_tests.rs"]
mod tests;
