//! Bodies against the fields of a kind, and rows back to documents.

use serde_json::{Value, json};

use super::kinds::{Field, Given, Kind, Shape};
use crate::model::Document;
use crate::refusal::Refusal;

/// The longest text of a field, in bytes.
const TEXT_BYTES_MAX: usize = 65_535;
/// The most fields of one document, and tags of one project.
const FIELDS_MAX: usize = 80;
/// The longest tag, in characters.
const TAG_CHARS_MAX: usize = 255;

/// The object under `name` in a body.
pub(crate) fn inner<'a>(body: &'a Value, name: &str) -> Result<&'a Document, Refusal> {
    let object = body.as_object().and_then(|body| body.get(name));
    match object {
        Some(Value::Object(object)) if object.len() <= FIELDS_MAX => Ok(object),
        Some(Value::Object(_)) => Err(Refusal::invalid(name, "too many properties")),
        Some(_) => Err(Refusal::invalid(name, "it is not of type 'object'")),
        None => Err(Refusal::BadRequest(format!("'{name}' is a required property"))),
    }
}

/// A new row out of a body.
pub(crate) fn created(kind: &Kind, given: &Document) -> Result<Document, Refusal> {
    for field in kind.fields {
        if field.given == Given::Required && !given.contains_key(field.name) {
            return Err(Refusal::BadRequest(format!("'{}' is a required property", field.name)));
        }
    }
    let mut row = Document::new();
    merge(kind, &mut row, given)?;
    Ok(row)
}

/// Changes a row as a body says; what may not change must be as it is.
pub(crate) fn patched(kind: &Kind, row: &Document, given: &Document) -> Result<Document, Refusal> {
    for field in kind.fields.iter().filter(|field| field.given == Given::Fixed) {
        let same = given
            .get(field.name)
            .is_none_or(|new| row.get(field.name).unwrap_or(&Value::Null) == new);
        if !same {
            return Err(Refusal::BadRequest(format!(
                "Cannot change {} {}.",
                kind.called, field.name
            )));
        }
    }
    let mut row = row.clone();
    merge(kind, &mut row, given)?;
    Ok(row)
}

fn merge(kind: &Kind, row: &mut Document, given: &Document) -> Result<(), Refusal> {
    for (name, value) in given {
        match kind.fields.iter().find(|field| field.name == name) {
            Some(field) => check(field, value)?,
            None if matches!(name.as_str(), "id" | "links") => continue,
            None if name.starts_with('_') => return Err(Refusal::invalid(name, "the name may not begin with '_'")),
            None if kind.keeps_unknown => {}
            None => {
                return Err(Refusal::BadRequest(format!(
                    "Additional properties are not allowed ('{name}' was unexpected)"
                )));
            }
        }
        row.insert(name.clone(), value.clone());
    }
    Ok(())
}

fn check(field: &Field, value: &Value) -> Result<(), Refusal> {
    let refused = |why: &str| Err(Refusal::invalid(field.name, why));
    match (field.shape, value) {
        (Shape::Name(most), Value::String(text)) => match text.chars().count() {
            0 => refused("'' is too short"),
            count if count > most => refused("it is too long"),
            _ if text.trim().is_empty() => refused("it does not match '[\\S]+'"),
            _ => Ok(()),
        },
        (Shape::Text, Value::String(text)) if text.len() > TEXT_BYTES_MAX => refused("it is too long"),
        (Shape::Text, Value::String(_) | Value::Null) | (Shape::Bool, Value::Bool(_)) => Ok(()),
        (Shape::IdOrNull, Value::Null) | (Shape::Options, Value::Object(_)) => Ok(()),
        (Shape::Id | Shape::IdOrNull, Value::String(text)) => {
            if is_id(text) {
                Ok(())
            } else {
                refused("it does not match '^[a-zA-Z0-9-_.]+$'")
            }
        }
        (Shape::Limit, Value::Number(number)) => match number.as_i64() {
            Some(limit) if (-1..=0x7FFF_FFFF).contains(&limit) => Ok(()),
            _ => refused("it is not between -1 and 2147483647"),
        },
        (Shape::Interface, Value::String(text)) => match text.as_str() {
            "public" | "internal" | "admin" => Ok(()),
            _ => refused("it is not one of ['admin', 'internal', 'public']"),
        },
        (Shape::Url, Value::String(text)) => {
            let web = text.starts_with("http://") || text.starts_with("https://");
            if web && text.len() <= 2048 && !text.contains(char::is_whitespace) {
                Ok(())
            } else {
                refused("it is not a URL")
            }
        }
        (Shape::Tags, Value::Array(tags)) => check_tags(field.name, tags),
        _ => refused("it has the wrong type"),
    }
}

