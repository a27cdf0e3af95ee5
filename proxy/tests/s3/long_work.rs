//! Copies and Completes that take long: the answer begins, spaces keep the connection alive, the document ends it.

use std::time::Duration;

use proxy::s3::S3Options;

use crate::kit::{Call, Edge, Reply, Setup};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
/// How long every metadata round takes.
const ROUND: Duration = Duration::from_millis(400);

/// An edge that begins to answer early, with the object `/bkt/k`.
async fn impatient() -> Edge {
    let options = S3Options {
        keepalive_after: Duration::from_millis(50),
        keepalive_every: Duration::from_millis(20),
        ..S3Options::default()
    };
    let edge = Edge::start_with(Setup {
        options,
        ..Setup::default()
    })
    .await;
    Call::put("/bkt").send(&edge).await.ok();
    Call::put("/bkt/k").body("hello").send(&edge).await.ok();
    edge
}

#[track_caller]
fn was_bridged(reply: &Reply) {
    let text = reply.text();
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, "application/xml"),
        "{text}"
    );
    assert!(text.starts_with(&format!("{DECLARATION} ")), "{text}");
    assert_eq!(text.matches("<?xml").count(), 1, "one document: {text}");
    assert!(!reply.header("x-amz-request-id").is_empty());
}

fn copy() -> Call {
    Call::put("/bkt/copied").header("x-amz-copy-source", "/bkt/k")
}

#[tokio::test]
async fn a_long_copy_is_bridged_by_spaces() {
    let edge = impatient().await;
    edge.cluster.metadata.set_delay(ROUND);
    let reply = copy().send(&edge).await;
    was_bridged(&reply);
    assert_eq!(reply.element("ETag"), "\"5d41402abc4b2a76b9719d911017c592\"");
    edge.cluster.metadata.set_delay(Duration::ZERO);
    assert_eq!(Call::get("/bkt/copied").send(&edge).await.ok().text(), "hello");
    let quick = copy().send(&edge).await.ok();
    assert!(
        !quick.text().contains("?> "),
        "quick work is not bridged: {}",
        quick.text()
    );
}

#[tokio::test]
async fn a_long_copy_that_fails_tells_so_inside_its_200() {
    let edge = impatient().await;
    copy().send(&edge).await.ok();
    edge.cluster.metadata.set_delay(ROUND);
    let reply = copy().header("if-none-match", "*").send(&edge).await;
    was_bridged(&reply);
    assert_eq!(reply.element("Code"), "PreconditionFailed");
    assert_eq!(reply.element("RequestId"), reply.header("x-amz-request-id"));
}

#[tokio::test]
async fn a_long_complete_is_bridged_by_spaces() {
    let edge = impatient().await;
    let upload = Call::post("/bkt/m").query("uploads", "").send(&edge).await.ok();
    let id = upload.element("UploadId");
    let part = Call::put("/bkt/m").query("partNumber", "1").query("uploadId", &id);
    let part = part.body("part").send(&edge).await.ok();
    let complete = |etag: &str| {
        let text = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
        );
        Call::post("/bkt/m").query("uploadId", &id).body(text)
    };
    edge.cluster.metadata.set_delay(ROUND);
    let wrong = complete("\"00000000000000000000000000000000\"").send(&edge).await;
    was_bridged(&wrong);
    assert_eq!(wrong.element("Code"), "InvalidPart");
    let done = complete(part.header("etag")).send(&edge).await;
    was_bridged(&done);
    assert_eq!(
        (done.element("Bucket"), done.element("Key")),
        ("bkt".to_owned(), "m".to_owned())
    );
    edge.cluster.metadata.set_delay(Duration::ZERO);
    assert_eq!(Call::get("/bkt/m").send(&edge).await.ok().text(), "part");
}
