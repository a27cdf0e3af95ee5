//! Which partitions a device is to receive, and where a partition's keys lie. Plain functions.

use metadata::ids::{BlobId, DeviceId, WriteId};
use ring::{PartitionId, Ring};

use crate::client::LiveRings;
use crate::device::BlobKey;
use crate::erasure::Code;

/// The placements of one partition, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node::work) struct Span {
    pub(in crate::node::work) first: u64,
    pub(in crate::node::work) last: u64,
}

impl Span {
    /// Of partition `partition` when there are two to the power of `part_power` of them.
    pub(in crate::node::work) fn of(partition: u32, part_power: u8) -> Self {
        let shift = 64 - u32::from(part_power);
        let first = u64::from(partition).checked_shl(shift).unwrap_or(0);
        let rest = u64::MAX.checked_shr(u32::from(part_power)).unwrap_or(0);
        Self {
            first,
            last: first | rest,
        }
    }

    /// The key behind which a list of the span begins.
    pub(in crate::node::work) fn before(self) -> Option<BlobKey> {
        self.first.checked_sub(1).map(last_key)
    }

    /// The largest key of the span.
    pub(in crate::node::work) fn end(self) -> BlobKey {
        last_key(self.last)
    }
}

fn last_key(placement: u64) -> BlobKey {
    let (write, chunk) = (WriteId(u128::MAX), u32::MAX);
    BlobKey {
        placement,
        id: BlobId { write, chunk },
    }
}

/// The partitions that `device` holds by the current ring and not by the one before, or not at the same slot where that
/// matters, in order. None while one ring is live.
///
/// Two rings do not tell everything when a change was overtaken by another (HEAL-1). A device that was stood in for
/// meanwhile receives all its partitions: what was written then went elsewhere. One that stands in may have begun to
/// under a ring that is gone, and receives what it stands in for whatever the ring before says.
pub(in crate::node::work) fn arrivals(live: &LiveRings, device: DeviceId) -> Vec<u32> {
    if live.previous.is_none() {
        return Vec::new();
    }
    let ring = &live.current.ring;
    let missed_writes = live.state.stood_in_for.contains(&device.0);
    let arrives = |partition: &u32| {
        let placement = Span::of(*partition, ring.part_power()).first;
        let now = live.own_spot(device, placement);
        let uncertain = missed_writes || live.stands_in(device, placement);
        now.is_some() && (uncertain || now != live.own_spot_before(device, placement))
    };
    ring.partition_ids()
        .map(|partition| partition.0)
        .filter(arrives)
        .collect()
}

