//! The first s3s service: it verifies the signature and hands every request on to [`Interpreter`].

use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, Uri};
use identity::KeySource;
use s3s::auth::{S3Auth, SecretKey};
use s3s::route::S3Route;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3, S3Request, S3Response, S3Result};

use super::errors::error;
use super::host::Domains;
use super::interpret::Interpreter;

/// Builds the verifying service.
pub(crate) fn service(keys: Arc<dyn KeySource>, domains: Domains, interpreter: Arc<Interpreter>) -> S3Service {
    let mut builder = S3ServiceBuilder::new(NoOperations);
    builder.set_auth(Secrets(keys));
    builder.set_host(domains);
    builder.set_route(Everything(interpreter));
    builder.build()
}

/// The verifying service has no operations of its own: the route takes every request.
struct NoOperations;

impl S3 for NoOperations {}

struct Secrets(Arc<dyn KeySource>);

#[async_trait::async_trait]
impl S3Auth for Secrets {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.lookup(access_key).await {
            Ok(Some(key)) => Ok(SecretKey::from(key.secret.as_str())),
            Ok(None) => Err(error("InvalidAccessKeyId")),
            Err(cause) => {
                tracing::warn!(%cause, "an access key could not be looked up");
                Err(error("ServiceUnavailable"))
            }
        }
    }
}

struct Everything(Arc<Interpreter>);

#[async_trait::async_trait]
impl S3Route for Everything {
    fn is_match(&self, _: &Method, _: &Uri, _: &HeaderMap, _: &mut Extensions) -> bool {
        true
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        if request.credentials.is_some() {
            Ok(())
        } else {
            Err(error("AccessDenied"))
        }
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        self.0.call(request).await
    }
}
