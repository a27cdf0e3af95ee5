//! Times as Swift writes them. All come from shard time, in milliseconds since the Unix epoch.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `1400000000.12300`: seconds with five decimals.
pub(crate) fn seconds(ms: u64) -> String {
    format!("{}.{:05}", ms / 1000, ms % 1000 * 100)
}

/// `2014-05-13T16:53:20.123000`: what listings show.
pub(crate) fn iso(ms: u64) -> String {
    let at = at(ms);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.microsecond()
    )
}

/// `Tue, 13 May 2014 16:53:21 GMT`: rounded up, so that "not modified since" what was told here is never wrong.
pub(crate) fn http_date(ms: u64) -> String {
    let up = std::time::Duration::from_secs(ms.div_ceil(1000));
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + up)
}

/// The seconds in a header's date, when it is one.
pub(crate) fn parse_http_date(text: &str) -> Option<u64> {
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}

/// The milliseconds in `1400000000.12345`, `1400000000` or `1400000000.12345_0000000000000001` (Swift's own form).
pub(crate) fn parse_milliseconds(text: &str) -> Option<u64> {
    let (seconds, rest) = text.split_once('.').unwrap_or((text, "0"));
    let fraction = rest.split_once('_').map_or(rest, |(fraction, _)| fraction);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Ten digits of seconds reach beyond the year 2200.
    if !digits(seconds) || !digits(fraction) || seconds.len() > 10 {
        return None;
    }
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    Some(seconds.parse::<u64>().ok()? * 1000 + thousandths.parse::<u64>().ok()?)
}

/// The seconds in `1400000000` or `2014-05-13T16:53:20Z`.
pub(crate) fn parse_seconds_or_iso(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let date_only = format!("{text}T00:00:00Z");
    let zoned = format!("{text}Z");
    [text, &zoned, &date_only]
        .iter()
        .find_map(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
        .and_then(|at| u64::try_from(at.unix_timestamp()).ok())
}

fn at(ms: u64) -> OffsetDateTime {
    let nanos = i128::from(ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_swift_does() {
        assert_eq!(seconds(1_400_000_000_123), "1400000000.12300");
        assert_eq!(iso(1_400_000_000_123), "2014-05-13T16:53:20.123000");
        assert_eq!(http_date(1_400_000_000_123), "Tue, 13 May 2014 16:53:21 GMT");
        assert_eq!(http_date(1_400_000_000_000), "Tue, 13 May 2014 16:53:20 GMT");
    }

    #[test]
    fn times_of_others_are_read_to_the_millisecond() {
        assert_eq!(parse_milliseconds("1400000000.12345"), Some(1_400_000_000_123));
        assert_eq!(parse_milliseconds("1400000000.1"), Some(1_400_000_000_100));
        assert_eq!(parse_milliseconds("1400000000"), Some(1_400_000_000_000));
        assert_eq!(
            parse_milliseconds("1400000000.12345_00000000000000ab"),
            Some(1_400_000_000_123)
        );
        assert_eq!(parse_milliseconds(&seconds(1_400_000_000_009)), Some(1_400_000_000_009));
        for bad in [
            "",
            "x",
            "-1",
            "1.x",
            "1e9",
            "1.",
            ".5",
            "1 ",
            "99999999999",
            "0x10",
            "1.5.5",
            "nan",
        ] {
            assert_eq!(parse_milliseconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn expiries_are_seconds_or_dates() {
        assert_eq!(parse_seconds_or_iso("1400000000"), Some(1_400_000_000));
        assert_eq!(parse_seconds_or_iso("2014-05-13T16:53:20Z"), Some(1_400_000_000));
        assert_eq!(parse_seconds_or_iso("2014-05-13"), Some(1_399_939_200));
        assert_eq!(parse_seconds_or_iso("soon"), None);
    }
}
