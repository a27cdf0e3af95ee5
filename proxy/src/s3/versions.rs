//! Versioning: the bucket's state, and the listing of all versions and delete markers.

use s3s::dto::{self, BucketVersioningStatus};
use s3s::{S3Request, S3Response, S3Result};
use store::{Bucket, Key, ListVersions, Page, Seq, VersionFound, VersionSelector, Versioning};

use super::checksums::{algorithm_dto, kind_dto};
use super::errors::{error, from_store, invalid_argument, not_implemented};
use super::list::{delimiter_bytes, last_of, page_size, prefixes, shown_owner, url_encoded};
use super::names::{etag, length, listed, parse_seq, timestamp, version_text};
use super::request::Caller;
use super::service::Edge;
use crate::swift::over_s3;

/// GetBucketVersioning.
pub(crate) async fn get(
    edge: &Edge,
    request: S3Request<dto::GetBucketVersioningInput>,
) -> S3Result<S3Response<dto::GetBucketVersioningOutput>> {
    let caller = Caller::of(&request, "GetBucketVersioning")?;
    let bucket = edge.bucket(&caller, &request.input.bucket).await?;
    let (config, _) = edge.store.bucket_state(&caller.cx, &bucket).await.map_err(from_store)?;
    let status = match config.versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED)),
        Versioning::Suspended => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::SUSPENDED)),
    };
    Ok(S3Response::new(dto::GetBucketVersioningOutput {
        mfa_delete: None,
        status,
    }))
}

/// PutBucketVersioning.
pub(crate) async fn put(
    edge: &Edge,
    request: S3Request<dto::PutBucketVersioningInput>,
) -> S3Result<S3Response<dto::PutBucketVersioningOutput>> {
    let caller = Caller::of(&request, "PutBucketVersioning")?;
    let configuration = request.input.versioning_configuration;
    if configuration
        .mfa_delete
        .is_some_and(|given| given.as_str() != "Disabled")
    {
        return Err(not_implemented("MfaDelete"));
    }
    let versioning = match configuration.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        Some(_) => return Err(error("MalformedXML")),
        None => {
            return Err(super::errors::error_with(
                "IllegalVersioningConfigurationException",
                "The Versioning element must be specified",
            ));
        }
    };
    let bucket = edge.bucket(&caller, &request.input.bucket).await?;
    edge.store
        .set_versioning(&caller.cx, &bucket, versioning)
        .await
        .map_err(from_store)?;
    Ok(S3Response::new(dto::PutBucketVersioningOutput {}))
}

/// Where a page of versions begins within its key. The markers we give name the version's place also for null versions;
/// `null` itself is looked up.
async fn version_marker(
    edge: &Edge,
    caller: &Caller,
    bucket: &Bucket,
    key: Option<&Key>,
    marker: Option<&str>,
) -> S3Result<Option<Seq>> {
    let Some(marker) = marker.filter(|marker| !marker.is_empty()) else {
        return Ok(None);
    };
    let Some(key) = key else {
        return Err(invalid_argument(
            "A version-id marker cannot be specified without a key marker.",
        ));
    };
    if marker == "null" {
        let head = edge.store.object(&caller.cx, bucket, key, VersionSelector::Null).await;
        return Ok(head.ok().map(|head| head.object.seq));
    }
    parse_seq(marker)
        .map(Some)
        .ok_or_else(|| invalid_argument("Invalid version id specified"))
}

fn place(found: &VersionFound) -> Seq {
    match found {
        VersionFound::Object { object, .. } => object.seq,
        VersionFound::Marker { marker, .. } => marker.seq,
    }
}

/// Versions and delete markers, apart, as S3 shows them.
fn split(
    page: Page<(Key, VersionFound)>,
    url: bool,
    caller: &Caller,
) -> (Vec<dto::ObjectVersion>, Vec<dto::DeleteMarkerEntry>) {
    let (mut versions, mut markers) = (Vec::new(), Vec::new());
    for (key, found) in page.entries {
        match found {
            VersionFound::Object { object, latest } => versions.push({
                let (size, tag) = over_s3::told(&object);
                dto::ObjectVersion {
                    checksum_algorithm: object
                        .checksum
                        .as_ref()
                        .map(|checksum| vec![algorithm_dto(checksum.algorithm)]),
                    checksum_type: object.checksum.as_ref().map(|checksum| kind_dto(checksum.kind)),
                    e_tag: Some(etag(&tag)),
                    is_latest: Some(latest),
                    key: Some(listed(&key, url)),
                    last_modified: Some(timestamp(object.modified_ms)),
                    owner: Some(shown_owner(&object.owner, caller)),
                    restore_status: None,
                    size: Some(length(size)),
                    storage_class: Some(dto::ObjectVersionStorageClass::from_static(
                        dto::ObjectVersionStorageClass::STANDARD,
                    )),
                    version_id: Some(version_text(object.seq, object.null)),
                }
            }),
            VersionFound::Marker { marker, latest } => markers.push(dto::DeleteMarkerEntry {
                is_latest: Some(latest),
                key: Some(listed(&key, url)),
                last_modified: Some(timestamp(marker.modified_ms)),
                owner: Some(shown_owner(&marker.owner, caller)),
                version_id: Some(version_text(marker.seq, marker.null)),
            }),
        }
    }
    (versions, markers)
}

/// ListObjectVersions.
pub(crate) async fn list(
    edge: &Edge,
    request: S3Request<dto::ListObjectVersionsInput>,
) -> S3Result<S3Response<dto::ListObjectVersionsOutput>> {
    let caller = Caller::of(&request, "ListObjectVersions")?;
    let input = request.input;
    let url = url_encoded(input.encoding_type.as_ref())?;
    let size = page_size(input.max_keys, "maxKeys")?;
    let bucket = edge.bucket(&caller, &input.bucket).await?;
    let after: Option<Key> = input
        .key_marker
        .clone()
        .filter(|key| !key.is_empty())
        .map(String::into_bytes);
    let after_version = version_marker(
        edge,
        &caller,
        &bucket,
        after.as_ref(),
        input.version_id_marker.as_deref(),
    )
    .await?;
    let query = ListVersions {
        bucket: bucket.info.id,
        prefix: input.prefix.clone().unwrap_or_default().into_bytes(),
        delimiter: delimiter_bytes(input.delimiter.as_ref()),
        after,
        after_version,
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
            .list_versions(&caller.cx, &bucket, query)
            .await
            .map_err(from_store)?
    };
    let last = last_of(&page).filter(|_| page.more);
    let next_key = last.map(|key| listed(key, url));
    let next_version = page
        .entries
        .last()
        .filter(|(key, _)| last == Some(key))
        .map(|(_, found)| place(found));
    let encoded = |text: Option<String>| Some(listed(text.unwrap_or_default().as_bytes(), url));
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let (truncated, common_prefixes) = (page.more, prefixes(&page.prefixes, url));
    let (versions, markers) = split(page, url, &caller);
    Ok(S3Response::new(dto::ListObjectVersionsOutput {
        common_prefixes,
        delete_markers: Some(markers),
        delimiter: delimiter.map(|delimiter| listed(delimiter.as_bytes(), url)),
        encoding_type: input.encoding_type,
        is_truncated: Some(truncated),
        key_marker: encoded(input.key_marker),
        max_keys: Some(size),
        name: Some(input.bucket),
        next_key_marker: next_key,
        next_version_id_marker: next_version.map(|seq| version_text(seq, false)),
        prefix: encoded(input.prefix),
        request_charged: None,
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        versions: Some(versions),
    }))
}
