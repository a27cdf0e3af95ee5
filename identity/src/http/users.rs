//! Users: made, changed, removed; their passwords, groups and projects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Call;
use super::document::{created, inner, moment, patched, text};
use super::kinds::{GROUP, PROJECT, USER};
use super::resources::{all, change, given, listing, make, one, refuse_immutable, require, unmake};
use crate::ldap::is_shadow;
use crate::login;
use crate::model::{Document, User};
use crate::policy::Target;
use crate::refusal::Refusal;
use crate::rights::{self, Place};
use crate::row::USERS;
use crate::service::Identity;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

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
        directory.find_users(records, id, call.filter("name")).await?;
    }
    let rows = all(&call, &USER).await?;
    let here = rows
        .into_iter()
        .filter(|(_, row)| domain.is_none() || text(row, "domain_id") == domain);
    Ok(listing(
        &call,
        &USER,
        here.map(|(id, row)| (id, presented(row))).collect(),
    ))
}

pub(crate) async fn show(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("user_id");
    let row = readable(&call, id).await?;
    Ok(Answer::ok(one(&call, &USER, id, &presented(row))))
}

pub(crate) async fn create(call: Arc<Call>) -> Result<Answer, Refusal> {
    let mut row = created(&USER, given(&call, &USER)?)?;
    let domain = text(&row, "domain_id").unwrap_or_else(|| call.own_domain()).to_owned();
    call.allow(&Target::domain(&domain))?;
    if rights::usable_domain(&call.identity.records, &domain).await?.is_none() {
        return Err(Refusal::no_such("domain", &domain));
    }
    refuse_in_directory(&call, &domain).await?;
    row.insert("domain_id".into(), json!(domain));
    row.entry("enabled").or_insert(json!(true));
    row.entry("options").or_insert(json!({}));
    if let Some(password) = row
        .remove("password")
        .and_then(|password| password.as_str().map(str::to_owned))
    {
        set_password(&call.identity, &mut row, &password, Setter::Other).await?;
    }
    let id = call.identity.records.new_id();
    make(&call, &USER, &domain, &id, &row).await?;
    Ok(Answer::created(one(&call, &USER, &id, &presented(row))))
}

pub(crate) async fn update(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("user_id");
    let row = require(&call, &USER, id)
        .await
        .map_err(|refusal| hidden(&call, refusal))?;
    let domain = text(&row, "domain_id").unwrap_or_default().to_owned();
    call.allow(&Target::domain(&domain))?;
    refuse_shadow(&row)?;
    let mut given = given(&call, &USER)?.clone();
    refuse_immutable(&USER, &row, Some(&given))?;
    let password = given.remove("password");
    let mut hashed = Document::new();
    if let Some(Value::String(password)) = &password {
        hashed.clone_from(&row);
        set_password(&call.identity, &mut hashed, password, Setter::Other).await?;
    }
    let now = call.identity.records.now_ms();
    let after = change(&call, &USER, &domain, id, |before| {
        let mut after = patched(&USER, before, &given)?;
        for (name, value) in hashed
            .iter()
            .filter(|(name, _)| name.starts_with("_password") || *name == "_tokens_from_ms")
        {
            after.insert(name.clone(), value.clone());
        }
        if after.get("enabled") == Some(&json!(false)) && before.get("enabled") != Some(&json!(false)) {
            after.insert("_tokens_from_ms".into(), json!(now + 1));
        }
        Ok(after)
    })
    .await?;
    Ok(Answer::ok(one(&call, &USER, id, &presented(after))))
}

pub(crate) async fn remove(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("user_id");
    let row = require(&call, &USER, id)
        .await
        .map_err(|refusal| hidden(&call, refusal))?;
    call.allow(&Target::domain(text(&row, "domain_id").unwrap_or_default()))?;
    refuse_immutable(&USER, &row, None)?;
    remove_with_all(&call, id, &row).await?;
    call.identity.records.settle().await;
    Ok(Answer::nothing())
}

