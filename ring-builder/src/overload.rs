//! Overload: how far a device may go above its share so that copies stand wider apart.
//!
//! By weight alone, a zone with 40 % of the weight holds two of three copies of every fifth partition. Spread evenly,
//! it would hold one copy of each, and the other zones' devices more than their share. The *required overload* is how
//! much more, for the device that is worst off. An overload of `o` goes the part `o / required` of the way from the
//! shares by weight to the even ones.

use crate::device::Device;
use crate::topology::{DomainIx, ROOT, Topology};

/// Differences in copies per partition below this are floating-point noise.
const NOISE: f64 = 1e-10;
/// Halvings when a scale is sought: more than a double has bits.
const HALVINGS: usize = 128;

/// The share of each device per partition when copies are spread as evenly over the domains as the number of devices
/// allows, and by weight where that leaves a choice. `by_weight` has the shares by weight.
pub(crate) fn even_shares(tree: &Topology, devices: &[Device], replicas: f64, by_weight: &[f64]) -> Vec<f64> {
    let mut weights = vec![0.0; tree.domains.len()];
    for (device, path) in tree.paths.iter().enumerate() {
        for &domain in path.iter().chain(&[ROOT]) {
            weights[domain] += by_weight[device];
        }
    }
    let mut even = vec![0.0; tree.domains.len()];
    let mut shares = vec![0.0; tree.domains.len()];
    (even[ROOT], shares[ROOT]) = (replicas, replicas);
    // Children stand behind their parents.
    for domain in 0..tree.domains.len() {
        let active = |&child: &DomainIx| tree.domains[child].active > 0;
        let children: Vec<DomainIx> = tree.domains[domain].children.iter().copied().filter(active).collect();
        if children.is_empty() {
            continue;
        }
        #[allow(clippy::cast_precision_loss, reason = "at most MAX_DEVICES")]
        let fair = even[domain] / children.len() as f64;
        let room = |child: DomainIx| -> f64 {
            #[allow(clippy::cast_precision_loss, reason = "at most MAX_DEVICES")]
            let devices = tree.domains[child].active as f64;
            devices
        };
        let bounds = |child: DomainIx| {
            let fair = if tree.domains[child].device.is_some() {
                fair.min(1.0)
            } else {
                fair
            };
            (
                (fair + NOISE).floor().min(room(child)),
                (fair - NOISE).ceil().min(room(child)),
            )
        };
        let wanted: Vec<Wanted> = children
            .iter()
            .map(|&child| {
                let (least, most) = bounds(child);
                Wanted {
                    weight: weights[child],
                    least,
                    most,
                    room: room(child),
                }
            })
            .collect();
        for (&child, share) in children.iter().zip(divide(&wanted, shares[domain])) {
            even[child] = fair;
            shares[child] = share;
        }
    }
    (0..devices.len()).map(|device| shares[tree.leaf(device)]).collect()
}

/// How much more than its share by weight the worst-off device would hold, as a part of that share.
pub(crate) fn required(by_weight: &[f64], even: &[f64]) -> f64 {
    let pairs = by_weight.iter().zip(even).filter(|(weighted, _)| **weighted > 0.0);
    let more = pairs
        .map(|(weighted, even)| (even - weighted) / weighted)
        .fold(0.0, f64::max);
    if more < NOISE { 0.0 } else { more }
}

struct Wanted {
    weight: f64,
    least: f64,
    most: f64,
    room: f64,
}

/// Divides `total` by weight, everybody between least and most. Where that cannot be, the bounds give way: the lower
/// ones when there is too little, the upper ones when there is too much, down to one copy on each device.
fn divide(all: &[Wanted], total: f64) -> Vec<f64> {
    let sum = |of: fn(&Wanted) -> f64| all.iter().map(of).sum::<f64>();
    if sum(|one| one.least) > total + NOISE {
        return fill(all, total, |_| 0.0, |one| one.most);
    }
    if sum(|one| one.most) < total - NOISE {
        return fill(all, total, |one| one.most, |one| one.room);
    }
    fill(all, total, |one| one.least, |one| one.most)
}

/// The scale of the weights at which all, each between its bounds, make up `total`.
fn fill(all: &[Wanted], total: f64, least: impl Fn(&Wanted) -> f64, most: impl Fn(&Wanted) -> f64) -> Vec<f64> {
    let share = |one: &Wanted, scale: f64| (one.weight * scale).max(least(one)).min(most(one));
    let sum = |scale: f64| all.iter().map(|one| share(one, scale)).sum::<f64>();
    let (mut low, mut high) = (0.0, 1.0);
    while sum(high) < total - NOISE && high < 1e30 {
        high *= 2.0;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if sum(middle) < total {
            low = middle
        } else {
            high = middle
        }
    }
    all.iter().map(|one| share(one, high)).collect()
}
