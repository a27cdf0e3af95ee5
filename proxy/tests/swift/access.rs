//! SEC-1: who may do what.

use crate::kit::{Edge, call, delete, get, head, post, put};

#[tokio::test]
async fn sec_1_everything_needs_a_token_of_the_account() {
    let edge = Edge::with_container().await;
    put("/c/o").body("x").send(&edge).await.is(201);
    let calls = || {
        [
            get(""),
            head(""),
            post(""),
            get("/c"),
            put("/d"),
            post("/c"),
            delete("/c"),
            get("/c/o"),
            put("/c/n").body("y"),
            post("/c/o"),
            delete("/c/o"),
            call("COPY", "/c/o").header("destination", "c/n"),
        ]
    };
    for wanted in calls() {
        let anonymous = wanted.clone().anonymous().send(&edge).await.is(401);
        assert!(anonymous.header("www-authenticate").starts_with("Swift realm="));
        wanted.clone().by("forged").send(&edge).await.is(401);
        wanted.clone().by("other").send(&edge).await.is(403);
        wanted.by("nobody").send(&edge).await.is(403);
    }
    assert_eq!(get("/c").send(&edge).await.is(200).lines(), ["o"], "nothing was done");
}

#[tokio::test]
async fn sec_1_readers_read_and_resellers_do_everything() {
    let edge = Edge::with_container().await;
    put("/c/o").body("x").send(&edge).await.is(201);
    get("").by("reader").send(&edge).await.is(200);
    get("/c").by("reader").send(&edge).await.is(200);
    get("/c/o").by("reader").send(&edge).await.is(200);
    for wanted in [
        put("/d"),
        post("/c"),
        delete("/c"),
        put("/c/o").body("y"),
        post("/c/o"),
        delete("/c/o"),
    ] {
        wanted.by("reader").send(&edge).await.is(403);
    }
    put("/c/o").body("y").by("reseller").send(&edge).await.is(201);
    call("PUT", "").by("owner").body("").send(&edge).await.is(403);
    get("").target("/v1/AUTH_").send(&edge).await.is(403);
    get("").target("/v1/other").send(&edge).await.is(403);
}

#[tokio::test]
async fn sec_1_lists_let_others_in() {
    let edge = Edge::with_container().await;
    put("/c/o").body("x").send(&edge).await.is(201);
    post("/c").header("x-container-read", "q:bob").send(&edge).await.is(204);
    get("/c/o").by("other").send(&edge).await.is(200);
    get("/c").by("other").send(&edge).await.is(200);
    put("/c/o").body("y").by("other").send(&edge).await.is(403);
    assert_eq!(
        head("/c")
            .by("other")
            .send(&edge)
            .await
            .is(204)
            .header("x-container-read"),
        ""
    );
    assert_eq!(head("/c").send(&edge).await.is(204).header("x-container-read"), "q:bob");
    post("/c").header("x-container-write", "q:*").send(&edge).await.is(204);
    put("/c/n").body("y").by("other").send(&edge).await.is(201);
    delete("/c/n").by("other").send(&edge).await.is(204);
    delete("/c").by("other").send(&edge).await.is(403);
    post("/c")
        .header("x-container-read", ".r:*")
        .header("x-remove-container-write", "x")
        .send(&edge)
        .await
        .is(204);
    get("/c/o").anonymous().send(&edge).await.is(200);
    get("/c").anonymous().send(&edge).await.is(401);
    put("/c/n").body("y").by("other").send(&edge).await.is(403);
    post("/c")
        .header("x-container-read", ".r:.good.org,.rlistings")
        .send(&edge)
        .await
        .is(204);
    get("/c")
        .anonymous()
        .header("referer", "http://www.good.org/")
        .send(&edge)
        .await
        .is(200);
    get("/c")
        .anonymous()
        .header("referer", "http://www.bad.org/")
        .send(&edge)
        .await
        .is(401);
    post("/c")
        .header("x-container-read", ".unknown:x")
        .send(&edge)
        .await
        .is(400);
    post("/c").header("x-container-write", ".r:*").send(&edge).await.is(400);
}

