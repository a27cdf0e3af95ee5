//! What is told of parts: ListParts of an upload, GetObjectAttributes of an object.

use s3s::dto::{self, ObjectAttributes};
use s3s::{Body, S3Request, S3Response, S3Result};
use store::{Bucket, ObjectHead, PartRow};

use super::checksums::{algorithm_dto, kind_dto, show_checksum};
use super::errors::{from_store, invalid_argument};
use super::list::{page_size, shown_owner};
use super::multipart::upload_id;
use super::names::{etag_text, length, md5_etag, timestamp, version_selector, version_text};
use super::request::Caller;
use super::service::Edge;

/// Reads a part-number marker.
fn marker(asked: Option<i32>) -> S3Result<u16> {
    let wrong = || invalid_argument("Argument part-number-marker must be an integer between 0 and 2147483647");
    match asked {
        None => Ok(0),
        Some(number) => u16::try_from(u32::try_from(number).map_err(|_| wrong())?).or(Ok(u16::MAX)),
    }
}

fn part(row: &PartRow) -> dto::Part {
    let mut part = dto::Part {
        e_tag: Some(md5_etag(row.md5)),
        last_modified: Some(timestamp(row.modified_ms)),
        part_number: Some(i32::from(row.number)),
        size: Some(length(row.stream.size)),
        ..Default::default()
    };
    show_checksum!(part, &row.checksum, 0);
    part
}

/// ListParts.
pub(crate) async fn list(
    edge: &Edge,
    request: S3Request<dto::ListPartsInput>,
) -> S3Result<S3Response<dto::ListPartsOutput>> {
    let caller = Caller::of(&request, "ListParts")?;
    let input = request.input;
    let id = upload_id(&input.upload_id)?;
    let size = page_size(input.max_parts, "max-parts")?;
    let after = marker(input.part_number_marker)?;
    let bucket = edge.bucket(&caller, &input.bucket).await?;
    let limit = usize::try_from(size).unwrap_or(0);
    let page = edge
        .store
        .list_parts(&caller.cx, &bucket, input.key.as_bytes(), id, after, limit.max(1))
        .await;
    let (row, mut parts, more) = page.map_err(from_store)?;
    if !matches!(row.state, store::UploadState::Open) {
        return Err(super::errors::error("NoSuchUpload"));
    }
    parts.truncate(limit);
    let more = more && limit > 0;
    let owner = shown_owner(&row.owner, &caller);
    Ok(S3Response::new(dto::ListPartsOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: row.checksum.map(|(algorithm, _)| algorithm_dto(algorithm)),
        checksum_type: row.checksum.map(|(_, kind)| kind_dto(kind)),
        initiator: Some(dto::Initiator {
            id: owner.id.clone(),
            display_name: owner.display_name.clone(),
        }),
        is_truncated: Some(more),
        key: Some(input.key),
        max_parts: Some(size),
        next_part_number_marker: parts.last().map(|last| i32::from(last.number)),
        owner: Some(owner),
        part_number_marker: Some(i32::from(after)),
        parts: Some(parts.iter().map(part).collect()),
        storage_class: Some(dto::StorageClass::from_static(dto::StorageClass::STANDARD)),
        upload_id: Some(input.upload_id),
        ..Default::default()
    }))
}

/// The attributes that may be asked for, and which are.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    etag: bool,
    checksum: bool,
    parts: bool,
    storage_class: bool,
    size: bool,
}

impl Wanted {
    fn of(asked: &[ObjectAttributes]) -> S3Result<Self> {
        let mut wanted = Self::default();
        for name in asked.iter().flat_map(|list| list.as_str().split(',')).map(str::trim) {
            match name {
                "ETag" => wanted.etag = true,
                "Checksum" => wanted.checksum = true,
                "ObjectParts" => wanted.parts = true,
                "StorageClass" => wanted.storage_class = true,
                "ObjectSize" => wanted.size = true,
                _ => return Err(invalid_argument("Invalid attribute name specified.")),
            }
        }
        Ok(wanted)
    }
}

