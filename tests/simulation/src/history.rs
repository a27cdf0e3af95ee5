//! What clients asked and were told, in the order of the execution, and whether one register per key explains it
//! (CON-1; a listing is a read of every key, CON-2).
//!
//! A value is known by its size: no two bodies have the same. The search is the usual one: among the operations that may
//! come next (none that ended before they began is still open) try each, remember the states seen.

use std::collections::{BTreeMap, HashSet};

/// A key's state: the size of its object, or nothing.
pub(crate) type State = Option<u64>;

/// What must hold of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    Always,
    Absent,
    Present,
    /// The object of this size is there.
    Is(u64),
}

impl Given {
    fn holds(self, state: State) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => state.is_none(),
            Self::Present => state.is_some(),
            Self::Is(size) => state == Some(size),
        }
    }
}

/// What was asked of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To make the key this; `None` deletes.
    Write(Given, State),
    /// To show the key.
    Read,
}

/// What was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Done.
    Done,
    /// The condition did not hold.
    Refused,
    /// The key was this.
    Saw(State),
    /// Nothing certain.
    Unknown,
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) begun: u64,
    /// Set when an answer came.
    pub(crate) ended: Option<u64>,
    pub(crate) asked: Asked,
    pub(crate) told: Told,
}

/// All operations by key.
#[derive(Default)]
pub(crate) struct History {
    clock: u64,
    keys: BTreeMap<String, Vec<Operation>>,
}

/// Names an operation that has begun.
#[derive(Clone, Debug)]
pub(crate) struct Ticket(String, usize);

impl History {
    pub(crate) fn begin(&mut self, key: &str, asked: Asked) -> Ticket {
        self.clock += 1;
        let operations = self.keys.entry(key.to_owned()).or_default();
        operations.push(Operation {
            begun: self.clock,
            ended: None,
            asked,
            told: Told::Unknown,
        });
        Ticket(key.to_owned(), operations.len() - 1)
    }

    pub(crate) fn end(&mut self, ticket: &Ticket, told: Told) {
        self.clock += 1;
        let operations = self.keys.get_mut(&ticket.0).expect("begun under this key");
        let operation = &mut operations[ticket.1];
        operation.told = told;
        operation.ended = (told != Told::Unknown).then_some(self.clock);
    }

    pub(crate) fn operations(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }

    /// Operations that got an answer.
    pub(crate) fn answered(&self) -> usize {
        let all = self.keys.values().flatten();
        all.filter(|operation| operation.ended.is_some()).count()
    }

    /// The first key whose operations no order explains, and how many keys took too long to tell.
    pub(crate) fn check(&self) -> (Option<String>, usize) {
        let mut undecided = 0;
        for (key, operations) in &self.keys {
            match explain(operations) {
                Verdict::Explained => {}
                Verdict::Undecided => undecided += 1,
                Verdict::Impossible(why) => return (Some(format!("key {key:?}: {why}")), undecided),
            }
        }
        (None, undecided)
    }
}

/// States looked at per key before the search gives up.
const STATES_MAX: usize = 200_000;

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Explained,
    Impossible(String),
    Undecided,
}

/// What the state becomes when `operation` happens now; `None`: it cannot.
fn step(operation: &Operation, state: State) -> Option<State> {
    match (operation.asked, operation.told) {
        (Asked::Read, Told::Saw(seen)) => (seen == state).then_some(state),
        (Asked::Write(given, new), Told::Done) => given.holds(state).then_some(new),
        (Asked::Write(given, _), Told::Refused) => (!given.holds(state)).then_some(state),
        (Asked::Write(given, new), Told::Unknown) => given.holds(state).then_some(new),
        _ => None,
    }
}

