//! Who is let in: SEC-1 and the "Bad input" of signatures.

use proxy::s3::S3Options;

use crate::kit::{Call, Edge, Setup};
use crate::sign::{Payload, Signature, now};

fn at(seconds: i64) -> Signature {
    Signature::Header {
        key: "main",
        secret: "main-secret",
        payload: Payload::Hashed,
        at: Some(now() + seconds),
    }
}

#[tokio::test]
async fn a_wrong_secret_key_or_payload_is_refused() {
    let edge = Edge::with_bucket().await;
    Call::get("/bkt").send(&edge).await.ok();
    Call::get("/bkt")
        .by("main", "wrong")
        .send(&edge)
        .await
        .is("403 SignatureDoesNotMatch");
    Call::get("/bkt")
        .by("nobody", "main-secret")
        .send(&edge)
        .await
        .is("403 InvalidAccessKeyId");
    let other = "0".repeat(64);
    let call = Call::put("/bkt/k").header("x-amz-content-sha256", &other).body("hello");
    call.send(&edge).await.is("400 XAmzContentSHA256Mismatch");
    Call::get("/bkt/k").send(&edge).await.is("404 NoSuchKey");
}

#[tokio::test]
async fn a_clock_too_far_off_is_refused() {
    let edge = Edge::with_bucket().await;
    for seconds in [-901, 901, -86_400 * 400] {
        Call::get("/bkt")
            .signed(at(seconds))
            .send(&edge)
            .await
            .is("403 RequestTimeTooSkewed");
    }
    Call::get("/bkt").signed(at(-800)).send(&edge).await.ok();
}

#[tokio::test]
async fn sec_1_what_is_not_signed_is_not_believed() {
    let edge = Edge::with_bucket().await;
    Call::put("/bkt/secret").body("secret").send(&edge).await.ok();
    let presigned = || Call::put("/bkt/k").signed(Signature::Presigned { expires: 60, at: None });
    presigned().body("mine").send(&edge).await.ok();
    presigned()
        .unsigned("x-amz-copy-source", "/bkt/secret")
        .send(&edge)
        .await
        .is("403 AccessDenied");
    Call::put("/bkt/k")
        .unsigned("x-amz-copy-source", "/bkt/secret")
        .send(&edge)
        .await
        .is("403 AccessDenied");
    Call::put("/bkt/k")
        .unsigned("x-amz-meta-a", "b")
        .send(&edge)
        .await
        .is("403 AccessDenied");
    assert_eq!(Call::get("/bkt/k").send(&edge).await.ok().text(), "mine");
    Call::put("/bkt/k")
        .header("x-amz-meta-a", "<absent>")
        .send(&edge)
        .await
        .is("403 SignatureDoesNotMatch");
    // A changed method, path or query is another request.
    let mut call = Call::get("/bkt/k").signed(Signature::Presigned { expires: 60, at: None });
    let bytes = String::from_utf8(call.bytes(&edge)).expect("it is text");
    assert_eq!(
        edge.raw(bytes.replacen("/bkt/k", "/bkt/secret", 1).as_bytes())
            .await
            .error(),
        "403 SignatureDoesNotMatch"
    );
    assert_eq!(
        edge.raw(bytes.replacen("GET", "DELETE", 1).as_bytes()).await.error(),
        "403 SignatureDoesNotMatch"
    );
    let longer = bytes.replacen("X-Amz-Expires=60", "X-Amz-Expires=600", 1);
    assert_eq!(edge.raw(longer.as_bytes()).await.error(), "403 SignatureDoesNotMatch");
    call.host = Some("elsewhere".into());
    call.send(&edge).await.ok();
}

#[tokio::test]
async fn presigned_requests_end() {
    let edge = Edge::with_bucket().await;
    Call::put("/bkt/k").body("x").send(&edge).await.ok();
    let presigned = |expires, seconds| {
        Call::get("/bkt/k").signed(Signature::Presigned {
            expires,
            at: Some(now() + seconds),
        })
    };
    presigned(60, 0).send(&edge).await.ok();
    presigned(604_800, -604_000).send(&edge).await.ok();
    presigned(60, -61).send(&edge).await.is("403 AccessDenied");
    presigned(0, 0).send(&edge).await.is("403 AccessDenied");
    presigned(-7, 0)
        .send(&edge)
        .await
        .is("403 AuthorizationQueryParametersError");
    presigned(604_801, 0)
        .send(&edge)
        .await
        .is("403 AuthorizationQueryParametersError");
    presigned(60, 1_000).send(&edge).await.is("403 AccessDenied");
}

