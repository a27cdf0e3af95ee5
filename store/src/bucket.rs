//! Buckets: birth, lookup, death in three steps, and what their key shard keeps of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use metadata::command::Command;
use metadata::ids::ShardId;
use metadata::model::{BucketConfig, BucketInfo, BucketState, PolicyId, Totals, Versioning};
use metadata::query::{Found, Query};
use metadata::reply::Done;
use storage_node::client::PolicyList;

use crate::context::RequestContext;
use crate::error::StoreError;
use crate::store::{Store, unexpected};

/// How often a deletion begins anew because another one undid its first step.
const DELETION_ATTEMPTS: usize = 5;
/// Buckets looked at in one round by the finisher.
const BUCKETS_PAGE: usize = 1000;

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
        self.create_bucket_under(cx, name, global, PolicyId::default()).await
    }

    /// As [`Self::create_bucket`]; `policy` stores the bucket's objects from now on. A bucket that is there keeps its own.
    ///
    /// # Errors
    /// As [`Self::create_bucket`]; [`StoreError::Unavailable`] for a policy without a ring.
    pub async fn create_bucket_under(
        &self,
        cx: &RequestContext,
        name: &str,
        global: bool,
        policy: PolicyId,
    ) -> Result<(Bucket, Created), StoreError> {
        let key_shards = self.inner.planes.metadata.key_shards();
        let (project, name) = (cx.project.clone(), name.to_owned());
        // Nodes from before policies know the first command only.
        let command = if policy == PolicyId::default() {
            Command::CreateBucket {
                project,
                name,
                global,
                key_shards,
            }
        } else {
            self.inner.placement(policy)?;
            Command::CreateBucketUnder {
                project,
                name,
                global,
                key_shards,
                policy,
            }
        };
        match self.propose(cx, ShardId::SYSTEM, command).await? {
            Done::Bucket { info, created } => {
                let created = if created { Created::New } else { Created::AlreadyOwned };
                Ok((Bucket { info: Arc::new(info) }, created))
            }
            _ => Err(unexpected("CreateBucket")),
        }
    }

    /// The policies beside the default one, as this process knows them.
    #[must_use]
    pub fn policies(&self) -> Arc<PolicyList> {
        self.inner.planes.data.policies()
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
        if !self.inner.suspects.contains(name)
            && let Some(Ok(Found::Bucket(Some(info)))) = self.inner.planes.metadata.query_system_copy(&query)
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

    /// Deletes an empty bucket: marks it in the system shard, seals it in its key shard, frees its names. Once begun it
    /// runs to its end, also when the caller goes away; what a crash leaves is ended by [`Self::finish_deletions`].
    ///
    /// # Errors
    /// [`StoreError::BucketNotEmpty`], [`StoreError::BucketBusy`] when others delete it at the same time.
    pub async fn delete_bucket(&self, cx: &RequestContext, bucket: &Bucket) -> Result<(), StoreError> {
        self.inner.suspects.mark(&bucket.info.name);
        let (store, cx, info) = (self.clone(), cx.clone(), bucket.info.clone());
        let deleting = tokio::spawn(async move { store.delete_in_steps(&cx, &info).await });
        deleting
            .await
            .map_err(|_| StoreError::Internal("the deletion's task stopped".into()))?
    }

    /// The three steps. When the shard's answer to the seal is unknown the bucket stays as it is, being deleted: an
    /// undo could be overtaken by the seal. Repeating the steps is always safe.
    async fn delete_in_steps(&self, cx: &RequestContext, info: &BucketInfo) -> Result<(), StoreError> {
        let id = info.id;
        for _ in 0..DELETION_ATTEMPTS {
            self.propose(cx, ShardId::SYSTEM, Command::BeginDeleteBucket { id })
                .await?;
            match self.propose(cx, info.shard, Command::SealBucket { bucket: id }).await {
                Ok(_) => {}
                Err(refusal @ StoreError::BucketNotEmpty) => {
                    self.propose(cx, ShardId::SYSTEM, Command::CancelDeleteBucket { id })
                        .await?;
                    return Err(refusal);
                }
                Err(error) => return Err(error),
            }
            match self
                .propose(cx, ShardId::SYSTEM, Command::FinishDeleteBucket { id })
                .await
            {
                Ok(_) => return Ok(()),
                // Another deletion found the bucket not empty and undid the first step after our seal: once more.
                Err(StoreError::InvalidState(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.propose(cx, info.shard, Command::UnsealBucket { bucket: id })
            .await?;
        Err(StoreError::BucketBusy)
    }

    /// Ends the deletions that a crash or an unreachable shard left half done: completes them, or undoes them when the
    /// bucket is not empty. Answers how many were ended. To be called now and then by one process.
    ///
    /// # Errors
    /// When the system shard is not available; single buckets that fail are left for the next time.
    pub async fn finish_deletions(&self, cx: &RequestContext) -> Result<usize, StoreError> {
        let (mut after, mut ended) = (None, 0);
        loop {
            let query = Query::AllBuckets {
                after,
                limit: BUCKETS_PAGE,
            };
            let Found::Buckets { buckets, more } = self.query(cx, ShardId::SYSTEM, query).await? else {
                return Err(unexpected("AllBuckets"));
            };
            after = buckets.last().map(|info| info.id);
            for info in buckets.iter().filter(|info| info.state == BucketState::Deleting) {
                match self.delete_in_steps(cx, info).await {
                    Ok(()) | Err(StoreError::BucketNotEmpty) => ended += 1,
                    Err(error) => tracing::warn!(bucket = %info.id, %error, "a deletion could not be ended"),
                }
            }
            if !more || after.is_none() {
                return Ok(ended);
            }
        }
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

    /// The totals of many buckets, in their order: one query for each shard they live in, not one for each bucket.
    ///
    /// # Errors
    /// When a shard is not available.
    pub async fn totals(&self, cx: &RequestContext, buckets: &[BucketInfo]) -> Result<Vec<Totals>, StoreError> {
        let mut shards: BTreeMap<ShardId, Vec<usize>> = BTreeMap::new();
        for (at, info) in buckets.iter().enumerate() {
            shards.entry(info.shard).or_default().push(at);
        }
        let mut totals = vec![Totals::default(); buckets.len()];
        for (shard, places) in shards {
            for places in places.chunks(metadata::PAGE_MAX) {
                let ids = places.iter().map(|at| buckets[*at].id).collect();
                let Found::Totals(found) = self.query(cx, shard, Query::Totals { buckets: ids }).await? else {
                    return Err(unexpected("Totals"));
                };
                for (at, found) in places.iter().zip(found) {
                    totals[*at] = found;
                }
            }
        }
        Ok(totals)
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
        self.change(cx, bucket, command).await.map(drop)
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
        self.change(cx, bucket, command).await.map(drop)
    }

    /// Sets or removes one of the bucket's documents if it still is `expect`.
    ///
    /// # Errors
    /// [`StoreError::PreconditionFailed`] when it is not; [`StoreError::NoSuchBucket`] when it is being deleted.
    pub async fn swap_document(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        name: &str,
        expect: Option<Bytes>,
        document: Option<Bytes>,
    ) -> Result<(), StoreError> {
        let command = Command::SwapDocument {
            bucket: bucket.info.id,
            name: name.into(),
            expect,
            document,
        };
        self.change(cx, bucket, command).await.map(drop)
    }
}
