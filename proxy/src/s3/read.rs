//! GetObject and HeadObject.

use std::ops::Range;

use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::{Frame, SizeHint};
use s3s::dto::{self, ChecksumMode, Metadata, StreamingBlob};
use s3s::{Body, S3Error, S3Request, S3Response, S3Result};
use store::{BodyStream, Bucket, Checksum, ObjectHead, ObjectRow};

use super::checksums::{kind_dto, show_checksum};
use super::conditions::Verdict;
use super::errors::{error, error_with, from_store, invalid_argument, invalid_request};
use super::names::{etag_text, http_date, version_selector, version_text};
use super::request::Caller;
use super::service::Edge;
use crate::swift::over_s3::{self, Fault, Whole};

/// The type of an object that was put without one (AWS).
const DEFAULT_TYPE: HeaderValue = HeaderValue::from_static("binary/octet-stream");

/// What a read asks besides its key.
struct Asked<'a> {
    bucket: &'a str,
    key: &'a str,
    version: Option<&'a str>,
    part: Option<i32>,
    checksum_mode: Option<&'a ChecksumMode>,
}

impl Asked<'_> {
    /// Whether the checksum is asked for.
    fn checksum(&self) -> bool {
        self.checksum_mode
            .is_some_and(|mode| mode.as_str().eq_ignore_ascii_case("ENABLED"))
    }
}

/// The bytes that are answered.
struct Span {
    range: Range<u64>,
    /// 206.
    partial: bool,
    /// The number of parts, when a part was asked for.
    parts: Option<u16>,
}

/// Opens an object; one that the Swift API put together is opened as what it stands for.
async fn open(edge: &Edge, caller: &Caller, asked: &Asked<'_>) -> S3Result<(Bucket, Whole)> {
    let selector = version_selector(asked.version)?;
    let bucket = edge.bucket(caller, asked.bucket).await?;
    let reader = edge
        .store
        .open_object(&caller.cx, &bucket, asked.key.as_bytes(), selector)
        .await
        .map_err(from_store)?;
    let own = bucket.info.project == caller.cx.project;
    if !own && over_s3::stands_for_others(&reader.head.object) {
        return Err(error("AccessDenied"));
    }
    let named = asked.version.is_some();
    let whole = Whole::of(&edge.store, &caller.cx, reader, named).await;
    Ok((bucket, whole.map_err(unreadable)?))
}

/// What is wrong with an object that stands for others.
fn unreadable(fault: Fault) -> S3Error {
    match fault {
        Fault::Denied => error("AccessDenied"),
        Fault::Broken => error_with(
            "OperationAborted",
            "A segment of the large object, or the target of the link, is missing or has changed.",
        ),
        Fault::Store(error) => from_store(error),
    }
}

/// Which bytes: a part, a range, or all.
fn span(whole: &Whole, caller: &Caller, part: Option<i32>) -> S3Result<Span> {
    let size = whole.reader.head.object.size;
    if let Some(part) = part {
        if caller.range.is_some() {
            return Err(invalid_request(
                "Cannot specify both Range header and partNumber query parameter",
            ));
        }
        let number = u16::try_from(part)
            .ok()
            .filter(|number| (1..=store::PARTS_MAX).contains(number));
        let number =
            number.ok_or_else(|| invalid_argument("Part number must be an integer between 1 and 10000, inclusive"))?;
        let (range, parts) = whole.part(number).ok_or_else(|| error("InvalidPartNumber"))?;
        let multipart = whole.reader.head.parts.is_some();
        return Ok(Span {
            range,
            partial: size > 0,
            parts: multipart.then_some(parts),
        });
    }
    match caller.range {
        None => Ok(Span {
            range: 0..size,
            partial: false,
            parts: None,
        }),
        Some(range) => {
            let range = range.within(size).ok_or_else(|| unsatisfiable(size))?;
            Ok(Span {
                range,
                partial: true,
                parts: None,
            })
        }
    }
}

