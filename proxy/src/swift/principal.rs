//! Who asks, and what that lets them do (SEC-1).
//!
//! An owner (admin, manager, member of the account's project) does everything in it, a reader of it reads, a reseller does
//! everything everywhere. Everybody else needs a container's or the account's list.

use identity::token::{ROLE_ADMIN, ROLE_MANAGER, ROLE_MEMBER, ROLE_READER, ROLE_RESELLER, TokenContext};

/// The role of operators in old catalogs.
const ROLE_OPERATOR: &str = "swiftoperator";

/// A verified caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The project it acts in.
    pub(crate) project: Option<String>,
    /// What access lists may name it by.
    pub(crate) groups: Vec<String>,
    /// Its roles, lower case.
    pub(crate) roles: Vec<String>,
    /// What it may do in its own project.
    pub(crate) home: Home,
    /// What it may do in every account.
    pub(crate) reseller: Home,
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
    pub(crate) fn of(token: &TokenContext) -> Self {
        let has = |role: &str| token.has_role(role);
        let project = token.project();
        let home = match project {
            None => Home::Stranger,
            Some(_)
                if [ROLE_ADMIN, ROLE_MANAGER, ROLE_MEMBER, ROLE_OPERATOR]
                    .into_iter()
                    .any(has) =>
            {
                Home::Owner
            }
            Some(_) if has(ROLE_READER) => Home::Reader,
            Some(_) => Home::Stranger,
        };
        let reseller = if token.is_reseller() || (project.is_some() && has(ROLE_RESELLER)) {
            Home::Owner
        } else {
            Home::Stranger
        };
        let (user_id, user_name) = (&token.user.id, &token.user.name);
        let mut groups = vec![format!("*:{user_id}"), "*:*".to_owned()];
        if let Some(project) = project {
            groups.push(format!("{}:{user_id}", project.id));
            groups.push(format!("{}:*", project.id));
            // Names are unique only inside a domain, so a list may name people of the default domain only.
            if project.domain.id == "default" && token.user.domain.id == "default" {
                groups.push(format!("{}:{user_name}", project.name));
                groups.push(format!("{}:*", project.name));
                groups.push(format!("*:{user_name}"));
            }
        }
        Self {
            project: project.map(|project| project.id.clone()),
            groups,
            roles: token.roles.iter().map(|role| role.name.to_lowercase()).collect(),
            home,
            reseller,
        }
    }

    /// What it may do in a project's account.
    pub(crate) fn in_project(&self, project: &str) -> Home {
        if self.project.as_deref() == Some(project) {
            self.home.max(self.reseller)
        } else {
            self.reseller
        }
    }
}
