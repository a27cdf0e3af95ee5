//! Buckets.

use crate::kit::{Call, Edge};

#[tokio::test]
async fn a_bucket_lives_and_dies() {
    let edge = Edge::start().await;
    let made = Call::put("/first-bucket").send(&edge).await.ok();
    assert_eq!(made.header("location"), "/first-bucket");
    assert_eq!(
        Call::head("/first-bucket")
            .send(&edge)
            .await
            .ok()
            .header("x-amz-bucket-region"),
        "us-east-1"
    );
    let location = Call::get("/first-bucket").query("location", "").send(&edge).await.ok();
    assert!(location.text().contains("<LocationConstraint"), "{}", location.text());
    Call::put("/first-bucket/k").body("x").send(&edge).await.ok();
    Call::put("/first-bucket").send(&edge).await.ok();
    assert_eq!(
        Call::get("/first-bucket/k").send(&edge).await.ok().text(),
        "x",
        "nothing was reset"
    );
    Call::put("/first-bucket")
        .by("alt", "alt-secret")
        .send(&edge)
        .await
        .is("409 BucketAlreadyExists");
    Call::delete("/first-bucket").send(&edge).await.is("409 BucketNotEmpty");
    Call::delete("/first-bucket/k").send(&edge).await.ok();
    assert_eq!(Call::delete("/first-bucket").send(&edge).await.status, 204);
    Call::get("/first-bucket").send(&edge).await.is("404 NoSuchBucket");
    Call::delete("/first-bucket").send(&edge).await.is("404 NoSuchBucket");
    assert_eq!(Call::head("/first-bucket").send(&edge).await.status, 404);
}

#[tokio::test]
async fn an_unfinished_upload_keeps_no_bucket_alive() {
    let edge = Edge::with_bucket().await;
    Call::post("/bkt/k").query("uploads", "").send(&edge).await.ok();
    assert_eq!(Call::delete("/bkt").send(&edge).await.status, 204);
}

#[tokio::test]
async fn forbidden_names_are_refused() {
    let edge = Edge::start().await;
    let long = "a".repeat(64);
    for name in [
        "ab",
        &long,
        "Upper",
        "under_score",
        "-dash",
        "dash-",
        "a..b",
        "192.168.5.4",
        "xn--a",
        "a.-b",
        "a-.b",
        "x-s3alias",
        "x--ol-s3",
        "sthree-x",
        ".dot",
        "dot.",
        "sp%20ace",
        "amzn-s3-demo-x",
    ] {
        Call::put(&format!("/{name}"))
            .send(&edge)
            .await
            .is("400 InvalidBucketName");
    }
    Call::put("/abc").send(&edge).await.ok();
    Call::put(&format!("/{}", "a".repeat(63))).send(&edge).await.ok();
}

#[tokio::test]
async fn a_location_constraint_must_fit() {
    let edge = Edge::start().await;
    let with = |region: &str| {
        format!(
            "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        )
    };
    Call::put("/here").body(with("us-east-1")).send(&edge).await.ok();
    Call::put("/there")
        .body(with("eu-west-1"))
        .send(&edge)
        .await
        .is("400 InvalidLocationConstraint");
    Call::put("/there")
        .body("<Nonsense/>")
        .send(&edge)
        .await
        .is("400 MalformedXML");
}

#[tokio::test]
async fn buckets_are_listed_in_pages() {
    let edge = Edge::start().await;
    for name in ["b-one", "b-two", "c-one"] {
        Call::put(&format!("/{name}")).send(&edge).await.ok();
    }
    Call::put("/not-mine").by("alt", "alt-secret").send(&edge).await.ok();
    let all = Call::get("/").send(&edge).await.ok();
    assert_eq!(all.elements("Name"), ["b-one", "b-two", "c-one"]);
    assert_eq!(all.element("ID"), "main");
    assert_eq!(
        Call::get("/")
            .query("prefix", "b-")
            .send(&edge)
            .await
            .ok()
            .elements("Name"),
        ["b-one", "b-two"]
    );
    let first = Call::get("/").query("max-buckets", "2").send(&edge).await.ok();
    assert_eq!(first.elements("Name"), ["b-one", "b-two"]);
    let token = first.element("ContinuationToken");
    let rest = Call::get("/")
        .query("max-buckets", "2")
        .query("continuation-token", &token)
        .send(&edge)
        .await
        .ok();
    assert_eq!(
        (rest.elements("Name"), rest.element("ContinuationToken").as_str()),
        (vec!["c-one".to_owned()], "")
    );
    Call::get("/")
        .query("max-buckets", "0")
        .send(&edge)
        .await
        .is("400 InvalidArgument");
    Call::get("/")
        .query("continuation-token", "?")
        .send(&edge)
        .await
        .is("400 InvalidArgument");
}
