//! Names that are unique within something: a record of their own says who has one.
//!
//! ```text
//! table "identity-names"   key = {kind}/{within}/{name}   value = { "id", "taken_ms" }
//! ```
//! The name is taken before its owner's record is written and given back after it is removed. A name whose owner never
//! came (its maker died in between) may be taken over after [`TAKEOVER_MS`]: by then no command of its maker is on its
//! way any more.

use crate::error::IdentityError;
use crate::model::{Document, NameRow};
use crate::records::Records;
use crate::row::NAMES;

/// After how long a name without an owner is free, milliseconds; longer than a command may be on its way.
const TAKEOVER_MS: u64 = 30_000;
/// Longer names are found by their hash.
const PLAIN_BYTES_MAX: usize = 400;

/// A name's key. `within` is a domain, a user, or nothing.
fn key(kind: &str, within: &str, name: &str) -> String {
    if name.len() > PLAIN_BYTES_MAX {
        format!("{kind}/{within}/~{}", blake3::hash(name.as_bytes()).to_hex())
    } else {
        format!("{kind}/{within}/={name}")
    }
}

/// Takes a name for `id`, whose record stands (or will stand) in `table`.
///
/// # Errors
/// [`IdentityError::Taken`].
pub(crate) async fn take(
    records: &Records,
    table: &'static str,
    within: &str,
    name: &str,
    id: &str,
) -> Result<(), IdentityError> {
    let key = key(table, within, name);
    let row = NameRow {
        id: id.to_owned(),
        taken_ms: records.now_ms(),
    };
    match records.insert(NAMES, &key, &row).await {
        Err(IdentityError::Taken) => {}
        other => return other,
    }
    let Some((version, found)) = records.get::<NameRow>(NAMES, &key).await? else {
        return Err(IdentityError::Taken);
    };
    if found.id == id {
        return Ok(());
    }
    let fresh = records.now_ms() < found.taken_ms.saturating_add(TAKEOVER_MS);
    if fresh || records.get::<Document>(table, &found.id).await?.is_some() {
        return Err(IdentityError::Taken);
    }
    records.replace(NAMES, &key, version, &row).await
}

/// Who has a name; out of the copy, a miss is confirmed.
pub(crate) async fn find(
    records: &Records,
    table: &str,
    within: &str,
    name: &str,
) -> Result<Option<String>, IdentityError> {
    let row = records.peek::<NameRow>(NAMES, &key(table, within, name)).await?;
    Ok(row.map(|row| row.id))
}

/// Gives a name back, if `id` has it.
pub(crate) async fn give_back(
    records: &Records,
    table: &str,
    within: &str,
    name: &str,
    id: &str,
) -> Result<(), IdentityError> {
    let key = key(table, within, name);
    match records.get::<NameRow>(NAMES, &key).await? {
        Some((_, row)) if row.id == id => records.remove(NAMES, &key).await,
        _ => Ok(()),
    }
}
