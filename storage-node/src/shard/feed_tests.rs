use super::*;

fn change(family: Family, key: &str) -> RowChange {
    RowChange {
        family,
        key: key.into(),
        value: Some(Bytes::from_static(b"v")),
    }
}

#[test]
fn a_reader_gets_what_it_has_not_seen() {
    let feed = SystemFeed::new();
    feed.restart_at(Some(4));
    assert_eq!(feed.since(4), Since::Nothing);
    assert_eq!(feed.since(3), Since::TooOld);
    feed.push(5, vec![change(Family::Names, "a"), change(Family::Requests, "r")]);
    feed.push(6, vec![]);
    let Since::Changes { rows, upto, all } = feed.since(4) else {
        panic!("there is news")
    };
    assert_eq!((rows.len(), upto, all), (1, 6, true));
    assert_eq!(feed.since(6), Since::Nothing);
}

#[test]
fn mem_1_the_ring_is_bounded_and_says_who_is_too_late() {
    let feed = SystemFeed::new();
    for index in 0..10 {
        let value = Some(Bytes::from(vec![0; RING_BYTES_MAX / 4]));
        feed.push(
            index,
            vec![RowChange {
                family: Family::Records,
                key: vec![],
                value,
            }],
        );
    }
    assert!(feed.ring.lock().bytes <= RING_BYTES_MAX);
    assert_eq!(feed.since(2), Since::TooOld);
    let Since::Changes { rows, upto, all } = feed.since(7) else {
        panic!("there is news")
    };
    assert_eq!(
        (rows.len(), upto, all),
        (1, 8, false),
        "a page is bounded, and says how far it reaches"
    );
}
