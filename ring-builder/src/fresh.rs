//! The first placement: nothing is there yet, so quotas and spread are met exactly.
//!
//! The copies are handed down the tree: all to the root, from each domain to its children. A child gets floor(s)
//! copies of every partition, where s is its share per partition, and one more of some. Which partitions those are is
//! the one choice: for each partition in turn, first the children that need every partition still to come, then the
//! children in the partition's candidate order. Because partitions of one domain differ by at most one in the copies
//! that are left for this choice, it never runs into a dead end (the Gale-Ryser theorem).

use crate::candidates::Firsts;
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
    let mut filling = Filling {
        layout,
        slots: vec![0; layout.slots()],
        filled: vec![0; partitions as usize],
    };
    hand_down(tree, ROOT, rows, seed, &mut filling);
    for partition in 0..partitions {
        let filled = usize::from(filling.filled[partition as usize]);
        assert_eq!(filled, layout.copies(partition), "every partition got all its copies");
        // Position 0 is read first: it must not always be the same region.
        let salt = mix(u64::from(partition));
        filling.slots[layout.range(partition)].sort_by_key(|&device: &usize| mix(salt ^ device as u64));
    }
    filling.slots
}

/// The table while it is filled.
struct Filling {
    layout: Layout,
    slots: Vec<usize>,
    /// Copies placed so far, for each partition.
    filled: Vec<u8>,
}

impl Filling {
    fn push(&mut self, partition: u32, device: usize) {
        let filled = &mut self.filled[partition as usize];
        self.slots[self.layout.range(partition).start + usize::from(*filled)] = device;
        *filled += 1;
    }
}

fn hand_down(tree: &Topology, domain: DomainIx, rows: Vec<Row>, seed: u64, filling: &mut Filling) {
    let domain_of = &tree.domains[domain];
    if let Some(device) = domain_of.device {
        for row in rows {
            assert_eq!(row.copies, 1, "a device holds a partition once");
            filling.push(row.partition, device);
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
    let room = |at: usize| {
        if least[at] > 0 {
            rows.len()
        } else {
            usize::try_from(rest(at)).unwrap_or(0)
        }
    };
    let mut handed: Vec<Vec<Row>> = (0..children.len()).map(|at| Vec::with_capacity(room(at))).collect();
    let floor: u32 = least.iter().sum();
    let mut chosen = Vec::new();
    for Row { partition, copies } in rows {
        choice.next(partition, (copies - floor) as usize, &mut chosen);
        for &at in &chosen {
            let copies = least[at] + 1;
            handed[at].push(Row { partition, copies });
        }
        for &at in always.iter().filter(|at| !chosen.contains(at)) {
            let copies = least[at];
            handed[at].push(Row { partition, copies });
        }
    }
    for (&child, rows) in children.iter().zip(handed) {
        hand_down(tree, child, rows, seed, filling);
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
    candidates: Firsts,
    /// Children on the hash ring, and those of them that still need rows.
    on_ring: usize,
    open: usize,
    seed: u64,
}

impl Choice {
    fn new(need: Vec<u64>, rows: u64, seed: u64) -> Self {
        let candidates = Firsts::new(need.iter().copied().enumerate(), seed);
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

    fn next(&mut self, partition: u32, count: usize, chosen: &mut Vec<usize>) {
        if self.scan_after == 0 {
            self.scan();
        }
        self.thin_out_ring();
        chosen.clear();
        chosen.extend_from_slice(&self.forced);
        assert!(
            chosen.len() <= count,
            "no more children are forced than the row has copies"
        );
        if chosen.len() < count {
            let free = |at: &usize| self.need[*at] > 0 && !self.is_forced[*at];
            let first = self.candidates.first(partition).iter().map(|&member| member as usize);
            chosen.extend(first.filter(free).take(count - chosen.len()));
            if chosen.len() < count {
                let wanted = count - chosen.len();
                chosen.extend(self.candidates.others(partition).filter(free).take(wanted));
            }
        }
        assert_eq!(chosen.len(), count, "enough children are left for the row");
        for &at in chosen.iter() {
            self.need[at] -= 1;
            self.open -= usize::from(self.need[at] == 0);
        }
        self.rows_left -= 1;
        self.scan_after = self.scan_after.saturating_sub(1);
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
            self.candidates = Firsts::new(self.need.iter().copied().enumerate(), self.seed);
            self.on_ring = self.open;
        }
    }
}
