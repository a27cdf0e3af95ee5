//! Bad input: the status Swift gives, no panic, nothing stored.

use std::time::Duration;

use proxy::swift::SwiftOptions;

use crate::kit::{Edge, call, get, head, post, put};

#[tokio::test]
async fn paths() {
    let edge = Edge::with_container().await;
    for (target, status) in [
        ("/", 412),
        ("/v1", 404),
        ("/v1/", 404),
        ("/v2/AUTH_p", 400),
        ("/v1/AUTH_p//o", 404),
        ("/v1/AUTH_p/c/%ff", 412),
        ("/v1/AUTH_p/c/a%00b", 412),
        ("/v1/AUTH_p/c/%zz", 404),
        ("/v1/AUTH_p/%2f/x", 404),
    ] {
        get("").target(target).send(&edge).await.is(status);
    }
    let answer = edge.raw(b"GET nonsense\r\n\r\n").await;
    assert!(answer.status == 400 || answer.status == 0);
}

#[tokio::test]
async fn metadata_beyond_its_limits() {
    let edge = Edge::with_container().await;
    let name = |length: usize| format!("x-object-meta-{}", "n".repeat(length));
    put("/c/o").header(&name(128), "v").body("x").send(&edge).await.is(201);
    put("/c/p").header(&name(129), "v").body("x").send(&edge).await.is(400);
    put("/c/p")
        .header("x-object-meta-a", &"v".repeat(257))
        .body("x")
        .send(&edge)
        .await
        .is(400);
    put("/c/p")
        .header("x-object-meta-", "v")
        .body("x")
        .send(&edge)
        .await
        .is(400);
    let mut many = put("/c/p").body("x");
    for at in 0..91 {
        many = many.header(&format!("x-object-meta-{at}"), "v");
    }
    many.send(&edge).await.is(400);
    let mut large = put("/c/p").body("x");
    for at in 0..20 {
        large = large.header(&format!("x-object-meta-{at}"), &"v".repeat(250));
    }
    large.send(&edge).await.is(400);
    head("/c/p").send(&edge).await.is(404);
    // What is there counts with what is added.
    for at in 0..9 {
        let mut some = post("/c");
        for item in 0..10 {
            some = some.header(&format!("x-container-meta-{at}-{item}"), "v");
        }
        some.send(&edge).await.is(204);
    }
    post("/c")
        .header("x-container-meta-one-more", "v")
        .send(&edge)
        .await
        .is(400);
    post("/c").header("x-container-meta-0-0", "w").send(&edge).await.is(204);
}

#[tokio::test]
async fn bodies_that_break_off_or_have_no_end() {
    let impatient = SwiftOptions {
        body_idle: Duration::from_millis(200),
        ..SwiftOptions::default()
    };
    let edge = Edge::start_with(impatient).await;
    put("/c").send(&edge).await.is(201);
    call("PUT", "/c/o").send(&edge).await.is(411);
    let chunked = |body: &str| put("/c/o").header("transfer-encoding", "chunked").body(body);
    for broken in ["5\r\nab", "zz\r\nab\r\n0\r\n\r\n", "2\r\nabX", "ffffffffffffffffff\r\n"] {
        // A client that goes away may see no answer at all.
        let status = chunked(broken).send(&edge).await.status;
        assert!(matches!(status, 0 | 400 | 408 | 499), "{broken:?}: {status}");
    }
    let short = put("/c/o")
        .header("content-length", "100")
        .body("ab")
        .send(&edge)
        .await
        .status;
    assert_eq!(short, 408, "the client stays and is silent");
    put("/c/o")
        .header("transfer-encoding", "gzip")
        .body("x")
        .send(&edge)
        .await;
    put("/c/o")
        .header("content-length", "6000000000")
        .body("x")
        .send(&edge)
        .await
        .is(413);
    head("/c/o").send(&edge).await.is(404);
    chunked("2\r\nab\r\n0\r\n\r\n").send(&edge).await.is(201);
    assert_eq!(get("/c/o").send(&edge).await.text(), "ab");
}

#[tokio::test]
async fn manifests_that_lead_nowhere_or_in_circles() {
    let edge = Edge::with_container().await;
    let manifest = |body: &str| put("/c/m?multipart-manifest=put").body(body);
    for bad in [
        "",
        "{}",
        "[]",
        "nonsense",
        r#"[{"path":"/c/none"}]"#,
        r#"[{"path":"c"}]"#,
        r#"[{"path":"/c/o","size_bytes":"x"}]"#,
    ] {
        manifest(bad).send(&edge).await.is(400);
    }
    put("/c/o").body("bytes").send(&edge).await.is(201);
    manifest(r#"[{"path":"/c/o","size_bytes":4}]"#)
        .send(&edge)
        .await
        .is(400);
    manifest(r#"[{"path":"/c/o","etag":"0123456789abcdef0123456789abcdef"}]"#)
        .send(&edge)
        .await
        .is(400);
    manifest(r#"[{"path":"/c/o","range":"9-12"}]"#)
        .send(&edge)
        .await
        .is(400);
    head("/c/m").send(&edge).await.is(404);
    manifest(r#"[{"path":"/c/m"},{"path":"/c/o"}]"#)
        .send(&edge)
        .await
        .is(400);
    let other = |name: &str, body: &str| put(&format!("/c/{name}?multipart-manifest=put")).body(body);
    other("first", r#"[{"path":"/c/o"}]"#).send(&edge).await.is(201);
    other("second", r#"[{"path":"/c/first"}]"#).send(&edge).await.is(201);
    // Closing the circle changes the first one, so it is no longer what the second one names.
    other("first", r#"[{"path":"/c/second"}]"#).send(&edge).await.is(201);
    get("/c/first").send(&edge).await.is(409);
    put("/c/d")
        .header("x-object-manifest", "c/d")
        .body("")
        .send(&edge)
        .await
        .is(201);
    let circle = get("/c/d").send(&edge).await.status;
    assert!(matches!(circle, 200 | 409), "{circle}");
}

#[tokio::test]
async fn absurd_headers() {
    let edge = Edge::with_container().await;
    put("/c/o").body("x").send(&edge).await.is(201);
    let accept = format!("text/plain{}", ";a=b".repeat(1500));
    get("/c").header("accept", &accept).send(&edge).await.is(200);
    get("/c").header("accept", &",".repeat(5000)).send(&edge).await.is(200);
    get("/c")
        .header("x-object-meta-long", &"v".repeat(9000))
        .send(&edge)
        .await
        .is(400);
    let ranges = format!("bytes={}", "0-0,".repeat(1000));
    let status = get("/c/o").header("range", &ranges).send(&edge).await.status;
    assert!(matches!(status, 200 | 416), "{status}");
    get("/c?limit=-1").send(&edge).await.is(412);
    get("/c?limit=x").send(&edge).await.is(412);
    get("/c?prefix=%ff").send(&edge).await.is(400);
    post("/c")
        .header("x-container-sync-to", "//realm/cluster/a/c")
        .send(&edge)
        .await
        .is(400);
    put("/d")
        .header("x-storage-policy", "unknown")
        .send(&edge)
        .await
        .is(400);
}
