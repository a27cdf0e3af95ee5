//! Replicas of shards that this node has given up its seat in. Nobody tells them: a leader sends nothing to who is no
//! member, so they stand for election, in vain and for ever, and each attempt costs a sync. This node asks who leads.

use metadata::ids::{NodeId, ShardId};

use super::Workshop;
use super::seats::LOOK_DEADLINE;
use crate::node::ClusterStatus;
use crate::shard::{ShardRole, ShardStatus};

/// A leader that a majority answered within this time knows who is a member, in milliseconds.
const SURE_WITHIN_MS: u64 = 3_000;

/// Looks again and again.
pub(super) async fn run(workshop: Workshop) {
    loop {
        tokio::time::sleep(workshop.options.seats_pause).await;
        let own = workshop.shards.status().shards;
        let standing: Vec<ShardId> = own
            .iter()
            .filter(|replica| replica.role == ShardRole::Candidate)
            .map(|replica| replica.shard)
            .collect();
        if standing.is_empty() {
            continue;
        }
        let status = workshop.client.cluster_status(LOOK_DEADLINE).await;
        for shard in standing {
            workshop
                .shards
                .set_departed(shard, has_left(workshop.node, shard, &status));
        }
    }
}

/// True when a leader that is sure of itself does not count the node as a member.
fn has_left(node: NodeId, shard: ShardId, status: &ClusterStatus) -> bool {
    let replicas = status
        .nodes
        .iter()
        .filter_map(|(_, said)| said.as_ref().ok())
        .flat_map(|said| &said.shards.shards);
    let leaders = replicas.filter(|replica| replica.shard == shard && replica.role == ShardRole::Leader);
    let newest = leaders.max_by_key(|replica| replica.term);
    newest.is_some_and(|leader| is_sure(leader) && !leader.voters.contains(&node) && !leader.learners.contains(&node))
}

fn is_sure(leader: &ShardStatus) -> bool {
    leader.quorum_age_ms.is_some_and(|age| age <= SURE_WITHIN_MS)
}
