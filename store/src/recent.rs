//! Records out of this process's copy of the system shard, and waiting until all copies know of a change.

use metadata::model::Record;
use metadata::query::{Found, Query};

use crate::context::RequestContext;
use crate::error::StoreError;
use crate::store::Store;

impl Store {
    /// A page of a table's records as this process's copy of the system shard has them: as old as the staleness bound
    /// at most, without a hop while the copy is fresh.
    ///
    /// # Errors
    /// When the system shard is not available and the copy does not help.
    pub async fn recent_records(
        &self,
        cx: &RequestContext,
        table: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<(String, Record)>, bool), StoreError> {
        let query = Query::ListRecords {
            table: table.into(),
            after: after.clone(),
            limit,
        };
        match self.inner.planes.metadata.query_system_copy(&query) {
            Some(Ok(Found::Records { records, more })) => Ok((records, more)),
            _ => self.list_records(cx, table, after, limit).await,
        }
    }

    /// Returns when no process acts any more on what records said before this call: to be awaited after one that gave
    /// a right was changed or removed. At most the staleness bound, mostly much less.
    pub async fn settle_records(&self) {
        self.inner.planes.metadata.settle_system_copies().await;
    }
}
