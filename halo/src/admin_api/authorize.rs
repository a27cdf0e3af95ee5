//! Who asks, and whether identity's policy table grants it (SEC-1).
//!
//! ```text
//! Authorization: Bearer <admin token>   the operator: an admin of the system
//! X-Auth-Token: <token of identity's>   whoever it says, with the roles it says
//! ```

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use identity::policy::{self, Action, Target};
use identity::token::{ROLE_ADMIN, ROLE_READER, Scope, TokenContext, TokenError};

use super::AdminParts;
use super::refusal::ApiError;

/// What the admin API is called in access rules of application credentials.
const SERVICE: &str = "cluster";
/// What the operator is called.
const OPERATOR: &str = "operator";

/// An endpoint's action, and the parts it is judged with.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) parts: Arc<AdminParts>,
    pub(super) action: Action,
}

/// Lets a request pass that the policy table grants.
pub(super) async fn authorize(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let caller = match caller(&guard.parts, request.headers()).await {
        Ok(caller) => caller,
        Err(refused) => return refused.into_response(),
    };
    let by_rules = caller
        .as_ref()
        .is_none_or(|caller| caller.allows(SERVICE, request.method().as_str(), request.uri().path()));
    if by_rules && policy::allowed(guard.action, caller.as_deref(), &Target::default()) {
        next.run(request).await
    } else if caller.is_none() {
        ApiError::new(StatusCode::UNAUTHORIZED, "the token is missing or wrong").into_response()
    } else {
        let sentence = format!("you may not do {}", guard.action.name());
        ApiError::new(StatusCode::FORBIDDEN, sentence).into_response()
    }
}

/// Who asks; nobody without a good token. The admin token is compared in constant time.
async fn caller(parts: &AdminParts, headers: &HeaderMap) -> Result<Option<Arc<TokenContext>>, ApiError> {
    if let Some(given) = headers.get(AUTHORIZATION) {
        let given = given.as_bytes().strip_prefix(b"Bearer ");
        let operator = given.is_some_and(|token| parts.token.equals(token));
        let context = || TokenContext::vouched(OPERATOR, Scope::System, &[ROLE_ADMIN, ROLE_READER]);
        return Ok(operator.then(|| Arc::new(context())));
    }
    let Some(token) = headers.get("x-auth-token").and_then(|token| token.to_str().ok()) else {
        return Ok(None);
    };
    match parts.tokens.validate_token(token).await {
        Ok(context) => Ok(Some(context)),
        Err(TokenError::Invalid) => Ok(None),
        Err(error @ TokenError::Unavailable(_)) => {
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
        }
    }
}
