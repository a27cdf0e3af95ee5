use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::{SourceName, parse};

fn source(bucket: &str, key: &str, version: Option<&str>) -> SourceName {
    SourceName {
        bucket: bucket.into(),
        key: key.into(),
        version: version.map(str::to_owned),
    }
}

#[test]
fn the_forms_of_a_copy_source() {
    assert_eq!(parse("bucket/key").expect("plain"), source("bucket", "key", None));
    assert_eq!(
        parse("/bucket/a/b//c/").expect("slash in front"),
        source("bucket", "a/b//c/", None)
    );
    assert_eq!(
        parse("bucket/a%2Fb%3Fc+d").expect("encoded"),
        source("bucket", "a/b?c+d", None)
    );
    assert_eq!(
        parse("bucket%2Fkey").expect("all encoded"),
        source("bucket", "key", None)
    );
    assert_eq!(
        parse("bucket/k?versionId=null").expect("version"),
        source("bucket", "k", Some("null"))
    );
    assert_eq!(
        parse("bucket/k%3FversionId=x").expect("no version"),
        source("bucket", "k?versionId=x", None)
    );
}

#[test]
fn wrong_copy_sources_have_aws_codes() {
    for (text, code) in [
        ("", "InvalidArgument"),
        ("bucket", "InvalidArgument"),
        ("bucket/", "InvalidArgument"),
        ("/", "InvalidArgument"),
        ("bucket/%ff", "InvalidArgument"),
        ("b/key", "InvalidBucketName"),
        (
            "arn:aws:s3:us-east-1:123456789012:accesspoint/x/object/k",
            "NotImplemented",
        ),
    ] {
        assert_eq!(parse(text).expect_err(text).code().as_str(), code, "{text}");
    }
    let long = format!("bucket/{}", "k".repeat(1025));
    assert_eq!(parse(&long).expect_err("long").code().as_str(), "KeyTooLongError");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_key_survives_encoding(key in "\\PC{1,60}") {
        let text = format!("bucket/{}", utf8_percent_encode(&key, NON_ALPHANUMERIC));
        prop_assert_eq!(parse(&text).expect("it is well formed").key, key);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        super::fuzz(text.as_bytes());
    }
}
