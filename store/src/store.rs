//! The handle to the cluster, and the two ways it asks the metadata plane.

use std::sync::Arc;

use clock::{Dice, WallClock};
use metadata::command::Command;
use metadata::ids::ShardId;
use metadata::query::{Found, Query};
use metadata::reply::Done;
use storage_node::client::Planes;

use crate::context::RequestContext;
use crate::error::StoreError;
use crate::options::StoreOptions;

/// The door to the cluster. Cloning costs one reference count.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) planes: Planes,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) dice: Arc<dyn Dice>,
    pub(crate) options: StoreOptions,
}

impl Store {
    /// A store over the two planes.
    #[must_use]
    pub fn new(planes: Planes, clock: Arc<dyn WallClock>, dice: Arc<dyn Dice>, options: StoreOptions) -> Self {
        Self {
            inner: Arc::new(Inner {
                planes,
                clock,
                dice,
                options,
            }),
        }
    }

    /// The settings it was made with.
    #[must_use]
    pub fn options(&self) -> &StoreOptions {
        &self.inner.options
    }

    /// Has `command` executed exactly once.
    pub(crate) async fn propose(
        &self,
        cx: &RequestContext,
        shard: ShardId,
        command: Command,
    ) -> Result<Done, StoreError> {
        let request = cx.next_command(self.inner.clock.now_ms());
        let reply = self
            .inner
            .planes
            .metadata
            .propose(shard, request, command, cx.deadline)
            .await?;
        Ok(reply?)
    }

    /// A linearizable read.
    pub(crate) async fn query(&self, cx: &RequestContext, shard: ShardId, query: Query) -> Result<Found, StoreError> {
        Ok(self.inner.planes.metadata.query(shard, query, cx.deadline).await??)
    }
}

/// The answer of a shard to another question than the one asked.
pub(crate) fn unexpected(what: &str) -> StoreError {
    StoreError::Internal(format!("the shard's answer to {what} has the wrong kind"))
}
