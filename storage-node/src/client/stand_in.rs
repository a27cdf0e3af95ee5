//! Whether other devices can stand in for some that are lost.

use std::collections::BTreeSet;

use metadata::ids::DeviceId;
use ring::Ring;
use ring::change::{Change, check_space, even_partition_bytes};

use super::ring_admin::{FULL_PERCENT_MAX, Facts};

/// Why nobody stands in for devices of a ring; the sentence says what to do. Plain function.
///
/// # Errors
/// With that sentence.
pub fn check_stand_in(live: &Ring, lost: &BTreeSet<DeviceId>, facts: &Facts) -> Result<(), String> {
    let lost: BTreeSet<ring::DeviceId> = lost.iter().map(|device| ring::DeviceId(device.0)).collect();
    let rest = live.without(&lost);
    let stuck = live
        .partition_ids()
        .filter(|partition| rest.primaries(*partition).iter().any(|device| lost.contains(device)))
        .count();
    if stuck > 0 {
        return Err(format!(
            "no other device can take {stuck} of its partitions: every device that is left has a copy of them already; \
             replace the disk, or add a device"
        ));
    }
    let change = Change::back(live, &rest).map_err(|refused| refused.to_string())?;
    let bytes = even_partition_bytes(live, facts.stored_bytes);
    check_space(&change, |_| bytes, &facts.capacities, FULL_PERCENT_MAX).map_err(|refused| refused.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring_of(devices: u32) -> Ring {
        let mut builder = ring::Builder::new(6, 3, 0).unwrap();
        for number in 0..devices {
            let device = ring::Device {
                region: 1,
                zone: number,
                node: u64::from(number) + 1,
                address: format!("127.0.0.1:{}", 7000 + number),
                name: "d0".into(),
                weight: 1.0,
                ..ring::Device::default()
            };
            builder.add(device).unwrap();
        }
        builder.rebalance(1, 1).unwrap();
        builder.ring().unwrap()
    }

    #[test]
    fn nobody_stands_in_where_every_other_device_has_a_copy_or_is_full() {
        let lost = BTreeSet::from([DeviceId(0)]);
        let capacity = |used_bytes| ring::change::Capacity {
            total_bytes: 1000,
            used_bytes,
        };
        let facts = |used_bytes| Facts {
            stored_bytes: 4 * used_bytes,
            capacities: (0..4)
                .map(|device| (ring::DeviceId(device), capacity(used_bytes)))
                .collect(),
            ..Facts::default()
        };
        assert_eq!(check_stand_in(&ring_of(4), &lost, &facts(100)), Ok(()));
        assert!(
            check_stand_in(&ring_of(4), &lost, &facts(800))
                .unwrap_err()
                .contains("full")
        );
        assert!(
            check_stand_in(&ring_of(3), &lost, &facts(100))
                .unwrap_err()
                .contains("no other device")
        );
    }
}
