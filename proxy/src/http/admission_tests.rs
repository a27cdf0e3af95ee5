use super::{Admission, AdmissionOptions};

fn admission(requests_max: u64, bytes_max: u64) -> Admission {
    Admission::new(AdmissionOptions {
        requests_max,
        bytes_max,
    })
}

#[test]
fn mem_1_count_and_bytes_are_bounded_and_given_back() {
    let admission = admission(4, 100);
    let permits: Vec<_> = (0..4)
        .map(|_| admission.admit("a", 1).expect("there is room"))
        .collect();
    assert!(admission.admit("a", 1).is_none());
    drop(permits);
    let large = admission.admit("a", 100).expect("all was given back");
    assert!(admission.admit("b", 1).is_none());
    drop(large);
    assert!(admission.state.lock().expect("no thread panicked").projects.is_empty());
}

#[test]
fn a_busy_project_leaves_room_for_others() {
    let admission = admission(8, 1_000);
    let other = admission.admit("b", 1).expect("there is room");
    let busy: Vec<_> = std::iter::from_fn(|| admission.admit("a", 1)).collect();
    assert_eq!(busy.len(), 4, "half of what there is");
    assert!(admission.admit("b", 1).is_some());
    assert!(admission.admit("c", 1).is_some());
    drop((other, busy));
}
