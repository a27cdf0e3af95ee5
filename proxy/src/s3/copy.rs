//! CopyObject and UploadPartCopy.

use s3s::dto::{self, MetadataDirective, TaggingDirective};
use s3s::{S3Request, S3Response, S3Result};
use store::{Bucket, Condition, CopyChanges, CopySource, CopyTarget, ObjectHead, VersionSelector};

use super::checksums::{self, kind_dto, show_checksum};
use super::conditions::Verdict;
use super::copy_source::SourceName;
use super::errors::{error, error_with, from_store, invalid_argument, invalid_request, not_implemented};
use super::multipart::{part_number, upload_id};
use super::names::{etag, md5_etag, timestamp, version_selector, version_text};
use super::objects::{attributes, user_metadata};
use super::range::ByteRange;
use super::request::Caller;
use super::service::Edge;
use super::tagging;
use crate::swift::over_s3;

/// The largest source of one CopyObject or UploadPartCopy (AWS: 5 GiB).
const SOURCE_BYTES_MAX: u64 = 5 << 30;

/// A source that was found and may be read.
struct Source {
    bucket: Bucket,
    name: SourceName,
    head: ObjectHead,
}

impl Source {
    async fn find(edge: &Edge, caller: &Caller) -> S3Result<Self> {
        let name = caller.copy_source.clone().ok_or_else(|| error("InternalError"))?;
        let selector = version_selector(name.version.as_deref())?;
        let bucket = edge.source_bucket(caller, &name.bucket).await?;
        let head = edge
            .store
            .object(&caller.cx, &bucket, name.key.as_bytes(), selector)
            .await;
        let head = head.map_err(|cause| match cause {
            store::StoreError::DeleteMarker { latest: false, .. } => invalid_request(
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            ),
            other => from_store(other),
        })?;
        match caller
            .copy_conditions
            .verdict(&head.object.etag, head.object.modified_ms)
        {
            Verdict::Proceed => Ok(Self { bucket, name, head }),
            Verdict::Failed | Verdict::NotModified => Err(error("PreconditionFailed")),
        }
    }

    /// The source for the store: exactly the version that was looked at, or nothing. Its dates were decided here, so the
    /// store is held to the same bytes.
    fn exact(&self) -> CopySource {
        let object = &self.head.object;
        let version = if self.head.versioned && !object.null {
            VersionSelector::Id(object.seq)
        } else if self.head.versioned {
            VersionSelector::Null
        } else {
            VersionSelector::Latest
        };
        CopySource {
            bucket: self.bucket.clone(),
            key: self.name.key.clone().into_bytes(),
            version,
            condition: Condition::ETagIn(vec![object.etag]),
        }
    }

    fn version_id(&self) -> Option<String> {
        self.head
            .versioned
            .then(|| version_text(self.head.object.seq, self.head.object.null))
    }
}

/// What a directive says; anything else than its two words is refused.
fn replaces(directive: Option<&str>, name: &str) -> S3Result<bool> {
    match directive {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(invalid_argument(format!("Unknown {name} directive."))),
    }
}

/// CopyObject.
pub(crate) async fn object(
    edge: &Edge,
    request: S3Request<dto::CopyObjectInput>,
) -> S3Result<S3Response<dto::CopyObjectOutput>> {
    let caller = Caller::of(&request, "CopyObject")?;
    let headers = &request.headers;
    let metadata = replaces(
        request.input.metadata_directive.as_ref().map(MetadataDirective::as_str),
        "metadata",
    )?;
    let tags = replaces(
        request.input.tagging_directive.as_ref().map(TaggingDirective::as_str),
        "tagging",
    )?;
    let replaced = attributes(headers, &caller);
    let input = request.input;
    let condition = caller.conditions.for_write()?;
    let bucket = edge.bucket(&caller, &input.bucket).await?;
    let source = Source::find(edge, &caller).await?;
    // What makes an object a manifest or a link goes with its bytes.
    let kept = [replaced, over_s3::kept(&source.head.object).cloned().collect()].concat();
    let changes = CopyChanges {
        metadata: if metadata {
            Some((kept, user_metadata(input.metadata)?))
        } else {
            None
        },
        tags: if tags {
            Some(tagging::from_header(input.tagging.as_deref())?)
        } else {
            None
        },
    };
    let wanted = input
        .checksum_algorithm
        .as_ref()
        .map(|algorithm| checksums::parse_name(algorithm.as_str()));
    let wanted = wanted.transpose()?;
    let onto_itself = source.bucket.info.id == bucket.info.id && source.name.key == input.key;
    if onto_itself && changes == CopyChanges::default() && source.name.version.is_none() && wanted.is_none() {
        return Err(invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    if source.head.object.size > SOURCE_BYTES_MAX {
        return Err(invalid_request(
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
        ));
    }
    let wanted = wanted.filter(|wanted| {
        source
            .head
            .object
            .checksum
            .as_ref()
            .is_none_or(|kept| kept.algorithm != *wanted)
    });
    let copied = edge.store.copy_object(
        &caller.cx,
        source.exact(),
        CopyTarget {
            bucket,
            key: input.key.into_bytes(),
            condition,
        },
        changes,
        wanted,
    );
    let done = copied.await.map_err(from_store)?.put;
    let mut result = dto::CopyObjectResult {
        checksum_type: done.checksum.as_ref().map(|checksum| kind_dto(checksum.kind)),
        e_tag: Some(etag(&done.etag)),
        last_modified: Some(timestamp(done.modified_ms)),
        ..Default::default()
    };
    show_checksum!(result, &done.checksum, done.etag.parts);
    Ok(S3Response::new(dto::CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: source.version_id(),
        version_id: (done.versioned && !done.null).then(|| version_text(done.seq, false)),
        ..Default::default()
    }))
}

/// UploadPartCopy.
pub(crate) async fn part(
    edge: &Edge,
    request: S3Request<dto::UploadPartCopyInput>,
) -> S3Result<S3Response<dto::UploadPartCopyOutput>> {
    let caller = Caller::of(&request, "UploadPartCopy")?;
    caller.conditions.none()?;
    let input = request.input;
    let number = part_number(input.part_number)?;
    let upload = upload_id(&input.upload_id)?;
    let range = input.copy_source_range.as_deref().map(|text| {
        ByteRange::parse_copy(text).ok_or_else(|| {
            invalid_argument(
                "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
            )
        })
    });
    let range = range.transpose()?;
    let bucket = edge.bucket(&caller, &input.bucket).await?;
    let source = Source::find(edge, &caller).await?;
    let size = source.head.object.size;
    if over_s3::stands_for_others(&source.head.object) {
        return Err(not_implemented(
            "UploadPartCopy of a large object or link of the Swift API",
        ));
    }
    if range.as_ref().is_some_and(|range| range.end > size) {
        return Err(invalid_argument(format!(
            "Range specified is not valid for source object of size: {size}"
        )));
    }
    let length = range.as_ref().map_or(size, |range| range.end - range.start);
    if length > SOURCE_BYTES_MAX {
        return Err(error_with(
            "InvalidRequest",
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
        ));
    }
    let copied = edge.store.copy_part(
        &caller.cx,
        source.exact(),
        range,
        &bucket,
        input.key.into_bytes(),
        upload,
        number,
    );
    let done = copied.await.map_err(from_store)?;
    let mut result = dto::CopyPartResult {
        e_tag: Some(md5_etag(done.md5)),
        last_modified: Some(timestamp(done.modified_ms)),
        ..Default::default()
    };
    show_checksum!(result, &done.checksum, 0);
    Ok(S3Response::new(dto::UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: source.version_id(),
        ..Default::default()
    }))
}
