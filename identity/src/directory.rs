//! Projects and access keys: made, listed, revoked, looked up.
//!
//! A lookup reads the local copy of the system shard and decrypts only when the record's version is not the cached one,
//! so a revoked key stops working as soon as the copy knows: at once where the revocation ran, elsewhere within the
//! bound that [`store::Store`] states for its copies.

use std::sync::Arc;
use std::time::Duration;

use clock::{Dice, WallClock};
use quick_cache::sync::Cache;
use store::{ProjectId, Record, RecordCondition, RequestContext, RequestId, Store, StoreError};
use zeroize::Zeroizing;

use crate::error::IdentityError;
use crate::row::{ACCESS_KEYS, AccessKeyRow, PROJECTS, ProjectRow, decode, encode};
use crate::seal::Sealer;
use crate::source::{AccessKey, KeySource};

/// How many decrypted keys are kept in memory.
const CACHED_KEYS_MAX: usize = 4096;
/// Whose name identity's own commands carry.
const OWNER: &str = "identity";
/// How long the system shard may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Records asked for in one round of a listing.
const LIST_PAGE: usize = 1000;
/// Length of an access key we make (AWS: 20).
const ACCESS_KEY_CHARS: usize = 20;
/// Length of a secret key we make (AWS: 40); 40 characters of 62 are 238 bits.
const SECRET_CHARS: usize = 40;
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Lengths of an access key that somebody brings (AWS: 16 to 128).
const ACCESS_KEY_CHARS_ALLOWED: std::ops::RangeInclusive<usize> = 3..=128;
/// Lengths of a secret that somebody brings.
const SECRET_CHARS_ALLOWED: std::ops::RangeInclusive<usize> = 8..=256;
/// Longest project id and name, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its id: 32 hex digits, or what its maker chose.
    pub id: ProjectId,
    /// What people call it.
    pub name: String,
    /// When it was made, milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// An access key as listings show it: without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// The access key.
    pub access_key: String,
    /// The project it acts for.
    pub project: ProjectId,
    /// What it is for, in its maker's words.
    pub description: String,
    /// When it was made, milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// A key just made: the only time its secret is shown.
#[derive(Clone, Debug)]
pub struct IssuedKey {
    /// The access key.
    pub access_key: String,
    /// The secret, to be handed to its user.
    pub secret: Zeroizing<String>,
}

struct Cached {
    /// The record it was opened from. Versions alone would not do: a key made again after a revocation counts anew.
    record: Record,
    key: Arc<AccessKey>,
}

/// Projects and access keys of one cluster.
pub struct Directory {
    store: Store,
    clock: Arc<dyn WallClock>,
    dice: Arc<dyn Dice>,
    sealer: Sealer,
    cache: Cache<String, Arc<Cached>>,
}

