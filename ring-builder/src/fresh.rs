//! The first placement: nothing is there yet, so quotas and spread are met exactly.
//!
//! The copies are handed down the tree: all to the root, from each domain to its children. A child gets floor(s)
//! copies of every partition, where s is its share per partition, and one more of some. Which partitions those are is
//! the one choice: for each partition in turn, first the children that need every partition still to come, then the
//! children in the partition's candidate order. Because partitions of one domain differ by at most one in the copies
//! that are left for this choice, it never runs into a dead end (the Gale-Ryser theorem).

use crate::candidates::Candidates;
use crate::layout::Layout;
use crate::mix::{mix, shuffled};
use crate::topology::{DomainIx, ROOT, Topology};

/// Copies of one partition that a domain has to hold.
struct Row {
    partition: u32,
    copies: u32,
}

/// The devices of every partition, by position in the list of devices.
pub(crate) fn place(tree: &Topology, layout: Layout, seed: u64) -> Vec<usize> {
    let partitions = layout.partitions();
    let copies = |partition| u32::try_from(layout.copies(partition)).expect("at most MAX_REPLICAS");
    let rows = shuffled(partitions, seed)
        .into_iter()
        .map(|partition| Row {
            partition,
            copies: copies(partition),
        })
        .collect();
    let mut table = vec![Vec::with_capacity(layout.most()); partitions as usize];
    hand_down(tree, ROOT, rows, seed, &mut table);
    for (partition, copies) in (0u32..).zip(&mut table) {
        assert_eq!(
            copies.len(),
            layout.copies(partition),
            "every partition got all its copies"
        );
        // Position 0 is read first: it must not always be the same region.
        let salt = mix(u64::from(partition));
        copies.sort_by_key(|&device: &usize| mix(salt ^ device as u64));
    }
    table.concat()
}

fn hand_down(tree: &Topology, domain: DomainIx, rows: Vec<Row>, seed: u64, table: &mut [Vec<usize>]) {
    let domain_of = &tree.domains[domain];
    if let Some(device) = domain_of.device {
        for row in rows {
            assert_eq!(row.copies, 1, "a device holds a partition once");
            table[row.partition as usize].push(device);
        }
        return;
    }
    let children = &domain_of.children;
    let least: Vec<u32> = children.iter().map(|&child| tree.domains[child].least).collect();
    let always: Vec<usize> = (0..children.len()).filter(|&at| least[at] > 0).collect();
    let all_rows = rows.len() as u64;
    let rest = |at: usize| tree.domains[children[at]].quota - u64::from(least[at]) * all_rows;
    let mut choice = Choice::new(
        (0..children.len()).map(rest).collect(),
        all_rows,
        mix(seed ^ domain as u64),
    );
    let mut handed: Vec<Vec<Row>> = children.iter().map(|_| Vec::new()).collect();
    let floor: u32 = least.iter().sum();
    for Row { partition, copies } in rows {
        let chosen = choice.next(partition, (copies - floor) as usize);
        for &at in &chosen {
            handed[at].push(Row {
                partition,
                copies: least[at] + 1,
            });
        }
        for &at in always.iter().filter(|at| !chosen.contains(at)) {
            handed[at].push(Row {
                partition,
                copies: least[at],
            });
        }
    }
    for (&child, rows) in children.iter().zip(handed) {
        hand_down(tree, child, rows, seed, table);
    }
}

/// Chooses, row by row, which children get one more; each child as often as it needs.
struct Choice {
    need: Vec<u64>,
    rows_left: u64,
    /// Children that need every row still to come.
    forced: Vec<usize>,
    is_forced: Vec<bool>,
    /// Before this many rows are done no further child can become forced.
    scan_after: u64,
    candidates: Candidates,
    /// Children on the hash ring, and those of them that still need rows.
    on_ring: usize,
    open: usize,
    seed: u64,
}

impl Choice {
    fn new(need: Vec<u64>, rows: u64, seed: u64) -> Self {
        let candidates = Candidates::new(need.iter().copied().enumerate(), seed);
        let open = need.iter().filter(|&&need| need > 0).count();
        let is_forced = vec![false; need.len()];
        Self {
            need,
            rows_left: rows,
            forced: Vec::new(),
            is_forced,
            scan_after: 0,
            candidates,
            on_ring: open,
            open,
            seed,
        }
    }

    fn next(&mut self, partition: u32, count: usize) -> Vec<usize> {
        if self.scan_after == 0 {
            self.scan();
        }
        self.thin_out_ring();
        let mut chosen = self.forced.clone();
        assert!(
            chosen.len() <= count,
            "no more children are forced than the row has copies"
        );
        if chosen.len() < count {
            let free = |&at: &usize| self.need[at] > 0 && !self.is_forced[at];
            let wanted = count - chosen.len();
            chosen.extend(self.candidates.order(partition).filter(free).take(wanted));
        }
        assert_eq!(chosen.len(), count, "enough children are left for the row");
        for &at in &chosen {
            self.need[at] -= 1;
            self.open -= usize::from(self.need[at] == 0);
        }
        self.rows_left -= 1;
        self.scan_after = self.scan_after.saturating_sub(1);
        chosen
    }

    fn scan(&mut self) {
        self.scan_after = u64::MAX;
        for at in 0..self.need.len() {
            if self.need[at] == 0 || self.is_forced[at] {
                continue;
            }
            let slack = self.rows_left - self.need[at];
            if slack == 0 {
                self.is_forced[at] = true;
                self.forced.push(at);
            } else {
                self.scan_after = self.scan_after.min(slack);
            }
        }
    }

    /// Builds the hash ring anew when most of its members are served, so that finding an open one stays quick.
    fn thin_out_ring(&mut self) {
        if self.open * 2 < self.on_ring {
            self.candidates = Candidates::new(self.need.iter().copied().enumerate(), self.seed);
            self.on_ring = self.open;
        }
    }
}
