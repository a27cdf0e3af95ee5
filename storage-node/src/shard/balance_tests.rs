use super::*;

const SETTLE: Duration = Duration::from_secs(10);

fn nodes(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn led(shard: u64, well: &[u64]) -> Led {
    Led {
        shard: ShardId(shard),
        voters: nodes(&[3, 1, 2]),
        well: nodes(well),
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn homes_are_spread_evenly_and_the_same_for_everybody() {
    let homes: Vec<_> = (0..9)
        .filter_map(|shard| home(ShardId(shard), &nodes(&[2, 3, 1])))
        .collect();
    assert_eq!(homes, nodes(&[1, 2, 3, 1, 2, 3, 1, 2, 3]));
    assert_eq!(home(ShardId(4), &[]), None);
}

#[test]
fn a_leader_hands_over_to_a_home_that_was_well_long_enough() {
    let mut balance = Balance::default();
    let all = [led(0, &[1, 2, 3]), led(1, &[1, 2, 3])];
    assert_eq!(balance.look(NodeId(1), &all, at(0), SETTLE), None);
    assert_eq!(balance.look(NodeId(1), &all, at(9), SETTLE), None);
    assert_eq!(
        balance.look(NodeId(1), &all, at(10), SETTLE),
        Some((ShardId(1), NodeId(2)))
    );
    assert_eq!(
        balance.look(NodeId(1), &all, at(11), SETTLE),
        None,
        "a failed handover waits again"
    );
}

#[test]
fn a_home_that_was_away_must_settle_anew() {
    let mut balance = Balance::default();
    assert_eq!(balance.look(NodeId(1), &[led(1, &[1, 2, 3])], at(0), SETTLE), None);
    assert_eq!(balance.look(NodeId(1), &[led(1, &[1, 3])], at(5), SETTLE), None);
    assert_eq!(balance.look(NodeId(1), &[led(1, &[1, 2, 3])], at(11), SETTLE), None);
    assert_eq!(
        balance.look(NodeId(1), &[led(1, &[1, 2, 3])], at(21), SETTLE),
        Some((ShardId(1), NodeId(2)))
    );
}

#[test]
fn a_home_keeps_what_it_leads() {
    let mut balance = Balance::default();
    assert_eq!(balance.look(NodeId(2), &[led(1, &[1, 2, 3])], at(0), SETTLE), None);
    assert_eq!(balance.look(NodeId(2), &[led(1, &[1, 2, 3])], at(99), SETTLE), None);
}
