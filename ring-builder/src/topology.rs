//! What the weights ask for: the tree of failure domains and the share of each.
//!
//! A device wants `partitions x replicas x weight / all weights` partitions, but no more than all partitions, because
//! copies of one partition are on different devices; what is cut off goes to the others by weight. These shares are
//! rounded down the tree so that every domain and every device gets its share rounded up or down, never further off.
//! A domain with share `s` per partition then has between floor(s) and ceil(s) copies of each partition: that is the
//! widest spread these weights allow.

use std::collections::BTreeMap;

use crate::device::Device;
use crate::layout::Layout;
use crate::overload;

/// Levels of the tree below the root: region, zone, node, device.
pub(crate) const LEVELS: usize = 4;
/// Levels that are failure domains of several devices.
pub(crate) const DOMAIN_LEVELS: usize = 3;
/// The level of zones.
pub(crate) const ZONE_LEVEL: usize = 1;
/// Shares closer to a whole number than this are that number: they differ only by floating-point noise.
const NOISE: f64 = 1e-6;

/// A position in [`Topology::domains`].
pub(crate) type DomainIx = usize;

/// A region, zone, node or device, or the root of all.
#[derive(Debug)]
pub(crate) struct Domain {
    pub(crate) children: Vec<DomainIx>,
    /// Position in the list of devices, for leaves.
    pub(crate) device: Option<usize>,
    /// Devices below with a weight above 0.
    pub(crate) active: u64,
    /// The share in partitions, not rounded.
    pub(crate) ideal: f64,
    /// The share in partitions, rounded.
    pub(crate) quota: u64,
    /// Fewest copies of one partition in this domain.
    pub(crate) least: u32,
    /// Most copies of one partition in this domain.
    pub(crate) most: u32,
}

/// The tree of failure domains with everybody's share.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) domains: Vec<Domain>,
    /// For each device: its region, zone, node and itself.
    pub(crate) paths: Vec<[DomainIx; LEVELS]>,
}

pub(crate) const ROOT: DomainIx = 0;

impl Topology {
    /// Shares for `devices`, at least as many of which must have a weight as a partition has copies. `held` says how
    /// many partitions each device holds now: where a share could be rounded both ways, the way that moves less is taken.
    pub(crate) fn new(devices: &[Device], layout: Layout, overload: f64, held: &[u64]) -> Self {
        let mut tree = Self::grow(devices);
        let partitions = layout.partitions();
        let shares = tree.shares(devices, layout.replicas(), overload);
        let mut held_below = vec![0; tree.domains.len()];
        for (device, path) in tree.paths.iter().enumerate() {
            for &domain in path.iter().chain(&[ROOT]) {
                tree.domains[domain].ideal += shares[device] * f64::from(partitions);
                held_below[domain] += held[device];
            }
        }
        tree.domains[ROOT].quota = layout.slots() as u64;
        let claims = tree.claims(partitions, layout.replicas(), &held_below);
        // Children stand behind their parents, so a parent's share is fixed before it is divided.
        for domain in 0..tree.domains.len() {
            tree.divide(domain, u64::from(partitions), &claims);
        }
        for domain in &mut tree.domains {
            let copies = |partitions_of_it: u64| u32::try_from(partitions_of_it).expect("at most MAX_REPLICAS");
            domain.least = copies(domain.quota / u64::from(partitions));
            domain.most = copies(domain.quota.div_ceil(u64::from(partitions)));
        }
        tree
    }

    /// The share of each device per partition, `overload` of the way from weights to an even spread.
    fn shares(&self, devices: &[Device], replicas: f64, overload: f64) -> Vec<f64> {
        let by_weight = by_weight(devices, replicas);
        if overload <= 0.0 {
            return by_weight;
        }
        let even = overload::even_shares(self, devices, replicas, &by_weight);
        let required = overload::required(&by_weight, &even);
        if required <= 0.0 {
            return by_weight;
        }
        let part = overload.min(required) / required;
        let between = |(weighted, even): (&f64, &f64)| weighted + (even - weighted) * part;
        by_weight.iter().zip(&even).map(between).collect()
    }

