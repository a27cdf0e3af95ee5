//! The store over a whole cluster in memory, promise by promise.

mod buckets;
mod cancel;
mod copies;
mod fragments;
mod multipart;
mod policies;
mod reads;
mod writes;

use std::ops::Range;

use futures::TryStreamExt;
use metadata::command::Condition;
use metadata::ids::{DeviceId, ShardId};
use metadata::model::VersionSelector;
use metadata::query::{Found, Query, ShortFound};

use crate::testing::{Cluster, body};
use crate::{Bucket, ObjectReader, PutObject, PutOutcome, StoreError};

const LATEST: VersionSelector = VersionSelector::Latest;

/// Bytes in which every position looks different.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

impl Cluster {
    async fn bucket(&self, name: &str) -> Bucket {
        self.store.create_bucket(&self.request(), name, true).await.unwrap().0
    }

    async fn put(&self, bucket: &Bucket, key: &str, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        let put = PutObject {
            length: Some(bytes.len() as u64),
            ..PutObject::plain()
        };
        self.store
            .put_object(&self.request(), bucket, key.into(), put, body(bytes))
            .await
    }

    async fn put_if(
        &self,
        bucket: &Bucket,
        key: &str,
        condition: Condition,
        bytes: &[u8],
    ) -> Result<PutOutcome, StoreError> {
        let put = PutObject {
            condition,
            ..PutObject::plain()
        };
        self.store
            .put_object(&self.request(), bucket, key.into(), put, body(bytes))
            .await
    }

    async fn open(&self, bucket: &Bucket, key: &str) -> Result<ObjectReader, StoreError> {
        self.store
            .open_object(&self.request(), bucket, key.as_bytes(), LATEST)
            .await
    }

    async fn get(&self, bucket: &Bucket, key: &str) -> Result<Vec<u8>, StoreError> {
        self.get_range(bucket, key, 0..u64::MAX).await
    }

    async fn get_range(&self, bucket: &Bucket, key: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let pieces: Vec<_> = self.open(bucket, key).await?.read(range).try_collect().await?;
        Ok(pieces.concat())
    }

    async fn delete(&self, bucket: &Bucket, key: &str) {
        let gone = self
            .store
            .delete_object(&self.request(), bucket, key.into(), LATEST, Condition::Always)
            .await;
        gone.unwrap();
    }

    fn short(&self, shard: ShardId) -> Vec<ShortFound> {
        match self.metadata.look(shard, &Query::Short { limit: 1000 }) {
            Ok(Found::Short(found)) => found,
            other => panic!("unexpected answer {other:?}"),
        }
    }

    /// Lets everything in the background come to its end. Under paused time this takes no time.
    async fn settle(&self) {
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    }
}

fn device(number: u32) -> DeviceId {
    DeviceId(number)
}
