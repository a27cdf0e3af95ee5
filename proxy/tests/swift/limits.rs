//! Rate limits: waiting, 498, and `/info`.

use std::time::Duration;

use proxy::swift::{RateLimits, SwiftOptions};

use crate::kit::{Edge, delete, get, put};

#[tokio::test]
async fn who_writes_too_often_waits_and_then_is_refused() {
    let limits = RateLimits {
        account: 1,
        containers: vec![(1, 1)],
        listings: vec![(0, 1)],
        sleep_max: Duration::ZERO,
    };
    let options = SwiftOptions {
        rate_limits: limits,
        ..SwiftOptions::default()
    };
    let edge = Edge::start_with(options).await;
    let info = get("").target("/info").anonymous().send(&edge).await.is(200).json();
    assert_eq!(info["ratelimit"]["account_ratelimit"], 1);
    assert_eq!(info["ratelimit"]["container_ratelimits"], serde_json::json!([[1, 1]]));

    put("/c").send(&edge).await.is(201);
    put("/d").send(&edge).await.is(498);
    // Strangers take nothing of the account's rate.
    edge.pass_seconds(60);
    put("/d").by("other").send(&edge).await.is(403);
    put("/d").send(&edge).await.is(201);

    put("/c/a").body("x").send(&edge).await.is(201);
    put("/c/b").body("x").send(&edge).await.is(201);
    let refused = put("/c/e").body("x").send(&edge).await.is(498);
    assert_eq!(refused.text(), "Slow down");
    delete("/c/b").send(&edge).await.is(498);
    get("/c/a").send(&edge).await.is(200);
    put("/d/a").body("x").send(&edge).await.is(201);

    get("/c").send(&edge).await.is(200);
    get("/c").send(&edge).await.is(498);
    edge.pass_seconds(60);
    assert_eq!(get("/c").send(&edge).await.is(200).lines(), ["a", "b"]);
}

#[tokio::test]
async fn without_limits_nothing_is_told_and_nobody_waits() {
    let edge = Edge::with_container().await;
    let info = get("").target("/info").anonymous().send(&edge).await.is(200).json();
    assert!(info.get("ratelimit").is_none());
    for _ in 0..20 {
        put("/c/o").body("x").send(&edge).await.is(201);
    }
}
