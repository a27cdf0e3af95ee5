//! Why a request to the identity service is not done, as its clients see it.

use crate::error::IdentityError;
use crate::token::TokenError;

/// The answer instead of the one asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// 400: the request has not the form it must have.
    #[error("{0}")]
    BadRequest(String),
    /// 401: who asks is not known. Why is not told.
    #[error("The request you have made requires authentication.")]
    Unauthorized,
    /// 401 with a reason that only who knows the password gets to hear.
    #[error("{0}")]
    PasswordUnusable(&'static str),
    /// 403: who asks may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// 404: there is no such thing, or none that the caller may know of.
    #[error("{0}")]
    NotFound(String),
    /// 405.
    #[error("The method is not allowed for the requested URL.")]
    MethodNotAllowed,
    /// 409: there is one already, or it is in use.
    #[error("{0}")]
    Conflict(String),
    /// 413.
    #[error("Request is too large.")]
    TooLarge,
    /// 503: too many passwords are being checked, or the cluster or a directory does not answer; try again.
    #[error("The service is currently unable to handle the request. Please try again.")]
    Unavailable,
    /// 500: a human must look; the cause is logged, not told.
    #[error("An unexpected error prevented the server from fulfilling your request.")]
    Internal(#[source] IdentityError),
}

impl Refusal {
    /// 404 in Keystone's words: `what` is the kind, `id` what was asked for.
    pub(crate) fn no_such(what: &str, id: &str) -> Self {
        Self::NotFound(format!("Could not find {what}: {id}."))
    }

    /// 400 for a field.
    pub(crate) fn invalid(field: &str, why: &str) -> Self {
        Self::BadRequest(format!("Invalid input for field '{field}': {why}"))
    }

    /// 403 for an action of the policy table.
    pub(crate) fn not_allowed(action: crate::policy::Action) -> Self {
        Self::Forbidden(format!(
            "You are not authorized to perform the requested action: {}.",
            action.name()
        ))
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Busy | IdentityError::Directory => Self::Unavailable,
            IdentityError::Store(cause) => {
                tracing::warn!(%cause, "identity's records cannot be reached");
                Self::Unavailable
            }
            IdentityError::Invalid(why) => Self::BadRequest(why.to_owned()),
            IdentityError::Taken => Self::Conflict("Conflict occurred: it was changed by somebody else.".to_owned()),
            IdentityError::NoSuchProject => Self::NotFound("Could not find project.".to_owned()),
            IdentityError::NoSuchKey => Self::NotFound("Could not find credential.".to_owned()),
            IdentityError::NotFound(what, id) => Self::no_such(what, &id),
            other => Self::Internal(other),
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::Unauthorized,
            TokenError::Unavailable(cause) => cause.into(),
        }
    }
}
