//! What all kinds have in common: found or 404, listed with filters, made and renamed under a unique name.

use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Call;
use super::document::{inner, shown, text};
use super::kinds::Kind;
use crate::error::IdentityError;
use crate::model::Document;
use crate::names;
use crate::refusal::Refusal;

/// How often a change is tried again when somebody else changed the same row.
const CHANGE_TRIES_MAX: usize = 8;

/// Fields every listing may be filtered by, if rows have them.
const FILTERS: &[&str] = &[
    "name",
    "enabled",
    "domain_id",
    "parent_id",
    "is_domain",
    "type",
    "interface",
    "service_id",
    "region_id",
    "parent_region_id",
    "resource_name",
    "project_id",
    "user_id",
    "default_project_id",
];

/// One row.
pub(crate) async fn fetch(call: &Call, kind: &Kind, id: &str) -> Result<(u64, Document), Refusal> {
    let found = call.identity.records.get::<Document>(kind.table, id).await?;
    found.ok_or_else(|| Refusal::no_such(kind.called, id))
}

/// Whether a row is there, else 404.
pub(crate) async fn require(call: &Call, kind: &Kind, id: &str) -> Result<Document, Refusal> {
    Ok(fetch(call, kind, id).await?.1)
}

/// One row as an answer.
pub(crate) fn one(call: &Call, kind: &Kind, id: &str, row: &Document) -> Value {
    json!({ kind.one: shown(kind, id, row, &call.base) })
}

/// All rows of a kind.
pub(crate) async fn all(call: &Call, kind: &Kind) -> Result<Vec<(String, Document)>, Refusal> {
    Ok(call.identity.records.list::<Document>(kind.table, "").await?)
}

/// Rows as a listing, filtered by the query.
pub(crate) fn listing(call: &Call, kind: &Kind, rows: Vec<(String, Document)>) -> Answer {
    let kept = rows.into_iter().filter(|(_, row)| matches_query(call, row));
    listing_of(
        call,
        kind.many,
        kept.map(|(id, row)| shown(kind, &id, &row, &call.base)).collect(),
    )
}

/// Documents as a listing, with `limit` and `marker` of the query.
pub(crate) fn listing_of(call: &Call, many: &str, mut documents: Vec<Value>) -> Answer {
    if let Some(marker) = call.filter("marker") {
        let at = documents.iter().position(|one| one["id"] == *marker);
        documents.drain(..at.map_or(0, |at| at + 1));
    }
    let most = call.filter("limit").and_then(|limit| limit.parse::<usize>().ok());
    let mut body =
        json!({ "links": { "next": null, "previous": null, "self": format!("{}{}", call.base, call.path) } });
    if let Some(most) = most.filter(|most| *most > 0 && *most < documents.len()) {
        documents.truncate(most);
        body["truncated"] = json!(true);
        if let Some(last) = documents.last().and_then(|one| one["id"].as_str()) {
            let plain = call.path.split('?').next().unwrap_or_default();
            body["links"]["next"] = json!(format!("{}{plain}?limit={most}&marker={last}", call.base));
        }
    }
    body[many] = Value::Array(documents);
    Answer::ok(body)
}

fn matches_query(call: &Call, row: &Document) -> bool {
    call.query.iter().all(|(key, wanted)| {
        if let Some((field, how)) = key.split_once("__") {
            return text(row, field).is_none_or(|text| matches_inexactly(how, text, wanted));
        }
        if !FILTERS.contains(&key.as_str()) {
            return true;
        }
        match row.get(key) {
            Some(Value::String(text)) => text == wanted,
            Some(Value::Bool(flag)) => *flag != (wanted == "0" || wanted.eq_ignore_ascii_case("false")),
            Some(Value::Null) | None => {
                wanted.is_empty() || wanted == "null" || (key == "is_domain" && wanted != "true")
            }
            Some(_) => true,
        }
    })
}

