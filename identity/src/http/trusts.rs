//! Trusts: a user lets another one act with some of their roles.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Call;
use super::document::{inner, moment, parse_moment, text};
use super::resources::listing_of;
use super::users::require_user;
use crate::model::Trust;
use crate::policy::Target;
use crate::refusal::Refusal;
use crate::rights;
use crate::row::TRUSTS;
use crate::token::{RoleRef, Scope};

pub(crate) async fn list(call: Arc<Call>) -> Result<Answer, Refusal> {
    let caller = call.caller()?;
    let (trustor, trustee) = (call.filter("trustor_user_id"), call.filter("trustee_user_id"));
    // Everybody may ask for the trusts they gave or got; for others, only administrators.
    let asks_own = [trustor, trustee].contains(&Some(&caller.user.id));
    call.allow(&Target {
        user: asks_own.then_some(caller.user.id.as_str()),
        ..Target::default()
    })?;
    let rows = call.identity.records.list::<Trust>(TRUSTS, "").await?;
    let wanted = |row: &Trust| {
        row.deleted_ms.is_none()
            && trustor.is_none_or(|wanted| row.trustor == wanted)
            && trustee.is_none_or(|wanted| row.trustee == wanted)
    };
    let rows = rows.iter().filter(|(_, row)| wanted(row));
    let shown = rows.map(|(id, row)| document(&call, id, row, None)).collect();
    Ok(listing_of(&call, "trusts", shown))
}

pub(crate) async fn create(call: Arc<Call>) -> Result<Answer, Refusal> {
    let given = inner(&call.body, "trust")?;
    let (Some(trustor), Some(trustee)) = (text(given, "trustor_user_id"), text(given, "trustee_user_id")) else {
        return Err(Refusal::BadRequest(
            "'trustor_user_id' and 'trustee_user_id' are required properties".into(),
        ));
    };
    let Some(Value::Bool(impersonation)) = given.get("impersonation") else {
        return Err(Refusal::BadRequest("'impersonation' is a required property".into()));
    };
    call.allow(&Target::user(trustor))?;
    call.refuse_delegated()?;
    require_user(&call, trustee).await?;
    let project = text(given, "project_id").map(str::to_owned);
    let roles = given_roles(&call, trustor, project.as_deref(), given.get("roles")).await?;
    let expires_ms = match given.get("expires_at") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => {
            let ends = parse_moment(text).filter(|ends| *ends > call.identity.records.now_ms());
            Some(ends.ok_or_else(|| Refusal::invalid("expires_at", "it is not a moment in the future"))?)
        }
        Some(_) => return Err(Refusal::invalid("expires_at", "it is not of type 'string'")),
    };
    let remaining_uses = match given.get("remaining_uses") {
        None | Some(Value::Null) => None,
        Some(uses) => Some(
            uses.as_u64()
                .filter(|uses| *uses > 0)
                .ok_or_else(|| Refusal::invalid("remaining_uses", "it is not a number above 0"))?,
        ),
    };
    if given.get("allow_redelegation") == Some(&json!(true)) {
        return Err(Refusal::Forbidden("Redelegation of trusts is not allowed here.".into()));
    }
    let row = Trust {
        trustor: trustor.to_owned(),
        trustee: trustee.to_owned(),
        project,
        impersonation: *impersonation,
        expires_ms,
        remaining_uses,
        roles: roles.iter().map(|role| role.id.clone()).collect(),
        redelegation_count: 0,
        allow_redelegation: false,
        redelegated_trust: None,
        deleted_ms: None,
    };
    let id = call.identity.records.new_id();
    call.identity.records.insert(TRUSTS, &id, &row).await?;
    Ok(Answer::created(
        json!({ "trust": document(&call, &id, &row, Some(&roles)) }),
    ))
}

/// The roles handed on: the trustor must have each of them in the project now.
async fn given_roles(
    call: &Call,
    trustor: &str,
    project: Option<&str>,
    given: Option<&Value>,
) -> Result<Vec<RoleRef>, Refusal> {
    let wanted = given.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let Some(project) = project else {
        return if wanted.is_empty() {
            Ok(Vec::new())
        } else {
            Err(Refusal::BadRequest("Roles need a project.".into()))
        };
    };
    let records = &call.identity.records;
    let located = rights::usable_project(records, project).await?;
    let located = located.ok_or_else(|| Refusal::no_such("project", project))?;
    let had = rights::roles_in(records, trustor, &Scope::Project(located.project), &located.above).await?;
    let had = rights::named(records, &had).await?;
    let mut roles = Vec::new();
    for one in wanted {
        let (id, name) = (one["id"].as_str(), one["name"].as_str());
        let found = had
            .iter()
            .find(|role| Some(role.id.as_str()) == id || (id.is_none() && Some(role.name.as_str()) == name));
        roles.push(
            found
                .cloned()
                .ok_or_else(|| Refusal::Forbidden("The trustor does not have a role that is handed on.".into()))?,
        );
    }
    if roles.is_empty() {
        return Err(Refusal::Forbidden("At least one role should be specified.".into()));
    }
    Ok(roles)
}