fn checksum(head: &ObjectHead) -> Option<dto::Checksum> {
    let kept = head.object.checksum.as_ref()?;
    let mut shown = dto::Checksum {
        checksum_type: Some(kind_dto(kept.kind)),
        ..Default::default()
    };
    // Here, unlike in headers, a composite checksum comes without the number of parts.
    show_checksum!(shown, Some(kept), 0);
    Some(shown)
}

/// The page of parts that is asked for. AWS lists the parts only of objects whose parts have checksums.
async fn object_parts(
    edge: &Edge,
    caller: &Caller,
    bucket: &Bucket,
    head: &ObjectHead,
    size: i32,
    after: u16,
) -> S3Result<Option<dto::GetObjectAttributesParts>> {
    if head.parts.is_none() {
        return Ok(None);
    }
    let limit = usize::try_from(size).unwrap_or(0);
    let page = edge
        .store
        .object_parts(&caller.cx, bucket, head, after, limit.saturating_add(1))
        .await;
    let (mut rows, total) = page.map_err(from_store)?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let shown = |row: &PartRow| {
        let mut part = dto::ObjectPart {
            part_number: Some(i32::from(row.number)),
            size: Some(length(row.stream.size)),
            ..Default::default()
        };
        show_checksum!(part, &row.checksum, 0);
        part
    };
    let with_checksums = rows.iter().any(|row| row.checksum.is_some());
    Ok(Some(dto::GetObjectAttributesParts {
        is_truncated: Some(more),
        max_parts: Some(size),
        next_part_number_marker: Some(rows.last().map_or(0, |last| i32::from(last.number))),
        part_number_marker: Some(i32::from(after)),
        parts: with_checksums.then(|| rows.iter().map(shown).collect()),
        total_parts_count: Some(i32::from(total)),
    }))
}

/// GetObjectAttributes.
pub(crate) async fn attributes(
    edge: &Edge,
    request: S3Request<dto::GetObjectAttributesInput>,
) -> S3Result<S3Response<dto::GetObjectAttributesOutput>> {
    let caller = Caller::of(&request, "GetObjectAttributes")?;
    let input = request.input;
    let wanted = Wanted::of(&input.object_attributes)?;
    let size = page_size(input.max_parts, "max-parts")?;
    let after = marker(input.part_number_marker)?;
    let selector = version_selector(input.version_id.as_deref())?;
    let bucket = edge.bucket(&caller, &input.bucket).await?;
    let head = edge
        .store
        .object(&caller.cx, &bucket, input.key.as_bytes(), selector)
        .await
        .map_err(from_store)?;
    let object_parts = if wanted.parts {
        object_parts(edge, &caller, &bucket, &head, size, after).await?
    } else {
        None
    };
    let object = &head.object;
    let standard = || dto::StorageClass::from_static(dto::StorageClass::STANDARD);
    Ok(S3Response::new(dto::GetObjectAttributesOutput {
        checksum: if wanted.checksum { checksum(&head) } else { None },
        e_tag: wanted.etag.then(|| dto::ETag::Strong(etag_text(&object.etag))),
        last_modified: Some(timestamp(object.modified_ms)),
        object_parts,
        object_size: wanted.size.then(|| length(object.size)),
        storage_class: wanted.storage_class.then(standard),
        version_id: head.versioned.then(|| version_text(object.seq, object.null)),
        ..Default::default()
    }))
}

/// GetObjectAttributes tells the tag without quotes, unlike every other document; s3s knows only the quoted form.
pub(crate) fn with_bare_etag(response: http::Response<Body>) -> http::Response<Body> {
    let (parts, body) = response.into_parts();
    let Some(bytes) = body.bytes() else {
        return http::Response::from_parts(parts, body);
    };
    let text = String::from_utf8_lossy(&bytes);
    let bare = text.split_once("<ETag>").and_then(|(front, rest)| {
        let (tag, end) = rest.split_once("</ETag>")?;
        let tag = tag
            .trim_start_matches("&quot;")
            .trim_end_matches("&quot;")
            .trim_matches('"');
        Some(format!("{front}<ETag>{tag}</ETag>{end}"))
    });
    let body = bare.map_or_else(|| Body::from(bytes.clone()), Body::from);
    http::Response::from_parts(parts, body)
}
