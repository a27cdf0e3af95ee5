//! Shards whose rows lie in memory; their decisions are the real ones.

use std::time::Duration;

use async_trait::async_trait;
use clock::{ManualClock, WallClock};
use metadata::apply::{ShardKind, apply_batch};
use metadata::command::{Batch, Command, Envelope};
use metadata::ids::{NodeId, RequestId, ShardId};
use metadata::query::{Answer, Query, answer};
use metadata::reply::Reply;
use metadata::rows::MemoryRows;
use parking_lot::Mutex;
use storage_node::client::{MetadataPlane, PlaneError};

/// What is wrong with the metadata plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// Nothing.
    #[default]
    None,
    /// Nobody answers, and nothing is executed.
    Unreachable,
    /// Commands are executed, their answers are lost.
    AnswersLost,
}

/// The metadata plane in memory.
pub struct MemoryMetadata {
    shards: Vec<Mutex<MemoryRows>>,
    clock: ManualClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outage: Outage,
    delay: Duration,
    /// The system shard as the process's copy knows it; `None` means the copy is in step.
    old_copy: Option<MemoryRows>,
    commands: Vec<(ShardId, Command)>,
    queries: usize,
    /// Nodes of an older release.
    old_nodes: Vec<NodeId>,
}

impl MemoryMetadata {
    pub(super) fn new(key_shards: u64, clock: ManualClock) -> Self {
        let shards = (0..=key_shards).map(|_| Mutex::new(MemoryRows::new())).collect();
        Self {
            shards,
            clock,
            state: Mutex::default(),
        }
    }

    /// Switches an outage on or off.
    pub fn set_outage(&self, outage: Outage) {
        self.state.lock().outage = outage;
    }

    /// Says which nodes run an older release.
    pub fn set_old_nodes(&self, nodes: Vec<NodeId>) {
        self.state.lock().old_nodes = nodes;
    }

    /// How long every command takes before it is executed, and again before it is answered.
    pub fn set_delay(&self, delay: Duration) {
        self.state.lock().delay = delay;
    }

    /// Stops the process's copy of the system shard from learning anything new.
    pub fn freeze_copy(&self) {
        let rows = self.shards[0].lock().clone();
        self.state.lock().old_copy = Some(rows);
    }

    /// The commands executed so far, repeats included.
    #[must_use]
    pub fn commands(&self) -> Vec<(ShardId, Command)> {
        self.state.lock().commands.clone()
    }

    /// How many linearizable queries were asked so far.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.state.lock().queries
    }

    /// Executes a command as a shard's leader would.
    ///
    /// # Panics
    /// When there is no such shard, or its rows are damaged.
    pub fn execute(&self, shard: ShardId, request: RequestId, command: Command) -> Reply {
        self.state.lock().commands.push((shard, command.clone()));
        let kind = if shard == ShardId::SYSTEM {
            ShardKind::System
        } else {
            ShardKind::Keys
        };
        let mut rows = self.rows(shard).lock();
        let batch = Batch {
            stamp_ms: self.clock.now_ms(),
            commands: vec![Envelope { request, command }],
        };
        let (mut replies, changes) = apply_batch(&*rows, &batch, kind).expect("rows in memory are never damaged");
        rows.write(changes);
        replies.pop().expect("one command has one reply")
    }

    /// Answers a query from a shard's rows.
    ///
    /// # Panics
    /// As [`Self::execute`].
    pub fn look(&self, shard: ShardId, query: &Query) -> Answer {
        answer(&*self.rows(shard).lock(), query).expect("rows in memory are never damaged")
    }

    fn rows(&self, shard: ShardId) -> &Mutex<MemoryRows> {
        let at = usize::try_from(shard.0).expect("few shards");
        self.shards.get(at).expect("the shard exists")
    }

    async fn wait(&self) {
        let delay = self.state.lock().delay;
        if delay.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(delay).await;
        }
    }

    fn unavailable(shard: ShardId) -> PlaneError {
        PlaneError::Unavailable {
            shard,
            reason: "switched off".into(),
        }
    }
}

#[async_trait]
impl MetadataPlane for MemoryMetadata {
    async fn propose(
        &self,
        shard: ShardId,
        request: RequestId,
        command: Command,
        _deadline: Duration,
    ) -> Result<Reply, PlaneError> {
        self.wait().await;
        if self.state.lock().outage == Outage::Unreachable {
            return Err(Self::unavailable(shard));
        }
        let reply = self.execute(shard, request, command);
        self.wait().await;
        if self.state.lock().outage == Outage::AnswersLost {
            return Err(Self::unavailable(shard));
        }
        Ok(reply)
    }

    async fn query(&self, shard: ShardId, query: Query, _deadline: Duration) -> Result<Answer, PlaneError> {
        tokio::task::yield_now().await;
        let mut state = self.state.lock();
        if state.outage == Outage::Unreachable {
            return Err(Self::unavailable(shard));
        }
        state.queries += 1;
        drop(state);
        Ok(self.look(shard, &query))
    }

    fn query_system_copy(&self, query: &Query) -> Option<Answer> {
        match &self.state.lock().old_copy {
            Some(rows) => Some(answer(rows, query).expect("rows in memory are never damaged")),
            None => Some(self.look(ShardId::SYSTEM, query)),
        }
    }

    fn key_shards(&self) -> u64 {
        self.shards.len() as u64 - 1
    }

    async fn nodes_below(&self, _level: u32, _deadline: Duration) -> Result<Vec<NodeId>, PlaneError> {
        Ok(self.state.lock().old_nodes.clone())
    }
}
