//! Buckets: made, listed, looked at, deleted.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::HeaderMap;
use s3s::dto::{self, BucketLocationConstraint, CreateBucketConfiguration};
use s3s::{S3Request, S3Response, S3Result};
use store::{Bucket, BucketInfo, Created, ListUploads, PolicyId, StoreError};

use super::errors::{error, error_with, from_store, invalid_argument, not_implemented};
use super::names::{owner, timestamp};
use super::request::Caller;
use super::service::Edge;

/// The region whose name is no location constraint, and in which making one's own bucket again succeeds.
const DEFAULT_REGION: &str = "us-east-1";
/// The largest page a client may ask for (AWS).
const BUCKETS_MAX: i32 = 10_000;
/// Buckets asked for in one round.
const PAGE: usize = 1000;

/// ListBuckets.
pub(crate) async fn list(
    edge: &Edge,
    request: S3Request<dto::ListBucketsInput>,
) -> S3Result<S3Response<dto::ListBucketsOutput>> {
    let caller = Caller::of(&request, "ListBuckets")?;
    let input = request.input;
    let limit = match input.max_buckets {
        None => usize::MAX,
        Some(max @ 1..=BUCKETS_MAX) => usize::try_from(max).unwrap_or(PAGE),
        Some(_) => {
            return Err(invalid_argument(
                "Argument max-buckets must be an integer between 1 and 10000",
            ));
        }
    };
    let after = input.continuation_token.as_deref().map(read_token).transpose()?;
    let elsewhere = input
        .bucket_region
        .as_ref()
        .is_some_and(|region| region.as_str() != &*edge.region);
    let prefix = input.prefix.clone().unwrap_or_default();
    let (found, more) = if elsewhere {
        (Vec::new(), false)
    } else {
        page(edge, &caller, after, prefix, limit).await?
    };
    let next = found.last().filter(|_| more).map(|bucket| BASE64.encode(&bucket.name));
    let paged = input.max_buckets.is_some();
    let shown = |bucket: BucketInfo| dto::Bucket {
        bucket_region: paged.then(|| edge.region.to_string()),
        creation_date: Some(timestamp(bucket.created_ms)),
        name: Some(bucket.name),
    };
    Ok(S3Response::new(dto::ListBucketsOutput {
        buckets: Some(found.into_iter().map(shown).collect()),
        continuation_token: next,
        owner: Some(owner(caller.project(), caller.display_name())),
        prefix: input.prefix,
    }))
}

fn read_token(token: &str) -> S3Result<String> {
    let name = BASE64
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(|| invalid_argument("The continuation token provided is incorrect"))
}

/// At most `limit` buckets, gathered from as many rounds as that takes.
async fn page(
    edge: &Edge,
    caller: &Caller,
    mut after: Option<String>,
    prefix: String,
    limit: usize,
) -> S3Result<(Vec<BucketInfo>, bool)> {
    let mut found: Vec<BucketInfo> = Vec::new();
    loop {
        let want = PAGE.min(limit - found.len());
        let round = edge
            .store
            .list_buckets(&caller.cx, after.take(), prefix.clone(), want)
            .await;
        let (buckets, more) = round.map_err(from_store)?;
        found.extend(buckets);
        if !more || found.len() >= limit {
            return Ok((found, more));
        }
        after = found.last().map(|bucket| bucket.name.clone());
    }
}

fn check_location(edge: &Edge, configuration: Option<&CreateBucketConfiguration>) -> S3Result<()> {
    let Some(configuration) = configuration else {
        return Ok(());
    };
    if configuration.bucket.is_some() || configuration.location.is_some() {
        return Err(not_implemented("directory buckets"));
    }
    let region = configuration
        .location_constraint
        .as_ref()
        .map(BucketLocationConstraint::as_str);
    match region {
        None | Some("") => Ok(()),
        Some(region) if region == &*edge.region => Ok(()),
        Some(_) => Err(error_with(
            "InvalidLocationConstraint",
            "The specified location-constraint is not valid",
        )),
    }
}

/// Names that AWS refuses beyond what s3s checks: dashes beside dots, and what AWS keeps for itself.
fn reserved(name: &str) -> bool {
    const BEGINNINGS: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
    const ENDS: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    [".-", "-.", ".."].iter().any(|pair| name.contains(pair))
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || ENDS.iter().any(|end| name.ends_with(end))
}

