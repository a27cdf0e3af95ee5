//! Features that are not configured because they do not exist here yet: questions get the answer AWS gives for a bucket
//! without them, settings get 501 (s3s's default). Deleting what is not there succeeds, as in AWS.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::errors::{error, from_store, not_implemented};
use super::names::{owner, version_selector};
use super::refuse;
use super::request::Caller;
use super::service::Edge;

/// Questions about a bucket whose answer is an error.
macro_rules! none {
    ($($function:ident($input:ty) -> $output:ty, $name:literal, $code:literal;)*) => {
        $(
            #[doc = concat!($name, ": ", $code, ".")]
            pub(crate) async fn $function(edge: &Edge, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                let caller = Caller::of(&request, $name)?;
                edge.bucket(&caller, &request.input.bucket).await?;
                Err(error($code))
            }
        )*
    };
}

/// Operations on a bucket whose answer is empty.
macro_rules! empty {
    ($($function:ident($input:ty) -> $output:ident, $name:literal, $value:expr;)*) => {
        $(
            #[doc = concat!($name, ": the answer of a bucket without it.")]
            pub(crate) async fn $function(edge: &Edge, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                let caller = Caller::of(&request, $name)?;
                edge.bucket(&caller, &request.input.bucket).await?;
                Ok(S3Response::new($value))
            }
        )*
    };
}

