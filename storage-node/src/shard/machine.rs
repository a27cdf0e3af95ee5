//! A shard's state machine as openraft drives it: each call goes to a thread of a pool and waits there.

use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EmptyNode, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageIOError};

use super::log::ShardLog;
use super::pool::Pool;
use super::snapshot::{self, Part, Receiving, SnapshotData, Source};
use super::state::ShardState;
use super::store::StoreFailed;
use super::types::{Applied, Entry, LogId, Membership, Replies, ShardTypes, StorageError};

/// The state machine of one shard.
pub(crate) struct ShardMachine {
    pub(crate) state: Arc<ShardState>,
    pub(crate) log: ShardLog,
    /// Threads that apply.
    pub(crate) applies: Pool,
    /// Threads for snapshots and removals.
    pub(crate) bulk: Pool,
}

impl ShardMachine {
    /// What is applied now, unless nothing is.
    fn snapshot(&self) -> Option<Snapshot<ShardTypes>> {
        let applied = self.state.applied();
        applied.last?;
        Some(SnapshotNow(Arc::clone(&self.state)).of(&applied))
    }

    /// Takes over a complete generation; what it replaces is removed in the background.
    async fn switch(&self, generation: u32, applied: Applied) -> Result<(), StoreFailed> {
        self.state.switch_to(generation, applied).await?;
        let (state, log, bulk) = (Arc::clone(&self.state), self.log.clone(), self.bulk.clone());
        tokio::spawn(async move {
            let cleaned = bulk.run(move || state.remove_dead_generations().and_then(|()| log.remove_purged_rows()));
            match cleaned.await {
                Ok(Ok(())) => {}
                other => tracing::warn!(?other, "replaced rows stay until the next start"),
            }
        });
        Ok(())
    }

    /// Copies another replica of this process.
    async fn copy_of(&self, source: Arc<ShardState>) -> Result<(u32, Applied), StoreFailed> {
        let state = Arc::clone(&self.state);
        let copied = self.bulk.run(move || copy_rows(&source, &state)).await;
        copied.unwrap_or_else(|fault| {
            Err(StoreFailed {
                doing: "copying a replica",
                reason: format!("{fault:?}"),
            })
        })
    }
}

/// Copies the live rows of `source` into a new generation of `target`.
fn copy_rows(source: &ShardState, target: &Arc<ShardState>) -> Result<(u32, Applied), StoreFailed> {
    let mut receiving = None;
    let mut outcome = Err(StoreFailed {
        doing: "copying a replica",
        reason: "no parts came".into(),
    });
    snapshot::read_parts(source, openraft::Vote::default(), &mut |part| {
        let step = receive(&mut receiving, target, part);
        let goes_on = matches!(step, Ok(None));
        if let Some(end) = step.transpose() {
            outcome = end;
        }
        goes_on
    })?;
    outcome
}

fn receive(
    receiving: &mut Option<Receiving>,
    target: &Arc<ShardState>,
    part: Part,
) -> Result<Option<(u32, Applied)>, StoreFailed> {
    let damaged = |e: snapshot::ReceiveFault| StoreFailed {
        doing: "copying a replica",
        reason: e.to_string(),
    };
    match (part, receiving.as_mut()) {
        (Part::Begin { applied, .. }, _) => {
            *receiving = Some(Receiving::begin(Arc::clone(target), applied).map_err(damaged)?);
            Ok(None)
        }
        (Part::Rows { number, rows }, Some(receiving)) => receiving.rows(number, rows).map(|()| None).map_err(damaged),
        (Part::End { parts, hash }, Some(receiving)) => match receiving.end(parts, hash).map_err(damaged)?.0 {
            Source::Received { generation, applied } => Ok(Some((generation, applied))),
            Source::Empty | Source::Live(_) => Ok(None),
        },
        (_, None) => Ok(None),
    }
}

impl RaftStateMachine<ShardTypes> for ShardMachine {
    type SnapshotBuilder = SnapshotNow;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        let applied = self.state.applied();
        Ok((applied.last, applied.membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Replies>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let Some(first) = entries.first().map(|entry| entry.log_id) else {
            return Ok(Vec::new());
        };
        let state = Arc::clone(&self.state);
        let applied = self.applies.run(move || state.apply(entries)).await;
        let failed = match applied {
            Ok(Ok(replies)) => return Ok(replies),
            Ok(Err(e)) => AnyError::new(&e),
            Err(fault) => AnyError::error(format!("{fault:?}")),
        };
        Err(StorageIOError::apply(first, failed).into())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        SnapshotNow(Arc::clone(&self.state))
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotData>, StorageError> {
        Ok(Box::new(SnapshotData(Source::Empty)))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, EmptyNode>,
        snapshot: Box<SnapshotData>,
    ) -> Result<(), StorageError> {
        let ready = match snapshot.0 {
            Source::Received { generation, applied } => Ok((generation, applied)),
            Source::Live(source) => self.copy_of(source).await,
            Source::Empty => Err(StoreFailed {
                doing: "installing a snapshot",
                reason: "it holds no rows".into(),
            }),
        };
        let installed = match ready {
            Ok((generation, applied)) => self.switch(generation, applied).await,
            Err(e) => Err(e),
        };
        installed.map_err(|e| StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(&e)).into())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<ShardTypes>>, StorageError> {
        Ok(self.snapshot())
    }
}

/// "Builds" a snapshot by naming what is applied now; its rows are read when it is sent.
pub(crate) struct SnapshotNow(Arc<ShardState>);

impl SnapshotNow {
    fn of(&self, applied: &Applied) -> Snapshot<ShardTypes> {
        let data = SnapshotData(Source::Live(Arc::clone(&self.0)));
        Snapshot {
            meta: snapshot::meta(self.0.shard.0, applied),
            snapshot: Box::new(data),
        }
    }
}

impl RaftSnapshotBuilder<ShardTypes> for SnapshotNow {
    async fn build_snapshot(&mut self) -> Result<Snapshot<ShardTypes>, StorageError> {
        Ok(self.of(&self.0.applied()))
    }
}
