//! Many deletions in one request. The status is always 200; what went wrong stands in the answer's body.

use std::sync::Arc;

use futures::StreamExt;
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;

use super::authorize::may_write;
use super::format::Format;
use super::listing::escape;
use super::path::{Path, quote, unquote};
use super::reply::{Answer, Refused, Reply, bad_request, refuse, refuse_with};
use super::request::Ask;
use super::{change, container};

/// The most names of one request.
pub(crate) const DELETES_MAX: usize = 10_000;
/// The longest list of names, in bytes.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Deletions at once.
const AT_ONCE: usize = 8;
/// After so many failures the rest is not tried.
pub(crate) const FAILURES_MAX: usize = 1000;

/// What was done to many things.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Names and counts, in the order told.
    pub(crate) counts: Vec<(&'static str, usize)>,
    pub(crate) status: String,
    pub(crate) body: String,
    pub(crate) errors: Vec<(String, String)>,
}

/// A status with its words.
pub(crate) fn words(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default())
}

impl Outcome {
    /// As an answer, in the form asked for.
    pub(crate) fn answer(&self, format: Format, root: &str) -> Reply {
        let text = match format {
            Format::Json => {
                let mut map = serde_json::Map::new();
                for (name, count) in &self.counts {
                    map.insert((*name).to_owned(), json!(count));
                }
                map.insert("Response Status".into(), json!(self.status));
                map.insert("Response Body".into(), json!(self.body));
                map.insert("Errors".into(), json!(self.errors));
                serde_json::Value::Object(map).to_string()
            }
            Format::Xml => {
                let element = |name: &str| name.to_lowercase().replace(' ', "_");
                let mut text = format!("<{root}>\n");
                for (name, count) in &self.counts {
                    text.push_str(&format!("<{0}>{count}</{0}>\n", element(name)));
                }
                text.push_str(&format!(
                    "<response_status>{}</response_status>\n",
                    escape(&self.status)
                ));
                text.push_str(&format!(
                    "<response_body>{}</response_body>\n<errors>\n",
                    escape(&self.body)
                ));
                for (name, status) in &self.errors {
                    let (name, status) = (escape(name), escape(status));
                    text.push_str(&format!(
                        "<object><name>{name}</name><status>{status}</status></object>\n"
                    ));
                }
                text.push_str(&format!("</errors>\n</{root}>\n"));
                text
            }
            Format::Text => {
                let mut text = String::new();
                for (name, count) in &self.counts {
                    text.push_str(&format!("{name}: {count}\n"));
                }
                text.push_str(&format!(
                    "Response Status: {}\nResponse Body: {}\nErrors:\n",
                    self.status, self.body
                ));
                for (name, status) in &self.errors {
                    text.push_str(&format!("{name}, {status}\n"));
                }
                text
            }
        };
        Reply::text(StatusCode::OK, format.media_type(), text)
    }
}

/// POST or DELETE with `bulk-delete`: one percent-encoded path a line.
pub(crate) async fn delete(ask: &Arc<Ask>) -> Answer {
    ask.require_length()?;
    let body = ask.small_body(BODY_BYTES_MAX).await?;
    let text = std::str::from_utf8(&body).map_err(|_| bad_request("The list of names is not UTF-8"))?;
    let (mut names, mut errors) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if names.len() + errors.len() >= DELETES_MAX {
            let why = format!("Maximum Bulk Deletes: {DELETES_MAX} per request");
            return Err(refuse_with(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        match name_of(line) {
            Some(name) => names.push(name),
            None => errors.push((line.to_owned(), words(StatusCode::PRECONDITION_FAILED))),
        }
    }
    run(ask, names, errors).await
}

fn name_of(line: &str) -> Option<(String, String)> {
    let name = unquote(line).filter(|name| !name.contains('\0'))?;
    let name = name.trim_start_matches('/');
    let (container, object) = name.split_once('/').unwrap_or((name, ""));
    (!container.is_empty()).then(|| (container.to_owned(), object.to_owned()))
}

/// Deletes objects in order, the last one after all others.
pub(crate) async fn delete_all(ask: &Arc<Ask>, names: Vec<(String, String)>) -> Answer {
    run(ask, names, Vec::new()).await
}

async fn run(ask: &Arc<Ask>, names: Vec<(String, String)>, errors: Vec<(String, String)>) -> Answer {
    let format = Format::of(ask)?;
    let mut outcome = Outcome {
        errors,
        ..Outcome::default()
    };
    let (mut deleted, mut missing) = (0, 0);
    // Containers and the last name wait for what is before them.
    let (objects, last): (Vec<_>, Vec<_>) = {
        let mut objects = names;
        let last = objects.pop();
        let (objects, containers): (Vec<_>, Vec<_>) = objects.into_iter().partition(|(_, object)| !object.is_empty());
        (objects, containers.into_iter().chain(last).collect())
    };
    let mut done = Vec::new();
    let mut running = futures::stream::iter(objects)
        .map(|name| one(ask, name))
        .buffered(AT_ONCE);
    while let Some(result) = running.next().await {
        done.push(result);
        if done.iter().filter(|(_, status)| status.is_err()).count() > FAILURES_MAX {
            break;
        }
    }
    drop(running);
    for name in last {
        done.push(one(ask, name).await);
    }
    for ((container, object), result) in done {
        match result {
            Ok(()) => deleted += 1,
            Err(status) if status == StatusCode::NOT_FOUND => missing += 1,
            Err(status) => outcome
                .errors
                .push((quote(&format!("/{container}/{object}")), words(status))),
        }
    }
    outcome.counts = vec![("Number Deleted", deleted), ("Number Not Found", missing)];
    outcome.status = words(match (outcome.errors.is_empty(), deleted + missing) {
        (true, 0) => StatusCode::BAD_REQUEST,
        (true, _) => StatusCode::OK,
        (false, _) => StatusCode::BAD_REQUEST,
    });
    if deleted + missing == 0 && outcome.errors.is_empty() {
        outcome.body = "Invalid bulk delete.".to_owned();
    }
    let unauthorized = outcome.errors.iter().any(|(_, status)| status.starts_with("401"));
    if unauthorized {
        outcome.status = words(StatusCode::UNAUTHORIZED);
    }
    Ok(outcome.answer(format, "delete"))
}

type Name = (String, String);

async fn one(ask: &Arc<Ask>, (container, object): Name) -> (Name, Result<(), StatusCode>) {
    let path = Path {
        account: ask.path.account.clone(),
        container: Some(container.clone()),
        object: (!object.is_empty()).then(|| object.clone()),
    };
    let inner = Arc::new(ask.inner(Method::DELETE, path, HeaderMap::new()));
    let result = delete_one(ask, &inner).await.map_err(|refused| refused.status);
    ((container, object), result)
}

async fn delete_one(ask: &Arc<Ask>, inner: &Arc<Ask>) -> Result<(), Refused> {
    let allowed = match &inner.path.object {
        Some(_) => may_write(inner).await?,
        None => inner.is_owner(),
    };
    if !allowed {
        let status = if ask.principal.is_some() {
            StatusCode::FORBIDDEN
        } else {
            StatusCode::UNAUTHORIZED
        };
        return Err(refuse(status));
    }
    let done = match &inner.path.object {
        Some(_) => change::delete(inner).await,
        None => container::handle(inner).await,
    };
    done.map(drop)
}
