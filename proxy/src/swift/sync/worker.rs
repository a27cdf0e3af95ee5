//! The work in the background: every proxy looks at all records; one at a time works on a container, under a lease.
//!
//! A lease is no lock: a holder that was taken for dead may still send. Both send what is true, and the time of the write
//! decides on the other side.

use std::time::Duration;

use futures::StreamExt;
use store::{Bucket, Change, ListObjects, RecordCondition, RequestContext, RequestId, Seq, StoreError};
use tokio::time::timeout;

use super::realms::Realms;
use super::record::{Synced, TABLE, UNUSED_MS};
use super::send::{Errand, Failure, Sent};
use super::sender::Sender;
use super::{KEY, TO};
use crate::swift::context::Swift;
use crate::swift::reply::Refused;
use crate::swift::request::Container;

/// Containers worked on at once.
const CONTAINERS_AT_ONCE: usize = 4;
/// Changes of one container on their way at once.
const CHANGES_AT_ONCE: usize = 8;
/// Changes taken from the queue in one round.
const PAGE: usize = 100;
/// Keys put into the queue in one round, when a destination is new.
const WALK_PAGE: usize = 1000;
/// Records read in one round.
const RECORDS: usize = 500;
/// How long one container may keep the others waiting.
const CONTAINER_TIME_MS: u64 = 60_000;
/// How long a lease holds, in milliseconds: how long a container waits when its worker has died. It is renewed when half of
/// it is over.
const LEASE_MS: u64 = 30_000;
/// How often a worker that waits for an answer looks at its lease.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The pauses after failures in a row: the first, doubled each time, and the longest, in milliseconds.
const RETRY_FIRST_MS: u64 = 2_000;
const RETRY_MAX_MS: u64 = 300_000;

/// Works on what waits, again and again.
pub(crate) async fn run_forever(swift: Swift) {
    let holder = format!("{:032x}", swift.dice.u128());
    loop {
        tokio::time::sleep(swift.options.sync.every).await;
        if let Err(error) = round(&swift, &holder).await {
            tracing::warn!(%error, "container sync could not read its records");
        }
    }
}

fn context(swift: &Swift, project: &str) -> RequestContext {
    let id = RequestId::new(swift.clock.now_ms(), swift.dice.u128());
    RequestContext::new(id, project.to_owned(), swift.options.deadline)
}

/// Works once on every container that waits; answers how many changes were sent.
pub(crate) async fn round(swift: &Swift, holder: &str) -> Result<usize, StoreError> {
    let cx = context(swift, "");
    let (mut after, mut sent) = (None, 0);
    loop {
        let (records, more) = swift.store.list_records(&cx, TABLE, after, RECORDS).await?;
        after = records.last().map(|(name, _)| name.clone());
        let jobs = records.into_iter().filter_map(|(_, record)| {
            let synced = Synced::decode(&record)?;
            let now = swift.clock.now_ms();
            let taken = synced.lease_ms > now && synced.holder != holder;
            (!taken && synced.retry_ms <= now).then_some((synced, record.version))
        });
        let counts: Vec<usize> = futures::stream::iter(jobs)
            .map(|(synced, version)| async move {
                let name = synced.name();
                let work = Work::new(swift, holder, synced, version);
                work.run().await.unwrap_or_else(|error| {
                    tracing::warn!(bucket = name, %error, "container sync: the cluster itself did not answer");
                    0
                })
            })
            .buffer_unordered(CONTAINERS_AT_ONCE)
            .collect()
            .await;
        sent += counts.into_iter().sum::<usize>();
        if !more || after.is_none() {
            return Ok(sent);
        }
    }
}

/// One container's turn.
struct Work<'a> {
    swift: &'a Swift,
    holder: &'a str,
    cx: RequestContext,
    synced: Synced,
    version: u64,
    began_ms: u64,
    sent: usize,
}

