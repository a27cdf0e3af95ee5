use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::check;
use crate::s3::query::Query;

fn code(method: Method, has_key: bool, query: &str, header: Option<(&'static str, &'static str)>) -> Option<String> {
    let headers: HeaderMap = header
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let query = Query::parse(Some(query)).expect("it is UTF-8");
    check(&method, has_key, &query, &headers)
        .err()
        .map(|refused| refused.code().as_str().to_owned())
}

#[test]
fn con_3_headers_that_change_the_meaning_are_refused() {
    for header in [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-grant-read", "id=x"),
        ("x-amz-website-redirect-location", "/"),
        ("x-amz-request-payer", "requester"),
        ("x-amz-acl", "public-read"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-if-match-size", "1"),
        ("x-amz-write-offset-bytes", "1"),
        ("x-amz-bucket-object-lock-enabled", "true"),
    ] {
        assert_eq!(
            code(Method::PUT, true, "", Some(header)).as_deref(),
            Some("NotImplemented"),
            "CON-3: {header:?} is not ignored"
        );
    }
    for (header, expected) in [
        (("x-amz-storage-class", "SHINY"), "InvalidStorageClass"),
        (("x-amz-acl", "shiny"), "InvalidArgument"),
        (("x-amz-security-token", "t"), "InvalidToken"),
    ] {
        assert_eq!(code(Method::PUT, true, "", Some(header)).as_deref(), Some(expected));
    }
}

#[test]
fn what_changes_nothing_is_accepted() {
    for header in [
        ("x-amz-acl", "private"),
        ("x-amz-acl", "bucket-owner-full-control"),
        ("x-amz-storage-class", "STANDARD"),
        ("x-amz-bucket-object-lock-enabled", "false"),
        // There is nothing to bypass: no bucket has object lock.
        ("x-amz-bypass-governance-retention", "true"),
        ("x-amz-meta-a", "b"),
        ("x-amz-user-agent", "x"),
    ] {
        assert_eq!(
            code(Method::PUT, true, "x-id=PutObject", Some(header)),
            None,
            "{header:?}"
        );
    }
}

#[test]
fn con_3_a_subresource_is_never_taken_for_the_plain_operation() {
    for (method, has_key, query) in [
        (Method::DELETE, false, "policyStatus"),
        (Method::DELETE, false, "versioning"),
        (Method::DELETE, true, "acl"),
        (Method::PUT, true, "renameObject"),
        (Method::PUT, true, "torrent"),
        (Method::PUT, false, "location"),
        (Method::GET, true, "lifecycle"),
        (Method::POST, true, "tagging"),
    ] {
        assert_eq!(
            code(method.clone(), has_key, query, None).as_deref(),
            Some("NotImplemented"),
            "{method} {query}"
        );
    }
    assert_eq!(
        code(Method::PUT, true, "partNumber=1", None).as_deref(),
        Some("InvalidArgument")
    );
    assert_eq!(
        code(Method::PUT, true, "uploadId=1", None).as_deref(),
        Some("InvalidArgument")
    );
    assert_eq!(code(Method::PUT, true, "uploadId=1&partNumber=1", None), None);
    assert_eq!(code(Method::DELETE, false, "cors", None), None);
}
