use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Fields, FormPolicy, FormSigner};

const NOW: i64 = 1_700_000_000;

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in pairs {
        fields.set(name, value);
    }
    fields
}

fn parse(text: &str) -> Result<FormPolicy, String> {
    FormPolicy::parse(&BASE64.encode(text)).map_err(|refused| refused.code().as_str().to_owned())
}

fn policy(conditions: &str) -> FormPolicy {
    parse(&format!(
        "{{\"expiration\":\"2030-01-01T00:00:00.000Z\",\"conditions\":[{conditions}]}}"
    ))
    .expect("a policy")
}

fn allowed(conditions: &str, pairs: &[(&str, &str)]) -> bool {
    policy(conditions).allows(&fields(pairs), NOW).is_ok()
}

#[test]
fn every_field_must_be_named_and_fit() {
    let conditions = r#"{"bucket":"b"},["starts-with","$KEY","user/"],["EQ","$acl","private"]"#;
    let good = [("bucket", "b"), ("key", "user/x"), ("acl", "private")];
    assert!(allowed(conditions, &good));
    assert!(allowed(
        conditions,
        &[&good[..], &[("x-ignore-me", "1"), ("signature", "s"), ("policy", "p")]].concat()
    ));
    assert!(
        !allowed(conditions, &[&good[..], &[("x-amz-meta-a", "1")]].concat()),
        "nobody named it"
    );
    assert!(!allowed(conditions, &good[..2]), "a named field is missing");
    for (name, value) in [("bucket", "c"), ("key", "other/x"), ("acl", "public-read")] {
        let mut wrong = good;
        wrong
            .iter_mut()
            .filter(|pair| pair.0 == name)
            .for_each(|pair| pair.1 = value);
        assert!(!allowed(conditions, &wrong), "{name}={value}");
    }
    let types = r#"["starts-with","$Content-Type","image/"]"#;
    assert!(allowed(types, &[("content-type", "image/png, image/gif")]));
    assert!(!allowed(types, &[("content-type", "image/png, text/html")]));
}

#[test]
fn a_policy_ends() {
    let policy = parse(r#"{"expiration":"2023-11-14T22:13:20Z","conditions":[]}"#).expect("a policy");
    assert!(policy.allows(&Fields::default(), NOW).is_ok());
    assert!(policy.allows(&Fields::default(), NOW + 1).is_err());
}

#[test]
fn lengths_are_those_of_all_conditions() {
    assert_eq!(policy("").lengths(), (0, u64::MAX));
    assert_eq!(
        policy(r#"["content-length-range",1,9],["content-length-range",3,20]"#).lengths(),
        (3, 9)
    );
}

#[test]
fn malformed_policies_are_refused() {
    for text in [
        "",
        "{}",
        r#"{"expiration":"2030-01-01T00:00:00Z"}"#,
        r#"{"conditions":[]}"#,
        r#"{"EXPIRATION":"2030-01-01T00:00:00Z","conditions":[]}"#,
        r#"{"expiration":"2030-01-01 00:00:00","conditions":[]}"#,
        r#"{"expiration":"2030-01-01T00:00:00Z","conditions":[{}]}"#,
        r#"{"expiration":"2030-01-01T00:00:00Z","conditions":[{"a":1}]}"#,
        r#"{"expiration":"2030-01-01T00:00:00Z","conditions":[["content-length-range",0]]}"#,
        r#"{"expiration":"2030-01-01T00:00:00Z","conditions":[["content-length-range",-1,0]]}"#,
        r#"{"expiration":"2030-01-01T00:00:00Z","conditions":[["eq","key","x"]]}"#,
        r#"{"expiration":"2030-01-01T00:00:00Z","conditions":[["ends-with","$key","x"]]}"#,
    ] {
        assert_eq!(parse(text), Err("InvalidPolicyDocument".to_owned()), "{text}");
    }
    assert!(FormPolicy::parse("no base64!").is_err());
}

#[test]
fn who_signed_is_told_by_the_fields() {
    let code = |pairs: &[(&str, &str)], sigv2| {
        FormSigner::of(&fields(pairs), NOW, sigv2)
            .map(|signer| signer.is_some())
            .map_err(|refused| refused.code().as_str().to_owned())
    };
    assert_eq!(code(&[("key", "k")], true), Ok(false));
    let second = [("awsaccesskeyid", "k"), ("signature", "c2ln"), ("policy", "p")];
    assert_eq!(code(&second, true), Ok(true));
    assert_eq!(code(&second, false), Err("InvalidRequest".to_owned()));
    assert_eq!(
        code(&[("awsaccesskeyid", "k"), ("policy", "p")], true),
        Err("InvalidArgument".to_owned())
    );
    let fourth = [
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-credential", "k/20231114/us-east-1/s3/aws4_request"),
        ("x-amz-date", "20231114T221320Z"),
        ("x-amz-signature", "00"),
    ];
    assert_eq!(code(&fourth, false), Ok(true));
    for (at, value) in [
        (0, "AWS4-ECDSA"),
        (1, "k/20231115/us-east-1/s3/aws4_request"),
        (1, "k"),
        (2, "now"),
        (2, "20231114T231320Z"),
        (3, "xx"),
    ] {
        let mut wrong = fourth;
        wrong[at].1 = value;
        assert!(code(&wrong, false).is_err(), "{value}");
    }
}

#[test]
fn sec_1_only_the_secret_verifies() {
    let signer = |signature: &str| {
        let pairs = [("awsaccesskeyid", "k"), ("signature", signature), ("policy", "p")];
        FormSigner::of(&fields(&pairs), NOW, true)
            .expect("well formed")
            .expect("signed")
    };
    // HMAC-SHA1("key", "The quick brown fox jumps over the lazy dog"), the common test vector.
    let right = BASE64.encode(hex::decode("de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9").expect("hex"));
    let text = "The quick brown fox jumps over the lazy dog";
    assert!(signer(&right).verifies(text, "key"));
    assert!(!signer(&right).verifies(text, "kez"));
    assert!(!signer(&right).verifies("The quick", "key"));
    assert!(!signer("").verifies(text, "key"));
}
