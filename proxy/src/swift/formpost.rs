//! Forms that upload: a signed HTML form lets a browser store files below a path for a while.
//!
//! ```text
//! signature = HMAC(key, PATH \n redirect \n max_file_size \n max_file_count \n expires)
//! ```
//! The fields that say so come before the files; each file becomes an object of its name below the path.

use std::sync::Arc;

use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use store::{Body, PutObject};
use tokio::sync::Mutex;

use super::multipart_form::{Field, Form, boundary};
use super::path::{Path, quote, unquote};
use super::put::{self, Target};
use super::reply::{Answer, Refused, Reply, TEXT, from_store, refuse_with};
use super::request::Ask;
use super::tempurl::{Signature, signer};

/// The longest field that is no file, in bytes.
const FIELD_BYTES_MAX: usize = 8192;
/// The most fields of one form.
const FIELDS_MAX: usize = 10_000;

/// What a form says before its files.
#[derive(Clone, Debug, Default)]
struct Terms {
    redirect: String,
    max_file_size: String,
    max_file_count: String,
    expires: String,
    signature: String,
    headers: HeaderMap,
}

impl Terms {
    fn take(&mut self, name: &str, value: String) {
        match name {
            "redirect" => self.redirect = value,
            "max_file_size" => self.max_file_size = value,
            "max_file_count" => self.max_file_count = value,
            "expires" => self.expires = value,
            "signature" => self.signature = value,
            "x_delete_at" | "x_delete_after" => {
                let name = HeaderName::try_from(name.replace('_', "-"));
                if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
                    self.headers.insert(name, value);
                }
            }
            _ => {}
        }
    }
}

/// A verified form's limits.
struct Limits {
    size: u64,
    count: usize,
}

/// Whether a request is such a form.
pub(crate) fn is_form(ask: &Ask) -> bool {
    ask.method == Method::POST
        && ask.path.container.is_some()
        && ask.principal.is_none()
        && ask.header("content-type").is_some_and(|kind| boundary(kind).is_some())
}

fn refused(status: StatusCode, why: &str) -> Refused {
    refuse_with(status, format!("FormPost: {why}"))
}

/// Takes a form. Its own fields say where the browser goes next, also after a refusal.
pub(crate) async fn take(ask: &mut Ask) -> Answer {
    let boundary = ask.header("content-type").and_then(boundary).unwrap_or_default();
    let most = ask.swift.store.options().body_bytes_max;
    let form = Arc::new(Mutex::new(Form::new(ask.body(u64::MAX), &boundary)));
    let mut terms = Terms::default();
    let taken = files(ask, &form, &mut terms, most).await;
    let (status, why) = match &taken {
        Ok(()) => (StatusCode::CREATED, String::new()),
        Err(refused) => (refused.status, reason(refused)),
    };
    if terms.redirect.is_empty() || status == StatusCode::UNAUTHORIZED {
        return match taken {
            Ok(()) => Ok(Reply::text(StatusCode::CREATED, TEXT, "201 Created")),
            Err(refused) => Err(refused),
        };
    }
    let join = if terms.redirect.contains('?') { '&' } else { '?' };
    let place = format!(
        "{}{join}status={}&message={}",
        terms.redirect,
        status.as_u16(),
        quote(&why)
    );
    Ok(Reply::new(StatusCode::SEE_OTHER).with("location", place))
}

fn reason(refused: &Reply) -> String {
    match &refused.body {
        super::reply::Content::Whole(bytes) if !bytes.starts_with(b"<") => String::from_utf8_lossy(bytes).into_owned(),
        _ => refused.status.canonical_reason().unwrap_or_default().to_owned(),
    }
}

