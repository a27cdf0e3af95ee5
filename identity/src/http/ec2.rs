//! EC2 credentials of a user, and signatures made with them turned into tokens.
//!
//! `ec2tokens` and `s3tokens` answer to services only: who could ask them without proving to be one could turn any
//! signature they overhear into a token.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Call;
use super::resources::listing_of;
use super::signature::Signed;
use super::tokens::issued_answer;
use super::users::require_user;
use crate::directory::Owner;
use crate::login;
use crate::model::{AccessKeyRow, Project};
use crate::policy::Target;
use crate::refusal::Refusal;
use crate::rights;
use crate::row::{ACCESS_KEYS, PROJECTS};
use crate::token::Scope;

/// The most EC2 credentials of one user.
const KEYS_MAX: usize = 1000;

pub(crate) async fn list(call: Arc<Call>) -> Result<Answer, Refusal> {
    let user = call.parameter("user_id");
    call.allow(&Target::user(user))?;
    require_user(&call, user).await?;
    let rows = own(&call, user).await?;
    let shown = rows
        .iter()
        .map(|(access, row)| document(&call, access, row))
        .collect::<Result<_, _>>()?;
    Ok(listing_of(&call, "credentials", shown))
}

pub(crate) async fn create(call: Arc<Call>) -> Result<Answer, Refusal> {
    let user = call.parameter("user_id");
    call.allow(&Target::user(user))?;
    call.refuse_delegated()?;
    require_user(&call, user).await?;
    let project = call.body.get("tenant_id").or_else(|| call.body.get("project_id"));
    let Some(project) = project.and_then(Value::as_str) else {
        return Err(Refusal::BadRequest("'tenant_id' is a required property".into()));
    };
    require_role(&call, user, project).await?;
    if own(&call, user).await?.len() >= KEYS_MAX {
        return Err(Refusal::Forbidden("The user has too many EC2 credentials.".into()));
    }
    let owner = Owner {
        user: Some(user.to_owned()),
        trust: None,
    };
    let issued = call.identity.directory().create_key_of(project, "", owner).await?;
    let row = call
        .identity
        .records
        .get::<AccessKeyRow>(ACCESS_KEYS, &issued.access_key)
        .await?;
    let (_, row) = row.ok_or(Refusal::Unavailable)?;
    Ok(Answer::created(
        json!({ "credential": document(&call, &issued.access_key, &row)? }),
    ))
}

pub(crate) async fn show(call: Arc<Call>) -> Result<Answer, Refusal> {
    let (access, row) = allowed(&call).await?;
    Ok(Answer::ok(json!({ "credential": document(&call, &access, &row)? })))
}

pub(crate) async fn remove(call: Arc<Call>) -> Result<Answer, Refusal> {
    let (access, _) = allowed(&call).await?;
    call.identity.directory().revoke_key(&access).await?;
    Ok(Answer::nothing())
}

/// A user gets keys only for projects in which they have a role; whoever asks for them.
pub(crate) async fn require_role(call: &Call, user: &str, project: &str) -> Result<(), Refusal> {
    let records = &call.identity.records;
    records
        .get::<Project>(PROJECTS, project)
        .await?
        .ok_or_else(|| Refusal::no_such("project", project))?;
    let refused = || Refusal::Forbidden(format!("The user has no role in the project {project}."));
    let located = rights::usable_project(records, project).await?.ok_or_else(refused)?;
    let roles = rights::roles_in(records, user, &Scope::Project(located.project), &located.above).await?;
    if roles.is_empty() { Err(refused()) } else { Ok(()) }
}

async fn own(call: &Call, user: &str) -> Result<Vec<(String, AccessKeyRow)>, Refusal> {
    let rows = call.identity.records.list::<AccessKeyRow>(ACCESS_KEYS, "").await?;
    Ok(rows
        .into_iter()
        .filter(|(_, row)| row.user.as_deref() == Some(user))
        .collect())
}

async fn allowed(call: &Call) -> Result<(String, AccessKeyRow), Refusal> {
    let (user, access) = (call.parameter("user_id"), call.parameter("credential_id"));
    call.allow(&Target::user(user))?;
    let found = call.identity.records.get::<AccessKeyRow>(ACCESS_KEYS, access).await?;
    let found = found.filter(|(_, row)| row.user.as_deref() == Some(user));
    found
        .map(|(_, row)| (access.to_owned(), row))
        .ok_or_else(|| Refusal::no_such("credential", access))
}

fn document(call: &Call, access: &str, row: &AccessKeyRow) -> Result<Value, Refusal> {
    let secret = call.identity.directory().secret(access, row)?;
    let user = row.user.as_deref().unwrap_or_default();
    Ok(json!({
        "access": access, "secret": secret.as_str(), "user_id": user, "tenant_id": row.project, "trust_id": row.trust,
        "links": { "self": format!("{}/v3/users/{user}/credentials/OS-EC2/{access}", call.base) },
    }))
}

pub(crate) async fn ec2_token(call: Arc<Call>) -> Result<Answer, Refusal> {
    authenticate(&call, Signed::request_is_signed_with).await
}

pub(crate) async fn s3_token(call: Arc<Call>) -> Result<Answer, Refusal> {
    authenticate(&call, Signed::string_is_signed_with).await
}

async fn authenticate(call: &Call, is_signed: fn(&Signed, &str, u64) -> bool) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let body = ["credentials", "ec2Credentials", "credential"]
        .iter()
        .find_map(|name| call.body.get(name));
    let body = body.ok_or_else(|| Refusal::BadRequest("'credentials' is a required property".into()))?;
    let signed = Signed::deserialize(body);
    let signed = signed.map_err(|_| Refusal::BadRequest("access and signature are required properties".into()))?;
    let row = call
        .identity
        .records
        .peek::<AccessKeyRow>(ACCESS_KEYS, &signed.access)
        .await?;
    let Some(row) = row else {
        return Err(Refusal::Unauthorized);
    };
    let secret = call.identity.directory().secret(&signed.access, &row)?;
    if !is_signed(&signed, &secret, call.identity.records.now_ms()) {
        return Err(Refusal::Unauthorized);
    }
    // A project's own key, made by an operator, has no user to make a token for.
    let user = row.user.as_deref().ok_or(Refusal::Unauthorized)?;
    let issued = login::by_access_key(&call.identity, &signed.access, user, &row.project, row.trust.as_deref()).await?;
    let mut answer = issued_answer(call, &issued).await?;
    answer.status = http::StatusCode::OK;
    Ok(answer)
}
