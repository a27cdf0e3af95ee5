//! What the load consists of: which request comes next, on which key.
//!
//! Knows: operations and keys. Must not know: sockets and clocks. Keys are numbered, so that the preparation and the
//! measurement agree on them without talking.

use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use clock::Dice;
use serde::Serialize;

/// Shares of the mixed load, in percent: what a backup tool at work looks like.
const MIXED_GET: u64 = 55;
const MIXED_PUT: u64 = 30;
const MIXED_DELETE: u64 = 10;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// New objects.
    Put,
    /// Whole objects, chosen at random.
    Get,
    /// Pages of a listing, from random places.
    List,
    /// Objects prepared for it; ends when none is left.
    Delete,
    /// 55 % get, 30 % put, 10 % delete, 5 % list.
    Mixed,
}

/// One request to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the key.
    Put(String),
    /// Read the key.
    Get(String),
    /// List one page after the key.
    List(String),
    /// Delete the key.
    Delete(String),
}

/// The load, shared by all workers.
#[derive(Debug)]
pub struct Workload {
    operation: Operation,
    /// How many objects were prepared.
    prepared: u64,
    /// The next prepared object to delete.
    next_delete: AtomicU64,
    /// Sets this run's keys apart from those of earlier ones.
    run: String,
}

/// One worker's share of the load.
pub struct Worker<'a> {
    workload: &'a Workload,
    dice: Box<dyn Dice>,
    number: usize,
    written: u64,
    deleted: u64,
}

impl Operation {
    /// How many objects it needs beforehand, unless the caller says.
    #[must_use]
    pub fn objects_default(self, size: u64) -> u64 {
        const BYTES: u64 = 1 << 30;
        match self {
            Self::Put => 0,
            Self::Get | Self::Mixed => (BYTES / size.max(1)).clamp(4, 1000),
            Self::List | Self::Delete => 10_000,
        }
    }

    /// The size of prepared objects.
    #[must_use]
    pub fn prepared_size(self, size: u64) -> u64 {
        match self {
            Self::List => size.min(16),
            _ => size,
        }
    }
}

impl Workload {
    /// A load over `prepared` objects.
    #[must_use]
    pub fn new(operation: Operation, prepared: u64, run: String) -> Self {
        Self {
            operation,
            prepared,
            next_delete: AtomicU64::new(0),
            run,
        }
    }

    /// The key of the `index`th prepared object.
    #[must_use]
    pub fn prepared_key(&self, index: u64) -> String {
        format!("{}/prepared/{index:08}", self.run)
    }

    /// The prefix of prepared objects.
    #[must_use]
    pub fn prepared_prefix(&self) -> String {
        format!("{}/prepared/", self.run)
    }

    /// The prefix of everything this run writes.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{}/", self.run)
    }

    /// The share of worker `number`.
    #[must_use]
    pub fn worker(&self, number: usize, dice: Box<dyn Dice>) -> Worker<'_> {
        Worker {
            workload: self,
            dice,
            number,
            written: 0,
            deleted: 0,
        }
    }
}

impl Worker<'_> {
    /// The next request; `None` when there is nothing left to do.
    pub fn next(&mut self) -> Option<Step> {
        match self.workload.operation {
            Operation::Put => Some(self.put()),
            Operation::Get => Some(Step::Get(self.random_key())),
            Operation::List => Some(Step::List(self.random_key())),
            Operation::Delete => {
                let index = self.workload.next_delete.fetch_add(1, Ordering::Relaxed);
                (index < self.workload.prepared).then(|| Step::Delete(self.workload.prepared_key(index)))
            }
            Operation::Mixed => Some(self.mixed()),
        }
    }

    fn mixed(&mut self) -> Step {
        match self.dice.u64() % 100 {
            roll if roll < MIXED_GET => Step::Get(self.random_key()),
            roll if roll < MIXED_GET + MIXED_PUT => self.put(),
            roll if roll < MIXED_GET + MIXED_PUT + MIXED_DELETE => {
                if self.deleted == self.written {
                    return self.put();
                }
                let key = self.own_key(self.deleted);
                self.deleted += 1;
                Step::Delete(key)
            }
            _ => Step::List(self.random_key()),
        }
    }

    fn put(&mut self) -> Step {
        let key = self.own_key(self.written);
        self.written += 1;
        Step::Put(key)
    }

    fn own_key(&self, index: u64) -> String {
        format!("{}/written/{:04}/{index:08}", self.workload.run, self.number)
    }

    fn random_key(&self) -> String {
        self.workload
            .prepared_key(self.dice.u64() % self.workload.prepared.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::SeededDice;
    use std::collections::BTreeSet;

    fn dice() -> Box<dyn Dice> {
        Box::new(SeededDice::new(3))
    }

    #[test]
    fn two_workers_never_write_the_same_key() {
        let load = Workload::new(Operation::Put, 0, "r".into());
        let (mut one, mut two) = (load.worker(0, dice()), load.worker(1, dice()));
        let keys: BTreeSet<_> = (0..100)
            .flat_map(|_| [format!("{:?}", one.next()), format!("{:?}", two.next())])
            .collect();
        assert_eq!(keys.len(), 200);
    }

    #[test]
    fn every_prepared_object_is_deleted_once() {
        let load = Workload::new(Operation::Delete, 10, "r".into());
        let (mut one, mut two) = (load.worker(0, dice()), load.worker(1, dice()));
        let mut seen = Vec::new();
        while let Some(step) = one.next() {
            seen.push(step);
            seen.extend(two.next());
        }
        let expected: Vec<_> = (0..10).map(|index| Step::Delete(load.prepared_key(index))).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_mixed_load_deletes_only_what_it_wrote_and_keeps_its_shares() {
        let load = Workload::new(Operation::Mixed, 50, "r".into());
        let mut worker = load.worker(0, dice());
        let mut written = BTreeSet::new();
        let mut gets = 0;
        for _ in 0..2000 {
            match worker.next().expect("endless") {
                Step::Put(key) => assert!(written.insert(key)),
                Step::Delete(key) => assert!(written.remove(&key)),
                Step::Get(_) => gets += 1,
                Step::List(_) => {}
            }
        }
        assert!((1000..1200).contains(&gets), "{gets}");
    }
}
