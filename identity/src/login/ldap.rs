//! Logins of users whom their domain's directory keeps: it judges the password, lockout is the same as for all.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::request::PasswordProof;
use super::{Proven, find_domain, password, user_by_id};
use crate::error::IdentityError;
use crate::ldap::{Backend, Person, user_id};
use crate::model::{Document, User};
use crate::names;
use crate::refusal::Refusal;
use crate::row::USERS;
use crate::service::Identity;
use crate::token::AuthMethod;

/// Who is looked for, and where.
struct Wanted<'a> {
    backend: &'a Backend,
    domain: String,
    person: Option<Person>,
}

/// None when it is no directory's business.
pub(super) async fn prove(identity: &Identity, proof: &PasswordProof) -> Result<Option<Proven>, Refusal> {
    let Some(wanted) = find(identity, proof).await? else {
        return Ok(None);
    };
    let Wanted {
        backend,
        domain,
        person,
    } = wanted;
    let known = match &person {
        Some(person) => Some(known(identity, &domain, person).await?),
        None => None,
    };
    if let Some((id, row)) = &known
        && password::is_locked(identity, id, row).await?
    {
        return Err(Refusal::Unauthorized);
    }
    let shadow = backend
        .login(&identity.records, &domain, person.as_ref(), &proof.password)
        .await?;
    let Some((user, row)) = shadow else {
        if let Some((id, row)) = &known {
            password::note_failure(identity, id, row).await?;
        }
        return Err(Refusal::Unauthorized);
    };
    password::forget_failures(identity, &user).await?;
    Ok(Some(Proven {
        user,
        row: view(row)?,
        methods: BTreeSet::from([AuthMethod::Password]),
        ends_ms: None,
        parent_audit: None,
        application_credential: None,
    }))
}

async fn find<'a>(identity: &'a Identity, proof: &PasswordProof) -> Result<Option<Wanted<'a>>, Refusal> {
    let (records, ldap) = (&identity.records, &identity.options.ldap);
    if let Some(id) = &proof.user.id {
        let Some((_, row)) = user_by_id(identity, id).await? else {
            return Ok(None);
        };
        let (Some(entry), Some(backend)) = (&row.ldap_id, ldap.of_domain(records, &row.domain_id).await?) else {
            return Ok(None);
        };
        return Ok(Some(Wanted {
            backend,
            person: backend.person_with_id(entry).await?,
            domain: row.domain_id,
        }));
    }
    let (Some(name), Some(domain)) = (&proof.user.name, &proof.user.domain) else {
        return Ok(None);
    };
    let Some(domain) = find_domain(identity, domain).await? else {
        return Ok(None);
    };
    let Some(backend) = ldap.of_domain(records, &domain).await? else {
        return Ok(None);
    };
    // A user of our own, from before the domain had a directory, stays one.
    if let Some(id) = names::find(records, USERS, &domain, name).await?
        && user_by_id(identity, &id)
            .await?
            .is_some_and(|(_, row)| row.ldap_id.is_none())
    {
        return Ok(None);
    }
    Ok(Some(Wanted {
        backend,
        person: backend.person_named(name).await?,
        domain,
    }))
}

/// What is known of somebody: their shadow, or what it will say.
async fn known(identity: &Identity, domain: &str, person: &Person) -> Result<(String, User), Refusal> {
    let id = user_id(domain, person);
    if let Some(found) = user_by_id(identity, &id).await? {
        return Ok(found);
    }
    let row = json!({ "name": person.name, "domain_id": domain });
    Ok((id, view(row.as_object().cloned().unwrap_or_default())?))
}

fn view(row: Document) -> Result<User, Refusal> {
    serde_json::from_value(Value::Object(row)).map_err(|_| {
        Refusal::Internal(IdentityError::Unreadable {
            what: "a user of a directory".to_owned(),
            why: "it lacks fields",
        })
    })
}
