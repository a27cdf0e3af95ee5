//! Listings of containers and objects: their parameters, and their three forms.

use std::fmt::Write;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::format::Format;
use super::limits::LISTING_MAX;
use super::reply::{Refused, refuse_with};
use super::request::Ask;
use super::timestamp::iso;

/// What part of a listing is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) prefix: String,
    pub(crate) delimiter: Option<String>,
    pub(crate) marker: Option<String>,
    pub(crate) end_marker: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) reverse: bool,
    pub(crate) limit: usize,
}

impl Page {
    /// Reads a request's parameters.
    pub(crate) fn of(ask: &Ask) -> Result<Self, Refused> {
        let text = |name: &str| ask.query.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let limit = match ask.query.get("limit").filter(|limit| !limit.is_empty()) {
            None => LISTING_MAX,
            Some(limit) => limit
                .parse()
                .ok()
                .filter(|limit| *limit <= LISTING_MAX)
                .ok_or_else(too_long)?,
        };
        Ok(Self {
            prefix: text("prefix").unwrap_or_default(),
            delimiter: text("delimiter"),
            marker: text("marker"),
            end_marker: text("end_marker"),
            path: ask.query.get("path").map(str::to_owned),
            reverse: ask.query.says_yes("reverse"),
            limit,
        })
    }

    /// Whether a name lies beyond the page's end, seen in the direction of the listing.
    pub(crate) fn ends_before(&self, name: &str) -> bool {
        match &self.end_marker {
            None => false,
            Some(end) if self.reverse => name <= end.as_str(),
            Some(end) => name >= end.as_str(),
        }
    }
}

fn too_long() -> Refused {
    refuse_with(
        StatusCode::PRECONDITION_FAILED,
        format!("Maximum limit is {LISTING_MAX}"),
    )
}

/// One line of a listing: a subdirectory, or a thing with its properties.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    Subdir(String),
    Container {
        name: String,
        count: u64,
        bytes: u64,
        modified_ms: u64,
        policy: String,
    },
    Object(Box<ObjectEntry>),
}

/// An object in a listing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ObjectEntry {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) hash: String,
    pub(crate) content_type: String,
    pub(crate) modified_ms: u64,
    /// What only some objects have, in the order of their names.
    pub(crate) more: Vec<(&'static str, Value)>,
}

impl Entry {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Subdir(name) | Self::Container { name, .. } => name,
            Self::Object(object) => &object.name,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Subdir(name) => json!({ "subdir": name }),
            Self::Container {
                name,
                count,
                bytes,
                modified_ms,
                policy,
            } => json!({
                "name": name, "count": count, "bytes": bytes, "last_modified": iso(*modified_ms),
                "storage_policy": policy,
            }),
            Self::Object(object) => {
                let mut map = Map::new();
                map.insert("name".into(), json!(object.name));
                map.insert("bytes".into(), json!(object.bytes));
                map.insert("hash".into(), json!(object.hash));
                map.insert("content_type".into(), json!(object.content_type));
                map.insert("last_modified".into(), json!(iso(object.modified_ms)));
                for (name, value) in &object.more {
                    map.insert((*name).to_owned(), value.clone());
                }
                Value::Object(map)
            }
        }
    }

    fn xml(&self, to: &mut String) {
        match self {
            Self::Subdir(name) => {
                let name = escape(name);
                let _ = write!(to, "<subdir name=\"{name}\"><name>{name}</name></subdir>");
            }
            Self::Container {
                name,
                count,
                bytes,
                modified_ms,
                ..
            } => {
                let (name, modified) = (escape(name), iso(*modified_ms));
                let _ = write!(
                    to,
                    "<container><name>{name}</name><count>{count}</count><bytes>{bytes}</bytes>\
                     <last_modified>{modified}</last_modified></container>"
                );
            }
            Self::Object(object) => {
                let (name, kind) = (escape(&object.name), escape(&object.content_type));
                let (hash, bytes, modified) = (&object.hash, object.bytes, iso(object.modified_ms));
                let _ = write!(
                    to,
                    "<object><name>{name}</name><hash>{hash}</hash><bytes>{bytes}</bytes>\
                     <content_type>{kind}</content_type><last_modified>{modified}</last_modified></object>"
                );
            }
        }
    }
}

/// A listing in its form. `of` is the kind and name of what is listed.
pub(crate) fn render(entries: &[Entry], format: Format, of: (&str, &str)) -> Bytes {
    let text = match format {
        Format::Text => entries.iter().fold(String::new(), |mut text, entry| {
            text.push_str(entry.name());
            text.push('\n');
            text
        }),
        Format::Json => Value::Array(entries.iter().map(Entry::json).collect()).to_string(),
        Format::Xml => {
            let (kind, name) = of;
            let mut text = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{kind} name=\"{}\">",
                escape(name)
            );
            entries.iter().for_each(|entry| entry.xml(&mut text));
            let _ = write!(text, "</{kind}>");
            text
        }
    };
    text.into()
}

/// Text for XML. What XML cannot hold at all becomes a question mark.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' | '\r' => {
                let _ = write!(escaped, "&#{};", character as u32);
            }
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_shows_the_same() {
        let object = ObjectEntry {
            name: "a<b".into(),
            bytes: 3,
            hash: "h".into(),
            content_type: "t".into(),
            modified_ms: 1_400_000_000_000,
            more: Vec::new(),
        };
        let entries = [Entry::Object(Box::new(object)), Entry::Subdir("d/".into())];
        assert_eq!(render(&entries, Format::Text, ("container", "c")), "a<b\nd/\n");
        let json: Value = serde_json::from_slice(&render(&entries, Format::Json, ("container", "c"))).expect("JSON");
        assert_eq!(json[0]["last_modified"], "2014-05-13T16:53:20.000000");
        assert_eq!(json[1], json!({"subdir": "d/"}));
        let xml = render(&entries, Format::Xml, ("container", "c\"d"));
        let xml = std::str::from_utf8(&xml).expect("UTF-8");
        assert!(
            xml.contains("<container name=\"c&quot;d\"><object><name>a&lt;b</name>"),
            "{xml}"
        );
        assert!(
            xml.ends_with("<subdir name=\"d/\"><name>d/</name></subdir></container>"),
            "{xml}"
        );
    }
}
