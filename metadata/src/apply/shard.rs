//! The shard while a batch is applied: unwritten rows, the counters, and the buckets the batch has touched, each
//! decoded once and written once.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::codec;
use crate::ids::{BucketId, Seq};
use crate::keys;
use crate::model::{BucketConfig, Totals, Versioning};
use crate::read;
use crate::reply::Refusal;
use crate::rows::{Family, Overlay, ReadRows, RowChange, RowsError};
use crate::values::Counters;

/// Why a command did not come to its end.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A rule forbids it; the reply.
    Refused(Refusal),
    /// Rows cannot be read; the batch is not decided.
    Rows(RowsError),
}

impl Fault {
    pub(crate) fn invalid(why: &str) -> Self {
        Self::Refused(Refusal::Invalid(why.to_owned()))
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<RowsError> for Fault {
    fn from(error: RowsError) -> Self {
        Self::Rows(error)
    }
}

/// A bucket as a key shard knows it, decoded.
#[derive(Default)]
struct OpenBucket {
    config: BucketConfig,
    config_changed: bool,
    totals_before: Totals,
    totals: Totals,
}

/// A shard in the middle of a batch.
pub(crate) struct Shard<'a> {
    pub(crate) rows: Overlay<'a, dyn ReadRows + 'a>,
    pub(crate) counters: Counters,
    counters_before: Counters,
    buckets: BTreeMap<BucketId, OpenBucket>,
}

impl<'a> Shard<'a> {
    pub(crate) fn open(rows: &'a (dyn ReadRows + 'a)) -> Result<Self, RowsError> {
        let counters = read::counters(rows)?;
        Ok(Self {
            rows: Overlay::new(rows),
            counters_before: counters.clone(),
            counters,
            buckets: BTreeMap::new(),
        })
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.counters.time_ms
    }

    /// The next sort position. Taken only when the command can no longer be refused.
    pub(crate) fn next_seq(&mut self) -> Seq {
        let seq = Seq(self.counters.next_seq);
        self.counters.next_seq += 1;
        seq
    }

    pub(crate) fn put<T: Serialize>(&mut self, family: Family, key: Vec<u8>, value: &T) {
        self.rows.put(family, key, codec::encode_row(value));
    }

    pub(crate) fn config(&mut self, bucket: BucketId) -> Result<&BucketConfig, RowsError> {
        Ok(&self.bucket(bucket)?.config)
    }

    pub(crate) fn config_mut(&mut self, bucket: BucketId) -> Result<&mut BucketConfig, RowsError> {
        let open = self.bucket(bucket)?;
        open.config_changed = true;
        Ok(&mut open.config)
    }

    pub(crate) fn totals_mut(&mut self, bucket: BucketId) -> Result<&mut Totals, RowsError> {
        Ok(&mut self.bucket(bucket)?.totals)
    }

    /// The versioning state of a bucket that takes writes.
    pub(crate) fn writable(&mut self, bucket: BucketId) -> Result<Versioning, Fault> {
        let config = self.config(bucket)?;
        if config.sealed {
            Err(Refusal::NoSuchBucket.into())
        } else {
            Ok(config.versioning)
        }
    }

    fn bucket(&mut self, bucket: BucketId) -> Result<&mut OpenBucket, RowsError> {
        // Two look-ups, because the entry interface cannot fail in the middle.
        if !self.buckets.contains_key(&bucket) {
            let config = read::bucket_config(&self.rows, bucket)?;
            let totals = read::bucket_totals(&self.rows, bucket)?;
            let open = OpenBucket {
                config,
                config_changed: false,
                totals_before: totals,
                totals,
            };
            self.buckets.insert(bucket, open);
        }
        Ok(self.buckets.get_mut(&bucket).expect("the bucket was opened above"))
    }

    /// Everything the batch changed.
    pub(crate) fn into_changes(mut self) -> Vec<RowChange> {
        for (bucket, open) in std::mem::take(&mut self.buckets) {
            if open.config_changed {
                self.put(Family::Buckets, keys::bucket_config(bucket), &open.config);
            }
            if open.totals != open.totals_before {
                self.counters.totals = moved(self.counters.totals, open.totals_before, open.totals);
                let name = keys::bucket_totals(bucket);
                // An empty bucket has no row, however it became empty: equal states have equal rows.
                if open.totals == Totals::default() {
                    self.rows.remove(Family::Buckets, name);
                } else {
                    self.put(Family::Buckets, name, &open.totals);
                }
            }
        }
        if self.counters != self.counters_before {
            let counters = self.counters.clone();
            self.put(Family::Meta, keys::META.to_vec(), &counters);
        }
        self.rows.into_changes()
    }
}

/// The shard's sum after one of its buckets went from `before` to `after`.
fn moved(sum: Totals, before: Totals, after: Totals) -> Totals {
    Totals {
        objects: sum.objects + after.objects - before.objects,
        bytes: sum.bytes + after.bytes - before.bytes,
        noncurrent: sum.noncurrent + after.noncurrent - before.noncurrent,
        noncurrent_bytes: sum.noncurrent_bytes + after.noncurrent_bytes - before.noncurrent_bytes,
        uploads: sum.uploads + after.uploads - before.uploads,
    }
}
