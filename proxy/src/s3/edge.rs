//! One request from its first byte to its last: the order of the layers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::{Dice, WallClock};
use futures::StreamExt;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyDataStream, StreamBody};
use identity::KeySource;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error, S3Result, StdError};
use store::{RequestContext, RequestId, Store, StoreError};

use super::answer;
use super::chunked::{Chunked, Framing};
use super::cors;
use super::errors::{error, error_with, from_store};
use super::form;
use super::form_post::{FormTarget, Forms};
use super::guard::{self, Accepted, Mechanism, Payload};
use super::host::Domains;
use super::interpret::Interpreter;
use super::keepalive::Timing;
use super::query::Query;
use super::request::{Ticket, Unmeasured};
use super::service::Edge;
use super::{S3Options, auth};
use crate::http::{Admission, LogLine, Logged, Permit, Stalling};

/// What a browser's form says it is.
const FORM: &str = "multipart/form-data";

/// The body of an answer.
pub type EdgeBody = Logged<Body>;

/// The S3 edge: a `hyper` service over one [`Store`]. Cheap to clone.
#[derive(Clone)]
pub struct S3Edge(Arc<Inner>);

struct Inner {
    verify: S3Service,
    forms: Forms,
    store: Store,
    domains: Domains,
    clock: Arc<dyn WallClock>,
    dice: Arc<dyn Dice>,
    region: String,
    sigv2: bool,
    deadline: Duration,
    body_idle: Duration,
}

impl S3Edge {
    /// An edge that serves `store` to whoever has one of `keys`.
    #[must_use]
    pub fn new(
        store: Store,
        keys: Arc<dyn KeySource>,
        clock: Arc<dyn WallClock>,
        dice: Arc<dyn Dice>,
        options: S3Options,
    ) -> Self {
        let domains = Domains::new(&options.domains);
        let mut operations = S3ServiceBuilder::new(Edge::new(store.clone(), &options));
        let mut config = S3Config::default();
        config.xml_max_body_size = options.document_bytes_max;
        operations.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        let interpreter = Arc::new(Interpreter {
            operations: operations.build(),
            keys: keys.clone(),
            domains: domains.clone(),
            admission: Admission::new(options.admission.clone()),
            document_bytes_max: options.document_bytes_max,
            deadline: options.deadline,
            keepalive: Timing {
                after: options.keepalive_after,
                every: options.keepalive_every,
            },
        });
        let forms = Forms {
            interpreter: interpreter.clone(),
            keys: keys.clone(),
            sigv2: options.sigv2,
        };
        Self(Arc::new(Inner {
            verify: auth::service(keys, domains.clone(), interpreter),
            forms,
            store,
            domains,
            clock,
            dice,
            region: options.region,
            sigv2: options.sigv2,
            deadline: options.deadline,
            body_idle: options.body_idle,
        }))
    }

    /// Answers one request.
    pub async fn serve<B>(self, request: Request<B>) -> Response<EdgeBody>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<StdError>,
    {
        let inner = &self.0;
        let ticket = Arc::new(Ticket::new(RequestId::new(inner.clock.now_ms(), inner.dice.u128())));
        let line = LogLine::begin(&request);
        let method = request.method().clone();
        let resource = request.uri().path().to_owned();
        let origin = cors::Origin::of(&request);
        let bucket = bucket_name(&inner.domains, &request);
        let mut response = match inner.answer(request, &ticket).await {
            Ok(response) => response,
            Err(refused) => answer::refused(refused),
        };
        if let (Some(origin), Some(bucket)) = (origin, bucket) {
            inner
                .allow_origin(&mut response, &origin, &bucket, &method, &ticket)
                .await;
        }
        let permit = response.extensions_mut().remove::<Arc<Permit>>();
        let response = answer::complete(response, &method, &resource, &ticket);
        let line = line.answered(response.status(), super::request::summary(&ticket));
        response.map(|body| Logged::new(body, line, permit))
    }
}

