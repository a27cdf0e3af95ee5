//! Rings whose slots mean something: fragment i of a chunk lies on the device of slot i (erasure coded policies).

use std::collections::{BTreeMap, BTreeSet};

use super::ChangeRefused;
use crate::ring::Ring;

/// Whether every partition names `slots` different devices, at most `per_node_max` of them on one node, so that the
/// loss of a node takes no more fragments of a chunk than the policy bears.
///
/// # Errors
/// [`ChangeRefused::OtherSlots`], [`ChangeRefused::Crowded`].
pub fn check_slots(ring: &Ring, slots: usize, per_node_max: usize) -> Result<(), ChangeRefused> {
    for partition in ring.partition_ids() {
        let row = ring.primaries(partition);
        let devices = row.iter().collect::<BTreeSet<_>>().len();
        if row.len() != slots || devices != slots {
            return Err(ChangeRefused::OtherSlots {
                partition,
                devices,
                slots,
            });
        }
        let mut nodes: BTreeMap<u64, usize> = BTreeMap::new();
        for device in row.iter().filter_map(|id| ring.device(*id)) {
            *nodes.entry(device.node).or_default() += 1;
        }
        let most = nodes.into_iter().max_by_key(|(_, count)| *count);
        if let Some((node, count)) = most.filter(|(_, count)| *count > per_node_max) {
            return Err(ChangeRefused::Crowded {
                partition,
                node,
                count,
                per_node_max,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Device};

    fn ring(nodes: u32, devices: u32, replicas: usize) -> Ring {
        let mut builder = Builder::new(6, replicas, 0).unwrap();
        for number in 0..nodes * devices {
            let node = number / devices;
            let device = Device {
                region: 1,
                zone: 1,
                node: u64::from(node) + 1,
                address: format!("127.0.0.1:{}", 7000 + node),
                name: format!("d{}", number % devices),
                weight: 1.0,
                ..Device::default()
            };
            builder.add(device).unwrap();
        }
        builder.rebalance(1, 1).unwrap();
        builder.ring().unwrap()
    }

    #[test]
    fn dur_1_a_node_holds_no_more_fragments_than_may_be_lost() {
        assert_eq!(check_slots(&ring(3, 2, 6), 6, 2), Ok(()));
        assert_eq!(check_slots(&ring(4, 3, 6), 6, 2), Ok(()));
        let crowded = check_slots(&ring(2, 3, 6), 6, 2).unwrap_err();
        assert!(matches!(crowded, ChangeRefused::Crowded { count: 3, .. }), "{crowded}");
        let other = check_slots(&ring(3, 2, 5), 6, 2).unwrap_err();
        assert!(matches!(other, ChangeRefused::OtherSlots { devices: 5, .. }), "{other}");
    }
}
