use proptest::prelude::*;

use super::*;

/// Keys over few bytes, zero and the highest among them, so that prefixes and escapes meet.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0_u8), Just(1), Just(0xFE), Just(0xFF), Just(b'a'), any::<u8>()];
    prop::collection::vec(byte, 0..6)
}

fn bucket() -> impl Strategy<Value = BucketId> {
    prop_oneof![Just(0), Just(1), Just(255), Just(256), any::<u64>()].prop_map(BucketId)
}

fn seq() -> impl Strategy<Value = Seq> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()].prop_map(Seq)
}

proptest! {
    /// KEY-1: the order of names is the order of (bucket, key, newest first), whatever bytes a key holds.
    #[test]
    fn key_1_versions_stand_in_the_order_of_keys_newest_first(
        a in (bucket(), key(), seq()), b in (bucket(), key(), seq())
    ) {
        let wanted = (a.0, &a.1, std::cmp::Reverse(a.2)).cmp(&(b.0, &b.1, std::cmp::Reverse(b.2)));
        prop_assert_eq!(version(a.0, &a.1, a.2).cmp(&version(b.0, &b.1, b.2)), wanted);
    }

    #[test]
    fn key_1_current_objects_stand_in_the_order_of_keys(a in (bucket(), key()), b in (bucket(), key())) {
        prop_assert_eq!(current(a.0, &a.1).cmp(&current(b.0, &b.1)), a.cmp(&b));
        prop_assert_eq!(versions_of(a.0, &a.1).cmp(&versions_of(b.0, &b.1)), a.cmp(&b));
    }

    #[test]
    fn key_1_uploads_stand_in_the_order_of_keys_oldest_first(
        a in (bucket(), key(), any::<u128>()), b in (bucket(), key(), any::<u128>())
    ) {
        let name = |(bucket, key, id): &(BucketId, Vec<u8>, u128)| upload(*bucket, key, MultipartId(*id));
        prop_assert_eq!(name(&a).cmp(&name(&b)), a.cmp(&b));
        prop_assert_eq!(parts_of_upload(&name(&a)), Some((a.1.clone(), MultipartId(a.2))));
    }

    #[test]
    fn key_1_names_are_read_back(bucket in bucket(), key in key(), seq in seq()) {
        let name = version(bucket, &key, seq);
        prop_assert_eq!(parts_of_version(&name), Some((key.clone(), seq)));
        let row = current(bucket, &key);
        prop_assert_eq!(key_of_current(&row), Some(key.as_slice()));
    }

    /// Seeking behind a prefix passes all keys that have it, and no other key.
    #[test]
    fn key_1_a_seek_behind_a_prefix_passes_exactly_its_keys(
        bucket in bucket(), prefix in key(), other in key(), seq in seq()
    ) {
        let passes = |end: Option<Vec<u8>>, name: Vec<u8>| end.is_none_or(|end| name < end);
        let expected = other.starts_with(&prefix) || other < prefix;
        prop_assert_eq!(passes(after_prefix(&current(bucket, &prefix)), current(bucket, &other)), expected);
        let end = after_prefix(&escaped_prefix(bucket, &prefix));
        prop_assert_eq!(passes(end, version(bucket, &other, seq)), expected);
        let end = after_prefix(&versions_of(bucket, &prefix));
        prop_assert_eq!(passes(end, version(bucket, &other, seq)), other <= prefix);
    }

    #[test]
    fn foreign_names_are_refused_without_panic(name in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = (parts_of_version(&name), parts_of_upload(&name), key_of_current(&name), write_of(&name));
        let _ = (parts_of_short(&name), first_of_short(&name), reclaim_of(&name), request_of(&name));
        let _ = (shard_of_count(&name), parts_of_completed_at(&name), after_prefix(&name));
    }
}

#[test]
fn the_end_of_the_highest_prefix_is_the_end_of_all() {
    assert_eq!(after_prefix(&[0xFF, 0xFF]), None);
    assert_eq!(after_prefix(&[1, 0xFF]), Some(vec![2]));
    assert_eq!(after_prefix(&[]), None);
}

#[test]
fn other_names_are_read_back() {
    let write_id = WriteId(7 << 100);
    assert_eq!(write_of(&write(write_id)), Some(write_id));
    assert_eq!(parts_of_short(&short(2, write_id, 9)), Some((2, write_id, 9)));
    assert_eq!(first_of_short(&short_of(write_id, 9)), Some(9));
    let entry = ReclaimKey {
        since_ms: 5,
        write: write_id,
    };
    assert_eq!(reclaim_of(&reclaim(entry)), Some(entry));
    assert_eq!(request_of(&request(RequestId(3))), Some(RequestId(3)));
    assert_eq!(shard_of_count(&buckets_in_shard(ShardId(4))), Some(ShardId(4)));
    assert_eq!(
        parts_of_completed_at(&completed_at(8, MultipartId(6))),
        Some((8, MultipartId(6)))
    );
}
