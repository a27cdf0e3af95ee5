use proptest::prelude::*;
use store::{ETag, Seq, VersionSelector};

use super::{etag_text, listed, parse_etag, parse_seq, version_selector, version_text};

#[test]
fn version_ids_read_back_and_others_are_refused() {
    assert_eq!(parse_seq(&version_text(Seq(0xabc), false)), Some(Seq(0xabc)));
    assert_eq!(
        version_selector(Some("null")).expect("it is a version id"),
        VersionSelector::Null
    );
    assert_eq!(
        version_selector(None).expect("none is allowed"),
        VersionSelector::Latest
    );
    for wrong in ["", "abc", "000000000000000G", "00000000000000ab0", "+000000000000001"] {
        assert_eq!(
            version_selector(Some(wrong)).expect_err(wrong).code().as_str(),
            "InvalidArgument"
        );
    }
}

#[test]
fn a_listing_encodes_as_aws_does() {
    assert_eq!(listed("asdf+b".as_bytes(), true), "asdf%2Bb");
    assert_eq!(listed("foo+1/bar".as_bytes(), true), "foo%2B1/bar");
    assert_eq!(listed("quux ab/\u{1}".as_bytes(), true), "quux%20ab/%01");
    assert_eq!(listed("a b".as_bytes(), false), "a b");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn entity_tags_read_back(md5: [u8; 16], parts in 0u16..10_001) {
        let etag = ETag { md5, parts };
        prop_assert_eq!(parse_etag(&etag_text(&etag)), Some(etag));
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in "\\PC{0,40}") {
        let _ = parse_etag(&text);
        let _ = version_selector(Some(&text));
    }
}
