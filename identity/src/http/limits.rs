//! Registered limits (what everybody may use) and limits (what one project or domain may use instead).

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Call;
use super::document::{created, patched, shown, text};
use super::kinds::{DOMAIN, Kind, LIMIT, PROJECT, REGION, REGISTERED_LIMIT, SERVICE};
use super::resources::{all, change, listing, one, require, taken};
use crate::model::Document;
use crate::names;
use crate::policy::Target;
use crate::refusal::Refusal;

/// The most limits made by one request.
const BATCH_MAX: usize = 100;

pub(crate) async fn list_registered(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    Ok(listing(&call, &REGISTERED_LIMIT, all(&call, &REGISTERED_LIMIT).await?))
}

pub(crate) async fn show_registered(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let id = call.parameter("id");
    Ok(Answer::ok(one(
        &call,
        &REGISTERED_LIMIT,
        id,
        &require(&call, &REGISTERED_LIMIT, id).await?,
    )))
}

pub(crate) async fn create_registered(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    create_all(&call, &REGISTERED_LIMIT).await
}

pub(crate) async fn update_registered(call: Arc<Call>) -> Result<Answer, Refusal> {
    update(&call, &REGISTERED_LIMIT).await
}

pub(crate) async fn remove_registered(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let id = call.parameter("id");
    let row = require(&call, &REGISTERED_LIMIT, id).await?;
    let same = |limit: &Document| {
        ["service_id", "region_id", "resource_name"]
            .iter()
            .all(|name| text(limit, name) == text(&row, name))
    };
    if all(&call, &LIMIT).await?.iter().any(|(_, limit)| same(limit)) {
        return Err(Refusal::Forbidden(format!(
            "Unable to update or delete registered limit {id} because there are project limits associated with it."
        )));
    }
    remove_row(&call, &REGISTERED_LIMIT, id, &row).await
}

pub(crate) async fn list(call: Arc<Call>) -> Result<Answer, Refusal> {
    let caller = call.caller()?;
    let (project, domain) = (
        caller.project().map(|one| one.id.clone()),
        caller.domain().map(|one| one.id.clone()),
    );
    let everything = call.may(&Target::default());
    if !everything {
        call.allow(&Target {
            project: project.as_deref(),
            domain: domain.as_deref(),
            user: None,
        })?;
    }
    let own = |row: &Document| {
        (project.is_some() && text(row, "project_id") == project.as_deref())
            || (domain.is_some() && text(row, "domain_id") == domain.as_deref())
    };
    let rows = all(&call, &LIMIT).await?;
    Ok(listing(
        &call,
        &LIMIT,
        rows.into_iter().filter(|(_, row)| everything || own(row)).collect(),
    ))
}

pub(crate) async fn show(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("id");
    let row = require(&call, &LIMIT, id)
        .await
        .map_err(|refusal| super::users::hidden(&call, refusal))?;
    call.allow(&Target {
        project: text(&row, "project_id"),
        domain: text(&row, "domain_id"),
        user: None,
    })?;
    Ok(Answer::ok(one(&call, &LIMIT, id, &row)))
}

pub(crate) async fn model(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let flat = json!({ "name": "flat", "description": "Limit enforcement and validation does not take project hierarchy into consideration." });
    Ok(Answer::ok(json!({ "model": flat })))
}

pub(crate) async fn create(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    create_all(&call, &LIMIT).await
}

pub(crate) async fn change_one(call: Arc<Call>) -> Result<Answer, Refusal> {
    update(&call, &LIMIT).await
}

pub(crate) async fn remove(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let id = call.parameter("id");
    let row = require(&call, &LIMIT, id).await?;
    remove_row(&call, &LIMIT, id, &row).await
}

