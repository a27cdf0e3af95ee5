//! The queue of what changed in a bucket that notes it ([`BucketConfig::NOTE_CHANGES`](crate::BucketConfig)).

use metadata::command::Command;
use metadata::ids::{BucketId, NodeId, Seq, ShardId};
use metadata::model::{Change, Key};
use metadata::query::{Found, Query};
use storage_node::client::LEVEL_OF_CHANGES;

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::error::StoreError;
use crate::store::{Store, unexpected};

impl Store {
    /// The nodes of a release that does not know buckets that note changes. While there is one, none may begin to.
    ///
    /// # Errors
    /// When the system shard is not available.
    pub async fn nodes_without_changes(&self, cx: &RequestContext) -> Result<Vec<NodeId>, StoreError> {
        let metadata = &self.inner.planes.metadata;
        Ok(metadata.nodes_below(LEVEL_OF_CHANGES, cx.deadline).await?)
    }

    /// The changes of a bucket behind `after`, in order, and whether there are more. The bucket may be gone: what it left
    /// in its shard is shown as well.
    ///
    /// # Errors
    /// When the shard is not available.
    pub async fn changes(
        &self,
        cx: &RequestContext,
        (shard, bucket): (ShardId, BucketId),
        after: Option<Seq>,
        limit: usize,
    ) -> Result<(Vec<Change>, bool), StoreError> {
        let query = Query::Changes { bucket, after, limit };
        match self.query(cx, shard, query).await? {
            Found::Changes { changes, more } => Ok((changes, more)),
            _ => Err(unexpected("Changes")),
        }
    }

    /// Puts keys at the end of the queue, at most [`PAGE_MAX`](crate::PAGE_MAX); those that wait already keep their place.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`] when the bucket is being deleted.
    pub async fn note_changes(&self, cx: &RequestContext, bucket: &Bucket, keys: Vec<Key>) -> Result<(), StoreError> {
        let command = Command::NoteChanges {
            bucket: bucket.info.id,
            keys,
        };
        self.change(cx, bucket, command).await.map(drop)
    }

    /// Drops changes that were dealt with; a key that changed since stands elsewhere in the queue and stays there.
    ///
    /// # Errors
    /// When the shard is not available.
    pub async fn forget_changes(
        &self,
        cx: &RequestContext,
        (shard, bucket): (ShardId, BucketId),
        changes: Vec<Seq>,
    ) -> Result<(), StoreError> {
        let command = Command::ForgetChanges { bucket, changes };
        self.propose(cx, shard, command).await.map(drop)
    }
}
