//! Decides one replicated write: event in, commands out. No clock, no socket, no lock.
//!
//! DUR-1  `Succeed` comes when copies are synced in as many different failure domains as the ring asks for; two copies
//!        in one domain count once. A quorum that cannot be reached any more is `GiveUp`, at once.
//!
//! Every primary that is down is replaced by the next handoff at once, before the quorum and after it, so that the chunk
//! has all its copies. A device thought to be down is asked only when the quorum cannot be reached without it.
//!
//! Fragments are decided by `fragment_quorum`; [`Decides`] is what both are to who carries them out.

use std::collections::{HashSet, VecDeque};

use metadata::ids::DeviceId;

use crate::placement::{Candidate, Domain};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The device has the chunk, synced.
    Stored(DeviceId),
    /// The device cannot have it.
    Failed(DeviceId),
    /// The devices that have not answered are slow: before the quorum each gets company by a handoff, after it they
    /// are given up.
    Laggard,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Send the chunk to this device too.
    SendTo(DeviceId),
    /// The quorum is reached: the write may go on.
    Succeed,
    /// The quorum cannot be reached.
    GiveUp,
}

/// The decisions of one chunk's write, of whole copies or of fragments.
pub(crate) trait Decides: Send {
    /// Takes an event. Late news of devices that were given up changes nothing.
    fn on(&mut self, event: Event) -> Vec<Command>;
    /// True when no device is expected to answer any more.
    fn settled(&self) -> bool;
    /// The devices that have a piece, each with the piece's number; 0 is a whole copy.
    fn stored(&self) -> Vec<(u8, DeviceId)>;
    /// Which piece a device is, or was, to get.
    fn piece_of(&self, device: DeviceId) -> u8;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    Reached,
    Failed,
}

/// One chunk's write. `S` yields the handoffs, best first; it is not touched before one is needed.
pub(crate) struct WriteQuorum<S> {
    required: usize,
    spares: S,
    /// Handoffs that were passed over because their domain was covered.
    passed_over: VecDeque<Candidate>,
    /// Devices thought to be down.
    doubtful: VecDeque<Candidate>,
    in_flight: Vec<Sent>,
    stored: Vec<Candidate>,
    phase: Phase,
}

struct Sent {
    to: Candidate,
    /// A handoff was already asked in its stead.
    late: bool,
}

impl<S: Iterator<Item = Candidate>> WriteQuorum<S> {
    /// A write that needs copies in `required` domains. The commands begin it.
    pub(crate) fn start(required: usize, primaries: &[Candidate], spares: S) -> (Self, Vec<Command>) {
        let mut quorum = Self {
            required,
            spares,
            passed_over: VecDeque::new(),
            doubtful: VecDeque::new(),
            in_flight: Vec::with_capacity(primaries.len()),
            stored: Vec::with_capacity(primaries.len()),
            phase: Phase::Open,
        };
        let mut commands = Vec::with_capacity(primaries.len());
        for primary in primaries.iter().filter(|primary| primary.ready) {
            quorum.send(*primary, &mut commands);
        }
        for primary in primaries.iter().filter(|primary| !primary.ready) {
            quorum.doubtful.push_back(*primary);
            quorum.replace(&mut commands);
        }
        quorum.keep_possible(&mut commands);
        (quorum, commands)
    }