async fn create_all(call: &Call, kind: &Kind) -> Result<Answer, Refusal> {
    let given = call.body.get(kind.many).and_then(Value::as_array);
    let given = given.filter(|given| (1..=BATCH_MAX).contains(&given.len()));
    let given = given.ok_or_else(|| Refusal::BadRequest(format!("'{}' is a list of 1 to {BATCH_MAX}", kind.many)))?;
    // All are checked before the first is made.
    let mut rows = Vec::new();
    for one in given {
        let one = one
            .as_object()
            .ok_or_else(|| Refusal::invalid(kind.many, "each is of type 'object'"))?;
        rows.push(checked(call, kind, created(kind, one)?).await?);
    }
    let (records, mut made) = (&call.identity.records, Vec::new());
    for row in rows {
        let id = records.new_id();
        let (within, resource) = unique_name(kind, &row);
        let name_taken = names::take(records, kind.table, &within, &resource, &id).await;
        name_taken.map_err(|error| taken(error, kind, &resource))?;
        records.insert(kind.table, &id, &row).await?;
        made.push(shown(kind, &id, &row, &call.base));
    }
    Ok(Answer::created(json!({ kind.many: made })))
}

/// What is referred to must be there; a limit needs a registered one.
async fn checked(call: &Call, kind: &Kind, mut row: Document) -> Result<Document, Refusal> {
    row.entry("region_id").or_insert(Value::Null);
    row.entry("description").or_insert(Value::Null);
    let (service, region) = (text(&row, "service_id").unwrap_or_default(), text(&row, "region_id"));
    let refused = |refusal: Refusal| Refusal::BadRequest(refusal.to_string());
    require(call, &SERVICE, service).await.map_err(refused)?;
    if let Some(region) = region {
        require(call, &REGION, region).await.map_err(refused)?;
    }
    if kind.one == LIMIT.one {
        match (text(&row, "project_id"), text(&row, "domain_id")) {
            (Some(project), None) => drop(require(call, &PROJECT, project).await.map_err(refused)?),
            (None, Some(domain)) => drop(require(call, &DOMAIN, domain).await.map_err(refused)?),
            _ => {
                return Err(Refusal::BadRequest(
                    "A limit is for exactly one project or domain.".into(),
                ));
            }
        }
        let (within, resource) = unique_name(&REGISTERED_LIMIT, &row);
        let registered = names::find(&call.identity.records, REGISTERED_LIMIT.table, &within, &resource).await?;
        if registered.is_none() {
            return Err(Refusal::Forbidden(
                "Unable to create limit: there is no corresponding registered limit.".into(),
            ));
        }
        row.entry("project_id").or_insert(Value::Null);
        row.entry("domain_id").or_insert(Value::Null);
    }
    Ok(row)
}

/// Within what a limit is the only one of its resource.
fn unique_name(kind: &Kind, row: &Document) -> (String, String) {
    let part = |name: &str| text(row, name).unwrap_or_default();
    let mut within = format!("{}|{}", part("service_id"), part("region_id"));
    if kind.one == LIMIT.one {
        within.push_str(&format!("|{}|{}", part("project_id"), part("domain_id")));
    }
    (within, part("resource_name").to_owned())
}

async fn update(call: &Call, kind: &Kind) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let id = call.parameter("id");
    let given = super::resources::given(call, kind)?;
    let before = require(call, kind, id).await?;
    let wanted = checked(call, kind, patched(kind, &before, given)?).await?;
    if unique_name(kind, &wanted) != unique_name(kind, &before) {
        return Err(Refusal::Forbidden("What a limit is for cannot be changed.".into()));
    }
    let after = change(call, kind, "", id, |before| patched(kind, before, given)).await?;
    Ok(Answer::ok(one(call, kind, id, &after)))
}

async fn remove_row(call: &Call, kind: &Kind, id: &str, row: &Document) -> Result<Answer, Refusal> {
    let (within, resource) = unique_name(kind, row);
    call.identity.records.remove(kind.table, id).await?;
    names::give_back(&call.identity.records, kind.table, &within, &resource, id).await?;
    Ok(Answer::nothing())
}
