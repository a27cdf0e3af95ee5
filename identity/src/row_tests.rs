use bytes::Bytes;
use serde_json::json;

use super::{ACCESS_KEYS, AccessKeyRowV1, PROJECTS, ProjectRowV1, USERS, decode, encode};
use crate::error::IdentityError;
use crate::model::{AccessKeyRow, Document, Project};
use crate::seal::{Sealed, Sealer};

fn first_format(row: &impl serde::Serialize) -> Bytes {
    postcard::to_extend(row, vec![1]).expect("encodes").into()
}

#[test]
fn a_row_reads_back_as_written() {
    let row = json!({ "name": "backups", "_created_ms": 17 });
    let read: Document = decode(PROJECTS, "p", &encode(&row)).expect("it was just written");
    assert_eq!(serde_json::Value::Object(read), row);
}

#[test]
fn rows_of_the_first_format_are_read_on() {
    let project = ProjectRowV1 {
        name: "backups".into(),
        created_ms: 17,
    };
    let read: Project = decode(PROJECTS, "p", &first_format(&project)).expect("readable");
    assert_eq!(
        (read.name.as_str(), read.domain_id.as_str(), read.created_ms),
        ("backups", "default", 17)
    );
    assert!(read.enabled && read.parent().is_none());
    let sealer = Sealer::new(&[1; 32]);
    let key = AccessKeyRowV1 {
        project: "p".into(),
        description: "restic".into(),
        created_ms: 18,
        secret: sealer.seal(&clock::SeededDice::new(1), "KEY", "secret"),
    };
    let read: AccessKeyRow = decode(ACCESS_KEYS, "KEY", &first_format(&key)).expect("readable");
    let sealed = Sealed::from_text(&read.secret).expect("base64");
    assert_eq!(
        sealer.open("KEY", &sealed).as_deref().map(String::as_str),
        Some("secret")
    );
    assert_eq!((read.project.as_str(), read.user), ("p", None));
}

#[test]
fn another_format_or_a_cut_row_is_refused() {
    let mut bytes = encode(&json!({ "name": "backups" })).to_vec();
    bytes.truncate(4);
    let refused = |table: &str, bytes: &[u8]| {
        let read = decode::<Document>(table, "p", bytes);
        assert!(matches!(read, Err(IdentityError::Unreadable { .. })));
    };
    refused(PROJECTS, &bytes);
    bytes[0] = 9;
    refused(PROJECTS, &bytes);
    refused(PROJECTS, &[]);
    refused(PROJECTS, &[1, 200]);
    refused(USERS, &[1, 2]);
}
