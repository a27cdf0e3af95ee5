//! Balance and dispersion as OpenStack Swift's ring builder defines them, so that operators can compare.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::builder::{Builder, LOST};
use crate::device::{Device, DeviceId};
use crate::rebalance::{held, positions};
use crate::table::EMPTY;
use crate::topology::{LEVELS, ROOT, Topology, even_most};

/// The balance of a ring in which a device without weight still holds something.
pub const MAX_BALANCE: f64 = 999.99;

/// How far copies stand from each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Dispersion {
    /// Copies that share a region, zone, node or device with more copies of their partition than an even spread has
    /// there, in percent of all copies; each counts once, at the level where it is worst.
    pub percent: f64,
    /// Every region, zone, node and device that holds something.
    pub domains: Vec<Spread>,
}

/// The copies in one domain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// `r1`, `r1z2`, `r1z2-10.0.0.1` or `r1z2-10.0.0.1/d0`.
    pub name: String,
    /// 0 for a region, 1 for a zone, 2 for a node, 3 for a device.
    pub level: usize,
    /// Most copies of a partition that an even spread has here.
    pub most: u64,
    /// Copies here.
    pub placed: u64,
    /// Copies beyond the most, in percent of those placed.
    pub percent: f64,
    /// How many partitions have 0, 1, 2 ... copies here.
    pub partitions: Vec<u64>,
}

impl Builder {
    /// How far each device is from what its weight asks for, in percent; [`MAX_BALANCE`] for one that should be empty.
    /// Unlike [`crate::DeviceLoad::off_percent`] this knows no cap and no overload.
    #[must_use]
    pub fn balances(&self) -> BTreeMap<DeviceId, f64> {
        let devices: Vec<&Device> = self.devices.values().collect();
        let weight: f64 = devices.iter().map(|device| device.weight).sum();
        #[allow(clippy::cast_precision_loss, reason = "at most MAX_SLOTS")]
        let slots = self.wanted_layout().slots() as f64;
        let parts = self.parts_held();
        let balance = |device: &Device| {
            let held = parts.get(&device.id).copied().unwrap_or(0);
            #[allow(clippy::cast_precision_loss, reason = "at most 2^MAX_PART_POWER")]
            let held = held as f64;
            if device.weight > 0.0 {
                100.0 * held / (device.weight * (slots / weight)) - 100.0
            } else if held > 0.0 {
                MAX_BALANCE
            } else {
                0.0
            }
        };
        devices.iter().map(|device| (device.id, balance(device))).collect()
    }

    /// The largest of [`Self::balances`], without sign; 0 for a ring without devices.
    #[must_use]
    pub fn balance(&self) -> f64 {
        self.balances()
            .values()
            .map(|balance| balance.abs())
            .fold(0.0, f64::max)
    }

    /// Partitions that each device holds.
    #[must_use]
    pub fn parts_held(&self) -> BTreeMap<DeviceId, u64> {
        let ids: Vec<DeviceId> = self.devices.keys().copied().collect();
        let held = held(&positions(&self.slots, &ids), ids.len());
        ids.into_iter().zip(held).collect()
    }

    /// The overload from which on more of it changes nothing; 0 when the weights spread the copies evenly.
    #[must_use]
    pub fn required_overload(&self) -> f64 {
        let devices: Vec<Device> = self.devices.values().cloned().collect();
        Topology::required_overload(&devices, self.wanted_layout().replicas())
    }

