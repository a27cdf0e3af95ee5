//! Trusts: a user lets another one act with some of their roles.

use std::sync::Arc;

use serde_json::{Map, Value, json};

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

/// How often a trust may be handed on at most (Keystone's default).
const REDELEGATIONS_MAX: u64 = rights::TRUSTS_DEPTH_MAX as u64 - 1;

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
    // What came by a trust may be handed on as far as that trust says; other delegations make none.
    let parent = handed_on(&call).await?;
    if parent.is_none() {
        call.refuse_delegated()?;
    }
    require_user(&call, trustee).await?;
    let project = text(given, "project_id").map(str::to_owned);
    let holder = match &parent {
        Some((id, _)) => first_trustor(&call, id).await?,
        None => trustor.to_owned(),
    };
    let roles = given_roles(&call, &holder, project.as_deref(), given.get("roles")).await?;
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
    let redelegation_count = depth(given, remaining_uses, parent.as_ref().map(|(_, row)| row))?;
    let mut row = Trust {
        trustor: trustor.to_owned(),
        trustee: trustee.to_owned(),
        project,
        impersonation: *impersonation,
        expires_ms,
        remaining_uses,
        roles: roles.iter().map(|role| role.id.clone()).collect(),
        redelegation_count,
        allow_redelegation: redelegation_count > 0,
        redelegated_trust: None,
        deleted_ms: None,
    };
    if let Some((id, parent)) = parent {
        check_within(&parent, &mut row)?;
        row.redelegated_trust = Some(id);
    }
    let id = call.identity.records.new_id();
    call.identity.records.insert(TRUSTS, &id, &row).await?;
    Ok(Answer::created(
        json!({ "trust": document(&call, &id, &row, Some(&roles)) }),
    ))
}

/// The trust that the caller's token was made with, and whether it may be handed on.
async fn handed_on(call: &Call) -> Result<Option<(String, Trust)>, Refusal> {
    let Some(used) = &call.caller()?.trust else {
        return Ok(None);
    };
    let row = live(call, &used.id).await?.ok_or(Refusal::Unauthorized)?;
    Ok(Some((used.id.clone(), row)))
}

/// How often the new trust may be handed on in turn, by Keystone's rules.
fn depth(given: &Map<String, Value>, uses: Option<u64>, parent: Option<&Trust>) -> Result<u64, Refusal> {
    let asked = match given.get("redelegation_count") {
        None | Some(Value::Null) => None,
        Some(count) => Some(
            count
                .as_u64()
                .ok_or_else(|| Refusal::invalid("redelegation_count", "it is not a number of at least 0"))?,
        ),
    };
    let allowed = match given.get("allow_redelegation") {
        None | Some(Value::Null) => false,
        Some(allowed) => allowed
            .as_bool()
            .ok_or_else(|| Refusal::invalid("allow_redelegation", "it is not of type 'boolean'"))?,
    };
    if !allowed || asked == Some(0) {
        return Ok(0);
    }
    if asked.is_some_and(|asked| asked > REDELEGATIONS_MAX) {
        return Err(Refusal::Forbidden(format!(
            "The requested redelegation depth is greater than the allowed {REDELEGATIONS_MAX}."
        )));
    }
    if uses.is_some() {
        return Err(Refusal::BadRequest(
            "remaining_uses must not be set if redelegation is allowed".into(),
        ));
    }
    let Some(parent) = parent else {
        return Ok(asked.unwrap_or(REDELEGATIONS_MAX));
    };
    let left = parent.redelegation_count.saturating_sub(1);
    if asked.is_some_and(|asked| asked != left) {
        return Err(Refusal::Forbidden(
            "Modifying \"redelegation_count\" upon redelegation is forbidden. Omitting this parameter is advised."
                .into(),
        ));
    }
    Ok(left)
}

/// What is handed on is never more than what was had, nor for longer.
fn check_within(parent: &Trust, row: &mut Trust) -> Result<(), Refusal> {
    let forbidden = |why: &str| Err(Refusal::Forbidden(why.to_owned()));
    if !(1..=REDELEGATIONS_MAX).contains(&parent.redelegation_count) {
        return forbidden("The trust may not be handed on any further.");
    }
    if row.remaining_uses.is_some() {
        return forbidden("Field \"remaining_uses\" must not be set in order to redelegate a trust.");
    }
    match (parent.expires_ms, row.expires_ms) {
        (Some(ends), Some(asked)) if asked > ends => {
            return forbidden("Requested expiration time is more than redelegated trust can provide.");
        }
        (Some(ends), None) => row.expires_ms = Some(ends),
        _ => {}
    }
    if row.project != parent.project || row.roles.iter().any(|role| !parent.roles.contains(role)) {
        return forbidden("Some of requested roles are not in redelegated trust.");
    }
    if row.impersonation && !parent.impersonation {
        return forbidden("Impersonation is not allowed because redelegated trust does not specify impersonation.");
    }
    Ok(())
}

/// Whose roles a chain of trusts hands on.
async fn first_trustor(call: &Call, id: &str) -> Result<String, Refusal> {
    let chain = rights::trusts_up(&call.identity.records, id).await?;
    let first = chain.and_then(|mut chain| chain.pop());
    Ok(first.ok_or(Refusal::Unauthorized)?.1.trustor)
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
    // What was made of it goes first, so that nothing outlives it.
    let rows = call.identity.records.list::<Trust>(TRUSTS, "").await?;
    let mut doomed = vec![id.to_owned()];
    let mut at = 0;
    while let Some(parent) = doomed.get(at).cloned() {
        let of_it = |row: &Trust| row.redelegated_trust.as_ref() == Some(&parent);
        doomed.extend(rows.iter().filter(|(_, row)| of_it(row)).map(|(id, _)| id.clone()));
        at += 1;
    }
    for id in doomed.iter().rev() {
        call.identity.records.remove(TRUSTS, id).await?;
    }
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
