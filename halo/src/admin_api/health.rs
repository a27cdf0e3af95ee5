//! Whether the process lives, whether it serves, and its metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::AdminParts;
use crate::{node_metrics, process_metrics};

/// The media type of Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4";

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(parts): State<Arc<AdminParts>>) -> impl IntoResponse {
    match parts.readiness.missing().await {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")),
    }
}

pub(super) async fn metrics(State(parts): State<Arc<AdminParts>>) -> impl IntoResponse {
    process_metrics::record();
    if let Some(status) = parts.operator.own_report().await {
        node_metrics::record(&status);
    }
    ([(CONTENT_TYPE, PROMETHEUS)], parts.metrics.render())
}
