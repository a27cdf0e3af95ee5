//! Policy in one place: action x role and scope -> allowed. Every service asks this table and no other.
//!
//! ```text
//! action --TABLE--> grants, any one of which is enough:
//!   Anyone          without a token            Authenticated    with any valid token
//!   Admin           admin role on the system or on the admin project (the whole cluster)
//!   System(role)    the role on the system     Service          the service role, on any scope
//!   Domain(role)    the role on the target's domain, token scoped to it
//!   Project(role)   the role on the target's project, token scoped to it
//!   Owner           the token's user is the target's user
//!   Reseller        acts in every account of the object store; ResellerReads: reads in every one
//! ```
//! Roles imply others (admin > manager > member > reader), so a grant names the least role that is enough. Whoever is
//! not granted is refused: an action without a row cannot exist, [`Action`] and its row are made by one macro.

use crate::token::{
    ROLE_ADMIN, ROLE_MANAGER, ROLE_MEMBER, ROLE_OPERATOR, ROLE_READER, ROLE_RESELLER_READER, ROLE_SERVICE, Scope,
    TokenContext,
};

/// What makes an action allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Nobody needs a token.
    Anyone,
    /// Every valid token.
    Authenticated,
    /// Administrators of the cluster.
    Admin,
    /// A role on the system.
    System(&'static str),
    /// A role on the target's domain.
    Domain(&'static str),
    /// A role on the target's project.
    Project(&'static str),
    /// The user whom the target belongs to.
    Owner,
    /// The service role.
    Service,
    /// Whoever acts in every account of the object store.
    Reseller,
    /// Whoever reads in every account of the object store.
    ResellerReads,
}

/// What an action is done to. What is not known stays `None` and grants nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// The project it belongs to.
    pub project: Option<&'a str>,
    /// The domain it lies in.
    pub domain: Option<&'a str>,
    /// The user it belongs to.
    pub user: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Something of a project.
    #[must_use]
    pub fn project(id: &'a str) -> Self {
        Self {
            project: Some(id),
            ..Self::default()
        }
    }

    /// Something of a domain.
    #[must_use]
    pub fn domain(id: &'a str) -> Self {
        Self {
            domain: Some(id),
            ..Self::default()
        }
    }

    /// Something of a user.
    #[must_use]
    pub fn user(id: &'a str) -> Self {
        Self {
            user: Some(id),
            ..Self::default()
        }
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident = $name:literal: $($grant:expr),+;)+) => {
        /// Everything that can be asked of a service.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action { $($(#[$doc])* $action,)+ }

        /// All actions.
        pub const ACTIONS: &[Action] = &[$(Action::$action),+];

        impl Action {
            /// Its name, `service:verb_noun`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$action => $name,)+ }
            }

            /// Who may do it.
            #[must_use]
            pub fn grants(self) -> &'static [Grant] {
                match self { $(Self::$action => &[$($grant),+],)+ }
            }
        }
    };
}

use Grant::{Admin, Anyone, Authenticated, Domain, Owner, Project, Reseller, ResellerReads, Service, System};