    /// How far copies of one partition stand from each other.
    #[must_use]
    pub fn dispersion(&self) -> Dispersion {
        let devices: Vec<Device> = self.devices.values().cloned().collect();
        let ids: Vec<DeviceId> = devices.iter().map(|device| device.id).collect();
        let tree = Topology::grow(&devices);
        let most = even_most(&tree, self.layout.replicas());
        let slots = positions(&self.slots, &ids);
        let width = self.layout.most() + 1;
        let mut counts = vec![0u64; tree.domains.len() * width];
        let mut at_risk = 0;
        if !slots.is_empty() {
            for partition in 0..self.partitions() {
                let copies = &slots[self.layout.range(partition)];
                at_risk += count_partition(&tree, &most, copies, width, &mut counts);
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "at most MAX_SLOTS")]
        let percent = 100.0 * at_risk as f64 / self.slots.len().max(1) as f64;
        let names = names(&tree, &devices);
        let domains = (0..tree.domains.len()).filter(|&domain| domain != ROOT);
        let spread = domains.filter_map(|domain| {
            let (name, level) = names[domain].clone()?;
            let counts = &counts[domain * width..(domain + 1) * width];
            Spread::new(name, level, most[domain], u64::from(self.partitions()), counts)
        });
        let mut domains: Vec<Spread> = spread.collect();
        domains.sort_by(|one, other| one.name.cmp(&other.name));
        Dispersion { percent, domains }
    }

    /// Whether anything was ever placed.
    #[must_use]
    pub fn is_placed(&self) -> bool {
        !self.slots.is_empty()
    }

    /// The partitions of which some of `ids` hold copies, with how many of them do; most first, then by partition.
    #[must_use]
    pub fn partitions_on(&self, ids: &[DeviceId]) -> Vec<(u32, usize)> {
        let here = |partition: u32| {
            let copies = if self.slots.is_empty() {
                &[]
            } else {
                &self.slots[self.layout.range(partition)]
            };
            copies.iter().filter(|id| **id != LOST && ids.contains(id)).count()
        };
        let all = (0..self.partitions()).map(|partition| (partition, here(partition)));
        let mut found: Vec<(u32, usize)> = all.filter(|&(_, count)| count > 0).collect();
        found.sort_by_key(|&(partition, count)| (std::cmp::Reverse(count), partition));
        found
    }
}

impl Spread {
    fn new(name: String, level: usize, most: u64, partitions: u64, counts: &[u64]) -> Option<Self> {
        let some: u64 = counts.iter().sum();
        let placed: u64 = (0..).zip(counts).map(|(copies, partitions)| copies * partitions).sum();
        let beyond: u64 = (0u64..)
            .zip(counts)
            .map(|(copies, count)| copies.saturating_sub(most) * count)
            .sum();
        let mut all = counts.to_vec();
        all[0] = partitions - some;
        #[allow(clippy::cast_precision_loss, reason = "at most MAX_SLOTS")]
        let percent = 100.0 * beyond as f64 / placed.max(1) as f64;
        (placed > 0).then_some(Self {
            name,
            level,
            most,
            placed,
            percent,
            partitions: all,
        })
    }
}

/// Counts one partition into `counts` and returns its copies at risk.
fn count_partition(tree: &Topology, most: &[u64], copies: &[usize], width: usize, counts: &mut [u64]) -> u64 {
    let mut worst = 0;
    for level in 0..LEVELS {
        let domain_at = |at: usize| (copies[at] != EMPTY).then(|| tree.paths[copies[at]][level]);
        let mut beyond = 0;
        for at in 0..copies.len() {
            let Some(domain) = domain_at(at) else { continue };
            if (0..at).any(|before| domain_at(before) == Some(domain)) {
                continue;
            }
            let here = (at..copies.len())
                .filter(|&other| domain_at(other) == Some(domain))
                .count();
            counts[domain * width + here] += 1;
            beyond += (here as u64).saturating_sub(most[domain]);
        }
        worst = worst.max(beyond);
    }
    worst
}

/// Name and level of each domain; none for the root.
fn names(tree: &Topology, devices: &[Device]) -> Vec<Option<(String, usize)>> {
    let mut names = vec![None; tree.domains.len()];
    for (path, device) in tree.paths.iter().zip(devices) {
        let Device { region, zone, name, .. } = device;
        let host = device.host();
        let texts = [
            format!("r{region}"),
            format!("r{region}z{zone}"),
            format!("r{region}z{zone}-{host}"),
            format!("r{region}z{zone}-{host}/{name}"),
        ];
        for (level, (&domain, text)) in path.iter().zip(texts).enumerate() {
            names[domain].get_or_insert((text, level));
        }
    }
    names
}
