//! DUR-1 as a state machine: examples, then every order of events over random clusters.

use proptest::prelude::*;

use super::*;

fn candidate(device: u32, domain: u64, ready: bool) -> Candidate {
    Candidate {
        device: DeviceId(device),
        domain: Domain::of_node(domain),
        ready,
    }
}

fn up(device: u32, domain: u64) -> Candidate {
    candidate(device, domain, true)
}

fn send(device: u32) -> Command {
    Command::SendTo(DeviceId(device))
}

fn start(
    required: usize,
    primaries: &[Candidate],
    spares: Vec<Candidate>,
) -> (WriteQuorum<std::vec::IntoIter<Candidate>>, Vec<Command>) {
    WriteQuorum::start(required, primaries, spares.into_iter())
}

#[test]
fn dur_1_two_of_three_succeed_and_the_third_goes_on() {
    let (mut quorum, commands) = start(2, &[up(1, 1), up(2, 2), up(3, 3)], vec![]);
    assert_eq!(commands, [send(1), send(2), send(3)]);
    assert_eq!(quorum.on(Event::Stored(DeviceId(1))), []);
    assert_eq!(quorum.on(Event::Stored(DeviceId(3))), [Command::Succeed]);
    assert!(!quorum.settled());
    assert_eq!(quorum.on(Event::Stored(DeviceId(2))), []);
    assert!(quorum.settled());
    assert_eq!(quorum.stored().count(), 3);
}

#[test]
fn dur_1_two_copies_in_one_domain_count_once() {
    let (mut quorum, _) = start(2, &[up(1, 1), up(2, 1), up(3, 2)], vec![]);
    assert_eq!(quorum.on(Event::Stored(DeviceId(1))), []);
    assert_eq!(quorum.on(Event::Stored(DeviceId(2))), []);
    assert_eq!(quorum.on(Event::Failed(DeviceId(3))), [Command::GiveUp]);
}

#[test]
fn a_dead_primary_is_replaced_at_once() {
    let (mut quorum, _) = start(2, &[up(1, 1), up(2, 2), up(3, 3)], vec![up(4, 4)]);
    assert_eq!(quorum.on(Event::Failed(DeviceId(2))), [send(4)]);
}

#[test]
fn a_primary_that_dies_after_the_quorum_is_replaced_too() {
    let (mut quorum, _) = start(2, &[up(1, 1), up(2, 2), up(3, 3)], vec![up(4, 4)]);
    quorum.on(Event::Stored(DeviceId(1)));
    assert_eq!(quorum.on(Event::Stored(DeviceId(2))), [Command::Succeed]);
    assert_eq!(quorum.on(Event::Failed(DeviceId(3))), [send(4)]);
}

#[test]
fn a_doubtful_primary_is_left_out_while_the_quorum_does_not_need_it() {
    let (mut quorum, commands) = start(2, &[up(1, 1), candidate(2, 2, false), up(3, 3)], vec![]);
    assert_eq!(commands, [send(1), send(3)]);
    assert_eq!(quorum.on(Event::Failed(DeviceId(1))), [send(2)]);
    assert_eq!(quorum.on(Event::Failed(DeviceId(2))), [Command::GiveUp]);
    assert!(quorum.settled());
}

#[test]
fn dur_1_a_lost_domain_is_replaced_by_a_new_domain_before_a_covered_one() {
    let (mut quorum, _) = start(2, &[up(1, 1), up(2, 2)], vec![up(3, 1), up(4, 3)]);
    // The replica is replaced (device 3), but only device 4 makes a quorum possible again.
    assert_eq!(quorum.on(Event::Failed(DeviceId(2))), [send(3), send(4)]);
}

