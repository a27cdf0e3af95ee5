//! Projects and S3 keys as operators and the S3 edge see them. An S3 key is an EC2 credential.
//!
//! A lookup reads the local copy of the system shard and decrypts only when the record is not the cached one, so a
//! revoked key stops working as soon as the copy knows: at once where the revocation ran, elsewhere within the bound that
//! [`store::Store`] states for its copies. Whether its user and project may still act is asked at most every
//! [`COMPUTED_MAX`].

use std::sync::Arc;

use clock::{Dice, WallClock};
use quick_cache::sync::Cache;
use serde_json::json;
use store::{ProjectId, Record, Store};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::error::IdentityError;
use crate::judge::Judge;
use crate::model::{AccessKeyRow, Document, PayloadScope, Project as ProjectRow, TokenPayload};
use crate::names;
use crate::records::{COMPUTED_MAX, Records};
use crate::rights;
use crate::row::{ACCESS_KEYS, DEFAULT_DOMAIN, DOMAINS, PROJECTS, decode};
use crate::seal::{Sealed, Sealer};
use crate::source::{AccessKey, KeySource};
use crate::token::{AuthMethod, DomainRef, ProjectRef, ROLE_MEMBER, ROLE_READER, Scope, TokenContext, TokenError};

/// How many decrypted keys are kept in memory.
const CACHED_KEYS_MAX: usize = 4096;
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
    /// The user it belongs to; none for a project's own key.
    pub user: Option<String>,
    /// What it is for, in its maker's words.
    pub description: String,
    /// When it was made, milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// A key just made: the only time its secret is shown to whoever made it here.
#[derive(Clone, Debug)]
pub struct IssuedKey {
    /// The access key.
    pub access_key: String,
    /// The secret, to be handed to its user.
    pub secret: Zeroizing<String>,
}

/// Whose key is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owner {
    pub(crate) user: Option<String>,
    pub(crate) trust: Option<String>,
}

struct Cached {
    /// The record it was opened from. Versions alone would not do: a key made again after a revocation counts anew.
    record: Record,
    /// The key, when its user and project could act.
    key: Option<Arc<AccessKey>>,
    /// When that was asked.
    asked: Instant,
    changes: u64,
}

/// Projects and access keys of one cluster.
pub struct Directory {
    records: Arc<Records>,
    sealer: Arc<Sealer>,
    judge: Judge,
    cache: Cache<String, Arc<Cached>>,
}

