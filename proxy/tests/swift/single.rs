//! Single features that stand beside the large ones, each by an example.

use hmac::{Hmac, KeyInit, Mac};
use proxy::swift::SwiftOptions;
use sha2::Sha512;
use store::{Body, PutObject, RequestContext, RequestId};

use crate::kit::{Edge, call, delete, get, head, post, put};

#[tokio::test]
async fn con_3_a_read_only_edge_reads_and_refuses_every_write() {
    let options = SwiftOptions {
        read_only: true,
        ..SwiftOptions::default()
    };
    let edge = Edge::start_with(options).await;
    let (store, id) = (&edge.cluster.store, RequestId::new(1, 1));
    let cx = RequestContext::new(id, "p".into(), std::time::Duration::from_secs(5));
    let (bucket, _) = store.create_bucket(&cx, "c", false).await.expect("made");
    let body: Body = Box::pin(futures::stream::iter([Ok("kept".into())]));
    let done = store
        .put_object(&cx, &bucket, b"o".to_vec(), PutObject::plain(), body)
        .await;
    done.expect("stored");
    for refused in [
        put("/d"),
        put("/c/o").body("x"),
        put("/c/p").header("x-copy-from", "c/o"),
        put("/c/p?multipart-manifest=put").body("[]"),
        put("?extract-archive=tar").body("x"),
        post(""),
        post("?bulk-delete").body("c/o"),
        post("/c"),
        post("/c/o"),
        delete("/c/o"),
        delete("/c"),
        call("COPY", "/c/o").header("destination", "c/p"),
    ] {
        refused.send(&edge).await.is(405);
    }
    assert_eq!(get("/c").send(&edge).await.is(200).lines(), ["o"]);
    assert_eq!(get("/c/o").send(&edge).await.is(200).text(), "kept");
    head("").send(&edge).await.is(204);
    call("OPTIONS", "/c/o").send(&edge).await.is(200);
}

#[tokio::test]
async fn con_1_every_read_is_of_the_newest() {
    let edge = Edge::with_container().await;
    for content in ["one", "two", "three"] {
        put("/c/o").body(content).send(&edge).await.is(201);
        for newest in ["true", "false", "nonsense"] {
            let seen = get("/c/o").header("x-newest", newest).send(&edge).await.is(200);
            assert_eq!(seen.text(), content);
            let seen = head("/c").header("x-newest", newest).send(&edge).await.is(204);
            assert_eq!(seen.header("x-container-bytes-used"), content.len().to_string());
        }
    }
}

