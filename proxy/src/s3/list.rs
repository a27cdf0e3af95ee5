//! Listings of objects (both versions of the operation) and of multipart uploads.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use s3s::dto::{self, CommonPrefix, EncodingType};
use s3s::{S3Request, S3Response, S3Result};
use store::{Key, ListObjects, ListUploads, MultipartId, ObjectRow, Page, UploadRow};

use super::checksums::{algorithm_dto, kind_dto};
use super::errors::{from_store, invalid_argument};
use super::names::{etag, length, listed, owner, timestamp};
use super::request::Caller;
use super::service::Edge;
use crate::swift::over_s3;

/// The largest page (AWS).
const KEYS_MAX: i32 = 1000;
/// Version of our continuation tokens: its first byte.
const TOKEN_FORMAT: u8 = 1;

/// How many entries a page has: as asked, at most 1000.
pub(crate) fn page_size(asked: Option<i32>, argument: &'static str) -> S3Result<i32> {
    match asked {
        None => Ok(KEYS_MAX),
        Some(0..) => Ok(asked.unwrap_or(KEYS_MAX).min(KEYS_MAX)),
        Some(_) => Err(invalid_argument(format!(
            "Argument {argument} must be an integer between 0 and 2147483647"
        ))),
    }
}

/// Whether keys are shown percent-encoded.
pub(crate) fn url_encoded(asked: Option<&EncodingType>) -> S3Result<bool> {
    match asked.map(EncodingType::as_str) {
        None => Ok(false),
        Some("url") => Ok(true),
        Some(_) => Err(invalid_argument("Invalid Encoding Method specified in Request")),
    }
}

/// An empty delimiter is none.
pub(crate) fn delimiter_bytes(delimiter: Option<&String>) -> Option<Key> {
    delimiter
        .filter(|delimiter| !delimiter.is_empty())
        .map(|delimiter| delimiter.clone().into_bytes())
}

/// Common prefixes for an answer; `None` leaves the element out.
pub(crate) fn prefixes(found: &[Key], url: bool) -> Option<Vec<CommonPrefix>> {
    let shown = found.iter().map(|prefix| CommonPrefix {
        prefix: Some(listed(prefix, url)),
    });
    (!found.is_empty()).then(|| shown.collect())
}

/// The greatest key or common prefix of a page: where the next one begins.
pub(crate) fn last_of<T>(page: &Page<(Key, T)>) -> Option<&Key> {
    let entry = page.entries.last().map(|(key, _)| key);
    entry.max(page.prefixes.last())
}

fn object(key: &[u8], row: ObjectRow, url: bool, with_owner: Option<&Caller>) -> dto::Object {
    let (size, tag) = over_s3::told(&row);
    let checksum = row.checksum.as_ref();
    dto::Object {
        checksum_algorithm: checksum.map(|checksum| vec![algorithm_dto(checksum.algorithm)]),
        checksum_type: checksum.map(|checksum| kind_dto(checksum.kind)),
        e_tag: Some(etag(&tag)),
        key: Some(listed(key, url)),
        last_modified: Some(timestamp(row.modified_ms)),
        owner: with_owner.map(|caller| shown_owner(&row.owner, caller)),
        restore_status: None,
        size: Some(length(size)),
        storage_class: Some(dto::ObjectStorageClass::from_static(dto::ObjectStorageClass::STANDARD)),
    }
}

/// A project as owner: by its name when it is the caller's own, else by its id.
pub(crate) fn shown_owner(project: &str, caller: &Caller) -> dto::Owner {
    let name = if project == caller.project() {
        caller.display_name()
    } else {
        project
    };
    owner(project, name)
}

/// What both listings of objects ask.
struct Asked<'a> {
    bucket: &'a str,
    prefix: Option<&'a String>,
    delimiter: Option<&'a String>,
    after: Option<Key>,
    /// `after` is ListObjectsV2's `start-after`.
    start: bool,
    size: i32,
}

