//! Requests that must not be: each gets Swift's status, and afterwards everything is as it was.

use crate::kit::{Call, Edge, call, get, head, post, put};

/// What the account holds: names, sizes and tags of everything.
async fn everything(edge: &Edge) -> String {
    let mut all = get("?format=json").send(edge).await.is(200).text();
    for container in ["c", "d"] {
        all.push_str(
            &get(&format!("/{container}?format=json"))
                .send(edge)
                .await
                .is(200)
                .text(),
        );
        let head = head(&format!("/{container}")).send(edge).await.is(204);
        let settings = head
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-container-") || name.starts_with("x-versions"));
        all.push_str(&format!("{:?}", settings.collect::<Vec<_>>()));
    }
    let head = head("").send(edge).await.is(204);
    let settings = head.headers.iter().filter(|(name, _)| name.starts_with("x-account-"));
    all.push_str(&format!("{:?}", settings.collect::<Vec<_>>()));
    all
}

async fn prepared() -> Edge {
    let edge = Edge::with_container().await;
    put("/d").send(&edge).await.is(201);
    put("/c/o").body("bytes").send(&edge).await.is(201);
    put("/c/..").body("two dots").send(&edge).await.is(201);
    edge
}

/// Sends every call, and looks that nothing came of it.
async fn refuses(edge: &Edge, calls: Vec<(Call, u16)>) {
    let before = everything(edge).await;
    for (at, (call, status)) in calls.into_iter().enumerate() {
        let reply = call.send(edge).await;
        assert_eq!(reply.status, status, "call {at}: {}", reply.text());
    }
    assert_eq!(everything(edge).await, before);
}

#[tokio::test]
async fn sec_1_tokens_that_are_none() {
    let edge = prepared().await;
    let auth = || get("").target("/auth/v1.0").anonymous();
    let good = auth()
        .header("x-auth-user", "p:tester")
        .header("x-auth-key", "testing")
        .send(&edge)
        .await;
    assert_eq!(good.status, 200);
    let token = good.header("x-auth-token").to_owned();
    let with = |token: &str| put("/c/new").anonymous().header("x-auth-token", token).body("x");
    let mut calls = Vec::new();
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        let text = String::from_utf8(bytes).expect("ASCII");
        if text != token {
            calls.push((with(&text), 401));
        }
    }
    for text in [
        "",
        "x",
        "AUTH_tk",
        &token[..token.len() - 1],
        &format!("{token}0"),
        &"y".repeat(3000),
        "a.b.c",
        "%00",
    ] {
        calls.push((with(text), 401));
    }
    for (user, key) in [
        ("p:tester", "wrong"),
        ("p:nobody", "testing"),
        ("tester", "testing"),
        ("", ""),
        (":", ""),
    ] {
        calls.push((auth().header("x-auth-user", user).header("x-auth-key", key), 401));
    }
    calls.push((auth(), 401));
    refuses(&edge, calls).await;
    get("/c")
        .anonymous()
        .header("x-auth-token", &token)
        .send(&edge)
        .await
        .is(200);
    edge.pass_seconds(10 * 86_400);
    get("/c")
        .anonymous()
        .header("x-auth-token", &token)
        .send(&edge)
        .await
        .is(401);
}

#[tokio::test]
async fn sec_1_accounts_that_are_somebody_elses() {
    let edge = prepared().await;
    let mut calls = Vec::new();
    for (who, status) in [("other", 403), ("nobody", 403), ("reader", 403)] {
        for method in ["PUT", "POST", "DELETE"] {
            calls.push((call(method, "/c/o").by(who).body("x"), status));
        }
        calls.push((put("/e").by(who), status));
        calls.push((post("").by(who).header("x-account-meta-a", "b"), status));
        calls.push((call("COPY", "/c/o").by(who).header("destination", "c/copy"), status));
    }
    for path in ["/v1/AUTH_q/c/o", "/v1/AUTH_/c/o", "/v1/p/c/o", "/v1/AUTH_%70%00/c/o"] {
        let reply = put("").target(path).body("x").send(&edge).await;
        assert!(
            matches!(reply.status, 401 | 403 | 404 | 412),
            "{path}: {}",
            reply.status
        );
    }
    calls.push((put("/c/new").anonymous().body("x"), 401));
    // A copy into an account, and out of one, that the caller has no right to.
    let copy = || call("COPY", "/c/o").header("destination", "c/copy");
    calls.push((copy().header("destination-account", "AUTH_q"), 403));
    calls.push((copy().header("destination-account", "AUTH_q/x"), 412));
    let from = || put("/c/new").header("x-copy-from", "c/o");
    calls.push((from().header("x-copy-from-account", "AUTH_q"), 403));
    refuses(&edge, calls).await;
}

