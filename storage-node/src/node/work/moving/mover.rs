//! The loop of each device: its jobs of the change under way, several at once, noted as they are done.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use metadata::command::RecordCondition;
use metadata::ids::DeviceId;
use metadata::model::PolicyId;
use tokio::time::Instant;

use super::Pace;
use super::arrivals::{Span, arrivals, witnesses};
use super::job::{Copied, Job, Manner, Outcome, Scope, bring};
use super::progress::{Progress, RING_PROGRESS_TABLE, progress_key};
use crate::client::{DataPlane, LiveRings, Phase, copies_run};
use crate::node::work::mend::retry_pause;
use crate::node::work::{SHARD_DEADLINE, Workshop, per_device};

/// How often progress is noted in the system shard, at the most.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// The longest pause before a job that waits is tried again.
const WAITING_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Works on the changes of all devices of this node, each policy's in a task of its own.
pub(in crate::node::work) async fn run(workshop: Workshop) {
    per_device(&workshop, move_to).await;
}

/// What one device has to do in one phase of one change.
struct Turn {
    live: Arc<LiveRings>,
    policy: PolicyId,
    device: DeviceId,
    arrivals: Vec<u32>,
    progress: Progress,
    /// Jobs that failed, and when each may be tried again.
    waiting: HashMap<u32, (u32, Instant)>,
    /// The last note of what was done did not arrive.
    unnoted: bool,
}

/// Serves one device and policy until the device is closed.
async fn move_to(workshop: Workshop, device: DeviceId, policy: PolicyId) {
    let pace = Pace::new();
    let mut turn: Option<Turn> = None;
    while workshop.devices.set().contains(device) {
        let live = workshop.client.rings(policy);
        let Some(live) = live.filter(|live| copies_run(&live.state)) else {
            turn = None;
            tokio::time::sleep(workshop.options.idle_pause).await;
            continue;
        };
        if turn
            .as_ref()
            .is_none_or(|turn| turn.live.state.current.epoch != live.state.current.epoch)
        {
            turn = Turn::begin(&workshop, device, policy, Arc::clone(&live)).await;
        }
        let Some(turn) = &mut turn else {
            tokio::time::sleep(workshop.options.idle_pause).await;
            continue;
        };
        turn.live = live;
        if !turn.work(&workshop, &pace).await {
            tokio::time::sleep(workshop.options.idle_pause).await;
        }
    }
}

impl Turn {
    /// Reads what was done before a restart; `None` when the system shard does not answer.
    async fn begin(workshop: &Workshop, device: DeviceId, policy: PolicyId, live: Arc<LiveRings>) -> Option<Self> {
        let to_find = Arc::clone(&live);
        // A ring of a quarter of a million partitions takes a moment to compare.
        let arrivals = crate::threads::blocking(move || arrivals(&to_find, device))
            .await
            .ok()?;
        let total = arrivals.len() as u64;
        let key = progress_key(policy, live.state.current.epoch, device);
        let mut progress = Progress::new(device, total);
        if total > 0 {
            let record = workshop
                .client
                .record(RING_PROGRESS_TABLE, &key, SHARD_DEADLINE)
                .await
                .ok()?;
            let noted = record.and_then(|record| Progress::decode(&record.value));
            progress = noted.filter(|noted| noted.total == total).unwrap_or(progress);
        }
        Some(Self {
            live,
            policy,
            device,
            arrivals,
            progress,
            waiting: HashMap::new(),
            unnoted: false,
        })
    }

