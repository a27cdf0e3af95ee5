//! Identity's records: JSON documents in tables of the system shard, read in three ways.
//!
//! ```text
//! get, list        linearizable: what the API shows and what changes are decided on
//! peek             this process's copy; a miss is confirmed by the shard, so that what was just made works everywhere
//! recent, scan     this process's copy, misses too: as old as the staleness bound at most; no hop, for every request
//! ```
//! A change returns when this process's own copy shows it: what was taken away here is gone here at once.
//! [`Records::settle`] returns when no process acts on what was before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clock::{Dice, WallClock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{RecordCondition, RequestContext, RequestId, Store, StoreError};

use crate::error::IdentityError;
use crate::row;

/// Whose name identity's own commands carry.
const OWNER: &str = "identity";
/// How long the system shard may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Records asked for in one round of a listing.
const LIST_PAGE: usize = 1000;
/// Records asked for in the first round of a scan of one owner's records, of which there are few.
const SCAN_PAGE: usize = 32;
/// The most records one listing answers with (MEM-1).
const LIST_MAX: usize = 100_000;
/// How often this process's copy is looked at while it does not show a change yet.
const COPY_POLL: Duration = Duration::from_millis(2);
/// How long what was computed from records may be used without looking again.
pub(crate) const COMPUTED_MAX: Duration = Duration::from_millis(100);

/// The door to the records.
pub(crate) struct Records {
    store: Store,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) dice: Arc<dyn Dice>,
    /// Counts this process's own changes: whatever was computed before the last one is stale.
    changes: AtomicU64,
}

impl Records {
    pub(crate) fn new(store: Store, clock: Arc<dyn WallClock>, dice: Arc<dyn Dice>) -> Self {
        Self {
            store,
            clock,
            dice,
            changes: AtomicU64::new(0),
        }
    }

    /// A number that differs after every change made through this process.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The time, milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// A new id as OpenStack makes them: 32 hex digits.
    pub(crate) fn new_id(&self) -> String {
        format!("{:032x}", self.dice.u128())
    }

