//! SEC-1: every endpoint against those who may not use it: nobody, somebody of another project, somebody who only reads.

use identity::policy::Grant;
use identity::token::ROLE_READER;
use proxy::swift::{Level, ROUTES, Route};

use crate::kit::{Call, Edge, call, get, put};

fn case(route: &Route) -> Call {
    let path = match route.level {
        Level::Account => "",
        Level::Container => "/c",
        Level::Object => "/c/o",
    };
    let call = call(route.method, path);
    match route.method {
        "PUT" | "POST" => call.body("changed"),
        "COPY" => call.header("destination", "c/copy"),
        _ => call,
    }
}

fn is_open(route: &Route) -> bool {
    route.action.grants().contains(&Grant::Anyone)
}

/// A copy is asked for reading, and for writing where it goes.
fn is_for_readers(route: &Route) -> bool {
    route.action.grants().contains(&Grant::Project(ROLE_READER)) && route.method != "COPY"
}

async fn filled() -> Edge {
    let edge = Edge::with_container().await;
    put("/c/o").body("kept").send(&edge).await.is(201);
    edge
}

async fn is_untouched(edge: &Edge) {
    assert_eq!(get("/c").send(edge).await.is(200).lines(), ["o"]);
    assert_eq!(get("/c/o").send(edge).await.is(200).text(), "kept");
}

#[tokio::test]
async fn sec_1_every_endpoint_wants_a_token() {
    let edge = filled().await;
    for route in ROUTES.iter().filter(|route| !is_open(route)) {
        case(route).anonymous().send(&edge).await.is(401);
        case(route).by("forged").send(&edge).await.is(401);
    }
    is_untouched(&edge).await;
}

#[tokio::test]
async fn sec_1_another_projects_member_reaches_nothing() {
    let edge = filled().await;
    for route in ROUTES.iter().filter(|route| !is_open(route)) {
        case(route).by("other").send(&edge).await.is(403);
        case(route).by("nobody").send(&edge).await.is(403);
    }
    is_untouched(&edge).await;
}

#[tokio::test]
async fn sec_1_readers_read_and_change_nothing() {
    let edge = filled().await;
    for route in ROUTES.iter().filter(|route| !is_open(route)) {
        let reply = case(route).by("reader").send(&edge).await;
        if is_for_readers(route) {
            assert!((200..300).contains(&reply.status), "{route:?}: {}", reply.status);
        } else {
            reply.is(403);
        }
    }
    is_untouched(&edge).await;
}

/// Requests about many things are judged thing by thing.
#[tokio::test]
async fn sec_1_bulk_requests_change_nothing_for_strangers_and_readers() {
    let edge = filled().await;
    let bulk = || {
        call("POST", "?bulk-delete")
            .body("c/o\n")
            .header("accept", "application/json")
    };
    bulk().anonymous().send(&edge).await.is(401);
    for who in ["other", "reader", "nobody"] {
        let told = bulk().by(who).send(&edge).await.is(200).json();
        assert_eq!(told["Number Deleted"], 0, "{who}: {told}");
        assert_eq!(told["Errors"][0][1], "403 Forbidden", "{who}: {told}");
    }
    is_untouched(&edge).await;
}

/// What no route names is nobody's.
#[tokio::test]
async fn unknown_methods_are_refused() {
    let edge = filled().await;
    for path in ["", "/c", "/c/o"] {
        call("PATCH", path).anonymous().send(&edge).await.is(401);
        let refused = call("PATCH", path).send(&edge).await.is(405);
        assert!(refused.header("allow").contains("GET"));
    }
}
