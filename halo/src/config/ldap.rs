//! `[[identity.ldap]]`: a directory that keeps the users of one domain.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One directory; what is not given is usual for `inetOrgPerson` and `groupOfNames`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LdapSection {
    /// The domain: its name or its id.
    pub domain: String,
    /// `ldaps://host[:port]`, or `ldap://host[:port]` with `start_tls`.
    pub url: String,
    /// Whether a connection by `ldap://` is secured before anything is said.
    #[serde(default)]
    pub start_tls: bool,
    /// The certificates that the directory's own is checked against, PEM; the system's without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Who searches; nobody without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_dn: Option<String>,
    /// File with that one's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_password_file: Option<PathBuf>,
    /// Below which entry users are.
    pub user_base: String,
    /// Which entries are users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_filter: Option<String>,
    /// The attribute that stays the same for as long as a user is the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id_attribute: Option<String>,
    /// The attribute with the name that users log in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name_attribute: Option<String>,
    /// The attribute with their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_mail_attribute: Option<String>,
    /// Below which entry groups are; without, the directory has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_base: Option<String>,
    /// Which entries are groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_filter: Option<String>,
    /// The attribute that stays the same for as long as a group is the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id_attribute: Option<String>,
    /// The attribute with a group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_name_attribute: Option<String>,
    /// The attribute with a group's members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_member_attribute: Option<String>,
    /// Whether members are named by their DN; by their name otherwise.
    #[serde(default = "yes")]
    pub members_are_dns: bool,
    /// Connections of one process at the same time.
    #[serde(default = "default_connections_max")]
    pub connections_max: usize,
    /// How long one step may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// The most entries of one search.
    #[serde(default = "default_entries_max")]
    pub entries_max: usize,
    /// How often it is asked whether its users are still there, in seconds.
    #[serde(default = "default_refresh_s")]
    pub refresh_s: u64,
}

fn yes() -> bool {
    true
}

fn default_connections_max() -> usize {
    4
}

fn default_timeout_ms() -> u64 {
    5000
}

fn default_entries_max() -> usize {
    1000
}

fn default_refresh_s() -> u64 {
    300
}
