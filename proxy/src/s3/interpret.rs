//! Between the verified signature and the operation: admission, refusals, and the parts of a request that are read here
//! because s3s reads them more strictly than AWS does, or not at all.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use identity::{AccessKey, KeySource};
use s3s::service::S3Service;
use s3s::{Body, S3Request, S3Response, S3Result};
use store::RequestContext;

use super::chunked::Framing;
use super::conditions::Conditions;
use super::errors::{error, invalid_argument};
use super::guard::is_v4_parameter;
use super::host::Domains;
use super::query::Query;
use super::range::ByteRange;
use super::request::{Caller, Ticket, Unmeasured};
use super::{copy_source, keepalive, parts, refuse, small_body};
use crate::http::{Admission, Permit};

/// The longest body of one PUT or one part (AWS: 5 GiB).
const BODY_BYTES_MAX: u64 = 5 << 30;
/// What one request is taken to hold in memory at most, for admission.
const WINDOW_BYTES: u64 = 1 << 20;
/// The least that a request is taken to hold.
const REQUEST_BYTES: u64 = 64 << 10;

/// `response-*` parameters and the headers they replace (GET and HEAD).
const OVERRIDES: [(&str, HeaderName); 6] = [
    ("response-content-type", header::CONTENT_TYPE),
    ("response-content-language", header::CONTENT_LANGUAGE),
    ("response-expires", header::EXPIRES),
    ("response-cache-control", header::CACHE_CONTROL),
    ("response-content-disposition", header::CONTENT_DISPOSITION),
    ("response-content-encoding", header::CONTENT_ENCODING),
];

/// Headers that have done their work, or that s3s must not see.
const SPENT: [&str; 8] = [
    "authorization",
    "date",
    "expect",
    "host",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "transfer-encoding",
];

/// Everything that is needed to interpret a request.
pub(crate) struct Interpreter {
    /// The second s3s service.
    pub(crate) operations: S3Service,
    pub(crate) keys: Arc<dyn KeySource>,
    pub(crate) domains: Domains,
    pub(crate) admission: Admission,
    pub(crate) document_bytes_max: usize,
    pub(crate) deadline: Duration,
    pub(crate) keepalive: keepalive::Timing,
}

/// Where a request points.
struct Target {
    path: String,
    has_key: bool,
}

impl Interpreter {
    /// Interprets a verified request and answers it.
    pub(crate) async fn call(&self, mut request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let ticket = request
            .extensions
            .get::<Arc<Ticket>>()
            .cloned()
            .ok_or_else(|| error("InternalError"))?;
        let framing = request.extensions.get::<Framing>().copied();
        let unmeasured = request.extensions.get::<Unmeasured>().and_then(Unmeasured::take);
        let credentials = request.credentials.take().ok_or_else(|| error("AccessDenied"))?;
        let key = self.keys.lookup(&credentials.access_key).await.map_err(|cause| {
            tracing::warn!(%cause, "an access key could not be looked up");
            error("ServiceUnavailable")
        })?;
        let key = key.ok_or_else(|| error("InvalidAccessKeyId"))?;
        let _ = ticket.project.set(key.project.clone());
        let query = Query::parse(request.uri.query()).ok_or_else(|| error("InvalidURI"))?;
        hoist(&query, &mut request.headers)?;
        let host = text(&request.headers, "host").unwrap_or_default();
        let target = self.target(&request.uri, &host);
        refuse::check(&request.method, target.has_key, &query, &request.headers)?;
        let permit = self.admit(&key.project, &request.headers)?;

        let cx = RequestContext::new(ticket.id, key.project.clone(), self.deadline);
        let mut headers = std::mem::take(&mut request.headers);
        let trailers = request.trailing_headers.take();
        let mut caller = Caller {
            trailers: trailers.clone(),
            ..read(ticket.clone(), cx, key, &query, &mut headers, host)?
        };
        if let Some(body) = unmeasured {
            caller.payload = payload_digest(&headers);
            headers.remove(header::CONTENT_LENGTH);
            request.input = body;
        } else {
            lengths(&request.method, &target, &query, &mut headers, framing, &caller)?;
        }
        for spent in SPENT {
            headers.remove(spent);
        }
        let body = if small_body::is_document(&request.method, target.has_key, &query) {
            let max = self.document_bytes_max;
            let document = small_body::Document {
                method: &request.method,
                has_key: target.has_key,
                query: &query,
            };
            let bytes = document.read(&headers, request.input, &caller, max).await?;
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            Body::from(bytes)
        } else {
            request.input
        };
        let slow = is_slow(&request.method, &query, &caller);
        let bare_etag = request.method == Method::GET && query.has("attributes");
        let inner = build(request.method, &target, &query, headers, body, caller)?;
        let operations = self.operations.clone();
        let answer = async move {
            operations.call(inner).await.map_err(|cause| {
                let cause: s3s::StdError = cause.into();
                tracing::error!(%cause, "s3s could not answer");
                error("InternalError")
            })
        };
        let response = if slow {
            keepalive::answer(answer, &self.keepalive, &ticket).await?
        } else {
            answer.await?
        };
        let response = if bare_etag {
            parts::with_bare_etag(response)
        } else {
            response
        };
        Ok(handed_on(response, permit))
    }

