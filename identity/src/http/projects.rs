//! Domains and projects: made, changed, removed, nested, tagged.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Call;
use super::document::{check_tags, created, is_tag, patched, shown, text};
use super::kinds::{DOMAIN, GROUP, Kind, PROJECT, USER};
use super::resources::{all, change, given, listing, make, one, refuse_immutable, require, unmake};
use super::users::hidden;
use crate::model::Document;
use crate::policy::Target;
use crate::refusal::Refusal;
use crate::rights::{self, Actor, PROJECT_DEPTH_MAX, Place};

pub(crate) async fn list_domains(call: Arc<Call>) -> Result<Answer, Refusal> {
    let domain = call.listed_domain();
    call.allow(&Target {
        domain,
        ..Target::default()
    })?;
    let rows = all(&call, &DOMAIN).await?;
    // A domain's reader sees the own one.
    let own = (!call.may(&Target::default())).then_some(domain).flatten();
    let here = rows.into_iter().filter(|(id, _)| own.is_none_or(|own| own == id));
    Ok(listing(&call, &DOMAIN, here.collect()))
}

pub(crate) async fn show_domain(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("domain_id");
    let project = call.caller()?.project();
    call.allow(&Target {
        domain: Some(id),
        project: project
            .filter(|project| project.domain.id == id)
            .map(|project| project.id.as_str()),
        user: None,
    })?;
    let row = require(&call, &DOMAIN, id).await?;
    Ok(Answer::ok(one(&call, &DOMAIN, id, &row)))
}

pub(crate) async fn create_domain(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let mut row = created(&DOMAIN, given(&call, &DOMAIN)?)?;
    let id = match row.remove("explicit_domain_id") {
        Some(Value::String(id)) => id,
        _ => call.identity.records.new_id(),
    };
    complete(&mut row);
    make(&call, &DOMAIN, "", &id, &row).await?;
    Ok(Answer::created(one(&call, &DOMAIN, &id, &row)))
}

pub(crate) async fn update_domain(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let id = call.parameter("domain_id");
    let given = given(&call, &DOMAIN)?;
    refuse_immutable(&DOMAIN, &require(&call, &DOMAIN, id).await?, Some(given))?;
    let after = changed(&call, &DOMAIN, "", id, given).await?;
    Ok(Answer::ok(one(&call, &DOMAIN, id, &after)))
}

pub(crate) async fn remove_domain(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let id = call.parameter("domain_id");
    let row = require(&call, &DOMAIN, id).await?;
    refuse_immutable(&DOMAIN, &row, None)?;
    if row.get("enabled") != Some(&json!(false)) {
        return Err(Refusal::Forbidden(
            "You are not authorized to perform the requested action: Cannot delete a domain that is enabled, please \
             disable it first."
                .into(),
        ));
    }
    let here = |row: &Document| text(row, "domain_id") == Some(id);
    for (user, row) in all(&call, &USER).await?.into_iter().filter(|(_, row)| here(row)) {
        super::users::remove_with_all(&call, &user, &row).await?;
    }
    for (group, row) in all(&call, &GROUP).await?.into_iter().filter(|(_, row)| here(row)) {
        super::groups::remove_with_all(&call, &group, &row).await?;
    }
    for (project, row) in all(&call, &PROJECT).await?.into_iter().filter(|(_, row)| here(row)) {
        remove_with_all(&call, &project, &row).await?;
    }
    super::assignments::forget(&call, |one| one.place == Place::Domain(id.to_owned())).await?;
    unmake(&call, &DOMAIN, "", id, &row).await?;
    call.identity.records.settle().await;
    Ok(Answer::nothing())
}

pub(crate) async fn list(call: Arc<Call>) -> Result<Answer, Refusal> {
    let domain = call.listed_domain();
    call.allow(&Target {
        domain,
        ..Target::default()
    })?;
    let rows = all(&call, &PROJECT).await?;
    let tagged = |row: &Document| {
        let has = |tag: &str| {
            row.get("tags")
                .and_then(Value::as_array)
                .is_some_and(|tags| tags.iter().any(|one| one == tag))
        };
        let wanted = |name| call.filter(name).map(|tags| tags.split(',').collect::<Vec<_>>());
        wanted("tags").is_none_or(|tags| tags.iter().all(|tag| has(tag)))
            && wanted("tags-any").is_none_or(|tags| tags.iter().any(|tag| has(tag)))
            && wanted("not-tags").is_none_or(|tags| !tags.iter().all(|tag| has(tag)))
            && wanted("not-tags-any").is_none_or(|tags| !tags.iter().any(|tag| has(tag)))
    };
    let here = rows
        .into_iter()
        .filter(|(_, row)| (domain.is_none() || text(row, "domain_id") == domain) && tagged(row));
    Ok(listing(&call, &PROJECT, here.collect()))
}

