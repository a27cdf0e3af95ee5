//! Identity itself: the parts every request needs, and the life of a token.
//!
//! ```text
//! token --open--> payload --records of this process's copy--> context
//! ```
//! A context is computed anew unless the same token was judged within [`COMPUTED_MAX`] and this process changed nothing
//! since. What was taken away is gone here at once, and elsewhere as soon as the copy there knows.

use std::sync::Arc;

use clock::{Dice, WallClock};
use quick_cache::sync::Cache;
use store::Store;
use tokio::time::Instant;

use crate::directory::Directory;
use crate::error::IdentityError;
use crate::judge::{Judge, audit_text};
use crate::ldap::LdapBackends;
use crate::model::{Revocation, TokenPayload};
use crate::passwords::Passwords;
use crate::records::{COMPUTED_MAX, Records};
use crate::row::REVOCATIONS;
use crate::seal::Sealer;
use crate::token::keys::TokenKeys;
use crate::token::sealed;
use crate::token::{TokenContext, TokenError, TokenSource};

/// How many judged tokens are kept in memory.
const CACHED_CONTEXTS_MAX: usize = 4096;

/// Settings of identity.
#[derive(Clone, Debug)]
pub struct IdentityOptions {
    /// How long a token lives, milliseconds.
    pub token_ms: u64,
    /// The project whose admins administer the whole cluster.
    pub admin_project: String,
    /// Wrong passwords in a row after which a user is locked; never without.
    pub lockout_failures: Option<u32>,
    /// How long a user stays locked, milliseconds.
    pub lockout_ms: u64,
    /// After how many days a password must be changed; never without.
    pub password_days: Option<u64>,
    /// How many earlier passwords may not be used again.
    pub password_history: usize,
    /// The least length of a password, in characters.
    pub password_chars_min: usize,
    /// Whether a password that somebody else set must be changed before it is used.
    pub change_password_upon_first_use: bool,
    /// The URL clients reach this service under; from the request's Host header without.
    pub public_url: Option<String>,
    /// Whether it is served over HTTPS.
    pub https: bool,
    /// The directories that keep users of some domains.
    pub ldap: LdapBackends,
}

impl Default for IdentityOptions {
    fn default() -> Self {
        Self {
            token_ms: 3_600_000,
            admin_project: "default".to_owned(),
            lockout_failures: Some(10),
            lockout_ms: 300_000,
            password_days: None,
            password_history: 0,
            password_chars_min: 1,
            change_password_upon_first_use: false,
            public_url: None,
            https: false,
            ldap: LdapBackends::default(),
        }
    }
}

/// A token just made.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// Its text, for `X-Auth-Token`.
    pub token: zeroize::Zeroizing<String>,
    /// What it says.
    pub context: Arc<TokenContext>,
}

#[derive(Clone)]
struct Judged {
    context: Arc<TokenContext>,
    at: Instant,
    changes: u64,
}

/// Identity of one process.
pub struct Identity {
    pub(crate) records: Arc<Records>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) keys: TokenKeys,
    pub(crate) passwords: Passwords,
    pub(crate) options: IdentityOptions,
    directory: Arc<Directory>,
    judge: Judge,
    judged: Cache<[u8; 32], Judged>,
}

impl Identity {
    /// Identity over `store`; `at_rest_key` is the cluster's own and seals secrets and token keys.
    #[must_use]
    pub fn new(
        store: Store,
        clock: Arc<dyn WallClock>,
        dice: Arc<dyn Dice>,
        at_rest_key: &[u8; 32],
        options: IdentityOptions,
    ) -> Self {
        let passwords = Passwords::start(&*dice);
        let records = Arc::new(Records::new(store, clock, dice));
        let sealer = Arc::new(Sealer::new(at_rest_key));
        let judge = Judge::new(records.clone(), &options.admin_project);
        Self {
            keys: TokenKeys::new(records.clone(), sealer.clone()),
            directory: Arc::new(Directory::over(records.clone(), sealer.clone(), judge.clone())),
            judge,
            records,
            sealer,
            passwords,
            options,
            judged: Cache::new(CACHED_CONTEXTS_MAX),
        }
    }

    /// Projects and S3 keys.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.clone()
    }

    /// Makes a new token key; the oldest is forgotten, and with it the tokens it sealed. Answers the new key's id.
    ///
    /// # Errors
    /// When the cluster does not answer, or two rotate at once.
    pub async fn rotate_keys(&self) -> Result<u32, IdentityError> {
        self.keys.rotate().await
    }

    /// Makes a token of a payload whose claims were proven.
    pub(crate) async fn issue(&self, mut payload: TokenPayload) -> Result<IssuedToken, TokenError> {
        let (context, from_ms) = self.judge.compute(&payload).await?;
        // A token made in the millisecond in which older ones became void is not one of them.
        payload.issued_ms = payload.issued_ms.max(from_ms);
        let (id, key) = self.keys.newest().await.map_err(TokenError::Unavailable)?;
        let token = sealed::seal(&*self.records.dice, id, &key, &payload);
        let context = TokenContext {
            issued_ms: payload.issued_ms,
            ..context
        };
        Ok(IssuedToken {
            token: zeroize::Zeroizing::new(token),
            context: Arc::new(context),
        })
    }

    /// Opens a token: what it carries, if it is ours, has not ended (but for `grace_ms`) and was not revoked.
    pub(crate) async fn open(&self, token: &str, grace_ms: u64) -> Result<TokenPayload, TokenError> {
        let envelope = sealed::parse(token).ok_or(TokenError::Invalid)?;
        let key = self.keys.find(envelope.key_id).await.map_err(TokenError::Unavailable)?;
        let payload = key.and_then(|key| envelope.open(&key)).ok_or(TokenError::Invalid)?;
        if payload.expires_ms.saturating_add(grace_ms) <= self.records.now_ms() {
            return Err(TokenError::Invalid);
        }
        let name = audit_text(&payload.audit);
        let revoked = self.records.recent::<Revocation>(REVOCATIONS, &name).await;
        match revoked.map_err(TokenError::Unavailable)? {
            Some(_) => Err(TokenError::Invalid),
            None => Ok(payload),
        }
    }

    /// What a payload says now.
    pub(crate) async fn context(&self, payload: &TokenPayload) -> Result<TokenContext, TokenError> {
        let (context, from_ms) = self.judge.compute(payload).await?;
        if payload.issued_ms < from_ms {
            return Err(TokenError::Invalid);
        }
        Ok(context)
    }

    /// Ends a token.
    pub(crate) async fn revoke(&self, payload: &TokenPayload) -> Result<(), IdentityError> {
        let row = Revocation {
            expires_ms: payload.expires_ms,
        };
        self.records.put(REVOCATIONS, &audit_text(&payload.audit), &row).await?;
        self.records.settle().await;
        Ok(())
    }
}

#[async_trait::async_trait]
impl TokenSource for Identity {
    async fn validate_token(&self, token: &str) -> Result<Arc<TokenContext>, TokenError> {
        let name = *blake3::hash(token.as_bytes()).as_bytes();
        let (now, changes) = (Instant::now(), self.records.changes());
        if let Some(judged) = self.judged.get(&name)
            && judged.changes == changes
            && now.duration_since(judged.at) < COMPUTED_MAX
            && judged.context.expires_ms > self.records.now_ms()
        {
            return Ok(judged.context);
        }
        let payload = self.open(token, 0).await?;
        let context = Arc::new(self.context(&payload).await?);
        let judged = Judged {
            context: context.clone(),
            at: now,
            changes,
        };
        self.judged.insert(name, judged);
        Ok(context)
    }
}
