//! The operations: one method each, in the module of its subject. What is not listed here answers 501 by s3s's default.

use std::sync::Arc;

use bytes::Bytes;
use identity::policy::Action;
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

    /// The bucket of that name, if the policy grants the operation's action in its project.
    pub(crate) async fn bucket(&self, caller: &Caller, name: &str) -> S3Result<Bucket> {
        let action = caller.action.get().copied().ok_or_else(|| error("InternalError"))?;
        self.permitted(caller, action, name, caller.expected_owner.as_deref())
            .await
    }

    /// The bucket that a copy reads.
    pub(crate) async fn source_bucket(&self, caller: &Caller, name: &str) -> S3Result<Bucket> {
        let expected = caller.expected_source_owner.as_deref();
        self.permitted(caller, Action::S3ReadObject, name, expected).await
    }

    async fn permitted(&self, caller: &Caller, action: Action, name: &str, expected: Option<&str>) -> S3Result<Bucket> {
        let bucket = self.store.bucket(&caller.cx, name).await.map_err(from_store)?;
        let owner = &bucket.info.project;
        caller.allow(action, owner)?;
        if expected.is_some_and(|expected| expected != owner) {
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

/// One line per operation: its types, the action that the policy table is asked for, and its function.
macro_rules! operations {
    ($($method:ident($input:ty) -> $output:ty, $action:ident = $function:path;)*) => {
        #[async_trait::async_trait]
        impl S3 for Edge {
            $(async fn $method(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                Caller::permit(&request, Action::$action)?;
                $function(self, request).await
            })*
        }

        /// All operations by name, and what the policy table is asked for before each.
        pub const OPERATIONS: &[(&str, Action)] = &[$((stringify!($method), Action::$action)),*];
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput, S3ListBuckets = buckets::list;
    create_bucket(CreateBucketInput) -> CreateBucketOutput, S3WriteBucket = buckets::create;
    head_bucket(HeadBucketInput) -> HeadBucketOutput, S3ReadBucket = buckets::head;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput, S3WriteBucket = buckets::delete;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput, S3ReadBucket = buckets::location;

    list_objects(ListObjectsInput) -> ListObjectsOutput, S3ReadBucket = list::objects;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output, S3ReadBucket = list::objects_v2;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput, S3ReadBucket = versions::list;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput, S3ReadBucket = versions::get;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput, S3WriteBucket = versions::put;

    get_object(GetObjectInput) -> GetObjectOutput, S3ReadObject = read::get;
    head_object(HeadObjectInput) -> HeadObjectOutput, S3ReadObject = read::head;
    put_object(PutObjectInput) -> PutObjectOutput, S3WriteObject = objects::put;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput, S3WriteObject = deletes::one;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput, S3WriteObject = deletes::many;
    copy_object(CopyObjectInput) -> CopyObjectOutput, S3WriteObject = copy::object;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput, S3ReadObject = parts::attributes;

    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput, S3WriteObject = multipart::create;
    upload_part(UploadPartInput) -> UploadPartOutput, S3WriteObject = multipart::upload_part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput, S3WriteObject = copy::part;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput, S3WriteObject = multipart::complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput, S3WriteObject = multipart::abort;
    list_parts(ListPartsInput) -> ListPartsOutput, S3ReadObject = parts::list;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput, S3ReadBucket = list::uploads;

    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput, S3ReadObject = tagging::get_object;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput, S3WriteObject = tagging::put_object;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput, S3WriteObject = tagging::delete_object;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput, S3ReadBucket = tagging::get_bucket;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput, S3WriteBucket = tagging::put_bucket;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput, S3WriteBucket = tagging::delete_bucket;
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput, S3ReadBucket = cors::get_bucket;
    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput, S3WriteBucket = cors::put_bucket;
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput, S3WriteBucket = cors::delete_bucket;

    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput, S3ReadBucket = unconfigured::bucket_acl;
    put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput, S3WriteBucket = unconfigured::put_bucket_acl;
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput, S3ReadObject = unconfigured::object_acl;
    put_object_acl(PutObjectAclInput) -> PutObjectAclOutput, S3WriteObject = unconfigured::put_object_acl;
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput, S3ReadBucket = unconfigured::policy;
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput, S3ReadBucket = unconfigured::policy_status;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput, S3ReadBucket = unconfigured::lifecycle;
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput, S3ReadBucket = unconfigured::encryption;
    put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput, S3WriteBucket = public_access::put;
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput, S3ReadBucket = public_access::get;
    delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput, S3WriteBucket = public_access::delete;
    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput, S3ReadBucket = unconfigured::object_lock;
    get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput, S3ReadObject = unconfigured::retention;
    get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput, S3ReadObject = unconfigured::legal_hold;
    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput, S3ReadBucket = unconfigured::replication;
    get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput, S3ReadBucket = unconfigured::website;
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput, S3ReadBucket = unconfigured::ownership;
    get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput, S3ReadBucket = unconfigured::request_payment;
    get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput, S3ReadBucket = unconfigured::accelerate;
    get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput, S3ReadBucket = unconfigured::logging;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput, S3ReadBucket = unconfigured::notification;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput, S3WriteBucket = unconfigured::delete_policy;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput, S3WriteBucket = unconfigured::delete_lifecycle;
}
