//! Proving who one is: request in, token out.
//!
//! ```text
//! methods --each proves a user--> Proven --scope asked for, or the default one--> payload --records--> token
//! ```
//! A token made from another one ends when that one ends. What was made for a purpose (application credential, trust,
//! EC2 signature) makes no further tokens: a stolen token is never worth more than it was.
//!
//! Knows: methods, scopes, lockout and expiry rules. Must not know: HTTP.

mod ldap;
mod password;
mod request;
mod totp;

use std::collections::BTreeSet;

use crate::error::IdentityError;
use crate::model::{ApplicationCredential, PayloadScope, Project, TokenPayload, Trust, User};
use crate::names;
use crate::refusal::Refusal;
use crate::row::{APPLICATION_CREDENTIALS, DOMAINS, PROJECTS, TRUSTS, USERS};
use crate::service::{Identity, IssuedToken};
use crate::token::AuthMethod;

pub(crate) use password::{is_locked, note_failure};
pub(crate) use request::AuthRequest;
use request::ScopeWish;
use request::{ApplicationCredentialProof, DomainName, Named, UserName};
#[cfg(test)]
pub(crate) use totp::passcode as passcode_for_tests;

/// How often a trust with a counted number of uses is tried to be counted while others count too.
const COUNT_TRIES_MAX: usize = 5;

/// Somebody who proved who they are.
struct Proven {
    user: String,
    row: User,
    methods: BTreeSet<AuthMethod>,
    /// The new token may not live longer, milliseconds since the Unix epoch.
    ends_ms: Option<u64>,
    /// The audit id of the first token of the chain.
    parent_audit: Option<[u8; 16]>,
    application_credential: Option<(String, ApplicationCredential)>,
}

/// Judges a request and makes the token it asks for.
pub(crate) async fn authenticate(identity: &Identity, request: &AuthRequest) -> Result<IssuedToken, Refusal> {
    let proven = prove(identity, request).await?;
    let explicit = request.scope()?;
    if proven.application_credential.is_some() && explicit.is_some() {
        return Err(Refusal::Unauthorized);
    }
    let mut payload = TokenPayload {
        user: proven.user.clone(),
        scope: PayloadScope::Unscoped,
        methods: proven.methods.iter().copied().collect(),
        issued_ms: identity.records.now_ms(),
        expires_ms: expiry(identity, proven.ends_ms),
        audit: identity.records.dice.u128().to_be_bytes(),
        parent_audit: proven.parent_audit,
        application_credential: None,
        trust: None,
        access_key: None,
    };
    match (proven.application_credential, explicit) {
        (Some((id, row)), _) => {
            payload.scope = PayloadScope::Project(row.project);
            payload.application_credential = Some(id);
        }
        (None, Some(ScopeWish::Trust(id))) => return through_trust(identity, payload, &id).await,
        (None, Some(wish)) => payload.scope = resolve(identity, wish).await?,
        (None, None) => {
            if let Some(project) = proven.row.default_project_id {
                let scoped = TokenPayload {
                    scope: PayloadScope::Project(project),
                    ..payload.clone()
                };
                // A default project that is gone, disabled, or without a role is no reason to refuse.
                match identity.issue(scoped).await {
                    Err(crate::token::TokenError::Invalid) => {}
                    other => return Ok(other?),
                }
            }
        }
    }
    Ok(identity.issue(payload).await?)
}

fn expiry(identity: &Identity, bound: Option<u64>) -> u64 {
    let full = identity.records.now_ms().saturating_add(identity.options.token_ms);
    bound.map_or(full, |bound| bound.min(full))
}

/// Every method named must prove the same user.
async fn prove(identity: &Identity, request: &AuthRequest) -> Result<Proven, Refusal> {
    let methods = request.methods()?;
    let mut proven: Option<Proven> = None;
    for method in methods {
        let one = match method {
            AuthMethod::Password => password::prove(identity, request.password()?).await?,
            AuthMethod::Totp => totp::prove(identity, request.totp()?).await?,
            AuthMethod::Token => by_token(identity, request.token()?).await?,
            AuthMethod::ApplicationCredential => {
                by_application_credential(identity, request.application_credential()?).await?
            }
            AuthMethod::Ec2credential => return Err(Refusal::Unauthorized),
        };
        proven = Some(match proven {
            None => one,
            Some(before) => together(before, one)?,
        });
    }
    let proven = proven.ok_or(Refusal::Unauthorized)?;
    if enough_factors(&proven) {
        Ok(proven)
    } else {
        Err(Refusal::Unauthorized)
    }
}

