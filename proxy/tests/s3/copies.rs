//! CopyObject and UploadPartCopy.

use crate::kit::{Call, Edge};

async fn with_object() -> Edge {
    let edge = Edge::with_bucket().await;
    let put = Call::put("/bkt/k")
        .header("x-amz-meta-a", "b")
        .header("content-type", "x/y")
        .header("x-amz-tagging", "t=1");
    put.body("hello").send(&edge).await.ok();
    edge
}

fn copy(to: &str, from: &str) -> Call {
    Call::put(to).header("x-amz-copy-source", from)
}

#[tokio::test]
async fn a_copy_has_the_bytes_and_what_the_directives_say() {
    let edge = with_object().await;
    Call::put("/other-bucket").send(&edge).await.ok();
    let done = copy("/other-bucket/c", "/bkt/k").send(&edge).await.ok();
    assert!(
        done.element("ETag").contains("5d41402abc4b2a76b9719d911017c592"),
        "{}",
        done.text()
    );
    assert!(!done.element("LastModified").is_empty());
    let got = Call::get("/other-bucket/c").send(&edge).await.ok();
    assert_eq!(
        (
            got.text().as_str(),
            got.header("x-amz-meta-a"),
            got.header("content-type")
        ),
        ("hello", "b", "x/y")
    );
    assert_eq!(got.header("x-amz-tagging-count"), "1");
    let replaced = copy("/bkt/c", "bkt/k")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("x-amz-meta-n", "1");
    replaced
        .header("x-amz-tagging-directive", "REPLACE")
        .send(&edge)
        .await
        .ok();
    let got = Call::get("/bkt/c").send(&edge).await.ok();
    assert_eq!((got.header("x-amz-meta-a"), got.header("x-amz-meta-n")), ("", "1"));
    assert_eq!(
        (got.header("content-type"), got.header("x-amz-tagging-count")),
        ("binary/octet-stream", "")
    );
    copy("/bkt/c", "bkt/k")
        .header("x-amz-metadata-directive", "MAYBE")
        .send(&edge)
        .await
        .is("400 InvalidArgument");
}

#[tokio::test]
async fn a_copy_onto_itself_must_change_something() {
    let edge = with_object().await;
    copy("/bkt/k", "bkt/k").send(&edge).await.is("400 InvalidRequest");
    let call = copy("/bkt/k", "bkt/k")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("x-amz-meta-a", "c");
    call.send(&edge).await.ok();
    let got = Call::get("/bkt/k").send(&edge).await.ok();
    assert_eq!((got.text().as_str(), got.header("x-amz-meta-a")), ("hello", "c"));
}

#[tokio::test]
async fn sources_are_conditional_and_must_exist() {
    let edge = with_object().await;
    let etag = "\"5d41402abc4b2a76b9719d911017c592\"";
    for (name, value, ok) in [
        ("x-amz-copy-source-if-match", etag, true),
        ("x-amz-copy-source-if-match", "\"x\"", false),
        ("x-amz-copy-source-if-none-match", etag, false),
        ("x-amz-copy-source-if-none-match", "\"x\"", true),
        (
            "x-amz-copy-source-if-modified-since",
            "Sat, 29 Oct 2044 19:43:31 GMT",
            false,
        ),
        (
            "x-amz-copy-source-if-unmodified-since",
            "Sat, 29 Oct 1994 19:43:31 GMT",
            false,
        ),
    ] {
        let reply = copy("/bkt/c", "bkt/k").header(name, value).send(&edge).await;
        assert_eq!(
            reply.error(),
            if ok { "200" } else { "412 PreconditionFailed" },
            "{name}: {value}"
        );
    }
    copy("/bkt/c", "bkt/k")
        .header("if-none-match", "*")
        .send(&edge)
        .await
        .is("412 PreconditionFailed");
    copy("/bkt/d", "bkt/k")
        .header("if-none-match", "*")
        .send(&edge)
        .await
        .ok();
    copy("/bkt/c", "bkt/absent").send(&edge).await.is("404 NoSuchKey");
    copy("/bkt/c", "no-bucket/k").send(&edge).await.is("404 NoSuchBucket");
    copy("/bkt/c", "bkt").send(&edge).await.is("400 InvalidArgument");
    copy("/bkt/c", "bkt/k?versionId=nonsense")
        .send(&edge)
        .await
        .is("400 InvalidArgument");
    let other = copy("/bkt/c", "bkt/k").header("x-amz-source-expected-bucket-owner", "somebody");
    other.send(&edge).await.is("403 AccessDenied");
}

#[tokio::test]
async fn an_old_version_may_be_copied_but_no_marker() {
    let edge = Edge::versioned().await;
    let one = Call::put("/bkt/k")
        .body("one")
        .send(&edge)
        .await
        .ok()
        .header("x-amz-version-id")
        .to_owned();
    Call::put("/bkt/k").body("two").send(&edge).await.ok();
    let done = copy("/bkt/c", &format!("bkt/k?versionId={one}")).send(&edge).await.ok();
    assert_eq!(done.header("x-amz-copy-source-version-id"), one);
    assert!(!done.header("x-amz-version-id").is_empty());
    assert_eq!(Call::get("/bkt/c").send(&edge).await.ok().text(), "one");
    copy("/bkt/k", &format!("bkt/k?versionId={one}")).send(&edge).await.ok();
    assert_eq!(
        Call::get("/bkt/k").send(&edge).await.ok().text(),
        "one",
        "a version is restored onto its own key"
    );
    let marker = Call::delete("/bkt/k")
        .send(&edge)
        .await
        .ok()
        .header("x-amz-version-id")
        .to_owned();
    copy("/bkt/c", "bkt/k").send(&edge).await.is("404 NoSuchKey");
    copy("/bkt/c", &format!("bkt/k?versionId={marker}"))
        .send(&edge)
        .await
        .is("400 InvalidRequest");
}

#[tokio::test]
async fn a_new_checksum_may_be_asked_for() {
    let edge = with_object().await;
    let done = copy("/bkt/c", "bkt/k")
        .header("x-amz-checksum-algorithm", "SHA256")
        .send(&edge)
        .await
        .ok();
    assert_eq!(
        done.element("ChecksumSHA256"),
        "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="
    );
    copy("/bkt/c", "bkt/k")
        .header("x-amz-checksum-algorithm", "ROT13")
        .send(&edge)
        .await
        .is("400 InvalidRequest");
}

#[tokio::test]
async fn parts_may_be_copied() {
    let edge = with_object().await;
    let id = Call::post("/bkt/m")
        .query("uploads", "")
        .send(&edge)
        .await
        .ok()
        .element("UploadId");
    let part = |from: &str, range: &str| {
        copy("/bkt/m", from)
            .query("partNumber", "1")
            .query("uploadId", &id)
            .header("x-amz-copy-source-range", range)
    };
    let done = part("bkt/k", "bytes=1-3").send(&edge).await.ok();
    let etag = done.element("ETag");
    for wrong in ["bytes=1-", "1-3", "bytes=3-1", "bytes=0-5", "bytes=-3"] {
        part("bkt/k", wrong).send(&edge).await.is("400 InvalidArgument");
    }
    part("bkt/absent", "bytes=0-1").send(&edge).await.is("404 NoSuchKey");
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    Call::post("/bkt/m")
        .query("uploadId", &id)
        .body(document)
        .send(&edge)
        .await
        .ok();
    assert_eq!(Call::get("/bkt/m").send(&edge).await.ok().text(), "ell");
}
