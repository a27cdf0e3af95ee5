//! Multipart uploads: create, upload a part, complete, abort.

use http::HeaderMap;
use s3s::dto;
use s3s::{S3Request, S3Response, S3Result};
use store::{Bucket, Checksum, ChecksumKind, CompletedPart, MultipartId, NewUpload, PutPart, UploadRow};

use super::checksums::{self, Promise, algorithm_dto, kind_dto, name, parse_kind, parse_value, show_checksum};
use super::errors::{error, error_with, from_store, invalid_argument, invalid_request};
use super::names::{etag, md5_etag, parse_etag, version_text};
use super::objects::{attributes, declared, user_metadata};
use super::request::Caller;
use super::service::Edge;
use super::{tagging, upload};

/// Parts asked for in one round while sizes are summed.
const PARTS_PAGE: usize = 1000;

/// Reads an upload's id; anything else names no upload.
pub(crate) fn upload_id(text: &str) -> S3Result<MultipartId> {
    text.parse().map_err(|_| error("NoSuchUpload"))
}

/// Checks a part's number.
pub(crate) fn part_number(number: i32) -> S3Result<u16> {
    let number = u16::try_from(number)
        .ok()
        .filter(|number| (1..=store::PARTS_MAX).contains(number));
    number.ok_or_else(|| invalid_argument("Part number must be an integer between 1 and 10000, inclusive"))
}

/// CreateMultipartUpload.
pub(crate) async fn create(
    edge: &Edge,
    request: S3Request<dto::CreateMultipartUploadInput>,
) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
    let caller = Caller::of(&request, "CreateMultipartUpload")?;
    caller.conditions.none()?;
    let attributes = attributes(&request.headers, &caller);
    let input = request.input;
    let algorithm = input.checksum_algorithm.as_ref().map(dto::ChecksumAlgorithm::as_str);
    let kind = input.checksum_type.as_ref().map(dto::ChecksumType::as_str);
    let checksum = checksums::upload_kind(algorithm, kind)?;
    let new = NewUpload {
        attributes,
        user: user_metadata(input.metadata)?,
        tags: tagging::from_header(input.tagging.as_deref())?,
        checksum,
    };
    let bucket = edge.bucket(&caller, &input.bucket).await?;
    let created = edge
        .store
        .create_upload(&caller.cx, &bucket, input.key.clone().into_bytes(), new)
        .await;
    let id = created.map_err(from_store)?;
    Ok(S3Response::new(dto::CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: checksum.map(|(algorithm, _)| algorithm_dto(algorithm)),
        checksum_type: checksum.map(|(_, kind)| kind_dto(kind)),
        key: Some(input.key),
        upload_id: Some(id.to_string()),
        ..Default::default()
    }))
}

/// UploadPart.
pub(crate) async fn upload_part(
    edge: &Edge,
    request: S3Request<dto::UploadPartInput>,
) -> S3Result<S3Response<dto::UploadPartOutput>> {
    let caller = Caller::of(&request, "UploadPart")?;
    caller.conditions.none()?;
    let promise = Promise::of(&request.headers)?.with_payload(caller.payload);
    let input = request.input;
    let number = part_number(input.part_number)?;
    let id = upload_id(&input.upload_id)?;
    let bucket = edge.bucket(&caller, &input.bucket).await?;
    let key = input.key.into_bytes();
    let put = PutPart {
        length: declared(input.content_length),
        digests: promise.digests(),
        // What is kept is the upload's own algorithm, whatever this client promised.
        finish: promise.finish(caller.trailers.clone(), None),
    };
    let body = upload::body(input.body, caller.ticket.clone());
    let done = edge
        .store
        .put_part(&caller.cx, &bucket, key, id, number, put, body)
        .await
        .map_err(from_store)?;
    let mut output = dto::UploadPartOutput {
        e_tag: Some(md5_etag(done.md5)),
        ..Default::default()
    };
    show_checksum!(output, &done.checksum, 0);
    Ok(S3Response::new(output))
}

/// Reads the parts that Complete names.
fn named_parts(parts: Option<Vec<dto::CompletedPart>>, row: &UploadRow) -> S3Result<Vec<CompletedPart>> {
    let parts = parts
        .filter(|parts| !parts.is_empty())
        .ok_or_else(|| error("MalformedXML"))?;
    if parts.len() > usize::from(store::PARTS_MAX) {
        return Err(error("MalformedXML"));
    }
    let mut named: Vec<CompletedPart> = Vec::with_capacity(parts.len());
    for part in parts {
        let part = named_part(part, row)?;
        // A part that was sent twice may be named twice; the later one counts.
        if named.last().is_some_and(|earlier| earlier.number == part.number) {
            named.pop();
        }
        named.push(part);
    }
    Ok(named)
}

fn named_part(part: dto::CompletedPart, row: &UploadRow) -> S3Result<CompletedPart> {
    let number = part_number(part.part_number.ok_or_else(|| error("MalformedXML"))?)?;
    let tag = part.e_tag.as_ref().ok_or_else(|| error("MalformedXML"))?;
    let tag = parse_etag(tag.value().trim_matches('"')).filter(|tag| tag.parts == 0);
    let given = [
        (store::ChecksumAlgorithm::Crc32, part.checksum_crc32),
        (store::ChecksumAlgorithm::Crc32c, part.checksum_crc32c),
        (store::ChecksumAlgorithm::Crc64Nvme, part.checksum_crc64nvme),
        (store::ChecksumAlgorithm::Sha1, part.checksum_sha1),
        (store::ChecksumAlgorithm::Sha256, part.checksum_sha256),
    ];
    let mut checksum = None;
    for (algorithm, text) in given
        .into_iter()
        .filter_map(|(algorithm, text)| Some((algorithm, text?)))
    {
        let value = parse_value(algorithm, &text)?;
        match row.checksum {
            Some((expected, _)) if expected == algorithm => checksum = Some(value),
            // Without an algorithm at Create nothing is kept that it could be compared with.
            None => {}
            Some(_) => return Err(error("InvalidPart")),
        }
    }
    Ok(CompletedPart {
        number,
        md5: tag.ok_or_else(|| error("InvalidPart"))?.md5,
        checksum,
    })
}

