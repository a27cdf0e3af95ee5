//! Tokens: made, looked at, revoked; and what somebody may ask a token for.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Call;
use super::catalog;
use super::document::moment;
use super::kinds::{DOMAIN, PROJECT};
use super::resources::{listing, listing_of};
use super::users::projects_of;
use crate::login::{self, AuthRequest};
use crate::model::{Document, TokenPayload};
use crate::policy::{self, Action, Target};
use crate::refusal::Refusal;
use crate::rights::{self, Place};
use crate::service::{Identity, IssuedToken};
use crate::token::{Scope, TokenContext};

/// How long after its end a token is still shown to a service that asks with `allow_expired`, milliseconds: uploads and
/// the like may take longer than their token lives (Keystone: 48 h).
const EXPIRED_SHOWN_MS: u64 = 48 * 3_600_000;

pub(crate) async fn create(call: Arc<Call>) -> Result<Answer, Refusal> {
    let request = AuthRequest::parse(&call.body)?;
    let issued = login::authenticate(&call.identity, &request).await?;
    issued_answer(&call, &issued).await
}

/// 201 with a token just made.
pub(crate) async fn issued_answer(call: &Call, issued: &IssuedToken) -> Result<Answer, Refusal> {
    let body = shown(&call.identity, &issued.context, !call.flag_present("nocatalog")).await?;
    let mut answer = Answer::created(body);
    answer.subject = Some(issued.token.to_string());
    Ok(answer)
}

pub(crate) async fn show(call: Arc<Call>) -> Result<Answer, Refusal> {
    let context = subject(&call, Action::IdentityValidateToken).await?.1;
    let mut answer = Answer::ok(shown(&call.identity, &context, !call.flag_present("nocatalog")).await?);
    answer.subject.clone_from(&call.subject_token);
    Ok(answer)
}

pub(crate) async fn check(call: Arc<Call>) -> Result<Answer, Refusal> {
    let mut answer = show(call).await?;
    answer.body = None;
    Ok(answer)
}

pub(crate) async fn revoke(call: Arc<Call>) -> Result<Answer, Refusal> {
    let (payload, _) = subject(&call, Action::IdentityRevokeToken).await?;
    call.identity.revoke(&payload).await?;
    Ok(Answer::nothing())
}

/// The token in `X-Subject-Token`: 404 when it is not valid. One's own may always be looked at and revoked.
async fn subject(call: &Call, others: Action) -> Result<(TokenPayload, TokenContext), Refusal> {
    let caller = call.caller()?;
    let subject = call.subject_token.as_deref();
    let subject = subject.ok_or_else(|| Refusal::BadRequest("X-Subject-Token is missing.".into()))?;
    let may_judge = policy::allowed(others, Some(caller), &Target::default());
    let grace_ms = if call.flag("allow_expired") && may_judge {
        EXPIRED_SHOWN_MS
    } else {
        0
    };
    let gone = |_| Refusal::NotFound("Could not find token: the token is not valid.".into());
    let opened = call.identity.open(subject, grace_ms).await;
    let own = call.auth_token.as_deref() == Some(subject)
        || opened
            .as_ref()
            .is_ok_and(|payload| payload.user == caller.user.id && caller.trust.is_none());
    if !own && !may_judge {
        return Err(Refusal::not_allowed(others));
    }
    let payload = match opened {
        Err(crate::token::TokenError::Invalid) => return Err(gone(())),
        other => other?,
    };
    match call.identity.context(&payload).await {
        Err(crate::token::TokenError::Invalid) => Err(gone(())),
        other => Ok((payload, other?)),
    }
}

/// A token as a document.
pub(crate) async fn shown(identity: &Identity, context: &TokenContext, with_catalog: bool) -> Result<Value, Refusal> {
    let domain = |domain: &crate::token::DomainRef| json!({ "id": domain.id, "name": domain.name });
    let mut token = json!({
        "methods": context.methods.iter().map(|method| method.name()).collect::<Vec<_>>(),
        "user": {
            "id": context.user.id, "name": context.user.name, "domain": domain(&context.user.domain),
            "password_expires_at": context.user.password_expires_ms.map(|ms| moment(ms).trim_end_matches('Z').to_owned()),
        },
        "audit_ids": context.audit_ids,
        "issued_at": moment(context.issued_ms),
        "expires_at": moment(context.expires_ms),
    });
    match &context.scope {
        Scope::Unscoped => {}
        Scope::System => token["system"] = json!({ "all": true }),
        Scope::Domain(scope) => token["domain"] = domain(scope),
        Scope::Project(project) => {
            token["project"] = json!({ "id": project.id, "name": project.name, "domain": domain(&project.domain) });
            token["is_domain"] = json!(false);
            if context.admin_project {
                token["is_admin_project"] = json!(true);
            }
        }
    }
    if context.scope != Scope::Unscoped {
        token["roles"] = json!(context.roles);
        if with_catalog {
            token["catalog"] = catalog::of(identity, context).await?;
        }
    }
    if let Some(one) = &context.application_credential {
        token["application_credential"] = json!({ "id": one.id, "name": one.name, "restricted": one.restricted });
        if let Some(rules) = &context.access_rules {
            token["application_credential"]["access_rules"] = json!(rules);
        }
    }
    if let Some(trust) = &context.trust {
        token["OS-TRUST:trust"] = json!({
            "id": trust.id, "impersonation": trust.impersonation,
            "trustor_user": { "id": trust.trustor }, "trustee_user": { "id": trust.trustee },
        });
    }
    Ok(json!({ "token": token }))
}

pub(crate) async fn auth_catalog(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let caller = call.caller()?;
    if caller.scope == Scope::Unscoped {
        return Err(Refusal::Forbidden("An unscoped token has no catalog.".into()));
    }
    let catalog = catalog::of(&call.identity, caller).await?;
    let links = json!({ "next": null, "previous": null, "self": format!("{}{}", call.base, call.path) });
    Ok(Answer::ok(json!({ "catalog": catalog, "links": links })))
}

pub(crate) async fn auth_projects(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let rows = projects_of(&call, &call.caller()?.user.id).await?;
    Ok(listing(&call, &PROJECT, rows))
}

pub(crate) async fn auth_domains(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let assigned = rights::assigned_to(&call.identity.records, &call.caller()?.user.id).await?;
    let mut rows: Vec<(String, Document)> = Vec::new();
    for one in assigned.iter().filter(|one| !one.inherited) {
        let Place::Domain(id) = &one.place else { continue };
        if rows.iter().all(|(known, _)| known != id)
            && rights::usable_domain(&call.identity.records, id).await?.is_some()
            && let Some((_, row)) = call.identity.records.get::<Document>(DOMAIN.table, id).await?
        {
            rows.push((id.clone(), row));
        }
    }
    Ok(listing(&call, &DOMAIN, rows))
}

pub(crate) async fn auth_system(call: Arc<Call>) -> Result<Answer, Refusal> {
    call.allow(&Target::default())?;
    let assigned = rights::assigned_to(&call.identity.records, &call.caller()?.user.id).await?;
    let on_system = assigned.iter().any(|one| one.place == Place::System);
    Ok(listing_of(
        &call,
        "system",
        on_system.then(|| json!({ "all": true })).into_iter().collect(),
    ))
}