impl Inner {
    async fn answer<B>(&self, request: Request<B>, ticket: &Arc<Ticket>) -> S3Result<Response<Body>>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<StdError>,
    {
        let (mut parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query()).ok_or_else(|| error("InvalidURI"))?;
        if parts.method == Method::OPTIONS {
            return self.preflight(&parts, ticket).await;
        }
        if let Some(target) = self.form_target(&parts, &query)? {
            return self.form(parts, target, body, ticket).await;
        }
        let now = self.clock.now_ms();
        let accepted = Accepted {
            region: &self.region,
            sigv2: self.sigv2,
        };
        let mechanism = guard::check(&parts.method, &query, &mut parts.headers, now, accepted)?;
        if mechanism == Mechanism::V2 && bucket_in_host(&self.domains, &parts.headers).is_none() {
            parts.uri = as_version_2_signs(parts.uri);
        }
        let body = Stalling::new(body, self.body_idle);
        let body = match mechanism {
            Mechanism::Anonymous => return Err(self.anonymous(&parts, ticket).await),
            Mechanism::Header(Payload::Chunked {
                signed,
                trailer,
                decoded,
            }) => {
                let framing = Framing {
                    signed,
                    trailer,
                    decoded,
                };
                parts.extensions.insert(framing);
                let stream = Chunked::new(BodyDataStream::new(body), framing, ticket.clone());
                Body::http_body_unsync(StreamBody::new(stream.map(|piece| piece.map(http_body::Frame::data))))
            }
            Mechanism::Header(Payload::Plain) | Mechanism::Presigned | Mechanism::V2 => {
                let measured = http_body::Body::size_hint(&body).exact().is_some();
                let body = Body::http_body_unsync(body);
                if measured {
                    body
                } else {
                    parts.extensions.insert(Unmeasured::new(body));
                    Body::empty()
                }
            }
        };
        parts.extensions.insert(ticket.clone());
        self.verify
            .call(Request::from_parts(parts, body))
            .await
            .map_err(|cause| {
                let cause: StdError = cause.into();
                tracing::error!(%cause, "s3s could not answer");
                error("InternalError")
            })
    }

