use std::collections::VecDeque;

use bytes::Bytes;
use futures::StreamExt;
use proptest::prelude::*;

use super::{Fields, FormError, MALFORMED, NO_FILE, Reader, StdError, TOO_LARGE, boundary, parameter, read};

fn form(fields: &[(&str, &str)], file: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes());
    }
    body.extend(b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\a \\\"b\\\".txt\"\r\nContent-Type: x/y\r\n\r\n");
    body.extend(file);
    body.extend(b"\r\n--b--\r\n");
    body
}

async fn outcome(bytes: &[u8], size: usize) -> Result<(Fields, Vec<u8>), String> {
    let pieces: Vec<Result<Bytes, StdError>> = bytes
        .chunks(size)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    let read = read(futures::stream::iter(pieces), "b").await;
    let (fields, mut file) = read.map_err(|cause| match cause {
        FormError::Form(fault) => fault.0.to_owned(),
        FormError::Body(cause) => cause.to_string(),
    })?;
    let mut bytes = Vec::new();
    while let Some(piece) = file.next().await {
        bytes.extend(piece.map_err(|cause| cause.to_string())?);
    }
    Ok((fields, bytes))
}

#[tokio::test]
async fn fields_come_first_then_the_file() {
    let file = b"no\r\n--not\r\n--".repeat(50);
    let body = form(&[("key", "a/b"), ("ACL", "private"), ("empty", "")], &file);
    for size in [1, 2, 3, 7, 64, body.len()] {
        let (fields, bytes) = outcome(&body, size).await.expect("well formed");
        assert_eq!(
            (fields.get("key"), fields.get("acl"), fields.get("empty")),
            (Some("a/b"), Some("private"), Some(""))
        );
        assert_eq!(fields.filename, "a \"b\".txt");
        assert_eq!(bytes, file);
    }
    assert_eq!(outcome(&form(&[], b""), 5).await.expect("well formed").1, b"");
}

#[tokio::test]
async fn a_form_that_is_cut_or_none_is_refused() {
    let body = form(&[("key", "k")], b"the file");
    for cut in 1..body.len() - 4 {
        let cut = outcome(&body[..cut], 9).await;
        assert!(cut.is_err(), "{cut:?}");
    }
    let only = b"--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b--\r\n";
    assert_eq!(outcome(only, 9).await, Err(NO_FILE.0.to_owned()));
    for nonsense in [
        "nonsense, and enough of it",
        "--b\r\n\r\n\r\nx",
        "--b\r\nContent-Disposition: attachment\r\n\r\n",
    ] {
        assert_eq!(
            outcome(nonsense.as_bytes(), 9).await,
            Err(MALFORMED.0.to_owned()),
            "{nonsense}"
        );
    }
}

#[tokio::test]
async fn mem_1_fields_and_heads_are_bounded() {
    let large = "x".repeat(21 << 10);
    assert_eq!(
        outcome(&form(&[("a", &large)], b""), 1000).await,
        Err(TOO_LARGE.0.to_owned())
    );
    let half = &large[..11 << 10];
    assert_eq!(
        outcome(&form(&[("a", half), ("b", half)], b""), 1000).await,
        Err(TOO_LARGE.0.to_owned())
    );
    assert!(outcome(&form(&vec![("a", ""); 201], b""), 1000).await.is_err());
    let head = format!("--b\r\nContent-Disposition: {large}");
    assert_eq!(outcome(head.as_bytes(), 1000).await, Err(MALFORMED.0.to_owned()));
    let (mut reader, mut out) = (Reader::new("b"), VecDeque::new());
    reader
        .take(&form(&[], &vec![7; 1 << 20])[..1 << 20], &mut out)
        .expect("well formed");
    assert!(reader.held.len() < reader.delimiter.len(), "the file is not kept");
}

#[test]
fn boundaries_are_found_in_content_types() {
    assert_eq!(boundary("multipart/form-data; boundary=x").as_deref(), Some("x"));
    assert_eq!(
        boundary("Multipart/Form-Data; charset=utf-8; Boundary=\"a;b\"").as_deref(),
        Some("a;b")
    );
    for none in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=x",
    ] {
        assert_eq!(boundary(none), None, "{none}");
    }
    assert_eq!(
        boundary(&format!("multipart/form-data; boundary={}", "x".repeat(71))),
        None
    );
    assert_eq!(parameter("name=\"unended", "name"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_file_comes_out_as_it_went_in(file in prop::collection::vec(prop::sample::select(b"\r\n-bx".to_vec()), 0..60), size in 1_usize..20) {
        prop_assume!(!file.windows(5).any(|window| window == b"\r\n--b"));
        let body = form(&[("key", "k")], &file);
        let read = futures::executor::block_on(outcome(&body, size));
        prop_assert_eq!(read.expect("well formed").1, file);
    }

    #[test]
    fn no_bytes_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        super::fuzz(&bytes);
    }
}
