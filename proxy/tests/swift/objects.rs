//! Objects: bytes, metadata, ranges, conditions, copies, versions, ends.

use crate::kit::{Edge, call, delete, get, head, post, put};

#[tokio::test]
async fn an_object_comes_back_as_it_was_put() {
    let edge = Edge::with_container().await;
    let large: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    for (name, body) in [("small", b"hello".to_vec()), ("empty", Vec::new()), ("large", large)] {
        let path = format!("/c/{name}");
        let made = put(&path)
            .header("x-object-meta-color", "blue")
            .header("content-type", "text/x")
            .body(&body)
            .send(&edge)
            .await
            .is(201);
        assert!(!made.header("etag").is_empty() && !made.header("last-modified").is_empty());
        let got = get(&path).send(&edge).await.is(200);
        assert!(got.body == body, "{name}");
        assert_eq!(got.header("etag"), made.header("etag"));
        assert_eq!(got.header("content-type"), "text/x");
        assert_eq!(got.header("x-object-meta-color"), "blue");
        let told = head(&path).send(&edge).await.is(200);
        assert_eq!(told.header("content-length"), body.len().to_string());
    }
    get("/c/none").send(&edge).await.is(404);
    get("/none/o").send(&edge).await.is(404);
    put("/none/o").body("x").send(&edge).await.is(404);
    assert_eq!(head("/c/small").send(&edge).await.header("x-timestamp").len(), 16);
}

#[tokio::test]
async fn a_post_replaces_metadata_and_nothing_else() {
    let edge = Edge::with_container().await;
    put("/c/o")
        .header("x-object-meta-a", "1")
        .header("content-encoding", "gzip")
        .header("content-type", "t/x")
        .body("x")
        .send(&edge)
        .await
        .is(201);
    post("/c/o").header("x-object-meta-b", "2").send(&edge).await.is(202);
    let told = head("/c/o").send(&edge).await.is(200);
    assert_eq!(
        (told.header("x-object-meta-a"), told.header("x-object-meta-b")),
        ("", "2")
    );
    assert_eq!(
        (told.header("content-type"), told.header("content-encoding")),
        ("t/x", "")
    );
    assert_eq!(told.header("content-length"), "1");
    post("/c/none").send(&edge).await.is(404);
}

#[tokio::test]
async fn ranges_one_and_many() {
    let edge = Edge::with_container().await;
    put("/c/o")
        .header("content-type", "t/x")
        .body("0123456789")
        .send(&edge)
        .await
        .is(201);
    let part = get("/c/o").header("range", "bytes=2-4").send(&edge).await.is(206);
    assert_eq!(
        (part.text().as_str(), part.header("content-range")),
        ("234", "bytes 2-4/10")
    );
    let nothing = get("/c/o").header("range", "bytes=20-").send(&edge).await.is(416);
    assert_eq!(nothing.header("content-range"), "bytes */10");
    assert_eq!(
        get("/c/o")
            .header("range", "bytes=5-1")
            .send(&edge)
            .await
            .is(200)
            .text(),
        "0123456789"
    );
    let many = get("/c/o").header("range", "bytes=0-1,-2").send(&edge).await.is(206);
    let boundary = many
        .header("content-type")
        .split_once("boundary=")
        .expect("parts")
        .1
        .to_owned();
    let expected = format!(
        "--{boundary}\r\nContent-Type: t/x\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
         --{boundary}\r\nContent-Type: t/x\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--{boundary}--"
    );
    assert_eq!(many.text(), expected);
    assert_eq!(many.header("content-length"), expected.len().to_string());
}

