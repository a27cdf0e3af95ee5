//! Application credentials and the access rules of a user.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Call;
use super::document::{inner, moment, parse_moment, text};
use super::resources::listing_of;
use super::users::require_user;
use crate::model::{ApplicationCredential, Document};
use crate::names;
use crate::policy::Target;
use crate::refusal::Refusal;
use crate::rights;
use crate::row::{ACCESS_RULES, APPLICATION_CREDENTIALS};
use crate::token::{AccessRule, RoleRef, Scope};

/// The most access rules of one credential.
const RULES_MAX: usize = 100;
/// The most application credentials of one user.
const CREDENTIALS_MAX: usize = 1000;
/// Bytes of a secret we draw.
const SECRET_BYTES: usize = 64;
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "COPY", "OPTIONS"];

pub(crate) async fn list(call: Arc<Call>) -> Result<Answer, Refusal> {
    let user = call.parameter("user_id");
    call.allow(&Target::user(user))?;
    require_user(&call, user).await?;
    let mut shown = Vec::new();
    for (id, row) in own(&call, user).await? {
        if call.filter("name").is_none_or(|name| name == row.name) {
            shown.push(document(&call, &id, &row).await?);
        }
    }
    Ok(listing_of(&call, "application_credentials", shown))
}

pub(crate) async fn show(call: Arc<Call>) -> Result<Answer, Refusal> {
    let (id, row) = allowed(&call).await?;
    Ok(Answer::ok(
        json!({ "application_credential": document(&call, &id, &row).await? }),
    ))
}

pub(crate) async fn create(call: Arc<Call>) -> Result<Answer, Refusal> {
    let user = call.parameter("user_id");
    call.allow(&Target::user(user))?;
    call.refuse_delegated()?;
    let given = inner(&call.body, "application_credential")?;
    let name = text(given, "name").filter(|name| (1..=255).contains(&name.chars().count()));
    let name = name.ok_or_else(|| Refusal::BadRequest("'name' is a required property".into()))?;
    let caller = call.caller()?;
    let Scope::Project(project) = &caller.scope else {
        return Err(Refusal::BadRequest(
            "An application credential is made with a token for a project.".into(),
        ));
    };
    let roles = roles(given.get("roles"), &caller.roles)?;
    let expires_ms = match given.get("expires_at") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => {
            let ends = parse_moment(text).filter(|ends| *ends > call.identity.records.now_ms());
            Some(ends.ok_or_else(|| Refusal::invalid("expires_at", "it is not a moment in the future"))?)
        }
        Some(_) => return Err(Refusal::invalid("expires_at", "it is not of type 'string'")),
    };
    let secret = match given.get("secret") {
        None | Some(Value::Null) => {
            let mut bytes = zeroize::Zeroizing::new([0; SECRET_BYTES]);
            call.identity.records.dice.fill(&mut *bytes);
            URL_SAFE_NO_PAD.encode(*bytes)
        }
        Some(Value::String(secret)) if (1..=255).contains(&secret.len()) => secret.clone(),
        Some(_) => return Err(Refusal::invalid("secret", "it has 1 to 255 characters")),
    };
    let access_rules = access_rules(&call, user, given.get("access_rules")).await?;
    let unrestricted = match given.get("unrestricted") {
        None => false,
        Some(Value::Bool(unrestricted)) => *unrestricted,
        Some(_) => return Err(Refusal::invalid("unrestricted", "it is not of type 'boolean'")),
    };
    if own(&call, user).await?.len() >= CREDENTIALS_MAX {
        return Err(Refusal::Forbidden(
            "The user has too many application credentials.".into(),
        ));
    }
    let row = ApplicationCredential {
        name: name.to_owned(),
        description: text(given, "description").map(str::to_owned),
        user: user.to_owned(),
        project: project.id.clone(),
        roles,
        unrestricted,
        expires_ms,
        access_rules,
        secret_hash: call
            .identity
            .passwords
            .hash(&*call.identity.records.dice, &secret)
            .await?,
    };
    let (records, id) = (&call.identity.records, call.identity.records.new_id());
    let duplicate = |_| {
        Refusal::Conflict(format!(
            "Conflict occurred attempting to store application_credential - Duplicate entry found with name {name}."
        ))
    };
    names::take(records, APPLICATION_CREDENTIALS, user, name, &id)
        .await
        .map_err(duplicate)?;
    records.insert(APPLICATION_CREDENTIALS, &id, &row).await?;
    for rule in row.access_rules.iter().flatten() {
        records.put(ACCESS_RULES, &format!("{user}/{}", rule.id), rule).await?;
    }
    let mut document = document(&call, &id, &row).await?;
    document["secret"] = json!(secret);
    Ok(Answer::created(json!({ "application_credential": document })))
}