    /// Takes an event. Late news of devices that were given up changes nothing.
    pub(crate) fn on(&mut self, event: Event) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.phase == Phase::Failed {
            return commands;
        }
        match event {
            Event::Stored(device) => {
                if let Some(candidate) = self.take(device) {
                    self.stored.push(candidate);
                }
                if self.phase == Phase::Open && self.domains(Counted::Stored) >= self.required {
                    self.phase = Phase::Reached;
                    commands.push(Command::Succeed);
                }
            }
            Event::Failed(device) => {
                let Some(failed) = self.in_flight.iter().position(|sent| sent.to.device == device) else {
                    return commands;
                };
                if !self.in_flight.swap_remove(failed).late {
                    self.replace(&mut commands);
                }
                self.keep_possible(&mut commands);
            }
            Event::Laggard if self.phase == Phase::Open => self.accompany(&mut commands),
            Event::Laggard => self.in_flight.clear(),
        }
        commands
    }

    /// True when no device is expected to answer any more.
    pub(crate) fn settled(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// The devices that have the chunk.
    pub(crate) fn stored(&self) -> impl Iterator<Item = DeviceId> + '_ {
        self.stored.iter().map(|candidate| candidate.device)
    }

    fn take(&mut self, device: DeviceId) -> Option<Candidate> {
        let at = self.in_flight.iter().position(|sent| sent.to.device == device)?;
        Some(self.in_flight.swap_remove(at).to)
    }

    fn send(&mut self, to: Candidate, commands: &mut Vec<Command>) {
        self.in_flight.push(Sent { to, late: false });
        commands.push(Command::SendTo(to.device));
    }

    /// Sends to the next handoff that is thought to be up, if there is one.
    fn replace(&mut self, commands: &mut Vec<Command>) {
        let next = self.passed_over.pop_front().or_else(|| self.next_ready());
        if let Some(spare) = next {
            self.send(spare, commands);
        }
    }

    fn next_ready(&mut self) -> Option<Candidate> {
        loop {
            let spare = self.spares.next()?;
            if spare.ready {
                return Some(spare);
            }
            self.doubtful.push_back(spare);
        }
    }

    /// Asks further domains, the doubtful ones last, until a quorum is possible; or gives up.
    fn keep_possible(&mut self, commands: &mut Vec<Command>) {
        while self.phase == Phase::Open && self.domains(Counted::Possible) < self.required {
            let Some(next) = self.next_in_new_domain() else {
                self.phase = Phase::Failed;
                self.in_flight.clear();
                commands.push(Command::GiveUp);
                return;
            };
            self.send(next, commands);
        }
    }

    fn next_in_new_domain(&mut self) -> Option<Candidate> {
        let covered = self.covered();
        let is_new = |candidate: &Candidate| !covered.contains(&candidate.domain);
        if let Some(at) = self.passed_over.iter().position(is_new) {
            return self.passed_over.remove(at);
        }
        while let Some(spare) = self.next_ready() {
            if is_new(&spare) {
                return Some(spare);
            }
            self.passed_over.push_back(spare);
        }
        let at = self.doubtful.iter().position(is_new)?;
        self.doubtful.remove(at)
    }

    fn accompany(&mut self, commands: &mut Vec<Command>) {
        let slow = self.in_flight.iter_mut().filter(|sent| !sent.late);
        let count = slow.map(|sent| sent.late = true).count();
        for _ in 0..count {
            self.replace(commands);
        }
    }

    fn covered(&self) -> HashSet<Domain> {
        let stored = self.stored.iter().map(|candidate| candidate.domain);
        stored.chain(self.in_flight.iter().map(|sent| sent.to.domain)).collect()
    }

    fn domains(&self, counted: Counted) -> usize {
        match counted {
            Counted::Stored => self
                .stored
                .iter()
                .map(|candidate| candidate.domain)
                .collect::<HashSet<_>>()
                .len(),
            Counted::Possible => self.covered().len(),
        }
    }
}

enum Counted {
    Stored,
    Possible,
}

impl<S: Iterator<Item = Candidate> + Send> Decides for WriteQuorum<S> {
    fn on(&mut self, event: Event) -> Vec<Command> {
        Self::on(self, event)
    }

    fn settled(&self) -> bool {
        Self::settled(self)
    }

    fn stored(&self) -> Vec<(u8, DeviceId)> {
        Self::stored(self).map(|device| (0, device)).collect()
    }

    fn piece_of(&self, _: DeviceId) -> u8 {
        0
    }
}

#[cfg(test)]
#[path = "quorum_tests.rs"]
mod tests;