    fn target(&self, uri: &Uri, host: &str) -> Target {
        let path = match self.domains.bucket(host) {
            Some(bucket) => format!("/{}{}", bucket.to_ascii_lowercase(), uri.path()),
            None => uri.path().to_owned(),
        };
        let has_key = path
            .trim_start_matches('/')
            .split_once('/')
            .is_some_and(|(_, key)| !key.is_empty());
        Target { path, has_key }
    }

    /// Admission by count and bytes, fair per project (MEM-1).
    fn admit(&self, project: &str, headers: &HeaderMap) -> S3Result<Permit> {
        let declared = text(headers, "content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        let bytes = REQUEST_BYTES.saturating_add(WINDOW_BYTES.min(declared));
        self.admission.admit(project, bytes).ok_or_else(|| error("SlowDown"))
    }
}

/// Presigned requests may carry headers as parameters; they are signed with the rest of the query.
fn hoist(query: &Query, headers: &mut HeaderMap) -> S3Result<()> {
    for (name, value) in query.pairs() {
        let lower = name.to_ascii_lowercase();
        if !lower.starts_with("x-amz-") || is_v4_parameter(name) {
            continue;
        }
        let name: HeaderName = lower.parse().map_err(|_| error("InvalidURI"))?;
        let value = HeaderValue::from_str(value).map_err(|_| error("InvalidURI"))?;
        match headers.get(&name) {
            Some(given) if *given != value => return Err(invalid_argument(format!("{name} is given twice."))),
            Some(_) => {}
            None => {
                headers.insert(name, value);
            }
        }
    }
    Ok(())
}

/// Takes what is read here out of the headers.
fn read(
    ticket: Arc<Ticket>,
    cx: RequestContext,
    key: Arc<AccessKey>,
    query: &Query,
    headers: &mut HeaderMap,
    host: String,
) -> S3Result<Caller> {
    let mut taken = |name: &str| {
        let value = headers.remove(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let expected_owner = taken("x-amz-expected-bucket-owner");
    let expected_source_owner = taken("x-amz-source-expected-bucket-owner");
    let range = taken("range").and_then(|text| ByteRange::parse(&text));
    let expires = taken("expires");
    let copy_source = taken("x-amz-copy-source")
        .map(|text| copy_source::parse(&text))
        .transpose()?;
    if copy_source.is_some() {
        // s3s chooses the operation by the header's presence; what it names was read above.
        headers.insert("x-amz-copy-source", HeaderValue::from_static("read/above"));
    }
    let conditions = Conditions::take(headers, "");
    let copy_conditions = Conditions::take(headers, "x-amz-copy-source-");
    plain_encoding(headers);
    Ok(Caller {
        ticket,
        cx,
        key,
        action: OnceLock::new(),
        expected_owner,
        expected_source_owner,
        range,
        conditions,
        copy_source,
        copy_conditions,
        expires,
        overrides: overrides(query)?,
        trailers: None,
        payload: None,
        host,
    })
}

fn overrides(query: &Query) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (parameter, name) in OVERRIDES {
        if let Some(value) = query.get(parameter) {
            let value = HeaderValue::from_str(value)
                .map_err(|_| invalid_argument(format!("{parameter} is not a header value")))?;
            headers.insert(name, value);
        }
    }
    Ok(headers)
}

/// `aws-chunked` is how the body travelled, not what it is.
fn plain_encoding(headers: &mut HeaderMap) {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let values: Vec<String> = values
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    if !values
        .iter()
        .any(|value| value.to_ascii_lowercase().contains("aws-chunked"))
    {
        return;
    }
    let kept: Vec<&str> = values
        .iter()
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    headers.remove(header::CONTENT_ENCODING);
    if let Ok(value) = HeaderValue::from_str(&kept.join(", "))
        && !kept.is_empty()
    {
        headers.insert(header::CONTENT_ENCODING, value);
    }
}

/// Sets the body's true length, and demands one where AWS does.
fn lengths(
    method: &Method,
    target: &Target,
    query: &Query,
    headers: &mut HeaderMap,
    framing: Option<Framing>,
    caller: &Caller,
) -> S3Result<()> {
    if let Some(framing) = framing {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(framing.decoded));
    }
    let data = *method == Method::PUT && target.has_key && !small_body::is_document(method, target.has_key, query);
    if !data || caller.copy_source.is_some() {
        return Ok(());
    }
    let length = text(headers, "content-length").ok_or_else(|| error("MissingContentLength"))?;
    let length: u64 = length.parse().map_err(|_| error("MissingContentLength"))?;
    if length > BODY_BYTES_MAX {
        Err(error("EntityTooLarge"))
    } else {
        Ok(())
    }
}

/// The digest that the signature promised of the payload.
fn payload_digest(headers: &HeaderMap) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(headers.get("x-amz-content-sha256")?, &mut digest).ok()?;
    Some(digest)
}

