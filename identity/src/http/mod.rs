//! The OpenStack Identity API v3: paths, documents, status codes and sentences as Keystone's clients expect them.
//!
//! ```text
//! request --routes--> (action, handler) --token, access rules--> Caller --policy table--> handler --> document
//! ```
//! Every endpoint stands in one table, [`routes::ROUTES`], with the action its handler asks the policy for; a test walks
//! it. Knows: HTTP, JSON, Keystone's shapes. Must not know: how tokens are sealed, how records are kept.

mod answer;
mod application_credentials;
mod assignments;
mod caller;
mod catalog;
mod credentials;
mod document;
mod ec2;
mod endpoints;
mod groups;
mod kinds;
mod limits;
mod projects;
mod resources;
mod roles;
mod router;
mod routes;
mod signature;
mod tokens;
mod trusts;
mod users;
mod versions;

pub use router::router;
pub use routes::{ROUTES, Route};

/// The password of a user that is not made through the API.
pub(crate) async fn set_first_password(
    identity: &crate::service::Identity,
    row: &mut crate::model::Document,
    password: &str,
) -> Result<(), crate::error::IdentityError> {
    users::set_password(identity, row, password, users::Setter::User)
        .await
        .map_err(|refusal| match refusal {
            crate::refusal::Refusal::Unavailable => crate::error::IdentityError::Busy,
            _ => crate::error::IdentityError::Invalid("the password does not match the requirements"),
        })
}

#[cfg(test)]
mod tests;
