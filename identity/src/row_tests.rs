use super::{ProjectRow, decode, encode};
use crate::error::IdentityError;

#[test]
fn a_row_reads_back_as_written() {
    let row = ProjectRow {
        name: "backups".into(),
        created_ms: 17,
    };
    assert_eq!(
        decode::<ProjectRow>(&encode(&row), "p").expect("it was just written"),
        row
    );
}

#[test]
fn another_format_or_a_cut_row_is_refused() {
    let mut bytes = encode(&ProjectRow {
        name: "backups".into(),
        created_ms: 17,
    })
    .to_vec();
    bytes.truncate(4);
    assert!(matches!(
        decode::<ProjectRow>(&bytes, "p"),
        Err(IdentityError::Unreadable { .. })
    ));
    bytes[0] = 9;
    assert!(matches!(
        decode::<ProjectRow>(&bytes, "p"),
        Err(IdentityError::Unreadable { .. })
    ));
    assert!(matches!(
        decode::<ProjectRow>(&[], "p"),
        Err(IdentityError::Unreadable { .. })
    ));
}
