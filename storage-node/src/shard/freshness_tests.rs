use std::time::Duration;

use super::*;

#[test]
fn a_follower_is_fresh_as_of_the_word_it_has_caught_up_with() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut freshness = Freshness::default();
    assert_eq!(freshness.proven(9), None, "no leader was heard");
    freshness.heard(at(1), 5, 5);
    assert_eq!(freshness.proven(5), Some(at(1)));
    freshness.heard(at(2), 8, 5);
    freshness.heard(at(3), 9, 6);
    assert_eq!(
        freshness.proven(7),
        Some(at(1)),
        "entries of the second word are missing"
    );
    assert_eq!(
        freshness.proven(8),
        Some(at(2)),
        "all of the second word, not of the third"
    );
}