fn together(a: Proven, b: Proven) -> Result<Proven, Refusal> {
    if a.user != b.user || a.application_credential.is_some() || b.application_credential.is_some() {
        return Err(Refusal::Unauthorized);
    }
    Ok(Proven {
        methods: a.methods.union(&b.methods).copied().collect(),
        ends_ms: a.ends_ms.into_iter().chain(b.ends_ms).min(),
        parent_audit: a.parent_audit.or(b.parent_audit),
        ..a
    })
}

/// Whether the user's own rules about several factors are met. An application credential is a factor of its own kind.
fn enough_factors(proven: &Proven) -> bool {
    let options = &proven.row.options;
    let rules = options.multi_factor_auth_rules.as_deref().unwrap_or_default();
    if options.multi_factor_auth_enabled != Some(true)
        || rules.is_empty()
        || proven.methods.contains(&AuthMethod::ApplicationCredential)
    {
        return true;
    }
    let used = |name: &String| proven.methods.iter().any(|method| method.name() == name);
    rules.iter().any(|rule| !rule.is_empty() && rule.iter().all(used))
}

async fn by_token(identity: &Identity, token: &str) -> Result<Proven, Refusal> {
    let payload = identity.open(token, 0).await?;
    identity.context(&payload).await?;
    if payload.application_credential.is_some() || payload.trust.is_some() || payload.access_key.is_some() {
        return Err(Refusal::Forbidden(
            "You are not authorized to perform the requested action: a delegated token makes no further tokens.".into(),
        ));
    }
    let (user, row) = user_by_id(identity, &payload.user)
        .await?
        .ok_or(Refusal::Unauthorized)?;
    let mut methods: BTreeSet<AuthMethod> = payload.methods.iter().copied().collect();
    methods.insert(AuthMethod::Token);
    Ok(Proven {
        user,
        row,
        methods,
        ends_ms: Some(payload.expires_ms),
        parent_audit: Some(payload.parent_audit.unwrap_or(payload.audit)),
        application_credential: None,
    })
}

async fn by_application_credential(identity: &Identity, proof: &ApplicationCredentialProof) -> Result<Proven, Refusal> {
    let records = &identity.records;
    let id = match (&proof.id, &proof.name, &proof.user) {
        (Some(id), _, _) => Some(id.clone()),
        (None, Some(name), Some(user)) => match find_user(identity, user).await? {
            Some((user, _)) => names::find(records, APPLICATION_CREDENTIALS, &user, name).await?,
            None => None,
        },
        _ => {
            return Err(Refusal::BadRequest(
                "Expecting to find id, or name and user, in application_credential.".into(),
            ));
        }
    };
    let row = match &id {
        Some(id) => {
            records
                .peek::<ApplicationCredential>(APPLICATION_CREDENTIALS, id)
                .await?
        }
        None => None,
    };
    let hash = row.as_ref().map(|row| row.secret_hash.as_str());
    let right = identity.passwords.verify(&proof.secret, hash).await?;
    let (Some(id), Some(row), true) = (id, row, right) else {
        return Err(Refusal::Unauthorized);
    };
    if row.expires_ms.is_some_and(|ends| ends <= records.now_ms()) {
        return Err(Refusal::Unauthorized);
    }
    let (user, user_row) = user_by_id(identity, &row.user).await?.ok_or(Refusal::Unauthorized)?;
    Ok(Proven {
        user,
        row: user_row,
        methods: BTreeSet::from([AuthMethod::ApplicationCredential]),
        ends_ms: row.expires_ms,
        parent_audit: None,
        application_credential: Some((id, row)),
    })
}

/// The scope somebody asked for. What is not there is not told apart from what is not theirs.
async fn resolve(identity: &Identity, wish: ScopeWish) -> Result<PayloadScope, Refusal> {
    Ok(match wish {
        ScopeWish::Unscoped => PayloadScope::Unscoped,
        ScopeWish::System => PayloadScope::System,
        ScopeWish::Domain(domain) => {
            let id = find_domain(identity, &domain).await?;
            PayloadScope::Domain(id.ok_or(Refusal::Unauthorized)?)
        }
        ScopeWish::Project(project) => {
            let id = find_project(identity, &project).await?;
            PayloadScope::Project(id.ok_or(Refusal::Unauthorized)?)
        }
        ScopeWish::Trust(_) => return Err(Refusal::Unauthorized),
    })
}

