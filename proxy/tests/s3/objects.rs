//! Objects: put, get, head, delete.

use crate::kit::{Call, Edge};

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[tokio::test]
async fn what_is_put_is_got_with_all_its_headers() {
    let edge = Edge::with_bucket().await;
    let kept = [
        ("cache-control", "no-cache"),
        ("content-disposition", "attachment; filename=\"a b\""),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("content-type", "text/x-thing; charset=utf-8"),
        ("expires", "whenever it pleases"),
        ("x-amz-meta-one", "1"),
        ("x-amz-meta-two-words", "two words"),
    ];
    let put = kept
        .iter()
        .fold(Call::put("/bkt/k").body("hello"), |call, (name, value)| {
            call.header(name, value)
        });
    let put = put
        .header("x-amz-tagging", "a=b")
        .header("x-amz-storage-class", "STANDARD")
        .send(&edge)
        .await
        .ok();
    assert_eq!(put.header("etag"), "\"5d41402abc4b2a76b9719d911017c592\"");
    assert_eq!(put.header("x-amz-version-id"), "");
    for call in [Call::get("/bkt/k"), Call::head("/bkt/k")] {
        let reply = call.send(&edge).await.ok();
        for (name, value) in kept {
            assert_eq!(reply.header(name), value, "{name}");
        }
        assert_eq!(
            (reply.header("content-length"), reply.header("accept-ranges")),
            ("5", "bytes")
        );
        assert_eq!(reply.header("x-amz-tagging-count"), "1");
        assert_eq!(reply.header("etag"), "\"5d41402abc4b2a76b9719d911017c592\"");
        assert!(reply.header("last-modified").ends_with(" GMT"));
    }
    assert_eq!(Call::get("/bkt/k").send(&edge).await.text(), "hello");
    assert_eq!(Call::head("/bkt/k").send(&edge).await.text(), "");
    Call::put("/bkt/plain").send(&edge).await.ok();
    let plain = Call::get("/bkt/plain").send(&edge).await.ok();
    assert_eq!(
        (plain.header("content-type"), plain.header("content-length")),
        ("binary/octet-stream", "0")
    );
}

#[tokio::test]
async fn large_objects_come_back_whole_and_in_ranges() {
    let edge = Edge::with_bucket().await;
    let bytes = pattern(300_000);
    Call::put("/bkt/k").body(&bytes).send(&edge).await.ok();
    assert_eq!(Call::get("/bkt/k").send(&edge).await.ok().body, bytes);
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=65530-65545", 65_530..65_546),
        ("bytes=299999-", 299_999..300_000),
        ("bytes=-5", 299_995..300_000),
        ("bytes=100-999999999", 100..300_000),
        ("bytes=-999999999", 0..300_000),
    ] {
        let reply = Call::get("/bkt/k").header("range", range).send(&edge).await.ok();
        assert_eq!(reply.status, 206);
        assert_eq!(
            reply.header("content-range"),
            format!("bytes {}-{}/300000", expected.start, expected.end - 1)
        );
        assert_eq!(reply.body, bytes[expected]);
    }
    for ignored in ["bytes=0-1,5-6", "bytes=5-1", "lines=0-1", "nonsense"] {
        let reply = Call::get("/bkt/k").header("range", ignored).send(&edge).await.ok();
        assert_eq!((reply.status, reply.body.len()), (200, 300_000), "{ignored}");
    }
    for beyond in ["bytes=300000-", "bytes=400000-400001", "bytes=-0"] {
        let reply = Call::get("/bkt/k")
            .header("range", beyond)
            .send(&edge)
            .await
            .is("416 InvalidRange");
        assert_eq!(reply.header("content-range"), "bytes */300000");
    }
    let head = Call::head("/bkt/k").header("range", "bytes=1-2").send(&edge).await.ok();
    assert_eq!((head.status, head.header("content-length")), (206, "2"));
}