    /// The overload at which copies are spread as evenly as the devices allow.
    pub(crate) fn required_overload(devices: &[Device], replicas: f64) -> f64 {
        let by_weight = by_weight(devices, replicas);
        let even = overload::even_shares(&Self::grow(devices), devices, replicas, &by_weight);
        overload::required(&by_weight, &even)
    }

    /// The domain that is `device` itself.
    pub(crate) fn leaf(&self, device: usize) -> DomainIx {
        self.paths[device][LEVELS - 1]
    }

    /// The number of partitions `device` should hold, rounded.
    pub(crate) fn quota(&self, device: usize) -> u64 {
        self.domains[self.paths[device][LEVELS - 1]].quota
    }

    /// The number of partitions `device` should hold, not rounded.
    pub(crate) fn ideal(&self, device: usize) -> f64 {
        self.domains[self.paths[device][LEVELS - 1]].ideal
    }

    /// The tree of domains, without shares.
    pub(crate) fn grow(devices: &[Device]) -> Self {
        let mut tree = Self {
            domains: vec![Domain::new(None)],
            paths: Vec::with_capacity(devices.len()),
        };
        let mut known: BTreeMap<(u32, Option<u32>, Option<u64>), DomainIx> = BTreeMap::new();
        for (at, device) in devices.iter().enumerate() {
            let Device { region, zone, node, .. } = *device;
            let mut parent = ROOT;
            let mut path = [ROOT; LEVELS];
            let names = [
                (region, None, None),
                (region, Some(zone), None),
                (region, Some(zone), Some(node)),
            ];
            for (level, name) in names.into_iter().enumerate() {
                parent = *known.entry(name).or_insert_with(|| tree.hang(parent, None));
                path[level] = parent;
            }
            path[DOMAIN_LEVELS] = tree.hang(parent, Some(at));
            for &domain in path.iter().chain(&[ROOT]) {
                tree.domains[domain].active += u64::from(device.weight > 0.0);
            }
            tree.paths.push(path);
        }
        tree
    }

    fn hang(&mut self, parent: DomainIx, device: Option<usize>) -> DomainIx {
        self.domains.push(Domain::new(device));
        let new = self.domains.len() - 1;
        self.domains[parent].children.push(new);
        new
    }

    /// Gives the children of `domain` their ideals rounded down, then the rest one by one in the order of [`Claim`].
    fn divide(&mut self, domain: DomainIx, partitions: u64, claims: &[Claim]) {
        let children = self.domains[domain].children.clone();
        let quota = self.domains[domain].quota;
        let mut given = 0;
        for &child in &children {
            self.domains[child].quota = claims[child].floor;
            given += claims[child].floor;
        }
        let mut open: Vec<DomainIx> = children.clone();
        open.sort_by_key(|&child| (claims[child].rank, child));
        // One round gives everybody at most one. Only noise in the sums can leave something for another round.
        while given < quota && !open.is_empty() {
            open.retain(|&child| self.domains[child].quota < self.domains[child].active * partitions);
            for &child in open.iter().take(usize::try_from(quota - given).unwrap_or(usize::MAX)) {
                self.domains[child].quota += 1;
                given += 1;
            }
        }
        for &child in open.iter().rev() {
            if given > quota && self.domains[child].quota > 0 {
                self.domains[child].quota -= 1;
                given -= 1;
            }
        }
        assert!(
            children.is_empty() || given == quota,
            "the children's shares make up the parent's"
        );
    }