none! {
    policy(GetBucketPolicyInput) -> GetBucketPolicyOutput, "GetBucketPolicy", "NoSuchBucketPolicy";
    policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput, "GetBucketPolicyStatus", "NoSuchBucketPolicy";
    lifecycle(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput, "GetBucketLifecycleConfiguration", "NoSuchLifecycleConfiguration";
    encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput, "GetBucketEncryption", "ServerSideEncryptionConfigurationNotFoundError";
    object_lock(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput, "GetObjectLockConfiguration", "ObjectLockConfigurationNotFoundError";
    replication(GetBucketReplicationInput) -> GetBucketReplicationOutput, "GetBucketReplication", "ReplicationConfigurationNotFoundError";
    website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput, "GetBucketWebsite", "NoSuchWebsiteConfiguration";
}

empty! {
    accelerate(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput, "GetBucketAccelerateConfiguration", GetBucketAccelerateConfigurationOutput::default();
    logging(GetBucketLoggingInput) -> GetBucketLoggingOutput, "GetBucketLogging", GetBucketLoggingOutput::default();
    notification(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput, "GetBucketNotificationConfiguration", GetBucketNotificationConfigurationOutput::default();
    request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput, "GetBucketRequestPayment", GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(Payer::BUCKET_OWNER)) };
    ownership(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput, "GetBucketOwnershipControls", GetBucketOwnershipControlsOutput { ownership_controls: Some(enforced()) };
    delete_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput, "DeleteBucketPolicy", DeleteBucketPolicyOutput {};
    delete_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput, "DeleteBucketLifecycle", DeleteBucketLifecycleOutput {};
}

/// The bucket's owner owns everything in it: AWS's default, and the only rule there is here.
fn enforced() -> OwnershipControls {
    let rule = OwnershipControlsRule {
        object_ownership: ObjectOwnership::from_static(ObjectOwnership::BUCKET_OWNER_ENFORCED),
    };
    OwnershipControls { rules: vec![rule] }
}

/// The canned ACL `private`: full control for the owner.
fn private(owner: &Owner) -> Vec<Grant> {
    let grantee = Grantee {
        display_name: owner.display_name.clone(),
        email_address: None,
        id: owner.id.clone(),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    let permission = Some(Permission::from_static(Permission::FULL_CONTROL));
    vec![Grant {
        grantee: Some(grantee),
        permission,
    }]
}

/// GetBucketAcl.
pub(crate) async fn bucket_acl(
    edge: &Edge,
    request: S3Request<GetBucketAclInput>,
) -> S3Result<S3Response<GetBucketAclOutput>> {
    let caller = Caller::of(&request, "GetBucketAcl")?;
    edge.bucket(&caller, &request.input.bucket).await?;
    let owner = owner(caller.project(), caller.display_name());
    Ok(S3Response::new(GetBucketAclOutput {
        grants: Some(private(&owner)),
        owner: Some(owner),
    }))
}

/// GetObjectAcl.
pub(crate) async fn object_acl(
    edge: &Edge,
    request: S3Request<GetObjectAclInput>,
) -> S3Result<S3Response<GetObjectAclOutput>> {
    let caller = Caller::of(&request, "GetObjectAcl")?;
    let input = &request.input;
    exists(edge, &caller, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    let owner = owner(caller.project(), caller.display_name());
    Ok(S3Response::new(GetObjectAclOutput {
        grants: Some(private(&owner)),
        owner: Some(owner),
        request_charged: None,
    }))
}

async fn exists(edge: &Edge, caller: &Caller, bucket: &str, key: &str, version: Option<&str>) -> S3Result<()> {
    let bucket = edge.bucket(caller, bucket).await?;
    let selector = version_selector(version)?;
    edge.store
        .object(&caller.cx, &bucket, key.as_bytes(), selector)
        .await
        .map(drop)
        .map_err(from_store)
}

/// Accepts the ACL that everything has, refuses every other (CON-3).
fn only_private(canned: Option<&str>, policy: Option<AccessControlPolicy>, project: &str) -> S3Result<()> {
    refuse::acl(canned)?;
    let Some(policy) = policy else {
        return if canned.is_some() {
            Ok(())
        } else {
            Err(error("MissingRequestBodyError"))
        };
    };
    let ours = |grant: &Grant| {
        let grantee = grant.grantee.as_ref().and_then(|grantee| grantee.id.as_deref());
        let full = grant
            .permission
            .as_ref()
            .is_some_and(|given| given.as_str() == Permission::FULL_CONTROL);
        full && grantee == Some(project)
    };
    let owner = policy.owner.as_ref().and_then(|owner| owner.id.as_deref());
    let grants = policy.grants.unwrap_or_default();
    if owner.is_none_or(|owner| owner == project) && !grants.is_empty() && grants.iter().all(ours) {
        return Ok(());
    }
    Err(not_implemented("an access control list other than private"))
}

/// PutBucketAcl.
pub(crate) async fn put_bucket_acl(
    edge: &Edge,
    request: S3Request<PutBucketAclInput>,
) -> S3Result<S3Response<PutBucketAclOutput>> {
    let caller = Caller::of(&request, "PutBucketAcl")?;
    edge.bucket(&caller, &request.input.bucket).await?;
    let canned = request.input.acl.as_ref().map(BucketCannedACL::as_str);
    only_private(canned, request.input.access_control_policy, caller.project())?;
    Ok(S3Response::new(PutBucketAclOutput {}))
}

/// PutObjectAcl.
pub(crate) async fn put_object_acl(
    edge: &Edge,
    request: S3Request<PutObjectAclInput>,
) -> S3Result<S3Response<PutObjectAclOutput>> {
    let caller = Caller::of(&request, "PutObjectAcl")?;
    let input = request.input;
    exists(edge, &caller, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    let canned = input.acl.as_ref().map(ObjectCannedACL::as_str);
    only_private(canned, input.access_control_policy, caller.project())?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}

/// GetObjectRetention: the bucket has no object lock.
pub(crate) async fn retention(
    edge: &Edge,
    request: S3Request<GetObjectRetentionInput>,
) -> S3Result<S3Response<GetObjectRetentionOutput>> {
    let caller = Caller::of(&request, "GetObjectRetention")?;
    let input = &request.input;
    exists(edge, &caller, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    Err(super::errors::invalid_request(
        "Bucket is missing Object Lock Configuration",
    ))
}

/// GetObjectLegalHold: the bucket has no object lock.
pub(crate) async fn legal_hold(
    edge: &Edge,
    request: S3Request<GetObjectLegalHoldInput>,
) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
    let caller = Caller::of(&request, "GetObjectLegalHold")?;
    let input = &request.input;
    exists(edge, &caller, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    Err(super::errors::invalid_request(
        "Bucket is missing Object Lock Configuration",
    ))
}
