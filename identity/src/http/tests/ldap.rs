//! Users of a directory, against Debian's slapd; without it these tests say so and pass.

use http::StatusCode;
use ldap3::Mod;
use serde_json::json;

use super::slapd::{Slapd, certificate};
use super::*;
use crate::ldap::{LdapBackends, LdapOptions};
use crate::source::KeySource;
use crate::token::TokenSource;

/// The service with the domain `corp`: itself, its admin's token, the domain's id.
async fn service_with(options: LdapOptions) -> (Service, String, String) {
    let ldap = LdapBackends::new(&[options]).expect("good settings");
    let service = Service::with(IdentityOptions {
        ldap,
        ..IdentityOptions::default()
    })
    .await;
    let admin = service.admin().await;
    let domain = json!({ "domain": { "name": "corp" } });
    let domain = service
        .ask(&admin, "POST", "/v3/domains", Some(domain))
        .await
        .id("domain");
    (service, admin, domain)
}

fn in_corp(user: &str, password: &str) -> Value {
    let user = json!({ "name": user, "domain": { "name": "corp" }, "password": password });
    json!({ "methods": ["password"], "password": { "user": user } })
}

/// The id of a user of the domain, found as clients find it: by name.
async fn user_named(service: &Service, admin: &str, domain: &str, name: &str) -> Option<String> {
    let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    let found = service
        .get(admin, &format!("/v3/users?name={name}&domain_id={domain}"))
        .await;
    assert_eq!(found.status, StatusCode::OK, "{}", found.body);
    found.body["users"][0]["id"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_directorys_user_logs_in_with_the_roles_they_were_given() {
    let Some(slapd) = Slapd::start() else { return };
    let (service, admin, domain) = service_with(slapd.options()).await;
    // Roles before the first login: the user is found by name, the group too.
    let alice = user_named(&service, &admin, &domain, "alice").await.expect("found");
    let project_body = json!({ "project": { "name": "p" } });
    let tenant = service
        .ask(&admin, "POST", "/v3/projects", Some(project_body))
        .await
        .id("project");
    let (reader, member) = (
        service.role(&admin, "reader").await,
        service.role(&admin, "member").await,
    );
    let grant = format!("/v3/projects/{tenant}/users/{alice}/roles/{reader}");
    assert_eq!(
        service.ask(&admin, "PUT", &grant, None).await.status,
        StatusCode::NO_CONTENT
    );
    let groups = service
        .get(&admin, &format!("/v3/groups?name=writers&domain_id={domain}"))
        .await;
    let writers = groups.body["groups"][0]["id"].as_str().expect("found").to_owned();
    let grant = format!("/v3/projects/{tenant}/groups/{writers}/roles/{member}");
    assert_eq!(
        service.ask(&admin, "PUT", &grant, None).await.status,
        StatusCode::NO_CONTENT
    );

    let login = service
        .login(in_corp("alice", "alices-password"), Some(project(&tenant)))
        .await;
    assert_eq!(login.status, StatusCode::CREATED, "{}", login.body);
    assert_eq!(login.body["token"]["user"]["id"], alice.as_str());
    assert_eq!(login.body["token"]["user"]["domain"]["name"], "corp");
    let roles = login.body["token"]["roles"].as_array().map(Vec::len);
    assert_eq!(roles, Some(2), "member through the group, reader: {}", login.body);
    let shown = service.get(&admin, &format!("/v3/users/{alice}")).await;
    assert_eq!(shown.body["user"]["email"], "alice@example.org");

    // By id as well; and what is made with the token is an S3 key like any other.
    let by_id =
        json!({ "methods": ["password"], "password": { "user": { "id": alice, "password": "alices-password" } } });
    assert_eq!(service.login(by_id, None).await.status, StatusCode::CREATED);
    let path = format!("/v3/users/{alice}/credentials/OS-EC2");
    let key = service
        .ask(&login.token(), "POST", &path, Some(json!({ "tenant_id": tenant })))
        .await;
    let access = key.body["credential"]["access"].as_str().expect("made");
    assert!(
        service
            .identity
            .directory()
            .lookup(access)
            .await
            .expect("answered")
            .is_some()
    );

    // Out of the group in the directory: out of it here with the next login.
    let mut root = slapd.root().await;
    let nobody = std::collections::HashSet::from(["cn=nobody"]);
    let change = vec![Mod::Replace("member", nobody)];
    root.modify("cn=writers,ou=groups,dc=example,dc=org", change)
        .await
        .expect("answered")
        .success()
        .expect("done");
    let login = service
        .login(in_corp("alice", "alices-password"), Some(project(&tenant)))
        .await;
    assert_eq!(
        login.body["token"]["roles"].as_array().map(Vec::len),
        Some(1),
        "{}",
        login.body
    );
}

#[tokio::test]
async fn sec_1_wrong_proofs_are_refused() {
    let Some(slapd) = Slapd::start() else { return };
    let (service, admin, domain) = service_with(slapd.options()).await;
    for (user, password) in [
        ("alice", "wrong"),
        // A bind without a password would succeed.
        ("alice", ""),
        ("nobody", "alices-password"),
        ("*", "alices-password"),
        ("alice)(uid=*", "alices-password"),
        ("a*", "alices-password"),
        ("", "alices-password"),
        ("bob", "bobs-password"),
    ] {
        let answer = service.login(in_corp(user, password), None).await;
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "{user} {password}: {}",
            answer.body
        );
    }
    // A name full of what filters are made of is found as it is.
    let answer = service.login(in_corp("bob (x)*", "bobs-password"), None).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert!(user_named(&service, &admin, &domain, "bob (x)*").await.is_some());
    assert!(user_named(&service, &admin, &domain, "b*").await.is_none());
    // Locked after too many, whatever the directory would say.
    for _ in 0..10 {
        service.login(in_corp("alice", "wrong"), None).await;
    }
    let locked = service.login(in_corp("alice", "alices-password"), None).await;
    assert_eq!(locked.status, StatusCode::UNAUTHORIZED);
    service.pass(300_001);
    let again = service.login(in_corp("alice", "alices-password"), None).await;
    assert_eq!(again.status, StatusCode::CREATED, "{}", again.body);
}

#[tokio::test]
async fn a_directory_is_not_written_to() {
    let Some(slapd) = Slapd::start() else { return };
    let (service, admin, domain) = service_with(slapd.options()).await;
    let alice = user_named(&service, &admin, &domain, "alice").await.expect("found");
    let listed = service.get(&admin, &format!("/v3/groups?domain_id={domain}")).await;
    let group = listed.body["groups"][0]["id"].as_str().expect("found").to_owned();
    for (method, path, body) in [
        (
            "POST",
            "/v3/users".to_owned(),
            json!({ "user": { "name": "n", "domain_id": domain } }),
        ),
        (
            "PATCH",
            format!("/v3/users/{alice}"),
            json!({ "user": { "password": "new" } }),
        ),
        (
            "PATCH",
            format!("/v3/users/{alice}"),
            json!({ "user": { "name": "new" } }),
        ),
        (
            "POST",
            "/v3/groups".to_owned(),
            json!({ "group": { "name": "n", "domain_id": domain } }),
        ),
        (
            "PATCH",
            format!("/v3/groups/{group}"),
            json!({ "group": { "name": "new" } }),
        ),
        ("PUT", format!("/v3/groups/{group}/users/{alice}"), json!(null)),
        ("DELETE", format!("/v3/groups/{group}/users/{alice}"), json!(null)),
    ] {
        let body = (!body.is_null()).then_some(body);
        let answer = service.ask(&admin, method, &path, body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}: {}", answer.body);
    }
    let body = json!({ "user": { "original_password": "alices-password", "password": "new" } });
    let changed = service
        .send("POST", &format!("/v3/users/{alice}/password"), &[], Some(body))
        .await;
    assert_eq!(changed.status, StatusCode::UNAUTHORIZED);
    // Other domains are as they were.
    let local = json!({ "user": { "name": "local", "password": PASSWORD } });
    assert_eq!(
        service.ask(&admin, "POST", "/v3/users", Some(local)).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn whoever_leaves_the_directory_is_shut_out() {
    let Some(mut slapd) = Slapd::start() else { return };
    let (service, _, _) = service_with(slapd.options()).await;
    let alice = service.login(in_corp("alice", "alices-password"), None).await.token();
    let bob = service.login(in_corp("bob (x)*", "bobs-password"), None).await.token();
    let mut root = slapd.root().await;
    let gone = root.delete("uid=alice,ou=people,dc=example,dc=org").await;
    gone.expect("answered").success().expect("removed");
    assert!(
        service.identity.validate_token(&alice).await.is_ok(),
        "not looked after yet"
    );
    service
        .identity
        .options
        .ldap
        .refresh(&service.identity.records)
        .await
        .expect("answered");
    assert!(service.identity.validate_token(&alice).await.is_err());
    assert!(service.identity.validate_token(&bob).await.is_ok());
    // A directory that is away is no reason to shut anybody out, and none to let anybody in.
    slapd.process.kill().expect("killed");
    slapd.process.wait().expect("ended");
    assert!(
        service
            .identity
            .options
            .ldap
            .refresh(&service.identity.records)
            .await
            .is_err()
    );
    assert!(service.identity.validate_token(&bob).await.is_ok());
    let answer = service.login(in_corp("bob (x)*", "bobs-password"), None).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn sec_1_certificates_are_checked() {
    let Some(slapd) = Slapd::start() else { return };
    let trusted = std::fs::read(slapd.folder.path().join("certificate.pem")).expect("written");
    let other = tempfile::tempdir().expect("a temporary folder");
    let foreign = std::fs::read(certificate(other.path()).0).expect("written");
    let secure = format!("ldaps://localhost:{}", slapd.secure_port);
    let plain = format!("ldap://localhost:{}", slapd.port);
    for (url, start_tls, ca, wanted) in [
        (&secure, false, &trusted, StatusCode::CREATED),
        (&plain, true, &trusted, StatusCode::CREATED),
        (&secure, false, &foreign, StatusCode::SERVICE_UNAVAILABLE),
        (&plain, true, &foreign, StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let options = LdapOptions {
            url: url.clone(),
            start_tls,
            ca_pem: Some(ca.clone()),
            ..slapd.options()
        };
        let (service, _, _) = service_with(options).await;
        let answer = service.login(in_corp("alice", "alices-password"), None).await;
        assert_eq!(answer.status, wanted, "{url} {start_tls}: {}", answer.body);
    }
}
