//! Which nodes vote in which shard: the shards follow the ring (DESIGN §3.1). A node with weight in the live ring may hold
//! seats, one whose devices are all drained or gone gives its seats up. Done by the leader of the system shard, one
//! change of members at a time.
//!
//! A node that is merely down keeps its seats: it comes back with what it has, and moving a seat copies a whole shard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metadata::ids::{NodeId, ShardId};
use metadata::model::PolicyId;

use super::Workshop;
use crate::client::DataPlane;
use crate::node::ClusterStatus;
use crate::node::admin::{AdminAnswer, AdminCall};
use crate::shard::{ShardRole, ShardStatus};

const NAME: &str = "seats of shards";
/// Voters of a shard, when there are as many nodes.
const VOTERS: usize = 3;
/// How long the nodes may take to say something of themselves.
pub(super) const LOOK_DEADLINE: Duration = Duration::from_secs(3);
/// How long a new member may take to receive its shard.
const JOIN_DEADLINE: Duration = Duration::from_secs(600);
/// How long a change of members may take.
const CHANGE_DEADLINE: Duration = Duration::from_secs(60);

/// Looks again and again while this node leads the system shard.
pub(super) async fn run(workshop: Workshop) {
    loop {
        tokio::time::sleep(workshop.options.seats_pause).await;
        if !workshop.leads(ShardId::SYSTEM) {
            continue;
        }
        match look(&workshop).await {
            Ok(true) => workshop.board.done(NAME, 1),
            Ok(false) => {}
            Err(why) => workshop.board.failed(NAME, why),
        }
    }
}

/// One shard as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seats {
    shard: ShardId,
    leader: NodeId,
    voters: BTreeSet<NodeId>,
}

/// One change of members.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    shard: ShardId,
    leader: NodeId,
    /// Who joins.
    joins: NodeId,
    /// Who leaves; nobody when the shard has too few.
    leaves: Option<NodeId>,
}

/// Decides the next change: first a seat of a node that may hold none, then a shard with too few, then the balance.
/// `eligible` nodes may hold seats, `up` ones answer. Plain function.
fn decide(shards: &[Seats], eligible: &BTreeSet<NodeId>, up: &BTreeSet<NodeId>) -> Option<Change> {
    let mut held: BTreeMap<NodeId, usize> = eligible.iter().map(|node| (*node, 0)).collect();
    for voter in shards.iter().flat_map(|shard| &shard.voters) {
        if let Some(count) = held.get_mut(voter) {
            *count += 1;
        }
    }
    // The old members must be able to decide, whoever leaves.
    let able = |shard: &&Seats| shard.voters.intersection(up).count() * 2 > shard.voters.len();
    let newcomer = |shard: &Seats| {
        let fits = |node: &&NodeId| up.contains(node) && !shard.voters.contains(node);
        eligible.iter().filter(fits).min_by_key(|node| held[node]).copied()
    };
    let change = |shard: &Seats, joins, leaves| Change {
        shard: shard.shard,
        leader: shard.leader,
        joins,
        leaves,
    };
    for shard in shards.iter().filter(able) {
        let guest = shard.voters.iter().find(|voter| !eligible.contains(voter));
        if let (Some(guest), Some(joins)) = (guest, newcomer(shard)) {
            return Some(change(shard, joins, Some(*guest)));
        }
    }
    let wanted = VOTERS.min(eligible.len());
    for shard in shards.iter().filter(able).filter(|shard| shard.voters.len() < wanted) {
        if let Some(joins) = newcomer(shard) {
            return Some(change(shard, joins, None));
        }
    }
    // Only whole shards are moved for the sake of balance.
    let whole = shards.iter().filter(|shard| shard.voters.is_subset(up));
    let best = whole.filter_map(|shard| {
        let joins = newcomer(shard)?;
        let voters = shard.voters.iter().filter(|voter| eligible.contains(voter));
        let leaves = voters.max_by_key(|voter| held[voter]).copied()?;
        (held[&leaves] >= held[&joins] + 2).then(|| (held[&leaves] - held[&joins], change(shard, joins, Some(leaves))))
    });
    best.max_by_key(|(difference, change)| (*difference, std::cmp::Reverse(change.shard)))
        .map(|(_, change)| change)
}

async fn look(workshop: &Workshop) -> Result<bool, String> {
    let Some(live) = workshop.client.rings(PolicyId::default()) else {
        return Ok(false);
    };
    let devices = live.current.ring.devices().filter(|device| device.weight > 0.0);
    let failed = &live.state.current.failed;
    let devices = devices.filter(|device| !failed.contains(&device.id.0));
    let eligible: BTreeSet<NodeId> = devices.map(|device| NodeId(device.node)).collect();
    let status = workshop.client.cluster_status(LOOK_DEADLINE).await;
    let up: BTreeSet<NodeId> = answering(&status);
    let seats = seats(&status);
    let Some(change) = decide(&seats, &eligible, &up) else {
        workshop.board.state(
            NAME,
            format!("{} shards on {} nodes are in their places", seats.len(), eligible.len()),
        );
        return Ok(false);
    };
    let leaves = change.leaves.map_or("nobody".to_owned(), |node| format!("node {node}"));
    let line = format!("shard {}: node {} joins, {leaves} leaves", change.shard, change.joins);
    tracing::info!("{line}");
    workshop.board.state(NAME, line);
    carry_out(workshop, &seats, change).await.map(|()| true)
}

