//! CORS: the configuration of a bucket, preflight requests, and the headers of real answers.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use s3s::dto::{self, CORSRule};
use s3s::{Body, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};

use super::errors::{error, error_with, invalid_request};
use super::request::Caller;
use super::service::Edge;

/// The bucket document that holds the rules, in JSON.
pub(crate) const DOCUMENT: &str = "cors";
/// Rules of one bucket (AWS).
const RULES_MAX: usize = 100;
/// Methods that a rule may allow (AWS).
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// One rule, as kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    id: Option<String>,
    origins: Vec<String>,
    methods: Vec<String>,
    headers: Vec<String>,
    expose: Vec<String>,
    max_age_seconds: Option<i32>,
}

/// The page a request came from.
#[derive(Clone, Debug)]
pub(crate) struct Origin(String);

impl Origin {
    /// Reads the `Origin` header.
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        if *request.method() == Method::OPTIONS {
            return None;
        }
        request
            .headers()
            .get(header::ORIGIN)?
            .to_str()
            .ok()
            .map(|origin| Self(origin.to_owned()))
    }
}

/// What a browser asks before the real request.
#[derive(Clone, Debug)]
pub(crate) struct Preflight {
    origin: String,
    method: String,
    headers: Vec<String>,
}

impl Preflight {
    /// Reads an OPTIONS request.
    pub(crate) fn of(headers: &HeaderMap) -> S3Result<Self> {
        let text = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let bad = |text: &'static str| error_with("BadRequest", text);
        let origin = text("origin").ok_or_else(|| bad("Insufficient information. Origin request header needed."))?;
        let method =
            text("access-control-request-method").ok_or_else(|| bad("Invalid Access-Control-Request-Method: null"))?;
        if !METHODS.contains(&method.as_str()) {
            return Err(error_with(
                "BadRequest",
                format!("Invalid Access-Control-Request-Method: {method}"),
            ));
        }
        let wanted = text("access-control-request-headers").unwrap_or_default();
        let headers = wanted.split(',').map(|name| name.trim().to_ascii_lowercase());
        Ok(Self {
            origin,
            method,
            headers: headers.filter(|name| !name.is_empty()).collect(),
        })
    }
}

/// Whether `text` fits a pattern with at most one `*`.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((front, end)) => text.len() >= front.len() + end.len() && text.starts_with(front) && text.ends_with(end),
    }
}

impl Rule {
    /// The first pattern that the origin fits.
    fn origin(&self, origin: &str) -> Option<&str> {
        self.origins
            .iter()
            .find(|pattern| fits(pattern, origin))
            .map(String::as_str)
    }

    fn allows(&self, origin: &str, method: &str) -> bool {
        self.origin(origin).is_some() && self.methods.iter().any(|allowed| allowed == method)
    }

    fn allows_headers(&self, wanted: &[String]) -> bool {
        let allowed = |name: &String| {
            self.headers
                .iter()
                .any(|pattern| fits(&pattern.to_ascii_lowercase(), name))
        };
        wanted.iter().all(allowed)
    }

