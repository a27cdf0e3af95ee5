//! The admin API of one process: health, metrics, status, keys, buckets, devices.
//!
//! ```text
//! GET    /healthz                              the process lives            no token
//! GET    /readyz                               it serves                    no token
//! GET    /metrics                              Prometheus                   no token
//! GET    /v1/status                            nodes, devices, shards       bearer token, as all below
//! GET    /v1/projects    POST /v1/projects
//! GET    /v1/keys        POST /v1/keys         DELETE /v1/keys/{access_key}
//! GET    /v1/buckets
//! POST   /v1/objects/where                     every copy of every chunk
//! POST   /v1/devices/{id}/rebuild-index
//! POST   /v1/devices/{id}/approve-orphans
//! POST   /v1/devices/{id}/failed               others stand in for it, or it is back
//! GET    /v1/nodes                             what every node has recorded of itself
//! POST   /v1/nodes/{id}/remove                 a drained and stopped node never comes back
//! POST   /v1/nodes/tokens                      a token to join with
//! POST   /v1/shards/recover                    go on with one node's metadata
//! POST   /v1/metadata/backup
//! POST   /v1/metadata/accept                   restored metadata is believed
//! GET    /v1/ring        POST /v1/ring/{apply,pause,resume,throttle,abort}
//! GET    /v1/ring/file                         the live ring, in hex
//! GET    /v1/repair                            what lacks copies, from the log (HEAL-1)
//! POST   /v1/verify                            one page of a count of everything
//! ```
//! It listens on loopback only, because the token travels unencrypted (SEC-1); that is also why the first three need
//! none. Any process of the cluster answers for the whole cluster. Refusals are `{"error": "a sentence"}`.
//!
//! Knows: the cluster's parts by their own interfaces. Must not know: how they do it.

mod handlers;
mod health;
mod identity;
pub mod model;
pub mod nodes;
pub mod recovery;
mod refusal;
pub mod ring_model;
mod rings;
pub mod summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::identity::{Directory, Identity};
use async_trait::async_trait;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use clock::{Dice, WallClock};
use http::StatusCode;
use http::header::AUTHORIZATION;
use metadata::ids::{ClusterId, DeviceId, NodeId};
use metrics_exporter_prometheus::PrometheusHandle;
use storage_node::client::ClusterClient;
use storage_node::node::NodeStatus;
use storage_node::node::admin::AdminCall;
use store::{Planes, Store};
use tokio::net::TcpListener;

use self::refusal::ApiError;
use crate::secret::Secret;

/// The largest request body; all of ours are small documents.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The largest request body with a ring in it, in hex.
const RING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long requests in progress may take at the end.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// What the cluster's nodes can be asked for and told, as far as operators need it.
#[async_trait]
pub trait Operator: Send + Sync + 'static {
    /// What every node says of itself, or why it does not.
    async fn reports(&self) -> BTreeMap<NodeId, Result<NodeStatus, String>>;

    /// What the node in this process says of itself; nothing when there is none.
    async fn own_report(&self) -> Option<NodeStatus>;

    /// Has one node do something; answers with its sentence.
    async fn tell(&self, node: NodeId, call: &AdminCall, longest: Duration) -> Result<String, String>;

    /// The whole cluster, for what is asked of its shards; nothing in tests of single answers.
    fn cluster(&self) -> Option<&ClusterClient> {
        None
    }

    /// Has other devices stand in for one that failed, or takes it back.
    async fn device_failed(&self, device: DeviceId, failed: bool) -> Result<String, String>;

    /// Throws away a device's index and builds it anew from the segments; answers with a sentence.
    async fn rebuild_index(&self, device: DeviceId) -> Result<String, String>;

    /// Lets the collector remove more unreferenced blobs from a device than it would without asking (DUR-3).
    async fn approve_orphans(&self, device: DeviceId) -> Result<String, String>;
}

/// Whether a process serves.
#[async_trait]
pub trait Readiness: Send + Sync + 'static {
    /// Why it does not; nothing when it does.
    async fn missing(&self) -> Option<String>;
}