pub(crate) async fn show(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("project_id");
    let row = allowed(&call, id).await?;
    let mut body = one(&call, &PROJECT, id, &row);
    let (up, down) = (above(&call, &row).await?, below(&call, id).await?);
    let as_list = |rows: &[(String, Document)]| -> Value {
        rows.iter()
            .map(|(id, row)| json!({ "project": shown(&PROJECT, id, row, &call.base) }))
            .collect()
    };
    if call.filter("parents_as_list").is_some() {
        body["project"]["parents"] = as_list(&up);
    }
    if call.filter("parents_as_ids").is_some() {
        body["project"]["parents"] = up.iter().rev().fold(Value::Null, |inner, (id, _)| json!({ id: inner }));
    }
    if call.filter("subtree_as_list").is_some() {
        body["project"]["subtree"] = as_list(&down);
    }
    if call.filter("subtree_as_ids").is_some() {
        body["project"]["subtree"] = tree(id, &down);
    }
    Ok(Answer::ok(body))
}

pub(crate) async fn create(call: Arc<Call>) -> Result<Answer, Refusal> {
    let mut row = created(&PROJECT, given(&call, &PROJECT)?)?;
    if row.get("is_domain") == Some(&json!(true)) {
        return Err(Refusal::BadRequest(
            "Projects that act as domains are made with POST /v3/domains.".into(),
        ));
    }
    let records = &call.identity.records;
    // The parent of a project at the top is its domain.
    let named = text(&row, "parent_id").map(str::to_owned);
    let parent_domain = match &named {
        Some(parent) if records.get::<Document>(DOMAIN.table, parent).await?.is_some() => Some(parent.clone()),
        _ => None,
    };
    let parent = named.filter(|_| parent_domain.is_none());
    let parent_row = match &parent {
        Some(parent) => records.get::<Document>(PROJECT.table, parent).await?,
        None => None,
    };
    let from_parent = parent_row
        .as_ref()
        .and_then(|(_, row)| text(row, "domain_id"))
        .or(parent_domain.as_deref());
    let domain = text(&row, "domain_id")
        .or(from_parent)
        .unwrap_or_else(|| call.own_domain())
        .to_owned();
    call.allow(&Target::domain(&domain))?;
    if rights::usable_domain(&call.identity.records, &domain).await?.is_none() {
        return Err(Refusal::no_such("domain", &domain));
    }
    if let Some((_, parent_row)) = &parent_row {
        if text(parent_row, "domain_id") != Some(&domain) {
            return Err(Refusal::BadRequest("The parent project lies in another domain.".into()));
        }
        if parent_row.get("enabled") == Some(&json!(false)) {
            return Err(Refusal::Forbidden(
                "Cannot create a project in a branch containing disabled projects.".into(),
            ));
        }
        if above(&call, parent_row).await?.len() + 2 > PROJECT_DEPTH_MAX {
            return Err(Refusal::Forbidden(
                "Max hierarchy depth reached for project branch.".into(),
            ));
        }
    } else if let Some(parent) = &parent {
        return Err(Refusal::no_such("project", parent));
    }
    complete(&mut row);
    row.insert("parent_id".into(), json!(parent.unwrap_or_else(|| domain.clone())));
    row.insert("domain_id".into(), json!(domain));
    row.insert("is_domain".into(), json!(false));
    row.insert("_created_ms".into(), json!(call.identity.records.now_ms()));
    let id = call.identity.records.new_id();
    make(&call, &PROJECT, &domain, &id, &row).await?;
    Ok(Answer::created(one(&call, &PROJECT, &id, &row)))
}

