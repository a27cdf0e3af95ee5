//! The credentials API. One of type `ec2` is an S3 key; the others (`totp`, `cert`, …) are sealed blobs.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answer::Answer;
use super::caller::Call;
use super::document::{inner, is_id, text};
use super::resources::listing_of;
use super::users::require_user;
use crate::directory::Owner;
use crate::error::IdentityError;
use crate::model::{AccessKeyRow, Project};
use crate::policy::Target;
use crate::refusal::Refusal;
use crate::row::{ACCESS_KEYS, CREDENTIALS, PROJECTS};
use crate::secrets::{CredentialRow, open_blob, seal_blob};

/// The largest blob, in bytes.
const BLOB_BYTES_MAX: usize = 64 * 1024;

/// Either kind.
enum Found {
    Key(String, AccessKeyRow),
    Sealed(String, CredentialRow),
}

impl Found {
    fn user(&self) -> Option<&str> {
        match self {
            Self::Key(_, row) => row.user.as_deref(),
            Self::Sealed(_, row) => Some(&row.user),
        }
    }
}

pub(crate) async fn list(call: Arc<Call>) -> Result<Answer, Refusal> {
    let caller = call.caller()?;
    let own = caller.user.id.clone();
    // Without rights on everybody's, one sees the own.
    let everybody = call.may(&Target::default());
    call.allow(&Target::user(&own))?;
    let mut shown = Vec::new();
    for found in every(&call).await? {
        let wanted_user = call.filter("user_id").is_none_or(|wanted| found.user() == Some(wanted));
        if wanted_user && (everybody || found.user() == Some(&own)) {
            let document = document(&call, &found)?;
            if call.filter("type").is_none_or(|wanted| document["type"] == *wanted) {
                shown.push(document);
            }
        }
    }
    Ok(listing_of(&call, "credentials", shown))
}

pub(crate) async fn show(call: Arc<Call>) -> Result<Answer, Refusal> {
    let found = allowed(&call).await?;
    Ok(Answer::ok(json!({ "credential": document(&call, &found)? })))
}

pub(crate) async fn create(call: Arc<Call>) -> Result<Answer, Refusal> {
    let given = inner(&call.body, "credential")?;
    let (Some(kind), Some(blob)) = (text(given, "type"), given.get("blob").and_then(Value::as_str)) else {
        return Err(Refusal::BadRequest("'type' and 'blob' are required properties".into()));
    };
    let caller = call.caller()?;
    let user = text(given, "user_id").unwrap_or(&caller.user.id).to_owned();
    let project = text(given, "project_id").map(str::to_owned);
    call.allow(&Target::user(&user))?;
    call.refuse_delegated()?;
    if blob.len() > BLOB_BYTES_MAX || kind.is_empty() || kind.len() > 255 {
        return Err(Refusal::invalid("blob", "the type or the blob is too long"));
    }
    require_user(&call, &user).await?;
    let found = if kind == "ec2" {
        ec2_key(&call, &user, project, blob).await?
    } else {
        let id = call.identity.records.new_id();
        let row = CredentialRow {
            kind: kind.to_owned(),
            user,
            project,
            blob: seal_blob(&call.identity.records, &call.identity.sealer, &id, blob),
        };
        call.identity.records.insert(CREDENTIALS, &id, &row).await?;
        Found::Sealed(id, row)
    };
    Ok(Answer::created(json!({ "credential": document(&call, &found)? })))
}

/// An EC2 credential brought by its user: only for a project in which the user has a role.
async fn ec2_key(call: &Call, user: &str, project: Option<String>, blob: &str) -> Result<Found, Refusal> {
    let wrong = |why: &str| Refusal::BadRequest(format!("Invalid blob in credential: {why}"));
    let blob: Value = serde_json::from_str(blob).map_err(|_| wrong("it is not JSON"))?;
    let (Some(access), Some(secret)) = (blob["access"].as_str(), blob["secret"].as_str()) else {
        return Err(wrong("access and secret are needed"));
    };
    let Some(project) = project else {
        return Err(Refusal::BadRequest(
            "'project_id' is required for a credential of type ec2".into(),
        ));
    };
    super::ec2::require_role(call, user, &project).await?;
    let owner = Owner {
        user: Some(user.to_owned()),
        trust: None,
    };
    let directory = call.identity.directory();
    let made = directory.import_key_of(&project, "", owner, access, secret).await;
    made.map_err(|error| match error {
        IdentityError::Taken => {
            Refusal::Conflict("Conflict occurred attempting to store credential - Duplicate entry.".into())
        }
        other => other.into(),
    })?;
    let row = call.identity.records.get::<AccessKeyRow>(ACCESS_KEYS, access).await?;
    let (_, row) = row.ok_or(Refusal::Unavailable)?;
    Ok(Found::Key(access.to_owned(), row))
}