#[tokio::test]
async fn sec_1_account_lists() {
    let edge = Edge::with_container().await;
    post("")
        .header("x-account-access-control", r#"{"read-only":["q:bob"]}"#)
        .send(&edge)
        .await
        .is(204);
    get("").by("other").send(&edge).await.is(200);
    put("/c/o").body("x").by("other").send(&edge).await.is(403);
    post("")
        .header("x-account-access-control", r#"{"read-write":["q:bob"]}"#)
        .send(&edge)
        .await
        .is(204);
    put("/c/o").body("x").by("other").send(&edge).await.is(201);
    post("").by("other").send(&edge).await.is(403);
    post("")
        .header("x-account-access-control", "{")
        .send(&edge)
        .await
        .is(400);
}

#[tokio::test]
async fn sec_1_a_copy_needs_both_ends() {
    let edge = Edge::with_container().await;
    put("/c/o").body("x").send(&edge).await.is(201);
    put("")
        .target("/v1/AUTH_q/theirs")
        .by("other")
        .send(&edge)
        .await
        .is(201);
    call("COPY", "/c/o")
        .header("destination", "theirs/o")
        .header("destination-account", "AUTH_q")
        .send(&edge)
        .await
        .is(403);
    put("")
        .target("/v1/AUTH_q/theirs/o")
        .by("other")
        .header("x-copy-from", "c/o")
        .header("x-copy-from-account", "AUTH_p")
        .send(&edge)
        .await
        .is(403);
    post("/c").header("x-container-read", "q:bob").send(&edge).await.is(204);
    put("")
        .target("/v1/AUTH_q/theirs/o")
        .by("other")
        .header("x-copy-from", "c/o")
        .header("x-copy-from-account", "AUTH_p")
        .send(&edge)
        .await
        .is(201);
    get("")
        .target("/v1/AUTH_q/theirs/o")
        .by("other")
        .send(&edge)
        .await
        .is(200);
}

#[tokio::test]
async fn sec_1_old_tokens_are_good_for_their_account() {
    let edge = Edge::with_container().await;
    let asked = get("")
        .target("/auth/v1.0")
        .anonymous()
        .header("x-auth-user", "p:tester")
        .header("x-auth-key", "testing");
    let given = asked.send(&edge).await.is(200);
    let token: &'static str = given.header("x-auth-token").to_owned().leak();
    assert_eq!(
        given.header("x-storage-url"),
        format!("http://{}/v1/AUTH_p", edge.address)
    );
    get("/c").by(token).send(&edge).await.is(204);
    get("").target("/v1/AUTH_q").by(token).send(&edge).await.is(403);
    for key in ["wrong", ""] {
        get("")
            .target("/auth/v1.0")
            .anonymous()
            .header("x-auth-user", "p:tester")
            .header("x-auth-key", key)
            .send(&edge)
            .await
            .is(401);
    }
}

#[tokio::test]
async fn other_origins_are_let_in_by_the_container() {
    let edge = Edge::with_container().await;
    put("/c/o").body("x").send(&edge).await.is(201);
    let ask = || {
        call("OPTIONS", "/c/o")
            .anonymous()
            .header("origin", "http://a.org")
            .header("access-control-request-method", "GET")
    };
    ask().send(&edge).await.is(401);
    post("/c")
        .header("x-container-meta-access-control-allow-origin", "http://a.org")
        .send(&edge)
        .await
        .is(204);
    assert_eq!(
        ask().send(&edge).await.is(200).header("access-control-allow-origin"),
        "http://a.org"
    );
    call("OPTIONS", "/c/o")
        .anonymous()
        .header("origin", "http://b.org")
        .header("access-control-request-method", "GET")
        .send(&edge)
        .await
        .is(401);
    let got = get("/c/o").header("origin", "http://a.org").send(&edge).await.is(200);
    assert_eq!(got.header("access-control-allow-origin"), "http://a.org");
    call("OPTIONS", "/c").anonymous().send(&edge).await.is(200);
}