pub(crate) fn check_tags(field: &str, tags: &[Value]) -> Result<(), Refusal> {
    if tags.len() > FIELDS_MAX {
        return Err(Refusal::invalid(field, "there are too many"));
    }
    tags.iter().try_for_each(|tag| match tag.as_str() {
        Some(tag) if is_tag(tag) => Ok(()),
        _ => Err(Refusal::invalid(
            field,
            "a tag has 1 to 255 characters, without ',' and '/'",
        )),
    })
}

pub(crate) fn is_tag(tag: &str) -> bool {
    (1..=TAG_CHARS_MAX).contains(&tag.chars().count()) && !tag.contains([',', '/'])
}

/// Whether a text has the form of an id.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A row as clients see it: with its id and link, without what is identity's own.
pub(crate) fn shown(kind: &Kind, id: &str, row: &Document, base: &str) -> Value {
    let mut shown: Document = row
        .iter()
        .filter(|(name, _)| !name.starts_with('_'))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    shown.insert("id".into(), json!(id));
    let name = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
    shown.insert(
        "links".into(),
        json!({ "self": format!("{base}/v3/{}/{name}", kind.many).replace("%2D", "-").replace("%5F", "_") }),
    );
    Value::Object(shown)
}

/// A text field of a row.
pub(crate) fn text<'a>(row: &'a Document, name: &str) -> Option<&'a str> {
    row.get(name).and_then(Value::as_str)
}

/// A moment as Keystone writes it: microseconds, UTC.
pub(crate) fn moment(ms: u64) -> String {
    let nanos = i128::from(ms) * 1_000_000;
    let Ok(time) = time::OffsetDateTime::from_unix_timestamp_nanos(nanos) else {
        return String::new();
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.microsecond()
    )
}

/// Reads a moment: `YYYY-MM-DDThh:mm:ss[.ffffff][Z]`, UTC.
pub(crate) fn parse_moment(text: &str) -> Option<u64> {
    let text = if text.ends_with('Z') || text.contains('+') {
        text.to_owned()
    } else {
        format!("{text}Z")
    };
    let time = time::OffsetDateTime::parse(&text, &time::format_description::well_known::Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::super::kinds::{PROJECT, REGISTERED_LIMIT, USER};
    use super::*;

    fn object(value: Value) -> Document {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn moments_read_back() {
        assert_eq!(moment(1_700_000_000_123), "2023-11-14T22:13:20.123000Z");
        for text in [
            "2023-11-14T22:13:20.123000Z",
            "2023-11-14T22:13:20.123",
            "2023-11-14T23:13:20.123+01:00",
        ] {
            assert_eq!(parse_moment(text), Some(1_700_000_000_123), "{text}");
        }
        assert_eq!(parse_moment("tomorrow"), None);
    }

    #[test]
    fn bodies_without_form_are_refused() {
        for body in [
            json!({}),
            json!({ "name": "" }),
            json!({ "name": "  " }),
            json!({ "name": 5 }),
            json!({ "name": "x".repeat(65) }),
            json!({ "name": "p", "enabled": "yes" }),
            json!({ "name": "p", "domain_id": "a/b" }),
            json!({ "name": "p", "tags": ["a,b"] }),
            json!({ "name": "p", "_created_ms": 1 }),
        ] {
            assert!(created(&PROJECT, &object(body.clone())).is_err(), "{body}");
        }
        let limit = json!({ "service_id": "s", "resource_name": "r", "default_limit": 1, "other": 2 });
        assert!(created(&REGISTERED_LIMIT, &object(limit)).is_err());
    }

    #[test]
    fn own_fields_are_never_shown_and_fixed_ones_never_change() {
        let row = object(json!({ "name": "u", "domain_id": "d", "_password_hash": "h" }));
        let shown = shown(&USER, "u-1", &row, "http://h");
        assert_eq!(shown["links"]["self"], "http://h/v3/users/u-1");
        assert!(shown.get("_password_hash").is_none());
        assert!(patched(&USER, &row, &object(json!({ "domain_id": "e" }))).is_err());
        assert!(patched(&USER, &row, &object(json!({ "domain_id": "d", "email": "x@y" }))).is_ok());
    }
}
