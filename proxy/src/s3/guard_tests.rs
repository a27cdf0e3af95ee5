use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::{Accepted, Mechanism, Payload, check};
use crate::s3::query::Query;

/// Sun, 25 Jan 2026 00:00:00 GMT.
const NOW_MS: u64 = 1_769_299_200_000;
const SIGNATURE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

type Pair = (&'static str, String);

fn authorization(headers: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=KEY/20260125/us-east-1/s3/aws4_request,SignedHeaders={headers}, Signature={SIGNATURE}"
    )
}

fn signed(extra: &[Pair], listed: &str) -> Vec<Pair> {
    let mut pairs = vec![
        ("host", "h".to_owned()),
        ("x-amz-date", "20260125T000000Z".to_owned()),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD".to_owned()),
        ("authorization", authorization(listed)),
    ];
    pairs.extend_from_slice(extra);
    pairs
}

const BASE: &str = "host;x-amz-content-sha256;x-amz-date";

fn run(query: &str, pairs: &[Pair], sigv2: bool) -> Result<(Mechanism, HeaderMap), String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).expect("a header value"),
        );
    }
    let query = Query::parse(Some(query)).expect("it is UTF-8");
    check(
        &Method::PUT,
        &query,
        &mut headers,
        NOW_MS,
        Accepted {
            region: "us-east-1",
            sigv2,
        },
    )
    .map(|mechanism| (mechanism, headers))
    .map_err(|refused| {
        format!(
            "{} {}",
            refused.status_code().map_or(0, |s| s.as_u16()),
            refused.code().as_str()
        )
    })
}

fn code(query: &str, pairs: &[Pair]) -> String {
    run(query, pairs, false).expect_err("it is refused")
}

#[test]
fn a_signed_request_passes_and_is_written_as_s3s_reads_it() {
    let (mechanism, headers) = run("", &signed(&[], BASE), false).expect("all is signed");
    assert_eq!(mechanism, Mechanism::Header(Payload::Plain));
    assert_eq!(
        headers["authorization"],
        format!(
            "AWS4-HMAC-SHA256 Credential=KEY/20260125/us-east-1/s3/aws4_request, SignedHeaders={BASE}, Signature={SIGNATURE}"
        )
    );
    assert_eq!(
        run("", &[("host", "h".into())], false).expect("no signature").0,
        Mechanism::Anonymous
    );
}

#[test]
fn sec_1_an_unsigned_amz_header_is_refused() {
    for name in [
        "x-amz-copy-source",
        "x-amz-acl",
        "x-amz-meta-a",
        "x-amz-expected-bucket-owner",
    ] {
        assert_eq!(
            code("", &signed(&[(name, "b/k".into())], BASE)),
            "403 AccessDenied",
            "{name}"
        );
    }
    let listed = format!("{BASE};x-amz-copy-source");
    assert!(run("", &signed(&[("x-amz-copy-source", "b/k".into())], &listed), false).is_ok());
}

#[test]
fn sec_1_host_is_signed_and_what_is_listed_is_there() {
    assert_eq!(
        code("", &signed(&[], "x-amz-content-sha256;x-amz-date")),
        "403 AccessDenied"
    );
    assert_eq!(
        code("", &signed(&[], &format!("{BASE};x-amz-acl"))),
        "403 SignatureDoesNotMatch"
    );
    assert_eq!(
        code("", &signed(&[], &format!("{BASE};range"))),
        "403 SignatureDoesNotMatch"
    );
}

#[test]
fn one_mechanism_only_and_version_2_only_when_on() {
    let twice = signed(&[("authorization", "AWS a:b".into())], BASE);
    assert_eq!(code("", &twice), "400 InvalidArgument");
    assert_eq!(code("X-Amz-Signature=1", &signed(&[], BASE)), "400 InvalidArgument");
    assert_eq!(code("Signature=1", &signed(&[], BASE)), "400 InvalidArgument");
    let v2: Vec<Pair> = vec![
        ("host", "h".into()),
        ("date", "Sun, 25 Jan 2026 00:00:00 GMT".into()),
        ("authorization", "AWS KEY:c2ln".into()),
    ];
    assert_eq!(code("", &v2), "400 InvalidRequest");
    assert_eq!(run("", &v2, true).expect("it is on").0, Mechanism::V2);
    assert_eq!(
        code("", &[("host", "h".into()), ("authorization", "Bearer x".into())]),
        "400 InvalidArgument"
    );
}

#[test]
fn dates_that_are_wrong_have_aws_codes() {
    let with = |name: &'static str, value: &str| {
        let mut pairs = signed(&[], BASE);
        pairs.retain(|pair| pair.0 != "x-amz-date");
        pairs.push((name, value.to_owned()));
        pairs
    };
    assert_eq!(code("", &with("x-amz-date", "")), "403 AccessDenied");
    assert_eq!(code("", &with("x-amz-date", "garbage")), "403 AccessDenied");
    assert_eq!(
        code("", &with("x-amz-date", "20260125T001501Z")),
        "403 RequestTimeTooSkewed"
    );
    assert_eq!(
        code("", &with("x-amz-date", "20260124T234459Z")),
        "403 RequestTimeTooSkewed"
    );
    assert_eq!(
        code("", &with("x-amz-date", "20260124T235000Z")),
        "400 AuthorizationHeaderMalformed"
    );
    let mut by_date = with("date", "Sun, 25 Jan 2026 00:00:00 GMT");
    by_date[2].1 = authorization("host;x-amz-content-sha256;date");
    let (_, headers) = run("", &by_date, false).expect("the Date header serves as well");
    assert_eq!(headers["x-amz-date"], "20260125T000000Z");
}

