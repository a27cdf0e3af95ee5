use super::*;

const LIMITS: LogLimits = LogLimits {
    bytes_max: 3 * MARK_BYTES,
    age_min: Duration::ZERO,
    bytes_hard_max: 6 * MARK_BYTES,
    age_max: Duration::from_secs(60),
};

fn log_of(marks: u64) -> LogSizes {
    let mut sizes = LogSizes::default();
    for index in 0..marks {
        sizes.appended(index, MARK_BYTES, 0);
    }
    sizes
}

#[test]
fn nothing_goes_below_the_limits() {
    assert_eq!(log_of(3).purge_upto(LIMITS, 1000, 2, None), None);
}

#[test]
fn the_oldest_bytes_go_first() {
    assert_eq!(log_of(5).purge_upto(LIMITS, 1000, 4, None), Some(1));
}

#[test]
fn young_entries_stay_below_the_hard_limit() {
    let limits = LogLimits {
        age_min: Duration::from_secs(30),
        ..LIMITS
    };
    assert_eq!(log_of(6).purge_upto(limits, 1000, 5, None), None);
    assert_eq!(log_of(8).purge_upto(limits, 1000, 7, None), Some(1));
    assert_eq!(log_of(6).purge_upto(limits, 40_000, 5, None), Some(2));
}

#[test]
fn old_entries_go() {
    let mut sizes = log_of(2);
    sizes.appended(2, 10, 70_000);
    assert_eq!(sizes.purge_upto(LIMITS, 70_000, 2, None), Some(1));
}

#[test]
fn entries_not_applied_or_needed_by_a_transfer_stay() {
    assert_eq!(log_of(9).purge_upto(LIMITS, 1000, 1, None), Some(1));
    assert_eq!(log_of(9).purge_upto(LIMITS, 1000, 8, Some(3)), Some(2));
    assert_eq!(log_of(9).purge_upto(LIMITS, 1000, 8, Some(0)), None);
}

#[test]
fn removed_entries_are_not_counted() {
    let mut sizes = log_of(9);
    sizes.truncated(6);
    sizes.purged(1);
    assert_eq!(sizes.bytes(), 4 * MARK_BYTES);
    sizes.purged(100);
    assert_eq!(sizes.bytes(), 0);
}

#[test]
fn bytes_between_two_entries_are_those_of_their_marks() {
    let sizes = log_of(9);
    assert_eq!(sizes.bytes_between(0, 9), 9 * MARK_BYTES);
    assert_eq!(sizes.bytes_between(4, 6), 2 * MARK_BYTES);
    assert_eq!(sizes.bytes_between(7, 100), 2 * MARK_BYTES);
    assert_eq!(sizes.bytes_between(9, 9), 0);
    assert_eq!(sizes.bytes_between(3, 3), 0);
}
