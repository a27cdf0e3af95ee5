//! PutObject, and what PutObject, Copy and CreateMultipartUpload read alike from a request's headers.

use http::HeaderMap;
use s3s::dto::{self, Metadata};
use s3s::{S3Request, S3Response, S3Result};
use store::{Attributes, ChecksumAlgorithm, PutObject};

use super::checksums::{Promise, kind_dto, show_checksum};
use super::errors::{error, from_store};
use super::names::{etag, version_text};
use super::request::Caller;
use super::service::Edge;
use super::{tagging, upload};

/// The most user metadata, names and values together, in bytes (AWS).
const METADATA_BYTES_MAX: usize = 2048;
/// Standard headers that are kept with an object; `expires` is kept too, as it came.
const KEPT: [&str; 5] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
];
/// What is computed and kept when the client promised no checksum (AWS does the same).
const DEFAULT_CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;

/// The standard headers to keep.
pub(crate) fn attributes(headers: &HeaderMap, caller: &Caller) -> Attributes {
    let kept = KEPT.iter().filter_map(|name| {
        let value = headers.get(*name).filter(|value| !value.is_empty())?;
        Some((
            (*name).to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        ))
    });
    let mut attributes: Attributes = kept.collect();
    if let Some(expires) = &caller.expires {
        attributes.push(("expires".to_owned(), expires.clone()));
    }
    attributes
}

/// The user metadata to keep, in the order of its names.
pub(crate) fn user_metadata(metadata: Option<Metadata>) -> S3Result<Attributes> {
    let mut user: Attributes = metadata.unwrap_or_default().into_iter().collect();
    let bytes: usize = user.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(error("MetadataTooLarge"));
    }
    user.sort_unstable();
    Ok(user)
}

/// A declared length.
pub(crate) fn declared(length: Option<i64>) -> Option<u64> {
    length.and_then(|length| u64::try_from(length).ok())
}

/// PutObject.
pub(crate) async fn put(
    edge: &Edge,
    request: S3Request<dto::PutObjectInput>,
) -> S3Result<S3Response<dto::PutObjectOutput>> {
    let caller = Caller::of(&request, "PutObject")?;
    let promise = Promise::of(&request.headers)?.with_payload(caller.payload);
    let keep = promise.algorithm().unwrap_or(DEFAULT_CHECKSUM);
    let mut digests = promise.digests();
    if !digests.contains(&keep) {
        digests.push(keep);
    }
    let attributes = attributes(&request.headers, &caller);
    let input = request.input;
    let put = PutObject {
        condition: caller.conditions.for_write()?,
        attributes,
        user: user_metadata(input.metadata)?,
        tags: tagging::from_header(input.tagging.as_deref())?,
        length: declared(input.content_length),
        digests,
        finish: promise.finish(caller.trailers.clone(), Some(keep)),
    };
    let bucket = edge.bucket(&caller, &input.bucket).await?;
    let body = upload::body(input.body, caller.ticket.clone());
    let done = edge
        .store
        .put_object(&caller.cx, &bucket, input.key.into_bytes(), put, body)
        .await;
    let done = done.map_err(from_store)?;
    let mut output = dto::PutObjectOutput {
        checksum_type: done.checksum.as_ref().map(|checksum| kind_dto(checksum.kind)),
        e_tag: Some(etag(&done.etag)),
        // A null version of a suspended bucket is not told.
        version_id: (done.versioned && !done.null).then(|| version_text(done.seq, false)),
        ..Default::default()
    };
    show_checksum!(output, &done.checksum, 0);
    Ok(S3Response::new(output))
}
