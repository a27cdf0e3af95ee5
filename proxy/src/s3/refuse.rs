//! CON-3: what a request asks for and this edge does not do is refused, never ignored.

use http::{HeaderMap, Method};
use s3s::S3Result;
use store::AWS_CLASSES;

use super::errors::{error_with, invalid_argument, not_implemented};
use super::query::Query;

/// Headers that change what a request means, by the beginning of their names; none of them is implemented.
const HEADERS: [&str; 17] = [
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-object-lock-",
    "x-amz-website-redirect-location",
    "x-amz-grant-",
    "x-amz-mfa",
    "x-amz-request-payer",
    "x-amz-write-offset-bytes",
    "x-amz-if-",
    "x-amz-rename-",
    "x-amz-delete-if-",
    "x-amz-create-session-mode",
    "x-amz-fwd-",
    "x-amz-request-route",
    "x-amz-outpost-id",
    "x-amz-object-annotation",
    "content-range",
];

/// Canned ACLs that AWS has; the first two leave an object private to its owner, which is all there is here.
const ACLS: [&str; 8] = [
    "private",
    "bucket-owner-full-control",
    "bucket-owner-read",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "log-delivery-write",
];

/// Every sub-resource of S3, with the methods on a bucket and on an object for which s3s finds an operation. Others
/// would be taken for the plain operation: `DELETE /bucket?policyStatus` must not delete the bucket.
const SUBRESOURCES: [(&str, &str, &str); 42] = [
    ("abac", "", ""),
    ("accelerate", "GET PUT", ""),
    ("acl", "GET PUT", "GET PUT"),
    ("analytics", "GET PUT DELETE", ""),
    ("annotation", "", ""),
    ("append", "", ""),
    ("attributes", "", "GET"),
    ("cors", "GET PUT DELETE", ""),
    ("delete", "POST", ""),
    ("encryption", "GET PUT DELETE", ""),
    ("intelligent-tiering", "GET PUT DELETE", ""),
    ("inventory", "GET PUT DELETE", ""),
    ("legal-hold", "", "GET PUT"),
    ("lifecycle", "GET PUT DELETE", ""),
    ("location", "GET", ""),
    ("logging", "GET PUT", ""),
    ("metadataConfiguration", "", ""),
    ("metadataInventoryTable", "", ""),
    ("metadataJournalTable", "", ""),
    ("metadataTable", "GET POST DELETE", ""),
    ("metrics", "GET PUT DELETE", ""),
    ("notification", "GET PUT", ""),
    ("object-lock", "GET PUT", ""),
    ("ownershipControls", "GET PUT DELETE", ""),
    ("policy", "GET PUT DELETE", ""),
    ("policyStatus", "GET", ""),
    ("publicAccessBlock", "GET PUT DELETE", ""),
    ("renameObject", "", ""),
    ("replication", "GET PUT DELETE", ""),
    ("requestPayment", "GET PUT", ""),
    ("restore", "", "POST"),
    ("retention", "", "GET PUT"),
    ("select", "", "POST"),
    ("session", "GET", ""),
    ("tagging", "GET PUT DELETE", "GET PUT DELETE"),
    ("torrent", "", "GET"),
    ("uploadId", "", "GET PUT POST DELETE"),
    ("uploads", "GET", "POST"),
    ("versioning", "GET PUT", ""),
    ("versions", "GET", ""),
    ("website", "GET PUT DELETE", ""),
    ("x-amz-append-position", "", ""),
];

/// Refuses what is not implemented.
pub(crate) fn check(method: &Method, has_key: bool, query: &Query, headers: &HeaderMap) -> S3Result<()> {
    subresources(method, has_key, query)?;
    for name in headers.keys() {
        if HEADERS.iter().any(|refused| name.as_str().starts_with(refused)) {
            return Err(not_implemented(name.as_str()));
        }
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text("x-amz-bucket-object-lock-enabled").is_some_and(|value| !value.eq_ignore_ascii_case("false")) {
        return Err(not_implemented("x-amz-bucket-object-lock-enabled"));
    }
    if text("x-amz-object-ownership").is_some_and(|value| value != "BucketOwnerEnforced") {
        return Err(not_implemented("x-amz-object-ownership"));
    }
    if text("x-amz-security-token").is_some() {
        return Err(super::errors::error("InvalidToken"));
    }
    acl(text("x-amz-acl"))?;
    // On a bucket it names a storage policy, see `buckets::create`.
    let is_subresource = |name: &str| SUBRESOURCES.iter().any(|row| row.0 == name);
    let creates_bucket = *method == Method::PUT && !has_key && !query.pairs().any(|(name, _)| is_subresource(name));
    if creates_bucket {
        return Ok(());
    }
    storage_class(text("x-amz-storage-class"))
}

fn subresources(method: &Method, has_key: bool, query: &Query) -> S3Result<()> {
    for (name, _) in query.pairs() {
        let Some((_, bucket, object)) = SUBRESOURCES.iter().find(|row| row.0 == name) else {
            continue;
        };
        let methods = if has_key { object } else { bucket };
        if !methods.split(' ').any(|allowed| allowed == method.as_str()) && *method != Method::HEAD {
            return Err(not_implemented(name));
        }
    }
    if *method == Method::PUT && has_key && query.has("uploadId") != query.has("partNumber") {
        return Err(invalid_argument("This operation takes both partNumber and uploadId."));
    }
    Ok(())
}

/// Only what leaves everything private is accepted.
pub(crate) fn acl(value: Option<&str>) -> S3Result<()> {
    match value {
        None | Some("private" | "bucket-owner-full-control") => Ok(()),
        Some(known) if ACLS.contains(&known) => Err(not_implemented(&format!("x-amz-acl: {known}"))),
        Some(_) => Err(invalid_argument("The canned ACL is not known.")),
    }
}

fn storage_class(value: Option<&str>) -> S3Result<()> {
    match value {
        None | Some("STANDARD") => Ok(()),
        Some(known) if AWS_CLASSES.contains(&known) => Err(not_implemented(&format!("x-amz-storage-class: {known}"))),
        Some(_) => Err(error_with(
            "InvalidStorageClass",
            "The storage class you specified is not valid",
        )),
    }
}

#[cfg(test)]
#[path = "refuse_tests.rs"]
mod tests;
