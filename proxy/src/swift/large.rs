//! Large objects as a sequence of segments: static ones from their manifest, dynamic ones from a listing.
//!
//! A manifest is only a promise: every segment is looked at when its turn comes, and one that is missing, changed or not
//! for this reader ends the answer (409 when it is the first, a cut body later).
//!
//! ```text
//! static    body of the object: JSON, see `Entry`; sub-manifests up to SUB_DEPTH_MAX deep
//! dynamic   the objects below a prefix, in the order of their names
//! ```

use std::ops::Range;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::{HeaderMap, Method, StatusCode};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use store::{BodyError, BodyStream, ObjectReader, ObjectRow, StoreError};

use super::attributes::{DLO, SLO, SLO_ETAG, SLO_SIZE, attribute, etag_text, told_size};
use super::authorize::may_read;
use super::objects::below;
use super::path::{Path, unquote};
use super::read::{self, Seen};
use super::reply::{Refused, SEGMENT_FAILED, bad_request, refuse};
use super::request::Ask;

/// Manifests within manifests, at most so deep.
pub(crate) const SUB_DEPTH_MAX: usize = 10;
/// The longest stored manifest, in bytes.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;
/// The most segments of a dynamic large object.
pub(crate) const DYNAMIC_SEGMENTS_MAX: usize = 100_000;

/// One line of a stored manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// `/container/object`; empty for bytes that stand in the manifest itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// The segment's tag.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) hash: String,
    /// The segment's size; of bytes that stand here they tell it themselves.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) bytes: u64,
    /// Which of its bytes, `first-last`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<String>,
    /// The segment's type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) content_type: String,
    /// When it was changed last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) last_modified: String,
    /// Whether it is a manifest itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sub_slo: bool,
    /// Bytes that stand in the manifest itself, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
}

fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// One piece of a large object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Bytes of the manifest itself.
    Data(Bytes),
    /// Bytes of another object of the same account.
    Object(Reference),
}

/// Bytes of an object, which must still be what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) container: String,
    pub(crate) object: String,
    /// Its tag, of a manifest its own; `None`: whatever it is.
    pub(crate) etag: Option<String>,
    size: Option<u64>,
    pub(crate) range: Range<u64>,
    pub(crate) manifest: bool,
}

impl Reference {
    /// Whether the object still has the tag and size that the manifest tells.
    pub(crate) fn fits(&self, row: &ObjectRow) -> bool {
        let (etag, size) = identity(row, self.manifest);
        self.etag.as_ref().is_none_or(|told| *told == etag) && self.size.is_none_or(|told| Some(told) == size)
    }
}

impl Segment {
    /// Its bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Object(Reference { range, .. }) => range.end - range.start,
        }
    }

    /// The same, whatever it may have become when its turn comes.
    fn of_any_tag(self) -> Self {
        match self {
            Self::Object(reference) => Self::Object(Reference {
                etag: None,
                size: None,
                ..reference
            }),
            data => data,
        }
    }

    /// A part of it.
    fn cut(&self, part: Range<u64>) -> Self {
        match self {
            // The lengths of bytes in memory fit a usize.
            Self::Data(bytes) => Self::Data(bytes.slice(part.start as usize..part.end as usize)),
            Self::Object(reference) => {
                let start = reference.range.start;
                Self::Object(Reference {
                    range: start + part.start..start + part.end,
                    ..reference.clone()
                })
            }
        }
    }
}

/// A large object's pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Large {
    pub(crate) segments: Vec<Segment>,
    pub(crate) size: u64,
    /// The tag that clients are told, without quotes.
    pub(crate) etag: String,
    /// The account of its segments.
    pub(crate) account: String,
}

/// One of a large object's pieces.
pub(crate) struct Part {
    /// Which bytes it is; `None`: there is no such piece.
    pub(crate) range: Option<Range<u64>>,
    /// How many pieces there are.
    pub(crate) count: usize,
}

impl Large {
    /// The piece that `part-number` names, counted from one.
    pub(crate) fn part(&self, number: &str) -> Result<Part, Refused> {
        let number = number.parse::<usize>().ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| bad_request("Part number must be an integer greater than 0"))?;
        let count = self.segments.len();
        let start: u64 = self.segments.iter().take(number - 1).map(Segment::len).sum();
        let range = self
            .segments
            .get(number - 1)
            .map(|segment| start..start + segment.len());
        Ok(Part { range, count })
    }
}

