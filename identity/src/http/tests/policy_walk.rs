//! Every endpoint against those who may not use it: nobody, somebody of another project, somebody who only reads.

use http::StatusCode;
use serde_json::json;

use super::super::routes::{ROUTES, Route};
use super::*;
use crate::policy::{Action, Grant};

/// What may be seen by everybody who has a token, besides what the policy says so of: one's own things.
const OWN_THINGS: &[&str] = &["/v3/credentials", "/v3/limits", "/v3/domains/{domain_id}"];

fn is_open(route: &Route) -> bool {
    route.action.grants().contains(&Grant::Anyone)
}

fn is_for_all(route: &Route) -> bool {
    route.action.grants().contains(&Grant::Authenticated)
}

fn reads(route: &Route) -> bool {
    matches!(route.method, "GET" | "HEAD")
}

/// The ids of what every path is about: things of the project `victim`.
async fn fill(service: &Service, admin: &str) -> Vec<(&'static str, String)> {
    let (tenant, user) = service.tenant(admin, "victim", "member").await;
    let group = json!({ "group": { "name": "victims" } });
    let group = service.ask(admin, "POST", "/v3/groups", Some(group)).await.id("group");
    service
        .ask(admin, "PUT", &format!("/v3/groups/{group}/users/{user}"), None)
        .await;
    let role = service.role(admin, "member").await;
    let reader = service.role(admin, "reader").await;
    let token = service.token("victim", PASSWORD, project(&tenant)).await;
    let ec2 = json!({ "tenant_id": tenant });
    let ec2 = service
        .ask(
            &token,
            "POST",
            &format!("/v3/users/{user}/credentials/OS-EC2"),
            Some(ec2),
        )
        .await;
    let rules = json!([{ "service": "identity", "method": "GET", "path": "/v3" }]);
    let credential = json!({ "application_credential": { "name": "c", "access_rules": rules } });
    let credentials = format!("/v3/users/{user}/application_credentials");
    let credential = service.ask(&token, "POST", &credentials, Some(credential)).await;
    let trust = json!({ "trust": { "trustor_user_id": user, "trustee_user_id": user, "project_id": tenant,
        "impersonation": false, "roles": [{ "name": "reader" }] } });
    let trust = service
        .ask(&token, "POST", "/v3/OS-TRUST/trusts", Some(trust))
        .await
        .id("trust");
    let id = |name: &str| credential.body["application_credential"][name].clone();
    vec![
        ("{project_id}", tenant),
        ("{user_id}", user),
        ("{group_id}", group),
        ("{domain_id}", "default".into()),
        ("{implied_role_id}", reader),
        ("{role_id}", role),
        (
            "{credential_id}",
            ec2.body["credential"]["access"].as_str().expect("made").into(),
        ),
        ("{application_credential_id}", id("id").as_str().expect("made").into()),
        (
            "{access_rule_id}",
            id("access_rules")[0]["id"].as_str().expect("made").into(),
        ),
        ("{trust_id}", trust),
        ("{id}", "here".into()),
        ("{value}", "tag".into()),
    ]
}

fn path_of(route: &Route, ids: &[(&str, String)]) -> String {
    ids.iter()
        .fold(route.path.to_owned(), |path, (name, id)| path.replace(name, id))
}

/// A body with the right form for every kind, so that refusals come from the policy.
fn body_of(route: &Route, ids: &[(&str, String)]) -> Option<Value> {
    if reads(route) || route.method == "DELETE" {
        return None;
    }
    let user = &ids[1].1;
    Some(json!({
        "domain": { "name": "n" }, "project": { "name": "n" }, "user": { "name": "n" }, "group": { "name": "n" },
        "role": { "name": "n" }, "region": {}, "service": { "type": "n" },
        "endpoint": { "interface": "public", "url": "http://n", "service_id": "n" },
        "credential": { "type": "totp", "blob": "n", "user_id": user },
        "application_credential": { "name": "n" }, "tenant_id": ids[0].1, "tags": [],
        "trust": { "trustor_user_id": user, "trustee_user_id": user, "impersonation": true },
        "registered_limits": [], "limits": [], "registered_limit": {}, "limit": {}, "credentials": {},
    }))
}

#[tokio::test(start_paused = true)]
async fn without_a_token_only_open_endpoints_answer() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let ids = fill(&service, &admin).await;
    for route in ROUTES {
        let body = body_of(route, &ids);
        for headers in [&[][..], &[("x-auth-token", "not-a-token")][..]] {
            let answer = service
                .send(route.method, &path_of(route, &ids), headers, body.clone())
                .await;
            let refused = answer.status == StatusCode::UNAUTHORIZED;
            assert!(
                refused || is_open(route),
                "{} {}: {}",
                route.method,
                route.path,
                answer.status
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_projects_admin_reaches_nothing() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let ids = fill(&service, &admin).await;
    let (other, _) = service.tenant(&admin, "other", "admin").await;
    let token = service.token("other", PASSWORD, project(&other)).await;
    for route in ROUTES {
        if is_open(route) || is_for_all(route) || (reads(route) && OWN_THINGS.contains(&route.path)) {
            continue;
        }
        // Roles are no secret to whoever manages a project.
        if route.action == Action::IdentityReadRole {
            continue;
        }
        let answer = service
            .ask(&token, route.method, &path_of(route, &ids), body_of(route, &ids))
            .await;
        assert_eq!(
            answer.status,
            StatusCode::FORBIDDEN,
            "{} {}: {}",
            route.method,
            route.path,
            answer.body
        );
    }
}

#[tokio::test(start_paused = true)]
async fn readers_change_nothing() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let ids = fill(&service, &admin).await;
    let tenant = ids[0].1.clone();
    let user = json!({ "user": { "name": "reader", "password": PASSWORD } });
    let user = service.ask(&admin, "POST", "/v3/users", Some(user)).await.id("user");
    let reader = service.role(&admin, "reader").await;
    for place in [format!("projects/{tenant}"), "domains/default".into(), "system".into()] {
        let grant = format!("/v3/{place}/users/{user}/roles/{reader}");
        assert_eq!(
            service.ask(&admin, "PUT", &grant, None).await.status,
            StatusCode::NO_CONTENT
        );
    }
    for scope in [project(&tenant), json!({ "domain": { "id": "default" } }), system()] {
        let token = service.token("reader", PASSWORD, scope.clone()).await;
        for route in ROUTES {
            let own_token = route.path.starts_with("/v3/auth/");
            if is_open(route) || own_token {
                continue;
            }
            let answer = service
                .ask(&token, route.method, &path_of(route, &ids), body_of(route, &ids))
                .await;
            if !reads(route) {
                assert_eq!(
                    answer.status,
                    StatusCode::FORBIDDEN,
                    "{} {} {scope}: {}",
                    route.method,
                    route.path,
                    answer.body
                );
            } else if scope == system() {
                let seen = answer.status.is_success() || answer.status == StatusCode::NOT_FOUND;
                assert!(
                    seen,
                    "{} {}: {} {}",
                    route.method, route.path, answer.status, answer.body
                );
            }
        }
    }
}

#[test]
fn every_action_of_identity_has_an_endpoint() {
    let named = |action: &Action| action.name().starts_with("identity:");
    for action in crate::policy::ACTIONS.iter().filter(|action| named(action)) {
        let beside_an_endpoint = matches!(action, Action::IdentityValidateToken | Action::IdentityRevokeToken);
        assert!(
            beside_an_endpoint || ROUTES.iter().any(|route| route.action == *action),
            "{}",
            action.name()
        );
    }
}