/// Nodes that answer and whose stores are sound.
fn answering(status: &ClusterStatus) -> BTreeSet<NodeId> {
    let sound = status
        .nodes
        .iter()
        .filter_map(|(node, said)| Some((*node, said.as_ref().ok()?)));
    sound
        .filter(|(_, said)| said.shards.quarantine.is_none() && said.shards.store_failed.is_none())
        .map(|(node, _)| node)
        .collect()
}

/// What the leaders say; a shard without one is left alone.
fn seats(status: &ClusterStatus) -> Vec<Seats> {
    let mut leaders: BTreeMap<ShardId, (NodeId, &ShardStatus)> = BTreeMap::new();
    for (node, said) in &status.nodes {
        let Ok(said) = said else { continue };
        for shard in said
            .shards
            .shards
            .iter()
            .filter(|shard| shard.role == ShardRole::Leader)
        {
            let newer = leaders
                .get(&shard.shard)
                .is_none_or(|(_, other)| other.term < shard.term);
            if newer {
                leaders.insert(shard.shard, (*node, shard));
            }
        }
    }
    leaders
        .into_iter()
        .map(|(shard, (leader, said))| Seats {
            shard,
            leader,
            voters: said.voters.iter().copied().collect(),
        })
        .collect()
}

async fn carry_out(workshop: &Workshop, seats: &[Seats], change: Change) -> Result<(), String> {
    let Change {
        shard,
        leader,
        joins,
        leaves,
    } = change;
    ask(
        workshop,
        leader,
        AdminCall::AddLearner { shard, node: joins },
        JOIN_DEADLINE,
    )
    .await?;
    let now = seats
        .iter()
        .find(|seats| seats.shard == shard)
        .ok_or("the shard is gone")?;
    let mut voters = now.voters.clone();
    voters.insert(joins);
    if let Some(leaves) = leaves {
        voters.remove(&leaves);
    }
    if leaves == Some(leader) {
        // A leader that leaves first hands the lead over, so that nobody waits for an election. The new one carries the
        // change out with the next look.
        let target = voters
            .iter()
            .find(|voter| now.voters.contains(voter))
            .copied()
            .unwrap_or(joins);
        return ask(workshop, leader, AdminCall::HandOver { shard, target }, CHANGE_DEADLINE).await;
    }
    ask(
        workshop,
        leader,
        AdminCall::ChangeVoters { shard, voters },
        CHANGE_DEADLINE,
    )
    .await
}

async fn ask(workshop: &Workshop, node: NodeId, call: AdminCall, deadline: Duration) -> Result<(), String> {
    match workshop.client.admin(node, &call, deadline).await? {
        AdminAnswer::Failed(why) => Err(why),
        AdminAnswer::Done(_) | AdminAnswer::WatchersApplied(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn shard(number: u64, voters: &[u64]) -> Seats {
        Seats {
            shard: ShardId(number),
            leader: NodeId(voters[0]),
            voters: nodes(voters),
        }
    }

    /// Carries changes out until there are none; answers how many there were.
    fn settle(shards: &mut [Seats], eligible: &BTreeSet<NodeId>, up: &BTreeSet<NodeId>) -> usize {
        for count in 0..100 {
            let Some(change) = decide(shards, eligible, up) else {
                return count;
            };
            let seats = shards.iter_mut().find(|seats| seats.shard == change.shard).unwrap();
            assert!(seats.voters.insert(change.joins) && up.contains(&change.joins));
            if let Some(leaves) = change.leaves {
                assert!(seats.voters.remove(&leaves));
            }
            seats.leader = *seats.voters.first().unwrap();
        }
        panic!("the seats never come to rest");
    }

    #[test]
    fn a_new_node_gets_its_share_of_seats_and_then_nothing_moves() {
        let all = nodes(&[1, 2, 3, 4]);
        let mut shards: Vec<Seats> = (0..9).map(|number| shard(number, &[1, 2, 3])).collect();
        assert_eq!(settle(&mut shards, &all, &all), 6);
        let held = |node| {
            shards
                .iter()
                .filter(|seats| seats.voters.contains(&NodeId(node)))
                .count()
        };
        assert!((1..=4).all(|node| (6..=7).contains(&held(node))));
        assert!(shards.iter().all(|seats| seats.voters.len() == 3));
    }

    #[test]
    fn a_drained_node_gives_all_its_seats_up_and_a_dead_one_keeps_them() {
        let up = nodes(&[1, 2, 3, 4]);
        let mut shards: Vec<Seats> = (0..4).map(|number| shard(number, &[1, 2, 4])).collect();
        settle(&mut shards, &nodes(&[1, 2, 3]), &up);
        assert!(shards.iter().all(|seats| seats.voters == nodes(&[1, 2, 3])));
        // Node 3 is down: nobody takes its seats, and nothing is moved for balance onto or off it.
        assert_eq!(decide(&shards, &up, &nodes(&[1, 2, 4])), None);
    }

    #[test]
    fn dur_5_a_shard_without_a_majority_is_left_alone_and_a_small_one_is_filled() {
        let all = nodes(&[1, 2, 3]);
        assert_eq!(decide(&[shard(1, &[1, 4])], &all, &nodes(&[1, 2, 3])), None);
        let filled = decide(&[shard(1, &[1])], &all, &nodes(&[1, 3])).unwrap();
        assert_eq!((filled.joins, filled.leaves), (NodeId(3), None));
        // Two nodes are all there is: two voters, no more.
        assert_eq!(decide(&[shard(1, &[1, 2])], &nodes(&[1, 2]), &nodes(&[1, 2])), None);
    }
}