/// All devices that are to receive something, with the number of partitions.
#[must_use]
pub fn receivers(live: &LiveRings) -> Vec<(DeviceId, u64)> {
    let devices = live.current.ring.devices().map(|device| DeviceId(device.id.0));
    devices
        .map(|device| (device, arrivals(live, device).len() as u64))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Everybody but `device` who may have a partition while rings change, and how many of those by the ring before must
/// answer: half of them, and of fragments all but k, so that no write quorum is without a witness.
pub(in crate::node::work) fn witnesses(
    live: &LiveRings,
    partition: u32,
    device: DeviceId,
) -> (Vec<DeviceId>, Vec<DeviceId>, usize) {
    let placement = Span::of(partition, live.current.ring.part_power()).first;
    let current = live.primaries(placement);
    let before: Vec<DeviceId> = match &live.previous {
        Some(previous) => primaries_of(&previous.ring, partition),
        None => current.clone(),
    };
    let mut all: Vec<DeviceId> = before
        .iter()
        .chain(&current)
        .copied()
        .filter(|other| *other != device)
        .collect();
    all.sort_unstable();
    all.dedup();
    let fragments = live.code.map_or(0, Code::parity);
    let needed = before.len().div_ceil(2).max(fragments).min(all.len());
    (all, before, needed)
}

fn primaries_of(ring: &Ring, partition: u32) -> Vec<DeviceId> {
    let primaries = ring.primaries(PartitionId(partition));
    primaries.iter().map(|device| DeviceId(device.0)).collect()
}

#[cfg(test)]
pub(in crate::node::work) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::client::LiveRing;

    /// Three devices, then a fourth: the live rings in the middle of that change.
    pub(in crate::node::work) fn growing() -> LiveRings {
        let mut builder = ring::Builder::new(4, 3, 0).unwrap();
        let add = |builder: &mut ring::Builder, number: u32| {
            let device = ring::Device {
                id: ring::DeviceId(0),
                region: 1,
                zone: number,
                node: u64::from(number) + 1,
                address: format!("127.0.0.1:{}", 7000 + number),
                name: "d0".into(),
                weight: 1.0,
                ..ring::Device::default()
            };
            builder.add(device).unwrap();
        };
        (0..3).for_each(|number| add(&mut builder, number));
        builder.rebalance(1, 1).unwrap();
        let before = Arc::new(builder.ring().unwrap());
        add(&mut builder, 3);
        builder.rebalance(2, 1).unwrap();
        let mut live = LiveRings::only(Arc::new(builder.ring().unwrap()));
        live.previous = Some(LiveRing {
            epoch: before.version(),
            whole: Arc::clone(&before),
            ring: before,
        });
        live
    }

    #[test]
    fn spans_cover_all_placements_once() {
        assert_eq!(
            Span::of(0, 0),
            Span {
                first: 0,
                last: u64::MAX
            }
        );
        let mut next = 0_u64;
        for partition in 0..16 {
            let span = Span::of(partition, 4);
            assert_eq!(span.first, next);
            next = span.last.wrapping_add(1);
        }
        assert_eq!(next, 0);
        assert_eq!(Span::of(0, 4).before(), None);
        assert!(Span::of(1, 4).before().unwrap() < Span::of(1, 4).end());
        assert_eq!(Span::of(1, 4).before(), Some(Span::of(0, 4).end()));
    }

    /// Found by the simulation: a device failed and came back in the middle of a change, and lacked what was written
    /// meanwhile until the next comparison, while every queue was empty.
    #[test]
    fn heal_1_a_device_that_was_stood_in_for_meanwhile_receives_what_it_missed() {
        let mut live = growing();
        let device = DeviceId(0);
        assert!(arrivals(&live, device).is_empty());
        live.state.stood_in_for.insert(device.0);
        let all = live.current.ring.partition_ids();
        let held = all
            .filter(|partition| live.own_spot(device, Span::of(partition.0, 4).first).is_some())
            .count();
        assert_eq!(arrivals(&live, device).len(), held);
        assert!(receivers(&live).contains(&(device, held as u64)));
    }

    /// A device failed, came back and failed again before its first return was over: what was written in between is not
    /// where others stand in, although the rings before and after both name them.
    #[test]
    fn heal_1_who_stands_in_receives_that_whatever_the_ring_before_says() {
        let whole = growing().current.ring;
        let failed = std::collections::BTreeSet::from([ring::DeviceId(1)]);
        let mut live = LiveRings::only(Arc::new(whole.without(&failed)));
        live.current.whole = Arc::clone(&whole);
        live.previous = Some(live.current.clone());
        let stood_in = whole
            .partition_ids()
            .filter(|id| whole.primaries(*id).contains(&ring::DeviceId(1)));
        let received: usize = (0..4).map(|device| arrivals(&live, DeviceId(device)).len()).sum();
        assert_eq!(received, stood_in.count());
        assert_eq!(received, 12);
    }

    /// What was deleted while surplus copies of it lay at the old place stayed there as orphans.
    #[test]
    fn the_ring_retired_last_still_says_where_surplus_copies_lie() {
        let mut live = growing();
        let before = live.previous.clone().unwrap();
        let moved = arrivals(&live, DeviceId(3));
        let placement = Span::of(moved[0], 4).first;
        assert_eq!(live.leaving(placement).len(), 1);
        assert!(live.left(placement).is_empty());
        let leaving = live.leaving(placement);
        (live.previous, live.retired) = (None, Some(before));
        assert_eq!(live.left(placement), leaving);
        assert!(live.leaving(placement).is_empty());
    }

    #[test]
    fn reb_1_a_new_device_receives_its_share_from_those_who_had_it() {
        let live = growing();
        assert_eq!(receivers(&live), [(DeviceId(3), 12)]);
        let (all, before, needed) = witnesses(&live, arrivals(&live, DeviceId(3))[0], DeviceId(3));
        assert_eq!(
            (all.len(), before.len(), needed),
            (3, 3, 2),
            "REB-1: most of those who had it are asked"
        );
        let settled = LiveRings { previous: None, ..live };
        assert!(receivers(&settled).is_empty());
    }

    #[test]
    fn reb_1_who_stands_in_at_a_slot_receives_its_fragments_and_nobody_else_receives_any() {
        let kind = crate::client::PolicyKind::ErasureCoded { data: 2, parity: 1 };
        let ring = growing().current.ring;
        let failed = std::collections::BTreeSet::from([ring::DeviceId(1)]);
        let mut live = LiveRings::only(Arc::new(ring.without(&failed))).keeping(kind);
        live.current.whole = Arc::clone(&ring);
        live.previous = Some(LiveRing {
            epoch: 0,
            whole: Arc::clone(&ring),
            ring,
        });
        let mut received = 0;
        for device in (0..4).map(DeviceId) {
            for partition in arrivals(&live, device) {
                let placement = Span::of(partition, 4).first;
                let slot = live.own_spot(device, placement).unwrap();
                assert_eq!(live.own_spot_before(DeviceId(1), placement), Some(slot));
                assert_eq!(live.own_spot_before(device, placement), None);
                received += 1;
            }
        }
        assert_eq!(received, 12);
    }
}
