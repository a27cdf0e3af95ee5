//! Large objects: static and dynamic ones, their ranges, copies and deletions.

use crate::kit::{Edge, call, delete, get, head, put};

async fn segments(edge: &Edge) {
    put("/s").send(edge).await.is(201);
    for (name, byte) in [("a", b'a'), ("b", b'b'), ("d", b'd')] {
        put(&format!("/s/seg-{name}"))
            .body(vec![byte; 100_000])
            .send(edge)
            .await
            .is(201);
    }
}

const MANIFEST: &str = r#"[{"path":"/s/seg-a"},{"path":"/s/seg-b","range":"10-19"},{"data":"eHl6"},{"path":"/s/seg-d","size_bytes":100000}]"#;

fn content() -> Vec<u8> {
    [
        vec![b'a'; 100_000],
        vec![b'b'; 10],
        b"xyz".to_vec(),
        vec![b'd'; 100_000],
    ]
    .concat()
}

#[tokio::test]
async fn a_static_large_object_is_one_object() {
    let edge = Edge::with_container().await;
    segments(&edge).await;
    let made = put("/c/m?multipart-manifest=put")
        .header("content-type", "t/x")
        .body(MANIFEST)
        .send(&edge)
        .await
        .is(201);
    let got = get("/c/m").send(&edge).await.is(200);
    assert!(got.body == content());
    assert_eq!(got.header("etag"), made.header("etag"));
    assert_eq!(
        (got.header("x-static-large-object"), got.header("content-type")),
        ("True", "t/x")
    );
    assert_eq!(
        head("/c/m").send(&edge).await.is(200).header("content-length"),
        "200013"
    );
    let part = get("/c/m")
        .header("range", "bytes=99998-100014")
        .send(&edge)
        .await
        .is(206);
    assert_eq!(part.text(), "aabbbbbbbbbbxyzdd");
    let many = get("/c/m").header("range", "bytes=0-1,-2").send(&edge).await.is(206);
    assert!(many.text().contains("\r\n\r\naa\r\n") && many.text().contains("\r\n\r\ndd\r\n"));
    let shown = get("/c/m?multipart-manifest=get").send(&edge).await.is(200).json();
    assert_eq!(shown[0]["name"], "/s/seg-a");
    assert_eq!(shown[1]["range"], "10-19");
    let raw = get("/c/m?multipart-manifest=get&format=raw").send(&edge).await.is(200);
    put("/c/again?multipart-manifest=put")
        .body(&raw.body)
        .send(&edge)
        .await
        .is(201);
    assert!(get("/c/again").send(&edge).await.is(200).body == content());
    let listed = get("/c?format=json&prefix=m").send(&edge).await.is(200).json();
    assert_eq!(listed[0]["bytes"], 200_013);
    assert_eq!(listed[0]["slo_etag"], made.header("etag"));
}

#[tokio::test]
async fn manifests_nest_and_are_copied_whole_or_as_they_are() {
    let edge = Edge::with_container().await;
    segments(&edge).await;
    put("/c/m?multipart-manifest=put")
        .body(MANIFEST)
        .send(&edge)
        .await
        .is(201);
    put("/c/outer?multipart-manifest=put")
        .body(r#"[{"path":"/s/seg-b"},{"path":"/c/m"},{"path":"/c/m","range":"-2"}]"#)
        .send(&edge)
        .await
        .is(201);
    let expected = [vec![b'b'; 100_000], content(), b"dd".to_vec()].concat();
    assert!(get("/c/outer").send(&edge).await.is(200).body == expected);
    call("COPY", "/c/outer")
        .header("destination", "c/plain")
        .send(&edge)
        .await
        .is(201);
    let plain = get("/c/plain").send(&edge).await.is(200);
    assert!(plain.body == expected && plain.header("x-static-large-object").is_empty());
    call("COPY", "/c/m?multipart-manifest=get")
        .header("destination", "c/m2")
        .send(&edge)
        .await
        .is(201);
    assert_eq!(
        get("/c/m2").send(&edge).await.is(200).header("x-static-large-object"),
        "True"
    );
}

#[tokio::test]
async fn a_segment_that_changed_or_went_is_a_conflict() {
    let edge = Edge::with_container().await;
    segments(&edge).await;
    put("/c/m?multipart-manifest=put")
        .body(MANIFEST)
        .send(&edge)
        .await
        .is(201);
    put("/s/seg-d").body("other").send(&edge).await.is(201);
    let cut = get("/c/m").send(&edge).await;
    assert!(
        cut.status == 200 && cut.body.len() < 200_013,
        "a body is cut, never continued with other bytes"
    );
    get("/c/m").header("range", "bytes=-5").send(&edge).await.is(409);
    delete("/s/seg-a").send(&edge).await.is(204);
    get("/c/m").send(&edge).await.is(409);
    head("/c/m").send(&edge).await.is(200);
}

#[tokio::test]
async fn deleting_a_manifest_may_delete_its_segments() {
    let edge = Edge::with_container().await;
    segments(&edge).await;
    put("/c/m?multipart-manifest=put")
        .body(MANIFEST)
        .send(&edge)
        .await
        .is(201);
    put("/c/other?multipart-manifest=put")
        .body(MANIFEST)
        .send(&edge)
        .await
        .is(201);
    delete("/c/other").send(&edge).await.is(204);
    assert_eq!(get("/s").send(&edge).await.is(200).lines().len(), 3);
    let report = delete("/c/m?multipart-manifest=delete")
        .header("accept", "application/json")
        .send(&edge)
        .await
        .is(200)
        .json();
    assert_eq!(report["Number Deleted"], 4);
    assert_eq!(report["Response Status"], "200 OK");
    get("/s").send(&edge).await.is(204);
    get("/c").send(&edge).await.is(204);
}

#[tokio::test]
async fn a_dynamic_large_object_is_what_lies_below_its_prefix() {
    let edge = Edge::with_container().await;
    segments(&edge).await;
    put("/c/d")
        .header("x-object-manifest", "s/seg-")
        .body("")
        .send(&edge)
        .await
        .is(201);
    let got = get("/c/d").send(&edge).await.is(200);
    assert_eq!(got.body.len(), 300_000);
    assert_eq!(
        (got.header("x-object-manifest"), got.header("content-length")),
        ("s/seg-", "300000")
    );
    assert_eq!(
        get("/c/d")
            .header("range", "bytes=99999-100000")
            .send(&edge)
            .await
            .is(206)
            .text(),
        "ab"
    );
    assert_eq!(get("/c/d?multipart-manifest=get").send(&edge).await.is(200).text(), "");
    put("/s/seg-c").body("c").send(&edge).await.is(201);
    assert_eq!(
        head("/c/d").send(&edge).await.is(200).header("content-length"),
        "300001"
    );
}

#[tokio::test]
async fn many_are_deleted_at_once() {
    let edge = Edge::with_container().await;
    for name in ["a", "b", "x%20y"] {
        put(&format!("/c/{name}")).body("x").send(&edge).await.is(201);
    }
    let names = "c/a\nc/x%20y\n/c/none\nc/b\nc\n";
    let report = call("POST", "?bulk-delete")
        .header("accept", "application/json")
        .body(names)
        .send(&edge)
        .await
        .is(200)
        .json();
    assert_eq!(
        (&report["Number Deleted"], &report["Number Not Found"]),
        (&4.into(), &1.into())
    );
    head("/c").send(&edge).await.is(404);
    let report = call("POST", "?bulk-delete").body("").send(&edge).await.is(200);
    assert!(
        report.text().contains("Response Status: 400 Bad Request"),
        "{}",
        report.text()
    );
}
