use super::*;

fn wanted() -> StoreIdentity {
    StoreIdentity {
        cluster: ClusterId(1),
        node: NodeId(2),
        incarnation: 77,
    }
}

fn older() -> StoreIdentity {
    StoreIdentity {
        incarnation: 3,
        ..wanted()
    }
}

fn found(noted: Option<(StoreIdentity, u64)>, stored: Option<StoreIdentity>, sequence: u64) -> Found {
    Found {
        noted: noted.map(|(identity, sequence)| Noted::test(identity, sequence)),
        stored,
        sequence,
    }
}

fn is_quarantined(found: &Found) -> bool {
    matches!(judge(found, wanted()), Verdict::Quarantined(_))
}

#[test]
fn dur_5_an_empty_store_is_born_and_a_cut_birth_goes_on() {
    assert_eq!(judge(&found(None, None, 0), wanted()), Verdict::Born(wanted()));
    assert_eq!(
        judge(&found(Some((older(), 0)), None, 0), wanted()),
        Verdict::Born(older())
    );
}

#[test]
fn dur_5_a_whole_store_is_sound() {
    assert_eq!(
        judge(&found(Some((older(), 10)), Some(older()), 10), wanted()),
        Verdict::Sound(older())
    );
    assert_eq!(
        judge(&found(Some((older(), 10)), Some(older()), 12), wanted()),
        Verdict::Sound(older())
    );
}

#[test]
fn dur_5_lost_shortened_and_replaced_stores_are_quarantined() {
    assert!(is_quarantined(&found(Some((older(), 10)), None, 0)));
    assert!(is_quarantined(&found(None, Some(older()), 10)));
    assert!(is_quarantined(&found(Some((older(), 10)), Some(older()), 9)));
    assert!(is_quarantined(&found(
        Some((older(), 10)),
        Some(StoreIdentity {
            incarnation: 4,
            ..older()
        }),
        20
    )));
}

#[test]
fn a_store_of_another_cluster_or_node_is_a_mistake_not_damage() {
    let other = StoreIdentity {
        node: NodeId(9),
        ..older()
    };
    assert!(matches!(
        judge(&found(Some((other, 1)), Some(other), 1), wanted()),
        Verdict::Foreign(_)
    ));
}