async fn ask(edge: &Edge, caller: &Caller, asked: Asked<'_>) -> S3Result<Page<(Key, ObjectRow)>> {
    let bucket = edge.bucket(caller, asked.bucket).await?;
    if asked.size == 0 {
        return Ok(Page {
            entries: Vec::new(),
            prefixes: Vec::new(),
            more: false,
        });
    }
    let query = ListObjects {
        bucket: bucket.info.id,
        prefix: asked.prefix.cloned().unwrap_or_default().into_bytes(),
        delimiter: delimiter_bytes(asked.delimiter),
        after: asked.after,
        start_after: asked.start,
        limit: usize::try_from(asked.size).unwrap_or(0),
    };
    edge.store
        .list_objects(&caller.cx, &bucket, query)
        .await
        .map_err(from_store)
}

/// ListObjects.
pub(crate) async fn objects(
    edge: &Edge,
    request: S3Request<dto::ListObjectsInput>,
) -> S3Result<S3Response<dto::ListObjectsOutput>> {
    let caller = Caller::of(&request, "ListObjects")?;
    let input = request.input;
    let url = url_encoded(input.encoding_type.as_ref())?;
    let size = page_size(input.max_keys, "maxKeys")?;
    let after = input
        .marker
        .as_ref()
        .filter(|marker| !marker.is_empty())
        .map(|marker| marker.clone().into_bytes());
    let asked = Asked {
        bucket: &input.bucket,
        prefix: input.prefix.as_ref(),
        delimiter: input.delimiter.as_ref(),
        after,
        start: false,
        size,
    };
    let page = ask(edge, &caller, asked).await?;
    // AWS tells the next marker only with a delimiter; without one it is the last key.
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let next = last_of(&page)
        .filter(|_| page.more && delimiter.is_some())
        .map(|key| listed(key, url));
    let encoded = |text: Option<String>| Some(listed(text.unwrap_or_default().as_bytes(), url));
    let prefix = input.prefix.unwrap_or_default();
    // Some clients decode this element and some do not: it is encoded only where decoding would change it.
    let ambiguous = prefix.contains(['%', '+']);
    Ok(S3Response::new(dto::ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(listed(prefix.as_bytes(), url && ambiguous)),
        marker: encoded(input.marker),
        max_keys: Some(size),
        is_truncated: Some(page.more),
        common_prefixes: prefixes(&page.prefixes, url),
        contents: Some(
            page.entries
                .into_iter()
                .map(|(key, row)| object(&key, row, url, Some(&caller)))
                .collect(),
        ),
        delimiter: delimiter.map(|delimiter| listed(delimiter.as_bytes(), url)),
        next_marker: next,
        encoding_type: input.encoding_type,
        request_charged: None,
    }))
}

fn token(key: &[u8]) -> String {
    BASE64.encode([&[TOKEN_FORMAT], key].concat())
}

fn read_token(token: &str) -> S3Result<Key> {
    let wrong = || invalid_argument("The continuation token provided is incorrect");
    let bytes = BASE64.decode(token).map_err(|_| wrong())?;
    match bytes.split_first() {
        Some((&TOKEN_FORMAT, key)) => Ok(key.to_vec()),
        _ => Err(wrong()),
    }
}

/// ListObjectsV2.
pub(crate) async fn objects_v2(
    edge: &Edge,
    request: S3Request<dto::ListObjectsV2Input>,
) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
    let caller = Caller::of(&request, "ListObjectsV2")?;
    let input = request.input;
    let url = url_encoded(input.encoding_type.as_ref())?;
    let size = page_size(input.max_keys, "maxKeys")?;
    let after = match (&input.continuation_token, &input.start_after) {
        (Some(token), _) if !token.is_empty() => Some(read_token(token)?),
        (_, Some(start)) if !start.is_empty() => Some(start.clone().into_bytes()),
        (_, _) => None,
    };
    let asked = Asked {
        bucket: &input.bucket,
        prefix: input.prefix.as_ref(),
        delimiter: input.delimiter.as_ref(),
        after,
        start: input.continuation_token.as_ref().is_none_or(String::is_empty),
        size,
    };
    let page = ask(edge, &caller, asked).await?;
    let next = last_of(&page).filter(|_| page.more).map(|key| token(key));
    let with_owner = input.fetch_owner.unwrap_or(false).then_some(&*caller);
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let count = page.entries.len() + page.prefixes.len();
    Ok(S3Response::new(dto::ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(listed(input.prefix.unwrap_or_default().as_bytes(), url)),
        max_keys: Some(size),
        key_count: i32::try_from(count).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.more),
        next_continuation_token: next,
        common_prefixes: prefixes(&page.prefixes, url),
        contents: Some(
            page.entries
                .into_iter()
                .map(|(key, row)| object(&key, row, url, with_owner))
                .collect(),
        ),
        delimiter: delimiter.map(|delimiter| listed(delimiter.as_bytes(), url)),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(|start| listed(start.as_bytes(), url)),
        request_charged: None,
    }))
}