/// Removes a user and everything that is theirs.
pub(crate) async fn remove_with_all(call: &Call, id: &str, row: &Document) -> Result<(), Refusal> {
    let domain = text(row, "domain_id").unwrap_or_default();
    unmake(call, &USER, domain, id, row).await?;
    super::assignments::forget(call, |one| one.actor == rights::Actor::User(id.to_owned())).await?;
    super::groups::forget_user(call, id).await?;
    super::credentials::forget(call, |user, _| user == Some(id)).await?;
    super::application_credentials::forget(call, |credential| credential.user == id).await?;
    super::trusts::forget(call, |trust| trust.trustor == id || trust.trustee == id).await
}

/// `POST /v3/users/{id}/password`: whoever knows the old one; a token is not asked for, an expired password may be
/// changed this way.
pub(crate) async fn change_password(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("user_id");
    let body = inner(&call.body, "user")?;
    let (Some(old), Some(new)) = (text(body, "original_password"), text(body, "password")) else {
        return Err(Refusal::BadRequest(
            "'original_password' and 'password' are required properties".into(),
        ));
    };
    call.allow(&Target::user(id))?;
    let identity = &call.identity;
    let found = login::user_by_id(identity, id).await?;
    let user = found.as_ref().map(|(_, user)| user);
    if let Some(user) = user
        && login::is_locked(identity, id, user).await?
    {
        return Err(Refusal::Unauthorized);
    }
    let right = identity
        .passwords
        .verify(old, user.and_then(|user| user.password_hash.as_deref()))
        .await?;
    let Some(user) = user.filter(|user| user.enabled) else {
        return Err(Refusal::Unauthorized);
    };
    if !right {
        login::note_failure(identity, id, user).await?;
        return Err(Refusal::Unauthorized);
    }
    if user.options.lock_password == Some(true) {
        return Err(Refusal::Forbidden(
            "The password is locked and cannot be changed.".into(),
        ));
    }
    if old == new {
        return Err(Refusal::BadRequest("The new password cannot be the old one.".into()));
    }
    let mut hashed = require(&call, &USER, id).await?;
    set_password(identity, &mut hashed, new, Setter::User).await?;
    change(&call, &USER, &user.domain_id, id, |before| {
        let mut after = before.clone();
        for (name, value) in hashed.iter().filter(|(name, _)| name.starts_with('_')) {
            after.insert(name.clone(), value.clone());
        }
        Ok(after)
    })
    .await?;
    Ok(Answer::nothing())
}

/// Who sets a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setter {
    /// The user.
    User,
    /// Somebody else.
    Other,
}

/// Writes a new password into a row; what was made with the old one is void.
pub(crate) async fn set_password(
    identity: &Identity,
    row: &mut Document,
    password: &str,
    setter: Setter,
) -> Result<(), Refusal> {
    if password.len() > crate::passwords::PASSWORD_BYTES_MAX {
        return Err(Refusal::invalid("password", "it is too long"));
    }
    if password.chars().count() < identity.options.password_chars_min {
        return Err(Refusal::BadRequest(
            "The password does not match the requirements: it is too short.".into(),
        ));
    }
    let before: Option<User> = serde_json::from_value(Value::Object(row.clone())).ok();
    let mut history = before
        .as_ref()
        .map(|user| user.password_history.clone())
        .unwrap_or_default();
    history.splice(..0, before.and_then(|user| user.password_hash));
    history.truncate(identity.options.password_history);
    if setter == Setter::User {
        for old in &history {
            if identity.passwords.verify(password, Some(old)).await? {
                return Err(Refusal::BadRequest(
                    "The new password cannot be identical to a previous password.".into(),
                ));
            }
        }
    }
    let hash = identity.passwords.hash(&*identity.records.dice, password).await?;
    let now = identity.records.now_ms();
    let expires = identity
        .options
        .password_days
        .map(|days| now.saturating_add(days.saturating_mul(DAY_MS)));
    row.insert("_password_hash".into(), json!(hash));
    row.insert("_password_history".into(), json!(history));
    row.insert("_password_set_ms".into(), json!(now));
    row.insert("_password_expires_ms".into(), json!(expires));
    row.insert("_password_must_change".into(), json!(setter == Setter::Other));
    row.insert("_tokens_from_ms".into(), json!(now + 1));
    Ok(())
}

