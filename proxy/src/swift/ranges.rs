//! The `Range` header with any number of ranges, and answers that carry several.
//!
//! ```text
//! --boundary CRLF Content-Type: … CRLF Content-Range: bytes a-b/size CRLF CRLF bytes CRLF   for every range
//! --boundary--
//! ```

use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt;
use store::BodyStream;

/// More ranges than this are refused.
const RANGES_MAX: usize = 50;
/// So many ranges may overlap another one.
const OVERLAPS_MAX: usize = 2;
/// So many ranges may begin before the one that is named before them.
const BACKWARDS_MAX: usize = 8;

/// What a `Range` header means for an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything: there is no header, or it is no range of bytes.
    All,
    /// These bytes, in this order.
    Some(Vec<Range<u64>>),
    /// Nothing that is there (416).
    Nothing,
}

type Bounds = (Option<u64>, Option<u64>);

/// Reads a `Range` header for an object of `size` bytes.
pub(crate) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(asked) = header.and_then(parse) else {
        return Wanted::All;
    };
    let ranges: Vec<Range<u64>> = asked.into_iter().filter_map(|bounds| within(bounds, size)).collect();
    if ranges.is_empty() || is_abuse(&ranges) {
        return Wanted::Nothing;
    }
    Wanted::Some(ranges)
}

fn parse(header: &str) -> Option<Vec<Bounds>> {
    let ranges = header.trim().strip_prefix("bytes=")?;
    ranges.split(',').map(|range| bounds(range.trim())).collect()
}

/// Reads one range; one that ends before it begins makes the whole header void.
pub(crate) fn bounds(range: &str) -> Option<Bounds> {
    let number = |text: &str| match text.trim() {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(Some(digits.parse().unwrap_or(u64::MAX))),
        _ => None,
    };
    let (first, last) = range.split_once('-')?;
    match (number(first)?, number(last)?) {
        (None, None) => None,
        (Some(first), Some(last)) if last < first => None,
        bounds => Some(bounds),
    }
}

/// The bytes meant, of an object of `size` bytes.
pub(crate) fn within(bounds: Bounds, size: u64) -> Option<Range<u64>> {
    match bounds {
        (None, Some(0)) => None,
        (None, Some(last)) => Some(size.saturating_sub(last)..size),
        (Some(first), _) if first >= size => None,
        (Some(first), last) => Some(first..last.map_or(size, |last| last.saturating_add(1).min(size))),
        (None, None) => None,
    }
}

/// Requests that would make us read the same bytes over and over.
fn is_abuse(ranges: &[Range<u64>]) -> bool {
    if ranges.len() > RANGES_MAX {
        return true;
    }
    let overlaps = ranges.iter().enumerate().filter(|(at, range)| {
        let earlier = &ranges[..*at];
        earlier
            .iter()
            .any(|other| range.start < other.end && other.start < range.end)
    });
    let backwards = ranges.windows(2).filter(|pair| pair[1].start < pair[0].start);
    overlaps.count() > OVERLAPS_MAX || backwards.count() > BACKWARDS_MAX
}

/// One part of an answer: its head, and the range it holds.
pub(crate) struct Part {
    head: Bytes,
    pub(crate) range: Range<u64>,
}

/// The parts of an answer, and the length of all with what is around them.
pub(crate) fn parts(ranges: Vec<Range<u64>>, size: u64, kind: &str, boundary: &str) -> (Vec<Part>, u64) {
    let mut length = 0;
    let parts = ranges.into_iter().map(|range| {
        let (first, last) = (range.start, range.end.saturating_sub(1));
        let head =
            format!("--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: bytes {first}-{last}/{size}\r\n\r\n");
        length += head.len() as u64 + (range.end - range.start) + 2;
        let head = head.into();
        Part { head, range }
    });
    let parts = parts.collect();
    (parts, length + boundary.len() as u64 + 4)
}

/// The whole body of such an answer. `read` is asked for a range's bytes when its turn comes.
pub(crate) fn multipart<R, F>(parts: Vec<Part>, boundary: &str, read: R) -> BodyStream
where
    R: Fn(Range<u64>) -> F + Send + Sync + 'static,
    F: Future<Output = BodyStream> + Send + 'static,
{
    let read = std::sync::Arc::new(read);
    let end = Bytes::from(format!("--{boundary}--"));
    let pieces = futures::stream::iter(parts).then(move |part| {
        let read = std::sync::Arc::clone(&read);
        async move {
            let bytes = read(part.range).await;
            let around = |bytes: Bytes| futures::stream::iter([Ok(bytes)]);
            around(part.head)
                .chain(bytes)
                .chain(around(Bytes::from_static(b"\r\n")))
        }
    });
    pieces.flatten().chain(futures::stream::iter([Ok(end)])).boxed()
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is what is meant")]
mod tests {
    use super::*;

    fn of(header: &str, size: u64) -> Wanted {
        wanted(Some(header), size)
    }

    fn some(ranges: &[Range<u64>]) -> Wanted {
        Wanted::Some(ranges.to_vec())
    }

    #[test]
    fn ranges_are_cut_to_the_object() {
        assert_eq!(wanted(None, 10), Wanted::All);
        assert_eq!(of("bytes=0-4", 10), some(&[0..5]));
        assert_eq!(of("bytes=5-", 10), some(&[5..10]));
        assert_eq!(of("bytes=-3", 10), some(&[7..10]));
        assert_eq!(of("bytes=-30", 10), some(&[0..10]));
        assert_eq!(of("bytes=0-0, 8-99", 10), some(&[0..1, 8..10]));
        assert_eq!(of("bytes=10-", 10), Wanted::Nothing);
        assert_eq!(of("bytes=-0", 10), Wanted::Nothing);
        assert_eq!(of("bytes=99-,2-3", 10), some(&[2..4]));
    }

    #[test]
    fn what_is_no_range_means_everything() {
        for text in [
            "bytes=5-2",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "items=0-1",
            "0-1",
            "bytes=1-2,x",
        ] {
            assert_eq!(of(text, 10), Wanted::All, "{text}");
        }
    }

    #[test]
    fn mem_1_reading_the_same_bytes_over_and_over_is_refused() {
        let many = format!(
            "bytes={}",
            (0..60).map(|at| format!("{at}-{at}")).collect::<Vec<_>>().join(",")
        );
        assert_eq!(of(&many, 100), Wanted::Nothing);
        assert_eq!(of("bytes=0-9,0-9,0-9,0-9", 10), Wanted::Nothing);
        let back = format!(
            "bytes={}",
            (0..12)
                .rev()
                .map(|at| format!("{at}-{at}"))
                .collect::<Vec<_>>()
                .join(",")
        );
        assert_eq!(of(&back, 100), Wanted::Nothing);
    }

    #[tokio::test]
    async fn the_length_told_is_the_length_sent() {
        let (parts, length) = parts(vec![0..2, 5..9], 10, "text/plain", "bound");
        let read = |range: Range<u64>| async move {
            let bytes = Bytes::from(vec![b'x'; usize::try_from(range.end - range.start).expect("small")]);
            futures::stream::iter([Ok(bytes)]).boxed()
        };
        let sent: Vec<Bytes> = multipart(parts, "bound", read)
            .map(|piece| piece.expect("good"))
            .collect()
            .await;
        let sent = sent.concat();
        assert_eq!(sent.len() as u64, length);
        assert!(sent.starts_with(b"--bound\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\nxx\r\n"));
        assert!(sent.ends_with(b"xxxx\r\n--bound--"));
    }
}
