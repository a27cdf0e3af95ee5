//! Static large objects: making, showing and deleting their manifests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{HeaderMap, Method, StatusCode};
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Body, Digests, PutObject, Rejected};

use super::attributes::{SLO, SLO_ETAG, SLO_PARTS, SLO_SIZE, attribute, etag_text};
use super::authorize::may_read;
use super::format::Format;
use super::large::{self, Entry};
use super::path::{Path, quote};
use super::put::{self, Target};
use super::ranges;
use super::read::{self, Seen};
use super::reply::{Answer, Content, JSON, Refused, Reply, TEXT, bad_request, explanation, refuse, refuse_with};
use super::request::Ask;
use super::timestamp::iso;

/// The longest manifest a client may send, in bytes.
pub(crate) const MANIFEST_BYTES_MAX: usize = 8 << 20;
/// The most segments of one manifest.
pub(crate) const SEGMENTS_MAX: usize = 1000;
/// The pause between two signs of life.
pub(crate) const BEAT: Duration = Duration::from_secs(10);
/// Segments looked at at once.
const LOOKS_AT_ONCE: usize = 8;
/// Segments deleted in one request, sub-manifests included.
const DELETES_MAX: usize = 10_000;

/// One line of a manifest as clients send it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    path: Option<String>,
    etag: Option<String>,
    size_bytes: Option<Value>,
    range: Option<String>,
    data: Option<String>,
}

/// A line, checked as far as it can be without looking at the segment.
#[derive(Clone, Debug)]
enum Line {
    Data {
        bytes: Vec<u8>,
    },
    Object {
        /// Its path as it was given.
        path: String,
        container: String,
        object: String,
        etag: Option<String>,
        size: Option<u64>,
        range: Option<String>,
    },
}

/// What is wrong with which segment.
type Problem = (String, String);

/// PUT with `multipart-manifest=put`. A client that asks for it is kept awake with blanks while its segments are looked
/// at; what came of it stands in the answer's body then.
pub(crate) async fn put(ask: &Arc<Ask>) -> Answer {
    if !ask.query.says_yes("heartbeat") {
        return make(ask).await;
    }
    let format = match Format::of(ask)? {
        Format::Xml => Format::Text,
        format => format,
    };
    let (ask, first) = (Arc::clone(ask), Bytes::from_static(b" "));
    let work = async move { outcome(make(&ask).await, format).told(format) }.boxed();
    let rest = futures::stream::unfold(Some(work), |work| async {
        let mut work = work?;
        match tokio::time::timeout(BEAT, &mut work).await {
            Ok(text) => Some((Ok(Bytes::from(format!("\r\n\r\n{text}"))), None)),
            Err(_) => Some((Ok(Bytes::from_static(b" ")), Some(work))),
        }
    });
    let mut reply = Reply::text(StatusCode::ACCEPTED, format.media_type(), "");
    let first = futures::stream::iter([Ok(first)]);
    reply.body = Content::Stream(first.chain(rest).boxed(), None);
    Ok(reply)
}

/// What came of a manifest, told in a body.
struct Outcome {
    status: StatusCode,
    etag: Option<String>,
    modified: Option<String>,
    body: String,
    /// Segments, and what is wrong with them.
    errors: Vec<Problem>,
}

