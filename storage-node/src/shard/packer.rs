//! Packs the commands that wait for one shard into Raft entries: all that came while the entries before them were
//! synced travel in the next one, bounded in count and bytes, each with its own reply.
//!
//! openraft 0.9 awaits each append, so the entry is the unit of throughput; with [`Packing::in_flight_max`] entries
//! proposed, the leader writes the next one while followers sync the one before.
//!
//! An entry with one command costs as many syncs as one with a thousand. When an entry is answered its callers mostly
//! come back at once, one after the other; so the first of them waits for the others ([`Company`]), for a part
//! of the last round at most. A caller that is alone waits for nobody.
//!
//! Knows: envelopes and replies. Must not know: what commands do.

use std::sync::Arc;
use std::time::Duration;

use clock::WallClock;
use metadata::codec::encode_batch;
use metadata::command::{Batch, Envelope};
use metadata::reply::Reply;
use openraft::error::ClientWriteError;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::calls::ShardFault;
use super::options::Packing;
use super::types::{Packed, Raft};

/// Counted per waiting command beside its own bytes.
const COMMAND_OVERHEAD_BYTES: usize = 64;
/// The first command of an entry waits for company for this part of the last round. In a model of 64 callers and syncs
/// of 6 ms a longer wait lost more than the larger entries won.
const COMPANY_PART: u32 = 8;
/// The longest wait for company.
const COMPANY_WAIT_MAX: Duration = Duration::from_millis(5);
/// Shorter waits are not worth a timer, which ticks in milliseconds.
const COMPANY_WAIT_MIN: Duration = Duration::from_millis(1);

/// Hands commands to a shard's packer.
pub(crate) struct Packer {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    limits: Packing,
}

/// A command and whoever waits for its reply.
struct Waiting {
    envelope: Envelope,
    bytes: usize,
    reply: oneshot::Sender<Result<Reply, ShardFault>>,
    /// Its share of the queue's bytes.
    _room: OwnedSemaphorePermit,
}

impl Packer {
    /// Starts the packing task; it ends when the packer is dropped.
    pub(crate) fn start(raft: Raft, clock: Arc<dyn WallClock>, limits: Packing) -> Self {
        let (queue, waiting) = mpsc::channel(limits.waiting_max);
        let task = PackerTask {
            raft,
            clock,
            gathering: Gathering {
                limits,
                waiting,
                carried: None,
            },
            company: Arc::default(),
            in_flight: Arc::new(Semaphore::new(limits.in_flight_max)),
        };
        tokio::spawn(task.run());
        Self {
            queue,
            room: Arc::new(Semaphore::new(limits.waiting_bytes_max)),
            limits,
        }
    }

    /// Has all `envelopes` decided and returns their replies in order.
    ///
    /// # Errors
    /// [`ShardFault`]; some may have been executed then.
    pub(crate) async fn propose(&self, envelopes: Vec<Envelope>) -> Result<Vec<Reply>, ShardFault> {
        let mut waiting = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            waiting.push(self.enqueue(envelope)?);
        }
        let all = async {
            let mut replies = Vec::with_capacity(waiting.len());
            for reply in waiting {
                replies.push(reply.await.map_err(|_| stopped())??);
            }
            Ok(replies)
        };
        let late = |_| Err(ShardFault::Unavailable("no majority decided in time".into()));
        tokio::time::timeout(self.limits.wait_max, all)
            .await
            .unwrap_or_else(late)
    }

    fn enqueue(&self, envelope: Envelope) -> Result<oneshot::Receiver<Result<Reply, ShardFault>>, ShardFault> {
        let bytes = encoded_bytes(&envelope) + COMMAND_OVERHEAD_BYTES;
        let share = u32::try_from(bytes).map_err(|_| ShardFault::BadCall("the command is too large".into()))?;
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(share)
            .map_err(|_| ShardFault::Busy)?;
        let (reply, answered) = oneshot::channel();
        self.queue
            .try_send(Waiting {
                envelope,
                bytes,
                reply,
                _room: room,
            })
            .map_err(|e| match e {
                mpsc::error::TrySendError::Full(_) => ShardFault::Busy,
                mpsc::error::TrySendError::Closed(_) => stopped(),
            })?;
        Ok(answered)
    }
}

fn encoded_bytes(envelope: &Envelope) -> usize {
    let size = postcard::ser_flavors::Size::default();
    postcard::serialize_with_flavor(envelope, size).expect("these types have nothing postcard cannot write")
}

fn stopped() -> ShardFault {
    ShardFault::Fatal("the shard has stopped".into())
}

/// Who will probably come back soon: the callers answered since the last entry was closed.
#[derive(Clone, Copy, Debug, Default)]
struct Company {
    answered: usize,
    /// How long the last entry took from proposal to answer.
    round: Duration,
}

impl Company {
    fn answer(&mut self, commands: usize, round: Duration) {
        self.answered = self.answered.saturating_add(commands);
        self.round = round;
    }