/// Why a turn ends early.
enum End {
    /// Somebody else holds the lease now.
    Taken,
    /// The cluster did not answer.
    Store(StoreError),
    /// The other side failed.
    Failed(String),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<'a> Work<'a> {
    fn new(swift: &'a Swift, holder: &'a str, synced: Synced, version: u64) -> Self {
        Self {
            swift,
            holder,
            cx: context(swift, &synced.project),
            synced,
            version,
            began_ms: swift.clock.now_ms(),
            sent: 0,
        }
    }

    fn now_ms(&self) -> u64 {
        self.swift.clock.now_ms()
    }

    async fn run(mut self) -> Result<usize, StoreError> {
        let found = self.swift.container(&self.cx, &self.synced.container).await;
        let found = found.map_err(|refused: Refused| StoreError::Unavailable(refused.status.to_string()))?;
        let found = found.filter(|container| container.bucket.info.id.0 == self.synced.bucket);
        let wanted = found.and_then(|container| {
            let (to, key) = (
                container.settings.get(TO)?.to_owned(),
                container.settings.get(KEY)?.to_owned(),
            );
            Some((container, to, key))
        });
        let Some((container, to, key)) = wanted else {
            return self.drop_unused().await;
        };
        if container.config.versioning == store::Versioning::Enabled {
            metrics::counter!("halo_container_sync_skips_total").increment(1);
            return Ok(0);
        }
        let is_new = self.synced.to != to;
        if is_new {
            (self.synced.to, self.synced.walked, self.synced.walk_done) = (to.clone(), None, false);
            (self.synced.skip_to, self.synced.skip_until_ms, self.synced.failures) = (0, 0, 0);
        }
        if self.synced.walk_done && self.next(1).await?.0.is_empty() {
            return Ok(0);
        }
        let ended = self.work(&container, &to, key).await;
        self.finish(ended).await
    }

    async fn work(&mut self, container: &Container, to: &str, key: String) -> Result<(), End> {
        self.hold().await?;
        let realms = Realms(&self.swift.options.sync);
        let destination = realms.destination(to).map_err(End::Failed)?;
        self.walk(&container.bucket).await?;
        let sender = Sender::to(&destination, self.swift.options.sync.authorities.clone()).await;
        let errand = Errand {
            swift: self.swift.clone(),
            cx: self.cx.clone(),
            bucket: container.bucket.clone(),
            key,
            destination,
            sender: sender.map_err(|error| End::Failed(error.to_string()))?,
        };
        self.send_all(&errand).await
    }

    /// Takes the lease, or renews it.
    async fn hold(&mut self) -> Result<(), End> {
        self.synced.holder = self.holder.to_owned();
        self.synced.lease_ms = self.now_ms() + LEASE_MS;
        self.save().await
    }

    async fn save(&mut self) -> Result<(), End> {
        let written = self.synced.write(self.swift, &self.cx, self.version).await?;
        self.version = written.ok_or(End::Taken)?;
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), End> {
        if self.synced.lease_ms < self.now_ms() + LEASE_MS / 2 {
            self.hold().await?;
        }
        Ok(())
    }

    /// Puts all keys of a container into its queue, when its destination is new.
    async fn walk(&mut self, bucket: &Bucket) -> Result<(), End> {
        while !self.synced.walk_done {
            let after = self.synced.walked.as_ref().and_then(|key| hex::decode(key).ok());
            let list = ListObjects {
                after,
                limit: WALK_PAGE,
                ..ListObjects::default()
            };
            let page = self.swift.store.list_objects(&self.cx, bucket, list).await?;
            let keys: Vec<store::Key> = page.entries.into_iter().map(|(key, _)| key).collect();
            if let Some(last) = keys.last() {
                self.synced.walked = Some(hex::encode(last));
            }
            self.synced.walk_done = !page.more;
            if !keys.is_empty() {
                self.swift.store.note_changes(&self.cx, bucket, keys).await?;
            }
            self.save().await?;
            self.renew().await?;
        }
        Ok(())
    }

    /// The next changes behind those that failed by themselves a while ago.
    async fn next(&self, limit: usize) -> Result<(Vec<Change>, bool), StoreError> {
        let skips = self.synced.skip_until_ms > self.now_ms();
        let after = skips.then_some(Seq(self.synced.skip_to));
        self.swift
            .store
            .changes(&self.cx, self.synced.place(), after, limit)
            .await
    }

    async fn send_all(&mut self, errand: &Errand) -> Result<(), End> {
        let skips = self.synced.skip_until_ms > self.now_ms();
        let mut after = skips.then_some(Seq(self.synced.skip_to));
        let mut stuck = None;
        loop {
            let place = self.synced.place();
            let (changes, more) = self.swift.store.changes(&self.cx, place, after, PAGE).await?;
            let Some(last) = changes.last().map(|change| change.seq) else {
                break;
            };
            let sent = self.send_page(errand, changes, &mut stuck).await;
            sent?;
            after = Some(last);
            if !more || self.now_ms() > self.began_ms + CONTAINER_TIME_MS {
                break;
            }
        }
        if let Some(seq) = stuck {
            (self.synced.skip_to, self.synced.skip_until_ms) = (seq, self.now_ms() + RETRY_MAX_MS);
        }
        Ok(())
    }

    /// Sends a page in its order, a few at once, and drops what was sent from the queue, also when the rest failed.
    async fn send_page(&mut self, errand: &Errand, changes: Vec<Change>, stuck: &mut Option<u64>) -> Result<(), End> {
        let (mut done, mut failed) = (Vec::with_capacity(changes.len()), None);
        let mut results = futures::stream::iter(changes)
            .map(|change| async move { (change.seq, errand.send(&change).await) })
            .buffered(CHANGES_AT_ONCE);
        loop {
            self.renew().await?;
            let Ok(next) = timeout(LOOK_EVERY, results.next()).await else {
                continue;
            };
            let Some((seq, result)) = next else { break };
            match result {
                Ok(sent) => {
                    count(sent);
                    done.push(seq);
                }
                Err(Failure::This(why)) => {
                    metrics::counter!("halo_container_sync_failures_total").increment(1);
                    tracing::warn!(
                        bucket = self.synced.bucket,
                        why,
                        "container sync: one object was not sent"
                    );
                    self.synced.problem = Some(why);
                    *stuck = Some(seq.0);
                }
                Err(Failure::Everything(why)) => {
                    failed = Some(why);
                    break;
                }
            }
        }
        drop(results);
        self.sent += done.len();
        if !done.is_empty() {
            let place = self.synced.place();
            self.swift.store.forget_changes(&self.cx, place, done).await?;
        }
        failed.map_or(Ok(()), |why| Err(End::Failed(why)))
    }

    /// Notes how the turn ended and gives the lease back.
    async fn finish(mut self, ended: Result<(), End>) -> Result<usize, StoreError> {
        match ended {
            Ok(()) => {
                metrics::counter!("halo_container_sync_syncs_total").increment(1);
                (self.synced.failures, self.synced.retry_ms) = (0, 0);
            }
            Err(End::Taken) => return Ok(self.sent),
            Err(End::Store(error)) => return Err(error),
            Err(End::Failed(why)) => {
                metrics::counter!("halo_container_sync_failures_total").increment(1);
                let pause = RETRY_FIRST_MS
                    .saturating_mul(1 << self.synced.failures.min(16))
                    .min(RETRY_MAX_MS);
                if self.synced.failures == 0 {
                    let (project, container) = (&self.synced.project, &self.synced.container);
                    tracing::warn!(project, container, why, "container sync does not get on");
                }
                self.synced.failures = self.synced.failures.saturating_add(1);
                // Not all at once after an outage: up to a quarter more.
                let more = u64::try_from(self.swift.dice.u128() % 64).unwrap_or(0) * pause / 256;
                self.synced.retry_ms = self.now_ms() + pause + more;
                self.synced.problem = Some(why);
            }
        }
        self.synced.lease_ms = 0;
        match self.save().await {
            Ok(()) | Err(End::Taken | End::Failed(_)) => Ok(self.sent),
            Err(End::Store(error)) => Err(error),
        }
    }

    /// The container is gone, or is sent nowhere any more: what it left in its queue goes, then the record.
    async fn drop_unused(self) -> Result<usize, StoreError> {
        if self.synced.made_ms + UNUSED_MS > self.now_ms() {
            return Ok(0);
        }
        let (store, place) = (&self.swift.store, self.synced.place());
        loop {
            let (changes, more) = store.changes(&self.cx, place, None, WALK_PAGE).await?;
            if !changes.is_empty() {
                let places = changes.into_iter().map(|change| change.seq).collect();
                store.forget_changes(&self.cx, place, places).await?;
            }
            if !more {
                break;
            }
        }
        let expect = RecordCondition::Version(self.version);
        match store.delete_record(&self.cx, TABLE, &self.synced.name(), expect).await {
            Ok(()) | Err(StoreError::RecordConflict { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

fn count(sent: Sent) {
    match sent {
        Sent::Put(bytes) => {
            metrics::counter!("halo_container_sync_puts_total").increment(1);
            metrics::counter!("halo_container_sync_bytes_total").increment(bytes);
        }
        Sent::Deleted => metrics::counter!("halo_container_sync_deletes_total").increment(1),
        Sent::Nothing => metrics::counter!("halo_container_sync_unneeded_total").increment(1),
    }
}
