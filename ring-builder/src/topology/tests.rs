use proptest::prelude::*;

use super::*;
use crate::testing::device;

fn tree(devices: &[Device], partitions: u32, replicas: usize, held: &[u64]) -> Topology {
    let part_power = u8::try_from(partitions.ilog2()).unwrap();
    Topology::new(
        devices,
        Layout {
            part_power,
            whole: replicas,
            extra: 0,
        },
        0.0,
        held,
    )
}

fn quotas(weights: &[f64], partitions: u32, replicas: usize) -> Vec<u64> {
    let devices: Vec<Device> = (0u32..)
        .zip(weights)
        .map(|(n, &weight)| device(1, n, n.into(), 0, weight))
        .collect();
    let tree = tree(&devices, partitions, replicas, &vec![0; devices.len()]);
    (0..devices.len()).map(|device| tree.quota(device)).collect()
}

#[test]
fn weights_decide_the_quotas() {
    assert_eq!(quotas(&[1.0, 1.0, 2.0], 16, 1), [4, 4, 8]);
    assert_eq!(quotas(&[0.1, 0.2, 0.3], 1 << 18, 1).iter().sum::<u64>(), 1 << 18);
}

#[test]
fn no_device_holds_a_partition_twice_and_the_others_share_what_is_cut_off() {
    assert_eq!(quotas(&[100.0, 1.0, 3.0], 16, 2), [16, 4, 12]);
    assert_eq!(quotas(&[1e15, 1e-15, 0.0], 16, 2), [16, 16, 0]);
}

#[test]
fn a_third_each_is_exactly_one_copy_each_despite_floating_point() {
    for weight in [0.1, 0.3, 1.1, 1e-9, 7e14] {
        assert_eq!(quotas(&[weight, weight, weight], 1 << 18, 3), [1 << 18; 3]);
    }
}

#[test]
fn a_share_between_two_numbers_is_rounded_to_what_is_held() {
    let devices: Vec<Device> = (0..3).map(|n| device(1, 0, 0, n, 1.0)).collect();
    for held in [[6, 5, 5], [5, 6, 5], [5, 5, 6]] {
        let tree = tree(&devices, 16, 1, &held);
        assert_eq!([0, 1, 2].map(|device| tree.quota(device)), held);
    }
}

proptest! {
    #[test]
    fn every_domain_gets_its_share_rounded_up_or_down(
        places in proptest::collection::vec((0u32..2, 0u32..3, 0u64..3, 0.0f64..50.0), 3..30),
        power in 0u32..10, replicas in 1usize..4,
    ) {
        let devices: Vec<Device> = (0u32..).zip(&places)
            .map(|(n, &(region, zone, node, weight))| device(region, zone, node, n, weight)).collect();
        prop_assume!(devices.iter().filter(|device| device.weight > 0.0).count() >= replicas);
        let partitions = 1u32 << power;
        let tree = tree(&devices, partitions, replicas, &vec![0; devices.len()]);
        for domain in &tree.domains {
            prop_assert!((domain.quota as f64 - domain.ideal).abs() < 1.0 + NOISE, "{domain:?}");
            let children: u64 = domain.children.iter().map(|&child| tree.domains[child].quota).sum();
            prop_assert!(domain.children.is_empty() || children == domain.quota);
            prop_assert!(domain.device.is_none() || domain.quota <= u64::from(partitions));
        }
    }
}