#[tokio::test]
async fn bodies_and_fields_that_make_no_sense() {
    let edge = prepared().await;
    let manifest = |body: &str| put("/c/m?multipart-manifest=put").body(body);
    let acl = |text: &str| post("").header("x-account-access-control", text);
    let calls = vec![
        (manifest(r#"[{"path":"/c/o","unknown":1}]"#), 400),
        (manifest(r#"[{"path":"/c/o"}"#), 400),
        (manifest(r#"{"path":"/c/o"}"#), 400),
        (manifest("\u{0}\u{1}"), 400),
        (manifest(r#"[{"path":"/c/none"}]"#), 400),
        (manifest(r#"[{"path":"/none/o"}]"#), 400),
        (manifest(r#"[{"path":"/c/o","etag":"wrong"}]"#), 400),
        (manifest(&format!("[{}", "[".repeat(5000))), 400),
        (acl("[]"), 400),
        (acl(r#"{"admin":"alice"}"#), 400),
        (acl(r#"{"admin":[1]}"#), 400),
        (acl(r#"{"owner":["alice"]}"#), 400),
        (acl("{"), 400),
        (post("/c").header("x-container-read", ".r:"), 400),
        (post("/c").header("x-container-write", ".r:*"), 400),
        (post("/c").header("x-container-meta-quota-bytes", "-1"), 400),
        (post("/c").header("x-container-meta-quota-count", "many"), 400),
        (post("/c").header("x-versions-location", "a/b"), 400),
        (put("/c/n").header("x-delete-at", "soon").body("x"), 400),
        (put("/c/n").header("x-delete-after", "-5").body("x"), 400),
        (put("/c/n").header("x-object-manifest", "nothing").body(""), 400),
        (put("/c/n").header("x-symlink-target", "nothing").body(""), 412),
        (put("/c/n").header("x-symlink-target", "c/n").body(""), 400),
        (put("/c/n").header("x-symlink-target", "c/o").body("bytes"), 400),
        (
            put("/c/n").header("etag", "00000000000000000000000000000000").body("x"),
            422,
        ),
        (put("/c/n").header("if-none-match", "\"x\"").body("x"), 400),
        (put("/c/o").header("if-none-match", "*").body("x"), 412),
        (put("/c/n").header("x-copy-from", "nothing"), 412),
        (put("/c/n").header("x-copy-from", "c/none"), 404),
        (call("COPY", "/c/o"), 412),
        (call("COPY", "/c/o").header("destination", "nothing"), 412),
        (put("?extract-archive=zip").body("x"), 400),
        (post("/c?bulk-delete").body([0xff_u8, 0xfe]), 400),
        (call("BREW", "/c/o"), 405),
        (call("PUT", "/c").header("x-storage-policy", "gold"), 400),
    ];
    refuses(&edge, calls).await;
}

#[tokio::test]
async fn key_1_paths_are_names_and_lead_nowhere_else() {
    let edge = prepared().await;
    for (path, body) in [
        ("/c/../d/x", "up"),
        ("/c/./x", "here"),
        ("/c//x", "empty"),
        ("/c/x/", "slash"),
        ("/c/%2e%2e/%2e%2e/etc", "dots"),
        ("/c/a%5cb", "backslash"),
        ("/c/%25%32%66", "twice"),
    ] {
        put(path).body(body).send(&edge).await.is(201);
        assert_eq!(get(path).send(&edge).await.is(200).text(), body, "{path}");
    }
    assert_eq!(
        get("/d").send(&edge).await.is(204).text(),
        "",
        "nothing left its container"
    );
    let names = get("/c").send(&edge).await.is(200).lines();
    let mut expected = ["..", "../../etc", "../d/x", "./x", "/x", "%2f", "a\\b", "o", "x/"];
    expected.sort_unstable();
    assert_eq!(names, expected);
    // An encoded slash is a slash: the path is read after it was decoded, as Swift does.
    put("/c%2fencoded").body("x").send(&edge).await.is(201);
    head("/c/encoded").send(&edge).await.is(200);
    let calls = vec![
        (put("/c/%ff").body("x"), 412),
        (put("/c/a%00").body("x"), 412),
        (put("/%00").body(""), 412),
        (put("//x").body("x"), 404),
        (put(&format!("/{}", "n".repeat(257))), 400),
        (put(&format!("/c/{}", "n".repeat(1025))).body("x"), 400),
    ];
    refuses(&edge, calls).await;
}
