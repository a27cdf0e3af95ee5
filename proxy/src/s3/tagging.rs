//! Tags of objects and buckets: read from XML and from the `x-amz-tagging` header, checked against AWS's limits, kept.

use bytes::Bytes;
use s3s::dto::{self, Tag, Tagging};
use s3s::{S3Request, S3Response, S3Result};
use store::Attributes;

use super::errors::{error, error_with, from_store, invalid_argument};
use super::names::{version_selector, version_text};
use super::request::Caller;
use super::service::Edge;

/// Tags of one object (AWS).
const OBJECT_TAGS_MAX: usize = 10;
/// Tags of one bucket (AWS).
const BUCKET_TAGS_MAX: usize = 50;
/// Characters of a tag's key (AWS counts UTF-16).
const KEY_CHARS_MAX: usize = 128;
/// Characters of a tag's value.
const VALUE_CHARS_MAX: usize = 256;
/// The bucket document that holds the tags: `[[key, value], …]` in JSON.
const DOCUMENT: &str = "tagging";

/// Checks tags against the limits; `max` of them.
fn checked(tags: Attributes, max: usize) -> S3Result<Attributes> {
    if tags.len() > max {
        return Err(error_with(
            "InvalidTag",
            format!("Object tags cannot be greater than {max}"),
        ));
    }
    for (at, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.encode_utf16().count() > KEY_CHARS_MAX {
            return Err(error_with("InvalidTag", "The TagKey you have provided is invalid"));
        }
        if value.encode_utf16().count() > VALUE_CHARS_MAX {
            return Err(error_with("InvalidTag", "The TagValue you have provided is invalid"));
        }
        if key.starts_with("aws:") {
            return Err(error_with(
                "InvalidTag",
                "System tags cannot be added/updated by requester",
            ));
        }
        if tags[..at].iter().any(|(earlier, _)| earlier == key) {
            return Err(error_with(
                "InvalidTag",
                "Cannot provide multiple Tags with the same key",
            ));
        }
    }
    Ok(tags)
}

/// Reads the `x-amz-tagging` header: a URL query.
pub(crate) fn from_header(text: Option<&str>) -> S3Result<Attributes> {
    let Some(text) = text else { return Ok(Attributes::new()) };
    let malformed = || {
        invalid_argument(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
        )
    };
    let mut tags = Attributes::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        tags.push((
            decoded(key).ok_or_else(malformed)?,
            decoded(value).ok_or_else(malformed)?,
        ));
    }
    let repeated = tags
        .iter()
        .enumerate()
        .any(|(at, (key, _))| tags[..at].iter().any(|(earlier, _)| earlier == key));
    if repeated {
        return Err(malformed());
    }
    tags.sort_unstable();
    checked(tags, OBJECT_TAGS_MAX)
}

