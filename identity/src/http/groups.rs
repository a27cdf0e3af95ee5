//! Groups and who is in them.

use std::sync::Arc;

use serde_json::json;

use super::answer::Answer;
use super::caller::Call;
use super::document::{created, patched, text};
use super::kinds::{GROUP, USER};
use super::resources::{all, change, given, listing, make, one, require, unmake};
use super::users::{hidden, presented, refuse_in_directory, refuse_shadow, require_user};
use crate::model::{Document, Mark};
use crate::policy::Target;
use crate::refusal::Refusal;
use crate::rights::{self, Actor};
use crate::row::MEMBERS;

pub(crate) async fn list(call: Arc<Call>) -> Result<Answer, Refusal> {
    let domain = call.listed_domain();
    call.allow(&Target {
        domain,
        ..Target::default()
    })?;
    let records = &call.identity.records;
    if let Some(id) = domain
        && let Some(directory) = call.identity.options.ldap.of_domain(records, id).await?
    {
        directory.find_groups(records, id, call.filter("name")).await?;
    }
    let rows = all(&call, &GROUP).await?;
    let here = rows
        .into_iter()
        .filter(|(_, row)| domain.is_none() || text(row, "domain_id") == domain);
    Ok(listing(&call, &GROUP, here.collect()))
}

pub(crate) async fn show(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("group_id");
    let row = allowed(&call, id).await?;
    Ok(Answer::ok(one(&call, &GROUP, id, &row)))
}

pub(crate) async fn create(call: Arc<Call>) -> Result<Answer, Refusal> {
    let mut row = created(&GROUP, given(&call, &GROUP)?)?;
    let domain = text(&row, "domain_id").unwrap_or_else(|| call.own_domain()).to_owned();
    call.allow(&Target::domain(&domain))?;
    if rights::usable_domain(&call.identity.records, &domain).await?.is_none() {
        return Err(Refusal::no_such("domain", &domain));
    }
    refuse_in_directory(&call, &domain).await?;
    row.insert("domain_id".into(), json!(domain));
    row.entry("description").or_insert(json!(""));
    let id = call.identity.records.new_id();
    make(&call, &GROUP, &domain, &id, &row).await?;
    Ok(Answer::created(one(&call, &GROUP, &id, &row)))
}

pub(crate) async fn update(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("group_id");
    let row = allowed(&call, id).await?;
    refuse_shadow(&row)?;
    let domain = text(&row, "domain_id").unwrap_or_default();
    let given = given(&call, &GROUP)?;
    let after = change(&call, &GROUP, domain, id, |before| patched(&GROUP, before, given)).await?;
    Ok(Answer::ok(one(&call, &GROUP, id, &after)))
}

pub(crate) async fn remove(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("group_id");
    let row = allowed(&call, id).await?;
    remove_with_all(&call, id, &row).await?;
    call.identity.records.settle().await;
    Ok(Answer::nothing())
}

/// Removes a group, its members and its roles.
pub(crate) async fn remove_with_all(call: &Call, id: &str, row: &Document) -> Result<(), Refusal> {
    unmake(call, &GROUP, text(row, "domain_id").unwrap_or_default(), id, row).await?;
    super::assignments::forget(call, |one| one.actor == Actor::Group(id.to_owned())).await?;
    let suffix = format!("/{id}");
    for (key, _) in call.identity.records.list::<Mark>(MEMBERS, "").await? {
        if key.ends_with(&suffix) {
            call.identity.records.remove(MEMBERS, &key).await?;
        }
    }
    Ok(())
}

pub(crate) async fn list_users(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("group_id");
    allowed(&call, id).await?;
    let suffix = format!("/{id}");
    let mut rows = Vec::new();
    for (key, _) in call.identity.records.list::<Mark>(MEMBERS, "").await? {
        if let Some(user) = key.strip_suffix(&suffix)
            && let Some((_, row)) = call.identity.records.get::<Document>(USER.table, user).await?
        {
            rows.push((user.to_owned(), presented(row)));
        }
    }
    Ok(listing(&call, &USER, rows))
}

pub(crate) async fn add_user(call: Arc<Call>) -> Result<Answer, Refusal> {
    let key = membership(&call).await?;
    refuse_shadow(&require(&call, &GROUP, call.parameter("group_id")).await?)?;
    call.identity.records.put(MEMBERS, &key, &Mark {}).await?;
    Ok(Answer::nothing())
}

pub(crate) async fn check_user(call: Arc<Call>) -> Result<Answer, Refusal> {
    let key = membership(&call).await?;
    match call.identity.records.get::<Mark>(MEMBERS, &key).await? {
        Some(_) => Ok(Answer::nothing()),
        None => Err(Refusal::NotFound(format!(
            "Could not find user {} in group {}.",
            call.parameter("user_id"),
            call.parameter("group_id")
        ))),
    }
}

pub(crate) async fn remove_user(call: Arc<Call>) -> Result<Answer, Refusal> {
    check_user(call.clone()).await?;
    let key = membership(&call).await?;
    refuse_shadow(&require(&call, &GROUP, call.parameter("group_id")).await?)?;
    call.identity.records.remove(MEMBERS, &key).await?;
    call.identity.records.settle().await;
    Ok(Answer::nothing())
}

/// Takes a user out of all groups.
pub(crate) async fn forget_user(call: &Call, user: &str) -> Result<(), Refusal> {
    for group in rights::groups_of(&call.identity.records, user).await? {
        call.identity
            .records
            .remove(MEMBERS, &format!("{user}/{group}"))
            .await?;
    }
    Ok(())
}

/// The key of the membership a request is about; both must be there, and both in the domain the caller has rights on.
async fn membership(call: &Call) -> Result<String, Refusal> {
    let (group, user) = (call.parameter("group_id"), call.parameter("user_id"));
    allowed(call, group).await?;
    let row = require_user(call, user).await?;
    call.allow(&Target {
        domain: text(&row, "domain_id"),
        ..Target::default()
    })?;
    Ok(format!("{user}/{group}"))
}

async fn allowed(call: &Call, id: &str) -> Result<Document, Refusal> {
    let row = require(call, &GROUP, id)
        .await
        .map_err(|refusal| hidden(call, refusal))?;
    call.allow(&Target::domain(text(&row, "domain_id").unwrap_or_default()))?;
    Ok(row)
}