fn unsatisfiable(size: u64) -> S3Error {
    let mut error = error("InvalidRange");
    let mut headers = HeaderMap::new();
    put(&mut headers, header::CONTENT_RANGE, &format!("bytes */{size}"));
    error.set_headers(headers);
    error
}

/// Decides `If-*`. A 304 tells what a 200 would have told of the object's state.
fn decide(caller: &Caller, head: &ObjectHead) -> S3Result<()> {
    match caller.conditions.verdict(&head.object.etag, head.object.modified_ms) {
        Verdict::Proceed => Ok(()),
        Verdict::Failed => Err(error("PreconditionFailed")),
        Verdict::NotModified => {
            let mut not_modified = error("NotModified");
            let mut headers = state_headers(&head.object);
            if head.versioned {
                put(
                    &mut headers,
                    VERSION_ID,
                    &version_text(head.object.seq, head.object.null),
                );
            }
            not_modified.set_headers(headers);
            Err(not_modified)
        }
    }
}

const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn state_headers(object: &ObjectRow) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    put(&mut headers, header::ETAG, &format!("\"{}\"", etag_text(&object.etag)));
    put(&mut headers, header::LAST_MODIFIED, &http_date(object.modified_ms));
    headers
}

/// The headers that GET and HEAD share.
fn headers(caller: &Caller, head: &ObjectHead, span: &Span) -> HeaderMap {
    let object = &head.object;
    let mut headers = state_headers(object);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_TYPE, DEFAULT_TYPE);
    for (name, value) in &object.attributes {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value.as_bytes())) {
            headers.insert(name, value);
        }
    }
    for (name, value) in &caller.overrides {
        headers.insert(name, value.clone());
    }
    headers.insert(
        header::CONTENT_LENGTH,
        HeaderValue::from(span.range.end - span.range.start),
    );
    if span.partial {
        let Range { start, end } = span.range;
        put(
            &mut headers,
            header::CONTENT_RANGE,
            &format!("bytes {start}-{}/{}", end.saturating_sub(1), object.size),
        );
    }
    if let Some(parts) = span.parts {
        headers.insert("x-amz-mp-parts-count", HeaderValue::from(parts));
    }
    if head.versioned {
        put(&mut headers, VERSION_ID, &version_text(object.seq, object.null));
    }
    if !object.tags.is_empty() {
        headers.insert("x-amz-tagging-count", HeaderValue::from(object.tags.len()));
    }
    headers
}

fn metadata(object: &ObjectRow) -> Option<Metadata> {
    (!object.user.is_empty()).then(|| object.user.iter().cloned().collect())
}

fn status(span: &Span) -> http::StatusCode {
    if span.partial {
        http::StatusCode::PARTIAL_CONTENT
    } else {
        http::StatusCode::OK
    }
}

/// What GET and HEAD answer alike.
struct Found {
    whole: Whole,
    span: Span,
    headers: HeaderMap,
    metadata: Option<Metadata>,
    checksum: Option<Checksum>,
    /// The parts that a composite checksum of the object counts.
    parts: u16,
}

/// Opens the object, decides the conditions, and says all but its bytes.
async fn find(edge: &Edge, caller: &Caller, asked: &Asked<'_>) -> S3Result<Found> {
    let (bucket, whole) = open(edge, caller, asked).await?;
    let head = &whole.reader.head;
    decide(caller, head)?;
    let span = span(&whole, caller, asked.part)?;
    let checksum = if asked.checksum() {
        told(edge, caller, &bucket, asked, head, &span).await?
    } else {
        None
    };
    Ok(Found {
        headers: headers(caller, head, &span),
        metadata: metadata(&head.object),
        checksum,
        parts: head.parts.filter(|_| asked.part.is_none()).unwrap_or(0),
        span,
        whole,
    })
}