/// The storage policy that CreateBucket names in `x-amz-storage-class`: `STANDARD` is the default one, every other by its
/// own name.
fn asked_policy(edge: &Edge, headers: &HeaderMap) -> S3Result<Option<PolicyId>> {
    let Some(class) = headers.get("x-amz-storage-class") else {
        return Ok(None);
    };
    let class = class.to_str().unwrap_or_default();
    if class == "STANDARD" {
        return Ok(Some(PolicyId::default()));
    }
    let found = edge.store.policies().named(class).map(|policy| Some(policy.id()));
    found.ok_or_else(|| {
        error_with(
            "InvalidStorageClass",
            "No storage policy of this cluster has the name given as storage class",
        )
    })
}

/// CreateBucket.
pub(crate) async fn create(
    edge: &Edge,
    request: S3Request<dto::CreateBucketInput>,
) -> S3Result<S3Response<dto::CreateBucketOutput>> {
    let caller = Caller::of(&request, "CreateBucket")?;
    check_location(edge, request.input.create_bucket_configuration.as_ref())?;
    let policy = asked_policy(edge, &request.headers)?;
    let name = request.input.bucket;
    if reserved(&name) {
        return Err(error("InvalidBucketName"));
    }
    let (bucket, created) = edge
        .store
        .create_bucket_under(&caller.cx, &name, true, policy.unwrap_or_default())
        .await
        .map_err(from_store)?;
    if policy.is_some_and(|policy| policy != bucket.info.policy) {
        return Err(error("BucketAlreadyOwnedByYou"));
    }
    if created == Created::AlreadyOwned && &*edge.region != DEFAULT_REGION {
        return Err(error("BucketAlreadyOwnedByYou"));
    }
    Ok(S3Response::new(dto::CreateBucketOutput {
        location: Some(format!("/{name}")),
    }))
}

/// HeadBucket.
pub(crate) async fn head(
    edge: &Edge,
    request: S3Request<dto::HeadBucketInput>,
) -> S3Result<S3Response<dto::HeadBucketOutput>> {
    let caller = Caller::of(&request, "HeadBucket")?;
    edge.bucket(&caller, &request.input.bucket).await?;
    let output = dto::HeadBucketOutput {
        bucket_region: Some(edge.region.to_string()),
        ..Default::default()
    };
    Ok(S3Response::new(output))
}

/// Ends the open uploads of a bucket that holds nothing else; false when it does. In AWS an unfinished upload does not
/// keep a bucket alive, and what comes into the bucket meanwhile still makes the deletion fail.
async fn end_uploads(edge: &Edge, caller: &Caller, bucket: &Bucket) -> S3Result<bool> {
    let (_, totals) = edge.store.bucket_state(&caller.cx, bucket).await.map_err(from_store)?;
    if totals.objects + totals.noncurrent > 0 || totals.uploads == 0 {
        return Ok(false);
    }
    loop {
        let query = ListUploads {
            bucket: bucket.info.id,
            limit: PAGE,
            ..ListUploads::default()
        };
        let page = edge
            .store
            .list_uploads(&caller.cx, bucket, query)
            .await
            .map_err(from_store)?;
        for (key, row) in page.entries {
            match edge.store.abort_upload(&caller.cx, bucket, key, row.id).await {
                Ok(()) | Err(StoreError::NoSuchUpload) => {}
                Err(other) => return Err(from_store(other)),
            }
        }
        if !page.more {
            return Ok(true);
        }
    }
}

/// DeleteBucket.
pub(crate) async fn delete(
    edge: &Edge,
    request: S3Request<dto::DeleteBucketInput>,
) -> S3Result<S3Response<dto::DeleteBucketOutput>> {
    let caller = Caller::of(&request, "DeleteBucket")?;
    let bucket = edge.bucket(&caller, &request.input.bucket).await?;
    match edge.store.delete_bucket(&caller.cx, &bucket).await {
        Err(StoreError::BucketNotEmpty) if end_uploads(edge, &caller, &bucket).await? => {
            edge.store
                .delete_bucket(&caller.cx, &bucket)
                .await
                .map_err(from_store)?;
        }
        done => done.map_err(from_store)?,
    }
    Ok(S3Response::with_status(
        dto::DeleteBucketOutput {},
        http::StatusCode::NO_CONTENT,
    ))
}

/// GetBucketLocation.
pub(crate) async fn location(
    edge: &Edge,
    request: S3Request<dto::GetBucketLocationInput>,
) -> S3Result<S3Response<dto::GetBucketLocationOutput>> {
    let caller = Caller::of(&request, "GetBucketLocation")?;
    edge.bucket(&caller, &request.input.bucket).await?;
    let region = (&*edge.region != DEFAULT_REGION).then(|| BucketLocationConstraint::from(edge.region.to_string()));
    Ok(S3Response::new(dto::GetBucketLocationOutput {
        location_constraint: region,
    }))
}
