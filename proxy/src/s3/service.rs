//! The operations: one method each, in the module of its subject. What is not listed here answers 501 by s3s's default.

use std::sync::Arc;

use bytes::Bytes;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use store::{Bucket, Store};

use super::errors::{error, from_store};
use super::request::Caller;
use super::{
    S3Options, buckets, copy, cors, deletes, list, multipart, objects, parts, public_access, read, tagging,
    unconfigured, versions,
};

/// The operations over one store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) store: Store,
    pub(crate) region: Arc<str>,
}

impl Edge {
    /// The operations of one cluster.
    pub(crate) fn new(store: Store, options: &S3Options) -> Self {
        Self {
            store,
            region: options.region.as_str().into(),
        }
    }

    /// The caller's bucket of that name. Another project's is refused: until there are policies, a key acts in its own
    /// project only.
    pub(crate) async fn bucket(&self, caller: &Caller, name: &str) -> S3Result<Bucket> {
        self.owned(caller, name, caller.expected_owner.as_deref()).await
    }

    /// The bucket that a copy reads.
    pub(crate) async fn source_bucket(&self, caller: &Caller, name: &str) -> S3Result<Bucket> {
        self.owned(caller, name, caller.expected_source_owner.as_deref()).await
    }

    async fn owned(&self, caller: &Caller, name: &str, expected: Option<&str>) -> S3Result<Bucket> {
        let bucket = self.store.bucket(&caller.cx, name).await.map_err(from_store)?;
        let owner = &bucket.info.project;
        if *owner != caller.project() || expected.is_some_and(|expected| expected != owner) {
            return Err(error("AccessDenied"));
        }
        Ok(bucket)
    }

    /// One of a bucket's documents.
    pub(crate) async fn document(&self, caller: &Caller, bucket: &str, name: &str) -> S3Result<Option<Bytes>> {
        let bucket = self.bucket(caller, bucket).await?;
        let (mut config, _) = self.store.bucket_state(&caller.cx, &bucket).await.map_err(from_store)?;
        Ok(config.documents.remove(name))
    }

    /// Sets or removes one of a bucket's documents.
    pub(crate) async fn set_document(
        &self,
        caller: &Caller,
        bucket: &str,
        name: &str,
        document: Option<Bytes>,
    ) -> S3Result<()> {
        let bucket = self.bucket(caller, bucket).await?;
        self.store
            .set_document(&caller.cx, &bucket, name, document)
            .await
            .map_err(from_store)
    }
}

/// One line per operation.
macro_rules! operations {
    ($($method:ident($input:ty) -> $output:ty = $function:path;)*) => {
        #[async_trait::async_trait]
        impl S3 for Edge {
            $(async fn $method(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                $function(self, request).await
            })*
        }
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list;
    create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::location;

    list_objects(ListObjectsInput) -> ListObjectsOutput = list::objects;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = list::objects_v2;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = versions::list;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = versions::get;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = versions::put;

    get_object(GetObjectInput) -> GetObjectOutput = read::get;
    head_object(HeadObjectInput) -> HeadObjectOutput = read::head;
    put_object(PutObjectInput) -> PutObjectOutput = objects::put;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = deletes::one;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = deletes::many;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copy::object;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = parts::attributes;

    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = multipart::create;
    upload_part(UploadPartInput) -> UploadPartOutput = multipart::upload_part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = copy::part;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = multipart::complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort;
    list_parts(ListPartsInput) -> ListPartsOutput = parts::list;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = list::uploads;

    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = tagging::get_object;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = tagging::put_object;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = tagging::delete_object;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = tagging::get_bucket;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput = tagging::put_bucket;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = tagging::delete_bucket;
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = cors::get_bucket;
    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput = cors::put_bucket;
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput = cors::delete_bucket;

    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput = unconfigured::bucket_acl;
    put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput = unconfigured::put_bucket_acl;
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput = unconfigured::object_acl;
    put_object_acl(PutObjectAclInput) -> PutObjectAclOutput = unconfigured::put_object_acl;
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = unconfigured::policy;
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput = unconfigured::policy_status;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput = unconfigured::lifecycle;
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = unconfigured::encryption;
    put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput = public_access::put;
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput = public_access::get;
    delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput = public_access::delete;
    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput = unconfigured::object_lock;
    get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput = unconfigured::retention;
    get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput = unconfigured::legal_hold;
    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput = unconfigured::replication;
    get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput = unconfigured::website;
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput = unconfigured::ownership;
    get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput = unconfigured::request_payment;
    get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput = unconfigured::accelerate;
    get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput = unconfigured::logging;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput = unconfigured::notification;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput = unconfigured::delete_policy;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput = unconfigured::delete_lifecycle;
}
