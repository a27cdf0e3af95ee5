//! Things made, changed, listed and removed.

use http::StatusCode;
use serde_json::json;

use super::*;

#[tokio::test(start_paused = true)]
async fn names_are_unique_where_they_must_be() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let post = async |path: &str, body: Value| service.ask(&admin, "POST", path, Some(body)).await;
    let domain = post("/v3/domains", json!({ "domain": { "name": "other" } }))
        .await
        .id("domain");
    for (path, one) in [
        ("/v3/projects", "project"),
        ("/v3/users", "user"),
        ("/v3/groups", "group"),
    ] {
        let first = post(path, json!({ one: { "name": "n" } })).await;
        assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
        assert_eq!(first.body[one]["domain_id"], "default");
        let again = post(path, json!({ one: { "name": "n" } })).await;
        assert_eq!(
            (again.status, &again.body["error"]["title"]),
            (StatusCode::CONFLICT, &json!("Conflict"))
        );
        let elsewhere = post(path, json!({ one: { "name": "n", "domain_id": domain } })).await;
        assert_eq!(elsewhere.status, StatusCode::CREATED);
        let id = first.id(one);
        let renamed = service
            .ask(
                &admin,
                "PATCH",
                &format!("{path}/{id}"),
                Some(json!({ one: { "name": "m" } })),
            )
            .await;
        assert_eq!(renamed.body[one]["name"], "m");
        assert_eq!(
            post(path, json!({ one: { "name": "n" } })).await.status,
            StatusCode::CREATED,
            "the old name is free"
        );
        let found = service.get(&admin, &format!("{path}?name=m&domain_id=default")).await;
        assert_eq!(found.body[format!("{one}s")].as_array().map(Vec::len), Some(1));
        assert_eq!(
            service
                .ask(&admin, "DELETE", &format!("{path}/{id}"), None)
                .await
                .status,
            StatusCode::NO_CONTENT
        );
        let gone = service.get(&admin, &format!("{path}/{id}")).await;
        assert_eq!(
            (gone.status, &gone.body["error"]["code"]),
            (StatusCode::NOT_FOUND, &json!(404))
        );
    }
    assert_eq!(
        post("/v3/users", json!({ "user": { "name": "x", "domain_id": "nowhere" } }))
            .await
            .status,
        StatusCode::NOT_FOUND
    );
    let enabled = service
        .ask(&admin, "DELETE", &format!("/v3/domains/{domain}"), None)
        .await;
    assert_eq!(enabled.status, StatusCode::FORBIDDEN);
    service
        .ask(
            &admin,
            "PATCH",
            &format!("/v3/domains/{domain}"),
            Some(json!({ "domain": { "enabled": false } })),
        )
        .await;
    assert_eq!(
        service
            .ask(&admin, "DELETE", &format!("/v3/domains/{domain}"), None)
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    let left = service.get(&admin, &format!("/v3/users?domain_id={domain}")).await;
    assert_eq!(left.body["users"], json!([]), "what lay in the domain went with it");
}