    /// How many commands the next entry should have, and how long it waits for them; it goes at once when nobody is
    /// expected. Forgets who was expected, so that callers who stay away delay one entry.
    fn expect(&mut self) -> (usize, Duration) {
        let wait = (self.round / COMPANY_PART).min(COMPANY_WAIT_MAX);
        match std::mem::take(&mut self.answered) {
            expected if expected > 1 && wait >= COMPANY_WAIT_MIN => (expected, wait),
            _ => (1, Duration::ZERO),
        }
    }
}

/// The queue, seen from the end where packs leave it.
struct Gathering {
    limits: Packing,
    waiting: mpsc::Receiver<Waiting>,
    /// Taken from the queue, but too large for the entry before it.
    carried: Option<Waiting>,
}

impl Gathering {
    /// Waits for a command and takes all that wait with it, and those that come while `expect` says to wait.
    async fn pack(&mut self, expect: impl FnOnce() -> (usize, Duration)) -> Option<Vec<Waiting>> {
        let first = match self.carried.take() {
            Some(carried) => carried,
            None => self.waiting.recv().await?,
        };
        let (expected, wait) = expect();
        let until = Instant::now() + wait;
        let mut bytes = first.bytes;
        let mut pack = vec![first];
        while pack.len() < self.limits.commands_max {
            let next = match self.waiting.try_recv() {
                Ok(next) => next,
                Err(_) if pack.len() >= expected => break,
                Err(_) => match timeout_at(until, self.waiting.recv()).await {
                    Ok(Some(next)) => next,
                    _ => break,
                },
            };
            if next.reply.is_closed() {
                continue;
            }
            if bytes + next.bytes > self.limits.bytes_max {
                self.carried = Some(next);
                break;
            }
            bytes += next.bytes;
            pack.push(next);
        }
        Some(pack)
    }
}

struct PackerTask {
    raft: Raft,
    clock: Arc<dyn WallClock>,
    gathering: Gathering,
    company: Arc<Mutex<Company>>,
    in_flight: Arc<Semaphore>,
}

impl PackerTask {
    async fn run(mut self) {
        loop {
            let Ok(turn) = Arc::clone(&self.in_flight).acquire_owned().await else {
                return;
            };
            let company = Arc::clone(&self.company);
            let Some(pack) = self.gathering.pack(|| company.lock().expect()).await else {
                return;
            };
            self.propose(pack, turn).await;
        }
    }

    /// Proposes one entry. The order of entries is the order of these calls; their outcomes are awaited elsewhere.
    async fn propose(&self, pack: Vec<Waiting>, turn: OwnedSemaphorePermit) {
        let (commands, replies): (Vec<_>, Vec<_>) = pack
            .into_iter()
            .map(|waiting| (waiting.envelope, waiting.reply))
            .unzip();
        let batch = Batch {
            stamp_ms: self.clock.now_ms(),
            commands,
        };
        let outcome = self.raft.client_write_ff(Packed(encode_batch(&batch).into())).await;
        let wait_max = self.gathering.limits.wait_max;
        let (company, begun) = (Arc::clone(&self.company), Instant::now());
        tokio::spawn(async move {
            let decided = match outcome {
                Ok(outcome) => match tokio::time::timeout(wait_max, outcome).await {
                    Ok(Ok(Ok(written))) => Ok(written.data.0),
                    Ok(Ok(Err(refused))) => Err(fault_of(&refused)),
                    Ok(Err(_)) => Err(stopped()),
                    Err(_) => Err(ShardFault::Unavailable("no majority decided in time".into())),
                },
                Err(fatal) => Err(ShardFault::Fatal(fatal.to_string())),
            };
            company.lock().answer(replies.len(), begun.elapsed());
            answer(replies, decided);
            drop(turn);
        });
    }
}

fn fault_of(refused: &ClientWriteError<u64, openraft::EmptyNode>) -> ShardFault {
    match refused {
        ClientWriteError::ForwardToLeader(forward) => ShardFault::NotLeader {
            leader: forward.leader_id.map(metadata::ids::NodeId),
        },
        ClientWriteError::ChangeMembershipError(e) => ShardFault::Unavailable(e.to_string()),
    }
}

fn answer(waiting: Vec<oneshot::Sender<Result<Reply, ShardFault>>>, decided: Result<Vec<Reply>, ShardFault>) {
    match decided {
        Ok(replies) => {
            debug_assert_eq!(waiting.len(), replies.len(), "apply answers every command");
            for (waiter, reply) in waiting.into_iter().zip(replies) {
                let _ = waiter.send(Ok(reply));
            }
        }
        Err(fault) => {
            for waiter in waiting {
                let _ = waiter.send(Err(fault.clone()));
            }
        }
    }
}

#[cfg(test)]
#[path = "packer_tests.rs"]
mod tests;
