//! Replicas of shards that this node has given up its seat in. Nobody tells them: a leader sends nothing to who is no
//! member, so they stand for election, in vain and for ever, and each attempt costs a sync. This node asks who leads.

use metadata::ids::{NodeId, ShardId};

use super::Workshop;
use super::seats::LOOK_DEADLINE;
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
        let answers = status.nodes.iter().filter_map(|(_, said)| said.as_ref().ok());
        let replicas: Vec<&ShardStatus> = answers.flat_map(|said| &said.shards.shards).collect();
        for shard in standing {
            workshop
                .shards
                .set_departed(shard, has_left(workshop.node, shard, &replicas));
        }
    }
}

/// True when a leader that is sure of itself does not count the node as a member. Plain function.
fn has_left(node: NodeId, shard: ShardId, replicas: &[&ShardStatus]) -> bool {
    let leads = |replica: &&&ShardStatus| replica.shard == shard && replica.role == ShardRole::Leader;
    let newest = replicas.iter().filter(leads).max_by_key(|replica| replica.term);
    newest.is_some_and(|leader| is_sure(leader) && !leader.voters.contains(&node) && !leader.learners.contains(&node))
}

fn is_sure(leader: &ShardStatus) -> bool {
    leader.quorum_age_ms.is_some_and(|age| age <= SURE_WITHIN_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(role: ShardRole, term: u64, voters: &[u64], quorum_age_ms: Option<u64>) -> ShardStatus {
        ShardStatus {
            shard: ShardId(1),
            role,
            leader: None,
            term,
            last_index: None,
            applied_index: None,
            purged_index: None,
            log_bytes: 0,
            voters: voters.iter().copied().map(NodeId).collect(),
            learners: vec![NodeId(9)],
            matched: Vec::new(),
            quorum_age_ms,
            fault: None,
        }
    }

    #[test]
    fn only_a_leader_that_is_sure_says_who_has_left() {
        let leader = replica(ShardRole::Leader, 5, &[1, 2, 3], Some(10));
        let own = replica(ShardRole::Candidate, 900, &[1, 2, 3, 4], None);
        let left = |node, replicas: &[&ShardStatus]| has_left(NodeId(node), ShardId(1), replicas);
        assert!(left(4, &[&own, &leader]));
        assert!(!left(3, &[&own, &leader]), "a member");
        assert!(!left(9, &[&own, &leader]), "it is about to join");
        assert!(!left(4, &[&own]), "nobody leads: it may be needed");
        let unsure = replica(ShardRole::Leader, 5, &[1, 2, 3], Some(SURE_WITHIN_MS + 1));
        assert!(!left(4, &[&unsure]) && !left(4, &[&replica(ShardRole::Leader, 5, &[1], None)]));
        let newer = replica(ShardRole::Leader, 6, &[1, 2, 4], Some(0));
        assert!(
            !left(4, &[&leader, &newer]),
            "who was cut off does not know the newest members"
        );
    }
}