fn decoded(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_encoding::percent_decode_str(&text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

fn from_document(tagging: Tagging, max: usize) -> S3Result<Attributes> {
    let pair = |tag: Tag| {
        Ok((
            tag.key.ok_or_else(|| error("MalformedXML"))?,
            tag.value.unwrap_or_default(),
        ))
    };
    checked(tagging.tag_set.into_iter().map(pair).collect::<S3Result<_>>()?, max)
}

fn to_set(tags: Attributes) -> Vec<Tag> {
    tags.into_iter()
        .map(|(key, value)| Tag {
            key: Some(key),
            value: Some(value),
        })
        .collect()
}

/// GetObjectTagging.
pub(crate) async fn get_object(
    edge: &Edge,
    request: S3Request<dto::GetObjectTaggingInput>,
) -> S3Result<S3Response<dto::GetObjectTaggingOutput>> {
    let caller = Caller::of(&request, "GetObjectTagging")?;
    let input = request.input;
    let bucket = edge.bucket(&caller, &input.bucket).await?;
    let selector = version_selector(input.version_id.as_deref())?;
    let head = edge
        .store
        .object(&caller.cx, &bucket, input.key.as_bytes(), selector)
        .await
        .map_err(from_store)?;
    let version_id = head.versioned.then(|| version_text(head.object.seq, head.object.null));
    Ok(S3Response::new(dto::GetObjectTaggingOutput {
        tag_set: to_set(head.object.tags),
        version_id,
    }))
}

/// PutObjectTagging and, without tags, DeleteObjectTagging.
async fn set_object(
    edge: &Edge,
    caller: &Caller,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    tags: Attributes,
) -> S3Result<Option<String>> {
    let bucket = edge.bucket(caller, bucket).await?;
    let selector = version_selector(version)?;
    let set = edge
        .store
        .set_tags(&caller.cx, &bucket, key.as_bytes().to_vec(), selector, tags);
    set.await.map_err(from_store)?;
    Ok(version.map(str::to_owned))
}

/// PutObjectTagging.
pub(crate) async fn put_object(
    edge: &Edge,
    request: S3Request<dto::PutObjectTaggingInput>,
) -> S3Result<S3Response<dto::PutObjectTaggingOutput>> {
    let caller = Caller::of(&request, "PutObjectTagging")?;
    let input = request.input;
    let tags = from_document(input.tagging, OBJECT_TAGS_MAX)?;
    let version_id = set_object(
        edge,
        &caller,
        &input.bucket,
        &input.key,
        input.version_id.as_deref(),
        tags,
    )
    .await?;
    Ok(S3Response::new(dto::PutObjectTaggingOutput { version_id }))
}

/// DeleteObjectTagging.
pub(crate) async fn delete_object(
    edge: &Edge,
    request: S3Request<dto::DeleteObjectTaggingInput>,
) -> S3Result<S3Response<dto::DeleteObjectTaggingOutput>> {
    let caller = Caller::of(&request, "DeleteObjectTagging")?;
    let input = request.input;
    let none = Attributes::new();
    let version_id = set_object(
        edge,
        &caller,
        &input.bucket,
        &input.key,
        input.version_id.as_deref(),
        none,
    )
    .await?;
    Ok(S3Response::new(dto::DeleteObjectTaggingOutput { version_id }))
}

/// GetBucketTagging.
pub(crate) async fn get_bucket(
    edge: &Edge,
    request: S3Request<dto::GetBucketTaggingInput>,
) -> S3Result<S3Response<dto::GetBucketTaggingOutput>> {
    let caller = Caller::of(&request, "GetBucketTagging")?;
    let document = edge.document(&caller, &request.input.bucket, DOCUMENT).await?;
    let document = document.ok_or_else(|| error("NoSuchTagSet"))?;
    let tags: Attributes = serde_json::from_slice(&document).map_err(|_| error("InternalError"))?;
    Ok(S3Response::new(dto::GetBucketTaggingOutput { tag_set: to_set(tags) }))
}

/// PutBucketTagging.
pub(crate) async fn put_bucket(
    edge: &Edge,
    request: S3Request<dto::PutBucketTaggingInput>,
) -> S3Result<S3Response<dto::PutBucketTaggingOutput>> {
    let caller = Caller::of(&request, "PutBucketTagging")?;
    let tags = from_document(request.input.tagging, BUCKET_TAGS_MAX)?;
    let document = serde_json::to_vec(&tags).map_err(|_| error("InternalError"))?;
    edge.set_document(&caller, &request.input.bucket, DOCUMENT, Some(Bytes::from(document)))
        .await?;
    let no_content = http::StatusCode::NO_CONTENT;
    Ok(S3Response::with_status(dto::PutBucketTaggingOutput {}, no_content))
}

/// DeleteBucketTagging.
pub(crate) async fn delete_bucket(
    edge: &Edge,
    request: S3Request<dto::DeleteBucketTaggingInput>,
) -> S3Result<S3Response<dto::DeleteBucketTaggingOutput>> {
    let caller = Caller::of(&request, "DeleteBucketTagging")?;
    edge.set_document(&caller, &request.input.bucket, DOCUMENT, None)
        .await?;
    Ok(S3Response::new(dto::DeleteBucketTaggingOutput {}))
}

/// For the fuzzer.
pub fn fuzz(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return "no text".to_owned();
    };
    match from_header(Some(text)) {
        Ok(tags) => {
            assert!(tags.len() <= OBJECT_TAGS_MAX, "the limits hold");
            format!("{} tags", tags.len())
        }
        Err(refused) => refused.message().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
#[path = "tagging_tests.rs"]
mod tests;