/// Whether an object is more than its own bytes.
pub(crate) fn is_large(row: &ObjectRow) -> bool {
    attribute(row, SLO).is_some() || attribute(row, DLO).is_some()
}

/// The lines of a stored manifest.
pub(crate) async fn entries(reader: ObjectReader) -> Result<Vec<Entry>, Refused> {
    let size = reader.head.object.size;
    if size > MANIFEST_BYTES_MAX {
        return Err(refuse(StatusCode::CONFLICT));
    }
    let mut stream = reader.read(0..size);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.map_err(super::reply::from_store)?);
    }
    serde_json::from_slice(&bytes).map_err(|_| refuse(StatusCode::CONFLICT))
}

/// The piece that a line names; `None`: the manifest is damaged.
pub(crate) fn segment(entry: &Entry) -> Option<Segment> {
    if let Some(data) = &entry.data {
        return Some(Segment::Data(BASE64.decode(data).ok()?.into()));
    }
    let (container, object) = entry.name.trim_start_matches('/').split_once('/')?;
    let range = match &entry.range {
        None => 0..entry.bytes,
        Some(range) => super::ranges::within(super::ranges::bounds(range)?, entry.bytes)?,
    };
    Some(Segment::Object(Reference {
        container: container.to_owned(),
        object: object.to_owned(),
        etag: Some(entry.hash.clone()),
        size: Some(entry.bytes),
        range,
        manifest: entry.sub_slo,
    }))
}

/// The pieces of a large object that `ask` opened.
pub(crate) async fn open(ask: &Arc<Ask>, seen: &Seen) -> Result<Large, Refused> {
    let row = &seen.reader.head.object;
    let account = seen.account.clone();
    if let Some(place) = attribute(row, DLO) {
        return dynamic(ask, place, account).await;
    }
    let entries = entries(seen.reader.clone()).await?;
    let segments = entries.iter().map(segment).collect::<Option<Vec<_>>>();
    let segments = segments.ok_or_else(|| refuse(StatusCode::CONFLICT))?;
    let size = segments.iter().map(Segment::len).sum();
    let etag = attribute(row, SLO_ETAG).unwrap_or_default().to_owned();
    Ok(Large {
        segments,
        size,
        etag,
        account,
    })
}

async fn dynamic(ask: &Arc<Ask>, place: &str, account: String) -> Result<Large, Refused> {
    let (container, prefix) = place.split_once('/').unwrap_or((place, ""));
    let decoded = |text: &str| unquote(text).unwrap_or_else(|| text.to_owned());
    let (container, prefix) = (decoded(container), decoded(prefix));
    let path = Path {
        account: account.clone(),
        container: Some(container.clone()),
        object: None,
    };
    let inner = ask.inner(Method::GET, path, referer(ask));
    if !may_read(ask, &inner).await? {
        return Err(super::authorize::denied(ask));
    }
    let found = inner.container().await?;
    let objects = below(&inner, &found, &prefix, DYNAMIC_SEGMENTS_MAX).await?;
    let objects = objects.ok_or_else(|| refuse(StatusCode::CONFLICT))?;
    let (mut digest, mut segments, mut size) = (Md5::new(), Vec::new(), 0);
    for (key, row) in objects {
        digest.update(read::told_etag(&row));
        let segment = listed(&container, &key, &row);
        size += segment.len();
        segments.push(segment.of_any_tag());
    }
    let etag = hex::encode(digest.finalize());
    Ok(Large {
        segments,
        size,
        etag,
        account,
    })
}

/// A segment of a dynamic large object, with the tag and size it has now.
pub(crate) fn listed(container: &str, key: &[u8], row: &ObjectRow) -> Segment {
    let manifest = attribute(row, SLO).is_some();
    let bytes = told_size(row);
    Segment::Object(Reference {
        container: container.to_owned(),
        object: String::from_utf8_lossy(key).into_owned(),
        etag: Some(read::told_etag(row)),
        size: Some(bytes),
        range: 0..bytes,
        manifest,
    })
}

/// The tag and size by which a manifest knows a segment.
fn identity(row: &ObjectRow, manifest: bool) -> (String, Option<u64>) {
    if manifest {
        let etag = attribute(row, SLO_ETAG).unwrap_or_default().to_owned();
        let size = attribute(row, SLO_SIZE).and_then(|size| size.parse().ok());
        (etag, size)
    } else {
        (etag_text(&row.etag), Some(row.size))
    }
}

