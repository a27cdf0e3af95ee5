//! Containers as web sites: an index page for directories, listings, pages for errors. For visitors without a token, with
//! `X-Web-Mode: true`, or with a URL that is signed for a prefix: its signature then stands in every link.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};

use super::authorize::may_read;
use super::listing::{Entry, Page, escape};
use super::objects;
use super::path::{Path, quote};
use super::read;
use super::reply::{Answer, Content, Refused, Reply, not_found, refuse};
use super::request::{Ask, Container, is_true};
use super::timestamp::http_date;

const INDEX: &str = "x-container-meta-web-index";
const ERROR: &str = "x-container-meta-web-error";
const LISTINGS: &str = "x-container-meta-web-listings";
const LISTINGS_CSS: &str = "x-container-meta-web-listings-css";
const LISTINGS_LABEL: &str = "x-container-meta-web-listings-label";
const DIRECTORY_TYPE: &str = "x-container-meta-web-directory-type";

/// Whether a request is a visitor's.
fn is_visit(ask: &Ask) -> bool {
    let reads = matches!(ask.method, Method::GET | Method::HEAD);
    let wanted = ask.principal.is_none() || ask.header("x-web-mode").is_some_and(is_true);
    let signed_for_many = ask.by_signature.is_none() || ask.query.has("temp_url_prefix");
    reads && wanted && signed_for_many && ask.path.container.is_some()
}

/// Answers a visit to a container that is a web site; `None`: the request is something else.
pub(crate) async fn visit(ask: &Arc<Ask>) -> Option<Answer> {
    if !is_visit(ask) {
        return None;
    }
    let container = ask.find_container().await.ok()??;
    let settings = &container.settings;
    let site = [INDEX, ERROR, LISTINGS]
        .into_iter()
        .any(|name| settings.get(name).is_some());
    if !site {
        return None;
    }
    let answer = match &ask.path.object {
        None => directory(ask, &container, "").await,
        Some(_) => page(ask, &container).await,
    };
    Some(match answer {
        Err(refused) if ask.by_signature.is_none() => Err(error_page(ask, &container, refused).await),
        answer => answer,
    })
}

fn object_ask(ask: &Ask, object: &str) -> Arc<Ask> {
    let path = Path {
        object: Some(object.to_owned()),
        ..ask.path.clone()
    };
    Arc::new(ask.inner(ask.method.clone(), path, ask.headers.clone()))
}

async fn fetch(ask: &Ask, object: &str) -> Answer {
    let inner = object_ask(ask, object);
    if !may_read(ask, &inner).await? {
        return Err(super::authorize::denied(ask));
    }
    read::show(&inner).await
}

/// A path that names an object, or a directory without its slash.
async fn page(ask: &Arc<Ask>, container: &Arc<Container>) -> Answer {
    let object = ask.path.object();
    let refused = match fetch(ask, object).await {
        Ok(reply) if is_directory(container, &reply) => not_found(),
        Err(refused) if refused.status == StatusCode::NOT_FOUND => refused,
        answer => return answer,
    };
    if object.ends_with('/') {
        return directory(ask, container, object).await;
    }
    let below = objects::below_any(ask, container, &format!("{object}/")).await?;
    if below { Ok(moved(ask)) } else { Err(refused) }
}

/// Objects that only stand for directories.
fn is_directory(container: &Container, reply: &Reply) -> bool {
    let kind = container
        .settings
        .get(DIRECTORY_TYPE)
        .unwrap_or("application/directory");
    let told = reply
        .headers
        .get("content-type")
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    told == kind && reply.length().unwrap_or(0) <= 1
}

fn moved(ask: &Ask) -> Reply {
    let host = ask.header("host").unwrap_or("localhost");
    let location = format!("http://{host}{}/{}", ask.raw_path, signature(ask));
    Reply::new(StatusCode::MOVED_PERMANENTLY).with("location", location)
}

/// The signature of the request as the query of a link; empty without one.
fn signature(ask: &Ask) -> String {
    if ask.by_signature.is_none() {
        return String::new();
    }
    let names = [
        "temp_url_prefix",
        "temp_url_expires",
        "temp_url_sig",
        "temp_url_ip_range",
    ];
    let given = names
        .iter()
        .filter_map(|name| Some(format!("{name}={}", quote(ask.query.get(name)?))));
    let mut query = format!("?{}", given.collect::<Vec<_>>().join("&"));
    if ask.query.has("inline") {
        query.push_str("&inline");
    }
    query
}

/// The index page of a directory, else its listing.
async fn directory(ask: &Arc<Ask>, container: &Arc<Container>, prefix: &str) -> Answer {
    if !ask.raw_path.ends_with('/') {
        return Ok(moved(ask));
    }
    if let Some(index) = container.settings.get(INDEX) {
        match fetch(ask, &format!("{prefix}{index}")).await {
            Err(refused) if refused.status == StatusCode::NOT_FOUND => {}
            answer => return answer,
        }
    }
    if !container.settings.get(LISTINGS).is_some_and(is_true) {
        return Err(if may_read(ask, &the_container(ask)).await? {
            not_found()
        } else {
            super::authorize::denied(ask)
        });
    }
    listing(ask, container, prefix).await
}

