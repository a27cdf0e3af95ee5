//! Asks a shard until somebody answers: leader cache, moves of the lead, dead nodes, one deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::Dice;
use metadata::ids::{NodeId, ShardId};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::PlaneError;
use super::hints::Hints;
use super::route::{Next, Route, Said};
use crate::shard::calls::{ShardFault, decode};
use crate::wire::{AddressBook, CallKind, Channel, SharedCaller, WireError};

/// How long one node may take before the next is asked: below a client's patience, above a slow sync.
const ATTEMPT_MAX: Duration = Duration::from_millis(1500);
/// How often `busy` is met with another try before the caller is told.
const BUSY_TRIES: u32 = 3;

/// Finds whoever decides for a shard.
pub(super) struct ShardCaller {
    caller: SharedCaller,
    book: AddressBook,
    hints: Arc<Hints>,
    dice: Arc<dyn Dice>,
    leaders: Mutex<HashMap<ShardId, NodeId>>,
}

/// One node's verdict, sorted by what to do next.
enum Verdict<A> {
    Answer(A),
    Ask(Said, String),
    Busy,
    /// A repeat will not help.
    Hopeless(String),
}

impl ShardCaller {
    pub(super) fn new(caller: SharedCaller, book: AddressBook, hints: Arc<Hints>, dice: Arc<dyn Dice>) -> Self {
        Self {
            caller,
            book,
            hints,
            dice,
            leaders: Mutex::default(),
        }
    }

    /// Who is believed to lead.
    pub(super) fn leader(&self, shard: ShardId) -> Option<NodeId> {
        self.leaders.lock().get(&shard).copied()
    }

    /// Sends `body` to whoever decides for `shard`. Commands carry request ids, so asking several nodes is safe.
    pub(super) async fn ask<A: DeserializeOwned>(
        &self,
        shard: ShardId,
        kind: CallKind,
        body: Bytes,
        deadline: Duration,
    ) -> Result<A, PlaneError> {
        let until = Instant::now() + deadline;
        let mut route = Route::new(self.candidates(), self.leader(shard));
        let mut reason = "no node is known".to_owned();
        let mut busy = 0;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(PlaneError::Unavailable { shard, reason });
            }
            let node = match route.next() {
                Next::Nobody => return Err(PlaneError::Unavailable { shard, reason }),
                Next::Pause(pause) => {
                    tokio::time::sleep(self.jitter(pause).min(left)).await;
                    continue;
                }
                Next::Ask(node) => node,
            };
            let answered = self
                .caller
                .call(node, Channel::Metadata, kind, body.clone(), left.min(ATTEMPT_MAX))
                .await;
            if matches!(answered, Err(WireError::Unreachable { .. })) {
                self.hints.node_failed(node);
            }
            match judge::<A>(answered) {
                Verdict::Answer(answer) => {
                    self.leaders.lock().insert(shard, node);
                    self.hints.node_answered(node);
                    return Ok(answer);
                }
                Verdict::Ask(said, why) => {
                    reason = why;
                    if said == Said::Failed {
                        self.forget(shard, node);
                    }
                    route.said(node, said);
                }
                Verdict::Busy => {
                    busy += 1;
                    if busy >= BUSY_TRIES {
                        return Err(PlaneError::Busy { shard });
                    }
                    route.said(node, Said::NotLeader(None));
                }
                Verdict::Hopeless(reason) => return Err(PlaneError::Unavailable { shard, reason }),
            }
        }
    }

    fn forget(&self, shard: ShardId, node: NodeId) {
        let mut leaders = self.leaders.lock();
        if leaders.get(&shard) == Some(&node) {
            leaders.remove(&shard);
        }
    }

    /// All known nodes in random order, those that failed lately last.
    fn candidates(&self) -> Vec<NodeId> {
        let mut nodes = self.book.nodes();
        if !nodes.is_empty() {
            let first = usize::try_from(self.dice.u64() % nodes.len() as u64).unwrap_or(0);
            nodes.rotate_left(first);
        }
        nodes.sort_by_key(|node| self.hints.node_is_down(*node));
        nodes
    }

    /// Between half of `pause` and all of it, so that callers do not come in step.
    fn jitter(&self, pause: Duration) -> Duration {
        let thousandths = u32::try_from(self.dice.u64() % 500).unwrap_or(0);
        pause / 2 + pause * thousandths / 1000
    }
}

/// Sorts one node's answer. Plain function.
fn judge<A: DeserializeOwned>(answered: Result<Bytes, WireError>) -> Verdict<A> {
    let body = match answered {
        Ok(body) => body,
        Err(WireError::Busy { .. }) => return Verdict::Busy,
        Err(WireError::TooLarge) => return Verdict::Hopeless("the call is too large".to_owned()),
        Err(e @ (WireError::Unreachable { .. } | WireError::NoAnswer { .. } | WireError::UnknownCall { .. })) => {
            return Verdict::Ask(Said::Failed, e.to_string());
        }
    };
    match decode::<Result<A, ShardFault>>(&body) {
        Ok(Ok(answer)) => Verdict::Answer(answer),
        Ok(Err(ShardFault::Busy)) => Verdict::Busy,
        Ok(Err(ShardFault::BadCall(why))) => Verdict::Hopeless(why),
        Ok(Err(fault)) => {
            let said = match &fault {
                ShardFault::NotLeader { leader } => Said::NotLeader(*leader),
                ShardFault::Unavailable(_) => Said::Undecided,
                _ => Said::Failed,
            };
            Verdict::Ask(said, fault.to_string())
        }
        Err(e) => Verdict::Ask(Said::Failed, format!("the answer is malformed: {e}")),
    }
}