#[test]
fn a_slow_replica_gets_company_once_and_is_given_up_after_the_quorum() {
    let (mut quorum, _) = start(
        2,
        &[up(1, 1), up(2, 2), up(3, 3)],
        vec![up(4, 4), up(5, 5), up(6, 6), up(7, 7)],
    );
    quorum.on(Event::Stored(DeviceId(1)));
    assert_eq!(quorum.on(Event::Laggard), [send(4), send(5)]);
    assert_eq!(quorum.on(Event::Laggard), [send(6), send(7)]);
    assert_eq!(quorum.on(Event::Laggard), []);
    assert_eq!(quorum.on(Event::Stored(DeviceId(4))), [Command::Succeed]);
    assert_eq!(quorum.on(Event::Laggard), []);
    assert!(quorum.settled());
    assert_eq!(quorum.on(Event::Stored(DeviceId(2))), []);
    assert_eq!(quorum.stored().collect::<Vec<_>>(), [DeviceId(1), DeviceId(4)]);
}

/// What a test does next: pick one of the devices in flight and let it store or fail, or let time pass.
#[derive(Clone, Copy, Debug)]
enum Step {
    Store(usize),
    Fail(usize),
    Late,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => any::<usize>().prop_map(Step::Store),
        4 => any::<usize>().prop_map(Step::Fail),
        1 => Just(Step::Late),
    ];
    prop::collection::vec(step, 0..40)
}

fn clusters() -> impl Strategy<Value = (usize, Vec<Candidate>, Vec<Candidate>)> {
    let devices = prop::collection::vec((0_u64..4, prop::bool::weighted(0.8)), 1..9);
    (devices, 1_usize..4, 1_usize..4).prop_map(|(devices, replicas, required)| {
        let all = devices
            .iter()
            .zip(0..)
            .map(|((domain, ready), device)| candidate(device, *domain, *ready));
        let mut all: Vec<_> = all.collect();
        let spares = all.split_off(replicas.min(all.len()));
        (required, all, spares)
    })
}

proptest! {
    #[test]
    fn dur_1_holds_for_every_order_of_events((required, primaries, spares) in clusters(), steps in steps()) {
        let all: Vec<Candidate> = primaries.iter().chain(&spares).copied().collect();
        let domain = |device: DeviceId| all.iter().find(|known| known.device == device).unwrap().domain;
        let (mut quorum, mut commands) = start(required, &primaries, spares);
        let (mut flying, mut sent, mut stored) = (Vec::new(), HashSet::new(), HashSet::new());
        let (mut succeeded, mut gave_up) = (false, false);
        let mut steps = steps.into_iter();
        loop {
            for command in commands.drain(..) {
                match command {
                    Command::SendTo(device) => {
                        prop_assert!(sent.insert(device), "sent twice to {device}");
                        flying.push(device);
                    }
                    Command::Succeed => {
                        prop_assert!(!succeeded && !gave_up);
                        succeeded = true;
                    }
                    Command::GiveUp => {
                        prop_assert!(!succeeded && !gave_up);
                        gave_up = true;
                    }
                }
            }
            let domains: HashSet<Domain> = stored.iter().map(|device| domain(*device)).collect();
            prop_assert_eq!(succeeded, domains.len() >= required);
            if gave_up {
                // Nothing untried could have helped.
                let untried = all.iter().filter(|known| !sent.contains(&known.device)).map(|known| known.domain);
                let alive = flying.iter().map(|device| domain(*device));
                let reachable: HashSet<Domain> = domains.iter().copied().chain(alive).chain(untried).collect();
                prop_assert!(reachable.len() < required);
                break;
            }
            if flying.is_empty() {
                prop_assert!(succeeded, "neither succeeded nor gave up");
                break;
            }
            match steps.next() {
                Some(Step::Store(at)) => {
                    let device = flying.swap_remove(at % flying.len());
                    stored.insert(device);
                    commands = quorum.on(Event::Stored(device));
                }
                Some(Step::Fail(at)) => {
                    let device = flying.swap_remove(at % flying.len());
                    commands = quorum.on(Event::Failed(device));
                }
                Some(Step::Late) => {
                    commands = quorum.on(Event::Laggard);
                    if succeeded {
                        flying.clear();
                        prop_assert!(quorum.settled());
                    }
                }
                None => {
                    let device = flying.swap_remove(0);
                    commands = quorum.on(Event::Failed(device));
                }
            }
        }
        prop_assert!(quorum.settled());
        prop_assert_eq!(quorum.stored().collect::<HashSet<_>>(), stored);
    }
}
