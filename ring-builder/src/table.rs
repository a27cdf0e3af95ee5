//! The table while it is being changed: who holds what, who wants more, and which copies may still move.

use crate::layout::Layout;
use crate::tolerance;
use crate::topology::{DOMAIN_LEVELS, DomainIx, LEVELS, Topology, ZONE_LEVEL};

/// A slot without a device.
pub(crate) const EMPTY: usize = usize::MAX;

pub(crate) struct Table<'a> {
    pub(crate) tree: &'a Topology,
    pub(crate) layout: Layout,
    /// Entries for each partition. A partition with fewer copies leaves the last one [`EMPTY`].
    pub(crate) replicas: usize,
    /// Positions in the list of devices, or [`EMPTY`].
    pub(crate) slots: Vec<usize>,
    /// The slots as they were before.
    origin: Vec<usize>,
    pub(crate) held: Vec<u64>,
    /// Devices that hold less than their quota.
    pub(crate) wanting: usize,
    /// Partitions that moved too short a time ago.
    resting: Vec<bool>,
    /// For each partition, a bit for each replica that this rebalance has placed.
    touched: Vec<u32>,
    /// Moves that may still be made beyond those that take from a surplus and give to a device that wants more.
    pub(crate) detours: i64,
    /// Copies moved so far, those of removed devices not counted.
    pub(crate) moved: u64,
    /// Domains that should have a copy of every partition: level, domain, how many.
    demanding: Vec<(usize, DomainIx, u32)>,
    /// Copies of every partition that the domains of each level demand together.
    demand: [u32; DOMAIN_LEVELS],
    /// For each partition, whether its copies are not spread as the weights allow.
    strain: Vec<bool>,
    /// Slots without a device.
    pub(crate) empty: usize,
}

impl<'a> Table<'a> {
    /// `old` has the copies of each partition as `layout` has them.
    pub(crate) fn new(tree: &'a Topology, layout: Layout, old: &[usize], resting: Vec<bool>) -> Self {
        let replicas = layout.most();
        let mut slots = Vec::with_capacity(replicas << layout.part_power);
        for partition in 0..layout.partitions() {
            slots.extend_from_slice(&old[layout.range(partition)]);
            slots.resize((partition as usize + 1) * replicas, EMPTY);
        }
        let mut held = vec![0; tree.paths.len()];
        for &device in slots.iter().filter(|&&device| device != EMPTY) {
            held[device] += 1;
        }
        let wanting = (0..held.len())
            .filter(|&device| held[device] < tree.quota(device))
            .count();
        let mut demanding: Vec<_> = tree
            .paths
            .iter()
            .flat_map(|path| path[..DOMAIN_LEVELS].iter().enumerate())
            .map(|(level, &domain)| (level, domain, tree.domains[domain].least))
            .filter(|&(_, _, least)| least > 0)
            .collect();
        demanding.sort_unstable();
        demanding.dedup();
        let mut demand = [0; DOMAIN_LEVELS];
        for &(level, _, least) in &demanding {
            demand[level] += least;
        }
        let touched = vec![0; resting.len()];
        let empty = old.iter().filter(|&&device| device == EMPTY).count();
        let mut table = Self {
            tree,
            layout,
            replicas,
            origin: slots.clone(),
            slots,
            held,
            wanting,
            resting,
            touched,
            detours: 0,
            moved: 0,
            demanding,
            demand,
            strain: Vec::new(),
            empty,
        };
        table.strain = (0..table.partitions())
            .map(|partition| table.is_strained(partition))
            .collect();
        table
    }

    pub(crate) fn partitions(&self) -> u32 {
        u32::try_from(self.resting.len()).expect("at most 2^MAX_PART_POWER")
    }

    pub(crate) fn devices(&self) -> usize {
        self.held.len()
    }

    /// The slots of `partition`, as positions in [`Self::slots`].
    pub(crate) fn slots_of(&self, partition: u32) -> std::ops::Range<usize> {
        let start = partition as usize * self.replicas;
        start..start + self.layout.copies(partition)
    }

    pub(crate) fn partition_of(&self, slot: usize) -> u32 {
        u32::try_from(slot / self.replicas).expect("at most 2^MAX_PART_POWER")
    }

    /// How many partitions the device holds too many.
    pub(crate) fn surplus(&self, device: usize) -> u64 {
        self.held[device].saturating_sub(self.tree.quota(device))
    }

    /// How many partitions the device holds too few.
    pub(crate) fn wants(&self, device: usize) -> u64 {
        self.tree.quota(device).saturating_sub(self.held[device])
    }

