//! The catalog of a token: every enabled service with its endpoints, the token's project filled in.

use serde_json::{Value, json};

use super::document::text;
use super::kinds::{ENDPOINT, SERVICE};
use crate::error::IdentityError;
use crate::model::Document;
use crate::service::Identity;
use crate::token::TokenContext;

/// The catalog as clients get it.
pub(crate) async fn of(identity: &Identity, context: &TokenContext) -> Result<Value, IdentityError> {
    let services = identity.records.scan::<Document>(SERVICE.table, "").await?;
    let endpoints = identity.records.scan::<Document>(ENDPOINT.table, "").await?;
    let enabled = |row: &Document| row.get("enabled") != Some(&json!(false));
    let mut catalog = Vec::new();
    for (id, service) in services.iter().filter(|(_, row)| enabled(row)) {
        let own = endpoints
            .iter()
            .filter(|(_, row)| enabled(row) && text(row, "service_id") == Some(id));
        let shown: Vec<Value> = own
            .filter_map(|(endpoint, row)| {
                let url = filled(text(row, "url")?, context)?;
                let region = row.get("region_id").cloned().unwrap_or(Value::Null);
                Some(json!({
                    "id": endpoint, "interface": text(row, "interface"), "region_id": region, "region": region, "url": url,
                }))
            })
            .collect();
        if !shown.is_empty() {
            catalog.push(json!({
                "id": id, "type": text(service, "type"), "name": text(service, "name").unwrap_or_default(), "endpoints": shown,
            }));
        }
    }
    Ok(Value::Array(catalog))
}

/// A URL with the token's project and user filled in; none when it needs a project and there is none.
fn filled(url: &str, context: &TokenContext) -> Option<String> {
    let project = context.project().map(|project| project.id.as_str());
    let mut filled = url.to_owned();
    for (name, value) in [
        ("project_id", project),
        ("tenant_id", project),
        ("user_id", Some(context.user.id.as_str())),
    ] {
        for pattern in [format!("$({name})s"), format!("%({name})s")] {
            if filled.contains(&pattern) {
                filled = filled.replace(&pattern, value?);
            }
        }
    }
    Some(filled)
}