    /// Who is rounded up first. What is rounded shows most where shares are small, and every copy beyond an even spread
    /// stands close to another.
    fn claims(&self, partitions: u32, replicas: f64, held: &[u64]) -> Vec<Claim> {
        let most = even_most(self, replicas);
        let mut nearest: Vec<f64> = vec![0.0; self.domains.len()];
        let mut claims = Vec::with_capacity(self.domains.len());
        // Children stand behind their parents.
        for (at, domain) in self.domains.iter().enumerate().rev() {
            let sum: f64 = domain.children.iter().map(|&child| nearest[child]).sum();
            nearest[at] = if domain.device.is_some() {
                domain.ideal.round()
            } else {
                sum
            };
            let close = (domain.ideal - domain.ideal.round()).abs() < NOISE;
            let floor = if close {
                domain.ideal.round()
            } else {
                domain.ideal.floor()
            };
            #[allow(clippy::cast_precision_loss, reason = "counts of copies and devices")]
            let (even, devices) = (most[at] as f64 * f64::from(partitions), domain.active.max(1) as f64);
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to MAX_SLOTS, a whole number, and millionths of it"
            )]
            let (floor, per_device) = (floor as u64, (domain.ideal / devices * 1e6).round() as i64);
            let wants_up = nearest[at] > floor as f64 && !close;
            claims.push(Claim {
                floor,
                rank: (
                    close,
                    domain.ideal > even + NOISE,
                    !wants_up,
                    if wants_up { per_device } else { -per_device },
                    held[at] <= floor,
                ),
            });
        }
        claims.reverse();
        claims
    }
}

/// A domain's share rounded down, and its place among its siblings when the rest is handed out: those that are already
/// whole come last, before them those that have more than an even spread gives them; first those that rounding each
/// device alone would round up, with the smallest share per device before all; among equals those that hold that many.
struct Claim {
    floor: u64,
    rank: (bool, bool, bool, i64, bool),
}

/// Most copies of a partition in each domain when children share what their parent has evenly, rounded up; none where
/// no device has a weight.
pub(crate) fn even_most(tree: &Topology, replicas: f64) -> Vec<u64> {
    let mut most = vec![0.0; tree.domains.len()];
    most[ROOT] = replicas;
    for domain in 0..tree.domains.len() {
        let active = |child: &&usize| tree.domains[**child].active > 0;
        let children = tree.domains[domain].children.iter().filter(active);
        #[allow(clippy::cast_precision_loss, reason = "at most MAX_DEVICES")]
        let fair: f64 = (most[domain] / children.clone().count().max(1) as f64).ceil();
        for &child in children {
            most[child] = if tree.domains[child].device.is_some() {
                fair.min(1.0)
            } else {
                fair
            };
        }
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to MAX_REPLICAS, whole"
    )]
    most.into_iter().map(|most| most as u64).collect()
}

impl Domain {
    fn new(device: Option<usize>) -> Self {
        Self {
            children: Vec::new(),
            device,
            active: 0,
            ideal: 0.0,
            quota: 0,
            least: 0,
            most: 0,
        }
    }
}

/// Copies per partition by weight, none above one.
///
/// Every round finds at least one more device that wants more than one. There are at most as many of those as there are
/// replicas, as together they hold at most all of them.
fn by_weight(devices: &[Device], replicas: f64) -> Vec<f64> {
    let mut full = vec![false; devices.len()];
    loop {
        #[allow(clippy::cast_precision_loss, reason = "at most MAX_DEVICES")]
        let taken = full.iter().filter(|&&full| full).count() as f64;
        let left = (replicas - taken).max(0.0);
        let open = devices.iter().zip(&full).filter(|(_, full)| !**full);
        let weight: f64 = open.map(|(device, _)| device.weight).sum();
        let share = |device: &Device| {
            if weight > 0.0 {
                left * (device.weight / weight)
            } else {
                0.0
            }
        };
        let mut found = false;
        for (device, full) in devices.iter().zip(&mut full) {
            if !*full && share(device) > 1.0 {
                *full = true;
                found = true;
            }
        }
        if !found {
            let settled = |(device, full): (&Device, &bool)| if *full { 1.0 } else { share(device) };
            return devices.iter().zip(&full).map(settled).collect();
        }
    }
}

#[cfg(test)]
mod tests;
