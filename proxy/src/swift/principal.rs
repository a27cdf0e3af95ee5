//! Who asks, and what that lets them do (SEC-1): identity's policy table says, of each account.

use std::sync::Arc;

use identity::policy::{self, Action, Target};
use identity::token::TokenContext;

/// A verified caller.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    /// What access lists may name it by.
    pub(crate) groups: Vec<String>,
    /// Its roles, lower case.
    pub(crate) roles: Vec<String>,
    /// What the policy table is asked with.
    pub(crate) context: Arc<TokenContext>,
}

/// What somebody may do in an account without being named by a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Home {
    /// Nothing.
    #[default]
    Stranger,
    /// GET and HEAD.
    Reader,
    /// Everything.
    Owner,
}

impl Principal {
    /// Of a token of identity's.
    pub(crate) fn of(context: Arc<TokenContext>) -> Self {
        let (user_id, user_name) = (&context.user.id, &context.user.name);
        let mut groups = vec![format!("*:{user_id}"), "*:*".to_owned()];
        if let Some(project) = context.project() {
            groups.push(format!("{}:{user_id}", project.id));
            groups.push(format!("{}:*", project.id));
            // Names are unique only inside a domain, so a list may name people of the default domain only.
            if project.domain.id == "default" && context.user.domain.id == "default" {
                groups.push(format!("{}:{user_name}", project.name));
                groups.push(format!("{}:*", project.name));
                groups.push(format!("*:{user_name}"));
            }
        }
        Self {
            groups,
            roles: context.roles.iter().map(|role| role.name.to_lowercase()).collect(),
            context,
        }
    }

    /// Whether the policy grants an action in a project's account.
    pub(crate) fn may(&self, action: Action, project: &str) -> bool {
        policy::allowed(action, Some(&self.context), &Target::project(project))
    }

    /// What it may do in a project's account.
    pub(crate) fn in_project(&self, project: &str) -> Home {
        if self.may(Action::ObjectStoreWriteContainer, project) {
            Home::Owner
        } else if self.may(Action::ObjectStoreReadContainer, project) {
            Home::Reader
        } else {
            Home::Stranger
        }
    }
}
