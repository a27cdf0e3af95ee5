use http::{HeaderMap, HeaderName, HeaderValue};
use store::{ChecksumAlgorithm, ChecksumKind};

use super::{Promise, compute, upload_kind};

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_str(value).expect("a header value"),
        )
    };
    pairs.iter().map(pair).collect()
}

fn code(pairs: &[(&'static str, &str)]) -> String {
    Promise::of(&headers(pairs))
        .expect_err("it is refused")
        .code()
        .as_str()
        .to_owned()
}

#[test]
fn the_check_values_of_every_algorithm() {
    let hex = |algorithm| hex::encode(compute(algorithm, b"123456789"));
    assert_eq!(hex(ChecksumAlgorithm::Crc32), "cbf43926");
    assert_eq!(hex(ChecksumAlgorithm::Crc32c), "e3069283");
    assert_eq!(hex(ChecksumAlgorithm::Crc64Nvme), "ae8b14860a799888");
    assert_eq!(hex(ChecksumAlgorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
    assert!(hex(ChecksumAlgorithm::Sha256).starts_with("15e2b0d3"));
}

#[test]
fn con_3_a_promise_that_cannot_be_verified_is_refused() {
    assert_eq!(code(&[("content-md5", "")]), "InvalidDigest");
    assert_eq!(code(&[("content-md5", "AWS HAHAHA")]), "InvalidDigest");
    assert_eq!(code(&[("content-md5", "aGVsbG8=")]), "InvalidDigest");
    assert_eq!(code(&[("x-amz-checksum-crc32", "AAAA")]), "InvalidRequest");
    assert_eq!(
        code(&[("x-amz-checksum-xxhash3", "AAAA")]),
        "InvalidRequest",
        "CON-3: an algorithm that is not there is not ignored"
    );
    assert_eq!(
        code(&[
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-checksum-crc32c", "AAAAAA==")
        ]),
        "InvalidRequest"
    );
    assert_eq!(
        code(&[
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-trailer", "x-amz-checksum-crc32c")
        ]),
        "InvalidRequest"
    );
    assert_eq!(code(&[("x-amz-trailer", "x-amz-meta-a")]), "InvalidRequest");
    assert_eq!(code(&[("x-amz-sdk-checksum-algorithm", "CRC32")]), "InvalidRequest");
    assert_eq!(code(&[("x-amz-sdk-checksum-algorithm", "ROT13")]), "InvalidRequest");
    assert_eq!(
        code(&[
            ("x-amz-sdk-checksum-algorithm", "SHA1"),
            ("x-amz-checksum-crc32", "AAAAAA==")
        ]),
        "InvalidRequest"
    );
}

#[test]
fn a_promise_is_held_or_refused() {
    let promise = Promise::of(&headers(&[
        ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-amz-checksum-mode", "ENABLED"),
    ]));
    let promise = promise.expect("it is well formed");
    assert!(promise.check_bytes(b"123456789", None).is_ok());
    assert_eq!(
        promise.check_bytes(b"123456780", None).expect_err("other bytes").0,
        "BadDigest"
    );
    let trailer = Promise::of(&headers(&[("x-amz-trailer", "x-amz-checksum-crc32")])).expect("it is well formed");
    assert_eq!(
        trailer.check_bytes(b"123456789", None).expect_err("no trailer came").0,
        "MalformedTrailerError"
    );
}

#[test]
fn the_kinds_of_multipart_checksums_are_those_of_aws() {
    let kind = |algorithm, kind| upload_kind(algorithm, kind).map_err(|e| e.code().as_str().to_owned());
    assert_eq!(kind(None, None), Ok(None));
    assert_eq!(
        kind(Some("CRC32"), None),
        Ok(Some((ChecksumAlgorithm::Crc32, ChecksumKind::Composite)))
    );
    assert_eq!(
        kind(Some("CRC64NVME"), None),
        Ok(Some((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject)))
    );
    assert_eq!(
        kind(Some("CRC32C"), Some("FULL_OBJECT")),
        Ok(Some((ChecksumAlgorithm::Crc32c, ChecksumKind::FullObject)))
    );
    for (algorithm, kind_text) in [
        (Some("SHA1"), Some("FULL_OBJECT")),
        (Some("SHA256"), Some("FULL_OBJECT")),
        (Some("CRC64NVME"), Some("COMPOSITE")),
        (None, Some("COMPOSITE")),
        (Some("MD2"), None),
        (Some("CRC32"), Some("HALF")),
    ] {
        assert_eq!(kind(algorithm, kind_text), Err("InvalidRequest".into()));
    }
}