#[tokio::test]
async fn nobody_without_a_key_gets_in_and_is_told_in_xml() {
    let edge = Edge::with_bucket().await;
    let anonymous = |call: Call| call.signed(Signature::Anonymous);
    for call in [
        Call::get("/"),
        Call::get("/bkt"),
        Call::get("/bkt/k"),
        Call::put("/bkt/k"),
        Call::delete("/bkt"),
    ] {
        let reply = anonymous(call).send(&edge).await.is("403 AccessDenied");
        assert_eq!(reply.header("content-type"), "application/xml");
        assert!(!reply.element("Resource").is_empty() && !reply.header("x-amz-id-2").is_empty());
    }
    anonymous(Call::get("/no-such-bucket"))
        .send(&edge)
        .await
        .is("404 NoSuchBucket");
    let head = anonymous(Call::head("/bkt")).send(&edge).await;
    assert_eq!((head.status, head.body.len()), (403, 0));
    Call::get("/bkt")
        .query("response-content-type", "a/b")
        .signed(Signature::Anonymous)
        .send(&edge)
        .await
        .is("403 AccessDenied");
}

#[tokio::test]
async fn a_key_acts_in_its_own_project_only() {
    let edge = Edge::with_bucket().await;
    Call::put("/bkt/k").body("x").send(&edge).await.ok();
    for call in [
        Call::get("/bkt"),
        Call::get("/bkt/k"),
        Call::put("/bkt/k"),
        Call::delete("/bkt/k"),
        Call::delete("/bkt"),
    ] {
        call.by("alt", "alt-secret").send(&edge).await.is("403 AccessDenied");
    }
    Call::put("/alt").by("alt", "alt-secret").send(&edge).await.ok();
    let copy = Call::put("/alt/k")
        .header("x-amz-copy-source", "/bkt/k")
        .by("alt", "alt-secret");
    copy.send(&edge).await.is("403 AccessDenied");
    Call::get("/bkt")
        .header("x-amz-expected-bucket-owner", "alt")
        .send(&edge)
        .await
        .is("403 AccessDenied");
    Call::get("/bkt")
        .header("x-amz-expected-bucket-owner", "main")
        .send(&edge)
        .await
        .ok();
}

#[tokio::test]
async fn malformed_signatures_have_aws_codes() {
    let edge = Edge::with_bucket().await;
    let with = |value: &str| {
        Call::get("/bkt")
            .signed(Signature::Anonymous)
            .header("authorization", value)
    };
    with("AWS4-HMAC-SHA256 nonsense")
        .send(&edge)
        .await
        .is("400 AuthorizationHeaderMalformed");
    let region = format!(
        "AWS4-HMAC-SHA256 Credential=main/20260101/US/s3/aws4_request, SignedHeaders=host, Signature={}",
        "0".repeat(64)
    );
    let told = with(&region).send(&edge).await.is("400 AuthorizationHeaderMalformed");
    assert_eq!(told.element("Region"), "us-east-1", "s3cmd reads it and signs again");
    with("AWS main:c2ln").send(&edge).await.is("400 InvalidRequest");
    with("Bearer x").send(&edge).await.is("400 InvalidArgument");
    let iam = "AWS4-HMAC-SHA256 Credential=main/20260101//iam/aws4_request, SignedHeaders=host, Signature=";
    let iam = Call::post("/")
        .signed(Signature::Anonymous)
        .header("authorization", &format!("{iam}{}", "0".repeat(64)));
    iam.body("Action=ListUsers").send(&edge).await.is("501 NotImplemented");
    let twice = Call::get("/bkt").query("X-Amz-Signature", "0").send(&edge).await;
    twice.is("400 InvalidArgument");
}

#[tokio::test]
async fn virtual_hosts_name_buckets() {
    let options = S3Options {
        domains: vec!["s3.test".into()],
        ..S3Options::default()
    };
    let edge = Edge::start_with(Setup {
        options,
        ..Setup::default()
    })
    .await;
    Call::put("/").host("pics.s3.test").send(&edge).await.ok();
    Call::put("/a/b")
        .host("pics.s3.test:8080")
        .body("x")
        .send(&edge)
        .await
        .ok();
    assert_eq!(
        Call::get("/pics/a/b").host("s3.test").send(&edge).await.ok().text(),
        "x"
    );
    assert_eq!(
        Call::get("/")
            .host("pics.s3.test")
            .send(&edge)
            .await
            .ok()
            .elements("Key"),
        ["a/b"]
    );
    Call::get("/k")
        .host("none.s3.test")
        .send(&edge)
        .await
        .is("404 NoSuchBucket");
}
