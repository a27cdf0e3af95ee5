//! Asks the admin API of a running cluster; tries every endpoint it knows until one answers.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::client::connection::{Answer, Connection, Keep, Target, TargetError};
use crate::client::payload::Payload;
use crate::secret::Secret;

/// How long one endpoint may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A client of the admin API.
#[derive(Clone, Debug)]
pub struct AdminClient {
    endpoints: Vec<Url>,
    token: Secret,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nobody answered: the cluster does not run, or the endpoint is wrong.
    #[error("no process of the cluster answers ({0}); is it running?")]
    NotReachable(String),
    /// The endpoint is not a URL.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The cluster refuses; the message is its own.
    #[error("{message}")]
    Refused { status: StatusCode, message: String },
    /// The answer is not of this release.
    #[error("the answer cannot be understood: {0}")]
    Malformed(String),
}

/// How the admin API says why it refuses.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Refusal {
    /// A sentence for people.
    pub error: String,
}

impl AdminClient {
    /// A client for these endpoints, in the order they are tried.
    #[must_use]
    pub fn new(endpoints: Vec<Url>, token: Secret) -> Self {
        Self { endpoints, token }
    }

    /// Reads something.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminError> {
        decode(&self.call(Method::GET, path, Bytes::new(), ANSWER_MAX).await?)
    }

    /// Makes or does something.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, AdminError> {
        self.post_within(path, body, ANSWER_MAX).await
    }

    /// Does something that may take long.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn post_within<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        longest: Duration,
    ) -> Result<T, AdminError> {
        let body = serde_json::to_vec(body).expect("a request has a JSON form");
        decode(&self.call(Method::POST, path, body.into(), longest).await?)
    }

    /// Takes something away.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn delete(&self, path: &str) -> Result<(), AdminError> {
        self.call(Method::DELETE, path, Bytes::new(), ANSWER_MAX)
            .await
            .map(drop)
    }

    /// Asks one endpoint after the other. The next one is asked only when this one gave no answer at all, so that
    /// nothing is done twice.
    async fn call(&self, method: Method, path: &str, body: Bytes, longest: Duration) -> Result<Vec<u8>, AdminError> {
        let mut tried = Vec::new();
        for endpoint in &self.endpoints {
            let target = Target::of(endpoint, None)?;
            let request = self.request(&target, &method, path, body.clone());
            let answer = tokio::time::timeout(longest, Connection::to(target).send(request, Keep::Everything)).await;
            match answer {
                Ok(Ok(answer)) => return accept(answer),
                Ok(Err(error)) => tried.push(format!("{endpoint}: {error}")),
                Err(_) => tried.push(format!("{endpoint}: no answer in {} s", longest.as_secs())),
            }
        }
        Err(AdminError::NotReachable(tried.join("; ")))
    }

    fn request(&self, target: &Target, method: &Method, path: &str, body: Bytes) -> Request<Payload> {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", &target.authority)
            .header("authorization", format!("Bearer {}", self.token.reveal()))
            .header("content-type", "application/json")
            .body(Payload::of(body))
            .expect("paths are encoded and tokens are text")
    }
}

fn accept(answer: Answer) -> Result<Vec<u8>, AdminError> {
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    let said = serde_json::from_slice::<Refusal>(&answer.body).map(|refusal| refusal.error);
    let message = said.unwrap_or_else(|_| format!("the cluster answers {}", answer.status));
    Err(AdminError::Refused {
        status: answer.status,
        message,
    })
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, AdminError> {
    serde_json::from_slice(body).map_err(|error| AdminError::Malformed(error.to_string()))
}
