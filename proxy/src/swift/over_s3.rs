//! Large objects and links as the S3 edge reads them: put together from their segments, followed to their targets.
//!
//! The manifests are those of [`super::large`]. A reader over S3 acts in a project, so every segment and target in that
//! project's account is its own to read, and none of another account is.

use std::ops::Range;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use md5::{Digest, Md5};
use store::{
    BodyStream, ETag, ListObjects, ObjectReader, ObjectRow, RequestContext, Store, StoreError, VersionSelector,
};

use super::attributes::{
    DLO, LINK, LINK_ACCOUNT, LINK_BYTES, LINK_ETAG, LINK_SLO_ETAG, SLO, SLO_ETAG, SLO_PARTS, attribute, has_expired,
    parse_etag, told_size,
};
use super::large::{self, DYNAMIC_SEGMENTS_MAX, Reference, SUB_DEPTH_MAX, Segment};
use super::path::{container_and_object, unquote};
use super::read::{LINKS_MAX, link_etag};

/// Why an object that stands for others cannot be read.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It leads into another account.
    Denied,
    /// A segment or target is missing or has changed, or there are too many of them.
    Broken,
    /// The store says no.
    Store(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// An object as S3 shows it.
pub(crate) struct Whole {
    /// Its head tells the size, tag and parts of what the object stands for.
    pub(crate) reader: ObjectReader,
    segments: Option<Vec<Segment>>,
    source: Arc<Source>,
}

/// Whether an object is more than its own bytes.
pub(crate) fn stands_for_others(row: &ObjectRow) -> bool {
    [SLO, DLO, LINK].iter().any(|name| attribute(row, name).is_some())
}

/// What makes an object stand for others; whoever replaces its metadata keeps it.
pub(crate) fn kept(row: &ObjectRow) -> impl Iterator<Item = &(String, String)> {
    row.attributes.iter().filter(|(name, _)| name.starts_with("swift/"))
}

/// The size and tag that a listing shows, as far as the row tells them: those of a static large object, and those of
/// what a static link led to when it was made.
pub(crate) fn told(row: &ObjectRow) -> (u64, ETag) {
    if let Some(etag) = slo_etag(row) {
        return (told_size(row), etag);
    }
    let bytes = attribute(row, LINK_BYTES).and_then(|bytes| bytes.parse().ok());
    let etag = attribute(row, LINK_ETAG).and_then(parse_etag);
    match (bytes, etag) {
        (Some(bytes), Some(etag)) if attribute(row, LINK_SLO_ETAG).is_none() => (bytes, etag),
        (Some(bytes), _) => (bytes, row.etag),
        _ => (row.size, row.etag),
    }
}

/// The tag of a static large object in the form of a multipart object's.
fn slo_etag(row: &ObjectRow) -> Option<ETag> {
    let etag = parse_etag(attribute(row, SLO_ETAG)?)?;
    let parts = attribute(row, SLO_PARTS).and_then(|parts| parts.parse().ok());
    Some(ETag {
        parts: parts.unwrap_or(1),
        ..etag
    })
}

impl Whole {
    /// What `reader` stands for. An object whose time is over is not there, unless one version of it is `named`.
    ///
    /// # Errors
    /// See [`Fault`].
    pub(crate) async fn of(
        store: &Store,
        cx: &RequestContext,
        reader: ObjectReader,
        named: bool,
    ) -> Result<Self, Fault> {
        let source = Source {
            store: store.clone(),
            cx: cx.clone(),
        };
        if !named && has_expired(&reader.head.object, cx.request.made_ms()) {
            return Err(StoreError::NoSuchKey.into());
        }
        let mut reader = source.follow(reader).await?;
        let segments = source.segments(&reader).await?;
        if let Some(segments) = &segments {
            let count = u16::try_from(segments.len()).unwrap_or(u16::MAX);
            let row = &mut reader.head.object;
            row.etag = slo_etag(row).unwrap_or_else(|| dynamic_etag(segments, count));
            row.size = segments.iter().map(Segment::len).sum();
            reader.head.parts = Some(count);
        }
        Ok(Self {
            reader,
            segments,
            source: Arc::new(source),
        })
    }

    /// The bytes of one part, counted from one, and how many there are.
    pub(crate) fn part(&self, number: u16) -> Option<(Range<u64>, u16)> {
        let Some(segments) = &self.segments else {
            return self.reader.part(number);
        };
        let at = usize::from(number).checked_sub(1)?;
        let start = segments.iter().take(at).map(Segment::len).sum::<u64>();
        let range = start..start + segments.get(at)?.len();
        Some((range, self.reader.head.parts.unwrap_or(u16::MAX)))
    }

    /// Reads a range. What is wrong with its first segment is told here, with a later one by cutting the stream.
    ///
    /// # Errors
    /// See [`Fault`].
    pub(crate) async fn read(self, range: Range<u64>) -> Result<BodyStream, Fault> {
        match self.segments {
            None => Ok(self.reader.read(range)),
            Some(segments) => Source::read(self.source, &segments, range, 0).await,
        }
    }
}

fn dynamic_etag(segments: &[Segment], parts: u16) -> ETag {
    let mut digest = Md5::new();
    for segment in segments {
        if let Segment::Object(Reference { etag: Some(etag), .. }) = segment {
            digest.update(etag);
        }
    }
    let md5 = digest.finalize().into();
    ETag { md5, parts }
}

/// Where segments and targets are read.
struct Source {
    store: Store,
    cx: RequestContext,
}

impl Source {
    async fn open(&self, container: &str, object: &str) -> Result<ObjectReader, Fault> {
        let bucket = self.store.bucket(&self.cx, container).await?;
        if bucket.info.project != self.cx.project {
            return Err(StoreError::NoSuchKey.into());
        }
        let latest = VersionSelector::Latest;
        let reader = self
            .store
            .open_object(&self.cx, &bucket, object.as_bytes(), latest)
            .await?;
        if has_expired(&reader.head.object, self.cx.request.made_ms()) {
            return Err(StoreError::NoSuchKey.into());
        }
        Ok(reader)
    }

    /// The object at the end of its links.
    async fn follow(&self, mut reader: ObjectReader) -> Result<ObjectReader, Fault> {
        for _ in 0..=LINKS_MAX {
            let row = &reader.head.object;
            let Some(target) = attribute(row, LINK) else {
                return Ok(reader);
            };
            let own = format!("AUTH_{}", self.cx.project);
            if attribute(row, LINK_ACCOUNT).is_some_and(|account| account != own) {
                return Err(Fault::Denied);
            }
            let (container, object) = container_and_object(target).ok_or(Fault::Broken)?;
            let found = self.open(&container, &object).await?;
            let expected = attribute(row, LINK_ETAG);
            if expected.is_some_and(|expected| expected != link_etag(&found.head.object)) {
                return Err(Fault::Broken);
            }
            reader = found;
        }
        Err(Fault::Broken)
    }

    /// The pieces of a large object; `None`: it is none.
    async fn segments(&self, reader: &ObjectReader) -> Result<Option<Vec<Segment>>, Fault> {
        let row = &reader.head.object;
        if let Some(place) = attribute(row, DLO) {
            return self.listed(place).await.map(Some);
        }
        if attribute(row, SLO).is_none() {
            return Ok(None);
        }
        let entries = large::entries(reader.clone()).await.map_err(|_| Fault::Broken)?;
        let segments = entries.iter().map(large::segment).collect::<Option<Vec<_>>>();
        segments.map(Some).ok_or(Fault::Broken)
    }

    /// The segments of a dynamic large object.
    async fn listed(&self, place: &str) -> Result<Vec<Segment>, Fault> {
        let (container, prefix) = place.split_once('/').unwrap_or((place, ""));
        let decoded = |text: &str| unquote(text).unwrap_or_else(|| text.to_owned());
        let (container, prefix) = (decoded(container), decoded(prefix));
        let bucket = self.store.bucket(&self.cx, &container).await?;
        if bucket.info.project != self.cx.project {
            return Err(Fault::Broken);
        }
        let mut list = ListObjects {
            prefix: prefix.into_bytes(),
            limit: store::PAGE_MAX,
            ..ListObjects::default()
        };
        let mut segments = Vec::new();
        loop {
            let page = self.store.list_objects(&self.cx, &bucket, list.clone()).await?;
            list.after = page.entries.last().map(|(key, _)| key.clone());
            let found = page
                .entries
                .iter()
                .map(|(key, row)| large::listed(&container, key, row));
            segments.extend(found);
            if segments.len() > DYNAMIC_SEGMENTS_MAX {
                return Err(Fault::Broken);
            }
            if !page.more || list.after.is_none() {
                return Ok(segments);
            }
        }
    }

    fn read(
        source: Arc<Self>,
        segments: &[Segment],
        range: Range<u64>,
        depth: usize,
    ) -> BoxFuture<'static, Result<BodyStream, Fault>> {
        let mut pieces = large::overlapping(segments, &range).into_iter();
        async move {
            let Some(first) = pieces.next() else {
                return Ok(futures::stream::empty().boxed());
            };
            let first = source.open_segment(first, depth).await?;
            let rest = futures::stream::iter(pieces).then(move |piece| {
                let source = Arc::clone(&source);
                async move {
                    let opened = source.open_segment(piece, depth).await;
                    opened.unwrap_or_else(|_| futures::stream::iter([Err(large::segment_failed())]).boxed())
                }
            });
            Ok(first.chain(rest.flatten()).boxed())
        }
        .boxed()
    }

    async fn open_segment(self: &Arc<Self>, segment: Segment, depth: usize) -> Result<BodyStream, Fault> {
        let reference = match segment {
            Segment::Data(bytes) => return Ok(futures::stream::iter([Ok(bytes)]).boxed()),
            Segment::Object(reference) => reference,
        };
        if depth >= SUB_DEPTH_MAX {
            return Err(Fault::Broken);
        }
        let missing = |fault| match fault {
            Fault::Store(error) if error.class() != store::Class::Absent => Fault::Store(error),
            _ => Fault::Broken,
        };
        let reader = self
            .open(&reference.container, &reference.object)
            .await
            .map_err(missing)?;
        let reader = self.follow(reader).await.map_err(missing)?;
        if !reference.fits(&reader.head.object) {
            return Err(Fault::Broken);
        }
        if reference.manifest
            && let Some(segments) = self.segments(&reader).await?
        {
            return Self::read(Arc::clone(self), &segments, reference.range, depth + 1).await;
        }
        Ok(reader.read(reference.range))
    }
}
