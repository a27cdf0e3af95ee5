//! What a valid token says: who asks, for what scope, with which roles, until when.
//!
//! A [`TokenContext`] is computed anew from the records at every validation (bounded caching aside), never read out of
//! the token alone: a role taken away, a disabled user or project shows at the next request.

use serde::{Deserialize, Serialize};

/// The role that may do everything in its scope.
pub const ROLE_ADMIN: &str = "admin";
/// The role that manages users and assignments of its scope.
pub const ROLE_MANAGER: &str = "manager";
/// The role that uses a project's resources.
pub const ROLE_MEMBER: &str = "member";
/// The role that only reads.
pub const ROLE_READER: &str = "reader";
/// The role of services that ask on behalf of others.
pub const ROLE_SERVICE: &str = "service";
/// The role that acts in every account of the object store.
pub const ROLE_RESELLER: &str = "ResellerAdmin";
/// The role that reads in every account of the object store.
pub const ROLE_RESELLER_READER: &str = "ResellerReader";
/// The role that old catalogs give to whoever uses a project's object store.
pub const ROLE_OPERATOR: &str = "swiftoperator";
/// The domain of whoever has no record of their own.
const VOUCHED_DOMAIN: &str = "default";

/// A domain as tokens name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRef {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A project as tokens name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRef {
    /// Its id: what accounts and buckets belong to.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The domain it lies in.
    pub domain: DomainRef,
}

/// A user as tokens name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRef {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The domain it lies in.
    pub domain: DomainRef,
    /// When its password expires, milliseconds since the Unix epoch.
    pub password_expires_ms: Option<u64>,
}

/// A role as tokens name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRef {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What a token's roles apply to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Nothing: only good for asking for another token.
    Unscoped,
    /// One project.
    Project(ProjectRef),
    /// One domain.
    Domain(DomainRef),
    /// The whole cluster.
    System,
}

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// A password.
    Password,
    /// Another token.
    Token,
    /// An application credential.
    ApplicationCredential,
    /// A one-time password (RFC 6238).
    Totp,
    /// A signature made with an EC2 credential.
    Ec2credential,
}

impl AuthMethod {
    /// Its name in requests and tokens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Token => "token",
            Self::ApplicationCredential => "application_credential",
            Self::Totp => "totp",
            Self::Ec2credential => "ec2credential",
        }
    }
}

/// One request that an application credential allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRule {
    /// Its id.
    pub id: String,
    /// The service's type in the catalog, `object-store` say.
    pub service: String,
    /// The HTTP method.
    pub method: String,
    /// The path: `*` stands for one segment or a part of it, `**` for any number of segments, `{name}` for one segment.
    pub path: String,
}

/// The application credential a token was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationCredentialRef {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it may not make or remove other application credentials and trusts.
    pub restricted: bool,
}

/// The trust a token was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRef {
    /// Its id.
    pub id: String,
    /// Who gave the right first, when it was handed on; whose roles it is about.
    pub holder: String,
    /// Who gave the right.
    pub trustor: String,
    /// Who acts.
    pub trustee: String,
    /// Whether the token names the trustor as its user.
    pub impersonation: bool,
}

/// Everything a service needs to know about who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenContext {
    /// Who asks.
    pub user: UserRef,
    /// What the roles apply to.
    pub scope: Scope,
    /// The roles, implied ones included, sorted by name.
    pub roles: Vec<RoleRef>,
    /// How the user proved who they are.
    pub methods: Vec<AuthMethod>,
    /// The token's own audit id, then that of the first token of its chain.
    pub audit_ids: Vec<String>,
    /// When it was made, milliseconds since the Unix epoch.
    pub issued_ms: u64,
    /// When it ends, milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// The only requests it is good for, when it comes from an application credential with access rules.
    pub access_rules: Option<Vec<AccessRule>>,
    /// The application credential it comes from.
    pub application_credential: Option<ApplicationCredentialRef>,
    /// The trust it comes from.
    pub trust: Option<TrustRef>,
    /// Whether its project is the one whose admins administer the whole cluster.
    pub admin_project: bool,
}

impl TokenContext {
    /// Somebody whom identity keeps no record of, vouched for by whoever asks: a cluster's operator, a project's own key.
    #[must_use]
    pub fn vouched(name: &str, scope: Scope, roles: &[&str]) -> Self {
        let role = |name: &&str| RoleRef {
            id: (*name).to_owned(),
            name: (*name).to_owned(),
        };
        Self {
            user: UserRef {
                id: name.to_owned(),
                name: name.to_owned(),
                domain: DomainRef {
                    id: VOUCHED_DOMAIN.to_owned(),
                    name: VOUCHED_DOMAIN.to_owned(),
                },
                password_expires_ms: None,
            },
            scope,
            roles: roles.iter().map(role).collect(),
            methods: Vec::new(),
            audit_ids: Vec::new(),
            issued_ms: 0,
            expires_ms: u64::MAX,
            access_rules: None,
            application_credential: None,
            trust: None,
            admin_project: false,
        }
    }

    /// Whether it has a role (names of roles are compared without case, as Swift does).
    #[must_use]
    pub fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| role.name.eq_ignore_ascii_case(name))
    }

    /// The project it is scoped to.
    #[must_use]
    pub fn project(&self) -> Option<&ProjectRef> {
        match &self.scope {
            Scope::Project(project) => Some(project),
            _ => None,
        }
    }

    /// The domain it is scoped to.
    #[must_use]
    pub fn domain(&self) -> Option<&DomainRef> {
        match &self.scope {
            Scope::Domain(domain) => Some(domain),
            _ => None,
        }
    }

    /// Whether it administers the whole cluster: the admin role on the system or on the admin project. An admin of any
    /// other project is nobody outside of it.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.has_role(ROLE_ADMIN) && (self.scope == Scope::System || self.admin_project)
    }

    /// Whether it acts in every account of the object store.
    #[must_use]
    pub fn is_reseller(&self) -> bool {
        self.is_admin() || (self.has_role(ROLE_RESELLER) && self.scope != Scope::Unscoped)
    }

    /// Whether its access rules, if any, allow a request to a service. To be asked by every service before anything
    /// else.
    #[must_use]
    pub fn allows(&self, service: &str, method: &str, path: &str) -> bool {
        let Some(rules) = &self.access_rules else { return true };
        rules.iter().any(|rule| {
            rule.service == service && rule.method.eq_ignore_ascii_case(method) && path_matches(&rule.path, path)
        })
    }
}

/// Whether a path lies under a pattern of an access rule. Paths are compared as sent, without decoding, so that no
/// encoding of a separator widens a rule; dot segments match nothing.
fn path_matches(pattern: &str, path: &str) -> bool {
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return false;
    }
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    segments_match(&pattern, &path)
}

/// Greedy matching with one remembered `**`: linear in both lengths times the number of segments, never exponential.
fn segments_match(pattern: &[&str], path: &[&str]) -> bool {
    let (mut p, mut s) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while s < path.len() {
        match pattern.get(p) {
            Some(&"**") => {
                star = Some((p, s));
                p += 1;
            }
            Some(segment) if segment_matches(segment, path[s]) => {
                p += 1;
                s += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    s = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|segment| *segment == "**")
}

fn segment_matches(pattern: &str, segment: &str) -> bool {
    if pattern.len() > 2 && pattern.starts_with('{') && pattern.ends_with('}') {
        return !segment.is_empty();
    }
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == segment;
    };
    let Some(mut left) = segment.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
