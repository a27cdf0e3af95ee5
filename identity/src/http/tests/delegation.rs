//! Application credentials, trusts and EC2 credentials: what is handed on is never more than what was had.

use http::StatusCode;
use serde_json::json;

use super::*;
use crate::policy::Action;
use crate::source::KeySource;

async fn tenant_token(service: &Service, admin: &str, name: &str) -> (String, String, String) {
    let (tenant, user) = service.tenant(admin, name, "member").await;
    let token = service.token(name, PASSWORD, project(&tenant)).await;
    (tenant, user, token)
}

fn by_credential(id: &str, secret: &str) -> Value {
    json!({ "methods": ["application_credential"], "application_credential": { "id": id, "secret": secret } })
}

#[tokio::test(start_paused = true)]
async fn an_application_credential_works_and_makes_no_other() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let (_, user, token) = tenant_token(&service, &admin, "t").await;
    let path = format!("/v3/users/{user}/application_credentials");
    let wanted =
        |name: &str| Some(json!({ "application_credential": { "name": name, "roles": [{ "name": "reader" }] } }));
    let made = service.ask(&token, "POST", &path, wanted("backup")).await;
    let (id, secret) = (
        made.id("application_credential"),
        made.body["application_credential"]["secret"].clone(),
    );
    let secret = secret.as_str().expect("shown once");
    assert!(
        service.get(&token, &format!("{path}/{id}")).await.body["application_credential"]
            .get("secret")
            .is_none()
    );
    assert_eq!(
        service.ask(&token, "POST", &path, wanted("backup")).await.status,
        StatusCode::CONFLICT
    );

    let login = service.login(by_credential(&id, secret), None).await;
    assert_eq!(
        login.body["token"]["roles"].as_array().map(Vec::len),
        Some(1),
        "{}",
        login.body
    );
    let delegated = login.token();
    let ec2 = json!({ "tenant_id": login.body["token"]["project"]["id"] });
    let more = [
        ("POST", path.clone(), wanted("more")),
        ("DELETE", format!("{path}/{id}"), None),
        ("POST", format!("/v3/users/{user}/credentials/OS-EC2"), Some(ec2)),
    ];
    for (method, path, body) in more {
        assert_eq!(
            service.ask(&delegated, method, &path, body).await.status,
            StatusCode::FORBIDDEN,
            "{method} {path}"
        );
    }
    assert_eq!(
        service.login(by_token(&delegated), None).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        service.login(by_credential(&id, secret), Some(system())).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        service.login(by_credential(&id, "wrong"), None).await.status,
        StatusCode::UNAUTHORIZED
    );
    // Nobody makes one for somebody else, not even an administrator.
    assert_eq!(
        service.ask(&admin, "POST", &path, wanted("foreign")).await.status,
        StatusCode::FORBIDDEN
    );
    // With the credential its tokens end.
    assert_eq!(
        service
            .ask(&token, "DELETE", &format!("{path}/{id}"), None)
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        service.get(&delegated, "/v3/auth/catalog").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(start_paused = true)]
async fn access_rules_bound_a_token() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let (_, user, token) = tenant_token(&service, &admin, "t").await;
    let path = format!("/v3/users/{user}/application_credentials");
    let rules = json!([{ "service": "identity", "method": "GET", "path": "/v3/auth/projects" }]);
    let body = json!({ "application_credential": { "name": "a", "secret": "s3cret-words", "access_rules": rules } });
    let id = service
        .ask(&token, "POST", &path, Some(body))
        .await
        .id("application_credential");
    let bound = service.login(by_credential(&id, "s3cret-words"), None).await.token();
    assert_eq!(service.get(&bound, "/v3/auth/projects").await.status, StatusCode::OK);
    assert_eq!(
        service.get(&bound, "/v3/auth/catalog").await.status,
        StatusCode::FORBIDDEN
    );
    let rules = service.get(&token, &format!("/v3/users/{user}/access_rules")).await;
    assert_eq!(rules.body["access_rules"][0]["path"], "/v3/auth/projects");
}