    /// One record and its version.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        table: &str,
        key: &str,
    ) -> Result<Option<(u64, T)>, IdentityError> {
        let record = self.store.record(&self.context(), table, key).await?;
        let decode = |record: store::Record| Ok((record.version, row::decode(table, key, &record.value)?));
        record.map(decode).transpose()
    }

    /// One record out of the copy; a miss is confirmed.
    pub(crate) async fn peek<T: DeserializeOwned>(&self, table: &str, key: &str) -> Result<Option<T>, IdentityError> {
        let record = self.store.record_from_copy(&self.context(), table, key).await?;
        record.map(|record| row::decode(table, key, &record.value)).transpose()
    }

    /// One record out of the copy as it is stored; a miss is confirmed.
    pub(crate) async fn peek_raw(&self, table: &str, key: &str) -> Result<Option<store::Record>, IdentityError> {
        Ok(self.store.record_from_copy(&self.context(), table, key).await?)
    }

    /// One record out of the copy; a miss is believed.
    pub(crate) async fn recent<T: DeserializeOwned>(&self, table: &str, key: &str) -> Result<Option<T>, IdentityError> {
        let record = self.store.recent_record(&self.context(), table, key).await?;
        record.map(|record| row::decode(table, key, &record.value)).transpose()
    }

    /// All records of a table whose keys begin with `prefix`, by key.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        table: &str,
        prefix: &str,
    ) -> Result<Vec<(String, T)>, IdentityError> {
        self.collect(table, prefix, LIST_PAGE, false).await
    }

    /// As [`Self::list`], out of the copy.
    pub(crate) async fn scan<T: DeserializeOwned>(
        &self,
        table: &str,
        prefix: &str,
    ) -> Result<Vec<(String, T)>, IdentityError> {
        self.collect(table, prefix, SCAN_PAGE, true).await
    }

    async fn collect<T: DeserializeOwned>(
        &self,
        table: &str,
        prefix: &str,
        first_page: usize,
        from_copy: bool,
    ) -> Result<Vec<(String, T)>, IdentityError> {
        let mut found = Vec::new();
        let mut after = (!prefix.is_empty()).then(|| prefix.to_owned());
        let mut page = first_page;
        loop {
            let cx = self.context();
            let (records, more) = if from_copy {
                self.store.recent_records(&cx, table, after, page).await?
            } else {
                self.store.list_records(&cx, table, after, page).await?
            };
            after = records.last().map(|(key, _)| key.clone());
            for (key, record) in records {
                if !key.starts_with(prefix) {
                    return Ok(found);
                }
                let row = row::decode(table, &key, &record.value)?;
                found.push((key, row));
            }
            if !more || after.is_none() {
                return Ok(found);
            }
            if found.len() > LIST_MAX {
                return Err(IdentityError::TooMany);
            }
            page = LIST_PAGE;
        }
    }

    /// Writes a record that must not exist.
    ///
    /// # Errors
    /// [`IdentityError::Taken`] when it does.
    pub(crate) async fn insert(&self, table: &str, key: &str, row: &impl Serialize) -> Result<(), IdentityError> {
        self.write(table, key, RecordCondition::Absent, row).await
    }

    /// Writes a record that must stand at `version`.
    ///
    /// # Errors
    /// [`IdentityError::Taken`] when somebody else changed it.
    pub(crate) async fn replace(
        &self,
        table: &str,
        key: &str,
        version: u64,
        row: &impl Serialize,
    ) -> Result<(), IdentityError> {
        self.write(table, key, RecordCondition::Version(version), row).await
    }

    /// Writes a record, whatever stands there.
    pub(crate) async fn put(&self, table: &str, key: &str, row: &impl Serialize) -> Result<(), IdentityError> {
        self.write(table, key, RecordCondition::Any, row).await
    }

    async fn write(
        &self,
        table: &str,
        key: &str,
        expect: RecordCondition,
        row: &impl Serialize,
    ) -> Result<(), IdentityError> {
        let value = row::encode(row);
        let written = self.store.put_record(&self.context(), table, key, expect, value).await;
        self.changes.fetch_add(1, Ordering::AcqRel);
        match written {
            Ok(version) => {
                self.wait_for_copy(table, key, |seen| seen.is_some_and(|seen| seen >= version))
                    .await;
                self.changes.fetch_add(1, Ordering::AcqRel);
                Ok(())
            }
            Err(StoreError::RecordConflict { .. }) => Err(IdentityError::Taken),
            Err(other) => Err(other.into()),
        }
    }

    /// Removes a record, if it is there.
    pub(crate) async fn remove(&self, table: &str, key: &str) -> Result<(), IdentityError> {
        let cx = self.context();
        let removed = self.store.delete_record(&cx, table, key, RecordCondition::Any).await;
        self.changes.fetch_add(1, Ordering::AcqRel);
        removed?;
        self.wait_for_copy(table, key, |seen| seen.is_none()).await;
        self.changes.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Returns when no process acts on what the records said before this call. To be awaited after rights were taken.
    pub(crate) async fn settle(&self) {
        self.store.settle_records().await;
        tokio::time::sleep(COMPUTED_MAX).await;
    }

    /// Waits, no longer than copies may be stale, until the own copy shows what was done.
    async fn wait_for_copy(&self, table: &str, key: &str, shows: impl Fn(Option<u64>) -> bool) {
        let ends = tokio::time::Instant::now() + self.store.options().staleness_bound;
        while tokio::time::Instant::now() < ends {
            match self.store.recent_record(&self.context(), table, key).await {
                Ok(record) if !shows(record.as_ref().map(|record| record.version)) => {}
                _ => return,
            }
            tokio::time::sleep(COPY_POLL).await;
        }
    }

    /// A context for one question or change of identity's own.
    fn context(&self) -> RequestContext {
        let id = RequestId::new(self.clock.now_ms(), self.dice.u128());
        RequestContext::new(id, OWNER.to_owned(), DEADLINE)
    }
}