fn is_slow(method: &Method, query: &Query, caller: &Caller) -> bool {
    match *method {
        Method::PUT => caller.copy_source.is_some(),
        Method::POST => query.has("uploadId"),
        _ => false,
    }
}

/// The request as the second s3s service sees it: path style, without anything that was spent.
fn build(
    method: Method,
    target: &Target,
    query: &Query,
    headers: HeaderMap,
    body: Body,
    caller: Caller,
) -> S3Result<http::Request<Body>> {
    let spent = |name: &str| {
        let lower = name.to_ascii_lowercase();
        lower.starts_with("x-amz-")
            || lower.starts_with("response-")
            || matches!(name, "Signature" | "AWSAccessKeyId" | "Expires")
    };
    let path = match query.without(spent) {
        Some(query) => format!("{}?{query}", target.path),
        None => target.path.clone(),
    };
    let path: PathAndQuery = path.parse().map_err(|_| error("InvalidURI"))?;
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(path);
    *request.headers_mut() = headers;
    request.extensions_mut().insert(Arc::new(caller));
    Ok(request)
}

/// The answer on its way through the first service, with the status its operation chose and the permit that ends with
/// its body.
fn handed_on(response: http::Response<Body>, permit: Permit) -> S3Response<Body> {
    let (mut parts, body) = response.into_parts();
    let mut answer = S3Response::with_headers(body, parts.headers);
    answer.status = Some(parts.extensions.remove::<StatusCode>().unwrap_or(parts.status));
    answer.extensions = parts.extensions;
    answer.extensions.insert(Arc::new(permit));
    answer
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}
