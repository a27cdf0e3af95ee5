//! Regions, services and endpoints: what the catalog is made of.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Call;
use super::document::{created, patched, text};
use super::kinds::{ENDPOINT, Kind, REGION, SERVICE};
use super::resources::{all, given, listing, one, require, taken};
use crate::error::IdentityError;
use crate::model::Document;
use crate::policy::Target;
use crate::refusal::Refusal;

fn kind(call: &Call) -> &'static Kind {
    match call.path.split(['/', '?']).nth(2) {
        Some("regions") => &REGION,
        Some("services") => &SERVICE,
        _ => &ENDPOINT,
    }
}

pub(crate) async fn list(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let kind = kind(&call);
    Ok(listing(&call, kind, all(&call, kind).await?))
}

pub(crate) async fn show(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let (kind, id) = (kind(&call), call.parameter("id"));
    Ok(Answer::ok(one(&call, kind, id, &require(&call, kind, id).await?)))
}

pub(crate) async fn create(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let kind = kind(&call);
    let mut row = created(kind, given(&call, kind)?)?;
    let brought = match row.remove("id") {
        Some(Value::String(id)) => Some(id),
        _ => None,
    };
    let put = call.parameters.get("id").cloned();
    let id = put.or(brought).unwrap_or_else(|| call.identity.records.new_id());
    if id.len() > 255 || id.contains('/') {
        return Err(Refusal::invalid("id", "it has up to 255 characters, and no '/'"));
    }
    complete(&call, kind, &mut row).await?;
    let made = call.identity.records.insert(kind.table, &id, &row).await;
    made.map_err(|error| taken(error, kind, &id))?;
    Ok(Answer::created(one(&call, kind, &id, &row)))
}

pub(crate) async fn update(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let (kind, id) = (kind(&call), call.parameter("id"));
    let (version, before) = super::resources::fetch(&call, kind, id).await?;
    let mut after = patched(kind, &before, given(&call, kind)?)?;
    complete(&call, kind, &mut after).await?;
    let changed = call.identity.records.replace(kind.table, id, version, &after).await;
    changed.map_err(|error| taken(error, kind, id))?;
    Ok(Answer::ok(one(&call, kind, id, &after)))
}

pub(crate) async fn remove(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let (kind, id) = (kind(&call), call.parameter("id"));
    require(&call, kind, id).await?;
    match kind.one {
        "region" => {
            let children = all(&call, &REGION).await?;
            let used = all(&call, &ENDPOINT).await?;
            if children
                .iter()
                .any(|(_, row)| text(row, "parent_region_id") == Some(id))
                || used.iter().any(|(_, row)| text(row, "region_id") == Some(id))
            {
                return Err(Refusal::Forbidden(format!(
                    "Unable to delete region {id} because it or its child regions have associated endpoints."
                )));
            }
        }
        "service" => {
            for (endpoint, row) in all(&call, &ENDPOINT).await? {
                if text(&row, "service_id") == Some(id) {
                    call.identity.records.remove(ENDPOINT.table, &endpoint).await?;
                }
            }
        }
        _ => {}
    }
    call.identity.records.remove(kind.table, id).await?;
    Ok(Answer::nothing())
}

/// Fills in what is not given, and checks what is referred to.
async fn complete(call: &Call, kind: &Kind, row: &mut Document) -> Result<(), Refusal> {
    match kind.one {
        "region" => {
            row.entry("description").or_insert(json!(""));
            row.entry("parent_region_id").or_insert(Value::Null);
            if let Some(parent) = text(row, "parent_region_id") {
                require(call, &REGION, parent).await?;
            }
        }
        "service" => {
            row.entry("enabled").or_insert(json!(true));
            row.entry("name").or_insert(json!(""));
        }
        _ => {
            row.entry("enabled").or_insert(json!(true));
            let old_style = row.remove("region").filter(|region| !region.is_null());
            if let Some(region) = old_style {
                make_region(call, region.as_str()).await?;
                row.insert("region_id".into(), region);
            }
            row.entry("region_id").or_insert(Value::Null);
            let missing = |what: &str, id: &str| Refusal::BadRequest(format!("Could not find {what}: {id}."));
            if let Some(region) = text(row, "region_id") {
                require(call, &REGION, region)
                    .await
                    .map_err(|_| missing("region", region))?;
            }
            let service = text(row, "service_id").unwrap_or_default();
            require(call, &SERVICE, service)
                .await
                .map_err(|_| missing("service", service))?;
            let region = row.get("region_id").cloned().unwrap_or(Value::Null);
            row.insert("region".into(), region);
        }
    }
    Ok(())
}

/// A region that only an endpoint names comes into being with it, as with Keystone.
async fn make_region(call: &Call, id: Option<&str>) -> Result<(), Refusal> {
    let Some(id) = id else { return Ok(()) };
    let row = json!({ "description": "", "parent_region_id": null });
    match call.identity.records.insert(REGION.table, id, &row).await {
        Ok(()) | Err(IdentityError::Taken) => Ok(()),
        Err(other) => Err(other.into()),
    }
}
