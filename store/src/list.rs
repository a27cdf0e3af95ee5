//! Listings: one linearizable query each, so that a listing begun after an acknowledgement shows it (CON-2).

use metadata::model::{Key, ObjectRow, UploadRow};
use metadata::query::{Found, ListObjects, ListUploads, ListVersions, Page, Query, VersionFound};

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::error::StoreError;
use crate::store::{Store, unexpected};

impl Store {
    /// A page of current objects. `list.bucket` is filled in from `bucket`.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`] when it is being deleted.
    pub async fn list_objects(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        mut list: ListObjects,
    ) -> Result<Page<(Key, ObjectRow)>, StoreError> {
        list.bucket = bucket.info.id;
        match self.ask_bucket(cx, bucket, Query::ListObjects(list)).await? {
            Found::Objects(page) => Ok(page),
            _ => Err(unexpected("ListObjects")),
        }
    }

    /// A page of all versions and delete markers. `list.bucket` is filled in from `bucket`.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`] when it is being deleted.
    pub async fn list_versions(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        mut list: ListVersions,
    ) -> Result<Page<(Key, VersionFound)>, StoreError> {
        list.bucket = bucket.info.id;
        match self.ask_bucket(cx, bucket, Query::ListVersions(list)).await? {
            Found::Versions(page) => Ok(page),
            _ => Err(unexpected("ListVersions")),
        }
    }

    /// A page of open multipart uploads. `list.bucket` is filled in from `bucket`.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`] when it is being deleted.
    pub async fn list_uploads(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        mut list: ListUploads,
    ) -> Result<Page<(Key, UploadRow)>, StoreError> {
        list.bucket = bucket.info.id;
        match self.ask_bucket(cx, bucket, Query::ListUploads(list)).await? {
            Found::Uploads(page) => Ok(page),
            _ => Err(unexpected("ListUploads")),
        }
    }
}
