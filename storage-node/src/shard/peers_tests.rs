use super::*;

#[test]
fn a_clock_is_read_at_the_middle_of_the_round_trip() {
    assert_eq!(clock_offset(1_050, 1_000, 1_100), Some(0));
    assert_eq!(clock_offset(6_050, 1_000, 1_100), Some(5_000));
    assert_eq!(clock_offset(50, 1_000, 1_100), Some(-1_000));
}

#[test]
fn a_slow_answer_or_a_clock_that_was_set_back_says_nothing() {
    assert_eq!(clock_offset(9_000, 1_000, 1_000 + CLOCK_ROUND_TRIP_MAX_MS + 1), None);
    assert_eq!(clock_offset(9_000, 1_000, 900), None);
}