impl Directory {
    /// A directory over `store`; `at_rest_key` is the cluster's own and seals the secrets.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn WallClock>, dice: Arc<dyn Dice>, at_rest_key: &[u8; 32]) -> Self {
        let records = Arc::new(Records::new(store, clock, dice));
        let judge = Judge::new(records.clone(), "");
        Self::over(records, Arc::new(Sealer::new(at_rest_key)), judge)
    }

    pub(crate) fn over(records: Arc<Records>, sealer: Arc<Sealer>, judge: Judge) -> Self {
        Self {
            records,
            sealer,
            judge,
            cache: Cache::new(CACHED_KEYS_MAX),
        }
    }

    /// Makes a project of the default domain; its id is drawn, or `id` when given.
    ///
    /// # Errors
    /// [`IdentityError::Taken`] when the id or the name is in use, [`IdentityError::Invalid`] when one has a wrong form.
    pub async fn create_project(&self, name: &str, id: Option<ProjectId>) -> Result<Project, IdentityError> {
        let id = id.unwrap_or_else(|| self.records.new_id());
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
        names::take(&self.records, PROJECTS, DEFAULT_DOMAIN, name, &id).await?;
        let created_ms = self.records.now_ms();
        let row = json!({
            "name": name, "domain_id": DEFAULT_DOMAIN, "parent_id": DEFAULT_DOMAIN, "enabled": true,
            "description": "", "is_domain": false, "tags": [], "options": {}, "_created_ms": created_ms,
        });
        self.records.insert(PROJECTS, &id, &row).await?;
        Ok(Project {
            id,
            name: name.to_owned(),
            created_ms,
        })
    }

    /// All projects, by id.
    ///
    /// # Errors
    /// When a record cannot be read or the cluster does not answer.
    pub async fn projects(&self) -> Result<Vec<Project>, IdentityError> {
        let rows = self.records.list::<ProjectRow>(PROJECTS, "").await?;
        let project = |(id, row): (String, ProjectRow)| Project {
            id,
            name: row.name,
            created_ms: row.created_ms,
        };
        Ok(rows.into_iter().map(project).collect())
    }

    /// Makes an access key for a project.
    ///
    /// # Errors
    /// [`IdentityError::NoSuchProject`]; or the cluster does not answer.
    pub async fn create_key(&self, project: &str, description: &str) -> Result<IssuedKey, IdentityError> {
        self.create_key_of(project, description, Owner::default()).await
    }

    /// Makes an access key that acts for a project in the name of a user.
    pub(crate) async fn create_key_of(
        &self,
        project: &str,
        description: &str,
        owner: Owner,
    ) -> Result<IssuedKey, IdentityError> {
        let access_key = format!("HALO{}", self.draw(UPPER, ACCESS_KEY_CHARS - 4));
        let secret = Zeroizing::new(self.draw(ALPHANUMERIC, SECRET_CHARS));
        self.import_key_of(project, description, owner, &access_key, &secret)
            .await?;
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
        self.import_key_of(project, description, Owner::default(), access_key, secret)
            .await
    }

    pub(crate) async fn import_key_of(
        &self,
        project: &str,
        description: &str,
        owner: Owner,
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
        if self.records.get::<ProjectRow>(PROJECTS, project).await?.is_none() {
            return Err(IdentityError::NoSuchProject);
        }
        let row = AccessKeyRow {
            project: project.to_owned(),
            user: owner.user,
            trust: owner.trust,
            description: description.chars().take(NAME_BYTES_MAX).collect(),
            created_ms: self.records.now_ms(),
            secret: self.sealer.seal(&*self.records.dice, access_key, secret).to_text(),
        };
        self.records.insert(ACCESS_KEYS, access_key, &row).await
    }

    /// All access keys (of one project, when given), without their secrets.
    ///
    /// # Errors
    /// When a record cannot be read or the cluster does not answer.
    pub async fn keys(&self, project: Option<&str>) -> Result<Vec<KeyInfo>, IdentityError> {
        let rows = self.records.list::<AccessKeyRow>(ACCESS_KEYS, "").await?;
        let wanted = |row: &AccessKeyRow| project.is_none_or(|project| project == row.project);
        Ok(rows
            .into_iter()
            .filter(|(_, row)| wanted(row))
            .map(|(access_key, row)| KeyInfo {
                access_key,
                project: row.project,
                user: row.user,
                description: row.description,
                created_ms: row.created_ms,
            })
            .collect())
    }

    /// Takes an access key away. Returns when no live process accepts it any more (at most the copies' staleness bound).
    ///
    /// # Errors
    /// [`IdentityError::NoSuchKey`]; or the cluster does not answer, then the key may or may not work still.
    pub async fn revoke_key(&self, access_key: &str) -> Result<(), IdentityError> {
        if self
            .records
            .get::<AccessKeyRow>(ACCESS_KEYS, access_key)
            .await?
            .is_none()
        {
            return Err(IdentityError::NoSuchKey);
        }
        self.cache.remove(access_key);
        self.records.remove(ACCESS_KEYS, access_key).await?;
        self.records.settle().await;
        Ok(())
    }

    /// The secret behind an access key's row.
    pub(crate) fn secret(&self, access_key: &str, row: &AccessKeyRow) -> Result<Zeroizing<String>, IdentityError> {
        let unreadable = |why| IdentityError::Unreadable {
            what: access_key.to_owned(),
            why,
        };
        let sealed = Sealed::from_text(&row.secret).ok_or_else(|| unreadable("it is damaged"))?;
        let opened = self.sealer.open(access_key, &sealed);
        opened.ok_or_else(|| unreadable("its secret is sealed with another key"))
    }

    /// Who acts with a key now: its user with the roles they have in its project; the project itself, as a member, when
    /// an operator made it. None when the user has no role there, or one of the two is disabled or gone.
    async fn caller(&self, access_key: &str, row: &AccessKeyRow) -> Result<Option<TokenContext>, IdentityError> {
        let Some(user) = &row.user else {
            let project = self.operators_project(row).await?;
            let context =
                |project| TokenContext::vouched(access_key, Scope::Project(project), &[ROLE_MEMBER, ROLE_READER]);
            return Ok(project.map(context));
        };
        let payload = TokenPayload {
            user: user.clone(),
            scope: PayloadScope::Project(row.project.clone()),
            methods: vec![AuthMethod::Ec2credential],
            issued_ms: self.records.now_ms(),
            expires_ms: u64::MAX,
            audit: [0; 16],
            parent_audit: None,
            application_credential: None,
            trust: row.trust.clone(),
            access_key: None,
        };
        match self.judge.compute(&payload).await {
            Ok((context, _)) => Ok(Some(context)),
            Err(TokenError::Invalid) => Ok(None),
            Err(TokenError::Unavailable(error)) => Err(error),
        }
    }

    /// The project of an operator's key. It is in the default domain, which a cluster without users lacks.
    async fn operators_project(&self, row: &AccessKeyRow) -> Result<Option<ProjectRef>, IdentityError> {
        let records = &self.records;
        if let Some(located) = rights::usable_project(records, &row.project).await? {
            return Ok(Some(located.project));
        }
        let domain = records.peek::<Document>(DOMAINS, DEFAULT_DOMAIN).await?;
        let project = records.peek::<ProjectRow>(PROJECTS, &row.project).await?;
        let usable = project
            .as_ref()
            .is_none_or(|project| project.enabled && project.domain_id == DEFAULT_DOMAIN);
        Ok((domain.is_none() && usable).then(|| ProjectRef {
            id: row.project.clone(),
            name: project.map_or_else(|| row.project.clone(), |project| project.name),
            domain: DomainRef {
                id: DEFAULT_DOMAIN.to_owned(),
                name: DEFAULT_DOMAIN.to_owned(),
            },
        }))
    }

    /// `count` characters, each drawn evenly from `alphabet` (bytes that would favour its beginning are thrown again).
    fn draw(&self, alphabet: &[u8], count: usize) -> String {
        let fair = 256 - 256 % alphabet.len();
        let mut text = String::with_capacity(count);
        while text.len() < count {
            let mut bytes = Zeroizing::new([0; 64]);
            self.records.dice.fill(&mut *bytes);
            let drawn = bytes.iter().map(|b| usize::from(*b)).filter(|b| *b < fair);
            text.extend(
                drawn
                    .take(count - text.len())
                    .map(|b| char::from(alphabet[b % alphabet.len()])),
            );
        }
        text
    }
}