actions! {
    /// Versions of the API, and proving who one is.
    IdentityOpen = "identity:open": Anyone;
    /// One's own scopes, catalog and token.
    IdentitySelf = "identity:self": Authenticated;
    /// Judge or revoke somebody else's token.
    IdentityValidateToken = "identity:validate_token": Admin, Service, System(ROLE_READER);
    /// Revoke somebody else's token.
    IdentityRevokeToken = "identity:revoke_token": Admin;
    /// Turn an EC2 or S3 signature into a token.
    IdentityEc2Authenticate = "identity:ec2_authenticate": Admin, Service;

    /// See domains.
    IdentityReadDomain = "identity:get_domain": Admin, System(ROLE_READER), Domain(ROLE_READER), Project(ROLE_READER);
    /// List domains.
    IdentityListDomains = "identity:list_domains": Admin, System(ROLE_READER), Domain(ROLE_READER);
    /// Make, change, remove domains.
    IdentityWriteDomain = "identity:write_domain": Admin;
    /// See a project.
    IdentityReadProject = "identity:get_project": Admin, System(ROLE_READER), Domain(ROLE_READER), Project(ROLE_READER);
    /// List projects.
    IdentityListProjects = "identity:list_projects": Admin, System(ROLE_READER), Domain(ROLE_READER);
    /// Make, change, remove projects.
    IdentityWriteProject = "identity:write_project": Admin, Domain(ROLE_MANAGER);
    /// See a user.
    IdentityReadUser = "identity:get_user": Admin, System(ROLE_READER), Domain(ROLE_READER), Owner;
    /// List users.
    IdentityListUsers = "identity:list_users": Admin, System(ROLE_READER), Domain(ROLE_READER);
    /// Make, change, remove users.
    IdentityWriteUser = "identity:write_user": Admin, Domain(ROLE_MANAGER);
    /// Change one's password, knowing the old one.
    IdentityChangePassword = "identity:change_password": Anyone;
    /// What a user belongs to.
    IdentityReadMemberships = "identity:list_user_projects": Admin, System(ROLE_READER), Domain(ROLE_READER), Owner;
    /// See groups and who is in them.
    IdentityReadGroup = "identity:get_group": Admin, System(ROLE_READER), Domain(ROLE_READER);
    /// Make, change, remove groups and their members.
    IdentityWriteGroup = "identity:write_group": Admin, Domain(ROLE_MANAGER);
    /// See roles and what they imply.
    IdentityReadRole = "identity:get_role": Admin, System(ROLE_READER), Domain(ROLE_READER), Project(ROLE_MANAGER);
    /// Make, change, remove roles.
    IdentityWriteRole = "identity:write_role": Admin;
    /// See who has which role.
    IdentityReadAssignment = "identity:list_grants": Admin, System(ROLE_READER), Domain(ROLE_READER), Project(ROLE_ADMIN);
    /// Give and take roles. A domain's manager may not give the admin role (checked beside the table).
    IdentityWriteAssignment = "identity:write_grant": Admin, Domain(ROLE_MANAGER);
    /// Give and take roles on the system.
    IdentityWriteSystemAssignment = "identity:write_system_grant": Admin;
    /// See roles on the system.
    IdentityReadSystemAssignment = "identity:list_system_grants": Admin, System(ROLE_READER);
    /// See regions.
    IdentityReadRegion = "identity:get_region": Anyone;
    /// See services and endpoints.
    IdentityReadCatalog = "identity:get_service": Admin, System(ROLE_READER), Service;
    /// Change regions, services and endpoints.
    IdentityWriteCatalog = "identity:write_catalog": Admin;
    /// See credentials.
    IdentityReadCredential = "identity:get_credential": Admin, System(ROLE_READER), Owner;
    /// Make, change, remove credentials.
    IdentityWriteCredential = "identity:write_credential": Admin, Owner;
    /// See application credentials and access rules.
    IdentityReadApplicationCredential = "identity:get_application_credential": Admin, System(ROLE_READER), Owner;
    /// Make application credentials: only for oneself.
    IdentityCreateApplicationCredential = "identity:create_application_credential": Owner;
    /// Remove application credentials and access rules.
    IdentityDeleteApplicationCredential = "identity:delete_application_credential": Admin, Owner;
    /// See a trust: both sides may (the target names whichever of the two asks).
    IdentityReadTrust = "identity:get_trust": Admin, System(ROLE_READER), Owner;
    /// Make a trust: only the trustor.
    IdentityCreateTrust = "identity:create_trust": Owner;
    /// End a trust.
    IdentityDeleteTrust = "identity:delete_trust": Admin, Owner;
    /// See registered limits.
    IdentityReadRegisteredLimit = "identity:get_registered_limit": Authenticated;
    /// See a limit.
    IdentityReadLimit = "identity:get_limit": Admin, System(ROLE_READER), Service, Domain(ROLE_READER), Project(ROLE_READER);
    /// Change limits.
    IdentityWriteLimit = "identity:write_limit": Admin;

    /// What the object store tells everybody: capabilities, health, what pages may ask.
    ObjectStoreOpen = "object-store:open": Anyone;
    /// See an account, list its containers.
    ObjectStoreReadAccount = "object-store:read_account": Project(ROLE_READER), Project(ROLE_OPERATOR), Reseller, ResellerReads;
    /// Change an account's metadata.
    ObjectStoreWriteAccount = "object-store:write_account": Project(ROLE_MEMBER), Project(ROLE_OPERATOR), Reseller;
    /// Remove an account, set its quotas.
    ObjectStoreAdministerAccount = "object-store:administer_account": Reseller;
    /// See a container, list its objects.
    ObjectStoreReadContainer = "object-store:read_container": Project(ROLE_READER), Project(ROLE_OPERATOR), Reseller, ResellerReads;
    /// Make, change, remove containers and their access lists.
    ObjectStoreWriteContainer = "object-store:write_container": Project(ROLE_MEMBER), Project(ROLE_OPERATOR), Reseller;
    /// Read objects.
    ObjectStoreReadObject = "object-store:read_object": Project(ROLE_READER), Project(ROLE_OPERATOR), Reseller, ResellerReads;
    /// Write objects.
    ObjectStoreWriteObject = "object-store:write_object": Project(ROLE_MEMBER), Project(ROLE_OPERATOR), Reseller;

    /// List one's buckets.
    S3ListBuckets = "s3:list_buckets": Project(ROLE_READER), Project(ROLE_OPERATOR);
    /// See a bucket, its settings, its objects and uploads.
    S3ReadBucket = "s3:read_bucket": Project(ROLE_READER), Project(ROLE_OPERATOR);
    /// Make, change, remove buckets.
    S3WriteBucket = "s3:write_bucket": Project(ROLE_MEMBER), Project(ROLE_OPERATOR);
    /// Read objects and what stands beside them.
    S3ReadObject = "s3:read_object": Project(ROLE_READER), Project(ROLE_OPERATOR);
    /// Write and remove objects and what stands beside them.
    S3WriteObject = "s3:write_object": Project(ROLE_MEMBER), Project(ROLE_OPERATOR);

    /// Whether a process lives and serves, and its metrics.
    ClusterOpen = "cluster:open": Anyone;
    /// See the cluster's state.
    ClusterRead = "cluster:read": Admin, System(ROLE_READER);
    /// Operate the cluster.
    ClusterWrite = "cluster:write": Admin;
}

