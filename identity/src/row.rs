//! The records as they lie in the system shard.
//!
//! ```text
//! value = format (1 byte) | row
//! format 1: postcard, as releases before domains and users wrote projects and access keys; only read
//! format 2: JSON
//! ```
//! Names that begin with `_` are identity's own and never shown to clients.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::IdentityError;
use crate::seal::Sealed;

const FORMAT_POSTCARD: u8 = 1;
const FORMAT_JSON: u8 = 2;

pub(crate) const ACCESS_KEYS: &str = "access-keys";
pub(crate) const ACCESS_RULES: &str = "access-rules";
pub(crate) const APPLICATION_CREDENTIALS: &str = "application-credentials";
pub(crate) const ASSIGNMENTS: &str = "assignments";
pub(crate) const CREDENTIALS: &str = "credentials";
pub(crate) const DOMAINS: &str = "domains";
pub(crate) const ENDPOINTS: &str = "endpoints";
pub(crate) const GROUPS: &str = "groups";
pub(crate) const IMPLIED_ROLES: &str = "implied-roles";
pub(crate) const LIMITS: &str = "limits";
pub(crate) const LOCKOUTS: &str = "lockouts";
pub(crate) const MEMBERS: &str = "group-members";
pub(crate) const NAMES: &str = "identity-names";
pub(crate) const PROJECTS: &str = "projects";
pub(crate) const REGIONS: &str = "regions";
pub(crate) const REGISTERED_LIMITS: &str = "registered-limits";
pub(crate) const REVOCATIONS: &str = "token-revocations";
pub(crate) const ROLES: &str = "roles";
pub(crate) const SEEDS: &str = "identity-seeds";
pub(crate) const SERVICES: &str = "services";
pub(crate) const TOKEN_KEYS: &str = "token-keys";
pub(crate) const TRUSTS: &str = "trusts";
pub(crate) const USERS: &str = "users";

/// The domain that exists from the beginning.
pub(crate) const DEFAULT_DOMAIN: &str = "default";

/// A project as format 1 has it.
#[derive(Serialize, Deserialize)]
pub(crate) struct ProjectRowV1 {
    pub(crate) name: String,
    pub(crate) created_ms: u64,
}

/// An access key as format 1 has it.
#[derive(Serialize, Deserialize)]
pub(crate) struct AccessKeyRowV1 {
    pub(crate) project: String,
    pub(crate) description: String,
    pub(crate) created_ms: u64,
    pub(crate) secret: Sealed,
}

/// The bytes of a record.
pub(crate) fn encode(row: &impl Serialize) -> Bytes {
    let mut bytes = vec![FORMAT_JSON];
    serde_json::to_writer(&mut bytes, row).expect("a row of strings and numbers always encodes into memory");
    bytes.into()
}

/// Reads the bytes of a record.
pub(crate) fn decode<T: DeserializeOwned>(table: &str, key: &str, bytes: &[u8]) -> Result<T, IdentityError> {
    let unreadable = |why| IdentityError::Unreadable {
        what: format!("{table}/{key}"),
        why,
    };
    match bytes.split_first() {
        Some((&FORMAT_JSON, rest)) => serde_json::from_slice(rest).map_err(|_| unreadable("it is damaged")),
        Some((&FORMAT_POSTCARD, rest)) => {
            let row = first_format(table, rest).ok_or_else(|| unreadable("it is damaged"))?;
            serde_json::from_value(row).map_err(|_| unreadable("it is damaged"))
        }
        Some(_) => Err(unreadable("its format is not known to this release")),
        None => Err(unreadable("it is empty")),
    }
}

/// A row of format 1 as format 2 would say it.
fn first_format(table: &str, bytes: &[u8]) -> Option<Value> {
    match table {
        PROJECTS => {
            let row: ProjectRowV1 = postcard::from_bytes(bytes).ok()?;
            Some(json!({
                "name": row.name, "domain_id": DEFAULT_DOMAIN, "parent_id": DEFAULT_DOMAIN, "enabled": true,
                "description": "", "is_domain": false, "tags": [], "options": {}, "_created_ms": row.created_ms,
            }))
        }
        ACCESS_KEYS => {
            let row: AccessKeyRowV1 = postcard::from_bytes(bytes).ok()?;
            Some(json!({
                "project": row.project, "description": row.description, "created_ms": row.created_ms,
                "secret": row.secret.to_text(),
            }))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
