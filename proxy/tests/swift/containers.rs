//! Accounts and containers: statuses, settings, listings, exact counts.

use crate::kit::{Edge, call, delete, get, head, post, put};

#[tokio::test]
async fn containers_are_made_told_of_and_deleted() {
    let edge = Edge::start().await;
    put("/c")
        .header("x-container-meta-color", "blue")
        .send(&edge)
        .await
        .is(201);
    put("/c").send(&edge).await.is(202);
    let told = head("/c").send(&edge).await.is(204);
    assert_eq!(told.header("x-container-meta-color"), "blue");
    assert_eq!(told.header("x-container-object-count"), "0");
    assert_eq!(told.header("x-storage-policy"), "Policy-0");
    post("/c")
        .header("x-container-meta-size", "5")
        .header("x-remove-container-meta-color", "x")
        .send(&edge)
        .await
        .is(204);
    let told = head("/c").send(&edge).await.is(204);
    assert_eq!(
        (
            told.header("x-container-meta-color"),
            told.header("x-container-meta-size")
        ),
        ("", "5")
    );
    put("/c/o").body("x").send(&edge).await.is(201);
    delete("/c").send(&edge).await.is(409);
    delete("/c/o").send(&edge).await.is(204);
    delete("/c").send(&edge).await.is(204);
    delete("/c").send(&edge).await.is(404);
    head("/c").send(&edge).await.is(404);
    post("/c").send(&edge).await.is(404);
    call("PATCH", "/c").send(&edge).await.is(405);
}

#[tokio::test]
async fn the_account_counts_exactly() {
    let edge = Edge::start().await;
    head("").send(&edge).await.is(204);
    for name in ["a", "b", "Some Name"] {
        let path = format!("/{}", name.replace(' ', "%20"));
        put(&path).send(&edge).await.is(201);
        put(&format!("{path}/o")).body("12345").send(&edge).await.is(201);
    }
    put("/b/o").body("123").send(&edge).await.is(201);
    delete("/a/o").send(&edge).await.is(204);
    let told = get("?format=json").send(&edge).await.is(200);
    assert_eq!(told.header("x-account-container-count"), "3");
    assert_eq!(told.header("x-account-object-count"), "2");
    assert_eq!(told.header("x-account-bytes-used"), "8");
    let rows = told.json();
    let shown: Vec<(&str, u64, u64)> = rows
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| {
            (
                row["name"].as_str().expect("text"),
                row["count"].as_u64().expect("n"),
                row["bytes"].as_u64().expect("n"),
            )
        })
        .collect();
    assert_eq!(shown, [("Some Name", 1, 5), ("a", 0, 0), ("b", 1, 3)]);
    assert_eq!(
        get("?reverse=true&limit=2").send(&edge).await.is(200).lines(),
        ["b", "a"]
    );
    get("?limit=10001").send(&edge).await.is(412);
    post("").header("x-account-meta-tier", "gold").send(&edge).await.is(204);
    assert_eq!(head("").send(&edge).await.is(204).header("x-account-meta-tier"), "gold");
}

#[tokio::test]
async fn listings_page_fold_and_reverse() {
    let edge = Edge::with_container().await;
    for name in ["a", "b/1", "b/2", "b/c/3", "d", "d/"] {
        put(&format!("/c/{name}")).body("x").send(&edge).await.is(201);
    }
    let list = |query: &str| {
        let call = get(&format!("/c?{query}"));
        let edge = &edge;
        async move { call.send(edge).await.lines() }
    };
    assert_eq!(list("").await, ["a", "b/1", "b/2", "b/c/3", "d", "d/"]);
    assert_eq!(list("delimiter=/").await, ["a", "b/", "d", "d/"]);
    assert_eq!(list("prefix=b/&delimiter=/").await, ["b/1", "b/2", "b/c/"]);
    assert_eq!(list("marker=b/1&limit=2").await, ["b/2", "b/c/3"]);
    assert_eq!(list("marker=a&end_marker=b/c").await, ["b/1", "b/2"]);
    assert_eq!(list("delimiter=/&marker=b/1").await, ["b/", "d", "d/"]);
    assert_eq!(list("delimiter=/&marker=b/").await, ["d", "d/"]);
    assert_eq!(list("reverse=on&limit=2").await, ["d/", "d"]);
    assert_eq!(list("reverse=on&marker=d&end_marker=b/1").await, ["b/c/3", "b/2"]);
    assert_eq!(list("reverse=on&delimiter=/&marker=d").await, ["b/", "a"]);
    assert_eq!(list("path=b").await, ["b/1", "b/2"]);
    assert_eq!(list("path=").await, ["a", "d", "d/"]);
    let page = get("/c?format=xml&limit=1").send(&edge).await.is(200);
    assert!(page.text().contains("<object><name>a</name>"), "{}", page.text());
    get("/c?prefix=none").send(&edge).await.is(204);
    get("/c").header("accept", "image/png").send(&edge).await.is(406);
    get("/c").header("accept", "nonsense").send(&edge).await.is(400);
}

#[tokio::test]
async fn con_2_a_listing_shows_what_was_just_written_and_names_stay_as_they_are() {
    let edge = Edge::with_container().await;
    let long = "n".repeat(256);
    put(&format!("/{long}")).send(&edge).await.is(201);
    put(&format!("/{long}n")).send(&edge).await.is(400);
    for name in ["..", "%2E%2E/x", "a//b", "%C3%BC%20%26%3C", "a%2Fb", "%25zz"] {
        put(&format!("/c/{name}")).body("x").send(&edge).await.is(201);
    }
    let mut shown = get("/c").send(&edge).await.is(200).lines();
    shown.sort();
    assert_eq!(shown, ["%zz", "..", "../x", "a//b", "a/b", "ü &<"]);
    put(&format!("/c/{}", "k".repeat(1024)))
        .body("x")
        .send(&edge)
        .await
        .is(201);
    put(&format!("/c/{}", "k".repeat(1025)))
        .body("x")
        .send(&edge)
        .await
        .is(400);
}

#[tokio::test]
async fn quotas_are_kept() {
    let edge = Edge::with_container().await;
    post("/c")
        .header("x-container-meta-quota-bytes", "10")
        .header("x-container-meta-quota-count", "2")
        .send(&edge)
        .await
        .is(204);
    put("/c/a").body("12345678").send(&edge).await.is(201);
    put("/c/b").body("123").send(&edge).await.is(413);
    put("/c/b")
        .header("transfer-encoding", "chunked")
        .body("3\r\nabc\r\n0\r\n\r\n")
        .send(&edge)
        .await
        .is(413);
    put("/c/b").body("1").send(&edge).await.is(201);
    put("/c/d").body("").send(&edge).await.is(413);
    post("/c")
        .header("x-container-meta-quota-bytes", "many")
        .send(&edge)
        .await
        .is(400);
    post("")
        .header("x-account-meta-quota-bytes", "100")
        .send(&edge)
        .await
        .is(403);
    post("")
        .header("x-account-meta-quota-bytes", "10")
        .by("reseller")
        .send(&edge)
        .await
        .is(204);
    post("/c")
        .header("x-remove-container-meta-quota-bytes", "x")
        .send(&edge)
        .await
        .is(204);
    put("/c/b").body("12345").send(&edge).await.is(413);
}
