//! What a payload allows now: the one place where records become a context, for tokens and S3 keys alike.
//!
//! ```text
//! payload --user, domain, project, assignments, what it was made with: all there and enabled?--> context
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::{AccessKeyRow, ApplicationCredential, PayloadScope, TokenPayload, User};
use crate::records::Records;
use crate::rights;
use crate::row::{ACCESS_KEYS, APPLICATION_CREDENTIALS, USERS};
use crate::token::{ApplicationCredentialRef, Scope, TokenContext, TokenError, TrustRef, UserRef};

/// Computes contexts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Judge {
    records: Arc<Records>,
    admin_project: Arc<str>,
}

impl Judge {
    pub(crate) fn new(records: Arc<Records>, admin_project: &str) -> Self {
        Self {
            records,
            admin_project: admin_project.into(),
        }
    }

    /// The context, and since when tokens with this user and scope are good.
    pub(crate) async fn compute(&self, payload: &TokenPayload) -> Result<(TokenContext, u64), TokenError> {
        let unavailable = TokenError::Unavailable;
        let records = &self.records;
        let (user, mut from_ms) = self.usable_user(&payload.user).await?;
        let mut above = Vec::new();
        let scope = match &payload.scope {
            PayloadScope::Unscoped => Scope::Unscoped,
            PayloadScope::System => Scope::System,
            PayloadScope::Domain(id) => {
                let domain = rights::usable_domain(records, id).await.map_err(unavailable)?;
                let (domain, since) = domain.ok_or(TokenError::Invalid)?;
                from_ms = from_ms.max(since);
                Scope::Domain(domain)
            }
            PayloadScope::Project(id) => {
                let located = rights::usable_project(records, id).await.map_err(unavailable)?;
                let located = located.ok_or(TokenError::Invalid)?;
                from_ms = from_ms.max(located.tokens_from_ms);
                above = located.above;
                Scope::Project(located.project)
            }
        };
        let mut context = TokenContext {
            admin_project: matches!(&scope, Scope::Project(project) if *project.id == *self.admin_project),
            user,
            scope,
            roles: Vec::new(),
            methods: payload.methods.clone(),
            audit_ids: audit_ids(payload),
            issued_ms: payload.issued_ms,
            expires_ms: payload.expires_ms,
            access_rules: None,
            application_credential: None,
            trust: None,
        };
        let narrowed = self.narrow(payload, &mut context).await?;
        if context.scope != Scope::Unscoped {
            // Through a trust, the roles are those of whoever gave it first, whoever acts.
            let holder = context.trust.as_ref().map_or(&context.user.id, |trust| &trust.holder);
            let had = rights::roles_in(records, holder, &context.scope, &above).await;
            let mut roles = had.map_err(unavailable)?;
            if let Some(narrowed) = narrowed {
                let all = rights::with_implied(records, narrowed).await.map_err(unavailable)?;
                roles.retain(|role| all.contains(role));
            }
            context.roles = rights::named(records, &roles).await.map_err(unavailable)?;
            if context.roles.is_empty() {
                return Err(TokenError::Invalid);
            }
        }
        Ok((context, from_ms))
    }

    async fn usable_user(&self, id: &str) -> Result<(UserRef, u64), TokenError> {
        let row = self.records.peek::<User>(USERS, id).await;
        let row = row.map_err(TokenError::Unavailable)?.filter(|user| user.enabled);
        let row = row.ok_or(TokenError::Invalid)?;
        let domain = rights::usable_domain(&self.records, &row.domain_id).await;
        let (domain, since) = domain.map_err(TokenError::Unavailable)?.ok_or(TokenError::Invalid)?;
        let user = UserRef {
            id: id.to_owned(),
            name: row.name,
            domain,
            password_expires_ms: row.password_expires_ms,
        };
        Ok((user, since.max(row.tokens_from_ms)))
    }

    /// What the token was made with, if that narrows it: the roles it may have at most. Each must still be there.
    async fn narrow(
        &self,
        payload: &TokenPayload,
        context: &mut TokenContext,
    ) -> Result<Option<BTreeSet<String>>, TokenError> {
        let unavailable = TokenError::Unavailable;
        let now = self.records.now_ms();
        let lives = |ends: Option<u64>| ends.is_none_or(|ends| ends > now);
        let mut narrowed = None;
        if let Some(access_key) = &payload.access_key {
            let row = self.records.peek::<AccessKeyRow>(ACCESS_KEYS, access_key).await;
            row.map_err(unavailable)?.ok_or(TokenError::Invalid)?;
        }
        if let Some(id) = &payload.application_credential {
            let row = self
                .records
                .peek::<ApplicationCredential>(APPLICATION_CREDENTIALS, id)
                .await;
            let row = row
                .map_err(unavailable)?
                .filter(|row| lives(row.expires_ms) && row.user == payload.user);
            let row = row.ok_or(TokenError::Invalid)?;
            narrowed = Some(row.roles.into_iter().collect());
            context.access_rules = row.access_rules;
            context.application_credential = Some(ApplicationCredentialRef {
                id: id.clone(),
                name: row.name,
                restricted: !row.unrestricted,
            });
        }
        if let Some(id) = &payload.trust {
            let chain = rights::trusts_up(&self.records, id).await.map_err(unavailable)?;
            let chain = chain.ok_or(TokenError::Invalid)?;
            // A trust that was handed on is worth what each of those above it still is.
            for (_, row) in &chain {
                if row.deleted_ms.is_some() || !lives(row.expires_ms) {
                    return Err(TokenError::Invalid);
                }
                self.usable_user(&row.trustor).await?;
                self.usable_user(&row.trustee).await?;
            }
            let (_, first) = chain.last().ok_or(TokenError::Invalid)?;
            let holder = first.trustor.clone();
            let (_, row) = chain.into_iter().next().ok_or(TokenError::Invalid)?;
            narrowed = Some(row.roles.into_iter().collect());
            context.trust = Some(TrustRef {
                id: id.clone(),
                holder,
                trustor: row.trustor,
                trustee: row.trustee,
                impersonation: row.impersonation,
            });
        }
        Ok(narrowed)
    }
}

fn audit_ids(payload: &TokenPayload) -> Vec<String> {
    let ids = std::iter::once(&payload.audit).chain(&payload.parent_audit);
    ids.map(audit_text).collect()
}

/// An audit id as tokens show it.
pub(crate) fn audit_text(audit: &[u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(audit)
}