#[tokio::test]
async fn con_1_conditions() {
    let edge = Edge::with_container().await;
    let etag = put("/c/o")
        .body("x")
        .send(&edge)
        .await
        .is(201)
        .header("etag")
        .to_owned();
    put("/c/o")
        .header("if-none-match", "*")
        .body("y")
        .send(&edge)
        .await
        .is(412);
    put("/c/o")
        .header("if-none-match", "abc")
        .body("y")
        .send(&edge)
        .await
        .is(400);
    put("/c/o")
        .header("if-match", "0123456789abcdef0123456789abcdef")
        .body("y")
        .send(&edge)
        .await
        .is(412);
    get("/c/o").header("if-none-match", &etag).send(&edge).await.is(304);
    get("/c/o").header("if-match", "nope").send(&edge).await.is(412);
    assert_eq!(
        get("/c/o").header("if-match", &etag).send(&edge).await.is(200).text(),
        "x"
    );
    put("/c/o")
        .header("etag", "0123456789abcdef0123456789abcdef")
        .body("z")
        .send(&edge)
        .await
        .is(422);
    assert_eq!(
        get("/c/o").send(&edge).await.text(),
        "x",
        "nothing of a wrong body is stored"
    );
}

#[tokio::test]
async fn copies_keep_or_replace_metadata() {
    let edge = Edge::with_container().await;
    put("/d").send(&edge).await.is(201);
    put("/c/o")
        .header("x-object-meta-a", "1")
        .header("content-type", "t/x")
        .body("bytes")
        .send(&edge)
        .await
        .is(201);
    let made = call("COPY", "/c/o")
        .header("destination", "d/p%20q")
        .header("x-object-meta-b", "2")
        .send(&edge)
        .await
        .is(201);
    assert_eq!(made.header("x-copied-from"), "c/o");
    let got = get("/d/p%20q").send(&edge).await.is(200);
    assert_eq!((got.text().as_str(), got.header("content-type")), ("bytes", "t/x"));
    assert_eq!(
        (got.header("x-object-meta-a"), got.header("x-object-meta-b")),
        ("1", "2")
    );
    put("/d/r")
        .header("x-copy-from", "/c/o")
        .header("x-fresh-metadata", "true")
        .send(&edge)
        .await
        .is(201);
    let got = get("/d/r").send(&edge).await.is(200);
    assert_eq!((got.text().as_str(), got.header("x-object-meta-a")), ("bytes", ""));
    call("COPY", "/c/o").send(&edge).await.is(412);
    call("COPY", "/c/o")
        .header("destination", "d")
        .send(&edge)
        .await
        .is(412);
    put("/d/r").header("x-copy-from", "/c/none").send(&edge).await.is(404);
    put("/d/r").header("x-copy-from", "c").send(&edge).await.is(412);
    put("/d/part")
        .header("x-copy-from", "c/o")
        .header("range", "bytes=1-2")
        .send(&edge)
        .await
        .is(201);
    assert_eq!(get("/d/part").send(&edge).await.text(), "yt");
}

#[tokio::test]
async fn expired_objects_are_gone_and_swept() {
    let edge = Edge::with_container().await;
    put("/c/o")
        .header("x-delete-after", "10")
        .body("x")
        .send(&edge)
        .await
        .is(201);
    put("/c/kept")
        .header("x-delete-after", "10")
        .body("x")
        .send(&edge)
        .await
        .is(201);
    put("/c/kept").body("written anew").send(&edge).await.is(201);
    put("/c/posted").body("x").send(&edge).await.is(201);
    post("/c/posted")
        .header("x-delete-after", "5")
        .send(&edge)
        .await
        .is(202);
    assert!(!head("/c/o").send(&edge).await.is(200).header("x-delete-at").is_empty());
    edge.pass_seconds(11);
    get("/c/o").send(&edge).await.is(404);
    post("/c/posted").send(&edge).await.is(404);
    assert_eq!(edge.edge.sweep_once().await, Ok(2));
    assert_eq!(get("/c").send(&edge).await.is(200).lines(), ["kept"]);
    assert_eq!(edge.edge.sweep_once().await, Ok(0));
    put("/c/o")
        .header("x-delete-at", "1")
        .body("x")
        .send(&edge)
        .await
        .is(400);
}

