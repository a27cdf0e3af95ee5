//! The last touch on every answer: request ids, complete error documents, no body where none may be.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use s3s::{Body, S3Error};

use super::errors::message;
use super::request::Ticket;

/// Completes an answer.
pub(crate) fn complete(
    mut response: Response<Body>,
    method: &Method,
    resource: &str,
    ticket: &Ticket,
) -> Response<Body> {
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        if let Some(bytes) = response.body().bytes() {
            *response.body_mut() = Body::from(completed(&bytes, resource, ticket));
        }
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    }
    if *method == Method::HEAD || status == StatusCode::NOT_MODIFIED || status == StatusCode::NO_CONTENT {
        *response.body_mut() = Body::empty();
        if status != StatusCode::OK && status != StatusCode::PARTIAL_CONTENT {
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
    }
    let headers = response.headers_mut();
    let id = ticket.id.to_string();
    if let Ok(value) = HeaderValue::from_str(&host_id(ticket)) {
        headers.insert("x-amz-id-2", value);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert("x-amz-request-id", value);
    }
    headers.insert(header::SERVER, HeaderValue::from_static("Halo"));
    response
}

/// An error's answer before s3s was asked.
pub(crate) fn refused(error: S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// An error's whole document.
pub(crate) fn error_document(error: &S3Error, resource: &str, ticket: &Ticket) -> Bytes {
    let code = error.code().as_str();
    let text = error.message().unwrap_or_else(|| message(code));
    let _ = ticket.error.set(code.to_owned());
    render(code, text, resource, ticket)
}

/// s3s's error document with what it lacks: a message, the resource, the request's id.
pub(crate) fn completed(document: &[u8], resource: &str, ticket: &Ticket) -> Bytes {
    let text = std::str::from_utf8(document).unwrap_or_default();
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>"))
            .map(|(value, _)| unescaped(value))
    };
    let code = element("Code").unwrap_or_else(|| "InternalError".to_owned());
    let told = element("Message").unwrap_or_else(|| message(&code).to_owned());
    let _ = ticket.error.set(code.clone());
    render(&code, &told, resource, ticket)
}

fn render(code: &str, text: &str, resource: &str, ticket: &Ticket) -> Bytes {
    let mut document = String::with_capacity(256 + text.len() + resource.len());
    document.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
    for (name, value) in [
        ("Code", code),
        ("Message", text),
        ("Resource", resource),
        ("RequestId", &ticket.id.to_string()),
        ("HostId", &host_id(ticket)),
    ] {
        document.push_str(&format!("<{name}>{}</{name}>", quick_xml::escape::escape(value)));
    }
    if let Some(region) = expected_region(code, text) {
        document.push_str(&format!("<Region>{}</Region>", quick_xml::escape::escape(region)));
    }
    document.push_str("</Error>");
    Bytes::from(document)
}

/// The region that a client is told to sign for; some clients read it and try again.
fn expected_region<'a>(code: &str, text: &'a str) -> Option<&'a str> {
    let (_, rest) = text.split_once("; expecting '")?;
    let region = rest.strip_suffix('\'')?;
    (code == "AuthorizationHeaderMalformed").then_some(region)
}

fn unescaped(text: &str) -> String {
    quick_xml::escape::unescape(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}

/// The second id that AWS gives: opaque, made of the first.
fn host_id(ticket: &Ticket) -> String {
    BASE64.encode(ticket.id.0.to_be_bytes())
}