/// Whether somebody may do something to a target. `None` is a caller without a token.
///
/// Access rules of application credentials are a second question, see [`TokenContext::allows`].
#[must_use]
pub fn allowed(action: Action, context: Option<&TokenContext>, target: &Target<'_>) -> bool {
    action.grants().iter().any(|grant| granted(*grant, context, target))
}

fn granted(grant: Grant, context: Option<&TokenContext>, target: &Target<'_>) -> bool {
    let Some(context) = context else {
        return grant == Grant::Anyone;
    };
    let same = |mine: &str, wanted: Option<&str>| wanted == Some(mine);
    match grant {
        Anyone | Authenticated => true,
        Admin => context.is_admin(),
        Service => context.has_role(ROLE_SERVICE) && context.scope != Scope::Unscoped,
        Reseller => context.is_reseller(),
        ResellerReads => context.has_role(ROLE_RESELLER_READER) && context.scope != Scope::Unscoped,
        Owner => same(&context.user.id, target.user),
        System(role) => context.scope == Scope::System && context.has_role(role),
        Domain(role) => {
            let domain = context.domain();
            domain.is_some_and(|domain| same(&domain.id, target.domain)) && context.has_role(role)
        }
        Project(role) => {
            let project = context.project();
            project.is_some_and(|project| same(&project.id, target.project)) && context.has_role(role)
        }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
