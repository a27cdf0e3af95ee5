//! Decides one erasure coded write: event in, commands out. No clock, no socket, no lock.
//!
//! DUR-1  `Succeed` comes when the fragments that are synced meet the [`FragmentRule`]. A quorum that cannot be reached any
//!        more is `GiveUp`, at once.
//!
//! Fragment i goes to the device of slot i; a device that is down or slow is replaced by the next handoff, which gets the
//! same fragment. No device is ever sent two fragments of a chunk. A device thought to be down is asked only when the
//! quorum cannot be reached without it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use metadata::ids::DeviceId;
use storage_node::erasure::FragmentRule;

use crate::placement::{Candidate, Domain};
use crate::quorum::{Command, Decides, Event, Phase};

/// One chunk's write. `S` yields the handoffs, best first; it is not touched before one is needed.
pub(crate) struct FragmentQuorum<S> {
    rule: FragmentRule,
    spares: S,
    /// Devices of slots that are thought to be down.
    doubtful: VecDeque<(u8, Candidate)>,
    in_flight: Vec<Sent>,
    stored: Vec<(u8, Candidate)>,
    /// Which fragment each device was sent.
    pieces: BTreeMap<DeviceId, u8>,
    phase: Phase,
}

struct Sent {
    fragment: u8,
    to: Candidate,
    /// A handoff was already asked in its stead.
    late: bool,
}

impl<S: Iterator<Item = Candidate>> FragmentQuorum<S> {
    /// A write of one fragment to each of `slots`. The commands begin it.
    pub(crate) fn start(rule: FragmentRule, slots: &[Candidate], spares: S) -> (Self, Vec<Command>) {
        let mut quorum = Self {
            rule,
            spares,
            doubtful: VecDeque::new(),
            in_flight: Vec::with_capacity(slots.len()),
            stored: Vec::with_capacity(slots.len()),
            pieces: BTreeMap::new(),
            phase: Phase::Open,
        };
        let mut commands = Vec::with_capacity(slots.len());
        let numbered = || (0_u8..).zip(slots.iter().copied());
        for (fragment, home) in numbered().filter(|(_, home)| home.ready) {
            quorum.send(fragment, home, &mut commands);
        }
        for (fragment, home) in numbered().filter(|(_, home)| !home.ready) {
            quorum.doubtful.push_back((fragment, home));
            quorum.replace(fragment, &mut commands);
        }
        quorum.keep_possible(&mut commands);
        (quorum, commands)
    }

    fn send(&mut self, fragment: u8, to: Candidate, commands: &mut Vec<Command>) {
        let late = false;
        self.in_flight.push(Sent { fragment, to, late });
        self.pieces.insert(to.device, fragment);
        commands.push(Command::SendTo(to.device));
    }

    /// Sends a fragment to the next handoff that is thought to be up, if there is one.
    fn replace(&mut self, fragment: u8, commands: &mut Vec<Command>) -> bool {
        let next = self.spares.by_ref().find(|spare| spare.ready);
        if let Some(spare) = next {
            self.send(fragment, spare, commands);
        }
        next.is_some()
    }

    /// Asks further devices, the doubtful ones last, until a quorum is possible; or gives up.
    fn keep_possible(&mut self, commands: &mut Vec<Command>) {
        while self.phase == Phase::Open && !self.rule.met(self.possible()) {
            let sent: BTreeSet<u8> = self.possible().map(|(fragment, _)| fragment).collect();
            let lost = self
                .doubtful
                .iter()
                .map(|(fragment, _)| *fragment)
                .find(|fragment| !sent.contains(fragment));
            if lost.is_some_and(|fragment| self.replace(fragment, commands)) {
                continue;
            }
            let Some((fragment, home)) = self.doubtful.pop_front() else {
                self.phase = Phase::Failed;
                self.in_flight.clear();
                commands.push(Command::GiveUp);
                return;
            };
            self.send(fragment, home, commands);
        }
    }

    fn possible(&self) -> impl Iterator<Item = (u8, Domain)> + '_ {
        let in_flight = self.in_flight.iter().map(|sent| (sent.fragment, sent.to.domain));
        in_flight.chain(self.held())
    }

    fn held(&self) -> impl Iterator<Item = (u8, Domain)> + '_ {
        self.stored.iter().map(|(fragment, home)| (*fragment, home.domain))
    }

    fn accompany(&mut self, commands: &mut Vec<Command>) {
        let slow: Vec<u8> = self
            .in_flight
            .iter_mut()
            .filter(|sent| !sent.late)
            .map(|sent| {
                sent.late = true;
                sent.fragment
            })
            .collect();
        for fragment in slow {
            self.replace(fragment, commands);
        }
    }
}