    /// Whether the copy in `slot` may go elsewhere: one that was placed in this rebalance always may, for it travels
    /// anyway. Otherwise only the first of its partition, and only when the partition is not resting.
    pub(crate) fn may_move(&self, slot: usize) -> bool {
        let partition = slot / self.replicas;
        match self.touched[partition] {
            0 => !self.resting[partition],
            _ => self.travels(slot),
        }
    }

    pub(crate) fn holds(&self, partition: u32, device: usize) -> bool {
        self.slots[self.slots_of(partition)].contains(&device)
    }

    fn copies(&self, partition: u32, level: usize, domain: DomainIx) -> u32 {
        let here = |&&device: &&usize| device != EMPTY && self.tree.paths[device][level] == domain;
        let copies = self.slots[self.slots_of(partition)].iter().filter(here).count();
        u32::try_from(copies).expect("at most MAX_REPLICAS")
    }

    /// By how much the partition's spread becomes worse (positive) or better (negative) when the copy in `slot` goes
    /// to `to`: domains left with too many or too few copies, counted over all levels.
    pub(crate) fn cost(&self, slot: usize, to: usize) -> i32 {
        self.cost_above(slot, to, DOMAIN_LEVELS)
    }

    /// The part of [`Self::cost`] that is the same for all devices in the zone of `to`.
    pub(crate) fn zone_cost(&self, slot: usize, to: usize) -> i32 {
        self.cost_above(slot, to, ZONE_LEVEL + 1)
    }

    fn cost_above(&self, slot: usize, to: usize, levels: usize) -> i32 {
        let partition = self.partition_of(slot);
        let from = self.slots[slot];
        let mut cost = 0;
        for level in 0..levels {
            let into = self.tree.paths[to][level];
            let out_of = (from != EMPTY).then(|| self.tree.paths[from][level]);
            if out_of == Some(into) {
                continue;
            }
            let copies = self.copies(partition, level, into);
            cost += i32::from(copies >= self.tree.domains[into].most);
            cost -= i32::from(copies < self.tree.domains[into].least);
            if let Some(out_of) = out_of {
                let copies = self.copies(partition, level, out_of);
                cost += i32::from(copies <= self.tree.domains[out_of].least);
                cost -= i32::from(copies > self.tree.domains[out_of].most);
            }
        }
        cost
    }

    /// Whether a domain lacks a copy of the partition that it should have.
    pub(crate) fn lacks(&self, partition: u32) -> bool {
        self.demanding
            .iter()
            .any(|&(level, domain, least)| self.copies(partition, level, domain) < least)
    }

    /// Whether the partition's copies are not spread as the weights allow.
    pub(crate) fn strained(&self, partition: u32) -> bool {
        self.strain[partition as usize]
    }

    /// Counts for [`Self::strained`]. No domain may have too many copies, and those that demand some must have them.
    fn is_strained(&self, partition: u32) -> bool {
        let copies = &self.slots[self.slots_of(partition)];
        (0..DOMAIN_LEVELS).any(|level| {
            let mut met = 0;
            for (at, &device) in copies.iter().enumerate() {
                if device == EMPTY {
                    continue;
                }
                let domain = self.tree.paths[device][level];
                let same = |&other: &usize| other != EMPTY && self.tree.paths[other][level] == domain;
                if copies[..at].iter().any(same) {
                    continue;
                }
                let here = 1 + copies[at + 1..].iter().filter(|other| same(other)).count();
                let here = u32::try_from(here).expect("at most MAX_REPLICAS");
                if here > self.tree.domains[domain].most {
                    return true;
                }
                met += here.min(self.tree.domains[domain].least);
            }
            met < self.demand[level]
        })
    }

    fn judge(&mut self, slot: usize) {
        let partition = self.partition_of(slot);
        self.strain[partition as usize] = self.is_strained(partition);
    }

    /// What moving the copy in `slot` to `to` takes from [`Self::detours`]. Nothing when it takes one from a surplus
    /// and gives it to a device that wants more; otherwise as many moves as it makes necessary beyond that.
    pub(crate) fn detour(&self, slot: usize, to: usize) -> i64 {
        let from = self.slots[slot];
        if from == EMPTY {
            return 0;
        }
        let travels = i64::from(self.touched[slot / self.replicas] == 0);
        travels - i64::from(self.surplus(from) > 0) + i64::from(self.wants(to) == 0)
    }

    /// Whether the copy in `slot` travels in this rebalance anyway.
    pub(crate) fn travels(&self, slot: usize) -> bool {
        self.touched[slot / self.replicas] & (1 << (slot % self.replicas)) != 0
    }

