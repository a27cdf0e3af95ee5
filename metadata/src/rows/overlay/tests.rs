use proptest::prelude::*;

use super::*;
use crate::rows::MemoryRows;

const FAMILY: Family = Family::Versions;

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(0xFF)], 0..4)
}

/// What a scan sees, when it jumps after every `every`-th row to that row's key and `jump`, and stops after `stop` rows.
fn scanned(rows: &dyn ReadRows, from: &[u8], until: Option<&[u8]>, every: usize, jump: &[u8], stop: usize) -> Rows {
    let mut seen: Rows = Vec::new();
    rows.scan(FAMILY, from, until, &mut |key, value| {
        seen.push((key.to_vec(), value.to_vec()));
        if seen.len() == stop {
            return Visit::Stop;
        }
        if seen.len().is_multiple_of(every) {
            return Visit::Seek([key, &[0], jump].concat());
        }
        Visit::Next
    })
    .unwrap();
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// An overlay is the rows with the changes written.
    #[test]
    fn an_overlay_reads_as_if_its_changes_were_written(
        base in prop::collection::vec((key(), any::<u8>()), 0..20),
        changes in prop::collection::vec((key(), any::<Option<u8>>()), 0..20),
        from in key(),
        until in prop::option::of(key()),
        every in 1..5_usize,
        jump in key(),
        stop in 1..12_usize,
    ) {
        let value = |byte: u8| Bytes::from(vec![byte]);
        let mut rows = MemoryRows::new();
        rows.write(base.into_iter().map(|(key, byte)| RowChange { family: FAMILY, key, value: Some(value(byte)) }));
        let mut overlay = Overlay::new(&rows);
        let mut written = rows.clone();
        for (key, byte) in changes {
            match byte {
                Some(byte) => overlay.put(FAMILY, key.clone(), value(byte)),
                None => overlay.remove(FAMILY, key.clone()),
            }
            written.write([RowChange { family: FAMILY, key, value: byte.map(value) }]);
        }
        let until = until.as_deref();
        prop_assert_eq!(
            scanned(&overlay, &from, until, every, &jump, stop),
            scanned(&written, &from, until, every, &jump, stop)
        );
        prop_assert_eq!(overlay.get(FAMILY, &from).unwrap(), written.get(FAMILY, &from).unwrap());
        let mut merged = rows.clone();
        merged.write(overlay.into_changes());
        prop_assert_eq!(merged, written);
    }
}