/// What the API is made of.
pub struct AdminParts {
    /// The cluster.
    pub cluster: ClusterId,
    /// The bearer token.
    pub token: Secret,
    /// Shards, for their own numbers.
    pub planes: Planes,
    /// Buckets and objects.
    pub store: Store,
    /// Projects and keys.
    pub directory: Arc<Directory>,
    /// Users, tokens, roles.
    pub identity: Arc<Identity>,
    /// Nodes.
    pub operator: Arc<dyn Operator>,
    /// Whether this process serves.
    pub readiness: Arc<dyn Readiness>,
    /// This process's metrics.
    pub metrics: PrometheusHandle,
    /// The time.
    pub clock: Arc<dyn WallClock>,
    /// Request ids.
    pub dice: Arc<dyn Dice>,
}

/// Serves on `listener` until `shutdown` ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    parts: AdminParts,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (told, tell) = tokio::sync::oneshot::channel::<()>();
    let ending = async move {
        shutdown.await;
        drop(told);
    };
    let serving = axum::serve(listener, router(Arc::new(parts))).with_graceful_shutdown(ending);
    tokio::select! {
        ended = serving => ended,
        // A client that keeps its connection open must not keep the process.
        () = async { let _ = tell.await; tokio::time::sleep(DRAIN_MAX).await } => Ok(()),
    }
}

/// Binds the address; its errors name it.
///
/// # Errors
/// With the address in the sentence.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let named = |error: std::io::Error| std::io::Error::new(error.kind(), format!("admin API on {address}: {error}"));
    TcpListener::bind(address).await.map_err(named)
}

fn router(parts: Arc<AdminParts>) -> Router {
    let guarded = Router::new()
        .route("/v1/status", get(handlers::status))
        .route("/v1/projects", get(handlers::projects).post(handlers::create_project))
        .route("/v1/keys", get(handlers::keys).post(handlers::create_key))
        .route("/v1/keys/{access_key}", delete(handlers::revoke_key))
        .route("/v1/identity/bootstrap", post(identity::bootstrap))
        .route("/v1/identity/rotate-keys", post(identity::rotate_keys))
        .route("/v1/buckets", get(handlers::buckets))
        .route("/v1/objects/where", post(handlers::locate))
        .route("/v1/devices/{id}/rebuild-index", post(handlers::rebuild_index))
        .route("/v1/devices/{id}/approve-orphans", post(handlers::approve_orphans))
        .route("/v1/shards/recover", post(recovery::recover))
        .route("/v1/metadata/backup", post(recovery::back_up))
        .route("/v1/metadata/accept", post(recovery::accept_restored))
        .route("/v1/devices/{id}/failed", post(recovery::device_failed))
        .route("/v1/nodes/tokens", post(recovery::join_token))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/nodes/{id}/remove", post(nodes::remove))
        .route("/v1/ring", get(rings::status))
        .route("/v1/ring/file", get(nodes::ring_file))
        .route(
            "/v1/ring/apply",
            post(rings::apply).layer(DefaultBodyLimit::max(RING_BYTES_MAX)),
        )
        .route("/v1/ring/pause", post(rings::pause))
        .route("/v1/ring/resume", post(rings::resume))
        .route("/v1/ring/throttle", post(rings::throttle))
        .route("/v1/ring/abort", post(rings::abort))
        .route("/v1/repair", get(rings::repair))
        .route("/v1/verify", post(rings::verify))
        .fallback(nothing_here)
        .layer(from_fn_with_state(parts.clone(), authorize));
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .merge(guarded)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(parts)
}

async fn nothing_here() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "there is nothing under this path")
}

/// Lets a request pass that carries the token; compared in constant time.
async fn authorize(State(parts): State<Arc<AdminParts>>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if given.is_some_and(|token| parts.token.equals(token)) {
        next.run(request).await
    } else {
        ApiError::new(StatusCode::UNAUTHORIZED, "the bearer token is missing or wrong").into_response()
    }
}
