//! Where an edge gets its tokens judged: a trait, so that tests bring their own.

use std::collections::HashMap;
use std::sync::Arc;

use super::context::TokenContext;
use crate::error::IdentityError;

/// Why a token opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is malformed, of another cluster, expired or revoked, or its user or scope is gone or disabled: 401. Which of
    /// these is not told to clients.
    #[error("the token is not valid")]
    Invalid,
    /// The records cannot be read now: 503, the request may be tried again.
    #[error("tokens cannot be judged now")]
    Unavailable(#[source] IdentityError),
}

/// Judges tokens.
#[async_trait::async_trait]
pub trait TokenSource: Send + Sync + 'static {
    /// What the token says now.
    ///
    /// # Errors
    /// [`TokenError`].
    async fn validate_token(&self, token: &str) -> Result<Arc<TokenContext>, TokenError>;
}

/// A fixed set of tokens, for tests and examples.
#[derive(Debug, Default)]
pub struct StaticTokens(HashMap<String, Arc<TokenContext>>);

impl StaticTokens {
    /// Adds a token.
    #[must_use]
    pub fn with(mut self, token: &str, context: TokenContext) -> Self {
        self.0.insert(token.to_owned(), Arc::new(context));
        self
    }
}

#[async_trait::async_trait]
impl TokenSource for StaticTokens {
    async fn validate_token(&self, token: &str) -> Result<Arc<TokenContext>, TokenError> {
        self.0.get(token).cloned().ok_or(TokenError::Invalid)
    }
}
