//! When a process serves.
//!
//! A process with the S3 edge serves when it knows a ring and every shard answers it a linearizable question; once all
//! have, only the system shard is asked again, because one key shard without a majority is no reason to turn away
//! requests for the buckets of the others. A process with storage alone serves as soon as its own parts are open:
//! whether the others are there is their matter.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use metadata::ids::ShardId;
use metadata::model::PolicyId;
use metadata::query::Query;
use storage_node::shard::Shards;
use store::Planes;

use crate::admin_api::Readiness;

/// How long a shard may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// A process with the S3 edge.
pub struct EdgeReadiness {
    planes: Planes,
    /// Set once every shard has answered.
    all_answered: AtomicBool,
}

impl EdgeReadiness {
    /// Asks through `planes`.
    #[must_use]
    pub fn new(planes: Planes) -> Self {
        Self {
            planes,
            all_answered: AtomicBool::new(false),
        }
    }

    async fn ask(&self, shard: ShardId) -> Option<String> {
        match self.planes.metadata.query(shard, Query::Summary, ANSWER_MAX).await {
            Ok(Ok(_)) => None,
            Ok(Err(refusal)) => Some(format!("shard {shard}: {refusal}")),
            Err(error) => Some(error.to_string()),
        }
    }
}

#[async_trait]
impl Readiness for EdgeReadiness {
    async fn missing(&self) -> Option<String> {
        if self.planes.data.ring(PolicyId::default()).is_none() {
            return Some("no ring is known yet".to_owned());
        }
        if self.all_answered.load(Ordering::Relaxed) {
            return self.ask(ShardId::SYSTEM).await;
        }
        let shards = (0..=self.planes.metadata.key_shards()).map(ShardId);
        let asked = futures::future::join_all(shards.map(|shard| self.ask(shard))).await;
        let missing = asked.into_iter().flatten().next();
        if missing.is_none() {
            self.all_answered.store(true, Ordering::Relaxed);
        }
        missing
    }
}

/// A process with storage alone.
pub struct StorageReadiness {
    shards: Shards,
}

impl StorageReadiness {
    /// Asks the node's own shards.
    #[must_use]
    pub fn new(shards: Shards) -> Self {
        Self { shards }
    }
}

#[async_trait]
impl Readiness for StorageReadiness {
    async fn missing(&self) -> Option<String> {
        let status = self.shards.status();
        status.quarantine.or(status.store_failed)
    }
}
