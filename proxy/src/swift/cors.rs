//! Pages of other origins: what a container lets them do.

use http::{HeaderMap, Method, StatusCode};

use super::reply::{Answer, Refused, Reply, put, refuse};
use super::request::{Ask, Container};

const ALLOW: &str = "x-container-meta-access-control-allow-origin";
const EXPOSE: &str = "x-container-meta-access-control-expose-headers";
const MAX_AGE: &str = "x-container-meta-access-control-max-age";

/// Headers every page may see besides those that browsers always show.
const EXPOSED: &str = "cache-control, content-language, content-type, expires, last-modified, pragma, etag, \
                       x-timestamp, x-trans-id, x-openstack-request-id";

/// The origin that an answer may name; `None` when the container does not let it in.
fn allowed<'a>(container: &Container, origin: &'a str) -> Option<&'a str> {
    let list = container.settings.get(ALLOW)?;
    let items: Vec<&str> = list.split_whitespace().collect();
    if items.contains(&"*") {
        return Some("*");
    }
    items.contains(&origin).then_some(origin)
}

/// Answers OPTIONS: of a page's browser that asks beforehand, or of anybody.
pub(crate) async fn options(ask: &Ask, methods: &str) -> Answer {
    let Some(origin) = ask.header("origin").filter(|origin| !origin.is_empty()) else {
        return Ok(Reply::new(StatusCode::OK).with("allow", methods));
    };
    let unauthorized = || -> Refused { refuse(StatusCode::UNAUTHORIZED) };
    let asked = ask.header("access-control-request-method").ok_or_else(unauthorized)?;
    let container = match &ask.path.container {
        Some(_) => ask.find_container().await?,
        None => None,
    };
    let container = container.ok_or_else(unauthorized)?;
    let origin = allowed(&container, origin).ok_or_else(unauthorized)?;
    if !methods.split(", ").any(|method| method == asked) {
        return Err(unauthorized());
    }
    let mut reply = Reply::new(StatusCode::OK).with("allow", methods);
    reply.set("access-control-allow-origin", origin);
    reply.set("access-control-allow-methods", methods);
    if origin != "*" {
        reply.set("vary", "Origin");
    }
    if let Some(age) = container.settings.get(MAX_AGE) {
        reply.set("access-control-max-age", age);
    }
    if let Some(headers) = ask.header("access-control-request-headers") {
        reply.set("access-control-allow-headers", headers);
    }
    Ok(reply)
}

/// Adds what a page's browser needs to an answer.
pub(crate) async fn decorate(ask: &Ask, headers: &mut HeaderMap) {
    if ask.method == Method::OPTIONS || ask.path.container.is_none() {
        return;
    }
    let Some(origin) = ask.header("origin").filter(|origin| !origin.is_empty()) else {
        return;
    };
    let Ok(Some(container)) = ask.find_container().await else {
        return;
    };
    let Some(origin) = allowed(&container, origin) else {
        return;
    };
    put(headers, "access-control-allow-origin", origin);
    let mut exposed = EXPOSED.to_owned();
    let told: Vec<&str> = headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| is_told(name))
        .collect();
    for name in told
        .into_iter()
        .chain(container.settings.get(EXPOSE).unwrap_or_default().split_whitespace())
    {
        exposed.push_str(", ");
        exposed.push_str(name);
    }
    put(headers, "access-control-expose-headers", exposed);
    if origin != "*" {
        put(headers, "vary", "Origin");
    }
}

fn is_told(name: &str) -> bool {
    name.starts_with("x-object-meta-") || name.starts_with("x-container-meta-")
}
