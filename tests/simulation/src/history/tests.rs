use super::*;

fn operation(begun: u64, ended: u64, asked: Asked, told: Told) -> Operation {
    Operation {
        begun,
        ended: (ended > 0).then_some(ended),
        asked,
        told,
    }
}

fn put(size: u64) -> Asked {
    Asked::Write(Given::Always, Some(size))
}

#[test]
fn con_1_overlapping_writes_may_come_in_any_order() {
    for last in [1, 2] {
        let history = [
            operation(1, 10, put(1), Told::Done),
            operation(2, 9, put(2), Told::Done),
            operation(11, 12, Asked::Read, Told::Saw(Some(last))),
        ];
        assert_eq!(explain(&history), Verdict::Explained);
    }
}

#[test]
fn con_1_a_stale_read_is_found() {
    let history = [
        operation(1, 2, put(1), Told::Done),
        operation(3, 4, put(2), Told::Done),
        operation(5, 6, Asked::Read, Told::Saw(Some(1))),
    ];
    assert!(matches!(explain(&history), Verdict::Impossible(_)));
}

#[test]
fn con_1_a_lost_write_is_found() {
    let history = [
        operation(1, 2, put(1), Told::Done),
        operation(3, 4, Asked::Read, Told::Saw(None)),
    ];
    assert!(matches!(explain(&history), Verdict::Impossible(_)));
}

#[test]
fn con_1_a_write_without_an_answer_may_happen_late_or_never_but_not_twice() {
    let unknown = operation(1, 0, put(1), Told::Unknown);
    let late = [
        unknown,
        operation(2, 3, put(2), Told::Done),
        operation(4, 5, Asked::Read, Told::Saw(Some(1))),
    ];
    assert_eq!(explain(&late), Verdict::Explained);
    let never = [unknown, operation(4, 5, Asked::Read, Told::Saw(None))];
    assert_eq!(explain(&never), Verdict::Explained);
    let twice = [
        unknown,
        operation(2, 3, Asked::Read, Told::Saw(Some(1))),
        operation(4, 5, put(2), Told::Done),
        operation(6, 7, Asked::Read, Told::Saw(Some(1))),
    ];
    assert!(matches!(explain(&twice), Verdict::Impossible(_)));
}

#[test]
fn con_1_two_winners_of_one_condition_are_found() {
    let create = |size| Asked::Write(Given::Absent, Some(size));
    let one = [
        operation(1, 5, create(1), Told::Done),
        operation(2, 6, create(2), Told::Refused),
    ];
    assert_eq!(explain(&one), Verdict::Explained);
    let two = [
        operation(1, 5, create(1), Told::Done),
        operation(2, 6, create(2), Told::Done),
    ];
    assert!(matches!(explain(&two), Verdict::Impossible(_)));
}

#[test]
fn con_1_a_refusal_needs_its_reason() {
    let history = [
        operation(1, 2, put(1), Told::Done),
        operation(3, 4, Asked::Write(Given::Is(1), Some(2)), Told::Refused),
    ];
    assert!(matches!(explain(&history), Verdict::Impossible(_)));
}

#[test]
fn con_1_a_long_history_is_checked_quickly() {
    let mut history = Vec::new();
    for n in 0..500 {
        history.push(operation(n * 10 + 1, n * 10 + 8, put(n), Told::Done));
        history.push(operation(n * 10 + 9, n * 10 + 10, Asked::Read, Told::Saw(Some(n))));
    }
    assert_eq!(explain(&history), Verdict::Explained);
}

#[test]
fn con_1_a_delete_of_nothing_may_come_later() {
    let history = [
        operation(1, 9, Asked::Write(Given::Always, None), Told::Done),
        operation(2, 3, put(1), Told::Done),
        operation(4, 5, Asked::Read, Told::Saw(Some(1))),
        operation(10, 11, Asked::Read, Told::Saw(None)),
    ];
    assert_eq!(explain(&history), Verdict::Explained);
}