pub(crate) async fn update(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("project_id");
    let row = allowed(&call, id).await?;
    let given = given(&call, &PROJECT)?;
    refuse_immutable(&PROJECT, &row, Some(given))?;
    match given.get("enabled") {
        Some(Value::Bool(true)) => {
            let disabled = |(_, row): &(String, Document)| row.get("enabled") == Some(&json!(false));
            if above(&call, &row).await?.iter().any(disabled) {
                return Err(Refusal::Forbidden(
                    "Cannot enable a project that has disabled parents.".into(),
                ));
            }
        }
        Some(Value::Bool(false)) => {
            let enabled = |(_, row): &(String, Document)| row.get("enabled") != Some(&json!(false));
            if below(&call, id).await?.iter().any(enabled) {
                return Err(Refusal::Forbidden(
                    "Cannot disable a project whose subtree contains enabled projects.".into(),
                ));
            }
        }
        _ => {}
    }
    let domain = text(&row, "domain_id").unwrap_or_default();
    let after = changed(&call, &PROJECT, domain, id, given).await?;
    Ok(Answer::ok(one(&call, &PROJECT, id, &after)))
}

pub(crate) async fn remove(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("project_id");
    let row = allowed(&call, id).await?;
    refuse_immutable(&PROJECT, &row, None)?;
    if !below(&call, id).await?.is_empty() {
        return Err(Refusal::Forbidden(format!(
            "Cannot delete the project {id} since it is not a leaf in the hierarchy."
        )));
    }
    remove_with_all(&call, id, &row).await?;
    call.identity.records.settle().await;
    Ok(Answer::nothing())
}

/// Removes a project, roles on it and what acts for it. Its buckets stay until somebody with rights removes them.
async fn remove_with_all(call: &Call, id: &str, row: &Document) -> Result<(), Refusal> {
    unmake(call, &PROJECT, text(row, "domain_id").unwrap_or_default(), id, row).await?;
    super::assignments::forget(call, |one| one.place == Place::Project(id.to_owned())).await?;
    super::credentials::forget(call, |_, project| project == Some(id)).await?;
    super::application_credentials::forget(call, |credential| credential.project == id).await?;
    super::trusts::forget(call, |trust| trust.project.as_deref() == Some(id)).await
}

/// Changes a domain or project; disabling ends its tokens for good.
async fn changed(call: &Call, kind: &Kind, within: &str, id: &str, given: &Document) -> Result<Document, Refusal> {
    let now = call.identity.records.now_ms();
    change(call, kind, within, id, |before| {
        let mut after = patched(kind, before, given)?;
        if after.get("enabled") == Some(&json!(false)) && before.get("enabled") != Some(&json!(false)) {
            after.insert("_tokens_from_ms".into(), json!(now + 1));
        }
        Ok(after)
    })
    .await
}

fn complete(row: &mut Document) {
    row.entry("description").or_insert(json!(""));
    row.entry("enabled").or_insert(json!(true));
    row.entry("tags").or_insert(json!([]));
    row.entry("options").or_insert(json!({}));
}

/// The project above one; none for a project at the top, whose parent is its domain.
fn parent_of(row: &Document) -> Option<&str> {
    text(row, "parent_id").filter(|parent| Some(*parent) != text(row, "domain_id"))
}

/// The projects above one, nearest first.
async fn above(call: &Call, row: &Document) -> Result<Vec<(String, Document)>, Refusal> {
    let mut found = Vec::new();
    let mut next = parent_of(row).map(str::to_owned);
    while let Some(id) = next.filter(|_| found.len() <= PROJECT_DEPTH_MAX) {
        let Some((_, row)) = call.identity.records.get::<Document>(PROJECT.table, &id).await? else {
            break;
        };
        next = parent_of(&row).map(str::to_owned);
        found.push((id, row));
    }
    Ok(found)
}

/// All projects below one.
async fn below(call: &Call, id: &str) -> Result<Vec<(String, Document)>, Refusal> {
    let mut rest = all(call, &PROJECT).await?;
    let (mut found, mut parents) = (Vec::new(), vec![id.to_owned()]);
    while !parents.is_empty() {
        let is_child = |(_, row): &(String, Document)| {
            parent_of(row).is_some_and(|parent| parents.iter().any(|one| one == parent))
        };
        let (children, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_child);
        parents = children.iter().map(|(id, _)| id.clone()).collect();
        found.extend(children);
        rest = others;
    }
    Ok(found)
}

fn tree(id: &str, rows: &[(String, Document)]) -> Value {
    let children = rows.iter().filter(|(_, row)| parent_of(row) == Some(id));
    let children: Document = children.map(|(child, _)| (child.clone(), tree(child, rows))).collect();
    if children.is_empty() {
        Value::Null
    } else {
        Value::Object(children)
    }
}