pub(crate) async fn show(call: Arc<Call>) -> Result<Answer, Refusal> {
    let (id, row) = allowed(&call).await?;
    let roles = roles_of(&call, &row).await?;
    Ok(Answer::ok(json!({ "trust": document(&call, &id, &row, Some(&roles)) })))
}

pub(crate) async fn list_roles(call: Arc<Call>) -> Result<Answer, Refusal> {
    let (_, row) = allowed(&call).await?;
    let roles = roles_of(&call, &row).await?;
    Ok(listing_of(
        &call,
        "roles",
        roles.iter().map(|role| json!(role)).collect(),
    ))
}

pub(crate) async fn show_role(call: Arc<Call>) -> Result<Answer, Refusal> {
    let (_, row) = allowed(&call).await?;
    let wanted = call.parameter("role_id");
    let roles = roles_of(&call, &row).await?;
    let role = roles
        .iter()
        .find(|role| role.id == wanted)
        .ok_or_else(|| Refusal::no_such("role", wanted))?;
    Ok(Answer::ok(json!({ "role": role })))
}

/// The trustor ends a trust; the trustee cannot.
pub(crate) async fn remove(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("trust_id");
    let found = live(&call, id).await?;
    call.allow(&Target {
        user: found.as_ref().map(|row| row.trustor.as_str()),
        ..Target::default()
    })?;
    found.ok_or_else(|| Refusal::no_such("trust", id))?;
    call.refuse_delegated()?;
    call.identity.records.remove(TRUSTS, id).await?;
    call.identity.records.settle().await;
    Ok(Answer::nothing())
}

/// Removes all trusts of some user or project.
pub(crate) async fn forget(call: &Call, unwanted: impl Fn(&Trust) -> bool) -> Result<(), Refusal> {
    for (id, _) in call
        .identity
        .records
        .list::<Trust>(TRUSTS, "")
        .await?
        .iter()
        .filter(|(_, row)| unwanted(row))
    {
        call.identity.records.remove(TRUSTS, id).await?;
    }
    Ok(())
}

async fn live(call: &Call, id: &str) -> Result<Option<Trust>, Refusal> {
    let found = call.identity.records.get::<Trust>(TRUSTS, id).await?;
    Ok(found.map(|(_, row)| row).filter(|row| row.deleted_ms.is_none()))
}

/// A trust is seen by both its sides.
async fn allowed(call: &Call) -> Result<(String, Trust), Refusal> {
    let (id, caller) = (call.parameter("trust_id"), call.caller()?);
    let found = live(call, id).await?;
    let side = found
        .as_ref()
        .filter(|row| [&row.trustor, &row.trustee].contains(&&caller.user.id));
    call.allow(&Target {
        user: side.map(|_| caller.user.id.as_str()),
        ..Target::default()
    })?;
    found
        .map(|row| (id.to_owned(), row))
        .ok_or_else(|| Refusal::no_such("trust", id))
}

async fn roles_of(call: &Call, row: &Trust) -> Result<Vec<RoleRef>, Refusal> {
    Ok(rights::named(&call.identity.records, &row.roles.iter().cloned().collect()).await?)
}

fn document(call: &Call, id: &str, row: &Trust, roles: Option<&[RoleRef]>) -> Value {
    let mut shown = json!({
        "id": id, "trustor_user_id": row.trustor, "trustee_user_id": row.trustee, "project_id": row.project,
        "impersonation": row.impersonation, "expires_at": row.expires_ms.map(moment), "remaining_uses": row.remaining_uses,
        "redelegation_count": row.redelegation_count, "redelegated_trust_id": row.redelegated_trust, "deleted_at": null,
        "links": { "self": format!("{}/v3/OS-TRUST/trusts/{id}", call.base) },
    });
    if let Some(roles) = roles {
        shown["roles"] = json!(roles);
        shown["roles_links"] =
            json!({ "next": null, "previous": null, "self": format!("{}/v3/OS-TRUST/trusts/{id}/roles", call.base) });
    }
    shown
}
