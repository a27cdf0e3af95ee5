//! Tokens: made with every method and scope, judged, revoked.

use http::StatusCode;
use serde_json::json;

use super::*;
use crate::token::TokenSource;

#[tokio::test(start_paused = true)]
async fn a_password_gives_a_token_with_roles_and_catalog() {
    let service = Service::start().await;
    let answer = service
        .login(by_password("admin", ADMIN_PASSWORD), Some(project("default")))
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let token = &answer.body["token"];
    assert_eq!(token["project"]["id"], "default");
    assert_eq!(token["user"]["domain"]["name"], "Default");
    let roles: Vec<_> = token["roles"]
        .as_array()
        .expect("roles")
        .iter()
        .map(|role| role["name"].clone())
        .collect();
    assert_eq!(roles, ["admin", "manager", "member", "reader"]);
    let endpoint = &token["catalog"][0]["endpoints"][0];
    assert_eq!(endpoint["url"], "http://swift/v1/AUTH_default");
    assert_eq!(endpoint["region"], "here");
    assert_eq!(token["methods"], json!(["password"]));
    assert_eq!(token["audit_ids"].as_array().map(Vec::len), Some(1));
    assert_eq!(answer.headers["vary"], "X-Auth-Token");
}

#[tokio::test(start_paused = true)]
async fn every_scope_is_given_to_whom_it_belongs() {
    let service = Service::start().await;
    let admin = by_password("admin", ADMIN_PASSWORD);
    let named = json!({ "project": { "name": "default", "domain": { "name": "Default" } } });
    let domain = json!({ "domain": { "id": "default" } });
    for (scope, key) in [(named, "project"), (domain.clone(), "domain"), (system(), "system")] {
        let answer = service.login(admin.clone(), Some(scope)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        assert!(answer.body["token"].get(key).is_some(), "{key}");
    }
    // Without a scope the default project is taken; "unscoped" asks for none.
    let implicit = service.login(admin.clone(), None).await;
    assert_eq!(implicit.body["token"]["project"]["id"], "default");
    let unscoped = service.login(admin, Some(json!("unscoped"))).await;
    assert!(unscoped.body["token"].get("project").is_none() && unscoped.body["token"].get("catalog").is_none());
    let (_, _) = service.tenant(&service.admin().await, "t", "member").await;
    for scope in [system(), domain, project("default"), project("nowhere")] {
        let refused = service.login(by_password("t", PASSWORD), Some(scope)).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{}", refused.body);
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_proofs_all_look_the_same() {
    let service = Service::start().await;
    let answers = [
        service.login(by_password("admin", "wrong"), None).await,
        service.login(by_password("nobody", "wrong"), None).await,
        service.login(by_token("gAAAAA"), None).await,
        service.login(json!({ "methods": ["magic"], "magic": {} }), None).await,
    ];
    for answer in answers {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        let error = &answer.body["error"];
        assert_eq!(error["message"], "The request you have made requires authentication.");
        assert_eq!((&error["code"], &error["title"]), (&json!(401), &json!("Unauthorized")));
        assert_eq!(
            answer.headers["www-authenticate"],
            "Keystone uri=\"http://keystone:5000/v3\""
        );
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_without_form_are_400_and_nothing_panics() {
    let service = Service::start().await;
    for body in [
        json!({}),
        json!([]),
        json!({ "auth": null }),
        json!({ "auth": { "identity": {} } }),
        json!({ "auth": { "identity": { "methods": [] } } }),
        json!({ "auth": { "identity": { "methods": ["password"] } } }),
        json!({ "auth": { "identity": { "methods": "password" } } }),
        json!({ "auth": { "identity": { "methods": ["password"], "password": { "user": { "name": "admin", "password": "x" } } } } }),
        json!({ "auth": { "identity": by_password("admin", ADMIN_PASSWORD), "scope": { "project": {}, "domain": {} } } }),
        json!({ "auth": { "identity": by_password("admin", ADMIN_PASSWORD), "scope": { "project": { "name": "default" } } } }),
        json!({ "auth": { "identity": by_password("admin", ADMIN_PASSWORD), "scope": { "moon": {} } } }),
    ] {
        let answer = service.send("POST", "/v3/auth/tokens", &[], Some(body.clone())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(!answer.body.to_string().contains(ADMIN_PASSWORD));
    }
    let long = json!({ "auth": "x".repeat(200_000) });
    let answer = service.send("POST", "/v3/auth/tokens", &[], Some(long)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        service.send("GET", "/v3/nothing", &[], None).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        service.send("PUT", "/v3/users", &[], None).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_is_looked_at_and_revoked() {
    let service = Service::start().await;
    let (admin, token) = (service.admin().await, service.admin().await);
    let subject = [("x-auth-token", admin.as_str()), ("x-subject-token", token.as_str())];
    let shown = service.send("GET", "/v3/auth/tokens?nocatalog", &subject, None).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert!(shown.body["token"].get("catalog").is_none());
    assert_eq!(shown.headers["x-subject-token"], token.as_str());
    let checked = service.send("HEAD", "/v3/auth/tokens", &subject, None).await;
    assert_eq!((checked.status, checked.body), (StatusCode::OK, Value::Null));
    let revoked = service.send("DELETE", "/v3/auth/tokens", &subject, None).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    assert_eq!(
        service.send("GET", "/v3/auth/tokens", &subject, None).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        service.get(&token, "/v3/auth/projects").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(service.get(&admin, "/v3/auth/projects").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_rescoped_token_ends_with_the_first() {
    let service = Service::start().await;
    let first = service
        .login(by_password("admin", ADMIN_PASSWORD), Some(json!("unscoped")))
        .await;
    service.pass(1_800_000);
    let second = service.login(by_token(&first.token()), Some(project("default"))).await;
    assert_eq!(second.status, StatusCode::CREATED);
    assert_eq!(second.body["token"]["expires_at"], first.body["token"]["expires_at"]);
    assert_eq!(
        second.body["token"]["audit_ids"][1],
        first.body["token"]["audit_ids"][0]
    );
    assert_eq!(second.body["token"]["methods"], json!(["password", "token"]));
    service.pass(1_800_001);
    assert_eq!(
        service.get(&second.token(), "/v3/auth/projects").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        service.login(by_token(&first.token()), None).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(start_paused = true)]
async fn sec_1_what_is_disabled_or_gone_ends_its_tokens() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let (tenant, user) = service.tenant(&admin, "t", "member").await;
    let role = service.role(&admin, "member").await;
    let enabled = |kind: &str, enabled: bool| Some(json!({ kind: { "enabled": enabled } }));
    let grant = format!("/v3/projects/{tenant}/users/{user}/roles/{role}");
    let (users, projects) = (format!("/v3/users/{user}"), format!("/v3/projects/{tenant}"));
    type Undo<'a> = (&'a str, &'a str, Option<Value>, &'a str, Option<Value>);
    let undo: [Undo<'_>; 4] = [
        ("PATCH", &users, enabled("user", false), "PATCH", enabled("user", true)),
        (
            "PATCH",
            &projects,
            enabled("project", false),
            "PATCH",
            enabled("project", true),
        ),
        ("DELETE", &grant, None, "PUT", None),
        (
            "PATCH",
            &users,
            Some(json!({ "user": { "password": PASSWORD } })),
            "GET",
            None,
        ),
    ];
    for (method, path, body, undo, undo_body) in undo {
        let token = service.token("t", PASSWORD, project(&tenant)).await;
        assert_eq!(service.get(&token, "/v3/auth/catalog").await.status, StatusCode::OK);
        let done = service.ask(&admin, method, path, body.clone()).await;
        assert!(done.status.is_success(), "{method} {path} {}", done.body);
        assert_eq!(
            service.get(&token, "/v3/auth/catalog").await.status,
            StatusCode::UNAUTHORIZED,
            "{method} {path}"
        );
        let undone = service.ask(&admin, undo, path, undo_body).await;
        assert!(undone.status.is_success(), "{}", undone.body);
        // A token that ended does not come back when its user does; a role given again counts again.
        let again = service.get(&token, "/v3/auth/catalog").await.status;
        assert_eq!(again == StatusCode::OK, method == "DELETE", "{method} {path}");
    }
    let token = service.token("t", PASSWORD, project(&tenant)).await;
    assert_eq!(
        service.ask(&admin, "DELETE", &users, None).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        service.get(&token, "/v3/auth/catalog").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(start_paused = true)]
async fn rotated_keys_open_old_tokens_until_they_are_gone() {
    let service = Service::start().await;
    let token = service.admin().await;
    for _ in 0..2 {
        service.identity.rotate_keys().await.expect("rotated");
        assert!(service.identity.validate_token(&token).await.is_ok());
        assert!(service.identity.validate_token(&service.admin().await).await.is_ok());
    }
    service.identity.rotate_keys().await.expect("rotated");
    tokio::time::sleep(crate::records::COMPUTED_MAX).await;
    assert!(service.identity.validate_token(&token).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_judged_without_a_hop_and_in_less_than_a_millisecond() {
    const ROUNDS: u32 = 200;
    let service = Service::start().await;
    let admin = service.admin().await;
    let (tenant, _) = service.tenant(&admin, "t", "member").await;
    let token = service.token("t", PASSWORD, project(&tenant)).await;
    let hops = service.cluster.metadata.queries();
    let began = std::time::Instant::now();
    for _ in 0..ROUNDS {
        let payload = service.identity.open(&token, 0).await.expect("opens");
        service.identity.context(&payload).await.expect("valid");
    }
    let each = began.elapsed() / ROUNDS;
    assert_eq!(service.cluster.metadata.queries(), hops, "nobody was asked");
    assert!(each < std::time::Duration::from_millis(1), "{each:?} for one token");
}

#[tokio::test(start_paused = true)]
async fn too_many_wrong_passwords_lock_a_user_for_a_while() {
    let options = IdentityOptions {
        lockout_failures: Some(2),
        ..IdentityOptions::default()
    };
    let service = Service::with(options).await;
    for _ in 0..2 {
        assert_eq!(
            service.login(by_password("admin", "wrong"), None).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    let right = by_password("admin", ADMIN_PASSWORD);
    assert_eq!(
        service.login(right.clone(), None).await.status,
        StatusCode::UNAUTHORIZED
    );
    service.pass(300_000);
    assert_eq!(service.login(right, None).await.status, StatusCode::CREATED);
}

#[tokio::test(start_paused = true)]
async fn an_expired_password_is_only_good_for_changing_it() {
    let options = IdentityOptions {
        password_days: Some(1),
        password_history: 2,
        ..IdentityOptions::default()
    };
    let service = Service::with(options).await;
    service.pass(86_400_001);
    let expired = service.login(by_password("admin", ADMIN_PASSWORD), None).await;
    assert_eq!(expired.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        expired.body["error"]["message"],
        "The password is expired and needs to be changed."
    );
    let id = crate::names::find(&service.identity.records, crate::row::USERS, "default", "admin")
        .await
        .expect("read")
        .expect("there");
    let path = format!("/v3/users/{id}/password");
    let change = |old: &str, new: &str| Some(json!({ "user": { "original_password": old, "password": new } }));
    assert_eq!(
        service.send("POST", &path, &[], change("wrong", "new")).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        service
            .send("POST", &path, &[], change(ADMIN_PASSWORD, ADMIN_PASSWORD))
            .await
            .status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        service
            .send("POST", &path, &[], change(ADMIN_PASSWORD, "new"))
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        service
            .send("POST", &path, &[], change("new", ADMIN_PASSWORD))
            .await
            .status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        service.login(by_password("admin", "new"), None).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_login_beyond_the_queue_is_told_to_come_back() {
    let service = Service::start().await;
    let passwords = &service.identity.passwords;
    let mut waiting: Vec<_> = (0..300).map(|_| Box::pin(passwords.verify("x", None))).collect();
    for one in &mut waiting {
        let _ = futures::poll!(one.as_mut());
    }
    let answer = service.login(by_password("admin", ADMIN_PASSWORD), None).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "1");
}

#[tokio::test(start_paused = true)]
async fn judging_keys_asks_no_shard_either() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let (tenant, user) = service.tenant(&admin, "t", "member").await;
    let token = service.token("t", PASSWORD, project(&tenant)).await;
    let key = json!({ "tenant_id": tenant });
    let path = format!("/v3/users/{user}/credentials/OS-EC2");
    let key = service.ask(&token, "POST", &path, Some(key)).await;
    let access = key.body["credential"]["access"].as_str().expect("made");
    let directory = service.identity.directory();
    let before = service.cluster.metadata.queries();
    for _ in 0..10 {
        // What was judged lately is judged anew.
        tokio::time::advance(crate::records::COMPUTED_MAX).await;
        let context = service.identity.validate_token(&token).await.expect("good");
        assert!(context.has_role("member"));
        let key = crate::source::KeySource::lookup(&*directory, access).await;
        assert!(key.expect("answered").is_some());
    }
    assert_eq!(service.cluster.metadata.queries(), before, "questions to shards");
}
