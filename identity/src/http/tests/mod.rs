//! The service as a whole, over a cluster in memory.

mod delegation;
mod ldap;
mod policy_walk;
mod resources;
mod slapd;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use clock::{ManualClock, SeededDice};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use store::testing::{Cluster, START_MS};
use tower::ServiceExt;

use super::router;
use crate::bootstrap::{CatalogEntry, Seed};
use crate::service::{Identity, IdentityOptions};

const ADMIN_PASSWORD: &str = "the-admins-password";
const PASSWORD: &str = "a-users-password";

/// The service, its clock and its cluster.
struct Service {
    router: Router,
    identity: Arc<Identity>,
    clock: ManualClock,
    cluster: Cluster,
}

/// What was answered.
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answered {
    fn token(&self) -> String {
        let token = self.headers.get("x-subject-token").expect("a token was made");
        token.to_str().expect("text").to_owned()
    }

    fn id(&self, kind: &str) -> String {
        assert!(self.status.is_success(), "{}: {}", self.status, self.body);
        self.body[kind]["id"].as_str().expect("an id").to_owned()
    }
}

impl Service {
    async fn start() -> Self {
        Self::with(IdentityOptions::default()).await
    }

    async fn with(options: IdentityOptions) -> Self {
        let cluster = Cluster::default();
        let clock = ManualClock::at(START_MS);
        let dice = Arc::new(SeededDice::new(5));
        let identity = Identity::new(cluster.store.clone(), Arc::new(clock.clone()), dice, &[1; 32], options);
        let identity = Arc::new(identity);
        let seed = Seed {
            admin: "admin".into(),
            password: ADMIN_PASSWORD.into(),
            project: "default".into(),
            access_key: Some("HALOFIRSTKEY".into()),
            secret_key: Some("the-first-secret".into()),
            region: "here".into(),
            catalog: vec![CatalogEntry {
                kind: "object-store".into(),
                name: "swift".into(),
                url: "http://swift/v1/AUTH_$(project_id)s".into(),
            }],
        };
        identity.bootstrap(&seed).await.expect("bootstrapped");
        identity.bootstrap(&seed).await.expect("bootstrapped again");
        Self {
            router: router(identity.clone()),
            identity,
            clock,
            cluster,
        }
    }

    /// Lets time pass, so that what was made before is older than what is done next.
    fn pass(&self, ms: u64) {
        self.clock.advance_ms(ms);
        self.cluster.clock.advance_ms(ms);
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answered {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "keystone:5000");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.body(body).expect("a request");
        let answer = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        Answered {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answered {
        self.pass(1);
        self.send(method, path, &[("x-auth-token", token)], body).await
    }

    async fn get(&self, token: &str, path: &str) -> Answered {
        self.ask(token, "GET", path, None).await
    }

    async fn login(&self, identity: Value, scope: Option<Value>) -> Answered {
        self.pass(1);
        let mut auth = json!({ "identity": identity });
        if let Some(scope) = scope {
            auth["scope"] = scope;
        }
        self.send("POST", "/v3/auth/tokens", &[], Some(json!({ "auth": auth })))
            .await
    }

    /// The token of a user of the default domain.
    async fn token(&self, user: &str, password: &str, scope: Value) -> String {
        let answer = self.login(by_password(user, password), Some(scope)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.token()
    }

    async fn admin(&self) -> String {
        self.token("admin", ADMIN_PASSWORD, project("default")).await
    }

    async fn role(&self, admin: &str, name: &str) -> String {
        let found = self.get(admin, &format!("/v3/roles?name={name}")).await;
        found.body["roles"][0]["id"].as_str().expect("the role").to_owned()
    }

    /// A project with a user who has `role` in it: their ids.
    async fn tenant(&self, admin: &str, name: &str, role: &str) -> (String, String) {
        let project = json!({ "project": { "name": name } });
        let project = self
            .ask(admin, "POST", "/v3/projects", Some(project))
            .await
            .id("project");
        let user = json!({ "user": { "name": name, "password": PASSWORD } });
        let user = self.ask(admin, "POST", "/v3/users", Some(user)).await.id("user");
        let role = self.role(admin, role).await;
        let grant = format!("/v3/projects/{project}/users/{user}/roles/{role}");
        assert_eq!(
            self.ask(admin, "PUT", &grant, None).await.status,
            StatusCode::NO_CONTENT
        );
        (project, user)
    }
}

fn by_password(user: &str, password: &str) -> Value {
    let user = json!({ "name": user, "domain": { "id": "default" }, "password": password });
    json!({ "methods": ["password"], "password": { "user": user } })
}

fn by_token(token: &str) -> Value {
    json!({ "methods": ["token"], "token": { "id": token } })
}

fn project(id: &str) -> Value {
    json!({ "project": { "id": id } })
}

fn system() -> Value {
    json!({ "system": { "all": true } })
}
