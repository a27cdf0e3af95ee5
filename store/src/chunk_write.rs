//! Carries out one chunk's write: the decisions are [`WriteQuorum`]'s or [`FragmentQuorum`]'s, this is their clock and
//! their network.
//!
//! The task goes on after the quorum until every replica has answered or the laggards' time is over. A laggard then
//! holds memory of the laggards' pool; when that is used up it keeps its share of the writers' pool, for a shorter time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use metadata::ids::DeviceId;
use storage_node::client::{BlobError, DataPlane};
use storage_node::device::Blob;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::fragment_quorum::FragmentQuorum;
use crate::metrics::{NO_QUORUM, REPLICA_WRITES};
use crate::options::StoreOptions;
use crate::placement::Placement;
use crate::pool::{BytePool, Share};
use crate::quorum::{Command, Decides, Event, WriteQuorum};
use crate::unfinished::Started;

/// How far a chunk's write is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) phase: Phase,
    /// The devices that have a piece of it, synced, each with the piece's number; 0 is the whole chunk.
    pub(crate) stored: Vec<(u8, DeviceId)>,
    /// True when no device is expected to answer any more.
    pub(crate) settled: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Open,
    /// The quorum has it (DUR-1).
    Reached,
    /// It cannot be stored now; why.
    Failed(String),
}

/// One chunk on its way to its devices.
pub(crate) struct ChunkWrite {
    pub(crate) data: Arc<dyn DataPlane>,
    pub(crate) placement: Arc<Placement>,
    pub(crate) started: Arc<Started>,
    pub(crate) laggards: BytePool,
    pub(crate) times: Times,
    pub(crate) progress: watch::Sender<Progress>,
}

/// The times of [`StoreOptions`] that a chunk's write needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    deadline: Duration,
    slow: Duration,
    laggard: Duration,
    laggard_without_memory: Duration,
}

impl From<&StoreOptions> for Times {
    fn from(options: &StoreOptions) -> Self {
        Self {
            deadline: options.write_deadline,
            slow: options.slow_replica,
            laggard: options.laggard_time,
            laggard_without_memory: options.laggard_grace,
        }
    }
}

impl ChunkWrite {
    /// Writes a chunk until all devices answered or were given up. `pieces` are its fragments, or one whole copy for all;
    /// `memory` is their share of the writers' pool.
    pub(crate) async fn run(self, pieces: Vec<Blob>, memory: Arc<Share>) {
        let Some(place) = pieces.first().map(|blob| blob.key.placement) else {
            return;
        };
        let (placement, data) = (Arc::clone(&self.placement), Arc::clone(&self.data));
        let candidate = move |device| placement.candidate(device, data.writable(device));
        let slots: Vec<_> = self.placement.primaries(place).into_iter().map(&candidate).collect();
        let placement = Arc::clone(&self.placement);
        let handoffs = std::iter::once_with(move || placement.handoffs(place))
            .flatten()
            .map(candidate);
        match self.placement.rule() {
            None => {
                let (quorum, commands) = WriteQuorum::start(self.placement.required(), &slots, handoffs);
                self.carry_out(Box::new(quorum), commands, &pieces, memory).await;
            }
            Some(rule) => {
                let (quorum, commands) = FragmentQuorum::start(rule, &slots, handoffs);
                self.carry_out(Box::new(quorum), commands, &pieces, memory).await;
            }
        }
    }

    async fn carry_out(
        self,
        mut quorum: Box<dyn Decides + '_>,
        mut commands: Vec<Command>,
        pieces: &[Blob],
        memory: Arc<Share>,
    ) {
        let mut memory = Some(memory);
        let mut laggard_memory = None;
        let mut sends = FuturesUnordered::new();
        let mut last_failure = None;
        let mut timer = pin!(tokio::time::sleep(self.times.slow));
        loop {
            for command in commands.drain(..) {
                match command {
                    Command::SendTo(device) => {
                        let Some(blob) = pieces.get(usize::from(quorum.piece_of(device))) else {
                            continue;
                        };
                        self.started.note(device, blob.key.id);
                        sends.push(self.send(device, blob.clone()));
                    }
                    Command::Succeed => {
                        laggard_memory = self
                            .laggards
                            .try_acquire(pieces.iter().map(|blob| blob.payload.len()).sum());
                        let patience = if laggard_memory.is_some() {
                            memory = None;
                            self.times.laggard
                        } else {
                            self.times.laggard_without_memory
                        };
                        timer.as_mut().reset(Instant::now() + patience);
                        self.progress.send_modify(|progress| progress.phase = Phase::Reached);
                    }
                    Command::GiveUp => return self.fail(quorum.stored().len(), last_failure),
                }
            }
            self.show(&*quorum);
            if quorum.settled() {
                break;
            }
            commands = tokio::select! {
                () = self.started.stop.cancelled() => return,
                Some((device, result)) = sends.next() => {
                    let event = if result.is_ok() { Event::Stored(device) } else { Event::Failed(device) };
                    last_failure = result.err().or(last_failure);
                    quorum.on(event)
                }
                () = &mut timer => {
                    timer.as_mut().reset(Instant::now() + self.times.slow);
                    quorum.on(Event::Laggard)
                }
            };
        }
        let given_up = sends.len() as u64;
        metrics::counter!(REPLICA_WRITES, "outcome" => "given_up").increment(given_up);
        drop((memory, laggard_memory));
    }

    async fn send(&self, device: DeviceId, blob: Blob) -> (DeviceId, Result<(), BlobError>) {
        let result = self.data.put_blob(device, blob, self.times.deadline).await;
        let outcome = if result.is_ok() { "stored" } else { "failed" };
        metrics::counter!(REPLICA_WRITES, "outcome" => outcome).increment(1);
        if let Err(error) = &result {
            tracing::debug!(%device, %error, "a device did not take a chunk");
        }
        (device, result)
    }

    fn show(&self, quorum: &dyn Decides) {
        self.progress.send_modify(|progress| {
            progress.stored = quorum.stored();
            progress.settled = quorum.settled();
        });
    }

    fn fail(&self, copies: usize, last: Option<BlobError>) {
        metrics::counter!(NO_QUORUM).increment(1);
        let why = last.map_or_else(|| "no device takes writes".to_owned(), |error| error.to_string());
        let text = match self.placement.rule() {
            None => {
                let needed = self.placement.required();
                format!("{copies} of {needed} needed copies of a chunk could be stored: {why}")
            }
            Some(rule) => {
                let needed = rule.fragments();
                format!(
                    "{needed} fragments of a chunk are needed in enough failure domains, {copies} were stored: {why}"
                )
            }
        };
        self.progress.send_modify(|progress| {
            progress.phase = Phase::Failed(text);
            progress.settled = true;
        });
    }
}
