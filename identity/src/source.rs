//! Where an edge gets its keys from: a trait, so that tests bring their own.

use std::collections::HashMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::IdentityError;
use crate::policy::{self, Action, Target};
use crate::row::DEFAULT_DOMAIN;
use crate::token::{DomainRef, ProjectRef, ROLE_MEMBER, ROLE_READER, Scope, TokenContext};

/// A secret key and what it opens. Cheap to clone through the [`Arc`] it travels in; wiped from memory when dropped.
pub struct AccessKey {
    /// The secret, as the client signs with it.
    pub secret: Zeroizing<String>,
    /// The project the key acts for.
    pub project: store::ProjectId,
    /// The project's name, for answers that show one.
    pub display_name: String,
    /// Who acts with it, with which roles: what the policy table is asked with.
    pub caller: Arc<TokenContext>,
}

impl AccessKey {
    /// Whether whoever acts with it may do something in a project.
    #[must_use]
    pub fn may(&self, action: Action, project: &str) -> bool {
        policy::allowed(action, Some(&self.caller), &Target::project(project))
    }
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey")
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}

/// Finds the secret behind an access key.
#[async_trait::async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// The key, or `None` when there is none (never made, or revoked).
    ///
    /// # Errors
    /// When the answer cannot be had now; the request may be tried again.
    async fn lookup(&self, access_key: &str) -> Result<Option<Arc<AccessKey>>, IdentityError>;
}

/// A fixed set of keys, for tests and examples.
#[derive(Debug, Default)]
pub struct StaticKeys(HashMap<String, Arc<AccessKey>>);

impl StaticKeys {
    /// Adds the key of a member of the project.
    #[must_use]
    pub fn with(self, access_key: &str, secret: &str, project: &str) -> Self {
        self.with_roles(access_key, secret, project, &[ROLE_MEMBER, ROLE_READER])
    }

    /// Adds the key of somebody who has just these roles in the project.
    #[must_use]
    pub fn with_roles(mut self, access_key: &str, secret: &str, project: &str, roles: &[&str]) -> Self {
        let scope = Scope::Project(ProjectRef {
            id: project.to_owned(),
            name: project.to_owned(),
            domain: DomainRef {
                id: DEFAULT_DOMAIN.to_owned(),
                name: DEFAULT_DOMAIN.to_owned(),
            },
        });
        let key = AccessKey {
            secret: Zeroizing::new(secret.to_owned()),
            project: project.to_owned(),
            display_name: project.to_owned(),
            caller: Arc::new(TokenContext::vouched(access_key, scope, roles)),
        };
        self.0.insert(access_key.to_owned(), Arc::new(key));
        self
    }
}

#[async_trait::async_trait]
impl KeySource for StaticKeys {
    async fn lookup(&self, access_key: &str) -> Result<Option<Arc<AccessKey>>, IdentityError> {
        Ok(self.0.get(access_key).cloned())
    }
}
