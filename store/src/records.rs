//! Small records of services (identity, images …), kept by the system shard under a table's name and a key.

use bytes::Bytes;
use metadata::command::{Command, RecordCondition};
use metadata::ids::ShardId;
use metadata::model::Record;
use metadata::query::{Found, Query};
use metadata::reply::Done;

use crate::context::RequestContext;
use crate::error::StoreError;
use crate::store::{Store, unexpected};

impl Store {
    /// One record, by a linearizable read.
    ///
    /// # Errors
    /// When the system shard is not available.
    pub async fn record(&self, cx: &RequestContext, table: &str, key: &str) -> Result<Option<Record>, StoreError> {
        let query = Query::GetRecord {
            table: table.into(),
            key: key.into(),
        };
        match self.query(cx, ShardId::SYSTEM, query).await? {
            Found::Record(record) => Ok(record),
            _ => Err(unexpected("GetRecord")),
        }
    }

    /// One record, from this process's copy of the system shard when that is fresh; a miss is confirmed by a
    /// linearizable read. What is found may be as old as the staleness bound.
    ///
    /// # Errors
    /// When the system shard is not available and the copy does not help.
    pub async fn record_from_copy(
        &self,
        cx: &RequestContext,
        table: &str,
        key: &str,
    ) -> Result<Option<Record>, StoreError> {
        let query = Query::GetRecord {
            table: table.into(),
            key: key.into(),
        };
        match self.inner.planes.metadata.query_system_copy(&query) {
            Some(Ok(Found::Record(Some(record)))) => Ok(Some(record)),
            _ => self.record(cx, table, key).await,
        }
    }

    /// One record as this process's copy of the system shard has it, also when it has none: as old as the staleness
    /// bound at most. For settings that may take effect that late.
    ///
    /// # Errors
    /// When the system shard is not available and the copy does not help.
    pub async fn recent_record(
        &self,
        cx: &RequestContext,
        table: &str,
        key: &str,
    ) -> Result<Option<Record>, StoreError> {
        let query = Query::GetRecord {
            table: table.into(),
            key: key.into(),
        };
        match self.inner.planes.metadata.query_system_copy(&query) {
            Some(Ok(Found::Record(record))) => Ok(record),
            _ => self.record(cx, table, key).await,
        }
    }

    /// Writes a record if it stands as `expect` says; answers its new version.
    ///
    /// # Errors
    /// [`StoreError::RecordConflict`] with the version it has.
    pub async fn put_record(
        &self,
        cx: &RequestContext,
        table: &str,
        key: &str,
        expect: RecordCondition,
        value: Bytes,
    ) -> Result<u64, StoreError> {
        let command = Command::PutRecord {
            table: table.into(),
            key: key.into(),
            expect,
            value,
        };
        match self.propose(cx, ShardId::SYSTEM, command).await? {
            Done::Record { version } => Ok(version),
            _ => Err(unexpected("PutRecord")),
        }
    }

    /// Removes a record if it stands as `expect` says.
    ///
    /// # Errors
    /// [`StoreError::RecordConflict`] with the version it has.
    pub async fn delete_record(
        &self,
        cx: &RequestContext,
        table: &str,
        key: &str,
        expect: RecordCondition,
    ) -> Result<(), StoreError> {
        let command = Command::DeleteRecord {
            table: table.into(),
            key: key.into(),
            expect,
        };
        self.propose(cx, ShardId::SYSTEM, command).await.map(drop)
    }

    /// Removes a record that gave a right, and returns when no process acts on it any more: a process whose copy of
    /// the system shard has no news for the staleness bound stops using it, so after that time every process has
    /// either applied the removal or asks the shard.
    ///
    /// # Errors
    /// As [`Self::delete_record`].
    pub async fn revoke_record(
        &self,
        cx: &RequestContext,
        table: &str,
        key: &str,
        expect: RecordCondition,
    ) -> Result<(), StoreError> {
        self.delete_record(cx, table, key, expect).await?;
        tokio::time::sleep(self.inner.options.staleness_bound).await;
        Ok(())
    }

    /// A page of a table's records by key, and whether there are more.
    ///
    /// # Errors
    /// When the system shard is not available.
    pub async fn list_records(
        &self,
        cx: &RequestContext,
        table: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<(String, Record)>, bool), StoreError> {
        let query = Query::ListRecords {
            table: table.into(),
            after,
            limit,
        };
        match self.query(cx, ShardId::SYSTEM, query).await? {
            Found::Records { records, more } => Ok((records, more)),
            _ => Err(unexpected("ListRecords")),
        }
    }
}
