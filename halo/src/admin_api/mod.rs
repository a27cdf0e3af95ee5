//! The admin API of one process: health, metrics, status, keys, buckets, devices.
//!
//! ```text
//! GET    /healthz                              the process lives            no token
//! GET    /readyz                               it serves                    no token
//! GET    /metrics                              Prometheus                   no token
//! GET    /v1/status                            nodes, devices, shards       a token, as all below
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
//! GET    /v1/policies    POST /v1/policies     storage policies; GET /v1/policies/{name}
//! GET    /v1/ring        POST /v1/ring/{apply,pause,resume,throttle,abort}; ?policy=NAME for another than the default
//! GET    /v1/ring/file                         the live ring, in hex
//! GET    /v1/repair                            what lacks copies, from the log (HEAL-1)
//! POST   /v1/verify                            one page of a count of everything
//! ```
//! The token is the cluster's own (`Authorization: Bearer`), or one of an administrator's (`X-Auth-Token`): identity's
//! policy table decides ([`routes`]). It listens on loopback only, because tokens travel unencrypted (SEC-1); that is also
//! why the first three need none. Any process of the cluster answers for the whole cluster. Refusals are `{"error": "a sentence"}`.
//!
//! Knows: the cluster's parts by their own interfaces. Must not know: how they do it.

mod authorize;
mod handlers;
mod health;
mod identity;
pub mod model;
pub mod nodes;
pub mod policies;
pub mod recovery;
mod refusal;
mod repairs;
pub mod ring_model;
mod rings;
mod routes;
pub mod summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::identity::token::TokenSource;
use ::identity::{Directory, Identity};
use async_trait::async_trait;
use clock::{Dice, WallClock};
use metadata::ids::{ClusterId, DeviceId, NodeId};
use metrics_exporter_prometheus::PrometheusHandle;
use storage_node::client::ClusterClient;
use storage_node::node::NodeStatus;
use storage_node::node::admin::AdminCall;
use store::{Planes, Store};
use tokio::net::TcpListener;

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
    /// Who judges tokens: identity.
    pub tokens: Arc<dyn TokenSource>,
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
    let serving = axum::serve(listener, routes::router(Arc::new(parts))).with_graceful_shutdown(ending);
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
