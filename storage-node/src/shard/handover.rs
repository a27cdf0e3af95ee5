//! Handing leadership over in good order. openraft 0.9 has no transfer of leadership, so it is done with what it has:
//! the leader lets nothing new in, waits until the other holds the whole log, and asks it to hold an election, which
//! the leader itself votes for. With three voters that is a majority; with more, the rest must first forget the
//! leader's lease, so heartbeats and reads pause for that long.

use std::time::Duration;

use metadata::ids::NodeId;
use tokio::sync::watch;

use super::envelope::{VoteAnswer, VoteMessage};
use super::group::ShardGroup;
use super::types::LogId;
use crate::wire::CallKind;

/// How long each step may take.
const STEP_MAX: Duration = Duration::from_secs(1);
/// With this many voters the leader's own vote and the candidate's make a majority.
const VOTERS_OF_TWO: usize = 3;

/// Whether a handover is under way; proposals and reads wait for its end.
pub(crate) struct Handover {
    phase: watch::Sender<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is handed over.
    None,
    /// Nothing new is let in.
    Closed,
    /// And heartbeats pause.
    Quiet,
}

impl Default for Handover {
    fn default() -> Self {
        Self {
            phase: watch::Sender::new(Phase::None),
        }
    }
}

impl Handover {
    /// Waits until no handover is under way; every handover ends in bounded time.
    pub(crate) async fn finished(&self) {
        if *self.phase.borrow() == Phase::None {
            return;
        }
        // The sender lives as long as `self`.
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::None).await;
    }

    /// True while heartbeats pause.
    pub(crate) fn is_quiet(&self) -> bool {
        *self.phase.borrow() == Phase::Quiet
    }
}

impl ShardGroup {
    /// Hands leadership of this shard to `target`; true when it leads now.
    pub(crate) async fn hand_over(&self, target: NodeId) -> bool {
        let few = self.metrics().membership_config.voter_ids().count() <= VOTERS_OF_TWO;
        self.handover
            .phase
            .send_replace(if few { Phase::Closed } else { Phase::Quiet });
        if !few {
            self.raft.runtime_config().heartbeat(false);
            tokio::time::sleep(Duration::from_millis(self.node.options.timers.election_max_ms + 50)).await;
        }
        let done = self.take_over_by(target).await;
        if !few {
            self.raft.runtime_config().heartbeat(true);
        }
        self.handover.phase.send_replace(Phase::None);
        tracing::info!(shard = %self.shard, %target, done, "handed leadership over");
        done
    }

    async fn take_over_by(&self, target: NodeId) -> bool {
        let holds_all = |metrics: &super::types::RaftMetrics| {
            let matched = metrics
                .replication
                .as_ref()
                .and_then(|all| all.get(&target.0).copied().flatten());
            let last = metrics.last_log_index;
            matched.map(|matched| matched.index) == last && metrics.last_applied.map(|applied| applied.index) == last
        };
        if self
            .raft
            .wait(Some(STEP_MAX))
            .metrics(holds_all, "the target holds the whole log")
            .await
            .is_err()
        {
            return false;
        }
        let message = VoteMessage::TakeOver { last: self.log.last() };
        let asked = self
            .node
            .call_peer(target, self.shard, CallKind::RaftVote, &message, STEP_MAX)
            .await;
        if !matches!(asked, Ok(VoteAnswer::TakingOver(true))) {
            return false;
        }
        let leads = |metrics: &super::types::RaftMetrics| metrics.current_leader == Some(target.0);
        self.raft
            .wait(Some(STEP_MAX))
            .metrics(leads, "the target leads")
            .await
            .is_ok()
    }

    /// Holds an election at once, if this replica's log ends at `last`.
    pub(crate) async fn take_over(&self, last: Option<LogId>) -> bool {
        self.log.last() == last && self.raft.trigger().elect().await.is_ok()
    }
}