    pub(crate) fn affordable(&self, slot: usize, to: usize) -> bool {
        self.detour(slot, to) <= self.detours.max(0)
    }

    /// Whether this rebalance has placed a copy of the slot's partition.
    pub(crate) fn is_touched(&self, slot: usize) -> bool {
        self.touched[slot / self.replicas] != 0
    }

    /// The slot of the same partition that was moved in this rebalance, when it could go back so that the copy in
    /// `slot` moves in its stead.
    pub(crate) fn stand_in(&self, slot: usize) -> Option<usize> {
        let touched = self.touched[slot / self.replicas];
        let moved = slot - slot % self.replicas + touched.trailing_zeros() as usize;
        let swaps = touched.is_power_of_two() && moved != slot && self.origin[moved] != EMPTY;
        (swaps && self.origin[moved] != self.slots[moved] && self.exchange_cost(slot, moved) <= 0).then_some(moved)
    }

    /// Where a copy would return to.
    pub(crate) fn origin(&self, slot: usize) -> usize {
        self.origin[slot]
    }

    fn exchange_cost(&self, slot: usize, moved: usize) -> i64 {
        let copies = &self.slots[self.slots_of(self.partition_of(slot))];
        let mut after = copies.to_vec();
        after[slot % self.replicas] = self.slots[moved];
        after[moved % self.replicas] = self.origin[moved];
        self.tension(&after) - self.tension(copies)
    }

    /// Copies too many and too few, over all domains, of a partition on these devices.
    fn tension(&self, devices: &[usize]) -> i64 {
        let here = |level: usize, domain: DomainIx, devices: &[usize]| {
            devices
                .iter()
                .filter(|&&device| self.tree.paths[device][level] == domain)
                .count() as i64
        };
        let mut tension = 0;
        for (at, &device) in devices.iter().enumerate() {
            for level in 0..DOMAIN_LEVELS {
                let domain = self.tree.paths[device][level];
                // The copies up to this one: each copy past the most counts once.
                tension += i64::from(here(level, domain, &devices[..=at]) > i64::from(self.tree.domains[domain].most));
            }
        }
        for &(level, domain, least) in &self.demanding {
            tension += (i64::from(least) - here(level, domain, devices)).max(0);
        }
        tension
    }

    /// Sends the copy in `moved` back and lets the one in `slot` take its place.
    pub(crate) fn exchange(&mut self, slot: usize, moved: usize) {
        let (from, back_to) = (self.slots[slot], self.origin[moved]);
        self.detours += i64::from(self.surplus(from) > 0) - i64::from(self.wants(back_to) == 0);
        self.slots[slot] = self.slots[moved];
        self.slots[moved] = back_to;
        self.touched[slot / self.replicas] = 1 << (slot % self.replicas);
        self.release(from);
        self.receive(back_to);
        self.judge(slot);
    }

    fn release(&mut self, device: usize) {
        self.held[device] -= 1;
        self.wanting += usize::from(self.wants(device) == 1);
    }

    fn receive(&mut self, device: usize) {
        self.wanting -= usize::from(self.wants(device) == 1);
        self.held[device] += 1;
    }

    /// Puts the copy in `slot` onto `to`.
    pub(crate) fn put(&mut self, slot: usize, to: usize) {
        assert!(
            self.may_move(slot) || self.slots[slot] == EMPTY,
            "no second copy of a partition moves"
        );
        assert!(
            !self.holds(self.partition_of(slot), to),
            "copies of a partition are on different devices"
        );
        self.detours -= self.detour(slot, to);
        self.moved += u64::from(self.slots[slot] != EMPTY && self.touched[slot / self.replicas] == 0);
        let from = std::mem::replace(&mut self.slots[slot], to);
        if from == EMPTY {
            self.empty -= 1;
        } else {
            self.release(from);
        }
        self.receive(to);
        self.touched[slot / self.replicas] |= 1 << (slot % self.replicas);
        self.judge(slot);
    }

    /// How many partitions a device that is out of tolerance holds too many or too few; 0 for one in tolerance.
    pub(crate) fn off(&self, device: usize) -> u64 {
        let right = tolerance::holds(self.held[device], self.tree.ideal(device), self.active(device));
        if right {
            0
        } else {
            self.surplus(device) + self.wants(device)
        }
    }

    /// Whether the device may receive copies at all.
    pub(crate) fn active(&self, device: usize) -> bool {
        self.tree.domains[self.tree.paths[device][LEVELS - 1]].ideal > 0.0
    }

    /// The copies of each partition as the layout has them.
    pub(crate) fn copies_in_order(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.partitions()).flat_map(|partition| self.slots[self.slots_of(partition)].iter().copied())
    }
}
