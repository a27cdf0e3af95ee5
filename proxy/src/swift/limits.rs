//! The limits that `/info` tells, and the checks that keep them. Numbers are Swift's defaults, and the store's own where
//! those are lower.

use http::HeaderMap;

use super::reply::{Refused, bad_request};

/// The longest object name, in bytes.
pub(crate) const OBJECT_NAME_MAX: usize = store::KEY_BYTES_MAX;
/// The longest container name, in bytes.
pub(crate) const CONTAINER_NAME_MAX: usize = 256;
/// The longest account name, in bytes.
pub(crate) const ACCOUNT_NAME_MAX: usize = 256;
/// The longest name of a metadata item, without its prefix, in bytes.
pub(crate) const META_NAME_MAX: usize = 128;
/// The longest value of a metadata item, in bytes.
pub(crate) const META_VALUE_MAX: usize = 256;
/// The most metadata items of one thing.
pub(crate) const META_COUNT_MAX: usize = 90;
/// The most bytes of names and values together.
pub(crate) const META_OVERALL_MAX: usize = 4096;
/// The longest value of any header, in bytes.
pub(crate) const HEADER_MAX: usize = 8192;
/// The longest page of a listing.
pub(crate) const LISTING_MAX: usize = store::PAGE_MAX;

/// What metadata belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Account,
    Container,
    Object,
}

impl Subject {
    /// The start of its metadata headers.
    pub(crate) fn meta_prefix(self) -> &'static str {
        match self {
            Self::Account => "x-account-meta-",
            Self::Container => "x-container-meta-",
            Self::Object => "x-object-meta-",
        }
    }

    /// The start of headers that remove an item.
    pub(crate) fn remove_prefix(self) -> &'static str {
        match self {
            Self::Account => "x-remove-account-meta-",
            Self::Container => "x-remove-container-meta-",
            Self::Object => "x-remove-object-meta-",
        }
    }
}

/// The metadata of a request: names without prefix, lower case. Values are read as UTF-8.
pub(crate) fn metadata(headers: &HeaderMap, subject: Subject) -> Result<Vec<(String, String)>, Refused> {
    let prefix = subject.meta_prefix();
    let mut items: Vec<(String, String)> = Vec::new();
    for (name, value) in headers {
        if value.len() > HEADER_MAX {
            let shown: String = name.as_str().chars().take(META_NAME_MAX).collect();
            return Err(bad_request(format!("Header value too long: {shown}")));
        }
        let Some(name) = name.as_str().strip_prefix(prefix) else {
            continue;
        };
        if name.is_empty() {
            return Err(bad_request("Metadata name cannot be empty"));
        }
        let value = std::str::from_utf8(value.as_bytes()).map_err(|_| bad_request("Metadata must be valid UTF-8"))?;
        items.push((name.to_owned(), value.to_owned()));
    }
    check(&items, subject)?;
    Ok(items)
}

/// Whether metadata is within its limits.
pub(crate) fn check(items: &[(String, String)], subject: Subject) -> Result<(), Refused> {
    let prefix = subject.meta_prefix();
    for (name, value) in items {
        if name.len() > META_NAME_MAX {
            return Err(bad_request(format!("Metadata name too long: {prefix}{name}")));
        }
        if value.len() > META_VALUE_MAX {
            return Err(bad_request(format!(
                "Metadata value longer than {META_VALUE_MAX}: {prefix}{name}"
            )));
        }
    }
    if items.len() > META_COUNT_MAX {
        return Err(bad_request(format!("Too many metadata items; max {META_COUNT_MAX}")));
    }
    let bytes: usize = items.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > META_OVERALL_MAX {
        return Err(bad_request(format!("Total metadata too large; max {META_OVERALL_MAX}")));
    }
    Ok(())
}