#[test]
fn malformed_headers_have_aws_codes() {
    for wrong in [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=KEY",
        "AWS4-HMAC-SHA256 Credential=KEY/x/y, SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=KEY/2026/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00",
    ] {
        let pairs = [("host", "h".to_owned()), ("authorization", wrong.to_owned())];
        assert_eq!(code("", &pairs), "400 AuthorizationHeaderMalformed", "{wrong}");
    }
    let scope = |service: &str| {
        let mut pairs = signed(&[], BASE);
        pairs[3].1 = pairs[3].1.replace("us-east-1/s3", &format!("/{service}"));
        pairs
    };
    assert_eq!(code("", &scope("iam")), "501 NotImplemented");
    assert_eq!(code("", &scope("sts")), "501 NotImplemented");
    assert_eq!(code("", &scope("ec2")), "400 AuthorizationHeaderMalformed");
    assert!(
        run("", &scope("s3"), false).is_ok(),
        "an empty region is taken as given"
    );
    let long = signed(&[("user-agent", "a".repeat(20_000))], BASE);
    assert_eq!(code("", &long), "400 RequestHeaderSectionTooLarge");
}

#[test]
fn payload_hashes_are_read() {
    let with = |hash: &str, extra: &[Pair]| {
        let listed = extra
            .iter()
            .fold(BASE.to_owned(), |all, pair| format!("{all};{}", pair.0));
        let mut pairs = signed(extra, &listed);
        pairs[2].1 = hash.to_owned();
        pairs
    };
    assert_eq!(code("", &with("nonsense", &[])), "400 InvalidArgument");
    let chunked = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    assert_eq!(code("", &with(chunked, &[])), "411 MissingContentLength");
    assert_eq!(
        code("", &with(chunked, &[("x-amz-decoded-content-length", "-5".into())])),
        "400 InvalidArgument"
    );
    assert_eq!(
        run(
            "",
            &with(chunked, &[("x-amz-decoded-content-length", "5".into())]),
            false
        )
        .expect("well formed")
        .0,
        Mechanism::Header(Payload::Chunked {
            signed: true,
            trailer: false,
            decoded: 5
        })
    );
    let trailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    assert_eq!(
        code("", &with(trailer, &[("x-amz-decoded-content-length", "5".into())])),
        "400 InvalidRequest"
    );
}

fn presigned(date: &str, expires: &str, headers: &str) -> String {
    format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=KEY%2F20260125%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date={date}&X-Amz-Expires={expires}&X-Amz-SignedHeaders={headers}&X-Amz-Signature={SIGNATURE}"
    )
}

#[test]
fn presigned_requests_have_bounds() {
    let host = [("host", "h".to_owned())];
    let now = "20260125T000000Z";
    assert_eq!(
        run(&presigned(now, "60", "host"), &host, false).expect("well formed").0,
        Mechanism::Presigned
    );
    assert_eq!(code(&presigned(now, "0", "host"), &host), "403 AccessDenied");
    assert_eq!(
        code(&presigned(now, "-7", "host"), &host),
        "403 AuthorizationQueryParametersError"
    );
    assert_eq!(
        code(&presigned(now, "604801", "host"), &host),
        "403 AuthorizationQueryParametersError"
    );
    assert_eq!(
        code(&presigned(now, "abc", "host"), &host),
        "400 AuthorizationQueryParametersError"
    );
    assert_eq!(
        code(&presigned("20260125T003000Z", "60", "host"), &host),
        "403 AccessDenied"
    );
    assert_eq!(
        code(&presigned("garbage", "60", "host"), &host),
        "400 AuthorizationQueryParametersError"
    );
    assert_eq!(code(&presigned(now, "60", "x-amz-date"), &host), "403 AccessDenied");
    assert_eq!(
        code("X-Amz-Signature=0", &host),
        "400 AuthorizationQueryParametersError"
    );
    let twice = format!("{}&X-Amz-Date={now}", presigned(now, "60", "host"));
    assert_eq!(code(&twice, &host), "400 AuthorizationQueryParametersError");
    let expired = presigned("20260125T000000Z", "1", "host");
    let query = Query::parse(Some(&expired)).expect("it is UTF-8");
    let mut headers: HeaderMap = [(http::header::HOST, HeaderValue::from_static("h"))]
        .into_iter()
        .collect();
    assert!(
        check(
            &Method::GET,
            &query,
            &mut headers,
            NOW_MS + 2_000,
            Accepted {
                region: "us-east-1",
                sigv2: false
            }
        )
        .is_err()
    );
}

#[test]
fn sec_1_a_presigned_put_does_not_become_a_copy() {
    let pairs = [("host", "h".to_owned()), ("x-amz-copy-source", "secret/key".to_owned())];
    assert_eq!(
        code(&presigned("20260125T000000Z", "60", "host"), &pairs),
        "403 AccessDenied"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_request_makes_it_panic(
        query in "(X-Amz-(Date|Expires|Signature|Credential)=[0-9a-zA-Z/%-]{0,30}&?){0,4}",
        header in "(AWS4-HMAC-SHA256|AWS|Bearer) ?(Credential=|SignedHeaders=|Signature=)?[ -~]{0,40}",
    ) {
        super::fuzz(format!("{query}\nhost: h\nauthorization: {header}\n").as_bytes());
    }
}