    fn write(&self, headers: &mut HeaderMap, origin: &str) {
        let any = self.origin(origin) == Some("*");
        put(
            headers,
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            if any { "*" } else { origin },
        );
        if !any {
            put(headers, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        put(headers, header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods.join(", "));
        if !self.expose.is_empty() {
            put(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.expose.join(", "));
        }
        if let Some(seconds) = self.max_age_seconds {
            put(headers, header::ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
        }
        put(
            headers,
            header::VARY,
            "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
        );
    }
}

fn put(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Answers an OPTIONS request.
pub(crate) fn answer_preflight(rules: Option<&[Rule]>, asked: &Preflight) -> S3Result<Response<Body>> {
    let rules =
        rules.ok_or_else(|| error_with("AccessForbidden", "CORSResponse: CORS is not enabled for this bucket."))?;
    let rule = rules
        .iter()
        .find(|rule| rule.allows(&asked.origin, &asked.method) && rule.allows_headers(&asked.headers));
    let rule = rule.ok_or_else(|| {
        error_with(
            "AccessForbidden",
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
        )
    })?;
    let mut response = Response::new(Body::empty());
    rule.write(response.headers_mut(), &asked.origin);
    if !asked.headers.is_empty() {
        put(
            response.headers_mut(),
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            &asked.headers.join(", "),
        );
    }
    Ok(response)
}

/// Adds what the first fitting rule allows to an answer.
pub(crate) fn decorate(headers: &mut HeaderMap, rules: &[Rule], origin: &Origin, method: &Method) {
    if let Some(rule) = rules.iter().find(|rule| rule.allows(&origin.0, method.as_str())) {
        rule.write(headers, &origin.0);
    }
}

/// The rules that a bucket's document holds.
pub(crate) fn stored(document: Option<&Bytes>) -> S3Result<Option<Vec<Rule>>> {
    let read = |document: &Bytes| serde_json::from_slice(document).map_err(|_| error("InternalError"));
    document.map(read).transpose()
}

fn rule(rule: CORSRule) -> S3Result<Rule> {
    if let Some(method) = rule
        .allowed_methods
        .iter()
        .find(|method| !METHODS.contains(&method.as_str()))
    {
        return Err(invalid_request(format!(
            "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
        )));
    }
    let headers = rule.allowed_headers.unwrap_or_default();
    for (kind, patterns) in [("AllowedOrigin", &rule.allowed_origins), ("AllowedHeader", &headers)] {
        if let Some(pattern) = patterns.iter().find(|pattern| pattern.matches('*').count() > 1) {
            return Err(invalid_request(format!(
                "{kind} \"{pattern}\" can not have more than one wildcard."
            )));
        }
    }
    let expose = rule.expose_headers.unwrap_or_default();
    if let Some(name) = expose.iter().find(|name| name.contains('*')) {
        return Err(invalid_request(format!(
            "ExposeHeader \"{name}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
        )));
    }
    if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
        return Err(error("MalformedXML"));
    }
    Ok(Rule {
        id: rule.id,
        origins: rule.allowed_origins,
        methods: rule.allowed_methods,
        headers,
        expose,
        max_age_seconds: rule.max_age_seconds,
    })
}

fn shown(rule: Rule) -> CORSRule {
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    CORSRule {
        allowed_headers: some(rule.headers),
        allowed_methods: rule.methods,
        allowed_origins: rule.origins,
        expose_headers: some(rule.expose),
        id: rule.id,
        max_age_seconds: rule.max_age_seconds,
    }
}

/// PutBucketCors.
pub(crate) async fn put_bucket(
    edge: &Edge,
    request: S3Request<dto::PutBucketCorsInput>,
) -> S3Result<S3Response<dto::PutBucketCorsOutput>> {
    let caller = Caller::of(&request, "PutBucketCors")?;
    let rules = request.input.cors_configuration.cors_rules;
    if rules.is_empty() || rules.len() > RULES_MAX {
        return Err(error("MalformedXML"));
    }
    let rules: Vec<Rule> = rules.into_iter().map(rule).collect::<S3Result<_>>()?;
    let document = serde_json::to_vec(&rules).map_err(|_| error("InternalError"))?;
    edge.set_document(&caller, &request.input.bucket, DOCUMENT, Some(Bytes::from(document)))
        .await?;
    Ok(S3Response::new(dto::PutBucketCorsOutput {}))
}

/// GetBucketCors.
pub(crate) async fn get_bucket(
    edge: &Edge,
    request: S3Request<dto::GetBucketCorsInput>,
) -> S3Result<S3Response<dto::GetBucketCorsOutput>> {
    let caller = Caller::of(&request, "GetBucketCors")?;
    let document = edge.document(&caller, &request.input.bucket, DOCUMENT).await?;
    let rules = stored(document.as_ref())?.ok_or_else(|| error("NoSuchCORSConfiguration"))?;
    let cors_rules = Some(rules.into_iter().map(shown).collect());
    Ok(S3Response::new(dto::GetBucketCorsOutput { cors_rules }))
}

/// DeleteBucketCors.
pub(crate) async fn delete_bucket(
    edge: &Edge,
    request: S3Request<dto::DeleteBucketCorsInput>,
) -> S3Result<S3Response<dto::DeleteBucketCorsOutput>> {
    let caller = Caller::of(&request, "DeleteBucketCors")?;
    edge.set_document(&caller, &request.input.bucket, DOCUMENT, None)
        .await?;
    Ok(S3Response::new(dto::DeleteBucketCorsOutput {}))
}

#[cfg(test)]
#[path = "cors_tests.rs"]
mod tests;