#[async_trait::async_trait]
impl KeySource for Directory {
    async fn lookup(&self, access_key: &str) -> Result<Option<Arc<AccessKey>>, IdentityError> {
        let Some(record) = self.records.peek_raw(ACCESS_KEYS, access_key).await? else {
            return Ok(None);
        };
        let (now, changes) = (Instant::now(), self.records.changes());
        let cached = self.cache.get(access_key).filter(|cached| cached.record == record);
        if let Some(cached) = &cached
            && cached.changes == changes
            && now.duration_since(cached.asked) < COMPUTED_MAX
        {
            return Ok(cached.key.clone());
        }
        let row: AccessKeyRow = decode(ACCESS_KEYS, access_key, &record.value)?;
        // Opened before, it needs not be opened again for what its user may do now.
        let secret = match cached.as_ref().and_then(|cached| cached.key.as_ref()) {
            Some(key) => key.secret.clone(),
            None => self.secret(access_key, &row)?,
        };
        let caller = self.caller(access_key, &row).await?;
        let key = caller.map(|caller| {
            let display_name = caller.project().map_or(&row.project, |project| &project.name).clone();
            Arc::new(AccessKey {
                secret,
                project: row.project,
                display_name,
                caller: Arc::new(caller),
            })
        });
        let entry = Cached {
            record,
            key: key.clone(),
            asked: now,
            changes,
        };
        self.cache.insert(access_key.to_owned(), Arc::new(entry));
        Ok(key)
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
