//! Versions and delete markers.

use crate::kit::{Call, Edge};

async fn put(edge: &Edge, body: &str) -> String {
    Call::put("/bkt/k")
        .body(body)
        .send(edge)
        .await
        .ok()
        .header("x-amz-version-id")
        .to_owned()
}

#[tokio::test]
async fn every_version_stays_until_it_is_deleted() {
    let edge = Edge::versioned().await;
    let status = Call::get("/bkt").query("versioning", "").send(&edge).await.ok();
    assert_eq!(status.element("Status"), "Enabled");
    let (one, two) = (put(&edge, "one").await, put(&edge, "two").await);
    assert!(!one.is_empty() && one != two);
    let get = |version: &str| Call::get("/bkt/k").query("versionId", version);
    assert_eq!(get(&one).send(&edge).await.ok().text(), "one");
    let latest = Call::get("/bkt/k").send(&edge).await.ok();
    assert_eq!(
        (latest.text().as_str(), latest.header("x-amz-version-id")),
        ("two", two.as_str())
    );
    let gone = Call::delete("/bkt/k").send(&edge).await.ok();
    let marker = gone.header("x-amz-version-id").to_owned();
    assert_eq!(gone.header("x-amz-delete-marker"), "true");
    let absent = Call::get("/bkt/k").send(&edge).await.is("404 NoSuchKey");
    assert_eq!(
        (absent.header("x-amz-delete-marker"), absent.header("x-amz-version-id")),
        ("true", marker.as_str())
    );
    let head = Call::head("/bkt/k").send(&edge).await;
    assert_eq!((head.status, head.header("x-amz-delete-marker")), (404, "true"));
    let named = get(&marker).send(&edge).await.is("405 MethodNotAllowed");
    assert_eq!(
        (named.header("x-amz-delete-marker"), named.header("allow")),
        ("true", "DELETE")
    );
    let undone = Call::delete("/bkt/k")
        .query("versionId", &marker)
        .send(&edge)
        .await
        .ok();
    assert_eq!(
        (undone.header("x-amz-delete-marker"), undone.header("x-amz-version-id")),
        ("true", marker.as_str())
    );
    assert_eq!(Call::get("/bkt/k").send(&edge).await.ok().text(), "two");
    Call::delete("/bkt/k").query("versionId", &two).send(&edge).await.ok();
    assert_eq!(Call::get("/bkt/k").send(&edge).await.ok().text(), "one");
    get(&two).send(&edge).await.is("404 NoSuchVersion");
    get("nonsense").send(&edge).await.is("400 InvalidArgument");
    get("").send(&edge).await.is("400 InvalidArgument");
}

#[tokio::test]
async fn versions_are_listed_newest_first_in_pages() {
    let edge = Edge::versioned().await;
    for body in ["1", "2", "3"] {
        put(&edge, body).await;
    }
    Call::delete("/bkt/k").send(&edge).await.ok();
    Call::put("/bkt/z").body("z").send(&edge).await.ok();
    let all = Call::get("/bkt").query("versions", "").send(&edge).await.ok();
    assert_eq!(
        (all.elements("Version").len(), all.elements("DeleteMarker").len()),
        (4, 1)
    );
    assert!(all.element("DeleteMarker").contains("<IsLatest>true</IsLatest>"));
    let (mut key, mut version, mut found) = (String::new(), String::new(), Vec::new());
    loop {
        let call = Call::get("/bkt").query("versions", "").query("max-keys", "2");
        let page = call
            .query("key-marker", &key)
            .query("version-id-marker", &version)
            .send(&edge)
            .await
            .ok();
        found.extend(page.elements("VersionId"));
        if page.element("IsTruncated") != "true" {
            break;
        }
        (key, version) = (page.element("NextKeyMarker"), page.element("NextVersionIdMarker"));
    }
    let mut expected = all.elements("VersionId");
    assert_eq!(found.len(), 5);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let lost = Call::get("/bkt")
        .query("versions", "")
        .query("version-id-marker", &found[0]);
    lost.send(&edge).await.is("400 InvalidArgument");
}

#[tokio::test]
async fn suspended_versioning_writes_null_versions() {
    let edge = Edge::with_bucket().await;
    put(&edge, "before").await;
    let state = |status: &str| {
        let text = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        Call::put("/bkt").query("versioning", "").body(text)
    };
    state("Enabled").send(&edge).await.ok();
    assert_eq!(
        Call::get("/bkt/k").send(&edge).await.ok().header("x-amz-version-id"),
        "null"
    );
    let kept = put(&edge, "kept").await;
    assert_eq!(
        Call::get("/bkt/k")
            .query("versionId", "null")
            .send(&edge)
            .await
            .ok()
            .text(),
        "before"
    );
    state("Suspended").send(&edge).await.ok();
    assert_eq!(put(&edge, "after").await, "", "a null version is not told");
    assert_eq!(
        Call::get("/bkt/k")
            .query("versionId", "null")
            .send(&edge)
            .await
            .ok()
            .text(),
        "after"
    );
    assert_eq!(
        Call::get("/bkt/k")
            .query("versionId", &kept)
            .send(&edge)
            .await
            .ok()
            .text(),
        "kept"
    );
    let gone = Call::delete("/bkt/k").send(&edge).await.ok();
    assert_eq!(
        (gone.header("x-amz-version-id"), gone.header("x-amz-delete-marker")),
        ("null", "true")
    );
    Call::get("/bkt/k")
        .query("versionId", "null")
        .send(&edge)
        .await
        .is("405 MethodNotAllowed");
    state("Nonsense").send(&edge).await.is("400 MalformedXML");
    let none = Call::put("/bkt")
        .query("versioning", "")
        .body("<VersioningConfiguration/>");
    none.send(&edge).await.is("400 IllegalVersioningConfigurationException");
}

#[tokio::test]
async fn many_deletes_name_versions_and_tell_markers() {
    let edge = Edge::versioned().await;
    let one = put(&edge, "one").await;
    let text = format!(
        "<Delete><Object><Key>k</Key><VersionId>{one}</VersionId></Object><Object><Key>new</Key></Object></Delete>"
    );
    let digest = crate::multipart::md5_base64(text.as_bytes());
    let reply = Call::post("/bkt")
        .query("delete", "")
        .header("content-md5", &digest)
        .body(text)
        .send(&edge)
        .await
        .ok();
    let deleted = reply.elements("Deleted");
    assert!(
        deleted[0].contains(&one) && !deleted[0].contains("DeleteMarker"),
        "{deleted:?}"
    );
    assert!(deleted[1].contains("<DeleteMarker>true</DeleteMarker>"), "{deleted:?}");
    assert!(deleted[1].contains("<DeleteMarkerVersionId>"), "{deleted:?}");
}
