//! Roles and what they imply.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Call;
use super::document::{created, patched, text};
use super::kinds::ROLE;
use super::resources::{all, change, given, listing, make, one, refuse_immutable, require, unmake};
use crate::model::{Document, Mark};
use crate::policy::Target;
use crate::refusal::Refusal;
use crate::rights;
use crate::row::IMPLIED_ROLES;

pub(crate) async fn list(call: Arc<Call>) -> Result<Answer, Refusal> {
    allowed(&call)?;
    // Without a domain asked for, the listing shows the roles that all domains know.
    let wanted = call.filter("domain_id");
    let rows = all(&call, &ROLE).await?;
    let here = rows.into_iter().filter(|(_, row)| text(row, "domain_id") == wanted);
    Ok(listing(&call, &ROLE, here.collect()))
}

pub(crate) async fn show(call: Arc<Call>) -> Result<Answer, Refusal> {
    allowed(&call)?;
    let id = call.parameter("role_id");
    let row = require(&call, &ROLE, id).await?;
    Ok(Answer::ok(one(&call, &ROLE, id, &row)))
}

pub(crate) async fn create(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let mut row = created(&ROLE, given(&call, &ROLE)?)?;
    row.entry("domain_id").or_insert(Value::Null);
    row.entry("description").or_insert(Value::Null);
    row.entry("options").or_insert(json!({}));
    let domain = text(&row, "domain_id").unwrap_or_default().to_owned();
    let id = call.identity.records.new_id();
    make(&call, &ROLE, &domain, &id, &row).await?;
    Ok(Answer::created(one(&call, &ROLE, &id, &row)))
}

pub(crate) async fn update(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let id = call.parameter("role_id");
    let row = require(&call, &ROLE, id).await?;
    let given = given(&call, &ROLE)?;
    refuse_immutable(&ROLE, &row, Some(given))?;
    let domain = text(&row, "domain_id").unwrap_or_default();
    let after = change(&call, &ROLE, domain, id, |before| patched(&ROLE, before, given)).await?;
    Ok(Answer::ok(one(&call, &ROLE, id, &after)))
}

pub(crate) async fn remove(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let id = call.parameter("role_id");
    let row = require(&call, &ROLE, id).await?;
    refuse_immutable(&ROLE, &row, None)?;
    super::assignments::forget(&call, |one| one.role == id).await?;
    for (key, _) in call.identity.records.list::<Mark>(IMPLIED_ROLES, "").await? {
        if key.split('/').any(|role| role == id) {
            call.identity.records.remove(IMPLIED_ROLES, &key).await?;
        }
    }
    unmake(&call, &ROLE, text(&row, "domain_id").unwrap_or_default(), id, &row).await?;
    call.identity.records.settle().await;
    Ok(Answer::nothing())
}

pub(crate) async fn list_implied(call: Arc<Call>) -> Result<Answer, Refusal> {
    allowed(&call)?;
    let prior = call.parameter("role_id");
    let row = require(&call, &ROLE, prior).await?;
    let mut body = json!({ "role_inference": inference(&call, prior, &row).await? });
    body["links"] = json!({ "self": format!("{}{}", call.base, call.path) });
    Ok(Answer::ok(body))
}

pub(crate) async fn list_inferences(call: Arc<Call>) -> Result<Answer, Refusal> {
    allowed(&call)?;
    let mut found = Vec::new();
    for (id, row) in all(&call, &ROLE).await? {
        let inference = inference(&call, &id, &row).await?;
        if inference["implies"]
            .as_array()
            .is_some_and(|implies| !implies.is_empty())
        {
            found.push(inference);
        }
    }
    Ok(Answer::ok(
        json!({ "role_inferences": found, "links": { "self": format!("{}{}", call.base, call.path) } }),
    ))
}

pub(crate) async fn show_implied(call: Arc<Call>) -> Result<Answer, Refusal> {
    allowed(&call)?;
    let (prior, implied) = (call.parameter("role_id"), call.parameter("implied_role_id"));
    let key = format!("{prior}/{implied}");
    let found = call.identity.records.get::<Mark>(IMPLIED_ROLES, &key).await?;
    found.ok_or_else(|| Refusal::NotFound(format!("{prior} does not imply {implied}.")))?;
    let (prior_row, row) = (
        require(&call, &ROLE, prior).await?,
        require(&call, &ROLE, implied).await?,
    );
    Ok(Answer::ok(pair(&call, (prior, &prior_row), (implied, &row))))
}

pub(crate) async fn imply(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let (prior, implied) = (call.parameter("role_id"), call.parameter("implied_role_id"));
    let (prior_row, row) = (
        require(&call, &ROLE, prior).await?,
        require(&call, &ROLE, implied).await?,
    );
    let records = &call.identity.records;
    if rights::with_implied(records, [implied.to_owned()])
        .await?
        .contains(prior)
    {
        return Err(Refusal::BadRequest(
            "Roles may not imply each other in a circle.".into(),
        ));
    }
    if text(&row, "name") == Some(crate::token::ROLE_ADMIN) {
        return Err(Refusal::Forbidden("The admin role cannot be implied.".into()));
    }
    records
        .put(IMPLIED_ROLES, &format!("{prior}/{implied}"), &Mark {})
        .await?;
    Ok(Answer::created(pair(&call, (prior, &prior_row), (implied, &row))))
}

pub(crate) async fn imply_no_more(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    show_implied(call.clone()).await?;
    let key = format!("{}/{}", call.parameter("role_id"), call.parameter("implied_role_id"));
    call.identity.records.remove(IMPLIED_ROLES, &key).await?;
    call.identity.records.settle().await;
    Ok(Answer::nothing())
}

fn pair(call: &Call, prior: (&str, &Document), implied: (&str, &Document)) -> Value {
    json!({ "role_inference": { "prior_role": short(call, prior.0, prior.1), "implies": short(call, implied.0, implied.1) } })
}

async fn inference(call: &Call, prior: &str, row: &Document) -> Result<Value, Refusal> {
    let prefix = format!("{prior}/");
    let mut implies = Vec::new();
    for (key, _) in call.identity.records.list::<Mark>(IMPLIED_ROLES, &prefix).await? {
        let id = key.trim_start_matches(&prefix);
        if let Some((_, row)) = call.identity.records.get::<Document>(ROLE.table, id).await? {
            implies.push(short(call, id, &row));
        }
    }
    Ok(json!({ "prior_role": short(call, prior, row), "implies": implies }))
}

fn short(call: &Call, id: &str, row: &Document) -> Value {
    json!({
        "id": id, "name": row.get("name"), "description": row.get("description"),
        "links": { "self": format!("{}/v3/roles/{id}", call.base) },
    })
}

/// Roles are no secret to whoever manages something.
fn allowed(call: &Call) -> Result<(), Refusal> {
    let caller = call.caller()?;
    call.allow(&Target {
        domain: caller.domain().map(|domain| domain.id.as_str()),
        project: caller.project().map(|project| project.id.as_str()),
        user: None,
    })
}
