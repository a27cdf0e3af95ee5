//! Tokens: what a valid one says, and how the services that take one get it told.
//!
//! Knows: the context of a request and the trait that edges ask. Must not know: HTTP, where records lie.

mod context;
pub(crate) mod keys;
pub(crate) mod sealed;
mod source;

pub use context::{
    AccessRule, ApplicationCredentialRef, AuthMethod, DomainRef, ProjectRef, ROLE_ADMIN, ROLE_MANAGER, ROLE_MEMBER,
    ROLE_OPERATOR, ROLE_READER, ROLE_RESELLER, ROLE_RESELLER_READER, ROLE_SERVICE, RoleRef, Scope, TokenContext,
    TrustRef, UserRef,
};
pub use source::{StaticTokens, TokenError, TokenSource};