pub(crate) async fn update(call: Arc<Call>) -> Result<Answer, Refusal> {
    let found = allowed(&call).await?;
    call.refuse_delegated()?;
    let given = inner(&call.body, "credential")?;
    let Found::Sealed(id, mut row) = found else {
        return Err(Refusal::BadRequest(
            "An EC2 credential is not changed: make another one.".into(),
        ));
    };
    if text(given, "user_id").is_some_and(|user| user != row.user) {
        return Err(Refusal::Forbidden(
            "A credential cannot be given to another user.".into(),
        ));
    }
    if let Some(kind) = text(given, "type") {
        if kind == "ec2" || kind.is_empty() || kind.len() > 255 {
            return Err(Refusal::invalid("type", "it cannot become that"));
        }
        kind.clone_into(&mut row.kind);
    }
    if let Some(project) = text(given, "project_id") {
        call.identity
            .records
            .get::<Project>(PROJECTS, project)
            .await?
            .ok_or_else(|| Refusal::no_such("project", project))?;
        row.project = Some(project.to_owned());
    }
    if let Some(blob) = text(given, "blob") {
        if blob.len() > BLOB_BYTES_MAX {
            return Err(Refusal::invalid("blob", "it is too long"));
        }
        row.blob = seal_blob(&call.identity.records, &call.identity.sealer, &id, blob);
    }
    call.identity.records.put(CREDENTIALS, &id, &row).await?;
    Ok(Answer::ok(
        json!({ "credential": document(&call, &Found::Sealed(id, row))? }),
    ))
}

pub(crate) async fn remove(call: Arc<Call>) -> Result<Answer, Refusal> {
    match allowed(&call).await? {
        Found::Key(access, _) => call.identity.directory().revoke_key(&access).await?,
        Found::Sealed(id, _) => {
            call.identity.records.remove(CREDENTIALS, &id).await?;
            call.identity.records.settle().await;
        }
    }
    Ok(Answer::nothing())
}

/// Removes all credentials of some user or project.
pub(crate) async fn forget(call: &Call, unwanted: impl Fn(Option<&str>, Option<&str>) -> bool) -> Result<(), Refusal> {
    for found in every(call).await? {
        match &found {
            // A project's own key, made by an operator, goes with its project.
            Found::Key(access, row) if unwanted(row.user.as_deref(), Some(&row.project)) => {
                call.identity.records.remove(ACCESS_KEYS, access).await?;
            }
            Found::Sealed(id, row) if unwanted(Some(&row.user), row.project.as_deref()) => {
                call.identity.records.remove(CREDENTIALS, id).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn every(call: &Call) -> Result<Vec<Found>, Refusal> {
    let records = &call.identity.records;
    let keys = records.list::<AccessKeyRow>(ACCESS_KEYS, "").await?.into_iter();
    let others = records.list::<CredentialRow>(CREDENTIALS, "").await?.into_iter();
    let keys = keys
        .filter(|(_, row)| row.user.is_some())
        .map(|(access, row)| Found::Key(access, row));
    Ok(keys.chain(others.map(|(id, row)| Found::Sealed(id, row))).collect())
}

/// The credential of the path, if the caller may do the endpoint's action to it; else 403, there or not.
async fn allowed(call: &Call) -> Result<Found, Refusal> {
    let id = call.parameter("credential_id");
    let not_there = || super::users::hidden(call, Refusal::no_such("credential", id));
    if !is_id(id) {
        return Err(not_there());
    }
    let sealed = call.identity.records.get::<CredentialRow>(CREDENTIALS, id).await?;
    let found = match sealed {
        Some((_, row)) => Some(Found::Sealed(id.to_owned(), row)),
        None => every(call)
            .await?
            .into_iter()
            .find(|found| matches!(found, Found::Key(access, _) if key_id(access) == id)),
    };
    let found = found.ok_or_else(not_there)?;
    call.allow(&Target {
        user: found.user(),
        ..Target::default()
    })?;
    Ok(found)
}

/// The id of an EC2 credential: the hash of its access key, as with Keystone.
fn key_id(access: &str) -> String {
    hex::encode(Sha256::digest(access.as_bytes()))
}

fn document(call: &Call, found: &Found) -> Result<Value, Refusal> {
    let (id, kind, user, project, blob) = match found {
        Found::Key(access, row) => {
            let secret = call.identity.directory().secret(access, row)?;
            let blob = json!({ "access": access, "secret": secret.as_str(), "trust_id": row.trust }).to_string();
            (key_id(access), "ec2", row.user.clone(), Some(row.project.clone()), blob)
        }
        Found::Sealed(id, row) => {
            let blob = open_blob(&call.identity.sealer, id, row)?.to_string();
            (
                id.clone(),
                row.kind.as_str(),
                Some(row.user.clone()),
                row.project.clone(),
                blob,
            )
        }
    };
    Ok(json!({
        "id": id, "type": kind, "user_id": user, "project_id": project, "blob": blob,
        "links": { "self": format!("{}/v3/credentials/{id}", call.base) },
    }))
}