pub(crate) async fn remove(call: Arc<Call>) -> Result<Answer, Refusal> {
    let (id, row) = allowed(&call).await?;
    call.refuse_delegated()?;
    drop_row(&call, &id, &row).await?;
    call.identity.records.settle().await;
    Ok(Answer::nothing())
}

/// Removes all application credentials of some user or project.
pub(crate) async fn forget(call: &Call, unwanted: impl Fn(&ApplicationCredential) -> bool) -> Result<(), Refusal> {
    let rows = call
        .identity
        .records
        .list::<ApplicationCredential>(APPLICATION_CREDENTIALS, "")
        .await?;
    for (id, row) in rows.into_iter().filter(|(_, row)| unwanted(row)) {
        drop_row(call, &id, &row).await?;
    }
    Ok(())
}

async fn drop_row(call: &Call, id: &str, row: &ApplicationCredential) -> Result<(), Refusal> {
    let records = &call.identity.records;
    records.remove(APPLICATION_CREDENTIALS, id).await?;
    Ok(names::give_back(records, APPLICATION_CREDENTIALS, &row.user, &row.name, id).await?)
}

/// The roles asked for, which must be among the token's; all of the token's without.
fn roles(given: Option<&Value>, had: &[RoleRef]) -> Result<Vec<String>, Refusal> {
    // Clients say "all of them" with an empty list as well.
    let none = |given: &Value| given.is_null() || given.as_array().is_some_and(Vec::is_empty);
    let Some(wanted) = given.filter(|given| !none(given)) else {
        return Ok(had.iter().map(|role| role.id.clone()).collect());
    };
    let wanted = wanted
        .as_array()
        .ok_or_else(|| Refusal::invalid("roles", "it is not of type 'array'"))?;
    let mut ids = Vec::new();
    for one in wanted {
        let (id, name) = (one["id"].as_str(), one["name"].as_str());
        let found = had
            .iter()
            .find(|role| Some(role.id.as_str()) == id || (id.is_none() && Some(role.name.as_str()) == name));
        match found {
            Some(role) => ids.push(role.id.clone()),
            None => {
                let wanted = id.or(name).unwrap_or_default();
                return Err(Refusal::BadRequest(format!(
                    "Invalid application credential: Could not find role assignment with role: {wanted}."
                )));
            }
        }
    }
    Ok(ids)
}

/// The rules asked for: new ones, or those the user has already, by id.
async fn access_rules(call: &Call, user: &str, given: Option<&Value>) -> Result<Option<Vec<AccessRule>>, Refusal> {
    let Some(given) = given.filter(|given| !given.is_null()) else {
        return Ok(None);
    };
    let wrong = |why: &str| Refusal::invalid("access_rules", why);
    let given = given.as_array().filter(|rules| rules.len() <= RULES_MAX);
    let given = given.ok_or_else(|| wrong("it is a list of at most 100 rules"))?;
    let mut rules = Vec::new();
    for one in given {
        if let Some(id) = one["id"].as_str() {
            let known = call
                .identity
                .records
                .get::<AccessRule>(ACCESS_RULES, &format!("{user}/{id}"))
                .await?;
            rules.push(known.ok_or_else(|| Refusal::no_such("access_rule", id))?.1);
            continue;
        }
        let (Some(service), Some(method), Some(path)) =
            (one["service"].as_str(), one["method"].as_str(), one["path"].as_str())
        else {
            return Err(wrong("a rule has service, method and path"));
        };
        if !METHODS.contains(&method)
            || !path.starts_with('/')
            || path.len() > 255
            || service.is_empty()
            || service.len() > 255
        {
            return Err(wrong(
                "a rule has a service, an HTTP method and a path that begins with '/'",
            ));
        }
        rules.push(AccessRule {
            id: call.identity.records.new_id(),
            service: service.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
        });
    }
    Ok(Some(rules))
}

