//! Raft's messages as they arrive at a replica.

use std::sync::Arc;
use std::time::Duration;

use openraft::Snapshot;
use openraft::error::RaftError;
use openraft::raft::AppendEntriesResponse;
use tokio::time::Instant;

use super::envelope::{AppendMessage, RaftFault, SnapshotAnswer, SnapshotMessage, VoteAnswer, VoteMessage};
use super::group::ShardGroup;
use super::pool::PoolFault;
use super::snapshot::{Part, ReceiveFault, Receiving};
use super::types::{Applied, Vote};

/// Committed entries that may wait to be applied, in bytes of the log; roughly, because entries come in groups. openraft
/// keeps them in memory in a queue without a bound, and a node that catches up receives faster than it applies.
pub(crate) const UNAPPLIED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long an append waits for room; well below the sender's deadline.
const UNAPPLIED_WAIT_MAX: Duration = Duration::from_millis(50);

/// A snapshot that is being received.
pub(crate) struct Transfer {
    id: u128,
    vote: Vote,
    receiving: Receiving,
}

impl ShardGroup {
    /// Takes entries, or a heartbeat.
    pub(crate) async fn on_append(&self, message: AppendMessage) -> Result<AppendEntriesResponse<u64>, RaftFault> {
        self.check_runs().map_err(|e| RaftFault::Stopped(e.to_string()))?;
        if message.digest.is_some_and(|theirs| self.state.deviates_from(theirs)) {
            let reason = format!(
                "this replica's rows differ from the leader's at the same log index {:?}",
                message.digest
            );
            self.stop(reason.clone());
            return Err(RaftFault::Stopped(reason));
        }
        let committed_next = message.request.leader_commit.map_or(0, |committed| committed.index + 1);
        if !message.request.entries.is_empty() {
            self.room_for_entries(committed_next).await?;
        }
        let response = self
            .raft
            .append_entries(message.request)
            .await
            .map_err(|e| stopped(&e))?;
        if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
            let applied_next = self.state.next_index();
            self.freshness
                .lock()
                .heard(Instant::now(), committed_next, applied_next);
        }
        Ok(response)
    }

    /// Waits until little enough of what is committed, all entries below `committed_next`, is still to be applied.
    async fn room_for_entries(&self, committed_next: u64) -> Result<(), RaftFault> {
        let mut applied = self.state.applied_next();
        let near = |next: &u64| self.log.bytes_between(*next, committed_next) <= UNAPPLIED_BYTES_MAX;
        match tokio::time::timeout(UNAPPLIED_WAIT_MAX, applied.wait_for(near)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(RaftFault::Stopped("nothing is applied any more".into())),
            Err(_) => Err(RaftFault::Behind),
        }
    }

    /// Votes, or holds an election when the leader asks for it.
    pub(crate) async fn on_vote(&self, message: VoteMessage) -> Result<VoteAnswer, RaftFault> {
        self.check_runs().map_err(|e| RaftFault::Stopped(e.to_string()))?;
        match message {
            VoteMessage::Vote(request) => self
                .raft
                .vote(request)
                .await
                .map(VoteAnswer::Vote)
                .map_err(|e| stopped(&e)),
            VoteMessage::TakeOver { last } => Ok(VoteAnswer::TakingOver(self.take_over(last).await)),
        }
    }

    /// Takes one part of a snapshot.
    pub(crate) async fn on_snapshot(&self, message: SnapshotMessage) -> Result<SnapshotAnswer, RaftFault> {
        self.check_runs().map_err(|e| RaftFault::Stopped(e.to_string()))?;
        let SnapshotMessage { transfer, part } = message;
        let mut slot = self.receiving.lock().await;
        match part {
            Part::Begin { vote, applied } => self.begin_transfer(&mut slot, transfer, vote, applied).await,
            Part::Rows { number, rows } => {
                let mut current = take(&mut slot, transfer)?;
                let vote = current.vote;
                let filled = self.blocking(move || {
                    let outcome = current.receiving.rows(number, rows);
                    (current, outcome)
                });
                let (current, outcome) = filled.await?;
                outcome.map_err(receive_fault)?;
                *slot = Some(current);
                Ok(SnapshotAnswer { vote })
            }
            Part::End { parts, hash } => {
                let current = take(&mut slot, transfer)?;
                let data = current.receiving.end(parts, hash).map_err(receive_fault)?;
                let snapshot = Snapshot {
                    meta: current.receiving.meta(),
                    snapshot: Box::new(data),
                };
                self.log.set_installing(true);
                let installed = self.raft.install_full_snapshot(current.vote, snapshot).await;
                self.log.set_installing(false);
                let response = installed.map_err(|e| RaftFault::Stopped(e.to_string()))?;
                // Nothing happens when it was installed; what Raft did not want any more is removed.
                self.blocking(move || current.receiving.give_up())
                    .await?
                    .map_err(|e| receive_fault(e.into()))?;
                Ok(SnapshotAnswer { vote: response.vote })
            }
        }
    }

    async fn begin_transfer(
        &self,
        slot: &mut Option<Transfer>,
        id: u128,
        vote: Vote,
        applied: Applied,
    ) -> Result<SnapshotAnswer, RaftFault> {
        let mine = self.metrics().vote;
        if vote < mine {
            return Ok(SnapshotAnswer { vote: mine });
        }
        let before = slot.take();
        let state = Arc::clone(&self.state);
        let begun = self.blocking(move || {
            if let Some(before) = before {
                before.receiving.give_up()?;
            }
            Receiving::begin(state, applied)
        });
        let receiving = begun.await?.map_err(receive_fault)?;
        *slot = Some(Transfer { id, vote, receiving });
        Ok(SnapshotAnswer { vote })
    }

    async fn blocking<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, RaftFault> {
        self.node.pools.bulk.run(job).await.map_err(|fault| match fault {
            PoolFault::Full => RaftFault::Stopped("too many snapshots at once".into()),
            PoolFault::Panicked => RaftFault::Stopped("the snapshot could not be written".into()),
        })
    }
}

fn take(slot: &mut Option<Transfer>, id: u128) -> Result<Transfer, RaftFault> {
    match slot.take() {
        Some(transfer) if transfer.id == id => Ok(transfer),
        other => {
            *slot = other;
            Err(RaftFault::Malformed("no such transfer is under way".into()))
        }
    }
}

fn receive_fault(fault: ReceiveFault) -> RaftFault {
    match fault {
        ReceiveFault::Store(e) => RaftFault::Stopped(e.to_string()),
        ReceiveFault::Damaged(reason) => RaftFault::Malformed(reason.into()),
    }
}

fn stopped(error: &RaftError<u64>) -> RaftFault {
    RaftFault::Stopped(error.to_string())
}