/// The checksum that the client says the whole object has.
fn expected(headers: &HeaderMap, kind: Option<&str>, row: &UploadRow) -> S3Result<Option<Checksum>> {
    let kind = kind.map(parse_kind).transpose()?;
    if let (Some(kind), Some((_, created))) = (kind, row.checksum)
        && kind != created
    {
        return Err(invalid_request(format!(
            "The upload was created using the {} checksum mode. The complete request must use the same checksum mode.",
            checksums::kind_name(created),
        )));
    }
    let Some((algorithm, created)) = row.checksum else {
        return Ok(None);
    };
    let header = format!("x-amz-checksum-{}", name(algorithm).to_lowercase());
    let Some(text) = headers.get(&header) else {
        return Ok(None);
    };
    let text = text
        .to_str()
        .map_err(|_| invalid_request(format!("Value for {header} header is invalid.")))?;
    if created == ChecksumKind::FullObject && text.contains('-') {
        return Err(invalid_request(format!("Value for {header} header is invalid.")));
    }
    Ok(Some(Checksum {
        algorithm,
        kind: created,
        value: parse_value(algorithm, text)?,
    }))
}

/// `x-amz-mp-object-size`: the named parts must add up to it.
async fn check_size(
    edge: &Edge,
    caller: &Caller,
    bucket: &Bucket,
    key: &[u8],
    id: MultipartId,
    parts: &[CompletedPart],
    expected: i64,
) -> S3Result<()> {
    let (mut total, mut after) = (0_u64, 0);
    loop {
        let page = edge
            .store
            .list_parts(&caller.cx, bucket, key, id, after, PARTS_PAGE)
            .await;
        let (_, rows, more) = page.map_err(from_store)?;
        for row in &rows {
            if parts.binary_search_by_key(&row.number, |part| part.number).is_ok() {
                total = total.saturating_add(row.stream.size);
            }
        }
        match rows.last() {
            Some(last) if more => after = last.number,
            _ => break,
        }
    }
    if u64::try_from(expected) == Ok(total) {
        return Ok(());
    }
    Err(invalid_request(format!(
        "The provided 'x-amz-mp-object-size' header value {expected} does not match what was computed: {total}"
    )))
}

/// CompleteMultipartUpload.
pub(crate) async fn complete(
    edge: &Edge,
    request: S3Request<dto::CompleteMultipartUploadInput>,
) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
    let caller = Caller::of(&request, "CompleteMultipartUpload")?;
    let headers = request.headers;
    let input = request.input;
    let id = upload_id(&input.upload_id)?;
    let condition = caller.conditions.for_write()?;
    let bucket = edge.bucket(&caller, &input.bucket).await?;
    let key = input.key.clone().into_bytes();
    let row = edge
        .store
        .upload(&caller.cx, &bucket, &key, id)
        .await
        .map_err(from_store)?;
    let parts = named_parts(input.multipart_upload.and_then(|upload| upload.parts), &row)?;
    if !parts.is_sorted_by(|a, b| a.number < b.number) {
        return Err(error("InvalidPartOrder"));
    }
    let expected = expected(
        &headers,
        input.checksum_type.as_ref().map(dto::ChecksumType::as_str),
        &row,
    )?;
    if let Some(size) = input.mpu_object_size
        && matches!(row.state, store::UploadState::Open)
    {
        check_size(edge, &caller, &bucket, &key, id, &parts, size).await?;
    }
    let completed = edge
        .store
        .complete_upload(&caller.cx, &bucket, key, id, parts, condition, expected);
    let object = completed.await.map_err(from_store)?.object;
    let path = percent_encoding::utf8_percent_encode(&input.key, percent_encoding::NON_ALPHANUMERIC);
    let mut output = dto::CompleteMultipartUploadOutput {
        checksum_type: object.checksum.as_ref().map(|checksum| kind_dto(checksum.kind)),
        e_tag: Some(etag(&object.etag)),
        location: Some(format!("http://{}/{}/{path}", caller.host, input.bucket)),
        bucket: Some(input.bucket),
        key: Some(input.key.clone()),
        version_id: (!object.null).then(|| version_text(object.seq, false)),
        ..Default::default()
    };
    show_checksum!(output, &object.checksum, object.etag.parts);
    Ok(S3Response::new(output))
}

/// AbortMultipartUpload.
pub(crate) async fn abort(
    edge: &Edge,
    request: S3Request<dto::AbortMultipartUploadInput>,
) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
    let caller = Caller::of(&request, "AbortMultipartUpload")?;
    let input = request.input;
    if input.if_match_initiated_time.is_some() {
        return Err(error_with(
            "NotImplemented",
            "x-amz-if-match-initiated-time is not implemented",
        ));
    }
    let id = upload_id(&input.upload_id)?;
    let bucket = edge.bucket(&caller, &input.bucket).await?;
    edge.store
        .abort_upload(&caller.cx, &bucket, input.key.into_bytes(), id)
        .await
        .map_err(from_store)?;
    Ok(S3Response::with_status(
        dto::AbortMultipartUploadOutput::default(),
        http::StatusCode::NO_CONTENT,
    ))
}