#[tokio::test]
async fn times_as_conditions() {
    let edge = Edge::with_container().await;
    let made = put("/c/o").body("x").send(&edge).await.is(201);
    let told = head("/c/o").send(&edge).await.header("last-modified").to_owned();
    assert_eq!(made.header("last-modified"), told);
    let (long_ago, never) = ("Fri, 13 Feb 2009 23:31:30 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
    for (name, date, status) in [
        ("if-modified-since", told.as_str(), 304),
        ("if-modified-since", long_ago, 200),
        ("if-modified-since", never, 304),
        ("if-modified-since", "soon", 200),
        ("if-unmodified-since", told.as_str(), 200),
        ("if-unmodified-since", long_ago, 412),
        ("if-unmodified-since", never, 200),
    ] {
        let seen = get("/c/o").header(name, date).send(&edge).await;
        assert_eq!(seen.status, status, "{name}: {date}");
        assert_eq!(seen.body.is_empty(), status == 304, "{name}: {date}");
    }
}

#[tokio::test]
async fn disposition_encoding_and_the_like_are_kept() {
    let edge = Edge::with_container().await;
    let kept = [
        ("content-disposition", "attachment; filename=\"a b.txt\""),
        ("content-encoding", "gzip"),
        ("content-language", "nds"),
        ("cache-control", "max-age=7"),
        ("expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
        ("x-robots-tag", "noindex"),
    ];
    let mut made = put("/c/o").body("x");
    for (name, value) in kept {
        made = made.header(name, value);
    }
    made.send(&edge).await.is(201);
    for method in ["GET", "HEAD"] {
        let seen = call(method, "/c/o").send(&edge).await.is(200);
        for (name, value) in kept {
            assert_eq!(seen.header(name), value);
        }
    }
    // A POST says all of it anew.
    post("/c/o")
        .header("content-disposition", "inline")
        .send(&edge)
        .await
        .is(202);
    let seen = head("/c/o").send(&edge).await;
    assert_eq!(
        (seen.header("content-disposition"), seen.header("content-language")),
        ("inline", "")
    );
    let shown = get("/c/o?filename=b.txt").send(&edge).await.is(200);
    assert_eq!(
        shown.header("content-disposition"),
        "inline",
        "only signed URLs name a file"
    );
}

#[tokio::test]
async fn sec_1_a_link_into_another_account_needs_its_leave() {
    let edge = Edge::with_container().await;
    put("").target("/v1/AUTH_q/d").by("other").send(&edge).await.is(201);
    put("")
        .target("/v1/AUTH_q/d/o")
        .by("other")
        .body("theirs")
        .send(&edge)
        .await
        .is(201);
    let link = put("/c/link")
        .header("x-symlink-target", "d/o")
        .header("x-symlink-target-account", "AUTH_q");
    link.send(&edge).await.is(201);
    let shown = get("/c/link?symlink=get").send(&edge).await.is(200);
    assert_eq!(shown.header("x-symlink-target-account"), "AUTH_q");
    get("/c/link").send(&edge).await.is(403);
    post("")
        .target("/v1/AUTH_q/d")
        .by("other")
        .header("x-container-read", "p:*")
        .send(&edge)
        .await
        .is(204);
    assert_eq!(get("/c/link").send(&edge).await.is(200).text(), "theirs");
    put("/c/bad")
        .header("x-symlink-target", "d/o")
        .header("x-symlink-target-account", "a/b")
        .send(&edge)
        .await
        .is(412);
}

#[tokio::test]
async fn signed_urls_of_sha_512_in_each_form() {
    let edge = Edge::with_container().await;
    post("")
        .header("x-account-meta-temp-url-key", "key")
        .send(&edge)
        .await
        .is(204);
    put("/c/o").body("signed").send(&edge).await.is(201);
    let mut mac = Hmac::<Sha512>::new_from_slice(b"key").expect("any length");
    mac.update(b"GET\n9999999999\n/v1/AUTH_p/c/o");
    let signature = hex::encode(mac.finalize().into_bytes());
    let by = |signature: &str| get(&format!("/c/o?temp_url_sig={signature}&temp_url_expires=9999999999")).anonymous();
    assert_eq!(by(&signature).send(&edge).await.is(200).text(), "signed");
    by(&signature.replace(&signature[..2], "zz")).send(&edge).await.is(401);
    by(&signature[..40]).send(&edge).await.is(401);
}

#[tokio::test]
async fn quotas_of_an_account_in_objects_and_bytes_are_set_by_resellers() {
    let edge = Edge::with_container().await;
    post("").header("x-account-quota-count", "1").send(&edge).await.is(403);
    let set = |name: &str, value: &str| post("").by("reseller").header(name, value);
    set("x-account-quota-count", "1").send(&edge).await.is(204);
    put("/c/a").body("1").send(&edge).await.is(201);
    put("/c/b").body("1").send(&edge).await.is(413);
    put("/c/a").body("2").send(&edge).await.is(201);
    set("x-remove-account-quota-count", "1").send(&edge).await.is(204);
    set("x-account-quota-bytes", "5").send(&edge).await.is(204);
    put("/c/b").body("12345").send(&edge).await.is(413);
    put("/c/b").body("1234").send(&edge).await.is(201);
    set("x-account-quota-bytes", "many").send(&edge).await.is(400);
    set("x-account-quota-cheese", "5").send(&edge).await.is(400);
}

#[tokio::test]
async fn con_3_info_lists_what_is_there_and_nothing_else() {
    let edge = Edge::with_container().await;
    let info = get("").target("/info").anonymous().send(&edge).await.is(200).json();
    let listed: Vec<&str> = info
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let there = [
        "account_quotas",
        "bulk_delete",
        "bulk_upload",
        "container_quotas",
        "container_sync",
        "dlo",
        "formpost",
        "object_versioning",
        "slo",
        "staticweb",
        "swift",
        "symlink",
        "tempauth",
        "tempurl",
        "versioned_writes",
    ];
    assert_eq!(listed, there);
    assert_eq!(info["container_sync"]["realms"], serde_json::json!({}));
    assert_eq!(info["swift"]["max_object_name_length"], 1024);
    call("HEAD", "").target("/info").anonymous().send(&edge).await.is(200);
    call("PUT", "").target("/info").anonymous().send(&edge).await.is(405);
    assert_eq!(
        get("")
            .target("/healthcheck")
            .anonymous()
            .send(&edge)
            .await
            .is(200)
            .text(),
        "OK"
    );
    // The longest name that it tells is stored, one more is not.
    for (length, status) in [(1024, 201), (1025, 400)] {
        put(&format!("/c/{}", "n".repeat(length))).send(&edge).await.is(status);
    }
    for (length, status) in [(256, 201), (257, 400)] {
        put(&format!("/{}", "n".repeat(length))).send(&edge).await.is(status);
    }
}
