//! Tags, CORS, and everything that is not configured.

use crate::kit::{Call, Edge};

fn tagging(pairs: &[(&str, &str)]) -> String {
    let tags = pairs
        .iter()
        .map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"));
    format!("<Tagging><TagSet>{}</TagSet></Tagging>", tags.collect::<String>())
}

#[tokio::test]
async fn objects_and_buckets_have_tags() {
    let edge = Edge::with_bucket().await;
    Call::put("/bkt/k")
        .header("x-amz-tagging", "a=1")
        .body("x")
        .send(&edge)
        .await
        .ok();
    for path in ["/bkt", "/bkt/k"] {
        let put = |pairs: &[(&str, &str)]| Call::put(path).query("tagging", "").body(tagging(pairs));
        put(&[("b", "2"), ("c", "")]).send(&edge).await.ok();
        let got = Call::get(path).query("tagging", "").send(&edge).await.ok();
        assert_eq!(
            (got.elements("Key"), got.elements("Value")),
            (vec!["b".into(), "c".into()], vec!["2".into(), String::new()])
        );
        put(&[("b", "1"), ("b", "2")]).send(&edge).await.is("400 InvalidTag");
        let long = "k".repeat(129);
        put(&[(&long, "")]).send(&edge).await.is("400 InvalidTag");
        assert_eq!(Call::delete(path).query("tagging", "").send(&edge).await.status, 204);
    }
    let many: Vec<(String, &str)> = (0..11).map(|n| (n.to_string(), "")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    Call::put("/bkt/k")
        .query("tagging", "")
        .body(tagging(&many))
        .send(&edge)
        .await
        .is("400 InvalidTag");
    Call::put("/bkt")
        .query("tagging", "")
        .body(tagging(&many))
        .send(&edge)
        .await
        .ok();
    Call::delete("/bkt").query("tagging", "").send(&edge).await.ok();
    Call::get("/bkt")
        .query("tagging", "")
        .send(&edge)
        .await
        .is("404 NoSuchTagSet");
    assert!(
        Call::get("/bkt/k")
            .query("tagging", "")
            .send(&edge)
            .await
            .ok()
            .elements("Tag")
            .is_empty()
    );
    Call::get("/bkt/absent")
        .query("tagging", "")
        .send(&edge)
        .await
        .is("404 NoSuchKey");
    Call::put("/bkt/k")
        .header("x-amz-tagging", "a=1&a=2")
        .send(&edge)
        .await
        .is("400 InvalidArgument");
}

const CORS: &str = "<CORSConfiguration><CORSRule><AllowedOrigin>https://*.test</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>x-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>";

#[tokio::test]
async fn cors_is_kept_and_answered() {
    let edge = Edge::with_bucket().await;
    Call::put("/bkt/k").body("x").send(&edge).await.ok();
    let preflight = |origin: &str, method: &str, headers: &str| {
        let call = Call::options("/bkt/k")
            .header("origin", origin)
            .header("access-control-request-method", method);
        if headers.is_empty() {
            call
        } else {
            call.header("access-control-request-headers", headers)
        }
    };
    Call::get("/bkt")
        .query("cors", "")
        .send(&edge)
        .await
        .is("404 NoSuchCORSConfiguration");
    preflight("https://a.test", "GET", "")
        .send(&edge)
        .await
        .is("403 AccessForbidden");
    Call::put("/bkt").query("cors", "").body(CORS).send(&edge).await.ok();
    assert_eq!(
        Call::get("/bkt")
            .query("cors", "")
            .send(&edge)
            .await
            .ok()
            .element("AllowedOrigin"),
        "https://*.test"
    );
    let allowed = preflight("https://a.test", "GET", "x-one").send(&edge).await.ok();
    assert_eq!(allowed.header("access-control-allow-origin"), "https://a.test");
    assert_eq!(allowed.header("access-control-allow-headers"), "x-one");
    assert_eq!(allowed.header("access-control-max-age"), "60");
    preflight("https://a.test", "PUT", "")
        .send(&edge)
        .await
        .is("403 AccessForbidden");
    preflight("https://a.org", "GET", "")
        .send(&edge)
        .await
        .is("403 AccessForbidden");
    preflight("https://a.test", "GET", "y")
        .send(&edge)
        .await
        .is("403 AccessForbidden");
    Call::options("/bkt/k").send(&edge).await.is("400 BadRequest");
    let got = Call::get("/bkt/k")
        .header("origin", "https://a.test")
        .send(&edge)
        .await
        .ok();
    assert_eq!(got.header("access-control-allow-origin"), "https://a.test");
    assert_eq!(got.header("access-control-expose-headers"), "ETag");
    let refused = Call::get("/bkt/absent")
        .header("origin", "https://a.test")
        .send(&edge)
        .await
        .is("404 NoSuchKey");
    assert_eq!(refused.header("access-control-allow-origin"), "https://a.test");
    let other = Call::get("/bkt/k")
        .header("origin", "https://a.org")
        .send(&edge)
        .await
        .ok();
    assert_eq!(other.header("access-control-allow-origin"), "");
    assert_eq!(Call::delete("/bkt").query("cors", "").send(&edge).await.status, 204);
    let wrong = CORS.replace("GET", "FETCH");
    Call::put("/bkt")
        .query("cors", "")
        .body(wrong)
        .send(&edge)
        .await
        .is("400 InvalidRequest");
    Call::put("/bkt")
        .query("cors", "")
        .body("<CORSConfiguration/>")
        .send(&edge)
        .await
        .is("400 MalformedXML");
}

#[tokio::test]
async fn what_is_not_configured_is_answered_as_aws_does() {
    let edge = Edge::with_bucket().await;
    for (name, error) in [
        ("policy", "404 NoSuchBucketPolicy"),
        ("policyStatus", "404 NoSuchBucketPolicy"),
        ("lifecycle", "404 NoSuchLifecycleConfiguration"),
        ("encryption", "404 ServerSideEncryptionConfigurationNotFoundError"),
        ("publicAccessBlock", "404 NoSuchPublicAccessBlockConfiguration"),
        ("object-lock", "404 ObjectLockConfigurationNotFoundError"),
        ("replication", "404 ReplicationConfigurationNotFoundError"),
        ("website", "404 NoSuchWebsiteConfiguration"),
    ] {
        Call::get("/bkt").query(name, "").send(&edge).await.is(error);
        Call::get("/no-bucket")
            .query(name, "")
            .send(&edge)
            .await
            .is("404 NoSuchBucket");
    }
    for (name, root) in [
        ("accelerate", "AccelerateConfiguration"),
        ("logging", "BucketLoggingStatus"),
        ("notification", "NotificationConfiguration"),
        ("requestPayment", "RequestPaymentConfiguration"),
        ("ownershipControls", "OwnershipControls"),
        ("versioning", "VersioningConfiguration"),
    ] {
        let text = Call::get("/bkt").query(name, "").send(&edge).await.ok().text();
        assert!(text.contains(&format!("<{root}")), "{name}: {text}");
    }
    let acl = Call::get("/bkt").query("acl", "").send(&edge).await.ok();
    assert_eq!(
        (acl.element("Permission").as_str(), acl.element("ID").as_str()),
        ("FULL_CONTROL", "main")
    );
}

#[tokio::test]
async fn con_3_setting_what_does_not_exist_is_refused() {
    let edge = Edge::with_bucket().await;
    Call::put("/bkt/k").body("x").send(&edge).await.ok();
    for name in [
        "policy",
        "lifecycle",
        "encryption",
        "replication",
        "website",
        "logging",
        "notification",
        "abac",
    ] {
        let reply = Call::put("/bkt")
            .query(name, "")
            .body("<X/>")
            .header("content-md5", &crate::multipart::md5_base64(b"<X/>"));
        let reply = reply.send(&edge).await;
        assert!(
            matches!(reply.error().as_str(), "501 NotImplemented" | "400 MalformedXML"),
            "{name}: {}",
            reply.error()
        );
    }
    Call::post("/bkt/k")
        .query("restore", "")
        .body("<RestoreRequest/>")
        .send(&edge)
        .await
        .is("501 NotImplemented");
    Call::get("/bkt/k")
        .query("torrent", "")
        .send(&edge)
        .await
        .is("501 NotImplemented");
    Call::delete("/bkt")
        .query("policyStatus", "")
        .send(&edge)
        .await
        .is("501 NotImplemented");
    for (name, value) in [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-acl", "public-read"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
    ] {
        Call::put("/bkt/new")
            .header(name, value)
            .body("x")
            .send(&edge)
            .await
            .is("501 NotImplemented");
    }
    Call::get("/bkt/new").send(&edge).await.is("404 NoSuchKey");
    let call = |path| Call::put(path).query("acl", "");
    call("/bkt").header("x-amz-acl", "private").send(&edge).await.ok();
    call("/bkt/k").header("x-amz-acl", "private").send(&edge).await.ok();
    call("/bkt/k")
        .header("x-amz-acl", "public-read")
        .send(&edge)
        .await
        .is("501 NotImplemented");
}

#[tokio::test]
async fn the_public_access_block_is_kept() {
    let edge = Edge::with_bucket().await;
    let call = |method: fn(&str) -> Call| method("/bkt").query("publicAccessBlock", "");
    let text = "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><RestrictPublicBuckets>false</RestrictPublicBuckets></PublicAccessBlockConfiguration>";
    call(Call::put).body(text).send(&edge).await.ok();
    let told = call(Call::get).send(&edge).await.ok();
    let setting = |name| told.element(name);
    assert_eq!(
        (setting("BlockPublicAcls"), setting("IgnorePublicAcls")),
        ("true".into(), "false".into())
    );
    assert_eq!(
        (setting("BlockPublicPolicy"), setting("RestrictPublicBuckets")),
        ("false".into(), "false".into())
    );
    call(Call::put)
        .body("<Nonsense/>")
        .send(&edge)
        .await
        .is("400 MalformedXML");
    call(Call::put)
        .by("alt", "alt-secret")
        .body(text)
        .send(&edge)
        .await
        .is("403 AccessDenied");
    assert_eq!(call(Call::delete).send(&edge).await.status, 204);
    call(Call::get)
        .send(&edge)
        .await
        .is("404 NoSuchPublicAccessBlockConfiguration");
}
