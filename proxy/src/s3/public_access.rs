//! The public access block of a bucket: kept and told. Whatever it forbids is impossible here anyway: ACLs other than
//! private and bucket policies are refused (CON-3), so every setting of it holds from the moment it is made.

use bytes::Bytes;
use s3s::dto::{self, PublicAccessBlockConfiguration};
use s3s::{S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};

use super::errors::error;
use super::request::Caller;
use super::service::Edge;

/// The bucket document that holds the settings, in JSON.
const DOCUMENT: &str = "public-access-block";

/// The settings, as kept. What a request leaves out is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Block {
    block_acls: bool,
    ignore_acls: bool,
    block_policy: bool,
    restrict_buckets: bool,
}

/// PutPublicAccessBlock.
pub(crate) async fn put(
    edge: &Edge,
    request: S3Request<dto::PutPublicAccessBlockInput>,
) -> S3Result<S3Response<dto::PutPublicAccessBlockOutput>> {
    let caller = Caller::of(&request, "PutPublicAccessBlock")?;
    let asked = &request.input.public_access_block_configuration;
    let block = Block {
        block_acls: asked.block_public_acls.unwrap_or_default(),
        ignore_acls: asked.ignore_public_acls.unwrap_or_default(),
        block_policy: asked.block_public_policy.unwrap_or_default(),
        restrict_buckets: asked.restrict_public_buckets.unwrap_or_default(),
    };
    let document = serde_json::to_vec(&block).map_err(|_| error("InternalError"))?;
    edge.set_document(&caller, &request.input.bucket, DOCUMENT, Some(Bytes::from(document)))
        .await?;
    Ok(S3Response::new(dto::PutPublicAccessBlockOutput {}))
}

/// GetPublicAccessBlock.
pub(crate) async fn get(
    edge: &Edge,
    request: S3Request<dto::GetPublicAccessBlockInput>,
) -> S3Result<S3Response<dto::GetPublicAccessBlockOutput>> {
    let caller = Caller::of(&request, "GetPublicAccessBlock")?;
    let document = edge.document(&caller, &request.input.bucket, DOCUMENT).await?;
    let document = document.ok_or_else(|| error("NoSuchPublicAccessBlockConfiguration"))?;
    let block: Block = serde_json::from_slice(&document).map_err(|_| error("InternalError"))?;
    let told = PublicAccessBlockConfiguration {
        block_public_acls: Some(block.block_acls),
        ignore_public_acls: Some(block.ignore_acls),
        block_public_policy: Some(block.block_policy),
        restrict_public_buckets: Some(block.restrict_buckets),
    };
    Ok(S3Response::new(dto::GetPublicAccessBlockOutput {
        public_access_block_configuration: Some(told),
    }))
}

/// DeletePublicAccessBlock.
pub(crate) async fn delete(
    edge: &Edge,
    request: S3Request<dto::DeletePublicAccessBlockInput>,
) -> S3Result<S3Response<dto::DeletePublicAccessBlockOutput>> {
    let caller = Caller::of(&request, "DeletePublicAccessBlock")?;
    edge.set_document(&caller, &request.input.bucket, DOCUMENT, None)
        .await?;
    Ok(S3Response::new(dto::DeletePublicAccessBlockOutput {}))
}
