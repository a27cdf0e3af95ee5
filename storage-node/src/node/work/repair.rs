//! Comparing what devices hold with what they should hold (DESIGN §3.5), a partition at a time.
//!
//! For each device of this node, again and again, and at once after the rings have changed or a device was opened:
//!
//! - **Lacking.** The partitions it is a primary of: digests are compared with those of the other primaries. A difference
//!   is only a question to the owning shard. What is referenced and not here is copied here: a few chunks through the
//!   shard's `short` queue, which serves the fewest copies first; many at once by a job for the partition, which is noted
//!   in the system shard until it is done, so that "healed" is a number from the log (HEAL-1).
//! - **Surplus.** The partitions it holds something of without being named by a live ring: old copies after a change,
//!   handoffs. What is referenced is sent to the primaries that lack it, and dropped here once every primary has it
//!   (REB-1). What is not referenced is left to reclaim and to the collector of orphans (DUR-3).
//!
//! ```text
//! table "repair_jobs", key = policy "/" device, 10 digits:   JSON of OpenJobs
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use metadata::command::{Command, RecordCondition};
use metadata::ids::DeviceId;
use metadata::model::PolicyId;
use metadata::query::Life;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::moving::{Copied, Job, Manner, Outcome, Pace, Scope, Span, bring, line_name, rate};
use super::{BLOB_DEADLINE, SHARD_DEADLINE, Workshop, per_device};
use crate::client::{DataPlane, LiveRings, Spot, Standing};
use crate::device::{Blob, BlobHeader, BlobKey, BlobStore};

/// The table of open partition jobs.
pub const REPAIR_JOBS_TABLE: &str = "repair_jobs";
/// How often it is noted which of them are left, at the most.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// Keys looked at in one step.
const PAGE: usize = 500;
const FORMAT: u32 = 1;

/// The partitions of one device that lack more than a few blobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenJobs {
    /// The format version, 1.
    pub format: u32,
    /// The device that lacks them.
    pub device: u32,
    /// The partitions.
    pub partitions: BTreeSet<u32>,
    /// When the first of them was found, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When this was written.
    pub updated_ms: u64,
}

impl OpenJobs {
    /// Reads a record; `None` when it is of another format.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let jobs: Self = serde_json::from_slice(value).ok()?;
        (jobs.format == FORMAT).then_some(jobs)
    }
}

/// Looks after this node's devices, each for each policy in a task of its own.
pub(super) async fn run(workshop: Workshop) {
    per_device(&workshop, look_after).await;
}

/// Looks through one device for one policy whenever that is due, until the device is closed.
async fn look_after(workshop: Workshop, device: DeviceId, policy: PolicyId) {
    let name = line_name("repair of", device, policy);
    let mut seen: Option<Seen> = None;
    while let Some(store) = workshop.devices.set().get(device) {
        if let Some(live) = workshop.client.rings(policy) {
            let wanted = Seen::of(&live, &store);
            let interval = workshop.options.repair_interval;
            if seen.as_ref().is_none_or(|seen| seen.due(&wanted, interval)) {
                let look = Look {
                    workshop: &workshop,
                    live: &live,
                    policy,
                    device,
                    store: &store,
                    name: name.clone(),
                };
                match look.pass().await {
                    Ok(()) => seen = Some(wanted),
                    Err(why) => workshop.board.failed(&name, why),
                }
            }
        }
        // A device that is closed meanwhile must not be held open by a pause.
        drop(store);
        tokio::time::sleep(workshop.options.idle_pause).await;
    }
}

/// One look through a device for what one policy's rings say of it.
struct Look<'a> {
    workshop: &'a Workshop,
    live: &'a Arc<LiveRings>,
    policy: PolicyId,
    device: DeviceId,
    store: &'a Arc<dyn BlobStore>,
    /// Of its status line.
    name: String,
}

/// When a device was looked through, and under which rings.
struct Seen {
    epoch: u64,
    moving: bool,
    /// The device as it was opened: another one is a device that was closed meanwhile, or replaced.
    store: std::sync::Weak<dyn BlobStore>,
    at: Instant,
}

impl Seen {
    fn of(live: &LiveRings, store: &Arc<dyn BlobStore>) -> Self {
        Self {
            epoch: live.state.current.epoch,
            moving: live.moving(),
            store: Arc::downgrade(store),
            at: Instant::now(),
        }
    }

    fn due(&self, now: &Self, interval: Duration) -> bool {
        (self.epoch, self.moving) != (now.epoch, now.moving)
            || !self.store.ptr_eq(&now.store)
            || now.at.saturating_duration_since(self.at) >= interval
    }
}

