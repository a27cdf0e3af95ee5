//! What a request's path names.
//!
//! ```text
//! /v1 / account [/ container [/ object, which may hold slashes]]
//! ```

use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::reply::{Refused, bad_request, not_found, refuse_with};

/// An account, a container or an object, names decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) account: String,
    pub(crate) container: Option<String>,
    pub(crate) object: Option<String>,
}

/// What of a path stays as it is when it is written into a header or a document.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Percent-encodes all but slashes and unreserved characters.
pub(crate) fn quote(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// Percent-decodes; `%` without two hex digits stays as it is, as in Python's `unquote`. `None`: not UTF-8.
pub(crate) fn unquote(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

impl Path {
    /// Reads a path that begins with an API version.
    pub(crate) fn parse(raw: &str) -> Result<Self, Refused> {
        let path = decode(raw)?;
        let mut parts = path.strip_prefix('/').unwrap_or(&path).splitn(4, '/');
        let version = parts.next().unwrap_or_default();
        if !matches!(version, "v1" | "v1.0") {
            let mut letters = version.chars();
            let is_version =
                letters.next() == Some('v') && letters.next().is_some_and(|letter| letter.is_ascii_digit());
            return Err(if is_version {
                bad_request("Invalid path")
            } else {
                refuse_with(StatusCode::PRECONDITION_FAILED, "Bad URL")
            });
        }
        let account = parts.next().filter(|name| !name.is_empty()).ok_or_else(not_found)?;
        let (container, object) = (parts.next(), parts.next());
        let filled = |part: Option<&str>| part.filter(|name| !name.is_empty()).map(str::to_owned);
        // `/v1/a//o` names an object of no container.
        if container == Some("") && object.is_some() {
            return Err(not_found());
        }
        Ok(Self {
            account: account.to_owned(),
            container: filled(container),
            object: filled(object),
        })
    }

    /// The project of an account's name; `None` for accounts of nobody.
    pub(crate) fn project(&self) -> Option<&str> {
        self.account.strip_prefix("AUTH_").filter(|project| !project.is_empty())
    }

    /// The container's name; an account has none.
    pub(crate) fn container(&self) -> &str {
        self.container.as_deref().unwrap_or_default()
    }

    /// The object's name; a container has none.
    pub(crate) fn object(&self) -> &str {
        self.object.as_deref().unwrap_or_default()
    }
}

fn decode(raw: &str) -> Result<String, Refused> {
    let invalid = || refuse_with(StatusCode::PRECONDITION_FAILED, "Invalid UTF8 or contains NULL");
    unquote(raw).filter(|path| !path.contains('\0')).ok_or_else(invalid)
}

/// Splits `container/object`, as headers name objects; both are percent-encoded.
pub(crate) fn container_and_object(text: &str) -> Option<(String, String)> {
    let text = unquote(text)?;
    let (container, object) = text.trim_start_matches('/').split_once('/')?;
    (!container.is_empty() && !object.is_empty() && !text.contains('\0'))
        .then(|| (container.to_owned(), object.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(raw: &str) -> Result<(String, String, String), u16> {
        let path = Path::parse(raw).map_err(|refused| refused.status.as_u16())?;
        let (container, object) = (path.container().to_owned(), path.object().to_owned());
        Ok((path.account, container, object))
    }

    fn named(account: &str, container: &str, object: &str) -> Result<(String, String, String), u16> {
        Ok((account.to_owned(), container.to_owned(), object.to_owned()))
    }

    #[test]
    fn paths_name_accounts_containers_and_objects() {
        assert_eq!(names("/v1/AUTH_a"), named("AUTH_a", "", ""));
        assert_eq!(names("/v1/AUTH_a/"), named("AUTH_a", "", ""));
        assert_eq!(names("/v1/AUTH_a/c"), named("AUTH_a", "c", ""));
        assert_eq!(names("/v1/AUTH_a/c/"), named("AUTH_a", "c", ""));
        assert_eq!(names("/v1.0/AUTH_a/c%20d/o/p%2Fq//"), named("AUTH_a", "c d", "o/p/q//"));
        assert_eq!(names("/v1/AUTH_a/c/../x%zz"), named("AUTH_a", "c", "../x%zz"));
    }

    #[test]
    fn malformed_paths_are_refused() {
        assert_eq!(names("/v1"), Err(404));
        assert_eq!(names("/v2/AUTH_a"), Err(400));
        assert_eq!(names("/v1/AUTH_a//o"), Err(404));
        assert_eq!(names("/v1/AUTH_a/c/%ff"), Err(412));
        assert_eq!(names("/v1/AUTH_a/c/a%00b"), Err(412));
    }

    #[test]
    fn key_1_names_in_headers_lose_only_their_encoding() {
        assert_eq!(container_and_object("/c%20d/o%2Fp"), Some(("c d".into(), "o/p".into())));
        assert_eq!(container_and_object("c"), None);
        assert_eq!(container_and_object("c/"), None);
        assert_eq!(quote("a b/ü?"), "a%20b/%C3%BC%3F");
    }
}