pub(crate) async fn list_tags(call: Arc<Call>) -> Result<Answer, Refusal> {
    let row = allowed(&call, call.parameter("project_id")).await?;
    Ok(Answer::ok(
        json!({ "tags": row.get("tags").cloned().unwrap_or(json!([])) }),
    ))
}

pub(crate) async fn replace_tags(call: Arc<Call>) -> Result<Answer, Refusal> {
    let Some(tags) = call.body.get("tags").and_then(Value::as_array) else {
        return Err(Refusal::BadRequest("'tags' is a required property".into()));
    };
    check_tags("tags", tags)?;
    let row = tag(&call, |_| json!(tags)).await?;
    Ok(Answer::ok(json!({ "tags": row["tags"] })))
}

pub(crate) async fn remove_tags(call: Arc<Call>) -> Result<Answer, Refusal> {
    tag(&call, |_| json!([])).await?;
    Ok(Answer::nothing())
}

pub(crate) async fn check_tag(call: Arc<Call>) -> Result<Answer, Refusal> {
    let row = allowed(&call, call.parameter("project_id")).await?;
    let wanted = call.parameter("value");
    match row.get("tags").and_then(Value::as_array) {
        Some(tags) if tags.iter().any(|tag| tag == wanted) => Ok(Answer::nothing()),
        _ => Err(Refusal::no_such("project tag", wanted)),
    }
}

pub(crate) async fn add_tag(call: Arc<Call>) -> Result<Answer, Refusal> {
    let wanted = call.parameter("value");
    if !is_tag(wanted) {
        return Err(Refusal::invalid(
            "tag",
            "a tag has 1 to 255 characters, without ',' and '/'",
        ));
    }
    let row = tag(&call, |tags| {
        let mut tags: Vec<Value> = tags.iter().filter(|tag| *tag != wanted).cloned().collect();
        tags.push(json!(wanted));
        json!(tags)
    })
    .await?;
    check_tags(
        "tags",
        row.get("tags").and_then(Value::as_array).map_or(&[], Vec::as_slice),
    )?;
    Ok(Answer::created(Value::Null))
}

pub(crate) async fn remove_tag(call: Arc<Call>) -> Result<Answer, Refusal> {
    check_tag(call.clone()).await?;
    let unwanted = call.parameter("value");
    tag(&call, |tags| {
        json!(tags.iter().filter(|tag| *tag != unwanted).collect::<Vec<_>>())
    })
    .await?;
    Ok(Answer::nothing())
}

async fn tag(call: &Call, change_tags: impl Fn(&[Value]) -> Value) -> Result<Document, Refusal> {
    let id = call.parameter("project_id");
    let row = allowed(call, id).await?;
    let domain = text(&row, "domain_id").unwrap_or_default();
    change(call, &PROJECT, domain, id, |before| {
        let tags = before.get("tags").and_then(Value::as_array);
        let tags = change_tags(tags.map_or(&[], Vec::as_slice));
        check_tags("tags", tags.as_array().map_or(&[], Vec::as_slice))?;
        let mut after = before.clone();
        after.insert("tags".into(), tags);
        Ok(after)
    })
    .await
}

/// A project the caller may do the endpoint's action to.
async fn allowed(call: &Call, id: &str) -> Result<Document, Refusal> {
    let row = require(call, &PROJECT, id)
        .await
        .map_err(|refusal| hidden(call, refusal))?;
    let target = Target {
        project: Some(id),
        domain: text(&row, "domain_id"),
        user: None,
    };
    if call.may(&target) || holds_a_role(call, id).await? {
        Ok(row)
    } else {
        Err(Refusal::not_allowed(call.action))
    }
}

/// Whoever has a role in a project may see it, whatever the token's scope.
async fn holds_a_role(call: &Call, project: &str) -> Result<bool, Refusal> {
    if call.action != crate::policy::Action::IdentityReadProject {
        return Ok(false);
    }
    let user = call.caller()?.user.id.clone();
    let assigned = rights::assigned_to(&call.identity.records, &user).await?;
    let direct = |one: &rights::Assignment| one.place == Place::Project(project.to_owned()) && !one.inherited;
    Ok(assigned
        .iter()
        .any(|one| direct(one) && one.actor == Actor::User(user.clone())))
}
