use http::{HeaderMap, HeaderName, HeaderValue};
use store::{Condition, ETag};

use super::{Conditions, Tags, Verdict};

const ETAG: ETag = ETag {
    md5: [0xab; 16],
    parts: 0,
};
const SAME: &str = "\"abababababababababababababababab\"";
const OTHER: &str = "\"00000000000000000000000000000000\"";
/// Sun, 09 Sep 2001 01:46:40 GMT, and half a second.
const MODIFIED_MS: u64 = 1_000_000_000_500;
const AT: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
const BEFORE: &str = "Sun, 09 Sep 2001 01:46:39 GMT";

fn conditions(pairs: &[(&'static str, &str)]) -> Conditions {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).expect("a header value"),
        );
    }
    let conditions = Conditions::take(&mut headers, "");
    assert!(headers.is_empty(), "s3s does not see them");
    conditions
}

#[test]
fn reads_follow_the_precedence_of_aws() {
    let cases: &[(&[(&'static str, &str)], Verdict)] = &[
        (&[("if-match", SAME)], Verdict::Proceed),
        (&[("if-match", OTHER)], Verdict::Failed),
        (&[("if-match", "*")], Verdict::Proceed),
        (&[("if-none-match", SAME)], Verdict::NotModified),
        (&[("if-none-match", "*")], Verdict::NotModified),
        (&[("if-none-match", OTHER)], Verdict::Proceed),
        (&[("if-modified-since", AT)], Verdict::NotModified),
        (&[("if-modified-since", BEFORE)], Verdict::Proceed),
        (&[("if-unmodified-since", AT)], Verdict::Proceed),
        (&[("if-unmodified-since", BEFORE)], Verdict::Failed),
        (&[("if-match", SAME), ("if-unmodified-since", BEFORE)], Verdict::Proceed),
        (
            &[("if-none-match", SAME), ("if-modified-since", BEFORE)],
            Verdict::NotModified,
        ),
        (&[("if-none-match", OTHER), ("if-modified-since", AT)], Verdict::Proceed),
        (&[("if-modified-since", "nonsense")], Verdict::Proceed),
    ];
    for (pairs, expected) in cases {
        assert_eq!(conditions(pairs).verdict(&ETAG, MODIFIED_MS), *expected, "{pairs:?}");
    }
}

#[test]
fn lists_weak_and_bare_tags_are_read() {
    let read = conditions(&[("if-match", "W/\"aa\", bb ,\"cc-2\"")]);
    assert_eq!(
        read.matches,
        Some(Tags::These(vec!["aa".into(), "bb".into(), "cc-2".into()]))
    );
}

#[test]
fn con_1_writes_hand_their_condition_to_apply() {
    assert_eq!(conditions(&[]).for_write().expect("none"), Condition::Always);
    assert_eq!(
        conditions(&[("if-none-match", "*")]).for_write().expect("absent"),
        Condition::Absent
    );
    assert_eq!(
        conditions(&[("if-match", "*")]).for_write().expect("present"),
        Condition::Present
    );
    assert_eq!(
        conditions(&[("if-match", SAME)]).for_write().expect("tag"),
        Condition::ETagIn(vec![ETAG])
    );
    assert_eq!(
        conditions(&[("if-match", "\"none of ours\"")])
            .for_write()
            .expect("tag"),
        Condition::ETagIn(vec![])
    );
}

#[test]
fn con_3_conditions_that_writes_lack_are_refused() {
    for pairs in [
        &[("if-modified-since", AT)][..],
        &[("if-match", SAME), ("if-none-match", "*")][..],
    ] {
        let refused = conditions(pairs).for_write().expect_err("not implemented");
        assert_eq!(refused.code().as_str(), "NotImplemented");
    }
    let refused = conditions(&[("if-none-match", "*")])
        .for_delete()
        .expect_err("not implemented");
    assert_eq!(refused.code().as_str(), "NotImplemented");
}