/// The checksum to tell: the object's with all of it, a part's with a part, none with a range.
async fn told(
    edge: &Edge,
    caller: &Caller,
    bucket: &Bucket,
    asked: &Asked<'_>,
    head: &ObjectHead,
    span: &Span,
) -> S3Result<Option<Checksum>> {
    let Some(checksum) = &head.object.checksum else {
        return Ok(None);
    };
    let part = asked.part.and_then(|part| u16::try_from(part).ok());
    match part.filter(|_| head.parts.is_some()) {
        Some(number) => {
            let before = number.saturating_sub(1);
            let page = edge.store.object_parts(&caller.cx, bucket, head, before, 1).await;
            let (parts, _) = page.map_err(from_store)?;
            let own = parts.into_iter().find(|part| part.number == number);
            let kind = checksum.kind;
            Ok(own.and_then(|part| part.checksum).map(|own| Checksum { kind, ..own }))
        }
        None => Ok((asked.part.is_some() || !span.partial).then(|| checksum.clone())),
    }
}

/// GetObject.
pub(crate) async fn get(
    edge: &Edge,
    request: S3Request<dto::GetObjectInput>,
) -> S3Result<S3Response<dto::GetObjectOutput>> {
    let caller = Caller::of(&request, "GetObject")?;
    let input = request.input;
    let asked = Asked {
        bucket: &input.bucket,
        key: &input.key,
        version: input.version_id.as_deref(),
        part: input.part_number,
        checksum_mode: input.checksum_mode.as_ref(),
    };
    let found = find(edge, &caller, &asked).await?;
    let mut output = dto::GetObjectOutput {
        checksum_type: found.checksum.as_ref().map(|checksum| kind_dto(checksum.kind)),
        metadata: found.metadata,
        ..Default::default()
    };
    show_checksum!(output, &found.checksum, found.parts);
    let status = status(&found.span);
    let left = found.span.range.end - found.span.range.start;
    if left > 0 {
        let stream = found.whole.read(found.span.range).await.map_err(unreadable)?;
        output.body = Some(StreamingBlob::from(Body::http_body_unsync(Bytes { stream, left })));
    }
    let mut response = S3Response::with_headers(output, found.headers);
    // s3s sets the status of its own operations by itself; `interpret` puts this one on.
    response.extensions.insert(status);
    Ok(response)
}

/// HeadObject.
pub(crate) async fn head(
    edge: &Edge,
    request: S3Request<dto::HeadObjectInput>,
) -> S3Result<S3Response<dto::HeadObjectOutput>> {
    let caller = Caller::of(&request, "HeadObject")?;
    let input = request.input;
    let asked = Asked {
        bucket: &input.bucket,
        key: &input.key,
        version: input.version_id.as_deref(),
        part: input.part_number,
        checksum_mode: input.checksum_mode.as_ref(),
    };
    let found = find(edge, &caller, &asked).await?;
    let mut output = dto::HeadObjectOutput {
        checksum_type: found.checksum.as_ref().map(|checksum| kind_dto(checksum.kind)),
        metadata: found.metadata,
        ..Default::default()
    };
    show_checksum!(output, &found.checksum, found.parts);
    let mut response = S3Response::with_headers(output, found.headers);
    response.extensions.insert(status(&found.span));
    Ok(response)
}

/// The store's bytes as a body of known length. An error cuts the connection: the head with its length is gone already.
struct Bytes {
    stream: BodyStream,
    left: u64,
}

impl http_body::Body for Bytes {
    type Data = bytes::Bytes;
    type Error = store::StoreError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<bytes::Bytes>, store::StoreError>>> {
        self.stream.poll_next_unpin(cx).map(|piece| {
            piece.map(|piece| {
                piece
                    .map(|bytes| {
                        self.left = self.left.saturating_sub(bytes.len() as u64);
                        Frame::data(bytes)
                    })
                    .inspect_err(|cause| tracing::error!(%cause, "an answer was cut"))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