/// Only what access lists look at travels to the segments.
fn referer(ask: &Ask) -> HeaderMap {
    let referer = ask.headers.get("referer");
    referer
        .into_iter()
        .map(|value| (http::header::REFERER, value.clone()))
        .collect()
}

impl Large {
    /// The bytes `range`. The first segment is opened before the answer begins.
    pub(crate) fn read(&self, ask: &Arc<Ask>, range: Range<u64>) -> BoxFuture<'static, Result<BodyStream, Refused>> {
        self.read_at(ask, range, 0)
    }

    fn read_at(
        &self,
        ask: &Arc<Ask>,
        range: Range<u64>,
        depth: usize,
    ) -> BoxFuture<'static, Result<BodyStream, Refused>> {
        let mut pieces = overlapping(&self.segments, &range).into_iter();
        let (ask, account) = (Arc::clone(ask), self.account.clone());
        async move {
            let Some(first) = pieces.next() else {
                return Ok(futures::stream::empty().boxed());
            };
            let first = open_segment(&ask, &account, first, depth).await?;
            let rest = futures::stream::iter(pieces).then(move |piece| {
                let (ask, account) = (Arc::clone(&ask), account.clone());
                async move {
                    match open_segment(&ask, &account, piece, depth).await {
                        Ok(stream) => stream,
                        Err(_) => futures::stream::iter([Err(segment_failed())]).boxed(),
                    }
                }
            });
            Ok(first.chain(rest.flatten()).boxed())
        }
        .boxed()
    }
}

/// What ends a body whose next segment cannot be read.
pub(crate) fn segment_failed() -> StoreError {
    StoreError::Body(BodyError {
        code: SEGMENT_FAILED,
        message: "a segment is missing or has changed".to_owned(),
    })
}

/// The pieces that a range takes, each cut to what it takes of it.
pub(crate) fn overlapping(segments: &[Segment], range: &Range<u64>) -> Vec<Segment> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for segment in segments {
        let end = start + segment.len();
        let (first, last) = (range.start.max(start), range.end.min(end));
        if first < last {
            pieces.push(segment.cut(first - start..last - start));
        }
        start = end;
    }
    pieces
}

fn open_segment<'a>(
    ask: &'a Arc<Ask>,
    account: &'a str,
    segment: Segment,
    depth: usize,
) -> BoxFuture<'a, Result<BodyStream, Refused>> {
    let conflict = || refuse(StatusCode::CONFLICT);
    async move {
        let reference = match segment {
            Segment::Data(bytes) => return Ok(futures::stream::iter([Ok(bytes)]).boxed()),
            Segment::Object(reference) => reference,
        };
        if depth >= SUB_DEPTH_MAX {
            return Err(conflict());
        }
        let path = Path {
            account: account.to_owned(),
            container: Some(reference.container.clone()),
            object: Some(reference.object.clone()),
        };
        let inner = Arc::new(ask.inner(Method::GET, path, referer(ask)));
        if !may_read(ask, &inner).await? {
            return Err(conflict());
        }
        let seen = match read::find(&inner, None).await {
            Ok(seen) => seen,
            Err(refused) if refused.status.is_server_error() => return Err(refused),
            Err(_) => return Err(conflict()),
        };
        if !reference.fits(&seen.reader.head.object) {
            return Err(conflict());
        }
        if reference.manifest {
            let large = open(&inner, &seen).await?;
            return large.read_at(&inner, reference.range, depth + 1).await;
        }
        Ok(seen.reader.read(reference.range))
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, range: Range<u64>) -> Segment {
        Segment::Object(Reference {
            container: "c".into(),
            object: name.into(),
            etag: None,
            size: None,
            range,
            manifest: false,
        })
    }

    #[test]
    fn a_range_takes_what_it_needs_of_every_segment() {
        let segments = [object("a", 10..20), Segment::Data("12345".into()), object("b", 0..10)];
        assert_eq!(overlapping(&segments, &(0..25)), segments);
        assert_eq!(
            overlapping(&segments, &(3..12)),
            [object("a", 13..20), Segment::Data("12".into())]
        );
        assert_eq!(
            overlapping(&segments, &(14..16)),
            [Segment::Data("5".into()), object("b", 0..1)]
        );
        assert!(overlapping(&segments, &(25..30)).is_empty());
    }
}