async fn files(ask: &mut Ask, form: &Arc<Mutex<Form>>, terms: &mut Terms, most: u64) -> Result<(), Refused> {
    let broken = |error| from_store(store::StoreError::Body(error));
    let mut limits = None;
    let (mut stored, mut fields) = (0, 0);
    let mut outer: Option<Arc<Ask>> = None;
    loop {
        let field = form.lock().await.next().await.map_err(broken)?;
        let Some(field) = field else { break };
        fields += 1;
        if fields > FIELDS_MAX {
            return Err(refused(StatusCode::BAD_REQUEST, "too many fields"));
        }
        let Some(filename) = field.filename.clone() else {
            let value = form.lock().await.text(FIELD_BYTES_MAX).await.map_err(broken)?;
            terms.take(&field.name, value);
            continue;
        };
        if limits.is_none() {
            limits = Some(check(ask, terms).await?);
        }
        let Some(limits) = &limits else { break };
        if filename.is_empty() {
            continue;
        }
        if stored >= limits.count {
            return Err(refused(StatusCode::BAD_REQUEST, "max_file_count exceeded"));
        }
        let base = match &outer {
            Some(base) => base,
            None => outer.insert(Arc::new(ask.inner(Method::PUT, ask.path.clone(), HeaderMap::new()))),
        };
        store_file(base, form, &field, &filename, &terms.headers, limits.size.min(most)).await?;
        stored += 1;
    }
    if stored == 0 {
        return Err(refused(StatusCode::BAD_REQUEST, "no files to process"));
    }
    Ok(())
}

async fn check(ask: &Ask, terms: &Terms) -> Result<Limits, Refused> {
    let expires: u64 = terms
        .expires
        .parse()
        .map_err(|_| refused(StatusCode::BAD_REQUEST, "expired not an integer"))?;
    if expires < ask.now_ms / 1000 {
        return Err(refused(StatusCode::UNAUTHORIZED, "Form Expired"));
    }
    let size = terms.max_file_size.parse();
    let size = size.map_err(|_| refused(StatusCode::BAD_REQUEST, "max_file_size not an integer"))?;
    let count = terms.max_file_count.parse();
    let count = count.map_err(|_| refused(StatusCode::BAD_REQUEST, "max_file_count not an integer"))?;
    let wrong = || refused(StatusCode::UNAUTHORIZED, "Invalid Signature");
    let signature = Signature::parse(&terms.signature).ok_or_else(wrong)?;
    let path = unquote(&ask.raw_path).ok_or_else(wrong)?;
    let text = format!(
        "{path}\n{}\n{}\n{}\n{}",
        terms.redirect, terms.max_file_size, terms.max_file_count, terms.expires
    );
    signer(ask, &signature, &[text]).await?.ok_or_else(wrong)?;
    Ok(Limits { size, count })
}

async fn store_file(
    base: &Arc<Ask>,
    form: &Arc<Mutex<Form>>,
    field: &Field,
    filename: &str,
    said: &HeaderMap,
    most: u64,
) -> Result<(), Refused> {
    let mut headers = said.clone();
    for (name, value) in [
        ("content-type", &field.content_type),
        ("content-encoding", &field.content_encoding),
    ] {
        if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    let file = filename.rsplit(['/', '\\']).next().unwrap_or(filename);
    let path = Path {
        object: Some(format!("{}{file}", base.path.object())),
        ..base.path.clone()
    };
    let ask = Arc::new(base.inner(Method::PUT, path, headers));
    let target = Target::of(&ask).await?;
    let room = target.check_quota(&ask, 0).await?;
    let put = PutObject {
        attributes: target.said.attributes.clone(),
        ..PutObject::plain()
    };
    let done = put::commit(&ask, &target, &target.said, put, content(form, room.min(most))).await;
    done.map(drop).map_err(|failed| match failed.status {
        StatusCode::PAYLOAD_TOO_LARGE => refused(StatusCode::PAYLOAD_TOO_LARGE, "max_file_size exceeded"),
        _ => failed,
    })
}

/// The content of the form's current field as a body.
fn content(form: &Arc<Mutex<Form>>, most: u64) -> Body {
    let start = (Arc::clone(form), most, false);
    futures::stream::unfold(start, |(form, left, ended)| async move {
        if ended {
            return None;
        }
        let piece = form.lock().await.piece().await;
        match piece {
            Ok(None) => None,
            Ok(Some(bytes)) => match left.checked_sub(bytes.len() as u64) {
                Some(left) => Some((Ok(bytes), (form, left, false))),
                None => {
                    let error = store::BodyError {
                        code: super::reply::TOO_LARGE,
                        message: "the file is too large".to_owned(),
                    };
                    Some((Err(error), (form, 0, true)))
                }
            },
            Err(error) => Some((Err(error), (form, left, true))),
        }
    })
    .boxed()
}
