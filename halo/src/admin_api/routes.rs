//! Every endpoint: method, path, the action the policy table is asked for, and its handler. A test walks them.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, any, delete, get, post};
use http::StatusCode;
use identity::policy::Action;

use super::authorize::{Guard, authorize};
use super::refusal::ApiError;
use super::{
    AdminParts, BODY_BYTES_MAX, RING_BYTES_MAX, handlers, health, identity as identity_api, nodes, policies, recovery,
    repairs, rings,
};

/// One endpoint, for the test that walks them.
#[cfg(test)]
pub(super) struct Route {
    /// The HTTP method, lower case.
    pub(super) method: &'static str,
    /// The path, parameters in braces.
    pub(super) path: &'static str,
    /// What the policy table is asked for.
    pub(super) action: Action,
}

macro_rules! routes {
    ($($method:ident $path:literal $action:ident => $handler:path $(, body up to $bytes:expr)?;)+) => {
        /// All endpoints.
        #[cfg(test)]
        pub(super) const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            action: Action::$action,
        }),+];

        fn routes(parts: &Arc<AdminParts>) -> Router<Arc<AdminParts>> {
            let router = Router::new();
            $(
                let handler = $method($handler)$(.layer(DefaultBodyLimit::max($bytes)))?;
                let router = router.route($path, guarded(handler, parts, Action::$action));
            )+
            router
        }
    };
}

routes! {
    get "/healthz" ClusterOpen => health::healthz;
    get "/readyz" ClusterOpen => health::readyz;
    get "/metrics" ClusterOpen => health::metrics;

    get "/v1/status" ClusterRead => handlers::status;
    get "/v1/projects" ClusterRead => handlers::projects;
    post "/v1/projects" ClusterWrite => handlers::create_project;
    get "/v1/keys" ClusterRead => handlers::keys;
    post "/v1/keys" ClusterWrite => handlers::create_key;
    delete "/v1/keys/{access_key}" ClusterWrite => handlers::revoke_key;
    post "/v1/identity/bootstrap" ClusterWrite => identity_api::bootstrap;
    post "/v1/identity/rotate-keys" ClusterWrite => identity_api::rotate_keys;
    get "/v1/buckets" ClusterRead => handlers::buckets;
    post "/v1/objects/where" ClusterRead => handlers::locate;
    post "/v1/devices/{id}/rebuild-index" ClusterWrite => handlers::rebuild_index;
    post "/v1/devices/{id}/approve-orphans" ClusterWrite => handlers::approve_orphans;
    post "/v1/devices/{id}/failed" ClusterWrite => recovery::device_failed;
    get "/v1/nodes" ClusterRead => nodes::list;
    post "/v1/nodes/{id}/remove" ClusterWrite => nodes::remove;
    post "/v1/nodes/tokens" ClusterWrite => recovery::join_token;
    post "/v1/shards/recover" ClusterWrite => recovery::recover;
    post "/v1/metadata/backup" ClusterWrite => recovery::back_up;
    post "/v1/metadata/accept" ClusterWrite => recovery::accept_restored;
    get "/v1/policies" ClusterRead => policies::list;
    post "/v1/policies" ClusterWrite => policies::create, body up to RING_BYTES_MAX;
    get "/v1/policies/{name}" ClusterRead => policies::show;
    get "/v1/ring" ClusterRead => rings::status;
    get "/v1/ring/file" ClusterRead => nodes::ring_file;
    post "/v1/ring/apply" ClusterWrite => rings::apply, body up to RING_BYTES_MAX;
    post "/v1/ring/pause" ClusterWrite => rings::pause;
    post "/v1/ring/resume" ClusterWrite => rings::resume;
    post "/v1/ring/throttle" ClusterWrite => rings::throttle;
    post "/v1/ring/abort" ClusterWrite => rings::abort;
    get "/v1/repair" ClusterRead => repairs::status;
    post "/v1/verify" ClusterWrite => repairs::verify;
}

/// The whole API.
pub(super) fn router(parts: Arc<AdminParts>) -> Router {
    routes(&parts)
        .fallback_service(guarded(any(nothing_here), &parts, Action::ClusterRead).with_state(parts.clone()))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(parts)
}

fn guarded(
    handler: MethodRouter<Arc<AdminParts>>,
    parts: &Arc<AdminParts>,
    action: Action,
) -> MethodRouter<Arc<AdminParts>> {
    let parts = parts.clone();
    handler.layer(from_fn_with_state(Guard { parts, action }, authorize))
}

async fn nothing_here() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "there is nothing under this path")
}
