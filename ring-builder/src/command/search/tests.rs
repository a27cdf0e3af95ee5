use super::*;
use crate::device::DeviceId;

fn sample() -> Device {
    Device {
        id: DeviceId(74),
        region: 4,
        zone: 1,
        node: 9,
        address: "1.2.3.4:5678".to_owned(),
        name: "sdb1".to_owned(),
        weight: 100.0,
        replication: Some("[fd00::6]:5679".to_owned()),
        meta: "snet: 5.6.7.8".to_owned(),
    }
}

#[test]
fn every_part_of_a_search_value_matches_what_it_says() {
    for value in [
        "74",
        "d74",
        "r4",
        "z1",
        "d74r4z1",
        "z1-1.2.3.4",
        "1.2.3.4",
        "z1:5678",
        ":5678",
        "R[fd00::6]",
        "R[FD00:0::6]",
        "R:5679",
        "1.2.3.4R[fd00::6]",
        "/sdb1",
        "_snet",
        "_\"snet: 5.6\"",
        "d74r4z1-1.2.3.4:5678R[fd00::6]:5679/sdb1_snet: 5.6.7.8",
    ] {
        assert!(Wanted::parse(value).unwrap().matches(&sample()), "{value}");
    }
    for value in [
        "7",
        "d7",
        "r1",
        "z2",
        "z1-1.2.3.5",
        "1.2.3.40",
        ":56",
        "R1.2.3.4",
        "R:5678",
        "/sdb",
        "_snot",
        "[::1]",
    ] {
        assert!(!Wanted::parse(value).unwrap().matches(&sample()), "{value}");
    }
    assert!(Wanted::parse(&full_name(&sample())).unwrap().matches(&sample()));
}

#[test]
fn what_is_no_search_value_is_refused() {
    for value in [
        "",
        "-",
        "x",
        "d",
        "dx",
        "d74x",
        "z1-1.2.3.4:",
        "z1-1.2.3.4:99999",
        "[::1",
        "R",
        "d1r",
    ] {
        assert!(Wanted::parse(value).is_err(), "{value}");
    }
}

#[test]
fn options_match_like_search_values() {
    let by = |filter: Filter| filter.wanted().unwrap().matches(&sample());
    assert!(by(Filter {
        weight: Some(100.0),
        zone: Some(1),
        ..Filter::default()
    }));
    assert!(by(Filter {
        replication_ip: Some("[FD00::6]".into()),
        meta: Some("snet".into()),
        ..Filter::default()
    }));
    assert!(!by(Filter {
        weight: Some(99.0),
        ..Filter::default()
    }));
    assert_eq!(Filter::default().wanted(), None);
}