/// What one look through a device found.
#[derive(Default)]
struct Tally {
    compared: u64,
    queued: u64,
    sent: u64,
    dropped: u64,
    /// Why something has to be looked at again.
    waits: Option<String>,
}

impl Look<'_> {
    async fn pass(&self) -> Result<(), String> {
        let mut tally = Tally::default();
        self.lacking(&mut tally).await?;
        self.surplus(&mut tally).await?;
        let Tally {
            compared,
            queued,
            sent,
            dropped,
            waits,
        } = tally;
        self.workshop.board.done(&self.name, queued + sent + dropped);
        self.workshop.board.state(
            &self.name,
            format!(
                "compared {compared} partitions, queued {queued} chunks, sent {sent} home, dropped {dropped} surplus"
            ),
        );
        // What waits for another device is looked at again soon.
        waits.map_or(Ok(()), Err)
    }

    /// Compares the device's partitions with the other primaries'.
    async fn lacking(&self, tally: &mut Tally) -> Result<(), String> {
        let Self { workshop, live, .. } = self;
        let mut open = OpenJobs::default();
        let ring = &live.current.ring;
        for partition in ring.partition_ids().map(|partition| partition.0) {
            let span = Span::of(partition, ring.part_power());
            // A partition on its way here is the mover's; so is the record of it.
            let Some(spot) = live.own_spot(self.device, span.first) else {
                continue;
            };
            if live.standing(self.device, spot) != Standing::Kept {
                continue;
            }
            tally.compared += 1;
            let lacks = match self.compare(span).await {
                Ok(lacks) => lacks,
                Err(why) => {
                    tally.waits = Some(why);
                    continue;
                }
            };
            if lacks > workshop.options.repair_queued_max {
                open.partitions.insert(partition);
            } else if lacks > 0 {
                tally.queued += self.queue(span).await?;
            }
            if tally.compared.is_multiple_of(64) {
                let state = format!("compared {} partitions, {} open", tally.compared, open.partitions.len());
                workshop.board.state(&self.name, state);
            }
            tokio::time::sleep(workshop.options.repair_pause).await;
        }
        if open.partitions.is_empty() {
            return self.close_jobs().await;
        }
        self.work_off(open).await
    }

    /// How many blobs more than this device some other primary has, or at least one when they differ in another way.
    async fn compare(&self, span: Span) -> Result<u64, String> {
        let range = span.first..=span.last;
        let own = self.store.digest(range.clone(), self.policy).await;
        let own = own.map_err(|e| e.to_string())?;
        let client = &self.workshop.client;
        let others = self.others(span);
        let asked = others
            .iter()
            .map(|other| client.digest_blobs(*other, range.clone(), self.policy, BLOB_DEADLINE));
        let mut lacks = 0;
        for said in join_all(asked).await {
            let digest = said.map_err(|e| e.to_string())?;
            if digest != own && digest.blobs > 0 {
                lacks = lacks.max(digest.blobs.saturating_sub(own.blobs)).max(1);
            }
        }
        Ok(lacks)
    }

    /// Hands the chunks of a partition that live and are not here to their shards' queues.
    async fn queue(&self, span: Span) -> Result<u64, String> {
        let Self {
            workshop, live, store, ..
        } = self;
        let own = live.own_spot(self.device, span.first).and_then(Spot::fragment);
        let mut holders: BTreeMap<BlobKey, (BlobHeader, Vec<DeviceId>)> = BTreeMap::new();
        for other in self.others(span) {
            let mut after = span.before();
            loop {
                let call = crate::blob_http::ListCall {
                    after,
                    until_placement: span.last,
                    limit: u32::try_from(PAGE).unwrap_or(u32::MAX),
                };
                let page = workshop.client.list_blobs(other, call, BLOB_DEADLINE).await;
                let page = page.map_err(|e| e.to_string())?;
                let Some((last, _)) = page.last() else { break };
                after = Some(*last);
                let full = page.len() >= PAGE;
                for (key, header) in page.into_iter().filter(|(key, _)| key.id.policy() == self.policy) {
                    // Of a chunk in fragments, this device's own is asked for.
                    let wanted = own.map_or(key, |number| key.piece(number));
                    let key = key.without_fragment();
                    let here = store.stat(wanted).await.map_err(|e| e.to_string())?.is_some();
                    // More than a few are a job's work; the next look finds that.
                    if !here && holders.len() as u64 <= 2 * workshop.options.repair_queued_max {
                        holders.entry(key).or_insert_with(|| (header, Vec::new())).1.push(other);
                    }
                }
                if !full {
                    break;
                }
            }
        }
        let lives = workshop
            .lives(holders.iter().map(|(key, (header, _))| (key, header)))
            .await?;
        let mut queued = 0;
        for (key, (header, devices)) in holders {
            if lives.get(&key.id.write) == Some(&Life::Referenced) {
                let (write, first, count) = (key.id.write, key.id.number(), 1);
                let command = Command::MarkShort {
                    write,
                    first,
                    count,
                    devices,
                };
                workshop.tell(header.shard, command).await?;
                queued += 1;
            }
        }
        Ok(queued)
    }

    /// Brings all partitions that lack much, noting in the system shard which are open.
    async fn work_off(&self, mut open: OpenJobs) -> Result<(), String> {
        let Self {
            workshop,
            live,
            policy,
            device,
            ..
        } = *self;
        let now_ms = workshop.clock.now_ms();
        let before = self.noted().await?;
        open.format = FORMAT;
        open.device = device.0;
        open.since_ms = before.map_or(now_ms, |before| before.since_ms);
        let (pace, copied, epoch) = (Pace::new(), Copied::default(), live.state.current.epoch);
        let go_on = || {
            let now = workshop.client.rings(policy);
            now.is_some_and(|now| now.state.current.epoch == epoch) && workshop.devices.set().contains(device)
        };
        let rate = || rate(workshop, policy);
        let manner = Manner {
            pace: &pace,
            rate: &rate,
            go_on: &go_on,
            copied: &copied,
        };
        self.note(&mut open).await?;
        let (mut waits, mut interrupted, mut noted) = (None, false, Instant::now());
        let jobs = futures::stream::iter(open.partitions.clone()).map(|partition| {
            let span = Span::of(partition, live.current.ring.part_power());
            let sources = self.others(span);
            let job = Job {
                device,
                store: Arc::clone(self.store),
                policy,
                live: Arc::clone(live),
                span,
                scope: Scope {
                    counted: sources.clone(),
                    needed: sources.len().div_ceil(2),
                    sources,
                },
            };
            let manner = &manner;
            async move { (partition, bring(workshop, &job, manner).await) }
        });
        let mut jobs = std::pin::pin!(jobs.buffer_unordered(workshop.options.moves_at_once.max(1)));
        while let Some((partition, outcome)) = jobs.next().await {
            match outcome {
                Outcome::Done => drop(open.partitions.remove(&partition)),
                Outcome::Waits(why) => waits = Some(why),
                Outcome::Interrupted => interrupted = true,
            }
            if noted.elapsed() >= NOTE_EVERY {
                let state = format!("{} partitions lack more than a few blobs", open.partitions.len());
                workshop.board.state(&self.name, state);
                self.note(&mut open).await?;
                noted = Instant::now();
            }
        }
        if interrupted {
            return Err("the rings changed meanwhile".to_owned());
        }
        match waits {
            Some(why) => {
                self.note(&mut open).await?;
                Err(why)
            }
            None => self.close_jobs().await,
        }
    }

    /// The other primaries of a partition.
    fn others(&self, span: Span) -> Vec<DeviceId> {
        let mut others = self.live.primaries(span.first);
        others.retain(|other| *other != self.device);
        others
    }

    fn jobs_key(&self) -> String {
        format!("{}/{:010}", self.policy.0, self.device.0)
    }

    async fn noted(&self) -> Result<Option<OpenJobs>, String> {
        let key = self.jobs_key();
        let client = &self.workshop.client;
        let record = client.record(REPAIR_JOBS_TABLE, &key, SHARD_DEADLINE).await;
        Ok(record
            .map_err(|e| e.to_string())?
            .and_then(|record| OpenJobs::decode(&record.value)))
    }

    async fn note(&self, open: &mut OpenJobs) -> Result<(), String> {
        open.updated_ms = self.workshop.clock.now_ms();
        let key = self.jobs_key();
        let value = serde_json::to_vec(open)
            .expect("jobs have nothing JSON cannot write")
            .into();
        let put = self
            .workshop
            .client
            .put_record(REPAIR_JOBS_TABLE, &key, RecordCondition::Any, value, SHARD_DEADLINE);
        put.await.map(drop).map_err(|e| e.to_string())
    }

    async fn close_jobs(&self) -> Result<(), String> {
        if self.noted().await?.is_none() {
            return Ok(());
        }
        let key = self.jobs_key();
        let deleted = self
            .workshop
            .client
            .delete_record(REPAIR_JOBS_TABLE, &key, SHARD_DEADLINE);
        deleted.await.map_err(|e| e.to_string())
    }

    /// Looks at everything of the policy that the device holds without being asked to by a live ring.
    async fn surplus(&self, tally: &mut Tally) -> Result<(), String> {
        let Self {
            workshop, live, store, ..
        } = *self;
        let mut after = None;
        loop {
            let page = store.list(after, u64::MAX, PAGE).await.map_err(|e| e.to_string())?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            let is_surplus = |key: &BlobKey| {
                key.id.policy() == self.policy && live.standing(self.device, *key) == Standing::Stranger
            };
            let surplus: Vec<_> = page.into_iter().filter(|(key, _)| is_surplus(key)).collect();
            if surplus.is_empty() {
                after = self.step_over(after);
                continue;
            }
            match self.send_home(surplus, tally).await {
                Ok(()) => {}
                Err(why) => tally.waits = Some(why),
            }
            workshop.board.state(
                &self.name,
                format!("surplus: sent {} home, dropped {}", tally.sent, tally.dropped),
            );
            tokio::time::sleep(workshop.options.repair_pause).await;
        }
    }

    /// Where to go on behind `after`: past the rest of its partition when all of that belongs here.
    fn step_over(&self, after: Option<BlobKey>) -> Option<BlobKey> {
        let key = after?;
        let ring = &self.live.current.ring;
        let alone = self.workshop.client.placed_policies().len() == 1;
        let span = Span::of(ring.partition_of(key.placement).0, ring.part_power());
        if alone && self.live.standing(self.device, key.placement) != Standing::Stranger {
            return Some(span.end());
        }
        after
    }

    /// Sends what lives to the primaries that lack it, and drops what all of them have.
    async fn send_home(&self, page: Vec<(BlobKey, BlobHeader)>, tally: &mut Tally) -> Result<(), String> {
        let workshop = self.workshop;
        let lives = workshop.lives(page.iter().map(|(key, header)| (key, header))).await?;
        // Those that belong to the same devices travel together.
        let mut homes: BTreeMap<Vec<DeviceId>, Vec<(BlobKey, BlobHeader)>> = BTreeMap::new();
        for (key, header) in page {
            if lives.get(&key.id.write) == Some(&Life::Referenced) {
                homes.entry(self.live.primaries(key)).or_default().push((key, header));
            }
        }
        let mut waits = None;
        for (primaries, living) in homes {
            if let Err(why) = self.send_to(&primaries, living, tally).await {
                waits = Some(why);
            }
        }
        waits.map_or(Ok(()), Err)
    }

    async fn send_to(
        &self,
        primaries: &[DeviceId],
        living: Vec<(BlobKey, BlobHeader)>,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let Self {
            workshop, live, store, ..
        } = *self;
        let keys: Vec<BlobKey> = living.iter().map(|(key, _)| *key).collect();
        let mut home: Vec<BTreeSet<DeviceId>> = vec![BTreeSet::new(); living.len()];
        let (mut sent, mut waits) = (0, None);
        for primary in primaries {
            let held = workshop.client.stat_blobs(*primary, keys.clone(), BLOB_DEADLINE).await;
            let held = match held {
                Ok(held) => held,
                Err(error) => {
                    waits = Some(error.to_string());
                    continue;
                }
            };
            for (at, (key, header)) in living.iter().enumerate() {
                let same = held
                    .get(at)
                    .and_then(Option::as_ref)
                    .is_some_and(|other| other.blake3 == header.blake3);
                if same || put_home(workshop, store, *primary, *key, *header).await? {
                    home[at].insert(*primary);
                    sent += u64::from(!same);
                }
            }
        }
        let all_home = |at: &usize| primaries.iter().all(|primary| home[*at].contains(primary));
        let dropped: Vec<BlobKey> = (0..living.len()).filter(all_home).map(|at| living[at].0).collect();
        tally.sent += sent;
        let now = workshop.client.rings(self.policy);
        if now.is_none_or(|now| now.state.current.epoch != live.state.current.epoch) {
            return Err("the rings changed meanwhile".to_owned());
        }
        if !dropped.is_empty() {
            let count = dropped.len() as u64;
            store.remove(dropped).await.map_err(|e| e.to_string())?;
            tally.dropped += count;
        }
        waits.map_or(Ok(()), Err)
    }
}

/// Gives a primary its copy from this device's own; false when this one is no good.
async fn put_home(
    workshop: &Workshop,
    store: &Arc<dyn BlobStore>,
    primary: DeviceId,
    key: BlobKey,
    header: BlobHeader,
) -> Result<bool, String> {
    let Ok(slice) = store.read_for_upkeep(key, 0..header.len).await else {
        return Ok(false);
    };
    if slice.payload.len() != header.len as usize || slice.verify().is_err() {
        return Ok(false);
    }
    let blob = Blob {
        key,
        header: slice.header,
        frame_crcs: slice.frame_crcs,
        payload: slice.payload.into(),
    };
    let put = workshop.client.put_blob(primary, blob, BLOB_DEADLINE).await;
    put.map(|()| true).map_err(|e| e.to_string())
}
