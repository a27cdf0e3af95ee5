//! DeleteObject and DeleteObjects.

use s3s::dto::{self, DeletedObject, ObjectIdentifier};
use s3s::{S3Error, S3Request, S3Response, S3Result};
use store::{Condition, DeleteOutcome, Key, VersionSelector};

use super::conditions::Conditions;
use super::errors::{error, from_store, not_implemented};
use super::names::{parse_etag, version_selector, version_text};
use super::request::Caller;
use super::service::Edge;

/// Keys of one DeleteObjects (AWS).
const KEYS_MAX: usize = 1000;

/// DeleteObject.
pub(crate) async fn one(
    edge: &Edge,
    request: S3Request<dto::DeleteObjectInput>,
) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
    let caller = Caller::of(&request, "DeleteObject")?;
    let input = request.input;
    let condition = caller.conditions.for_delete()?;
    let selector = version_selector(input.version_id.as_deref())?;
    let bucket = edge.bucket(&caller, &input.bucket).await?;
    let deleted = edge
        .store
        .delete_object(&caller.cx, &bucket, input.key.into_bytes(), selector, condition)
        .await;
    let done = deleted.map_err(from_store)?;
    let shown = done.versioned.then_some(done.version).flatten();
    let output = dto::DeleteObjectOutput {
        delete_marker: done.marker.then_some(true),
        request_charged: None,
        version_id: shown.map(|(seq, null)| version_text(seq, null)).or(input.version_id),
    };
    Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
}

/// What one entry asks.
fn entry(asked: &ObjectIdentifier) -> S3Result<(Key, VersionSelector, Condition)> {
    if asked.last_modified_time.is_some() || asked.size.is_some() {
        return Err(not_implemented("LastModifiedTime and Size in DeleteObjects"));
    }
    if asked.key.len() > store::KEY_BYTES_MAX {
        return Err(error("KeyTooLongError"));
    }
    let condition = match asked.e_tag.as_ref().map(dto::ETag::value) {
        None => Condition::Always,
        Some("*") => Condition::Present,
        Some(tag) => Condition::ETagIn(parse_etag(tag.trim_matches('"')).into_iter().collect()),
    };
    let selector = version_selector(asked.version_id.as_deref().filter(|version| !version.is_empty()))?;
    Ok((asked.key.clone().into_bytes(), selector, condition))
}

fn deleted(asked: &ObjectIdentifier, done: &DeleteOutcome) -> DeletedObject {
    let version = done
        .versioned
        .then_some(done.version)
        .flatten()
        .map(|(seq, null)| version_text(seq, null));
    DeletedObject {
        delete_marker: done.marker.then_some(true),
        delete_marker_version_id: version.filter(|_| done.marker),
        key: Some(asked.key.clone()),
        version_id: asked.version_id.clone(),
    }
}

fn failed(asked: &ObjectIdentifier, cause: &S3Error) -> dto::Error {
    dto::Error {
        code: Some(cause.code().as_str().to_owned()),
        key: Some(asked.key.clone()),
        message: cause.message().map(str::to_owned),
        version_id: asked.version_id.clone(),
    }
}

/// DeleteObjects.
pub(crate) async fn many(
    edge: &Edge,
    request: S3Request<dto::DeleteObjectsInput>,
) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
    let caller = Caller::of(&request, "DeleteObjects")?;
    if caller.conditions != Conditions::default() {
        return Err(not_implemented("conditional headers on DeleteObjects"));
    }
    let dto::Delete { objects, quiet } = request.input.delete;
    if objects.is_empty() || objects.len() > KEYS_MAX {
        return Err(error("MalformedXML"));
    }
    let bucket = edge.bucket(&caller, &request.input.bucket).await?;
    let (mut asked, mut wanted, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for object in objects {
        match entry(&object) {
            Ok(entry) => {
                wanted.push(entry);
                asked.push(object);
            }
            Err(cause) => errors.push(failed(&object, &cause)),
        }
    }
    let done = edge.store.delete_objects(&caller.cx, &bucket, wanted).await;
    let mut gone = Vec::new();
    for (asked, done) in asked.iter().zip(done) {
        match done {
            Ok(done) => gone.push(deleted(asked, &done)),
            Err(cause) => errors.push(failed(asked, &from_store(cause))),
        }
    }
    let quiet = quiet.unwrap_or(false);
    Ok(S3Response::new(dto::DeleteObjectsOutput {
        deleted: (!quiet).then_some(gone),
        errors: (!errors.is_empty()).then_some(errors),
        request_charged: None,
    }))
}