/// The same request for the container itself.
fn the_container(ask: &Ask) -> Ask {
    let path = Path {
        object: None,
        ..ask.path.clone()
    };
    ask.inner(Method::GET, path, ask.headers.clone())
}

async fn listing(ask: &Arc<Ask>, container: &Arc<Container>, prefix: &str) -> Answer {
    if !may_read(ask, &the_container(ask)).await? {
        return Err(super::authorize::denied(ask));
    }
    let page = Page {
        prefix: prefix.to_owned(),
        delimiter: Some("/".to_owned()),
        limit: super::limits::LISTING_MAX,
        ..Page::default()
    };
    let entries = objects::list(ask, container, &page).await?;
    if entries.is_empty() && !prefix.is_empty() {
        return Err(not_found());
    }
    let text = html(ask, container, prefix, &entries);
    let mut reply = Reply::new(StatusCode::OK).with("content-type", "text/html; charset=UTF-8");
    if ask.by_signature.is_some() {
        reply.set("content-disposition", "inline");
    }
    reply.body = Content::Whole(text.into());
    Ok(reply)
}

fn html(ask: &Ask, container: &Container, prefix: &str, entries: &[Entry]) -> String {
    let path = super::path::unquote(&ask.raw_path).unwrap_or_else(|| ask.raw_path.clone());
    let label = match container.settings.get(LISTINGS_LABEL) {
        Some(label) => format!("{label}/{prefix}"),
        None => path,
    };
    let (title, own) = (escape(&label), format!("{}/", quote(ask.path.container())));
    let signature = escape(&signature(ask));
    let style = match container.settings.get(LISTINGS_CSS) {
        Some(css) => {
            let up = "../".repeat(prefix.matches('/').count());
            let href = if css.starts_with("http") || css.starts_with('/') {
                css.to_owned()
            } else {
                format!("{up}{}", quote(css))
            };
            format!(
                "<link rel=\"stylesheet\" type=\"text/css\" href=\"{}\" />",
                escape(&href)
            )
        }
        None => "<style>td { padding-right: 2em } .colsize { text-align: right }</style>".to_owned(),
    };
    let mut rows = String::new();
    let signed_for = ask.query.get("temp_url_prefix").unwrap_or_default();
    if prefix.len() > signed_for.len() {
        rows.push_str(&format!(
            "<tr class=\"item subdir\"><td class=\"colname\"><a href=\"../{signature}\">../</a></td><td></td><td></td></tr>\n"
        ));
    }
    for entry in entries {
        let name = entry.name().strip_prefix(prefix).unwrap_or(entry.name());
        let (href, shown) = (quote(name), escape(name));
        let href = format!("./{href}{signature}");
        match entry {
            Entry::Object(object) => rows.push_str(&format!(
                "<tr class=\"item\"><td class=\"colname\"><a href=\"{href}\">{shown}</a></td>\
                 <td class=\"colsize\">{}</td><td class=\"coldate\">{}</td></tr>\n",
                object.bytes,
                http_date(object.modified_ms)
            )),
            _ => rows.push_str(&format!(
                "<tr class=\"item subdir\"><td class=\"colname\"><a href=\"{href}\">{shown}</a></td><td></td><td></td></tr>\n"
            )),
        }
    }
    let place = escape(&format!("{own}{}", quote(prefix)));
    format!(
        "<!DOCTYPE html>\n<html><head><title>Listing of {title}</title>\n<!-- {place} -->\n{style}</head>\n\
         <body><h1 id=\"title\">Listing of {title}</h1>\n<table id=\"listing\">\n\
         <tr id=\"heading\"><th class=\"colname\">Name</th><th class=\"colsize\">Size</th><th class=\"coldate\">Date</th></tr>\n\
         {rows}</table></body></html>\n"
    )
}

/// The container's own page for an error, under the error's status.
async fn error_page(ask: &Arc<Ask>, container: &Container, refused: Refused) -> Refused {
    let Some(suffix) = container.settings.get(ERROR) else {
        return refused;
    };
    let inner = ask.inner(
        Method::GET,
        Path {
            object: Some(format!("{}{suffix}", refused.status.as_u16())),
            ..ask.path.clone()
        },
        HeaderMap::new(),
    );
    if !may_read(ask, &inner).await.unwrap_or(false) {
        return refused;
    }
    match read::show(&Arc::new(inner)).await {
        Ok(reply) if reply.status == StatusCode::OK => {
            let mut page = refuse(refused.status);
            page.headers = reply.headers;
            if let Some(realm) = refused.headers.get("www-authenticate") {
                page.headers.insert("www-authenticate", realm.clone());
            }
            page.body = reply.body;
            page
        }
        _ => refused,
    }
}
