use proptest::prelude::*;

use super::ByteRange;

#[test]
fn the_forms_of_a_range() {
    assert_eq!(ByteRange::parse("bytes=4-7"), Some(ByteRange::From(4, Some(7))));
    assert_eq!(ByteRange::parse("bytes=4-"), Some(ByteRange::From(4, None)));
    assert_eq!(ByteRange::parse("bytes=-7"), Some(ByteRange::Last(7)));
    for ignored in [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=7-4",
        "bytes=0-1,3-4",
        "items=0-1",
        "bytes=a-b",
        "bytes=+1-2",
    ] {
        assert_eq!(ByteRange::parse(ignored), None, "{ignored}");
    }
}

#[test]
fn ranges_beyond_the_end_are_cut_or_unsatisfiable() {
    assert_eq!(ByteRange::From(4, Some(99)).within(10), Some(4..10));
    assert_eq!(ByteRange::From(10, None).within(10), None);
    assert_eq!(ByteRange::Last(99).within(10), Some(0..10));
    assert_eq!(ByteRange::Last(0).within(10), None);
    assert_eq!(ByteRange::From(0, None).within(0), None);
    assert_eq!(ByteRange::From(0, Some(u64::MAX)).within(10), Some(0..10));
}

#[test]
fn a_copy_range_has_both_ends() {
    assert_eq!(ByteRange::parse_copy("bytes=0-4"), Some(0..5));
    for wrong in [
        "0-2",
        "bytes=0",
        "bytes=hello-world",
        "bytes=0-bar",
        "bytes=hello-",
        "bytes=0-2,3-5",
        "bytes=-5",
    ] {
        assert_eq!(ByteRange::parse_copy(wrong), None, "{wrong}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn a_range_stays_within_the_object(first in 0u64..200, last in 0u64..200, size in 0u64..150) {
        let whole: Vec<u64> = (0..size).collect();
        let expected: Vec<u64> = whole.iter().copied().filter(|at| *at >= first && *at <= last).collect();
        let found = ByteRange::parse(&format!("bytes={first}-{last}")).and_then(|range| range.within(size));
        prop_assert_eq!(found.map_or(vec![], |range| range.collect()), expected);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(bytes=)?[0-9,\\- a-z]{0,30}") {
        super::fuzz(text.as_bytes());
    }
}