fn matches_inexactly(how: &str, text: &str, wanted: &str) -> bool {
    let (low, wanted_low) = (text.to_lowercase(), wanted.to_lowercase());
    match how {
        "contains" => text.contains(wanted),
        "icontains" => low.contains(&wanted_low),
        "startswith" => text.starts_with(wanted),
        "istartswith" => low.starts_with(&wanted_low),
        "endswith" => text.ends_with(wanted),
        "iendswith" => low.ends_with(&wanted_low),
        _ => true,
    }
}

/// Takes a name and writes the row; the name goes back when that fails.
pub(crate) async fn make(call: &Call, kind: &Kind, within: &str, id: &str, row: &Document) -> Result<(), Refusal> {
    let records = &call.identity.records;
    let name = text(row, "name").unwrap_or_default();
    names::take(records, kind.table, within, name, id)
        .await
        .map_err(|error| taken(error, kind, name))?;
    if let Err(error) = records.insert(kind.table, id, row).await {
        if matches!(error, IdentityError::Taken) {
            names::give_back(records, kind.table, within, name, id).await?;
        }
        return Err(taken(error, kind, id));
    }
    Ok(())
}

/// Changes a row by `change`, again on the new row when somebody else was faster; the name follows. Returns when no
/// process acts on the old row any more.
pub(crate) async fn change(
    call: &Call,
    kind: &Kind,
    within: &str,
    id: &str,
    change: impl Fn(&Document) -> Result<Document, Refusal>,
) -> Result<Document, Refusal> {
    let records = &call.identity.records;
    for _ in 0..CHANGE_TRIES_MAX {
        let (version, before) = fetch(call, kind, id).await?;
        let after = change(&before)?;
        let (old, new) = (text(&before, "name"), text(&after, "name"));
        if let Some(new) = new.filter(|_| old != new) {
            names::take(records, kind.table, within, new, id)
                .await
                .map_err(|error| taken(error, kind, new))?;
        }
        match records.replace(kind.table, id, version, &after).await {
            Ok(()) => {}
            Err(IdentityError::Taken) => continue,
            Err(other) => return Err(other.into()),
        }
        if let Some(old) = old.filter(|_| old != new) {
            names::give_back(records, kind.table, within, old, id).await?;
        }
        records.settle().await;
        return Ok(after);
    }
    Err(Refusal::Conflict(format!(
        "Conflict occurred attempting to update {} - it is changed too often.",
        kind.called
    )))
}

/// Removes a row and gives its name back.
pub(crate) async fn unmake(call: &Call, kind: &Kind, within: &str, id: &str, row: &Document) -> Result<(), Refusal> {
    let records = &call.identity.records;
    records.remove(kind.table, id).await?;
    if let Some(name) = text(row, "name") {
        names::give_back(records, kind.table, within, name, id).await?;
    }
    Ok(())
}

/// The object of a body.
pub(crate) fn given<'a>(call: &'a Call, kind: &Kind) -> Result<&'a Document, Refusal> {
    inner(&call.body, kind.one)
}

/// 409 in Keystone's words.
pub(crate) fn taken(error: IdentityError, kind: &Kind, name: &str) -> Refusal {
    match error {
        IdentityError::Taken => Refusal::Conflict(format!(
            "Conflict occurred attempting to store {} - Duplicate entry found with name {name}.",
            kind.called
        )),
        other => other.into(),
    }
}

/// Whether `options.immutable` protects a row from changes other than to that option itself.
pub(crate) fn refuse_immutable(kind: &Kind, row: &Document, given: Option<&Document>) -> Result<(), Refusal> {
    let immutable =
        |row: &Document| row.get("options").and_then(|options| options.get("immutable")) == Some(&json!(true));
    let lifts = |given: &Document| {
        given.len() == 1
            && given
                .get("options")
                .is_some_and(|options| options.get("immutable") != Some(&json!(true)))
    };
    if immutable(row) && !given.is_some_and(lifts) {
        return Err(Refusal::Forbidden(format!(
            "Cannot delete or update immutable resource: {}.",
            kind.called
        )));
    }
    Ok(())
}
