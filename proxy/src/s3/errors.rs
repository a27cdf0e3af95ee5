//! What clients are told: one table from the store's errors to S3's codes, and AWS's text for each code.

use s3s::{S3Error, S3ErrorCode};
use store::StoreError;

use super::names::version_text;

/// An error under one of S3's codes, with AWS's text for it.
pub(crate) fn error(code: &'static str) -> S3Error {
    error_with(code, message(code))
}

/// An error with a text of its own.
pub(crate) fn error_with(code: &'static str, text: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    let code: S3ErrorCode = code
        .parse()
        .unwrap_or_else(|never: std::convert::Infallible| match never {});
    let status = status(code.as_str());
    let mut error = S3Error::with_message(code, text);
    if let Some(status) = status {
        error.set_status_code(status);
    }
    error
}

/// The status of the codes that s3s does not know, or knows with another status than AWS gives.
fn status(code: &str) -> Option<http::StatusCode> {
    use http::StatusCode as S;
    Some(match code {
        "NotModified" => S::NOT_MODIFIED,
        "AccessForbidden" | "InvalidChunkSizeError" => S::FORBIDDEN,
        "InvalidPartNumber" => S::RANGE_NOT_SATISFIABLE,
        "SlowDown" | "ServiceUnavailable" => S::SERVICE_UNAVAILABLE,
        "XAmzContentSHA256Mismatch"
        | "MalformedTrailerError"
        | "InvalidDigest"
        | "BadDigest"
        | "InvalidTag"
        | "MaxMessageLengthExceeded"
        | "InvalidStorageClass"
        | "RequestHeaderSectionTooLarge"
        | "MalformedPOSTRequest"
        | "MaxPostPreDataLengthExceededError"
        | "InvalidPolicyDocument"
        | "BadRequest" => S::BAD_REQUEST,
        "NoSuchPublicAccessBlockConfiguration"
        | "NoSuchLifecycleConfiguration"
        | "NoSuchCORSConfiguration"
        | "NoSuchTagSet"
        | "ReplicationConfigurationNotFoundError"
        | "NoSuchConfiguration"
        | "ObjectLockConfigurationNotFoundError"
        | "ServerSideEncryptionConfigurationNotFoundError"
        | "OwnershipControlsNotFoundError" => S::NOT_FOUND,
        "NoSuchObjectLockConfiguration" => S::NOT_FOUND,
        _ => return None,
    })
}

/// The table: every error of the store, once.
pub(crate) fn from_store(store_error: StoreError) -> S3Error {
    match store_error {
        StoreError::NoSuchBucket => error("NoSuchBucket"),
        StoreError::NoSuchKey => error("NoSuchKey"),
        StoreError::NoSuchVersion => error("NoSuchVersion"),
        StoreError::DeleteMarker {
            seq,
            null,
            modified_ms,
            latest,
        } => delete_marker(&version_text(seq, null), modified_ms, latest),
        StoreError::NoSuchUpload => error("NoSuchUpload"),
        StoreError::PreconditionFailed => error("PreconditionFailed"),
        StoreError::BucketTaken => error("BucketAlreadyExists"),
        StoreError::BucketNotEmpty => error("BucketNotEmpty"),
        StoreError::BucketBusy => error("OperationAborted"),
        StoreError::InvalidPart(_) => error("InvalidPart"),
        StoreError::InvalidPartOrder => error("InvalidPartOrder"),
        StoreError::EntityTooSmall { .. } => error("EntityTooSmall"),
        StoreError::EntityTooLarge => error("EntityTooLarge"),
        StoreError::BadDigest => error("BadDigest"),
        StoreError::InvalidRange => error_with(
            "InvalidArgument",
            "Range specified is not valid for source object of its size",
        ),
        StoreError::InvalidRequest(why) => error_with("InvalidRequest", why),
        StoreError::InvalidState(why) => error_with("InvalidBucketState", why),
        StoreError::IncompleteBody => error("IncompleteBody"),
        StoreError::Rejected(rejected) => error(rejected.0),
        StoreError::Body(body) => error_with(body.code, body.message),
        StoreError::SlowDown => error("SlowDown"),
        StoreError::Unavailable(why) => {
            tracing::warn!(why, "the cluster did not answer in time");
            error("ServiceUnavailable")
        }
        StoreError::RecordConflict { .. } => error("OperationAborted"),
        StoreError::Lost => {
            tracing::error!("no good copy of an object's bytes is left");
            error("InternalError")
        }
        StoreError::Internal(why) => {
            tracing::error!(why, "the store broke a rule");
            error("InternalError")
        }
    }
}