#[tokio::test(start_paused = true)]
async fn ec2_credentials_are_s3_keys_for_ones_own_projects_only() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let (tenant, user, token) = tenant_token(&service, &admin, "t").await;
    let (foreign, other, _) = tenant_token(&service, &admin, "other").await;
    let path = format!("/v3/users/{user}/credentials/OS-EC2");
    let made = service
        .ask(&token, "POST", &path, Some(json!({ "tenant_id": tenant })))
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let access = made.body["credential"]["access"]
        .as_str()
        .expect("an access key")
        .to_owned();
    let directory = service.identity.directory();
    let key = directory
        .lookup(&access)
        .await
        .expect("answered")
        .expect("it works at once");
    assert_eq!(made.body["credential"]["secret"], key.secret.as_str());
    // For a foreign project, for a foreign user, and through the other API: no.
    let blob = json!({ "access": "mine-own-key", "secret": "long-enough" }).to_string();
    for (path, body) in [
        (path.clone(), json!({ "tenant_id": foreign })),
        (
            format!("/v3/users/{other}/credentials/OS-EC2"),
            json!({ "tenant_id": foreign }),
        ),
        (
            "/v3/credentials".into(),
            json!({ "credential": { "type": "ec2", "blob": blob, "project_id": foreign } }),
        ),
        (
            "/v3/credentials".into(),
            json!({ "credential": { "type": "ec2", "blob": blob, "user_id": other, "project_id": foreign } }),
        ),
    ] {
        assert_eq!(
            service.ask(&token, "POST", &path, Some(body)).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
    let listed = service.get(&token, "/v3/credentials").await;
    assert_eq!(
        listed.body["credentials"].as_array().map(Vec::len),
        Some(1),
        "only one's own"
    );
    // Disabled users' keys open nothing; deleted ones neither.
    let enabled = |enabled: bool| Some(json!({ "user": { "enabled": enabled } }));
    service
        .ask(&admin, "PATCH", &format!("/v3/users/{user}"), enabled(false))
        .await;
    assert!(directory.lookup(&access).await.expect("answered").is_none());
    service
        .ask(&admin, "PATCH", &format!("/v3/users/{user}"), enabled(true))
        .await;
    assert!(directory.lookup(&access).await.expect("answered").is_some());
    let token = service.token("t", PASSWORD, project(&tenant)).await;
    let removed = service.ask(&token, "DELETE", &format!("{path}/{access}"), None).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    assert!(directory.lookup(&access).await.expect("answered").is_none());
}

#[tokio::test(start_paused = true)]
async fn an_s3_key_is_worth_no_more_than_its_user() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let (tenant, user) = service.tenant(&admin, "t", "reader").await;
    let token = service.token("t", PASSWORD, project(&tenant)).await;
    let path = format!("/v3/users/{user}/credentials/OS-EC2");
    let made = service
        .ask(&token, "POST", &path, Some(json!({ "tenant_id": tenant })))
        .await;
    let access = made.body["credential"]["access"].as_str().expect("an access key");
    let directory = service.identity.directory();
    let lookup = async || directory.lookup(access).await.expect("answered");
    let may = |key: &crate::AccessKey| {
        (
            key.may(Action::S3ReadObject, &tenant),
            key.may(Action::S3WriteObject, &tenant),
        )
    };
    assert_eq!(may(&lookup().await.expect("a reader's key")), (true, false));
    let member = service.role(&admin, "member").await;
    let reader = service.role(&admin, "reader").await;
    let grant = |role: &str| format!("/v3/projects/{tenant}/users/{user}/roles/{role}");
    service.ask(&admin, "PUT", &grant(&member), None).await;
    let key = lookup().await.expect("a member's key");
    assert_eq!(may(&key), (true, true));
    assert!(
        !key.may(Action::S3ReadObject, "another"),
        "a key acts in its own project"
    );
    service.ask(&admin, "DELETE", &grant(&member), None).await;
    assert_eq!(may(&lookup().await.expect("a reader's key")), (true, false));
    service.ask(&admin, "DELETE", &grant(&reader), None).await;
    assert!(lookup().await.is_none(), "without a role it opens nothing");
}

