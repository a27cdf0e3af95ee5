//! Every endpoint: method, path, the action it asks the policy table for, and its handler.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::answer::Answer;
use super::caller::Call;
use super::{
    application_credentials, assignments, credentials, ec2, endpoints, groups, limits, projects, roles, tokens, trusts,
    users, versions,
};
use crate::policy::Action;
use crate::refusal::Refusal;

type Answering = Pin<Box<dyn Future<Output = Result<Answer, Refusal>> + Send>>;

/// One endpoint.
pub struct Route {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// What the policy table is asked for.
    pub action: Action,
    pub(crate) handler: fn(Arc<Call>) -> Answering,
}

macro_rules! routes {
    ($($method:ident $path:literal $action:ident => $handler:path,)+) => {
        /// All endpoints of the identity service.
        pub const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            action: Action::$action,
            handler: |call| Box::pin($handler(call)),
        }),+];
    };
}

routes! {
    GET "/" IdentityOpen => versions::list,
    GET "/v3" IdentityOpen => versions::show,
    GET "/v3/" IdentityOpen => versions::show,

    POST "/v3/auth/tokens" IdentityOpen => tokens::create,
    GET "/v3/auth/tokens" IdentitySelf => tokens::show,
    HEAD "/v3/auth/tokens" IdentitySelf => tokens::check,
    DELETE "/v3/auth/tokens" IdentitySelf => tokens::revoke,
    GET "/v3/auth/catalog" IdentitySelf => tokens::auth_catalog,
    GET "/v3/auth/projects" IdentitySelf => tokens::auth_projects,
    GET "/v3/auth/domains" IdentitySelf => tokens::auth_domains,
    GET "/v3/auth/system" IdentitySelf => tokens::auth_system,
    POST "/v3/ec2tokens" IdentityEc2Authenticate => ec2::ec2_token,
    POST "/v3/s3tokens" IdentityEc2Authenticate => ec2::s3_token,

    GET "/v3/domains" IdentityListDomains => projects::list_domains,
    POST "/v3/domains" IdentityWriteDomain => projects::create_domain,
    GET "/v3/domains/{domain_id}" IdentityReadDomain => projects::show_domain,
    PATCH "/v3/domains/{domain_id}" IdentityWriteDomain => projects::update_domain,
    DELETE "/v3/domains/{domain_id}" IdentityWriteDomain => projects::remove_domain,

    GET "/v3/projects" IdentityListProjects => projects::list,
    POST "/v3/projects" IdentityWriteProject => projects::create,
    GET "/v3/projects/{project_id}" IdentityReadProject => projects::show,
    PATCH "/v3/projects/{project_id}" IdentityWriteProject => projects::update,
    DELETE "/v3/projects/{project_id}" IdentityWriteProject => projects::remove,
    GET "/v3/projects/{project_id}/tags" IdentityReadProject => projects::list_tags,
    PUT "/v3/projects/{project_id}/tags" IdentityWriteProject => projects::replace_tags,
    DELETE "/v3/projects/{project_id}/tags" IdentityWriteProject => projects::remove_tags,
    GET "/v3/projects/{project_id}/tags/{value}" IdentityReadProject => projects::check_tag,
    PUT "/v3/projects/{project_id}/tags/{value}" IdentityWriteProject => projects::add_tag,
    DELETE "/v3/projects/{project_id}/tags/{value}" IdentityWriteProject => projects::remove_tag,

    GET "/v3/users" IdentityListUsers => users::list,
    POST "/v3/users" IdentityWriteUser => users::create,
    GET "/v3/users/{user_id}" IdentityReadUser => users::show,
    PATCH "/v3/users/{user_id}" IdentityWriteUser => users::update,
    DELETE "/v3/users/{user_id}" IdentityWriteUser => users::remove,
    POST "/v3/users/{user_id}/password" IdentityChangePassword => users::change_password,
    GET "/v3/users/{user_id}/groups" IdentityReadMemberships => users::list_groups,
    GET "/v3/users/{user_id}/projects" IdentityReadMemberships => users::list_projects,

    GET "/v3/groups" IdentityReadGroup => groups::list,
    POST "/v3/groups" IdentityWriteGroup => groups::create,
    GET "/v3/groups/{group_id}" IdentityReadGroup => groups::show,
    PATCH "/v3/groups/{group_id}" IdentityWriteGroup => groups::update,
    DELETE "/v3/groups/{group_id}" IdentityWriteGroup => groups::remove,
    GET "/v3/groups/{group_id}/users" IdentityReadGroup => groups::list_users,
    PUT "/v3/groups/{group_id}/users/{user_id}" IdentityWriteGroup => groups::add_user,
    HEAD "/v3/groups/{group_id}/users/{user_id}" IdentityReadGroup => groups::check_user,
    DELETE "/v3/groups/{group_id}/users/{user_id}" IdentityWriteGroup => groups::remove_user,

    GET "/v3/roles" IdentityReadRole => roles::list,
    POST "/v3/roles" IdentityWriteRole => roles::create,
    GET "/v3/roles/{role_id}" IdentityReadRole => roles::show,
    PATCH "/v3/roles/{role_id}" IdentityWriteRole => roles::update,
    DELETE "/v3/roles/{role_id}" IdentityWriteRole => roles::remove,
    GET "/v3/roles/{role_id}/implies" IdentityReadRole => roles::list_implied,
    GET "/v3/roles/{role_id}/implies/{implied_role_id}" IdentityReadRole => roles::show_implied,
    PUT "/v3/roles/{role_id}/implies/{implied_role_id}" IdentityWriteRole => roles::imply,
    DELETE "/v3/roles/{role_id}/implies/{implied_role_id}" IdentityWriteRole => roles::imply_no_more,
    GET "/v3/role_inferences" IdentityReadRole => roles::list_inferences,
    GET "/v3/role_assignments" IdentityReadAssignment => assignments::list_assignments,

    GET "/v3/projects/{project_id}/users/{user_id}/roles" IdentityReadAssignment => assignments::list_grants,
    PUT "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}" IdentityWriteAssignment => assignments::give,
    HEAD "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}" IdentityReadAssignment => assignments::check_grant,
    GET "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}" IdentityReadAssignment => assignments::check_grant,
    DELETE "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}" IdentityWriteAssignment => assignments::take,

    GET "/v3/projects/{project_id}/groups/{group_id}/roles" IdentityReadAssignment => assignments::list_grants,
    PUT "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}" IdentityWriteAssignment => assignments::give,
    HEAD "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}" IdentityReadAssignment => assignments::check_grant,
    GET "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}" IdentityReadAssignment => assignments::check_grant,
    DELETE "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}" IdentityWriteAssignment => assignments::take,

    GET "/v3/domains/{domain_id}/users/{user_id}/roles" IdentityReadAssignment => assignments::list_grants,
    PUT "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}" IdentityWriteAssignment => assignments::give,
    HEAD "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}" IdentityReadAssignment => assignments::check_grant,
    GET "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}" IdentityReadAssignment => assignments::check_grant,
    DELETE "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}" IdentityWriteAssignment => assignments::take,

    GET "/v3/domains/{domain_id}/groups/{group_id}/roles" IdentityReadAssignment => assignments::list_grants,
    PUT "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}" IdentityWriteAssignment => assignments::give,
    HEAD "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}" IdentityReadAssignment => assignments::check_grant,
    GET "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}" IdentityReadAssignment => assignments::check_grant,
    DELETE "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}" IdentityWriteAssignment => assignments::take,

    GET "/v3/system/users/{user_id}/roles" IdentityReadSystemAssignment => assignments::list_grants,
    PUT "/v3/system/users/{user_id}/roles/{role_id}" IdentityWriteSystemAssignment => assignments::give,
    HEAD "/v3/system/users/{user_id}/roles/{role_id}" IdentityReadSystemAssignment => assignments::check_grant,
    GET "/v3/system/users/{user_id}/roles/{role_id}" IdentityReadSystemAssignment => assignments::check_grant,
    DELETE "/v3/system/users/{user_id}/roles/{role_id}" IdentityWriteSystemAssignment => assignments::take,

    GET "/v3/system/groups/{group_id}/roles" IdentityReadSystemAssignment => assignments::list_grants,
    PUT "/v3/system/groups/{group_id}/roles/{role_id}" IdentityWriteSystemAssignment => assignments::give,
    HEAD "/v3/system/groups/{group_id}/roles/{role_id}" IdentityReadSystemAssignment => assignments::check_grant,
    GET "/v3/system/groups/{group_id}/roles/{role_id}" IdentityReadSystemAssignment => assignments::check_grant,
    DELETE "/v3/system/groups/{group_id}/roles/{role_id}" IdentityWriteSystemAssignment => assignments::take,

    GET "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/inherited_to_projects" IdentityReadAssignment => assignments::list_grants,
    PUT "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" IdentityWriteAssignment => assignments::give,
    HEAD "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" IdentityReadAssignment => assignments::check_grant,
    GET "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" IdentityReadAssignment => assignments::check_grant,
    DELETE "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" IdentityWriteAssignment => assignments::take,

    GET "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/inherited_to_projects" IdentityReadAssignment => assignments::list_grants,
    PUT "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" IdentityWriteAssignment => assignments::give,
    HEAD "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" IdentityReadAssignment => assignments::check_grant,
    GET "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" IdentityReadAssignment => assignments::check_grant,
    DELETE "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" IdentityWriteAssignment => assignments::take,

    GET "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/inherited_to_projects" IdentityReadAssignment => assignments::list_grants,
    PUT "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" IdentityWriteAssignment => assignments::give,
    HEAD "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" IdentityReadAssignment => assignments::check_grant,
    GET "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" IdentityReadAssignment => assignments::check_grant,
    DELETE "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects" IdentityWriteAssignment => assignments::take,

    GET "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/inherited_to_projects" IdentityReadAssignment => assignments::list_grants,
    PUT "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" IdentityWriteAssignment => assignments::give,
    HEAD "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" IdentityReadAssignment => assignments::check_grant,
    GET "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" IdentityReadAssignment => assignments::check_grant,
    DELETE "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects" IdentityWriteAssignment => assignments::take,

    GET "/v3/regions" IdentityReadRegion => endpoints::list,
    POST "/v3/regions" IdentityWriteCatalog => endpoints::create,
    GET "/v3/regions/{id}" IdentityReadRegion => endpoints::show,
    PATCH "/v3/regions/{id}" IdentityWriteCatalog => endpoints::update,
    DELETE "/v3/regions/{id}" IdentityWriteCatalog => endpoints::remove,
    PUT "/v3/regions/{id}" IdentityWriteCatalog => endpoints::create,

    GET "/v3/services" IdentityReadCatalog => endpoints::list,
    POST "/v3/services" IdentityWriteCatalog => endpoints::create,
    GET "/v3/services/{id}" IdentityReadCatalog => endpoints::show,
    PATCH "/v3/services/{id}" IdentityWriteCatalog => endpoints::update,
    DELETE "/v3/services/{id}" IdentityWriteCatalog => endpoints::remove,

    GET "/v3/endpoints" IdentityReadCatalog => endpoints::list,
    POST "/v3/endpoints" IdentityWriteCatalog => endpoints::create,
    GET "/v3/endpoints/{id}" IdentityReadCatalog => endpoints::show,
    PATCH "/v3/endpoints/{id}" IdentityWriteCatalog => endpoints::update,
    DELETE "/v3/endpoints/{id}" IdentityWriteCatalog => endpoints::remove,

    GET "/v3/credentials" IdentityReadCredential => credentials::list,
    POST "/v3/credentials" IdentityWriteCredential => credentials::create,
    GET "/v3/credentials/{credential_id}" IdentityReadCredential => credentials::show,
    PATCH "/v3/credentials/{credential_id}" IdentityWriteCredential => credentials::update,
    DELETE "/v3/credentials/{credential_id}" IdentityWriteCredential => credentials::remove,
    GET "/v3/users/{user_id}/credentials/OS-EC2" IdentityReadCredential => ec2::list,
    POST "/v3/users/{user_id}/credentials/OS-EC2" IdentityWriteCredential => ec2::create,
    GET "/v3/users/{user_id}/credentials/OS-EC2/{credential_id}" IdentityReadCredential => ec2::show,
    DELETE "/v3/users/{user_id}/credentials/OS-EC2/{credential_id}" IdentityWriteCredential => ec2::remove,

    GET "/v3/users/{user_id}/application_credentials" IdentityReadApplicationCredential => application_credentials::list,
    POST "/v3/users/{user_id}/application_credentials" IdentityCreateApplicationCredential => application_credentials::create,
    GET "/v3/users/{user_id}/application_credentials/{application_credential_id}" IdentityReadApplicationCredential => application_credentials::show,
    DELETE "/v3/users/{user_id}/application_credentials/{application_credential_id}" IdentityDeleteApplicationCredential => application_credentials::remove,
    GET "/v3/users/{user_id}/access_rules" IdentityReadApplicationCredential => application_credentials::list_rules,
    GET "/v3/users/{user_id}/access_rules/{access_rule_id}" IdentityReadApplicationCredential => application_credentials::show_rule,
    DELETE "/v3/users/{user_id}/access_rules/{access_rule_id}" IdentityDeleteApplicationCredential => application_credentials::remove_rule,

    GET "/v3/OS-TRUST/trusts" IdentityReadTrust => trusts::list,
    POST "/v3/OS-TRUST/trusts" IdentityCreateTrust => trusts::create,
    GET "/v3/OS-TRUST/trusts/{trust_id}" IdentityReadTrust => trusts::show,
    DELETE "/v3/OS-TRUST/trusts/{trust_id}" IdentityDeleteTrust => trusts::remove,
    GET "/v3/OS-TRUST/trusts/{trust_id}/roles" IdentityReadTrust => trusts::list_roles,
    GET "/v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}" IdentityReadTrust => trusts::show_role,

    GET "/v3/registered_limits" IdentityReadRegisteredLimit => limits::list_registered,
    POST "/v3/registered_limits" IdentityWriteLimit => limits::create_registered,
    GET "/v3/registered_limits/{id}" IdentityReadRegisteredLimit => limits::show_registered,
    PATCH "/v3/registered_limits/{id}" IdentityWriteLimit => limits::update_registered,
    DELETE "/v3/registered_limits/{id}" IdentityWriteLimit => limits::remove_registered,
    GET "/v3/limits/model" IdentityReadRegisteredLimit => limits::model,
    GET "/v3/limits" IdentityReadLimit => limits::list,
    POST "/v3/limits" IdentityWriteLimit => limits::create,
    GET "/v3/limits/{id}" IdentityReadLimit => limits::show,
    PATCH "/v3/limits/{id}" IdentityWriteLimit => limits::change_one,
    DELETE "/v3/limits/{id}" IdentityWriteLimit => limits::remove,
}
