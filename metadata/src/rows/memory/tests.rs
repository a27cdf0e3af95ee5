use super::*;

fn rows(keys: &[&str]) -> MemoryRows {
    let mut rows = MemoryRows::new();
    rows.write(keys.iter().map(|key| RowChange {
        family: Family::Current,
        key: key.as_bytes().to_vec(),
        value: Some(Bytes::from_static(b"v")),
    }));
    rows
}

fn visited(rows: &MemoryRows, from: &str, until: Option<&str>, mut step: impl FnMut(&str) -> Visit) -> String {
    let mut seen = Vec::new();
    rows.scan(
        Family::Current,
        from.as_bytes(),
        until.map(str::as_bytes),
        &mut |key, _| {
            let key = String::from_utf8(key.to_vec()).unwrap();
            seen.push(key.clone());
            step(&key)
        },
    )
    .unwrap();
    seen.join(" ")
}

#[test]
fn a_scan_visits_its_range_in_order() {
    let rows = rows(&["c", "a", "b", "d"]);
    assert_eq!(visited(&rows, "b", Some("d"), |_| Visit::Next), "b c");
    assert_eq!(visited(&rows, "", None, |_| Visit::Next), "a b c d");
    assert_eq!(visited(&rows, "d", Some("a"), |_| Visit::Next), "");
}

#[test]
fn a_scan_stops_and_seeks() {
    let rows = rows(&["a", "b", "c", "d"]);
    assert_eq!(
        visited(&rows, "", None, |key| if key == "b" {
            Visit::Stop
        } else {
            Visit::Next
        }),
        "a b"
    );
    let seek = |key: &str| {
        if key == "a" {
            Visit::Seek(b"bb".to_vec())
        } else {
            Visit::Next
        }
    };
    assert_eq!(visited(&rows, "", None, seek), "a c d");
    assert_eq!(visited(&rows, "", Some("b"), seek), "a");
}

#[test]
fn a_write_without_value_removes() {
    let mut rows = rows(&["a", "b"]);
    rows.write([RowChange {
        family: Family::Current,
        key: b"a".to_vec(),
        value: None,
    }]);
    assert_eq!(rows.get(Family::Current, b"a").unwrap(), None);
    assert_eq!(rows.family(Family::Current).count(), 1);
}
