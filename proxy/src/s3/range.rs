//! The `Range` header, read as AWS reads it: one range in bytes, or the header does not count.

use std::ops::Range;

/// One range of bytes, as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// From this offset to that one (inclusive), or to the end.
    From(u64, Option<u64>),
    /// The last so many bytes.
    Last(u64),
}

impl ByteRange {
    /// Reads the header's value. `None`: another unit, several ranges, or not a range at all; the header is ignored.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (unit, range) = text.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim().split_once('-')?;
        match (first.trim(), last.trim()) {
            ("", last) => Some(Self::Last(offset(last)?)),
            (first, "") => Some(Self::From(offset(first)?, None)),
            (first, last) => {
                let (first, last) = (offset(first)?, offset(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// Reads `x-amz-copy-source-range`, which allows only the form `bytes=first-last`.
    pub(crate) fn parse_copy(text: &str) -> Option<Range<u64>> {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last) = (offset(first)?, offset(last)?);
        (first <= last).then(|| first..last.saturating_add(1))
    }

    /// The bytes meant, of an object of `size` bytes; `None` when there are none (416).
    pub(crate) fn within(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first, last) => first..last.map_or(size, |last| last.saturating_add(1).min(size)),
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// Digits only; what does not fit is as good as the largest number.
fn offset(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// For the fuzzer.
pub fn fuzz(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return "no text".to_owned();
    };
    let size = bytes.len() as u64;
    let range = ByteRange::parse(text);
    let within = range.and_then(|range| range.within(size));
    if let Some(range) = &within {
        assert!(
            range.start < range.end && range.end <= size,
            "a range stays within the object"
        );
    }
    let kind = match range {
        None => "none",
        Some(ByteRange::From(_, None)) => "to the end",
        Some(ByteRange::From(..)) => "from and to",
        Some(ByteRange::Last(_)) => "the last",
    };
    format!(
        "{kind}, within: {}, of a copy: {}",
        within.is_some(),
        ByteRange::parse_copy(text).is_some()
    )
}

#[cfg(test)]
#[path = "range_tests.rs"]
mod tests;
