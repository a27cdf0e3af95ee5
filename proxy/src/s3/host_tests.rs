use proptest::prelude::*;

use super::Domains;

fn domains() -> Domains {
    Domains::new(&["s3.example.com".into(), "Example.com".into(), "localhost".into()])
}

#[test]
fn a_subdomain_is_a_bucket() {
    for (host, bucket) in [
        ("photos.s3.example.com", Some("photos")),
        ("a.b.s3.example.com:9000", Some("a.b")),
        ("photos.localhost:9000", Some("photos")),
        ("PHOTOS.S3.EXAMPLE.COM", Some("PHOTOS")),
        ("s3.example.com", None),
        ("localhost:9000", None),
        ("127.0.0.1:9000", None),
        ("[::1]:9000", None),
        ("other.org", None),
        ("xs3.other.com", None),
        (".localhost", None),
        ("", None),
        (":", None),
    ] {
        assert_eq!(domains().bucket(host), bucket, "{host}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_host_makes_it_panic(host in "\\PC{0,40}") {
        let _ = domains().bucket(&host);
    }
}
