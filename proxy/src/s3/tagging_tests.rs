use proptest::prelude::*;
use s3s::dto::{Tag, Tagging};

use super::{BUCKET_TAGS_MAX, OBJECT_TAGS_MAX, from_document, from_header};

fn document(pairs: impl IntoIterator<Item = (String, String)>) -> Tagging {
    Tagging {
        tag_set: pairs
            .into_iter()
            .map(|(key, value)| Tag {
                key: Some(key),
                value: Some(value),
            })
            .collect(),
    }
}

fn numbered(count: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("k{n}"), n.to_string())).collect()
}

#[test]
fn the_header_is_a_query() {
    let tags = from_header(Some("a=1&b=x%20y&c&d=%26+%2B")).expect("it is well formed");
    let expected = [("a", "1"), ("b", "x y"), ("c", ""), ("d", "& +")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(tags, expected);
    assert!(from_header(None).expect("no header").is_empty());
    for (text, code) in [
        ("a=1&a=2", "InvalidArgument"),
        ("a=%ff", "InvalidArgument"),
        ("=1", "InvalidTag"),
    ] {
        assert_eq!(from_header(Some(text)).expect_err(text).code().as_str(), code);
    }
}

#[test]
fn the_limits_of_tags_are_those_of_aws() {
    assert!(from_document(document(numbered(10)), OBJECT_TAGS_MAX).is_ok());
    assert!(from_document(document(numbered(50)), BUCKET_TAGS_MAX).is_ok());
    let long = "k".repeat(128);
    assert!(from_document(document([(long.clone(), "v".repeat(256))]), OBJECT_TAGS_MAX).is_ok());
    for wrong in [
        document(numbered(11)),
        document([(format!("{long}k"), String::new())]),
        document([("k".into(), "v".repeat(257))]),
        document([("aws:k".into(), String::new())]),
        document([("k".into(), "1".into()), ("k".into(), "2".into())]),
        document([(String::new(), String::new())]),
    ] {
        assert_eq!(
            from_document(wrong, OBJECT_TAGS_MAX)
                .expect_err("a limit")
                .code()
                .as_str(),
            "InvalidTag"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_header_makes_it_panic(text in "[a-z%&=+0-9]{0,60}") {
        super::fuzz(text.as_bytes());
    }
}