#[tokio::test]
async fn key_1_keys_are_flat_bytes() {
    let edge = Edge::with_bucket().await;
    let longest = "k".repeat(1024);
    let keys = [
        "a",
        "a/",
        "a/b",
        "a//b",
        "//",
        ".",
        "..",
        "a/../b",
        "%",
        "%25",
        "a b+c",
        "ü\u{1F600}",
        "new\nline",
        "?x=1",
        "&lt;",
        "\u{1}",
        &longest,
    ];
    for key in keys {
        let path = format!("/bkt/{}", crate::sign::encode(key, true));
        Call::put(&path).body(key).send(&edge).await.ok();
    }
    for key in keys {
        let path = format!("/bkt/{}", crate::sign::encode(key, true));
        assert_eq!(Call::get(&path).send(&edge).await.ok().text(), key);
    }
    let listed = Call::get("/bkt")
        .query("encoding-type", "url")
        .send(&edge)
        .await
        .ok()
        .elements("Key");
    assert_eq!(listed.len(), keys.len());
    Call::put(&format!("/bkt/{}", "k".repeat(1025)))
        .send(&edge)
        .await
        .is("400 KeyTooLongError");
    Call::put("/bkt/%ff%fe").send(&edge).await.is("400 InvalidURI");
}

#[tokio::test]
async fn deletes_are_idempotent_and_many_at_once() {
    let edge = Edge::with_bucket().await;
    for key in ["a", "b", "c"] {
        Call::put(&format!("/bkt/{key}")).body(key).send(&edge).await.ok();
    }
    assert_eq!(Call::delete("/bkt/a").send(&edge).await.status, 204);
    assert_eq!(Call::delete("/bkt/a").send(&edge).await.status, 204);
    let many = |quiet: &str, keys: &[&str]| {
        let objects: String = keys
            .iter()
            .map(|key| format!("<Object><Key>{key}</Key></Object>"))
            .collect();
        let text = format!("<Delete>{quiet}{objects}</Delete>");
        let digest = crate::multipart::md5_base64(text.as_bytes());
        Call::post("/bkt")
            .query("delete", "")
            .header("content-md5", &digest)
            .body(text)
    };
    let reply = many("", &["b", "absent", &"k".repeat(1025)]).send(&edge).await.ok();
    assert_eq!(reply.elements("Deleted"), ["<Key>b</Key>", "<Key>absent</Key>"]);
    assert_eq!(reply.elements("Code"), ["KeyTooLongError"]);
    let reply = many("<Quiet>true</Quiet>", &["c"]).send(&edge).await.ok();
    assert!(reply.elements("Deleted").is_empty());
    Call::get("/bkt/c").send(&edge).await.is("404 NoSuchKey");
}

#[tokio::test]
async fn answers_may_be_overridden_by_whoever_signs() {
    let edge = Edge::with_bucket().await;
    Call::put("/bkt/k")
        .header("content-type", "a/b")
        .body("x")
        .send(&edge)
        .await
        .ok();
    let pairs = [
        ("response-content-type", "content-type", "foo/bar"),
        ("response-content-disposition", "content-disposition", "bla"),
        ("response-content-language", "content-language", "esperanto"),
        ("response-content-encoding", "content-encoding", "aaa"),
        ("response-expires", "expires", "123"),
        ("response-cache-control", "cache-control", "no-cache"),
    ];
    for call in [Call::get("/bkt/k"), Call::head("/bkt/k")] {
        let reply = pairs
            .iter()
            .fold(call, |call, (name, _, value)| call.query(name, value))
            .send(&edge)
            .await
            .ok();
        for (_, header, value) in pairs {
            assert_eq!(reply.header(header), value);
        }
    }
}

#[tokio::test]
async fn metadata_has_a_limit() {
    let edge = Edge::with_bucket().await;
    Call::put("/bkt/k")
        .header("x-amz-meta-a", &"v".repeat(2047))
        .send(&edge)
        .await
        .ok();
    Call::put("/bkt/k")
        .header("x-amz-meta-a", &"v".repeat(2048))
        .send(&edge)
        .await
        .is("400 MetadataTooLarge");
}

#[tokio::test]
async fn what_is_not_there_is_told_by_its_kind() {
    let edge = Edge::with_bucket().await;
    Call::get("/bkt/k").send(&edge).await.is("404 NoSuchKey");
    Call::get("/other-bucket/k").send(&edge).await.is("404 NoSuchBucket");
    Call::put("/other-bucket/k")
        .body("x")
        .send(&edge)
        .await
        .is("404 NoSuchBucket");
    Call::delete("/other-bucket/k").send(&edge).await.is("404 NoSuchBucket");
    let head = Call::head("/bkt/k").send(&edge).await;
    assert_eq!((head.status, head.body.len()), (404, 0));
    Call::get("/bkt/k")
        .query("versionId", "0000000000000001")
        .send(&edge)
        .await
        .is("404 NoSuchVersion");
}