#[tokio::test(start_paused = true)]
async fn signatures_are_judged_for_services_only() {
    use base64::Engine;
    use hmac::{Hmac, KeyInit, Mac};
    let service = Service::start().await;
    let admin = service.admin().await;
    let string = base64::engine::general_purpose::STANDARD.encode("GET\n\n\ndate\n/bucket");
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(b"the-first-secret").expect("a key");
    mac.update(b"GET\n\n\ndate\n/bucket");
    let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    let body = |signature: &str| {
        Some(json!({ "credentials": { "access": "HALOFIRSTKEY", "signature": signature, "token": string } }))
    };
    let (_, _, member) = tenant_token(&service, &admin, "t").await;
    for path in ["/v3/s3tokens", "/v3/ec2tokens"] {
        assert_eq!(
            service.send("POST", path, &[], body(&signature)).await.status,
            StatusCode::UNAUTHORIZED
        );
        assert_eq!(
            service.ask(&member, "POST", path, body(&signature)).await.status,
            StatusCode::FORBIDDEN
        );
    }
    let (tenant, _) = service.tenant(&admin, "gateway", "service").await;
    let gateway = service.token("gateway", PASSWORD, project(&tenant)).await;
    let judged = service.ask(&gateway, "POST", "/v3/s3tokens", body(&signature)).await;
    assert_eq!(judged.status, StatusCode::OK, "{}", judged.body);
    assert_eq!(judged.body["token"]["project"]["id"], "default");
    assert_eq!(judged.body["token"]["methods"], json!(["ec2credential"]));
    let wrong = body("AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert_eq!(
        service.ask(&gateway, "POST", "/v3/s3tokens", wrong).await.status,
        StatusCode::UNAUTHORIZED
    );
    // What was signed for one request makes no further tokens.
    assert_eq!(
        service.login(by_token(&judged.token()), None).await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test(start_paused = true)]
async fn a_trust_hands_on_some_roles_and_no_more() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let (tenant, trustor, token) = tenant_token(&service, &admin, "giver").await;
    let (_, trustee, other) = tenant_token(&service, &admin, "taker").await;
    let trust = |role: &str| {
        Some(
            json!({ "trust": { "trustor_user_id": trustor, "trustee_user_id": trustee, "project_id": tenant,
            "impersonation": true, "remaining_uses": 1, "roles": [{ "name": role }] } }),
        )
    };
    let path = "/v3/OS-TRUST/trusts";
    assert_eq!(
        service.ask(&token, "POST", path, trust("admin")).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        service.ask(&other, "POST", path, trust("reader")).await.status,
        StatusCode::FORBIDDEN
    );
    let id = service.ask(&token, "POST", path, trust("reader")).await.id("trust");
    let scope = json!({ "OS-TRUST:trust": { "id": id } });
    assert_eq!(
        service
            .login(by_password("giver", PASSWORD), Some(scope.clone()))
            .await
            .status,
        StatusCode::FORBIDDEN
    );
    let login = service.login(by_password("taker", PASSWORD), Some(scope.clone())).await;
    assert_eq!(login.body["token"]["user"]["id"], trustor.as_str(), "{}", login.body);
    assert_eq!(login.body["token"]["roles"].as_array().map(Vec::len), Some(1));
    let used_up = service.login(by_password("taker", PASSWORD), Some(scope)).await;
    assert_eq!(used_up.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        service.login(by_token(&login.token()), None).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        service
            .ask(&other, "DELETE", &format!("{path}/{id}"), None)
            .await
            .status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        service
            .ask(&token, "DELETE", &format!("{path}/{id}"), None)
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        service.get(&login.token(), "/v3/auth/catalog").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(start_paused = true)]
async fn a_trust_is_handed_on_only_as_it_says_and_ends_with_what_it_came_from() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let (tenant, giver, token) = tenant_token(&service, &admin, "giver").await;
    let mut users = Vec::new();
    for name in ["first", "second", "third"] {
        users.push(tenant_token(&service, &admin, name).await.1);
    }
    let path = "/v3/OS-TRUST/trusts";
    let wanted = |to: &str, more: Value| {
        let mut trust = json!({ "trustor_user_id": giver, "trustee_user_id": to, "project_id": tenant,
            "impersonation": true, "roles": [{ "name": "reader" }] });
        for (name, value) in more.as_object().expect("fields") {
            trust[name] = value.clone();
        }
        Some(json!({ "trust": trust }))
    };
    let make = async |token: &str, to: &str, more: Value| service.ask(token, "POST", path, wanted(to, more)).await;
    let through = async |user: &str, id: &str| {
        let scope = json!({ "OS-TRUST:trust": { "id": id } });
        service.login(by_password(user, PASSWORD), Some(scope)).await
    };
    let yes = || json!({ "allow_redelegation": true });
    // One that says nothing of it is not handed on.
    let plain = make(&token, &users[0], json!({})).await;
    assert_eq!(plain.body["trust"]["redelegation_count"], 0);
    let held = through("first", &plain.id("trust")).await.token();
    assert_eq!(make(&held, &users[1], json!({})).await.status, StatusCode::FORBIDDEN);

    for (more, status) in [
        (
            json!({ "allow_redelegation": true, "redelegation_count": 4 }),
            StatusCode::FORBIDDEN,
        ),
        (
            json!({ "allow_redelegation": true, "remaining_uses": 2 }),
            StatusCode::BAD_REQUEST,
        ),
        (json!({ "allow_redelegation": "yes" }), StatusCode::BAD_REQUEST),
        (
            json!({ "allow_redelegation": true, "redelegation_count": -1 }),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        assert_eq!(make(&token, &users[0], more.clone()).await.status, status, "{more}");
    }
    let ends = "2099-01-01T00:00:00.000000Z";
    let chain = json!({ "allow_redelegation": true, "redelegation_count": 2, "expires_at": ends });
    let first = make(&token, &users[0], chain).await.id("trust");
    let held = through("first", &first).await.token();
    for more in [
        json!({ "roles": [{ "name": "member" }] }),
        json!({ "expires_at": "2100-01-01T00:00:00.000000Z" }),
        json!({ "remaining_uses": 1 }),
        json!({ "allow_redelegation": true, "redelegation_count": 2 }),
    ] {
        assert_eq!(
            make(&held, &users[1], more.clone()).await.status,
            StatusCode::FORBIDDEN,
            "{more}"
        );
    }
    let second = make(&held, &users[1], yes()).await;
    let told = &second.body["trust"];
    assert_eq!(
        (&told["redelegation_count"], &told["expires_at"]),
        (&json!(1), &json!(ends))
    );
    assert_eq!(told["redelegated_trust_id"], first.as_str());
    let second = second.id("trust");
    let held = through("second", &second).await.token();
    let third = make(&held, &users[2], yes()).await.id("trust");
    let login = through("third", &third).await;
    assert_eq!(login.body["token"]["user"]["id"], giver.as_str(), "{}", login.body);
    assert_eq!(login.body["token"]["roles"][0]["name"], "reader");
    let last = login.token();
    assert_eq!(
        make(&last, &users[0], json!({})).await.status,
        StatusCode::FORBIDDEN,
        "no further"
    );
    assert_eq!(service.get(&last, "/v3/auth/catalog").await.status, StatusCode::OK);

    // With the first one all end: tokens and trusts.
    let removed = service.ask(&token, "DELETE", &format!("{path}/{first}"), None).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    assert_eq!(
        service.get(&last, "/v3/auth/catalog").await.status,
        StatusCode::UNAUTHORIZED
    );
    for (user, id) in [("second", &second), ("third", &third)] {
        assert_eq!(through(user, id).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_one_time_password_works_once() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let (_, user, token) = tenant_token(&service, &admin, "t").await;
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let body = json!({ "credential": { "type": "totp", "user_id": user, "blob": secret } });
    assert_eq!(
        service.ask(&token, "POST", "/v3/credentials", Some(body)).await.status,
        StatusCode::CREATED
    );
    let passcode =
        crate::login::passcode_for_tests(b"12345678901234567890", service.identity.records.now_ms() / 30_000);
    let proof = json!({ "methods": ["totp"], "totp": { "user": { "id": user, "passcode": passcode } } });
    assert_eq!(service.login(proof.clone(), None).await.status, StatusCode::CREATED);
    assert_eq!(service.login(proof, None).await.status, StatusCode::UNAUTHORIZED);
}
