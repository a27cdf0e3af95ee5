//! The two ways to find out a shard's read index: asking a majority as the leader, or asking the leader.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metadata::ids::{NodeId, ShardId};
use openraft::ServerState;
use openraft::error::{CheckIsLeaderError, RaftError};

use super::calls::{self, ReadIndexAnswer, ReadIndexCall, ShardFault};
use super::node::Node;
use super::read_index::Round;
use super::types::Raft;
use crate::wire::{CallKind, Channel};

/// How long a follower waits for the leader's word.
const LEADER_DEADLINE: Duration = Duration::from_secs(1);

/// Asks a majority.
#[derive(Clone)]
pub(crate) struct LeaderRound {
    pub(crate) raft: Raft,
}

#[async_trait]
impl Round for LeaderRound {
    async fn read_index(&self) -> Result<Option<u64>, ShardFault> {
        match self.raft.get_read_log_id().await {
            Ok((read, _applied)) => Ok(read.map(|log_id| log_id.index)),
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward))) => Err(ShardFault::NotLeader {
                leader: forward.leader_id.map(NodeId),
            }),
            Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(e))) => {
                Err(ShardFault::Unavailable(e.to_string()))
            }
            Err(RaftError::Fatal(e)) => Err(ShardFault::Fatal(e.to_string())),
        }
    }
}

/// Asks a majority when this node leads, else the leader.
pub(crate) struct AnyRound {
    pub(crate) local: LeaderRound,
    pub(crate) node: Arc<Node>,
    pub(crate) shard: ShardId,
}

#[async_trait]
impl Round for AnyRound {
    async fn read_index(&self) -> Result<Option<u64>, ShardFault> {
        let (state, leader) = {
            let metrics = self.local.raft.metrics();
            let metrics = metrics.borrow();
            (metrics.state, metrics.current_leader.map(NodeId))
        };
        if state == ServerState::Leader {
            return self.local.read_index().await;
        }
        let Some(leader) = leader else {
            return Err(ShardFault::NotLeader { leader: None });
        };
        let body = calls::encode(&ReadIndexCall { shard: self.shard });
        let asked = self
            .node
            .caller
            .call(leader, Channel::Raft, CallKind::RaftReadIndex, body, LEADER_DEADLINE)
            .await;
        let answer = asked.map_err(|e| ShardFault::Unavailable(e.to_string()))?;
        let answer: ReadIndexAnswer =
            calls::decode(&answer).map_err(|e| ShardFault::Unavailable(format!("the leader's answer: {e}")))?;
        answer
    }
}