fn upload(key: &[u8], row: UploadRow, url: bool, caller: &Caller) -> dto::MultipartUpload {
    let owner = shown_owner(&row.owner, caller);
    dto::MultipartUpload {
        checksum_algorithm: row.checksum.map(|(algorithm, _)| algorithm_dto(algorithm)),
        checksum_type: row.checksum.map(|(_, kind)| kind_dto(kind)),
        initiated: Some(timestamp(row.created_ms)),
        initiator: Some(dto::Initiator {
            id: owner.id.clone(),
            display_name: owner.display_name.clone(),
        }),
        key: Some(listed(key, url)),
        owner: Some(owner),
        storage_class: Some(dto::StorageClass::from_static(dto::StorageClass::STANDARD)),
        upload_id: Some(row.id.to_string()),
    }
}

/// ListMultipartUploads.
pub(crate) async fn uploads(
    edge: &Edge,
    request: S3Request<dto::ListMultipartUploadsInput>,
) -> S3Result<S3Response<dto::ListMultipartUploadsOutput>> {
    let caller = Caller::of(&request, "ListMultipartUploads")?;
    let input = request.input;
    let url = url_encoded(input.encoding_type.as_ref())?;
    let size = page_size(input.max_uploads, "max-uploads")?;
    let bucket = edge.bucket(&caller, &input.bucket).await?;
    let key_marker = input.key_marker.clone().filter(|marker| !marker.is_empty());
    // Without a key the upload marker means nothing (AWS ignores it then).
    let id_marker = input
        .upload_id_marker
        .clone()
        .filter(|marker| !marker.is_empty() && key_marker.is_some());
    let after_upload = match &id_marker {
        Some(marker) => Some(
            marker
                .parse::<MultipartId>()
                .map_err(|_| invalid_argument("Invalid uploadId marker"))?,
        ),
        None => None,
    };
    let query = ListUploads {
        bucket: bucket.info.id,
        prefix: input.prefix.clone().unwrap_or_default().into_bytes(),
        delimiter: delimiter_bytes(input.delimiter.as_ref()),
        after: key_marker.map(String::into_bytes),
        after_upload,
        limit: usize::try_from(size).unwrap_or(0),
    };
    let page = if size == 0 {
        Page {
            entries: Vec::new(),
            prefixes: Vec::new(),
            more: false,
        }
    } else {
        edge.store
            .list_uploads(&caller.cx, &bucket, query)
            .await
            .map_err(from_store)?
    };
    let last = last_of(&page).filter(|_| page.more);
    let last_upload = page
        .entries
        .last()
        .filter(|(key, _)| last == Some(key))
        .map(|(_, row)| row.id.to_string());
    let encoded = |text: Option<String>| Some(listed(text.unwrap_or_default().as_bytes(), url));
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    Ok(S3Response::new(dto::ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: prefixes(&page.prefixes, url),
        delimiter: delimiter.map(|delimiter| listed(delimiter.as_bytes(), url)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.more),
        key_marker: encoded(input.key_marker),
        max_uploads: Some(size),
        next_key_marker: last.map(|key| listed(key, url)),
        next_upload_id_marker: last_upload,
        prefix: encoded(input.prefix),
        request_charged: None,
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        uploads: Some(
            page.entries
                .into_iter()
                .map(|(key, row)| upload(&key, row, url, &caller))
                .collect(),
        ),
    }))
}