async fn own(call: &Call, user: &str) -> Result<Vec<(String, ApplicationCredential)>, Refusal> {
    let rows = call
        .identity
        .records
        .list::<ApplicationCredential>(APPLICATION_CREDENTIALS, "")
        .await?;
    Ok(rows.into_iter().filter(|(_, row)| row.user == user).collect())
}

async fn allowed(call: &Call) -> Result<(String, ApplicationCredential), Refusal> {
    let (user, id) = (call.parameter("user_id"), call.parameter("application_credential_id"));
    call.allow(&Target::user(user))?;
    let found = call
        .identity
        .records
        .get::<ApplicationCredential>(APPLICATION_CREDENTIALS, id)
        .await?;
    let found = found.filter(|(_, row)| row.user == user);
    found
        .map(|(_, row)| (id.to_owned(), row))
        .ok_or_else(|| Refusal::no_such("Application Credential", id))
}

async fn document(call: &Call, id: &str, row: &ApplicationCredential) -> Result<Value, Refusal> {
    let roles = rights::named(&call.identity.records, &row.roles.iter().cloned().collect()).await?;
    let mut shown = json!({
        "id": id, "name": row.name, "description": row.description, "project_id": row.project, "user_id": row.user,
        "roles": roles.iter().map(|role| json!({ "id": role.id, "name": role.name, "domain_id": null })).collect::<Vec<_>>(),
        "expires_at": row.expires_ms.map(|ms| moment(ms).trim_end_matches('Z').to_owned()),
        "unrestricted": row.unrestricted, "system": null,
        "links": { "self": format!("{}/v3/users/{}/application_credentials/{id}", call.base, row.user) },
    });
    if let Some(rules) = &row.access_rules {
        shown["access_rules"] = json!(rules);
    }
    Ok(shown)
}

pub(crate) async fn list_rules(call: Arc<Call>) -> Result<Answer, Refusal> {
    let user = call.parameter("user_id");
    call.allow(&Target::user(user))?;
    let rows = call
        .identity
        .records
        .list::<AccessRule>(ACCESS_RULES, &format!("{user}/"))
        .await?;
    Ok(listing_of(
        &call,
        "access_rules",
        rows.iter().map(|(_, rule)| rule_document(&call, user, rule)).collect(),
    ))
}

pub(crate) async fn show_rule(call: Arc<Call>) -> Result<Answer, Refusal> {
    let rule = rule(&call).await?;
    Ok(Answer::ok(
        json!({ "access_rule": rule_document(&call, call.parameter("user_id"), &rule) }),
    ))
}

pub(crate) async fn remove_rule(call: Arc<Call>) -> Result<Answer, Refusal> {
    let rule = rule(&call).await?;
    call.refuse_delegated()?;
    let user = call.parameter("user_id");
    let uses = |row: &ApplicationCredential| row.access_rules.iter().flatten().any(|one| one.id == rule.id);
    if own(&call, user).await?.iter().any(|(_, row)| uses(row)) {
        return Err(Refusal::Forbidden(
            "The access rule is used by an application credential.".into(),
        ));
    }
    call.identity
        .records
        .remove(ACCESS_RULES, &format!("{user}/{}", rule.id))
        .await?;
    Ok(Answer::nothing())
}

async fn rule(call: &Call) -> Result<AccessRule, Refusal> {
    let (user, id) = (call.parameter("user_id"), call.parameter("access_rule_id"));
    call.allow(&Target::user(user))?;
    let found = call
        .identity
        .records
        .get::<AccessRule>(ACCESS_RULES, &format!("{user}/{id}"))
        .await?;
    found
        .map(|(_, rule)| rule)
        .ok_or_else(|| Refusal::no_such("Access Rule", id))
}

fn rule_document(call: &Call, user: &str, rule: &AccessRule) -> Value {
    let mut shown: Document = Document::new();
    for (name, value) in [
        ("id", &rule.id),
        ("service", &rule.service),
        ("method", &rule.method),
        ("path", &rule.path),
    ] {
        shown.insert(name.into(), json!(value));
    }
    shown.insert(
        "links".into(),
        json!({ "self": format!("{}/v3/users/{user}/access_rules/{}", call.base, rule.id) }),
    );
    Value::Object(shown)
}
