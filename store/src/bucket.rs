//! Buckets: birth, lookup, death in three steps, and what their key shard keeps of them.

use std::sync::Arc;

use bytes::Bytes;
use metadata::command::Command;
use metadata::ids::ShardId;
use metadata::model::{BucketConfig, BucketInfo, BucketState, Totals, Versioning};
use metadata::query::{Found, Query};
use metadata::reply::Done;

use crate::context::RequestContext;
use crate::error::StoreError;
use crate::store::{Store, unexpected};

/// A bucket as resolved for one request. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// What the system shard knows of it.
    pub info: Arc<BucketInfo>,
}

/// What CreateBucket found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The bucket was made.
    New,
    /// The caller's project had it already; nothing changed.
    AlreadyOwned,
}

impl Store {
    /// Makes a bucket in the caller's project; `global` takes the global S3 name too.
    ///
    /// # Errors
    /// [`StoreError::BucketTaken`], [`StoreError::BucketBusy`] while one of that name is being deleted.
    pub async fn create_bucket(
        &self,
        cx: &RequestContext,
        name: &str,
        global: bool,
    ) -> Result<(Bucket, Created), StoreError> {
        let key_shards = self.inner.planes.metadata.key_shards();
        let command = Command::CreateBucket {
            project: cx.project.clone(),
            name: name.into(),
            global,
            key_shards,
        };
        match self.propose(cx, ShardId::SYSTEM, command).await? {
            Done::Bucket { info, created } => {
                let created = if created { Created::New } else { Created::AlreadyOwned };
                Ok((Bucket { info: Arc::new(info) }, created))
            }
            _ => Err(unexpected("CreateBucket")),
        }
    }

    /// The bucket of that name: the project's own first, then the global one. Answered from this process's copy of
    /// the system shard when that is fresh; a miss is confirmed by a linearizable read.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`].
    pub async fn bucket(&self, cx: &RequestContext, name: &str) -> Result<Bucket, StoreError> {
        let query = Query::ResolveBucket {
            project: cx.project.clone(),
            name: name.into(),
        };
        if let Some(Ok(Found::Bucket(Some(info)))) = self.inner.planes.metadata.query_system_copy(&query)
            && info.state == BucketState::Active
        {
            return Ok(Bucket { info: Arc::new(info) });
        }
        match self.query(cx, ShardId::SYSTEM, query).await? {
            Found::Bucket(Some(info)) if info.state == BucketState::Active => Ok(Bucket { info: Arc::new(info) }),
            Found::Bucket(_) => Err(StoreError::NoSuchBucket),
            _ => Err(unexpected("ResolveBucket")),
        }
    }

    /// Deletes an empty bucket: marks it in the system shard, seals it in its key shard, frees its names.
    ///
    /// # Errors
    /// [`StoreError::BucketNotEmpty`].
    pub async fn delete_bucket(&self, cx: &RequestContext, bucket: &Bucket) -> Result<(), StoreError> {
        let id = bucket.info.id;
        self.propose(cx, ShardId::SYSTEM, Command::BeginDeleteBucket { id })
            .await?;
        match self
            .propose(cx, bucket.info.shard, Command::SealBucket { bucket: id })
            .await
        {
            Ok(_) => {}
            Err(refusal @ StoreError::BucketNotEmpty) => {
                self.propose(cx, ShardId::SYSTEM, Command::CancelDeleteBucket { id })
                    .await?;
                return Err(refusal);
            }
            Err(error) => return Err(error),
        }
        self.propose(cx, ShardId::SYSTEM, Command::FinishDeleteBucket { id })
            .await?;
        Ok(())
    }

    /// A page of the project's buckets by name, and whether there are more.
    ///
    /// # Errors
    /// When the system shard is not available.
    pub async fn list_buckets(
        &self,
        cx: &RequestContext,
        after: Option<String>,
        prefix: String,
        limit: usize,
    ) -> Result<(Vec<BucketInfo>, bool), StoreError> {
        let query = Query::ListBuckets {
            project: cx.project.clone(),
            after,
            prefix,
            limit,
        };
        match self.query(cx, ShardId::SYSTEM, query).await? {
            Found::Buckets { buckets, more } => Ok((buckets, more)),
            _ => Err(unexpected("ListBuckets")),
        }
    }

    /// The bucket's configuration and exact totals.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`] when it is being deleted.
    pub async fn bucket_state(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
    ) -> Result<(BucketConfig, Totals), StoreError> {
        match self
            .query(cx, bucket.info.shard, Query::Bucket { bucket: bucket.info.id })
            .await?
        {
            Found::BucketState { config, .. } if config.sealed => Err(StoreError::NoSuchBucket),
            Found::BucketState { config, totals } => Ok((config, totals)),
            _ => Err(unexpected("Bucket")),
        }
    }

    /// Sets the versioning state.
    ///
    /// # Errors
    /// [`StoreError::InvalidState`] for `Off` once versioning was on.
    pub async fn set_versioning(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        versioning: Versioning,
    ) -> Result<(), StoreError> {
        let command = Command::SetVersioning {
            bucket: bucket.info.id,
            versioning,
        };
        self.propose(cx, bucket.info.shard, command).await.map(drop)
    }

    /// Sets or removes one of the bucket's documents (`tagging`, `cors` …).
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`] when it is being deleted.
    pub async fn set_document(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        name: &str,
        document: Option<Bytes>,
    ) -> Result<(), StoreError> {
        let command = Command::SetDocument {
            bucket: bucket.info.id,
            name: name.into(),
            document,
        };
        self.propose(cx, bucket.info.shard, command).await.map(drop)
    }
}