pub(crate) async fn list_groups(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("user_id");
    readable(&call, id).await?;
    let mut rows = Vec::new();
    for group in rights::groups_of(&call.identity.records, id).await? {
        if let Some((_, row)) = call.identity.records.get::<Document>(GROUP.table, &group).await? {
            rows.push((group, row));
        }
    }
    Ok(listing(&call, &GROUP, rows))
}

pub(crate) async fn list_projects(call: Arc<Call>) -> Result<Answer, Refusal> {
    let id = call.parameter("user_id");
    readable(&call, id).await?;
    Ok(listing(&call, &PROJECT, projects_of(&call, id).await?))
}

/// The projects a user has a role in.
pub(crate) async fn projects_of(call: &Call, user: &str) -> Result<Vec<(String, Document)>, Refusal> {
    let records = &call.identity.records;
    let assigned = rights::assigned_to(records, user).await?;
    let inherits = assigned.iter().any(|one| one.inherited);
    let mut rows = Vec::new();
    for (id, row) in all(call, &PROJECT).await? {
        let direct = assigned
            .iter()
            .any(|one| !one.inherited && one.place == Place::Project(id.clone()));
        if !direct && !inherits {
            continue;
        }
        let Some(located) = rights::usable_project(records, &id).await? else {
            continue;
        };
        let scope = crate::token::Scope::Project(located.project);
        if assigned
            .iter()
            .any(|one| rights::counts_for(one, &scope, &located.above))
        {
            rows.push((id, row));
        }
    }
    Ok(rows)
}

/// A user the caller may see; for others there is none, so that ids cannot be guessed.
async fn readable(call: &Call, id: &str) -> Result<Document, Refusal> {
    let row = require(call, &USER, id)
        .await
        .map_err(|refusal| hidden(call, refusal))?;
    call.allow(&Target {
        domain: text(&row, "domain_id"),
        user: Some(id),
        project: None,
    })?;
    Ok(row)
}

/// Who may not see anything gets 403 for what is not there, as for what is.
pub(crate) fn hidden(call: &Call, refusal: Refusal) -> Refusal {
    if matches!(refusal, Refusal::NotFound(_)) && !call.may(&Target::default()) {
        return Refusal::not_allowed(call.action);
    }
    refusal
}

/// A user's row with what Keystone computes.
pub(crate) fn presented(mut row: Document) -> Document {
    let expires = row.get("_password_expires_ms").and_then(Value::as_u64);
    row.insert(
        "password_expires_at".into(),
        expires.map_or(Value::Null, |ms| json!(moment(ms).trim_end_matches('Z'))),
    );
    row.entry("options").or_insert(json!({}));
    if row.get("default_project_id") == Some(&Value::Null) {
        row.remove("default_project_id");
    }
    row
}

/// Refuses to make what a directory keeps.
pub(crate) async fn refuse_in_directory(call: &Call, domain: &str) -> Result<(), Refusal> {
    let records = &call.identity.records;
    match call.identity.options.ldap.of_domain(records, domain).await? {
        Some(_) => Err(read_only()),
        None => Ok(()),
    }
}

/// Refuses to change what a directory keeps. Removing it is fine: what is ours goes with it, and it comes back when it is
/// looked for.
pub(crate) fn refuse_shadow(row: &Document) -> Result<(), Refusal> {
    match is_shadow(row) {
        Some(_) => Err(read_only()),
        None => Ok(()),
    }
}

fn read_only() -> Refusal {
    Refusal::Forbidden("The users and groups of this domain are kept by a directory and cannot be changed here.".into())
}

/// Whether a user is there.
pub(crate) async fn require_user(call: &Call, id: &str) -> Result<Document, Refusal> {
    let found = call.identity.records.get::<Document>(USERS, id).await?;
    found.map(|(_, row)| row).ok_or_else(|| Refusal::no_such("user", id))
}
