//! Commands of one process on their way to the shards: what waits for the same shard travels in one call.
//!
//! Bounds: commands waiting per shard, calls in flight per shard, commands and bytes per call. One call's commands share
//! its fate: when the lead moves, all of them are repeated under their own request ids, which is safe.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metadata::command::{Command, Envelope, NewBody};
use metadata::ids::{RequestId, ShardId};
use metadata::reply::Reply;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::PlaneError;
use super::shard_caller::ShardCaller;
use crate::shard::calls::{ProposeCall, encode};
use crate::wire::CallKind;

/// Commands of this process that may wait for one shard; one more is told `busy`.
const WAITING_MAX: usize = 1024;
/// Calls to one shard in flight. While all are, commands gather for the next; so many that commands gather at the
/// leader, where one entry takes them all, rather than here, where a call with one command holds a place for a round.
const CALLS_MAX: usize = 32;
/// Commands in one call.
const COMMANDS_MAX: usize = 256;
/// Estimated bytes of commands in one call; a single larger command goes alone.
const CALL_BYTES_MAX: usize = 1024 * 1024;

/// The queues, one per shard, each with a task of its own that ends with this.
pub(super) struct Proposals {
    caller: Arc<ShardCaller>,
    queues: Mutex<HashMap<ShardId, mpsc::Sender<Waiting>>>,
}

struct Waiting {
    envelope: Envelope,
    until: Instant,
    reply: oneshot::Sender<Result<Reply, PlaneError>>,
}

impl Proposals {
    pub(super) fn new(caller: Arc<ShardCaller>) -> Self {
        Self {
            caller,
            queues: Mutex::default(),
        }
    }

    pub(super) async fn propose(
        &self,
        shard: ShardId,
        request: RequestId,
        command: Command,
        deadline: Duration,
    ) -> Result<Reply, PlaneError> {
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting {
            envelope: Envelope { request, command },
            until: Instant::now() + deadline,
            reply,
        };
        self.queue(shard)
            .try_send(waiting)
            .map_err(|_| PlaneError::Busy { shard })?;
        let unavailable = |reason: &str| PlaneError::Unavailable {
            shard,
            reason: reason.to_owned(),
        };
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unavailable("the call was given up")),
            Err(_) => Err(unavailable("no answer before the deadline")),
        }
    }

    fn queue(&self, shard: ShardId) -> mpsc::Sender<Waiting> {
        let start = || {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            tokio::spawn(run(Arc::clone(&self.caller), shard, receiver));
            sender
        };
        self.queues.lock().entry(shard).or_insert_with(start).clone()
    }
}

async fn run(caller: Arc<ShardCaller>, shard: ShardId, mut queue: mpsc::Receiver<Waiting>) {
    let places = Arc::new(Semaphore::new(CALLS_MAX));
    let mut held: Option<Waiting> = None;
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let first = match held.take() {
            Some(first) => first,
            None => match queue.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let mut bytes = weight(&first.envelope.command);
        let mut batch = vec![first];
        while batch.len() < COMMANDS_MAX {
            let Ok(next) = queue.try_recv() else { break };
            bytes += weight(&next.envelope.command);
            if bytes > CALL_BYTES_MAX {
                held = Some(next);
                break;
            }
            batch.push(next);
        }
        let caller = Arc::clone(&caller);
        tokio::spawn(async move {
            send(&caller, shard, batch).await;
            drop(place);
        });
    }
}

async fn send(caller: &ShardCaller, shard: ShardId, batch: Vec<Waiting>) {
    // Whoever gave up meanwhile is not sent at all.
    let batch: Vec<Waiting> = batch.into_iter().filter(|waiting| !waiting.reply.is_closed()).collect();
    let Some(until) = batch.iter().map(|waiting| waiting.until).max() else {
        return;
    };
    let (envelopes, replies): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|waiting| (waiting.envelope, waiting.reply))
        .unzip();
    let body = encode(&ProposeCall { shard, envelopes });
    let deadline = until.saturating_duration_since(Instant::now());
    let answered: Result<Vec<Reply>, PlaneError> = caller.ask(shard, CallKind::Propose, body, deadline).await;
    let answered = answered.and_then(|answers| {
        let odd = || PlaneError::Unavailable {
            shard,
            reason: "the number of replies is wrong".to_owned(),
        };
        if answers.len() == replies.len() {
            Ok(answers)
        } else {
            Err(odd())
        }
    });
    match answered {
        // A closed receiver is a caller that gave up.
        Ok(answers) => replies
            .into_iter()
            .zip(answers)
            .for_each(|(reply, answer)| drop(reply.send(Ok(answer)))),
        Err(e) => replies.into_iter().for_each(|reply| drop(reply.send(Err(e.clone())))),
    }
}

/// About how many bytes a command takes on the wire.
fn weight(command: &Command) -> usize {
    const USUAL: usize = 512;
    USUAL
        + match command {
            Command::PutObject { object, .. } => match &object.body {
                NewBody::Inline(bytes) => bytes.len(),
                NewBody::Stored(stored) => stored.short.len() * 32,
            },
            Command::CompleteUpload { parts, .. } => parts.len() * 64,
            Command::Condemn { writes } => writes.len() * 20,
            Command::Reclaimed { entries } => entries.len() * 32,
            Command::PutRecord { value, .. } => value.len(),
            Command::SetDocument {
                document: Some(document),
                ..
            } => document.len(),
            _ => 0,
        }
}