/// 404 for a key whose newest version is a delete marker, 405 when the marker itself was named; both tell that it is one.
fn delete_marker(version: &str, modified_ms: Option<u64>, latest: bool) -> S3Error {
    let mut error = error(if latest { "NoSuchKey" } else { "MethodNotAllowed" });
    let mut headers = http::HeaderMap::new();
    headers.insert("x-amz-delete-marker", http::HeaderValue::from_static("true"));
    if let Ok(version) = version.parse() {
        headers.insert("x-amz-version-id", version);
    }
    if !latest {
        headers.insert(http::header::ALLOW, http::HeaderValue::from_static("DELETE"));
        if let Some(Ok(date)) = modified_ms.map(|at| super::names::http_date(at).parse()) {
            headers.insert(http::header::LAST_MODIFIED, date);
        }
    }
    error.set_headers(headers);
    error
}

/// 501: what is asked for does not exist here yet, and is refused rather than ignored (CON-3).
pub(crate) fn not_implemented(what: &str) -> S3Error {
    error_with(
        "NotImplemented",
        format!("A header or parameter you provided implies functionality that is not implemented: {what}"),
    )
}

/// 400 InvalidArgument.
pub(crate) fn invalid_argument(text: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    error_with("InvalidArgument", text)
}

/// 400 InvalidRequest.
pub(crate) fn invalid_request(text: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    error_with("InvalidRequest", text)
}

/// The text for a code, as AWS words it; for codes that are told without one.
pub(crate) fn message(code: &str) -> &'static str {
    match code {
        "AccessDenied" => "Access Denied",
        "AccessForbidden" => "CORSResponse: This CORS request is not allowed.",
        "BadDigest" => "The Content-MD5 or checksum you specified did not match what we received.",
        "BucketAlreadyExists" => {
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Select a different name and try again."
        }
        "BucketNotEmpty" => "The bucket you tried to delete is not empty.",
        "EntityTooLarge" => "Your proposed upload exceeds the maximum allowed object size.",
        "EntityTooSmall" => "Your proposed upload is smaller than the minimum allowed object size.",
        "IncompleteBody" => "You did not provide the number of bytes specified by the Content-Length HTTP header.",
        "InternalError" => "We encountered an internal error. Please try again.",
        "InvalidAccessKeyId" => "The access key ID you provided does not exist in our records.",
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidDigest" => "The Content-MD5 you specified was invalid.",
        "InvalidPart" => {
            "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not have matched the part's entity tag."
        }
        "InvalidPartNumber" => "The requested partnumber is not satisfiable",
        "InvalidPartOrder" => "The list of parts was not in ascending order. Parts must be ordered by part number.",
        "InvalidRange" => "The requested range is not satisfiable",
        "InvalidToken" => "The provided token is malformed or otherwise not valid.",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long",
        "MalformedTrailerError" => {
            "The request contained trailing data that was not well-formed or did not conform to our published schema."
        }
        "MalformedXML" => "The XML you provided was not well-formed or did not validate against our published schema",
        "MaxMessageLengthExceeded" => "Your request was too big.",
        "MetadataTooLarge" => "Your metadata headers exceed the maximum allowed metadata size",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "MissingRequestBodyError" => "Request Body is empty",
        "NoSuchBucket" => "The specified bucket does not exist",
        "NoSuchBucketPolicy" => "The bucket policy does not exist",
        "NoSuchCORSConfiguration" => "The CORS configuration does not exist",
        "NoSuchKey" => "The specified key does not exist.",
        "NoSuchLifecycleConfiguration" => "The lifecycle configuration does not exist",
        "NoSuchObjectLockConfiguration" => "The specified object does not have a ObjectLock configuration",
        "NoSuchPublicAccessBlockConfiguration" => "The public access block configuration was not found",
        "NoSuchTagSet" => "The TagSet does not exist",
        "NoSuchUpload" => {
            "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
        }
        "NoSuchVersion" => "The specified version does not exist.",
        "NoSuchWebsiteConfiguration" => "The specified bucket does not have a website configuration",
        "NotImplemented" => "A header or query you provided implies functionality that is not implemented.",
        "ObjectLockConfigurationNotFoundError" => "Object Lock configuration does not exist for this bucket",
        "OperationAborted" => {
            "A conflicting conditional operation is currently in progress against this resource. Please try again."
        }
        "OwnershipControlsNotFoundError" => "The bucket ownership controls were not found",
        "PreconditionFailed" => "At least one of the pre-conditions you specified did not hold",
        "ReplicationConfigurationNotFoundError" => "The replication configuration was not found",
        "RequestHeaderSectionTooLarge" => {
            "Your request header section exceeds the maximum allowed request header section size."
        }
        "RequestTimeout" => {
            "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed."
        }
        "RequestTimeTooSkewed" => "The difference between the request time and the current time is too large.",
        "ServerSideEncryptionConfigurationNotFoundError" => "The server side encryption configuration was not found",
        "ServiceUnavailable" => "Service is unable to handle request.",
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing method."
        }
        "SlowDown" => "Please reduce your request rate.",
        "XAmzContentSHA256Mismatch" => "The provided 'x-amz-content-sha256' header does not match what was computed.",
        _ => "The request could not be served.",
    }
}
