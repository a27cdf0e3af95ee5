//! Conditional requests.

use crate::kit::{Call, Edge};

const ETAG: &str = "\"5d41402abc4b2a76b9719d911017c592\"";
const OTHER: &str = "\"00000000000000000000000000000000\"";

async fn with_object() -> Edge {
    let edge = Edge::with_bucket().await;
    Call::put("/bkt/k").body("hello").send(&edge).await.ok();
    edge
}

#[tokio::test]
async fn reads_are_conditional_and_304_tells_the_tag() {
    let edge = with_object().await;
    let far = "Sat, 29 Oct 2044 19:43:31 GMT";
    let past = "Sat, 29 Oct 1994 19:43:31 GMT";
    for call in [Call::get("/bkt/k"), Call::head("/bkt/k")] {
        let with = |name: &str, value: &str| call.clone().header(name, value);
        for (name, value, status) in [
            ("if-match", ETAG, 200),
            ("if-match", OTHER, 412),
            ("if-none-match", ETAG, 304),
            ("if-none-match", OTHER, 200),
            ("if-modified-since", past, 200),
            ("if-modified-since", far, 304),
            ("if-unmodified-since", past, 412),
            ("if-unmodified-since", far, 200),
            ("if-modified-since", "nonsense", 200),
        ] {
            let reply = with(name, value).send(&edge).await;
            assert_eq!(reply.status, status, "{name}: {value}");
            if status == 304 {
                assert_eq!((reply.header("etag"), reply.body.len()), (ETAG, 0));
                assert!(!reply.header("last-modified").is_empty());
            }
        }
        let both = with("if-match", ETAG)
            .header("if-unmodified-since", past)
            .send(&edge)
            .await;
        assert_eq!(both.status, 200);
    }
}

#[tokio::test]
async fn con_1_writes_are_conditional() {
    let edge = with_object().await;
    let put = |key: &str, name: &str, value: &str| Call::put(&format!("/bkt/{key}")).header(name, value).body("new");
    put("k", "if-none-match", "*")
        .send(&edge)
        .await
        .is("412 PreconditionFailed");
    put("k", "if-match", OTHER)
        .send(&edge)
        .await
        .is("412 PreconditionFailed");
    put("absent", "if-match", ETAG).send(&edge).await.is("404 NoSuchKey");
    put("absent", "if-match", "*").send(&edge).await.is("404 NoSuchKey");
    Call::get("/bkt/absent").send(&edge).await.is("404 NoSuchKey");
    assert_eq!(Call::get("/bkt/k").send(&edge).await.ok().text(), "hello");
    put("fresh", "if-none-match", "*").send(&edge).await.ok();
    put("k", "if-match", ETAG).send(&edge).await.ok();
    assert_eq!(Call::get("/bkt/k").send(&edge).await.ok().text(), "new");
}

#[tokio::test]
async fn con_1_deletes_are_conditional() {
    let edge = with_object().await;
    Call::delete("/bkt/k")
        .header("if-match", OTHER)
        .send(&edge)
        .await
        .is("412 PreconditionFailed");
    Call::delete("/bkt/absent")
        .header("if-match", ETAG)
        .send(&edge)
        .await
        .is("404 NoSuchKey");
    let text = format!(
        "<Delete><Object><Key>k</Key><ETag>{OTHER}</ETag></Object><Object><Key>absent</Key><ETag>{ETAG}</ETag></Object></Delete>"
    );
    let digest = crate::multipart::md5_base64(text.as_bytes());
    let reply = Call::post("/bkt")
        .query("delete", "")
        .header("content-md5", &digest)
        .body(text)
        .send(&edge)
        .await
        .ok();
    assert_eq!(reply.elements("Code"), ["PreconditionFailed", "NoSuchKey"]);
    assert_eq!(
        Call::delete("/bkt/k").header("if-match", ETAG).send(&edge).await.status,
        204
    );
    Call::get("/bkt/k").send(&edge).await.is("404 NoSuchKey");
}

#[tokio::test]
async fn con_3_conditions_without_an_implementation_are_refused() {
    let edge = with_object().await;
    let past = "Sat, 29 Oct 1994 19:43:31 GMT";
    Call::put("/bkt/k")
        .header("if-unmodified-since", past)
        .send(&edge)
        .await
        .is("501 NotImplemented");
    Call::put("/bkt/k")
        .header("if-match", ETAG)
        .header("if-none-match", "*")
        .send(&edge)
        .await
        .is("501 NotImplemented");
    Call::delete("/bkt/k")
        .header("if-none-match", "*")
        .send(&edge)
        .await
        .is("501 NotImplemented");
    Call::delete("/bkt/k")
        .header("x-amz-if-match-size", "5")
        .send(&edge)
        .await
        .is("501 NotImplemented");
    assert_eq!(Call::get("/bkt/k").send(&edge).await.ok().text(), "hello");
}

#[tokio::test]
async fn con_1_one_of_many_creates_wins() {
    let edge = Edge::with_bucket().await;
    let edge = std::sync::Arc::new(edge);
    let racers: Vec<_> = (0..20)
        .map(|n| {
            let edge = edge.clone();
            tokio::spawn(async move {
                let call = Call::put("/bkt/k")
                    .header("if-none-match", "*")
                    .body(format!("racer {n}"));
                (n, call.send(&edge).await.status)
            })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        match racer.await.expect("no panic") {
            (n, 200) => winners.push(n),
            (_, status) => assert_eq!(status, 412),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(
        Call::get("/bkt/k").send(&edge).await.ok().text(),
        format!("racer {}", winners[0])
    );
}