    /// Works for about [`NOTE_EVERY`] and notes what was done; false when there is nothing to do just now.
    async fn work(&mut self, workshop: &Workshop, pace: &Pace) -> bool {
        let phase = self.live.state.phase;
        let now = Instant::now();
        let mut ready: VecDeque<u32> = (0..u32::try_from(self.arrivals.len()).unwrap_or(u32::MAX))
            .filter(|job| !self.progress.has(phase, *job))
            .filter(|job| self.waiting.get(job).is_none_or(|(_, until)| *until <= now))
            .collect();
        let Some(store) = workshop.devices.set().get(self.device) else {
            return false;
        };
        let name = line_name("moves to", self.device, self.policy);
        if ready.is_empty() {
            // The change ends by the notes alone, so the last one must arrive.
            if self.unnoted {
                self.note(workshop, &name).await;
            }
            return false;
        }
        let (copied, done_before) = (Copied::default(), self.progress.done(phase));
        let (device, epoch) = (self.device, self.live.state.current.epoch);
        let policy = self.policy;
        let rate = || rate(workshop, policy);
        let go_on = || is_still(workshop, policy, epoch, phase);
        let manner = Manner {
            pace,
            rate: &rate,
            go_on: &go_on,
            copied: &copied,
        };
        let deadline = now + NOTE_EVERY;
        let jobs = FuturesUnordered::new();
        let mut jobs = std::pin::pin!(jobs);
        let mut last_error = None;
        loop {
            while jobs.len() < workshop.options.moves_at_once.max(1) && Instant::now() < deadline && go_on() {
                let Some(number) = ready.pop_front() else { break };
                let (live, store) = (&self.live, Arc::clone(&store));
                let job = job(live, policy, self.arrivals[number as usize], device, store);
                let manner = &manner;
                jobs.push(async move { (number, bring(workshop, &job, manner).await) });
            }
            match tokio::time::timeout(NOTE_EVERY, jobs.next()).await {
                // A large partition takes its time; what it has brought so far is shown.
                Err(_) => {
                    self.account(workshop, &copied);
                    self.note(workshop, &name).await;
                }
                Ok(None) => break,
                Ok(Some((number, Outcome::Done))) => {
                    self.progress.note(phase, number);
                    self.waiting.remove(&number);
                }
                Ok(Some((number, Outcome::Waits(why)))) => {
                    workshop.board.failed(&name, &why);
                    let (failures, until) = self.waiting.entry(number).or_insert((0, now));
                    *until = Instant::now() + retry_pause(*failures, WAITING_PAUSE_MAX);
                    *failures += 1;
                    last_error = Some(why);
                }
                Ok(Some((_, Outcome::Interrupted))) => {}
            }
        }
        self.account(workshop, &copied);
        self.progress.waiting = last_error;
        let done = self.progress.done(phase);
        workshop.board.done(&name, done - done_before);
        workshop.board.state(
            &name,
            format!(
                "{phase:?}: {done} of {} partitions, {} wait",
                self.progress.total,
                self.waiting.len()
            ),
        );
        self.note(workshop, &name).await;
        done > done_before
    }

    fn account(&mut self, workshop: &Workshop, copied: &Copied) {
        self.progress.bytes += copied.bytes.swap(0, Ordering::Relaxed);
        self.progress.blobs += copied.blobs.swap(0, Ordering::Relaxed);
        self.progress.updated_ms = workshop.clock.now_ms();
    }

    async fn note(&mut self, workshop: &Workshop, name: &str) {
        let key = progress_key(self.policy, self.live.state.current.epoch, self.device);
        let value = self.progress.encode().into();
        let put = workshop
            .client
            .put_record(RING_PROGRESS_TABLE, &key, RecordCondition::Any, value, SHARD_DEADLINE);
        let put = put.await;
        self.unnoted = put.is_err();
        if let Err(error) = put {
            // It is written again with the next step; at worst jobs are done twice.
            workshop.board.failed(name, error);
        }
    }
}

fn job(
    live: &Arc<LiveRings>,
    policy: PolicyId,
    partition: u32,
    device: DeviceId,
    store: Arc<dyn crate::device::BlobStore>,
) -> Job {
    let (sources, counted, needed) = witnesses(live, partition, device);
    Job {
        device,
        store,
        policy,
        live: Arc::clone(live),
        span: Span::of(partition, live.current.ring.part_power()),
        scope: Scope {
            sources,
            counted,
            needed,
        },
    }
}

/// The name of the status line of a device's work for one policy.
pub(in crate::node::work) fn line_name(what: &str, device: DeviceId, policy: PolicyId) -> String {
    if policy == PolicyId::default() {
        return format!("{what} device {device}");
    }
    format!("{what} device {device}, policy {}", policy.0)
}

/// Bytes a second that a device of this node may receive of a policy just now; 0 is no limit.
pub(in crate::node::work) fn rate(workshop: &Workshop, policy: PolicyId) -> u64 {
    let live = workshop.client.rings(policy);
    let set = live.and_then(|live| live.state.bytes_per_second);
    set.unwrap_or(workshop.options.move_bytes_per_second)
}

/// True while the change is the same, in the same phase, and not paused.
fn is_still(workshop: &Workshop, policy: PolicyId, epoch: u64, phase: Phase) -> bool {
    let live = workshop.client.rings(policy);
    live.is_some_and(|live| copies_run(&live.state) && live.state.current.epoch == epoch && live.state.phase == phase)
}