impl Directory {
    /// A directory over `store`; `at_rest_key` is the cluster's own and seals the secrets.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn WallClock>, dice: Arc<dyn Dice>, at_rest_key: &[u8; 32]) -> Self {
        Self {
            store,
            clock,
            dice,
            sealer: Sealer::new(at_rest_key),
            cache: Cache::new(CACHED_KEYS_MAX),
        }
    }

    /// Makes a project; its id is drawn, or `id` when given.
    ///
    /// # Errors
    /// [`IdentityError::Taken`] when the id is in use, [`IdentityError::Invalid`] when it has a wrong form.
    pub async fn create_project(&self, name: &str, id: Option<ProjectId>) -> Result<Project, IdentityError> {
        let id = id.unwrap_or_else(|| format!("{:032x}", self.dice.u128()));
        if id.is_empty()
            || id.len() > NAME_BYTES_MAX
            || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        {
            return Err(IdentityError::Invalid(
                "a project id is 1 to 255 letters, digits, '-' and '_'",
            ));
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(IdentityError::Invalid("a project name is 1 to 255 bytes long"));
        }
        let row = ProjectRow {
            name: name.to_owned(),
            created_ms: self.clock.now_ms(),
        };
        self.put_new(PROJECTS, &id, encode(&row)).await?;
        Ok(Project {
            id,
            name: row.name,
            created_ms: row.created_ms,
        })
    }

    /// All projects, by id.
    ///
    /// # Errors
    /// When a record cannot be read or the cluster does not answer.
    pub async fn projects(&self) -> Result<Vec<Project>, IdentityError> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let (records, more) = self
                .store
                .list_records(&self.context(), PROJECTS, after, LIST_PAGE)
                .await?;
            for (id, record) in &records {
                let row: ProjectRow = decode(&record.value, id)?;
                found.push(Project {
                    id: id.clone(),
                    name: row.name,
                    created_ms: row.created_ms,
                });
            }
            match records.last() {
                Some((id, _)) if more => after = Some(id.clone()),
                _ => return Ok(found),
            }
        }
    }

    /// Makes an access key for a project.
    ///
    /// # Errors
    /// [`IdentityError::NoSuchProject`]; or the cluster does not answer.
    pub async fn create_key(&self, project: &str, description: &str) -> Result<IssuedKey, IdentityError> {
        let access_key = format!("HALO{}", self.draw(UPPER, ACCESS_KEY_CHARS - 4));
        let secret = Zeroizing::new(self.draw(ALPHANUMERIC, SECRET_CHARS));
        self.import_key(project, description, &access_key, &secret).await?;
        Ok(IssuedKey { access_key, secret })
    }

    /// Takes over an access key and secret that somebody brings.
    ///
    /// # Errors
    /// [`IdentityError::NoSuchProject`], [`IdentityError::Taken`], [`IdentityError::Invalid`].
    pub async fn import_key(
        &self,
        project: &str,
        description: &str,
        access_key: &str,
        secret: &str,
    ) -> Result<(), IdentityError> {
        let plain = access_key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !plain || !ACCESS_KEY_CHARS_ALLOWED.contains(&access_key.len()) {
            return Err(IdentityError::Invalid(
                "an access key is 3 to 128 letters, digits, '-', '_' and '.'",
            ));
        }
        if !secret.bytes().all(|b| b.is_ascii_graphic()) || !SECRET_CHARS_ALLOWED.contains(&secret.len()) {
            return Err(IdentityError::Invalid(
                "a secret key is 8 to 256 printable ASCII characters",
            ));
        }
        if self.store.record(&self.context(), PROJECTS, project).await?.is_none() {
            return Err(IdentityError::NoSuchProject);
        }
        let row = AccessKeyRow {
            project: project.to_owned(),
            description: description.chars().take(NAME_BYTES_MAX).collect(),
            created_ms: self.clock.now_ms(),
            secret: self.sealer.seal(&*self.dice, access_key, secret),
        };
        self.put_new(ACCESS_KEYS, access_key, encode(&row)).await
    }

    /// All access keys (of one project, when given), without their secrets.
    ///
    /// # Errors
    /// When a record cannot be read or the cluster does not answer.
    pub async fn keys(&self, project: Option<&str>) -> Result<Vec<KeyInfo>, IdentityError> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let (records, more) = self
                .store
                .list_records(&self.context(), ACCESS_KEYS, after, LIST_PAGE)
                .await?;
            for (access_key, record) in &records {
                let row: AccessKeyRow = decode(&record.value, access_key)?;
                if project.is_none_or(|project| project == row.project) {
                    found.push(KeyInfo {
                        access_key: access_key.clone(),
                        project: row.project,
                        description: row.description,
                        created_ms: row.created_ms,
                    });
                }
            }
            match records.last() {
                Some((key, _)) if more => after = Some(key.clone()),
                _ => return Ok(found),
            }
        }
    }

    /// Takes an access key away. Returns when no live process accepts it any more (at most the copies' staleness bound).
    ///
    /// # Errors
    /// [`IdentityError::NoSuchKey`]; or the cluster does not answer, then the key may or may not work still.
    pub async fn revoke_key(&self, access_key: &str) -> Result<(), IdentityError> {
        if self
            .store
            .record(&self.context(), ACCESS_KEYS, access_key)
            .await?
            .is_none()
        {
            return Err(IdentityError::NoSuchKey);
        }
        self.cache.remove(access_key);
        self.store
            .revoke_record(&self.context(), ACCESS_KEYS, access_key, RecordCondition::Any)
            .await?;
        Ok(())
    }

    async fn put_new(&self, table: &str, key: &str, value: bytes::Bytes) -> Result<(), IdentityError> {
        match self
            .store
            .put_record(&self.context(), table, key, RecordCondition::Absent, value)
            .await
        {
            Ok(_) => Ok(()),
            Err(StoreError::RecordConflict { .. }) => Err(IdentityError::Taken),
            Err(other) => Err(other.into()),
        }
    }

    /// A context for one question or change of identity's own.
    fn context(&self) -> RequestContext {
        let id = RequestId::new(self.clock.now_ms(), self.dice.u128());
        RequestContext::new(id, OWNER.to_owned(), DEADLINE)
    }

    /// `count` characters, each drawn evenly from `alphabet` (bytes that would favour its beginning are thrown again).
    fn draw(&self, alphabet: &[u8], count: usize) -> String {
        let fair = 256 - 256 % alphabet.len();
        let mut text = String::with_capacity(count);
        while text.len() < count {
            let mut bytes = Zeroizing::new([0; 64]);
            self.dice.fill(&mut *bytes);
            let drawn = bytes.iter().map(|b| usize::from(*b)).filter(|b| *b < fair);
            text.extend(
                drawn
                    .take(count - text.len())
                    .map(|b| char::from(alphabet[b % alphabet.len()])),
            );
        }
        text
    }

    fn open(&self, access_key: &str, value: &[u8]) -> Result<AccessKeyOpened, IdentityError> {
        let row: AccessKeyRow = decode(value, access_key)?;
        let secret = self
            .sealer
            .open(access_key, &row.secret)
            .ok_or_else(|| IdentityError::Unreadable {
                what: access_key.to_owned(),
                why: "its secret is sealed with another key",
            })?;
        Ok(AccessKeyOpened {
            project: row.project,
            secret,
        })
    }
}

struct AccessKeyOpened {
    project: ProjectId,
    secret: Zeroizing<String>,
}

#[async_trait::async_trait]
impl KeySource for Directory {
    async fn lookup(&self, access_key: &str) -> Result<Option<Arc<AccessKey>>, IdentityError> {
        let Some(record) = self
            .store
            .record_from_copy(&self.context(), ACCESS_KEYS, access_key)
            .await?
        else {
            return Ok(None);
        };
        if let Some(cached) = self.cache.get(access_key)
            && cached.record == record
        {
            return Ok(Some(cached.key.clone()));
        }
        let opened = self.open(access_key, &record.value)?;
        let name = match self
            .store
            .record_from_copy(&self.context(), PROJECTS, &opened.project)
            .await?
        {
            Some(record) => decode::<ProjectRow>(&record.value, &opened.project)?.name,
            None => opened.project.clone(),
        };
        let key = Arc::new(AccessKey {
            secret: opened.secret,
            project: opened.project,
            display_name: name,
        });
        self.cache.insert(
            access_key.to_owned(),
            Arc::new(Cached {
                record,
                key: key.clone(),
            }),
        );
        Ok(Some(key))
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
