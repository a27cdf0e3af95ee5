//! From a request to its handler and back: limits, the token, access rules, the request id, the log line.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{RawPathParams, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::answer::refuse;
use super::caller::Call;
use super::routes::{ROUTES, Route};
use crate::policy::Grant;
use crate::refusal::Refusal;
use crate::service::Identity;
use crate::token::{TokenError, TokenSource};

/// The largest body, in bytes.
const BODY_BYTES_MAX: usize = 128 * 1024;
/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Requests in progress; one more is told to come back (MEM-1).
const REQUESTS_MAX: usize = 2048;
/// Parameters of a query that are looked at.
const QUERY_MAX: usize = 64;
/// Our name in access rules.
const SERVICE: &str = "identity";

#[derive(Clone)]
struct Shared {
    identity: Arc<Identity>,
    room: Arc<Semaphore>,
}

/// The service.
pub fn router(identity: Arc<Identity>) -> Router {
    let shared = Shared {
        identity,
        room: Arc::new(Semaphore::new(REQUESTS_MAX)),
    };
    let mut router = Router::new();
    for route in ROUTES {
        let shared = shared.clone();
        let handler = move |parameters: RawPathParams, request: Request| {
            let shared = shared.clone();
            async move { serve(shared, route, &parameters, request).await }
        };
        let method = http::Method::from_bytes(route.method.as_bytes()).expect("the table holds methods of HTTP");
        let filter = MethodFilter::try_from(method).expect("the table holds methods that axum routes");
        router = router.route(route.path, on(filter, handler));
    }
    let (not_found, not_allowed) = (shared.clone(), shared);
    router
        .fallback(move |request: Request| async move {
            let path = request.uri().path().to_owned();
            elsewhere(
                &not_found,
                &request,
                &Refusal::NotFound(format!("Could not find resource: {path}.")),
            )
        })
        .method_not_allowed_fallback(move |request: Request| async move {
            elsewhere(&not_allowed, &request, &Refusal::MethodNotAllowed)
        })
}

fn elsewhere(shared: &Shared, request: &Request, refusal: &Refusal) -> Response {
    let response = refuse(refusal, &base(&shared.identity, request.headers()));
    marked(response, &request_id(&shared.identity))
}

async fn serve(shared: Shared, route: &'static Route, parameters: &RawPathParams, request: Request) -> Response {
    let (began, id) = (Instant::now(), request_id(&shared.identity));
    let base = base(&shared.identity, request.headers());
    let path = request.uri().path().to_owned();
    let head_only = route.method == "HEAD";
    let answered = match shared.room.try_acquire() {
        Ok(_room) => answer(&shared.identity, route, parameters, request, &base).await,
        Err(_) => Err(Refusal::Unavailable),
    };
    let mut response = match answered {
        Ok(response) => response,
        Err(refusal) => refuse(&refusal, &base),
    };
    if head_only {
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    let (status, ms) = (response.status().as_u16(), began.elapsed().as_millis());
    tracing::info!(target: "access", request = id, method = route.method, path, status, ms, "identity");
    marked(response, &id)
}

async fn answer(
    identity: &Arc<Identity>,
    route: &'static Route,
    parameters: &RawPathParams,
    request: Request,
    base: &str,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let auth_token = header(&parts.headers, "x-auth-token");
    let caller = match &auth_token {
        Some(token) => match identity.validate_token(token).await {
            Ok(context) => Some(context),
            Err(TokenError::Invalid) => None,
            Err(other) => return Err(other.into()),
        },
        None => None,
    };
    let open = route.action.grants().contains(&Grant::Anyone);
    if caller.is_none() && !open {
        return Err(Refusal::Unauthorized);
    }
    if caller
        .as_ref()
        .is_some_and(|caller| !caller.allows(SERVICE, route.method, parts.uri.path()))
    {
        return Err(Refusal::Forbidden(
            "The access rules of the application credential do not allow this request.".into(),
        ));
    }
    let call = Call {
        identity: identity.clone(),
        action: route.action,
        caller,
        auth_token,
        subject_token: header(&parts.headers, "x-subject-token"),
        parameters: parameters
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<HashMap<_, _>>(),
        query: query(parts.uri.query().unwrap_or_default()),
        body: read_body(body).await?,
        base: base.to_owned(),
        path: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
    };
    Ok((route.handler)(Arc::new(call)).await?.into_response())
}

async fn read_body(body: Body) -> Result<Value, Refusal> {
    let read = tokio::time::timeout(BODY_TIME_MAX, to_bytes(body, BODY_BYTES_MAX)).await;
    let Ok(read) = read else {
        return Err(Refusal::BadRequest("The body did not arrive in time.".into()));
    };
    let bytes = read.map_err(|error| {
        let too_large = std::error::Error::source(&error).is_some_and(|source| source.to_string().contains("limit"));
        if too_large {
            Refusal::TooLarge
        } else {
            Refusal::BadRequest("The body is cut off.".into())
        }
    })?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|_| Refusal::BadRequest("The body is not valid JSON.".into()))
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

fn query(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .take(QUERY_MAX)
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// Where the client reached us; a Host header that is no host is not repeated.
fn base(identity: &Identity, headers: &HeaderMap) -> String {
    if let Some(url) = &identity.options.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let host = header(headers, HOST.as_str()).filter(|host| {
        (1..=255).contains(&host.len())
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b))
    });
    let scheme = if identity.options.https { "https" } else { "http" };
    format!("{scheme}://{}", host.as_deref().unwrap_or("localhost"))
}

fn request_id(identity: &Identity) -> String {
    let id = format!("{:032x}", identity.records.dice.u128());
    format!(
        "req-{}-{}-{}-{}-{}",
        &id[..8],
        &id[8..12],
        &id[12..16],
        &id[16..20],
        &id[20..]
    )
}

fn marked(mut response: Response, id: &str) -> Response {
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert("x-openstack-request-id", id);
    }
    // Tokens and secrets travel in answers.
    response
        .headers_mut()
        .insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if response.status() == StatusCode::NO_CONTENT {
        response.headers_mut().remove(http::header::CONTENT_TYPE);
    }
    response
}
