//! Shadows: what identity's own records say of a directory's users and groups.
//!
//! ```text
//! id of a shadow = first 32 hex digits of BLAKE3 ( domain | kind | id in the directory ): the same on every process
//! ```

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Backend;
use super::search::{self, Person, Team};
use crate::error::IdentityError;
use crate::model::{Document, Mark};
use crate::names;
use crate::records::Records;
use crate::row::{GROUPS, MEMBERS, USERS};

/// The field with an entry's id.
const LDAP_ID: &str = "_ldap_id";

/// Whether a row is the shadow of an entry: its id in the directory.
pub(crate) fn is_shadow(row: &Document) -> Option<&str> {
    row.get(LDAP_ID).and_then(Value::as_str)
}

/// The id of a shadow.
fn id_of(domain: &str, kind: &str, id: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [domain, kind, id] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// The id that a user's shadow has or would have.
pub(crate) fn user_id(domain: &str, person: &Person) -> String {
    id_of(domain, "user", &person.id)
}

impl Backend {
    /// Brings a user's shadow and groups up to date. None: the name is that of another user of the domain.
    pub(super) async fn shadow(
        &self,
        records: &Records,
        domain: &str,
        person: &Person,
    ) -> Result<Option<(String, Document)>, IdentityError> {
        let id = user_id(domain, person);
        let wanted = json!({
            "name": person.name, "domain_id": domain, "enabled": true, "email": person.mail, LDAP_ID: person.id,
        });
        let Some(row) = keep(records, USERS, domain, &id, &wanted).await? else {
            return Ok(None);
        };
        self.keep_memberships(records, domain, &id, person).await?;
        Ok(Some((id, row)))
    }

    /// Makes the shadows of users of that name, of all without one.
    pub(crate) async fn find_users(
        &self,
        records: &Records,
        domain: &str,
        name: Option<&str>,
    ) -> Result<(), IdentityError> {
        for person in self.people(&search::users(&self.options, name)).await? {
            self.shadow(records, domain, &person).await?;
        }
        Ok(())
    }

    /// Makes the shadows of groups of that name, of all without one.
    pub(crate) async fn find_groups(
        &self,
        records: &Records,
        domain: &str,
        name: Option<&str>,
    ) -> Result<(), IdentityError> {
        for team in self.teams(&search::groups(&self.options, name)).await? {
            keep_group(records, domain, &team).await?;
        }
        Ok(())
    }

    /// Asks for every shadow's entry again; whose entry is gone is disabled, and with it tokens and keys.
    pub(super) async fn refresh(&self, records: &Records) -> Result<(), IdentityError> {
        for (id, row) in records.list::<Document>(USERS, "").await? {
            let (Some(entry), Some(domain)) = (is_shadow(&row), row.get("domain_id").and_then(Value::as_str)) else {
                continue;
            };
            if !self.keeps(records, domain).await? {
                continue;
            }
            match self.person_with_id(entry).await? {
                Some(person) => drop(self.shadow(records, domain, &person).await?),
                None => disable(records, &id).await?,
            }
        }
        Ok(())
    }

    async fn keeps(&self, records: &Records, domain: &str) -> Result<bool, IdentityError> {
        let row = records
            .peek::<crate::model::Domain>(crate::row::DOMAINS, domain)
            .await?;
        Ok(self.options.domain == domain || row.is_some_and(|row| row.name == self.options.domain))
    }

    async fn teams(&self, filter: &str) -> Result<Vec<Team>, IdentityError> {
        let Some(base) = &self.options.group_base else {
            return Ok(Vec::new());
        };
        let attributes = search::group_attributes(&self.options);
        let entries = self.pool.search(base, filter, &attributes).await?;
        Ok(entries
            .iter()
            .filter_map(|entry| search::team(&self.options, entry))
            .collect())
    }

    /// Puts a user into the groups that the directory says, and takes them out of its others. Local groups of other domains
    /// stay as they are.
    async fn keep_memberships(
        &self,
        records: &Records,
        domain: &str,
        user: &str,
        person: &Person,
    ) -> Result<(), IdentityError> {
        let mut wanted = BTreeSet::new();
        for team in self.teams(&search::groups_of(&self.options, person)).await? {
            wanted.extend(keep_group(records, domain, &team).await?);
        }
        let prefix = format!("{user}/");
        let mut had = BTreeSet::new();
        let mut taken = false;
        for (key, _) in records.list::<Mark>(MEMBERS, &prefix).await? {
            let group = key[prefix.len()..].to_owned();
            let row = records.peek::<Document>(GROUPS, &group).await?;
            let directorys = row.as_ref().is_none_or(|row| is_shadow(row).is_some());
            if directorys && !wanted.contains(&group) {
                records.remove(MEMBERS, &key).await?;
                taken = true;
            }
            had.insert(group);
        }
        for group in wanted.difference(&had) {
            records.put(MEMBERS, &format!("{prefix}{group}"), &Mark {}).await?;
        }
        if taken {
            records.settle().await;
        }
        Ok(())
    }
}

async fn keep_group(records: &Records, domain: &str, team: &Team) -> Result<Option<String>, IdentityError> {
    let id = id_of(domain, "group", &team.id);
    let wanted = json!({ "name": team.name, "domain_id": domain, "description": "", LDAP_ID: team.id });
    Ok(keep(records, GROUPS, domain, &id, &wanted).await?.map(|_| id))
}

/// Writes a row if it is not as wanted already; the name follows. None: somebody else has the name.
async fn keep(
    records: &Records,
    table: &'static str,
    domain: &str,
    id: &str,
    wanted: &Value,
) -> Result<Option<Document>, IdentityError> {
    let found = records.get::<Document>(table, id).await?;
    let (version, before) = found.map_or((None, Document::new()), |(version, row)| (Some(version), row));
    let mut row = before.clone();
    for (name, value) in wanted.as_object().into_iter().flatten() {
        row.insert(name.clone(), value.clone());
    }
    if table == USERS {
        row.entry("options").or_insert(json!({}));
    }
    if version.is_some() && row == before {
        return Ok(Some(row));
    }
    let name = |row: &Document| row.get("name").and_then(Value::as_str).map(str::to_owned);
    let (old, new) = (name(&before), name(&row).unwrap_or_default());
    match names::take(records, table, domain, &new, id).await {
        Ok(()) => {}
        Err(IdentityError::Taken) => {
            tracing::warn!(
                domain,
                name = new,
                "the directory has a name that a local row has already"
            );
            return Ok(None);
        }
        Err(other) => return Err(other),
    }
    let written = match version {
        Some(version) => records.replace(table, id, version, &row).await,
        None => records.insert(table, id, &row).await,
    };
    match written {
        // Another process wrote the same at the same moment.
        Ok(()) | Err(IdentityError::Taken) => {}
        Err(other) => return Err(other),
    }
    if let Some(old) = old.filter(|old| *old != new) {
        names::give_back(records, table, domain, &old, id).await?;
    }
    Ok(Some(row))
}

/// Disables a user whose entry is gone; tokens and keys end with that.
async fn disable(records: &Records, id: &str) -> Result<(), IdentityError> {
    let Some((version, mut row)) = records.get::<Document>(USERS, id).await? else {
        return Ok(());
    };
    if row.get("enabled") == Some(&json!(false)) {
        return Ok(());
    }
    row.insert("enabled".into(), json!(false));
    row.insert("_tokens_from_ms".into(), json!(records.now_ms() + 1));
    match records.replace(USERS, id, version, &row).await {
        Ok(()) => records.settle().await,
        // Somebody else changed it: the next refresh looks again.
        Err(IdentityError::Taken) => {}
        Err(other) => return Err(other),
    }
    Ok(())
}
