//! `If-*` of reads, and what of them a write can have decided by the key's shard.

use http::{HeaderMap, StatusCode};
use store::Condition;

use super::attributes::parse_etag;
use super::reply::{Refused, bad_request};
use super::timestamp::parse_http_date;

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn names(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|item| {
        let item = item.strip_prefix("W/").unwrap_or(item).trim_matches('"');
        item == "*" || item.eq_ignore_ascii_case(etag)
    })
}

/// The status of a read whose conditions do not hold: 412 or 304.
pub(crate) fn of_read(headers: &HeaderMap, etag: &str, modified_ms: u64) -> Option<StatusCode> {
    let etag = etag.trim_matches('"');
    let modified = modified_ms.div_ceil(1000);
    let date = |name: &str| text(headers, name).and_then(parse_http_date);
    if text(headers, "if-match").is_some_and(|list| !names(list, etag)) {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    if let Some(list) = text(headers, "if-none-match") {
        if names(list, etag) {
            return Some(StatusCode::NOT_MODIFIED);
        }
    } else if date("if-modified-since").is_some_and(|since| modified <= since) {
        return Some(StatusCode::NOT_MODIFIED);
    }
    date("if-unmodified-since")
        .is_some_and(|since| modified > since)
        .then_some(StatusCode::PRECONDITION_FAILED)
}

/// The condition of a write (CON-1). Swift knows `If-None-Match: *`; `If-Match` is decided as well, others are refused
/// (CON-3).
pub(crate) fn of_write(headers: &HeaderMap) -> Result<Condition, Refused> {
    match (text(headers, "if-none-match"), text(headers, "if-match")) {
        (None, None) => Ok(Condition::Always),
        (Some(none), None) if none.trim() == "*" => Ok(Condition::Absent),
        (Some(_), _) => Err(bad_request("If-None-Match only supports *")),
        (None, Some(list)) if list.trim() == "*" => Ok(Condition::Present),
        (None, Some(list)) => Ok(Condition::ETagIn(list.split(',').filter_map(parse_etag).collect())),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Option<u16> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        of_read(&pairs.collect(), "abc", 1_400_000_000_500).map(|status| status.as_u16())
    }

    #[test]
    fn con_1_conditions_of_reads() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("if-match", "\"abc\"")]), None);
        assert_eq!(read(&[("if-match", "x, y")]), Some(412));
        assert_eq!(read(&[("if-none-match", "x, \"abc\"")]), Some(304));
        assert_eq!(read(&[("if-none-match", "*")]), Some(304));
        assert_eq!(
            read(&[("if-modified-since", "Tue, 13 May 2014 16:53:21 GMT")]),
            Some(304)
        );
        assert_eq!(read(&[("if-modified-since", "Tue, 13 May 2014 16:53:20 GMT")]), None);
        assert_eq!(read(&[("if-unmodified-since", "Tue, 13 May 2014 16:53:21 GMT")]), None);
        assert_eq!(
            read(&[("if-unmodified-since", "Tue, 13 May 2014 16:53:20 GMT")]),
            Some(412)
        );
    }
}
