//! One request: who asks, for what, with which parameters.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::policy::{self, Action, Target};
use crate::refusal::Refusal;
use crate::row::DEFAULT_DOMAIN;
use crate::service::Identity;
use crate::token::TokenContext;

/// A request on its way to its handler.
pub(crate) struct Call {
    pub(crate) identity: Arc<Identity>,
    pub(crate) action: Action,
    /// Who asks; none without a valid token.
    pub(crate) caller: Option<Arc<TokenContext>>,
    /// The token as sent.
    pub(crate) auth_token: Option<String>,
    /// `X-Subject-Token`.
    pub(crate) subject_token: Option<String>,
    pub(crate) parameters: HashMap<String, String>,
    pub(crate) query: Vec<(String, String)>,
    /// The body; null without one.
    pub(crate) body: Value,
    /// Where the service is reached: scheme, host, port.
    pub(crate) base: String,
    /// Path and query as sent.
    pub(crate) path: String,
}

impl Call {
    /// A parameter of the path.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// A parameter of the query.
    pub(crate) fn filter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether a flag of the query is set: present, and not `0` or `false`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.filter(name)
            .is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// Whether a parameter is in the query at all, with or without a value.
    pub(crate) fn flag_present(&self, name: &str) -> bool {
        self.filter(name).is_some()
    }

    /// Who asks.
    pub(crate) fn caller(&self) -> Result<&TokenContext, Refusal> {
        self.caller.as_deref().ok_or(Refusal::Unauthorized)
    }

    /// Refuses unless the policy grants the endpoint's action on the target.
    pub(crate) fn allow(&self, target: &Target<'_>) -> Result<(), Refusal> {
        if self.may(target) {
            Ok(())
        } else {
            Err(Refusal::not_allowed(self.action))
        }
    }

    /// Whether the policy grants the endpoint's action on the target.
    pub(crate) fn may(&self, target: &Target<'_>) -> bool {
        policy::allowed(self.action, self.caller.as_deref(), target)
    }

    /// Refuses a token that was made for a purpose: it must not make credentials that outlive or outdo it.
    pub(crate) fn refuse_delegated(&self) -> Result<(), Refusal> {
        let caller = self.caller()?;
        let restricted = caller.application_credential.as_ref().is_some_and(|one| one.restricted);
        let signed = caller.methods.contains(&crate::token::AuthMethod::Ec2credential);
        if restricted || caller.trust.is_some() || signed {
            Err(Refusal::not_allowed(self.action))
        } else {
            Ok(())
        }
    }

    /// The domain something is made in when none is named.
    pub(crate) fn own_domain(&self) -> &str {
        let domain = self.caller.as_deref().and_then(TokenContext::domain);
        domain.map_or(DEFAULT_DOMAIN, |domain| &domain.id)
    }

    /// The domain a listing is about: the one asked for, else the caller's own when the token is scoped to one.
    pub(crate) fn listed_domain(&self) -> Option<&str> {
        let own = self.caller.as_deref().and_then(TokenContext::domain);
        self.filter("domain_id").or(own.map(|domain| domain.id.as_str()))
    }
}