#[tokio::test]
async fn versions_in_the_container_itself() {
    let edge = Edge::start().await;
    put("/v").header("x-versions-enabled", "true").send(&edge).await.is(201);
    let first = put("/v/o")
        .body("one")
        .send(&edge)
        .await
        .is(201)
        .header("x-object-version-id")
        .to_owned();
    put("/v/o").body("two").send(&edge).await.is(201);
    delete("/v/o").send(&edge).await.is(204);
    get("/v/o").send(&edge).await.is(404);
    assert_eq!(
        get(&format!("/v/o?version-id={first}"))
            .send(&edge)
            .await
            .is(200)
            .text(),
        "one"
    );
    let rows = get("/v?versions").send(&edge).await.is(200).json();
    let latest: Vec<bool> = rows
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| row["is_latest"] == true)
        .collect();
    assert_eq!(latest, [true, false, false]);
    put(&format!("/v/o?version-id={first}")).send(&edge).await.is(201);
    assert_eq!(get("/v/o").send(&edge).await.is(200).text(), "one");
    get("/v/o?version-id=bad").send(&edge).await.is(400);
}

#[tokio::test]
async fn versions_in_an_archive() {
    let edge = Edge::start().await;
    for (name, header) in [("stack", "x-versions-location"), ("history", "x-history-location")] {
        put(&format!("/{name}-old")).send(&edge).await.is(201);
        put(&format!("/{name}"))
            .header(header, &format!("{name}-old"))
            .send(&edge)
            .await
            .is(201);
        for body in ["one", "two", "three"] {
            put(&format!("/{name}/o")).body(body).send(&edge).await.is(201);
            edge.pass_seconds(1);
        }
        assert_eq!(get(&format!("/{name}-old")).send(&edge).await.is(200).lines().len(), 2);
    }
    delete("/stack/o").send(&edge).await.is(204);
    assert_eq!(get("/stack/o").send(&edge).await.is(200).text(), "two");
    delete("/history/o").send(&edge).await.is(204);
    get("/history/o").send(&edge).await.is(404);
    assert_eq!(get("/history-old").send(&edge).await.is(200).lines().len(), 4);
}

#[tokio::test]
async fn links_lead_to_their_targets() {
    let edge = Edge::with_container().await;
    let etag = put("/c/target")
        .body("bytes")
        .send(&edge)
        .await
        .is(201)
        .header("etag")
        .to_owned();
    put("/c/link")
        .header("x-symlink-target", "c/target")
        .send(&edge)
        .await
        .is(201);
    put("/c/link2")
        .header("x-symlink-target", "c/link")
        .send(&edge)
        .await
        .is(201);
    put("/c/link3")
        .header("x-symlink-target", "c/link2")
        .send(&edge)
        .await
        .is(201);
    let got = get("/c/link2").send(&edge).await.is(200);
    assert_eq!(
        (got.text().as_str(), got.header("content-location")),
        ("bytes", "/v1/AUTH_p/c/target")
    );
    get("/c/link3").send(&edge).await.is(409);
    let itself = get("/c/link?symlink=get").send(&edge).await.is(200);
    assert_eq!(
        (itself.text().as_str(), itself.header("x-symlink-target")),
        ("", "c/target")
    );
    put("/c/static")
        .header("x-symlink-target", "c/target")
        .header("x-symlink-target-etag", &etag)
        .send(&edge)
        .await
        .is(201);
    put("/c/wrong")
        .header("x-symlink-target", "c/target")
        .header("x-symlink-target-etag", "abc")
        .send(&edge)
        .await
        .is(409);
    put("/c/target").body("other").send(&edge).await.is(201);
    get("/c/static").send(&edge).await.is(409);
    assert_eq!(get("/c/link").send(&edge).await.is(200).text(), "other");
    post("/c/link").header("x-object-meta-a", "1").send(&edge).await.is(307);
    put("/c/self")
        .header("x-symlink-target", "c/self")
        .send(&edge)
        .await
        .is(400);
    put("/c/full")
        .header("x-symlink-target", "c/target")
        .body("x")
        .send(&edge)
        .await
        .is(400);
    delete("/c/target").send(&edge).await.is(204);
    get("/c/link").send(&edge).await.is(404);
    delete("/c/link").send(&edge).await.is(204);
}