    /// Where a browser's form goes; `None` for a request that is none.
    fn form_target(&self, parts: &http::request::Parts, query: &Query) -> S3Result<Option<FormTarget>> {
        let text = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value: &http::HeaderValue| value.to_str().ok())
        };
        let kind = text(http::header::CONTENT_TYPE).unwrap_or_default().trim_start();
        let is_form = kind
            .get(..FORM.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(FORM));
        if !is_form || parts.method != Method::POST {
            return Ok(None);
        }
        let host = text(http::header::HOST).unwrap_or_default().to_owned();
        let virtual_hosted = self.domains.bucket(&host).is_some();
        let path = parts.uri.path();
        let rest = if virtual_hosted {
            path
        } else {
            path.strip_prefix('/')
                .and_then(|path| path.find('/').map(|at| &path[at..]))
                .unwrap_or("/")
        };
        let bucket = bucket_in(&self.domains, &parts.headers, path);
        match bucket {
            Some(bucket) if rest == "/" && query.pairs().next().is_none() => Ok(Some(FormTarget {
                bucket,
                host,
                virtual_hosted,
            })),
            _ => Err(error("MethodNotAllowed")),
        }
    }

    async fn form<B>(
        &self,
        parts: http::request::Parts,
        target: FormTarget,
        body: B,
        ticket: &Arc<Ticket>,
    ) -> S3Result<Response<Body>>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<StdError>,
    {
        guard::bounded(&parts.headers)?;
        if !s3s::path::check_bucket_name(&target.bucket) {
            return Err(error("InvalidBucketName"));
        }
        let kind = parts
            .headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let boundary = kind.and_then(form::boundary).ok_or_else(|| {
            error_with(
                "MalformedPOSTRequest",
                "The body of your POST request is not well-formed multipart/form-data.",
            )
        })?;
        let body = BodyDataStream::new(Stalling::new(body, self.body_idle));
        let now = i64::try_from(self.clock.now_ms() / 1000).unwrap_or(i64::MAX);
        match self.forms.post(target, &boundary, body, ticket, now).await? {
            Some(response) => Ok(response),
            None => Err(self.anonymous(&parts, ticket).await),
        }
    }

    fn context(&self, ticket: &Ticket) -> RequestContext {
        RequestContext::new(ticket.id, String::new(), self.deadline)
    }

    /// Nobody without a key reads anything; that a bucket is absent is told to everybody, as in AWS.
    async fn anonymous(&self, parts: &http::request::Parts, ticket: &Ticket) -> S3Error {
        let Some(bucket) = bucket_in(&self.domains, &parts.headers, parts.uri.path()) else {
            return error("AccessDenied");
        };
        if !s3s::path::check_bucket_name(&bucket) {
            return error("InvalidBucketName");
        }
        match self.store.bucket(&self.context(ticket), &bucket).await {
            Err(StoreError::NoSuchBucket) => error("NoSuchBucket"),
            Err(other) => from_store(other),
            Ok(_) => error("AccessDenied"),
        }
    }

    async fn preflight(&self, parts: &http::request::Parts, ticket: &Ticket) -> S3Result<Response<Body>> {
        let _ = ticket.operation.set("Preflight");
        let asked = cors::Preflight::of(&parts.headers)?;
        let bucket = bucket_in(&self.domains, &parts.headers, parts.uri.path());
        let bucket = bucket.ok_or_else(|| error("AccessForbidden"))?;
        let rules = self.cors_rules(&bucket, ticket).await?;
        cors::answer_preflight(rules.as_deref(), &asked)
    }

    async fn cors_rules(&self, bucket: &str, ticket: &Ticket) -> S3Result<Option<Vec<cors::Rule>>> {
        let cx = self.context(ticket);
        let bucket = self.store.bucket(&cx, bucket).await.map_err(from_store)?;
        let (config, _) = self.store.bucket_state(&cx, &bucket).await.map_err(from_store)?;
        cors::stored(config.documents.get(cors::DOCUMENT))
    }

    /// Adds the CORS headers to the answer of a request that came from a page.
    async fn allow_origin(
        &self,
        response: &mut Response<Body>,
        origin: &cors::Origin,
        bucket: &str,
        method: &Method,
        ticket: &Ticket,
    ) {
        if let Ok(Some(rules)) = self.cors_rules(bucket, ticket).await {
            cors::decorate(response.headers_mut(), &rules, origin, method);
        }
    }
}

/// The bucket that a request names, by host or path.
fn bucket_in_host(domains: &Domains, headers: &HeaderMap) -> Option<String> {
    let host = headers.get(http::header::HOST)?.to_str().ok()?;
    Some(domains.bucket(host)?.to_ascii_lowercase())
}

fn bucket_in(domains: &Domains, headers: &HeaderMap, path: &str) -> Option<String> {
    if let Some(bucket) = bucket_in_host(domains, headers) {
        return Some(bucket);
    }
    let name = path.strip_prefix('/')?.split('/').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The path that is in a signature of version 2: clients end a bucket's path with a slash there, also when they send it
/// without one (boto, botocore and the SDKs of that time).
fn as_version_2_signs(uri: Uri) -> Uri {
    let path = uri.path();
    if path.len() < 2 || path[1..].contains('/') {
        return uri;
    }
    let target = match uri.query() {
        Some(query) => format!("{path}/?{query}"),
        None => format!("{path}/"),
    };
    target.parse().unwrap_or(uri)
}

fn bucket_name<B>(domains: &Domains, request: &Request<B>) -> Option<String> {
    bucket_in(domains, request.headers(), request.uri().path())
}

impl<B> hyper::service::Service<Request<B>> for S3Edge
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<StdError>,
{
    type Response = Response<EdgeBody>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let edge = self.clone();
        Box::pin(async move { Ok(edge.serve(request).await) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_buckets_path_gets_a_slash() {
        for (sent, signed) in [
            ("/", "/"),
            ("/b", "/b/"),
            ("/b?acl", "/b/?acl"),
            ("/b/", "/b/"),
            ("/b/k", "/b/k"),
        ] {
            assert_eq!(as_version_2_signs(Uri::from_static(sent)), signed, "{sent}");
        }
    }
}