fn explain(all: &[Operation]) -> Verdict {
    // A read without an answer says nothing.
    let mut operations: Vec<Operation> = all
        .iter()
        .filter(|operation| operation.ended.is_some() || matches!(operation.asked, Asked::Write(..)))
        .copied()
        .collect();
    operations.sort_by_key(|operation| operation.begun);
    let mut search = Search {
        operations: &operations,
        seen: HashSet::new(),
        furthest: 0,
        stuck: String::new(),
    };
    let start = Node {
        done: vec![0; operations.len().div_ceil(64)],
        first: 0,
        left: operations.iter().filter(|operation| operation.ended.is_some()).count(),
        state: None,
    };
    search.run(start)
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Node {
    done: Vec<u64>,
    /// All before it are done or can be left out.
    first: usize,
    /// Answered operations that are not placed yet.
    left: usize,
    state: State,
}

impl Node {
    fn is_done(&self, at: usize) -> bool {
        self.done[at / 64] >> (at % 64) & 1 == 1
    }

    fn place(&mut self, at: usize, operation: &Operation, state: State) {
        self.done[at / 64] |= 1 << (at % 64);
        self.left -= usize::from(operation.ended.is_some());
        self.state = state;
        while self.first / 64 < self.done.len() && self.is_done(self.first) {
            self.first += 1;
        }
    }
}

struct Search<'a> {
    operations: &'a [Operation],
    seen: HashSet<Node>,
    furthest: usize,
    stuck: String,
}

impl Search<'_> {
    fn run(&mut self, start: Node) -> Verdict {
        let answered = start.left;
        let mut open = vec![start];
        while let Some(mut node) = open.pop() {
            self.place_what_changes_nothing(&mut node);
            if node.left == 0 {
                return Verdict::Explained;
            }
            if self.seen.len() > STATES_MAX {
                return Verdict::Undecided;
            }
            if !self.seen.insert(node.clone()) {
                continue;
            }
            self.note(answered, &node);
            // The last pushed is tried first: answered operations before unknown ones.
            let candidates = self.candidates(&node);
            let (unknown, known): (Vec<usize>, Vec<usize>) = candidates
                .into_iter()
                .partition(|at| self.operations[*at].ended.is_none());
            for at in unknown.into_iter().chain(known.into_iter().rev()) {
                if let Some(state) = step(&self.operations[at], node.state) {
                    let mut next = node.clone();
                    next.place(at, &self.operations[at], state);
                    open.push(next);
                }
            }
        }
        Verdict::Impossible(self.stuck.clone())
    }

    /// Operations that may come next.
    fn candidates(&self, node: &Node) -> Vec<usize> {
        let mut earliest_end = u64::MAX;
        let mut found = Vec::new();
        for at in node.first..self.operations.len() {
            let operation = &self.operations[at];
            if operation.begun > earliest_end {
                break;
            }
            if node.is_done(at) {
                continue;
            }
            found.push(at);
            earliest_end = earliest_end.min(operation.ended.unwrap_or(u64::MAX));
        }
        found.retain(|at| self.operations[*at].begun < earliest_end);
        found
    }

    /// A read, or a refusal, that fits now never does harm. (A delete of nothing does: it may be needed later.)
    fn place_what_changes_nothing(&self, node: &mut Node) {
        loop {
            let fits = self.candidates(node).into_iter().find(|at| {
                let operation = &self.operations[*at];
                let changes_nothing = operation.asked == Asked::Read || operation.told == Told::Refused;
                operation.ended.is_some() && changes_nothing && step(operation, node.state).is_some()
            });
            let Some(at) = fits else { return };
            let state = node.state;
            node.place(at, &self.operations[at], state);
        }
    }

    fn note(&mut self, answered: usize, node: &Node) {
        let placed = answered - node.left;
        if placed < self.furthest && !self.stuck.is_empty() {
            return;
        }
        self.furthest = placed;
        let next: Vec<String> = self
            .candidates(node)
            .into_iter()
            .map(|at| format!("{:?}", self.operations[at]))
            .collect();
        self.stuck = format!(
            "after {placed} of {answered} answered operations the key is {:?}, and none of these can come next: {}",
            node.state,
            next.join(", ")
        );
    }
}

#[cfg(test)]
mod tests;
