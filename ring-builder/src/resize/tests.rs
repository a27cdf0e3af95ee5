use proptest::prelude::*;

use crate::testing::{builder, check, check_distinct, even, held};

#[test]
fn a_half_more_replicas_gives_the_first_half_of_the_partitions_one_more() {
    let mut builder = builder(8, 2, even(4, 2, 2));
    builder.rebalance(1, 0).unwrap();
    let before = builder.ring().unwrap();
    builder.set_replicas(2.5).unwrap();
    assert!(builder.ring().is_err(), "a rebalance is due");
    let moves = builder.rebalance(2, 0).unwrap();
    assert_eq!((moves.placed, moves.refilled), (128, 0));
    let after = builder.ring().unwrap();
    check(&after);
    for partition in after.partition_ids() {
        let (old, new) = (before.primaries(partition), after.primaries(partition));
        assert_eq!(new.len(), if partition.0 < 128 { 3 } else { 2 });
        assert!(
            partition.0 >= 128 || new.starts_with(old),
            "copies that were there stay"
        );
    }
    assert_eq!((after.replicas(), after.replica_count()), (3, 2.5));
}

#[test]
fn fewer_replicas_give_up_copies_and_move_hardly_any() {
    let mut builder = builder(8, 3, even(4, 2, 2));
    builder.rebalance(1, 0).unwrap();
    builder.set_replicas(2.25).unwrap();
    let moves = builder.rebalance(2, 0).unwrap();
    assert!(moves.moved < 30 && moves.placed == 0, "{moves:?}");
    let after = builder.ring().unwrap();
    check(&after);
    assert_eq!(held(&after).values().sum::<u32>(), 576);
}

#[test]
fn a_first_placement_takes_fractions() {
    let mut builder = crate::Builder::with_replicas(8, 3.2, 0).unwrap();
    for device in even(3, 2, 2) {
        builder.add(device).unwrap();
    }
    assert_eq!(builder.rebalance(1, 0).unwrap().placed, 819);
    check(&builder.ring().unwrap());
}

proptest! {
    #[test]
    fn any_sequence_of_replica_counts_stays_distinct_and_readable(
        counts in proptest::collection::vec(1.0f64..5.0, 1..5), seed: u64,
    ) {
        let mut builder = builder(6, 3, even(3, 2, 2));
        builder.rebalance(1, seed).unwrap();
        for count in counts {
            builder.set_replicas(count).unwrap();
            builder.rebalance(1, seed).unwrap();
            let ring = builder.ring().unwrap();
            check_distinct(&ring);
            let read = crate::Ring::from_bytes(&ring.to_bytes()).unwrap();
            prop_assert_eq!(&read, &ring);
            prop_assert_eq!(crate::Builder::from_bytes(&builder.to_bytes()).unwrap(), builder.clone());
        }
        for _ in 0..8 {
            builder.rebalance(1, seed).unwrap();
        }
        check(&builder.ring().unwrap());
    }
}
