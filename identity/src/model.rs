//! Rows as identity's own decisions read them. The API changes rows as JSON documents; these are views of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::token::{AccessRule, AuthMethod};

/// A row as the API sees it.
pub(crate) type Document = Map<String, Value>;

fn yes() -> bool {
    true
}

/// A domain.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Domain {
    pub(crate) name: String,
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
    /// Tokens made before this time are void, milliseconds since the Unix epoch.
    #[serde(default, rename = "_tokens_from_ms")]
    pub(crate) tokens_from_ms: u64,
}

/// A project.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Project {
    pub(crate) name: String,
    pub(crate) domain_id: String,
    /// The project above it, or its domain.
    #[serde(default)]
    pub(crate) parent_id: Option<String>,
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
    #[serde(default, rename = "_tokens_from_ms")]
    pub(crate) tokens_from_ms: u64,
    #[serde(default, rename = "_created_ms")]
    pub(crate) created_ms: u64,
}

impl Project {
    /// The project above it; none when it lies in its domain directly.
    pub(crate) fn parent(&self) -> Option<&str> {
        self.parent_id.as_deref().filter(|parent| *parent != self.domain_id)
    }
}

/// A user.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) domain_id: String,
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
    #[serde(default)]
    pub(crate) default_project_id: Option<String>,
    #[serde(default, rename = "_tokens_from_ms")]
    pub(crate) tokens_from_ms: u64,
    /// Argon2id, PHC string.
    #[serde(default, rename = "_password_hash")]
    pub(crate) password_hash: Option<String>,
    #[serde(default, rename = "_password_expires_ms")]
    pub(crate) password_expires_ms: Option<u64>,
    /// Hashes of earlier passwords, the newest first.
    #[serde(default, rename = "_password_history")]
    pub(crate) password_history: Vec<String>,
    /// Whether the password was set by somebody else and must be changed before it is good for anything.
    #[serde(default, rename = "_password_must_change")]
    pub(crate) password_must_change: bool,
    #[serde(default)]
    pub(crate) options: UserOptions,
    /// Its id in the directory that keeps it.
    #[serde(default, rename = "_ldap_id")]
    pub(crate) ldap_id: Option<String>,
}

/// What a user is exempt from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UserOptions {
    pub(crate) ignore_password_expiry: Option<bool>,
    pub(crate) ignore_lockout_failure_attempts: Option<bool>,
    pub(crate) ignore_change_password_upon_first_use: Option<bool>,
    pub(crate) lock_password: Option<bool>,
    pub(crate) multi_factor_auth_enabled: Option<bool>,
    pub(crate) multi_factor_auth_rules: Option<Vec<Vec<String>>>,
}

/// A role.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Role {
    pub(crate) name: String,
    /// Set for a role that only one domain knows.
    #[serde(default)]
    pub(crate) domain_id: Option<String>,
}

/// An EC2 credential, which is an S3 key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AccessKeyRow {
    /// The project it acts for.
    pub(crate) project: String,
    /// The user it belongs to; none for a project's own key, made by an operator.
    #[serde(default)]
    pub(crate) user: Option<String>,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) created_ms: u64,
    /// The trust it was made through.
    #[serde(default)]
    pub(crate) trust: Option<String>,
    /// The secret, sealed under the access key.
    pub(crate) secret: String,
}

/// An application credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ApplicationCredential {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: Option<String>,
    pub(crate) user: String,
    pub(crate) project: String,
    /// Ids of the roles it gives, as long as the user has them.
    pub(crate) roles: Vec<String>,
    /// Whether it may make and remove application credentials and trusts.
    pub(crate) unrestricted: bool,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) access_rules: Option<Vec<AccessRule>>,
    /// Argon2id, PHC string.
    pub(crate) secret_hash: String,
}

/// A trust: a user acts for another one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Trust {
    pub(crate) trustor: String,
    pub(crate) trustee: String,
    pub(crate) project: Option<String>,
    pub(crate) impersonation: bool,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) remaining_uses: Option<u64>,
    pub(crate) roles: Vec<String>,
    /// How many times it may be handed on.
    pub(crate) redelegation_count: u64,
    pub(crate) allow_redelegation: bool,
    pub(crate) redelegated_trust: Option<String>,
    pub(crate) deleted_ms: Option<u64>,
}

/// A row without content: being there says all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Mark {}

/// Who has a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NameRow {
    pub(crate) id: String,
    /// When it was taken, milliseconds since the Unix epoch.
    pub(crate) taken_ms: u64,
}

/// Failed attempts of a user to prove who they are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Lockout {
    pub(crate) failures: u32,
    pub(crate) last_ms: u64,
}

/// A revoked token; the row goes when the token would have ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Revocation {
    pub(crate) expires_ms: u64,
}

/// What a token carries; everything else is looked up. Encoded with postcard, so fields are only ever added with a new
/// token version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenPayload {
    pub(crate) user: String,
    pub(crate) scope: PayloadScope,
    pub(crate) methods: Vec<AuthMethod>,
    pub(crate) issued_ms: u64,
    pub(crate) expires_ms: u64,
    pub(crate) audit: [u8; 16],
    /// The audit id of the first token of its chain.
    pub(crate) parent_audit: Option<[u8; 16]>,
    pub(crate) application_credential: Option<String>,
    pub(crate) trust: Option<String>,
    /// The access key it was made with: deleting that ends the token.
    pub(crate) access_key: Option<String>,
}

/// The scope a token carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PayloadScope {
    Unscoped,
    Project(String),
    Domain(String),
    System,
}