fn outcome(answer: Answer, format: Format) -> Outcome {
    let reply = answer.unwrap_or_else(|refused| *refused);
    let header = |name: &str| Some(reply.headers.get(name)?.to_str().ok()?.to_owned());
    let (etag, modified) = (header("etag"), header("last-modified"));
    let mut body = match &reply.body {
        Content::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let mut errors = Vec::new();
    if let Some(reported) = reported(&body, format) {
        errors = reported;
        body = page_text(reply.status);
    } else if reply.status.is_client_error() && body.starts_with("<html>") {
        body = page_text(reply.status);
    }
    Outcome {
        status: reply.status,
        etag,
        modified,
        body,
        errors,
    }
}

/// What a refusal's page says, as text.
fn page_text(status: StatusCode) -> String {
    let title = status.canonical_reason().unwrap_or_default();
    format!("{title}\n{}", explanation(status))
}

/// The problems in a report's text; `None`: it is another text.
fn reported(text: &str, format: Format) -> Option<Vec<Problem>> {
    if format == Format::Json {
        let mut report: HashMap<String, Vec<Problem>> = serde_json::from_str(text).ok()?;
        return report.remove("Errors");
    }
    let lines = text.strip_prefix("Errors:\n")?.lines();
    let pairs = lines.filter_map(|line| line.rsplit_once(", "));
    Some(pairs.map(|(name, why)| (name.to_owned(), why.to_owned())).collect())
}

impl Outcome {
    fn told(&self, format: Format) -> String {
        let status = super::bulk::words(self.status);
        if format == Format::Json {
            let mut told = json!({ "Response Status": status, "Response Body": self.body, "Errors": self.errors });
            for (name, value) in [("Etag", &self.etag), ("Last Modified", &self.modified)] {
                if let Some(value) = value {
                    told[name] = json!(value);
                }
            }
            return told.to_string();
        }
        let mut text = format!("Response Status: {status}\nResponse Body: {}\n", self.body);
        for (name, value) in [("Etag", &self.etag), ("Last Modified", &self.modified)] {
            if let Some(value) = value {
                text.push_str(&format!("{name}: {value}\n"));
            }
        }
        text.push_str("Errors:\n");
        for (name, why) in &self.errors {
            text.push_str(&format!("{name}, {why}\n"));
        }
        text
    }
}

async fn make(ask: &Arc<Ask>) -> Answer {
    if ask.header("x-copy-from").is_some() {
        return Err(refuse(StatusCode::METHOD_NOT_ALLOWED));
    }
    ask.require_length()?;
    let target = Target::of(ask).await?;
    let body = ask.small_body(MANIFEST_BYTES_MAX).await?;
    let lines = parse(&body)?;
    let own = |line: &Line| {
        matches!(line, Line::Object { container, object, .. }
        if container == ask.path.container() && object == ask.path.object())
    };
    if lines.iter().any(own) {
        return Err(bad_request("A manifest cannot be one of its own segments"));
    }
    let (entries, problems) = check(ask, &lines).await?;
    if !problems.is_empty() {
        return Err(report(ask, &problems)?);
    }
    let etag = slo_etag(&entries);
    let size: u64 = entries.iter().map(length).sum();
    if let Some(promised) = ask.header("etag").filter(|promised| !promised.is_empty())
        && promised.trim_matches('"') != etag
    {
        return Err(refuse(StatusCode::UNPROCESSABLE_ENTITY));
    }
    target.check_quota(ask, size).await?;
    let manifest = MadeManifest {
        etag,
        size,
        segments: entries.len(),
        bytes: Bytes::from(serde_json::to_vec(&entries).expect("lines of strings and numbers are JSON")),
    };
    keep(ask, &target, manifest).await
}

/// A manifest that was made elsewhere, as it is kept: its segments may come later.
pub(crate) async fn put_synced(ask: &Arc<Ask>) -> Answer {
    ask.require_length()?;
    let target = Target::of(ask).await?;
    let body = ask.small_body(MANIFEST_BYTES_MAX).await?;
    let promised = ask.header("etag").map(|etag| etag.trim_matches('"').to_lowercase());
    if promised.is_some_and(|etag| etag != hex::encode(Md5::digest(&body))) {
        return Err(refuse(StatusCode::UNPROCESSABLE_ENTITY));
    }
    let entries: Vec<Entry> =
        serde_json::from_slice(&body).map_err(|_| bad_request("Manifest must be valid JSON.\n"))?;
    let stands =
        |entry: &Entry| entry.data.is_some() || super::path::container_and_object(&quote(&entry.name)).is_some();
    if entries.is_empty() || entries.len() > SEGMENTS_MAX || !entries.iter().all(stands) {
        return Err(bad_request("The manifest's lines name no segments.\n"));
    }
    let manifest = MadeManifest {
        etag: slo_etag(&entries),
        size: entries.iter().map(length).sum(),
        segments: entries.len(),
        bytes: body,
    };
    target.check_quota(ask, manifest.bytes.len() as u64).await?;
    keep(ask, &target, manifest).await
}

/// A manifest ready to be kept.
struct MadeManifest {
    /// The MD5 of its segments' tags.
    etag: String,
    /// The sum of its segments' bytes.
    size: u64,
    segments: usize,
    /// Its lines, see [`Entry`].
    bytes: Bytes,
}

async fn keep(ask: &Arc<Ask>, target: &Target, made: MadeManifest) -> Answer {
    let mut said = target.said.clone();
    said.set(SLO, "True");
    said.set(SLO_ETAG, &made.etag);
    said.set(SLO_SIZE, made.size.to_string());
    said.set(SLO_PARTS, made.segments.to_string());
    let put = PutObject {
        condition: target.condition.clone(),
        attributes: said.attributes.clone(),
        user: said.user.clone(),
        length: Some(made.bytes.len() as u64),
        finish: Box::new(|_: &Digests| Ok::<_, Rejected>(None)),
        ..PutObject::plain()
    };
    let manifest_etag = hex::encode(Md5::digest(&made.bytes));
    let body: Body = futures::stream::iter([Ok(made.bytes)]).boxed();
    let done = put::commit(ask, target, &said, put, body).await?;
    let mut reply = put::created(target, &done);
    reply.set("etag", format!("\"{}\"", made.etag));
    reply.set("x-manifest-etag", manifest_etag);
    Ok(reply)
}

fn parse(body: &[u8]) -> Result<Vec<Line>, Refused> {
    let lines: Vec<Value> = match serde_json::from_slice(body) {
        Ok(Value::Array(lines)) => lines,
        Ok(_) => return Err(bad_request("Manifest must be a list.\n")),
        Err(_) => return Err(bad_request("Manifest must be valid JSON.\n")),
    };
    if lines.len() > SEGMENTS_MAX {
        let why = format!("Number of object-backed segments must be <= {SEGMENTS_MAX}");
        return Err(refuse_with(StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    if lines.is_empty() {
        return Err(bad_request("Manifest must have at least one segment.\n"));
    }
    let mut problems = String::new();
    let mut parsed = Vec::with_capacity(lines.len());
    for (at, line) in lines.into_iter().enumerate() {
        match line_of(line) {
            Ok(line) => parsed.push(line),
            Err(why) => problems.push_str(&format!("Index {at}: {why}\n")),
        }
    }
    if !problems.is_empty() {
        return Err(bad_request(problems));
    }
    if !parsed.iter().any(|line| matches!(line, Line::Object { .. })) {
        return Err(bad_request(
            "Inline data segments require at least one object-backed segment.\n",
        ));
    }
    Ok(parsed)
}

fn line_of(line: Value) -> Result<Line, String> {
    if !line.is_object() {
        return Err("not a JSON object".into());
    }
    let wanted: Wanted = serde_json::from_value(line).map_err(|why| why.to_string())?;
    if let Some(data) = wanted.data {
        if wanted.path.is_some() || wanted.etag.is_some() || wanted.size_bytes.is_some() || wanted.range.is_some() {
            return Err("data segments have no other keys".into());
        }
        let bytes = BASE64
            .decode(data)
            .map_err(|_| "data must be valid base64".to_owned())?;
        return if bytes.is_empty() {
            Err("data must not be empty".into())
        } else {
            Ok(Line::Data { bytes })
        };
    }
    let path = wanted
        .path
        .ok_or("expected keys to include one of \"path\" or \"data\"")?;
    let (container, object) = path
        .trim_start_matches('/')
        .split_once('/')
        .filter(|(container, object)| !container.is_empty() && !object.is_empty() && !path.contains('\0'))
        .ok_or("path does not refer to an object. Path must be of the form /container/object.")?;
    let size = match wanted.size_bytes {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => Some(number.as_u64().ok_or("invalid size_bytes")?),
        Some(Value::String(text)) => Some(text.parse().map_err(|_| "invalid size_bytes".to_owned())?),
        Some(_) => return Err("invalid size_bytes".into()),
    };
    if size == Some(0) {
        return Err("too small; each segment must be at least 1 byte.".into());
    }
    let range = wanted.range.filter(|range| !range.is_empty());
    if let Some(range) = &range {
        let range = range.strip_prefix("bytes=").unwrap_or(range);
        if range.contains(',') {
            return Err("multiple ranges not allowed".into());
        }
        ranges::bounds(range).ok_or("invalid range")?;
    }
    Ok(Line::Object {
        path: path.clone(),
        container: container.to_owned(),
        object: object.to_owned(),
        etag: wanted
            .etag
            .map(|etag| etag.trim_matches('"').to_owned())
            .filter(|etag| !etag.is_empty()),
        size,
        range: range.map(|range| range.strip_prefix("bytes=").unwrap_or(&range).to_owned()),
    })
}

/// A manifest that goes to another account names segments of that account.
pub(crate) async fn check_elsewhere(target: &Arc<Ask>, seen: &Seen) -> Result<(), Refused> {
    let mut lines = Vec::new();
    for entry in large::entries(seen.reader.clone()).await? {
        if let Some((container, object)) = entry.name.trim_start_matches('/').split_once('/') {
            lines.push(Line::Object {
                path: entry.name.clone(),
                container: container.to_owned(),
                object: object.to_owned(),
                etag: Some(entry.hash).filter(|hash| !hash.is_empty()),
                size: Some(entry.bytes),
                range: entry.range,
            });
        }
    }
    let (_, problems) = check(target, &lines).await?;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(report(target, &problems)?)
    }
}

/// Looks at every segment, at each object once.
async fn check(ask: &Arc<Ask>, lines: &[Line]) -> Result<(Vec<Entry>, Vec<Problem>), Refused> {
    let mut names: Vec<(String, String)> = Vec::new();
    for line in lines {
        if let Line::Object { container, object, .. } = line
            && !names.iter().any(|(c, o)| c == container && o == object)
        {
            names.push((container.clone(), object.clone()));
        }
    }
    let looks: Vec<((String, String), Result<Look, Refused>)> = futures::stream::iter(names)
        .map(|name| async move { (name.clone(), look(ask, &name.0, &name.1).await) })
        .buffered(LOOKS_AT_ONCE)
        .collect()
        .await;
    let mut found: HashMap<(String, String), Result<Look, String>> = HashMap::new();
    for (name, look) in looks {
        match look {
            Ok(look) => drop(found.insert(name, Ok(look))),
            Err(refused) if refused.status.is_server_error() => return Err(refused),
            Err(refused) => {
                let text = format!(
                    "{} {}",
                    refused.status.as_u16(),
                    refused.status.canonical_reason().unwrap_or("")
                );
                found.insert(name, Err(text));
            }
        }
    }
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    for line in lines {
        match line {
            Line::Data { bytes } => entries.push(Entry {
                data: Some(BASE64.encode(bytes)),
                ..Entry::default()
            }),
            Line::Object {
                path,
                container,
                object,
                etag,
                size,
                range,
            } => {
                let name = format!("/{container}/{object}");
                match found.get(&(container.clone(), object.clone())) {
                    Some(Ok(look)) => match look.entry(&name, etag.as_deref(), *size, range.clone()) {
                        Ok(entry) => entries.push(entry),
                        Err(why) => problems.push((quote(path), why)),
                    },
                    Some(Err(why)) => problems.push((quote(path), why.clone())),
                    None => problems.push((quote(path), "404 Not Found".to_owned())),
                }
            }
        }
    }
    Ok((entries, problems))
}

/// What a segment is now.
struct Look {
    hash: String,
    bytes: u64,
    content_type: String,
    modified_ms: u64,
    sub_slo: bool,
}

async fn look(ask: &Arc<Ask>, container: &str, object: &str) -> Result<Look, Refused> {
    let path = Path {
        account: ask.path.account.clone(),
        container: Some(container.to_owned()),
        object: Some(object.to_owned()),
    };
    let inner = Arc::new(ask.inner(Method::HEAD, path, HeaderMap::new()));
    if !may_read(ask, &inner).await? {
        return Err(refuse(StatusCode::FORBIDDEN));
    }
    let seen = read::find(&inner, None).await?;
    let row = &seen.reader.head.object;
    Ok(Look {
        hash: read::told_etag(row),
        bytes: super::attributes::told_size(row),
        content_type: attribute(row, "content-type").unwrap_or_default().to_owned(),
        modified_ms: row.modified_ms,
        sub_slo: attribute(row, SLO).is_some(),
    })
}

impl Look {
    fn entry(&self, name: &str, etag: Option<&str>, size: Option<u64>, range: Option<String>) -> Result<Entry, String> {
        if size.is_some_and(|size| size != self.bytes) {
            return Err("Size Mismatch".into());
        }
        if etag.is_some_and(|etag| etag != self.hash) {
            return Err("Etag Mismatch".into());
        }
        if self.bytes == 0 {
            return Err("Too Small; each segment must be at least 1 byte.".into());
        }
        let range = match range {
            None => None,
            Some(range) => {
                let bounds = ranges::bounds(&range).and_then(|bounds| ranges::within(bounds, self.bytes));
                let bounds = bounds
                    .filter(|bounds| bounds.start < bounds.end)
                    .ok_or("Unsatisfiable Range")?;
                (bounds != (0..self.bytes)).then(|| format!("{}-{}", bounds.start, bounds.end - 1))
            }
        };
        Ok(Entry {
            name: name.to_owned(),
            hash: self.hash.clone(),
            bytes: self.bytes,
            range,
            content_type: self.content_type.clone(),
            last_modified: iso(self.modified_ms),
            sub_slo: self.sub_slo,
            data: None,
        })
    }
}

/// The bytes that stand in the manifest itself.
fn data(entry: &Entry) -> Option<Vec<u8>> {
    BASE64.decode(entry.data.as_ref()?).ok()
}

fn length(entry: &Entry) -> u64 {
    if let Some(data) = data(entry) {
        return data.len() as u64;
    }
    let range = entry.range.as_deref().and_then(ranges::bounds);
    let range = range.and_then(|bounds| ranges::within(bounds, entry.bytes));
    range.map_or(entry.bytes, |range| range.end - range.start)
}

/// The MD5 of the segments' tags, each with its range.
fn slo_etag(entries: &[Entry]) -> String {
    let mut digest = Md5::new();
    for entry in entries {
        match (&entry.range, data(entry)) {
            (Some(range), _) => digest.update(format!("{}:{range};", entry.hash)),
            (None, Some(data)) => digest.update(hex::encode(Md5::digest(data))),
            (None, None) => digest.update(&entry.hash),
        }
    }
    hex::encode(digest.finalize())
}

/// 400 with a list of what is wrong.
fn report(ask: &Ask, problems: &[Problem]) -> Result<Refused, Refused> {
    let format = Format::of(ask).unwrap_or(Format::Text);
    let mut reply = match format {
        Format::Json => {
            let errors: Vec<Value> = problems.iter().map(|(name, why)| json!([name, why])).collect();
            Reply::text(StatusCode::BAD_REQUEST, JSON, json!({ "Errors": errors }).to_string())
        }
        _ => {
            let lines: String = problems.iter().map(|(name, why)| format!("{name}, {why}\n")).collect();
            Reply::text(StatusCode::BAD_REQUEST, TEXT, format!("Errors:\n{lines}"))
        }
    };
    reply.set("x-static-large-object", "True");
    Ok(Box::new(reply))
}

/// GET and HEAD with `multipart-manifest=get`.
pub(crate) async fn show_manifest(ask: &Arc<Ask>, seen: &Seen) -> Answer {
    let row = &seen.reader.head.object;
    let mut reply = Reply::new(StatusCode::OK);
    super::attributes::describe(row, seen.reader.head.versioned, &mut reply.headers);
    let entries = large::entries(seen.reader.clone()).await?;
    let text = if ask.query.get("format") == Some("raw") {
        Value::Array(entries.iter().map(raw).collect()).to_string()
    } else {
        serde_json::to_string(&entries).expect("lines of strings and numbers are JSON")
    };
    if ask.query.get("format") == Some("raw") {
        reply.set("etag", hex::encode(Md5::digest(text.as_bytes())));
    } else {
        reply.set("content-type", JSON);
        reply.set("etag", etag_text(&row.etag));
    }
    if ask.method == Method::HEAD {
        reply.set("content-length", text.len().to_string());
    } else {
        reply.body = Content::Whole(text.into());
    }
    Ok(reply)
}

/// A line as a client may send it again.
fn raw(entry: &Entry) -> Value {
    if let Some(data) = &entry.data {
        return json!({ "data": data });
    }
    let mut line = json!({ "path": entry.name, "etag": entry.hash, "size_bytes": entry.bytes });
    if let (Some(range), Some(map)) = (&entry.range, line.as_object_mut()) {
        map.insert("range".into(), json!(range));
    }
    line
}

/// DELETE with `multipart-manifest=delete`: the segments, then the manifest; answered like a bulk delete.
pub(crate) async fn delete(ask: &Arc<Ask>) -> Answer {
    let seen = read::open_itself(ask, ask.query.get("version-id")).await?;
    if attribute(&seen.reader.head.object, SLO).is_none() {
        return super::change::delete(ask).await;
    }
    let mut names = Vec::new();
    let mut open = vec![seen];
    while let Some(seen) = open.pop() {
        if attribute(&seen.reader.head.object, SLO).is_some() {
            for entry in large::entries(seen.reader.clone()).await? {
                let Some((container, object)) = entry.name.trim_start_matches('/').split_once('/') else {
                    continue;
                };
                if entry.sub_slo {
                    let path = Path {
                        account: ask.path.account.clone(),
                        container: Some(container.to_owned()),
                        object: Some(object.to_owned()),
                    };
                    let inner = Arc::new(ask.inner(Method::GET, path, HeaderMap::new()));
                    match read::open_itself(&inner, None).await {
                        Ok(seen) => open.push(seen),
                        Err(refused) if refused.status == StatusCode::NOT_FOUND => {}
                        Err(refused) => return Err(refused),
                    }
                } else {
                    names.push((container.to_owned(), object.to_owned()));
                }
                if names.len() + open.len() > DELETES_MAX {
                    return Err(bad_request("Too many segments to delete"));
                }
            }
        }
        // A manifest comes after its segments.
        names.push((seen.container, seen.object));
    }
    let mut unique = Vec::with_capacity(names.len());
    let mut known = std::collections::HashSet::new();
    for name in names {
        if known.insert(name.clone()) {
            unique.push(name);
        }
    }
    // The manifest itself goes last, when nothing needs it any more.
    let own = (ask.path.container().to_owned(), ask.path.object().to_owned());
    unique.retain(|name| *name != own);
    unique.push(own);
    super::bulk::delete_all(ask, unique).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> u16 {
        parse(body.as_bytes())
            .err()
            .map_or(200, |refused| refused.status.as_u16())
    }

    #[test]
    fn malformed_manifests_are_refused() {
        for bad in [
            "",
            "{}",
            "[]",
            "[1]",
            r#"[{"path":"c"}]"#,
            r#"[{"path":"/c/"}]"#,
            r#"[{"path":"/c/o","size_bytes":0}]"#,
            r#"[{"path":"/c/o","size_bytes":-1}]"#,
            r#"[{"path":"/c/o","size_bytes":"x"}]"#,
            r#"[{"path":"/c/o","range":"5-1"}]"#,
            r#"[{"path":"/c/o","range":"1-2,3-4"}]"#,
            r#"[{"path":"/c/o","other":1}]"#,
            r#"[{"data":"!"}]"#,
            r#"[{"data":"eA=="}]"#,
            r#"[{"etag":"x"}]"#,
        ] {
            assert_eq!(refused(bad), 400, "{bad}");
        }
        assert_eq!(
            refused(r#"[{"path":"/c/o","etag":null,"size_bytes":"5","range":"-5"},{"data":"eA=="}]"#),
            200
        );
        let many = vec![r#"{"path":"/c/o"}"#; SEGMENTS_MAX + 1].join(",");
        assert_eq!(refused(&format!("[{many}]")), 413);
    }

    #[test]
    fn the_tag_covers_tags_and_ranges() {
        let entry = |range: Option<&str>| Entry {
            hash: "h".into(),
            bytes: 10,
            range: range.map(str::to_owned),
            ..Entry::default()
        };
        assert_eq!(slo_etag(&[entry(None), entry(None)]), hex::encode(Md5::digest("hh")));
        assert_eq!(slo_etag(&[entry(Some("1-2"))]), hex::encode(Md5::digest("h:1-2;")));
        assert_eq!(length(&entry(Some("1-2"))), 2);
    }
}