#[tokio::test(start_paused = true)]
async fn secrets_are_never_shown() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let user = json!({ "user": { "name": "u", "password": PASSWORD, "email": "u@example.org" } });
    let made = service.ask(&admin, "POST", "/v3/users", Some(user)).await;
    assert_eq!(made.body["user"]["email"], "u@example.org");
    let listed = service.get(&admin, "/v3/users").await;
    for body in [made.body, listed.body] {
        let text = body.to_string();
        assert!(
            !text.contains("password_hash") && !text.contains("argon2") && !text.contains(PASSWORD),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn roles_come_through_groups_inheritance_and_implication() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let post = async |path: &str, body: Value| service.ask(&admin, "POST", path, Some(body)).await;
    let put = async |path: String| {
        assert_eq!(
            service.ask(&admin, "PUT", &path, None).await.status,
            StatusCode::NO_CONTENT,
            "{path}"
        )
    };
    let parent = post("/v3/projects", json!({ "project": { "name": "parent" } }))
        .await
        .id("project");
    let child = post(
        "/v3/projects",
        json!({ "project": { "name": "child", "parent_id": parent } }),
    )
    .await
    .id("project");
    let user = post("/v3/users", json!({ "user": { "name": "u", "password": PASSWORD } }))
        .await
        .id("user");
    let group = post("/v3/groups", json!({ "group": { "name": "g" } }))
        .await
        .id("group");
    let member = service.role(&admin, "member").await;
    put(format!("/v3/groups/{group}/users/{user}")).await;
    put(format!(
        "/v3/OS-INHERIT/projects/{parent}/groups/{group}/roles/{member}/inherited_to_projects"
    ))
    .await;
    let login = service.login(by_password("u", PASSWORD), Some(project(&child))).await;
    let names: Vec<_> = login.body["token"]["roles"]
        .as_array()
        .expect("roles")
        .iter()
        .map(|role| role["name"].clone())
        .collect();
    assert_eq!(names, ["member", "reader"]);
    assert_eq!(
        service
            .login(by_password("u", PASSWORD), Some(project(&parent)))
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
    let mine = service.get(&login.token(), "/v3/auth/projects").await;
    assert_eq!(mine.body["projects"].as_array().map(Vec::len), Some(1));
    let effective = service
        .get(
            &admin,
            &format!("/v3/role_assignments?effective&include_names&user.id={user}"),
        )
        .await;
    let listed = effective.body["role_assignments"].as_array().expect("a list").clone();
    assert_eq!(listed.len(), 2, "{}", effective.body);
    assert_eq!(listed[0]["scope"]["project"]["name"], "child");
    // Out of the group, out of the project.
    service
        .ask(&admin, "DELETE", &format!("/v3/groups/{group}/users/{user}"), None)
        .await;
    assert_eq!(
        service.get(&login.token(), "/v3/auth/projects").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(start_paused = true)]
async fn a_domains_manager_stays_in_the_domain() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let post = async |token: &str, path: &str, body: Value| service.ask(token, "POST", path, Some(body)).await;
    let domain = post(&admin, "/v3/domains", json!({ "domain": { "name": "theirs" } }))
        .await
        .id("domain");
    let user = json!({ "user": { "name": "boss", "password": PASSWORD, "domain_id": domain } });
    let user = post(&admin, "/v3/users", user).await.id("user");
    let (manager, member, reader) = (
        service.role(&admin, "manager").await,
        service.role(&admin, "member").await,
        service.role(&admin, "admin").await,
    );
    service
        .ask(
            &admin,
            "PUT",
            &format!("/v3/domains/{domain}/users/{user}/roles/{manager}"),
            None,
        )
        .await;
    let proof = json!({ "methods": ["password"], "password": { "user": { "id": user, "password": PASSWORD } } });
    let boss = service
        .login(proof, Some(json!({ "domain": { "id": domain } })))
        .await
        .token();
    let own = post(&boss, "/v3/projects", json!({ "project": { "name": "p" } })).await;
    assert_eq!(own.body["project"]["domain_id"], domain.as_str(), "{}", own.body);
    let own = own.id("project");
    let foreign = post(
        &boss,
        "/v3/users",
        json!({ "user": { "name": "x", "domain_id": "default" } }),
    )
    .await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    let grant = |place: &str, role: &str| format!("/v3/{place}/users/{user}/roles/{role}");
    let status = async |path: String| service.ask(&boss, "PUT", &path, None).await.status;
    assert_eq!(
        status(grant(&format!("projects/{own}"), &member)).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        status(grant(&format!("projects/{own}"), &reader)).await,
        StatusCode::FORBIDDEN,
        "admin is not theirs to give"
    );
    assert_eq!(status(grant("projects/default", &member)).await, StatusCode::FORBIDDEN);
    assert_eq!(status(grant("system", &member)).await, StatusCode::FORBIDDEN);
    let users = service.get(&boss, "/v3/users").await;
    assert_eq!(
        users.body["users"].as_array().map(Vec::len),
        Some(1),
        "only the domain's own"
    );
}

#[tokio::test(start_paused = true)]
async fn the_catalog_follows_services_and_endpoints() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let post = async |path: &str, body: Value| service.ask(&admin, "POST", path, Some(body)).await;
    let image = post(
        "/v3/services",
        json!({ "service": { "type": "image", "name": "glance" } }),
    )
    .await
    .id("service");
    let endpoint = json!({ "endpoint": { "interface": "public", "url": "http://glance", "service_id": image, "region": "there" } });
    let endpoint = post("/v3/endpoints", endpoint).await.id("endpoint");
    assert_eq!(
        service.get(&admin, "/v3/regions/there").await.status,
        StatusCode::OK,
        "made with the endpoint"
    );
    let catalog = service.get(&admin, "/v3/auth/catalog").await;
    let types: Vec<_> = catalog.body["catalog"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["type"].clone())
        .collect();
    assert!(types.contains(&json!("image")) && types.contains(&json!("object-store")));
    service
        .ask(
            &admin,
            "PATCH",
            &format!("/v3/endpoints/{endpoint}"),
            Some(json!({ "endpoint": { "enabled": false } })),
        )
        .await;
    let catalog = service.get(&admin, "/v3/auth/catalog").await;
    assert!(!catalog.body.to_string().contains("http://glance"));
    let refused = service.ask(&admin, "DELETE", "/v3/regions/there", None).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "it is in use");
    assert_eq!(
        service
            .ask(&admin, "DELETE", &format!("/v3/services/{image}"), None)
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        service.get(&admin, &format!("/v3/endpoints/{endpoint}")).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test(start_paused = true)]
async fn limits_need_a_registered_one() {
    let service = Service::start().await;
    let admin = service.admin().await;
    let found = service.get(&admin, "/v3/services").await;
    let swift = found.body["services"][0]["id"].clone();
    let limit = json!({ "limits": [{ "project_id": "default", "service_id": swift, "resource_name": "bytes", "resource_limit": 5 }] });
    let early = service.ask(&admin, "POST", "/v3/limits", Some(limit.clone())).await;
    assert_eq!(early.status, StatusCode::FORBIDDEN);
    let registered =
        json!({ "registered_limits": [{ "service_id": swift, "resource_name": "bytes", "default_limit": 9 }] });
    let registered = service
        .ask(&admin, "POST", "/v3/registered_limits", Some(registered))
        .await;
    assert_eq!(registered.status, StatusCode::CREATED, "{}", registered.body);
    let made = service.ask(&admin, "POST", "/v3/limits", Some(limit.clone())).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(
        service.ask(&admin, "POST", "/v3/limits", Some(limit)).await.status,
        StatusCode::CONFLICT
    );
    let id = registered.body["registered_limits"][0]["id"].as_str().expect("an id");
    let used = service
        .ask(&admin, "DELETE", &format!("/v3/registered_limits/{id}"), None)
        .await;
    assert_eq!(used.status, StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn versions_are_told_to_everybody() {
    let service = Service::start().await;
    let all = service.send("GET", "/", &[], None).await;
    assert_eq!(all.status, StatusCode::MULTIPLE_CHOICES);
    assert_eq!(
        all.body["versions"]["values"][0]["links"][0]["href"],
        "http://keystone:5000/v3/"
    );
    for path in ["/v3", "/v3/"] {
        assert_eq!(
            service.send("GET", path, &[], None).await.body["version"]["id"],
            "v3.14"
        );
    }
    // A Host header that is no host is not repeated.
    let mut odd = Request::builder().uri("/v3").header("host", "a\"b");
    odd = odd.header("x-forwarded-host", "evil");
    let answer = service
        .router
        .clone()
        .oneshot(odd.body(Body::empty()).expect("a request"))
        .await
        .expect("infallible");
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("http://localhost/v3/"));
}
