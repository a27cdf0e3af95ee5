//! Container and account access lists: their text, and whom they let in.
//!
//! ```text
//! .r:*  .r:host  .r:.domain  .r:-host   whoever comes from such a page (Referer)
//! .rlistings                            those may list, too
//! project:user  project:*  *:user       a user by ids or names, of one or any project
//! group, role                           whoever is in it
//! ```

use serde::{Deserialize, Serialize};

use super::reply::{Refused, bad_request};

/// A parsed list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acl {
    referrers: Vec<String>,
    groups: Vec<String>,
}

/// What a list is for: writes are never allowed by a page's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AclKind {
    Read,
    Write,
}

/// Brings a list into the one form that is stored and told.
pub(crate) fn clean(text: &str, kind: AclKind) -> Result<String, Refused> {
    let mut items = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match item.split_once(':').map(|(first, rest)| (first.trim(), rest.trim())) {
            Some((first, rest)) if first.starts_with('.') => items.push(clean_referrer(first, rest, item, kind)?),
            None if item.starts_with(".r") && item != ".rlistings" => {
                return Err(bad_request(format!(
                    "No host/domain value after referrer designation in ACL: {item}"
                )));
            }
            _ => items.push(item.to_owned()),
        }
    }
    Ok(items.join(","))
}

fn clean_referrer(first: &str, host: &str, item: &str, kind: AclKind) -> Result<String, Refused> {
    if !matches!(first, ".r" | ".ref" | ".referer" | ".referrer") {
        return Err(bad_request(format!("Unknown designator \"{first}\" in ACL: {item}")));
    }
    if kind == AclKind::Write {
        return Err(bad_request(format!("Referrers not allowed in write ACL: {item}")));
    }
    let (minus, host) = match host.strip_prefix('-') {
        Some(host) => ("-", host.trim()),
        None => ("", host),
    };
    let host = match host.strip_prefix('*') {
        Some(domain) if !domain.is_empty() => domain.trim(),
        _ => host,
    };
    if host.is_empty() || host == "." {
        return Err(bad_request(format!(
            "No host/domain value after referrer designation in ACL: {item}"
        )));
    }
    Ok(format!(".r:{minus}{host}"))
}

impl Acl {
    /// Reads a stored list.
    pub(crate) fn parse(text: &str) -> Self {
        let mut acl = Self::default();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            match item.strip_prefix(".r:") {
                Some(host) => acl.referrers.push(host.to_owned()),
                None => acl.groups.push(item.to_owned()),
            }
        }
        acl
    }

    /// Whether requests from that page are let in. Later items win.
    pub(crate) fn lets_in_from(&self, referer: Option<&str>) -> bool {
        let host = referer.and_then(host_of).unwrap_or("unknown");
        let mut allowed = false;
        for item in &self.referrers {
            let (verdict, pattern) = match item.strip_prefix('-') {
                Some(pattern) => (false, pattern),
                None => (true, item.as_str()),
            };
            let any = verdict && pattern == "*";
            if any || pattern == host || (pattern.starts_with('.') && host.ends_with(pattern)) {
                allowed = verdict;
            }
        }
        allowed
    }

    /// Whether those may list, too.
    pub(crate) fn listings(&self) -> bool {
        self.groups.iter().any(|group| group == ".rlistings")
    }

    /// Whether one of these groups is in the list.
    pub(crate) fn names(&self, groups: &[String]) -> bool {
        self.groups
            .iter()
            .any(|listed| listed != ".rlistings" && groups.contains(listed))
    }

    /// Whether one of these roles (lower case) is in the list.
    pub(crate) fn names_role(&self, roles: &[String]) -> bool {
        self.groups.iter().any(|listed| roles.contains(&listed.to_lowercase()))
    }
}

fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = host.split(':').next()?;
    (!host.is_empty()).then_some(host)
}

/// `X-Account-Access-Control`: who else acts in an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountAcl {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) admin: Vec<String>,
    #[serde(default, rename = "read-only", skip_serializing_if = "Vec::is_empty")]
    pub(crate) read_only: Vec<String>,
    #[serde(default, rename = "read-write", skip_serializing_if = "Vec::is_empty")]
    pub(crate) read_write: Vec<String>,
}

impl AccountAcl {
    /// Reads the header's JSON.
    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        // A list would be read as the fields in their order.
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text)
            .and_then(|map| serde_json::from_value(map.into()))
            .map_err(|why| bad_request(format!("X-Account-Access-Control invalid: {why}\n\nInput: {text}\n")))
    }

    /// Whether one of the lists names somebody.
    pub(crate) fn names(&self, groups: &[String]) -> bool {
        let mut named = self.admin.iter().chain(&self.read_only).chain(&self.read_write);
        named.any(|name| groups.contains(name))
    }

    /// Brings a header into the one form that is stored and told; a list of nobody is none.
    pub(crate) fn clean(text: &str) -> Result<Option<String>, Refused> {
        if text.is_empty() {
            return Ok(None);
        }
        let acl = Self::parse(text)?;
        let text = || serde_json::to_string(&acl).expect("lists of strings are JSON");
        Ok((acl != Self::default()).then(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> Result<String, u16> {
        clean(text, AclKind::Read).map_err(|refused| refused.status.as_u16())
    }

    #[test]
    fn lists_have_one_form() {
        assert_eq!(
            cleaned(" a:b , .rlistings,.referrer : *.example.com,"),
            Ok("a:b,.rlistings,.r:.example.com".into())
        );
        assert_eq!(cleaned(".r:*,.r:-bad.org"), Ok(".r:*,.r:-bad.org".into()));
        for bad in [".r:", ".r", ".unknown:x", ".r:-", ".r:."] {
            assert_eq!(cleaned(bad), Err(400), "{bad}");
        }
        assert!(clean(".r:*", AclKind::Write).is_err());
    }

    #[test]
    fn pages_are_let_in_by_host() {
        let acl = Acl::parse(".r:*,.r:-.bad.org,.rlistings");
        assert!(acl.lets_in_from(None) && acl.listings());
        assert!(!acl.lets_in_from(Some("http://www.bad.org/x")));
        let acl = Acl::parse(".r:.good.org,project:user");
        assert!(acl.lets_in_from(Some("https://me@www.good.org:8080/")));
        assert!(!acl.lets_in_from(Some("https://good.org.evil.com/")) && !acl.lets_in_from(None) && !acl.listings());
        assert!(acl.names(&["project:user".into()]) && !acl.names(&["project".into()]));
    }

    #[test]
    fn account_lists_are_json_without_unknown_parts() {
        let acl = AccountAcl::parse(r#"{"admin":["a:b"],"read-only":["c"]}"#)
            .map_err(|_| ())
            .expect("good");
        assert_eq!(acl.admin, ["a:b"]);
        let clean = |text| AccountAcl::clean(text).map_err(|refused| refused.status.as_u16());
        let told = r#"{"admin":["a:b"],"read-only":["c"]}"#.to_owned();
        assert_eq!(clean(r#"{ "read-only": ["c"], "admin": ["a:b"] }"#), Ok(Some(told)));
        assert_eq!(clean("{}"), Ok(None));
        assert!(AccountAcl::parse(r#"{"other":["a"]}"#).is_err() && AccountAcl::parse("[").is_err());
    }
}