/// A token through a trust: its user is the trustor when the trust impersonates.
async fn through_trust(identity: &Identity, mut payload: TokenPayload, id: &str) -> Result<IssuedToken, Refusal> {
    let found = identity.records.get::<Trust>(TRUSTS, id).await?;
    let (mut version, mut trust) = found.ok_or(Refusal::Unauthorized)?;
    if trust.trustee != payload.user {
        return Err(Refusal::Forbidden(
            "You are not authorized to perform the requested action: the user is not the trustee.".into(),
        ));
    }
    for _ in 0..COUNT_TRIES_MAX {
        let now = identity.records.now_ms();
        if trust.deleted_ms.is_some() || trust.expires_ms.is_some_and(|ends| ends <= now) {
            return Err(Refusal::Unauthorized);
        }
        let counted = match trust.remaining_uses {
            None => Ok(()),
            Some(0) => return Err(Refusal::Unauthorized),
            Some(left) => {
                trust.remaining_uses = Some(left - 1);
                identity.records.replace(TRUSTS, id, version, &trust).await
            }
        };
        match counted {
            Ok(()) => {
                if trust.impersonation {
                    payload.user.clone_from(&trust.trustor);
                }
                payload.scope = trust
                    .project
                    .clone()
                    .map_or(PayloadScope::Unscoped, PayloadScope::Project);
                payload.trust = Some(id.to_owned());
                payload.expires_ms = trust
                    .expires_ms
                    .map_or(payload.expires_ms, |ends| ends.min(payload.expires_ms));
                return Ok(identity.issue(payload).await?);
            }
            Err(IdentityError::Taken) => {
                let again = identity.records.get::<Trust>(TRUSTS, id).await?;
                (version, trust) = again.ok_or(Refusal::Unauthorized)?;
            }
            Err(other) => return Err(other.into()),
        }
    }
    Err(Refusal::Unavailable)
}

/// A token for whoever signed with an access key; the caller has checked the signature.
pub(crate) async fn by_access_key(
    identity: &Identity,
    access_key: &str,
    user: &str,
    project: &str,
    trust: Option<&str>,
) -> Result<IssuedToken, Refusal> {
    let payload = TokenPayload {
        user: user.to_owned(),
        scope: PayloadScope::Project(project.to_owned()),
        methods: vec![AuthMethod::Ec2credential],
        issued_ms: identity.records.now_ms(),
        expires_ms: expiry(identity, None),
        audit: identity.records.dice.u128().to_be_bytes(),
        parent_audit: None,
        application_credential: None,
        trust: trust.map(str::to_owned),
        access_key: Some(access_key.to_owned()),
    };
    Ok(identity.issue(payload).await?)
}

pub(crate) async fn user_by_id(identity: &Identity, id: &str) -> Result<Option<(String, User)>, Refusal> {
    let row = identity.records.peek::<User>(USERS, id).await?;
    Ok(row.map(|row| (id.to_owned(), row)))
}

async fn find_user(identity: &Identity, user: &UserName) -> Result<Option<(String, User)>, Refusal> {
    let id = match (&user.id, &user.name, &user.domain) {
        (Some(id), _, _) => Some(id.clone()),
        (None, Some(name), Some(domain)) => match find_domain(identity, domain).await? {
            Some(domain) => names::find(&identity.records, USERS, &domain, name).await?,
            None => None,
        },
        (None, Some(_), None) => {
            return Err(Refusal::BadRequest(
                "Expecting to find domain in user. The server could not comply with the request since it is either \
                 malformed or otherwise incorrect. The client is assumed to be in error."
                    .into(),
            ));
        }
        (None, None, _) => return Err(Refusal::BadRequest("Expecting to find id or name in user.".into())),
    };
    match id {
        Some(id) => user_by_id(identity, &id).await,
        None => Ok(None),
    }
}

async fn find_domain(identity: &Identity, domain: &DomainName) -> Result<Option<String>, Refusal> {
    match (&domain.id, &domain.name) {
        (Some(id), _) => Ok(Some(id.clone())),
        (None, Some(name)) => Ok(names::find(&identity.records, DOMAINS, "", name).await?),
        (None, None) => Err(Refusal::BadRequest("Expecting to find id or name in domain.".into())),
    }
}

async fn find_project(identity: &Identity, project: &Named) -> Result<Option<String>, Refusal> {
    match (&project.id, &project.name, &project.domain) {
        (Some(id), _, _) => Ok(identity
            .records
            .peek::<Project>(PROJECTS, id)
            .await?
            .map(|_| id.clone())),
        (None, Some(name), Some(domain)) => match find_domain(identity, domain).await? {
            Some(domain) => Ok(names::find(&identity.records, PROJECTS, &domain, name).await?),
            None => Ok(None),
        },
        (None, Some(_), None) => Err(Refusal::BadRequest("Expecting to find domain in project.".into())),
        (None, None, _) => Err(Refusal::BadRequest("Expecting to find id or name in project.".into())),
    }
}