impl<S: Iterator<Item = Candidate> + Send> Decides for FragmentQuorum<S> {
    fn on(&mut self, event: Event) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.phase == Phase::Failed {
            return commands;
        }
        match event {
            Event::Stored(device) => {
                if let Some(at) = self.in_flight.iter().position(|sent| sent.to.device == device) {
                    let sent = self.in_flight.remove(at);
                    self.stored.push((sent.fragment, sent.to));
                }
                if self.phase == Phase::Open && self.rule.met(self.held()) {
                    self.phase = Phase::Reached;
                    commands.push(Command::Succeed);
                }
            }
            Event::Failed(device) => {
                let Some(at) = self.in_flight.iter().position(|sent| sent.to.device == device) else {
                    return commands;
                };
                let sent = self.in_flight.remove(at);
                if !sent.late {
                    self.replace(sent.fragment, &mut commands);
                }
                self.keep_possible(&mut commands);
            }
            Event::Laggard if self.phase == Phase::Open => self.accompany(&mut commands),
            Event::Laggard => self.in_flight.clear(),
        }
        commands
    }

    fn settled(&self) -> bool {
        self.in_flight.is_empty()
    }

    fn stored(&self) -> Vec<(u8, DeviceId)> {
        self.stored
            .iter()
            .map(|(fragment, home)| (*fragment, home.device))
            .collect()
    }

    fn piece_of(&self, device: DeviceId) -> u8 {
        self.pieces.get(&device).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use storage_node::erasure::Code;

    use super::*;

    type Quorum = FragmentQuorum<std::vec::IntoIter<Candidate>>;

    fn candidate(device: u32, node: u64, ready: bool) -> Candidate {
        Candidate {
            device: DeviceId(device),
            domain: Domain::of_node(node),
            ready,
        }
    }

    /// 2+2 on devices 0 .. 4 of as many nodes; `down` ones are thought to be down; devices from 10 on are handoffs.
    fn start(down: &[u32], spares: u32) -> (Quorum, Vec<Command>) {
        let slots: Vec<Candidate> = (0..4).map(|n| candidate(n, u64::from(n), !down.contains(&n))).collect();
        let spares: Vec<Candidate> = (10..10 + spares).map(|n| candidate(n, u64::from(n), true)).collect();
        let rule = FragmentRule::new(Code::new(2, 2).unwrap(), 4 + spares.len());
        FragmentQuorum::start(rule, &slots, spares.into_iter())
    }

    fn sent(commands: &[Command]) -> Vec<u32> {
        let to = |command: &Command| match command {
            Command::SendTo(device) => Some(device.0),
            _ => None,
        };
        commands.iter().filter_map(to).collect()
    }

    fn stored(quorum: &mut Quorum, device: u32) -> Vec<Command> {
        quorum.on(Event::Stored(DeviceId(device)))
    }

    fn failed(quorum: &mut Quorum, device: u32) -> Vec<Command> {
        quorum.on(Event::Failed(DeviceId(device)))
    }

    #[test]
    fn dur_1_k_plus_one_fragments_are_a_quorum_and_the_rest_goes_on() {
        let (mut quorum, begun) = start(&[], 0);
        assert_eq!(sent(&begun), [0, 1, 2, 3]);
        assert_eq!((stored(&mut quorum, 3), stored(&mut quorum, 0)), (vec![], vec![]));
        assert_eq!(stored(&mut quorum, 1), [Command::Succeed]);
        assert!(!quorum.settled());
        assert_eq!(failed(&mut quorum, 2), []);
        assert!(quorum.settled());
        assert_eq!(quorum.stored(), [(3, DeviceId(3)), (0, DeviceId(0)), (1, DeviceId(1))]);
    }

    #[test]
    fn dur_1_a_quorum_out_of_reach_is_given_up_at_once() {
        let (mut quorum, _) = start(&[], 0);
        assert_eq!(failed(&mut quorum, 0), []);
        assert_eq!(failed(&mut quorum, 1), [Command::GiveUp]);
        assert_eq!(stored(&mut quorum, 2), []);
    }

    #[test]
    fn a_dead_slot_s_fragment_goes_to_a_handoff_and_no_device_gets_two() {
        let (mut quorum, begun) = start(&[1], 2);
        assert_eq!(sent(&begun), [0, 2, 3, 10]);
        assert_eq!(quorum.piece_of(DeviceId(10)), 1);
        assert_eq!(sent(&failed(&mut quorum, 3)), [11]);
        assert_eq!(quorum.piece_of(DeviceId(11)), 3);
        // Three of four are still possible; then the one thought to be down is asked for its own fragment.
        assert_eq!(failed(&mut quorum, 11), []);
        assert_eq!(sent(&failed(&mut quorum, 10)), [1]);
        assert_eq!(quorum.piece_of(DeviceId(1)), 1);
    }

    #[test]
    fn dur_1_the_same_fragment_on_a_slow_device_and_its_company_counts_once() {
        let (mut quorum, _) = start(&[], 4);
        stored(&mut quorum, 0);
        let company = sent(&quorum.on(Event::Laggard));
        assert_eq!(company, [10, 11, 12]);
        assert_eq!(quorum.piece_of(DeviceId(10)), 1);
        assert_eq!((stored(&mut quorum, 1), stored(&mut quorum, 10)), (vec![], vec![]));
        assert_eq!(stored(&mut quorum, 12), [Command::Succeed]);
        quorum.on(Event::Laggard);
        assert!(quorum.settled());
    }
}
