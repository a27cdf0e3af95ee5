//! What only operators may do to identity: begin it, and rotate its keys.

use std::sync::Arc;

use ::identity::Seed;
use axum::Json;
use axum::extract::State;

use super::AdminParts;
use super::model::DoneLine;
use super::refusal::{ApiError, Document};

/// Makes what is missing of the first domain, administrator, roles and catalog.
pub(super) async fn bootstrap(
    State(parts): State<Arc<AdminParts>>,
    Document(seed): Document<Seed>,
) -> Result<Json<DoneLine>, ApiError> {
    parts.identity.bootstrap(&seed).await?;
    Ok(Json(DoneLine {
        done: format!("{} administers the cluster", seed.admin),
    }))
}

/// Makes a new token key; the oldest is forgotten.
pub(super) async fn rotate_keys(State(parts): State<Arc<AdminParts>>) -> Result<Json<DoneLine>, ApiError> {
    let id = parts.identity.rotate_keys().await?;
    Ok(Json(DoneLine {
        done: format!("token key {id} seals from now on; tokens of the two keys before it are still good"),
    }))
}
