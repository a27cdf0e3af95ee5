//! How good a table is: each device against its share, and where copies of one partition stand together.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::builder::{Builder, LOST};
use crate::device::{Device, DeviceId};
use crate::error::RingError;
use crate::layout::Layout;
use crate::rebalance::{held, positions};
use crate::table::{EMPTY, Table};
use crate::tolerance;
use crate::topology::{DOMAIN_LEVELS, Topology};

/// What [`Builder::validate`] found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Version of the last rebalance.
    pub version: u64,
    /// Number of partitions.
    pub partitions: u32,
    /// Copies of each.
    pub replicas: usize,
    /// Hours for which a partition rests after a move.
    pub min_part_hours: u32,
    /// Every device against its share.
    pub devices: Vec<DeviceLoad>,
    /// The largest deviation of a device from its share, in percent of the share.
    pub worst_percent: f64,
    /// Copies of one partition in the same region, zone or node.
    pub together: Vec<Together>,
    /// What is not as the weights ask for, one sentence each; empty when the ring is right.
    pub problems: Vec<String>,
    /// What the weights themselves make less safe than it could be, one sentence each.
    pub notes: Vec<String>,
}

/// One device against its share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceLoad {
    /// The device.
    #[serde(flatten)]
    pub device: Device,
    /// Partitions that its weight asks for.
    pub share: f64,
    /// Partitions that it holds.
    pub held: u64,
    /// Deviation in percent of the share; positive when it holds too many.
    pub off_percent: f64,
    /// Whether that is within 1 % or one partition, whichever is more.
    pub in_tolerance: bool,
}

/// Partitions that have two or more copies in one domain of a level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Together {
    /// `region`, `zone` or `node`.
    pub level: &'static str,
    /// Number of such domains.
    pub domains: usize,
    /// Partitions with two or more copies in one of them.
    pub partitions: u64,
    /// Those of them that the weights do not ask for: a rebalance spreads them wider.
    pub avoidable: u64,
}

const LEVEL_NAMES: [&str; DOMAIN_LEVELS] = ["region", "zone", "node"];

impl Builder {
    /// Compares the table of the last rebalance with what the devices' weights ask for now.
    #[must_use]
    pub fn validate(&self) -> Report {
        let devices: Vec<Device> = self.devices.values().cloned().collect();
        let active = devices.iter().filter(|device| device.weight > 0.0).count();
        let ids: Vec<DeviceId> = devices.iter().map(|device| device.id).collect();
        let slots = positions(&self.slots, &ids);
        let held = held(&slots, devices.len());
        let layout = if active < self.layout.most() {
            Layout {
                whole: active,
                extra: 0,
                ..self.layout
            }
        } else {
            self.layout
        };
        let tree = Topology::new(&devices, layout, self.overload, &held);
        let loads = loads(&tree, devices, &held);
        let together = if slots.is_empty() {
            Vec::new()
        } else {
            let table = Table::new(&tree, self.layout, &slots, vec![false; self.partitions() as usize]);
            (0..DOMAIN_LEVELS).map(|level| together(&table, level)).collect()
        };
        Report {
            version: self.version,
            partitions: self.partitions(),
            replicas: self.replicas(),
            min_part_hours: self.min_part_hours,
            worst_percent: loads.iter().map(|load| load.off_percent.abs()).fold(0.0, f64::max),
            problems: problems(self, active, &loads, &together),
            notes: notes(self, &together),
            devices: loads,
            together,
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "at most MAX_SLOTS")]
fn loads(tree: &Topology, devices: Vec<Device>, held: &[u64]) -> Vec<DeviceLoad> {
    let load = |(at, device): (usize, Device)| {
        let (share, held) = (tree.ideal(at), held[at]);
        let off_percent = match (share > 0.0, held) {
            (true, held) => (held as f64 - share) / share * 100.0,
            (false, 0) => 0.0,
            (false, _) => 100.0,
        };
        let in_tolerance = tolerance::holds(held, share, share > 0.0);
        DeviceLoad {
            device,
            share,
            held,
            off_percent,
            in_tolerance,
        }
    };
    devices.into_iter().enumerate().map(load).collect()
}

fn together(table: &Table<'_>, level: usize) -> Together {
    let (mut partitions, mut avoidable) = (0, 0);
    for partition in 0..table.partitions() {
        let domains = || {
            let copies = table.slots[table.slots_of(partition)]
                .iter()
                .filter(|&&device| device != EMPTY);
            copies.map(|&device| table.tree.paths[device][level])
        };
        let crowd = |domain| domains().filter(|&other| other == domain).count();
        let shared = domains().any(|domain| crowd(domain) > 1);
        let crowded = domains().any(|domain| crowd(domain) > table.tree.domains[domain].most as usize);
        partitions += u64::from(shared);
        avoidable += u64::from(shared && crowded);
    }
    let domains: BTreeSet<_> = table.tree.paths.iter().map(|path| path[level]).collect();
    Together {
        level: LEVEL_NAMES[level],
        domains: domains.len(),
        partitions,
        avoidable,
    }
}

fn problems(builder: &Builder, active: usize, loads: &[DeviceLoad], together: &[Together]) -> Vec<String> {
    let mut problems = Vec::new();
    if active < builder.replicas() {
        problems.push(
            RingError::TooFewDevices {
                replicas: builder.replicas(),
                devices: active,
            }
            .to_string(),
        );
    }
    if builder.changed {
        problems.push(RingError::NotBalanced(builder.version).to_string());
    }
    let lost = builder.slots.iter().filter(|&&id| id == LOST).count();
    if lost > 0 {
        problems.push(format!("{lost} replicas were on removed devices: run `rebalance`"));
    }
    let off = loads.iter().filter(|load| !load.in_tolerance).count();
    if off > 0 && !builder.slots.is_empty() {
        problems.push(format!(
            "{off} devices are further than 1 % and one partition from their share: run `rebalance`, again after {} hours",
            builder.min_part_hours
        ));
    }
    for Together { level, avoidable, .. } in together.iter().filter(|together| together.avoidable > 0) {
        problems.push(format!(
            "{avoidable} partitions have more copies in one {level} than they need to: run `rebalance`"
        ));
    }
    problems
}

/// With a single region or zone there is nothing to choose; two copies on one node are always worth saying.
fn notes(builder: &Builder, together: &[Together]) -> Vec<String> {
    let shared = together.iter().filter(|together| together.partitions > 0);
    let said = shared.filter(|together| together.level == "node" || together.domains > 1);
    let all = builder.partitions();
    said.map(
        |Together {
             level,
             domains,
             partitions,
             ..
         }| {
            let replicas = builder.replicas();
            let advice = if *domains < replicas {
                format!("{replicas} replicas need {replicas} {level}s, and there are {domains}")
            } else {
                format!("give the {level}s more equal weights")
            };
            format!("not spread: {partitions} of {all} partitions have two or more copies in one {level}: {advice}")
        },
    )
    .collect()
}

#[cfg(test)]
mod tests;
