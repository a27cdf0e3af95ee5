//! Refusals of the admin API: a status, and a sentence in JSON.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use identity::IdentityError;
use serde::de::DeserializeOwned;
use store::{Class, StoreError};

use crate::admin::client::Refusal;

/// Why a request was not done.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    sentence: String,
}

impl ApiError {
    /// A refusal with a sentence for people.
    #[must_use]
    pub fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self {
            status,
            sentence: sentence.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(Refusal { error: self.sentence })).into_response()
    }
}

/// A JSON document as a request's body; what is wrong with it is said like every other refusal.
pub struct Document<T>(pub T);

impl<T, S> FromRequest<S> for Document<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match Json::from_request(request, state).await {
            Ok(Json(document)) => Ok(Self(document)),
            Err(rejection) => Err(ApiError::new(rejection.status(), rejection.body_text())),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let status = match error.class() {
            Class::Absent => StatusCode::NOT_FOUND,
            Class::Refused => StatusCode::BAD_REQUEST,
            Class::Conflict => StatusCode::CONFLICT,
            Class::Later => StatusCode::SERVICE_UNAVAILABLE,
            Class::Lost | Class::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        let status = match &error {
            IdentityError::NoSuchProject | IdentityError::NoSuchKey | IdentityError::NotFound(..) => {
                StatusCode::NOT_FOUND
            }
            IdentityError::Taken => StatusCode::CONFLICT,
            IdentityError::Invalid(_) => StatusCode::BAD_REQUEST,
            IdentityError::Busy | IdentityError::Directory | IdentityError::TooMany => StatusCode::SERVICE_UNAVAILABLE,
            IdentityError::Unreadable { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            IdentityError::Store(cause) => return cause.clone().into(),
        };
        Self::new(status, error.to_string())
    }
}
