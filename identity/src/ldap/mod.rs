//! Users and groups of a domain that a directory keeps (LDAP, RFC 4511). Read-only: nothing is ever written to it.
//!
//! ```text
//! login      --search by name--> entry --bind as it, with the password--> shadow --> token as for any user
//! API, list  --search--> entries --> shadows
//! refresh    --every now and then: each shadow's entry--> shadow, disabled when the entry is gone
//! shadow     an ordinary row of "users", "groups", "group-members", with the entry's id in `_ldap_id`
//! ```
//! Because of shadows no request but a login, a listing of the domain and the refresh asks the directory: tokens, S3 keys,
//! roles and limits work as for every user, on every process, when the directory is away too.
//!
//! Knows: the directory, and the shadows' rows. Must not know: HTTP, tokens.

mod pool;
mod search;
mod shadow;

use std::sync::Arc;
use std::time::Duration;

use crate::error::IdentityError;
use crate::model::{Document, Domain};
use crate::records::Records;
use crate::row::DOMAINS;

use pool::Pool;
pub(crate) use search::Person;
pub(crate) use shadow::{is_shadow, user_id};

/// Where a domain's users are.
#[derive(Clone)]
pub struct LdapOptions {
    /// The domain: its name or its id. It is made as any other.
    pub domain: String,
    /// `ldaps://host[:port]`, or `ldap://host[:port]`.
    pub url: String,
    /// Whether a connection by `ldap://` is secured before anything is said.
    pub start_tls: bool,
    /// The certificates that the directory's own is checked against, PEM; the system's without.
    pub ca_pem: Option<Vec<u8>>,
    /// Who searches; nobody without.
    pub bind_dn: Option<String>,
    /// That one's password.
    pub bind_password: Option<zeroize::Zeroizing<String>>,
    /// Below which entry users are.
    pub user_base: String,
    /// Which entries are users.
    pub user_filter: String,
    /// The attribute that stays the same for as long as a user is the same one.
    pub user_id_attribute: String,
    /// The attribute with the name that users log in with.
    pub user_name_attribute: String,
    /// The attribute with their address.
    pub user_mail_attribute: String,
    /// Below which entry groups are; without, the directory has none.
    pub group_base: Option<String>,
    /// Which entries are groups.
    pub group_filter: String,
    /// The attribute that stays the same for as long as a group is the same one.
    pub group_id_attribute: String,
    /// The attribute with a group's name.
    pub group_name_attribute: String,
    /// The attribute with a group's members.
    pub group_member_attribute: String,
    /// Whether members are named by their DN; by their name otherwise (`memberUid`).
    pub members_are_dns: bool,
    /// Connections at the same time (MEM-1).
    pub connections_max: usize,
    /// How long connecting, one search or one login may take.
    pub timeout: Duration,
    /// The most entries of one search (MEM-1).
    pub entries_max: usize,
    /// How often shadows are looked after.
    pub refresh_every: Duration,
}

impl LdapOptions {
    /// The usual attributes and bounds.
    #[must_use]
    pub fn new(domain: &str, url: &str, user_base: &str) -> Self {
        Self {
            domain: domain.to_owned(),
            url: url.to_owned(),
            start_tls: false,
            ca_pem: None,
            bind_dn: None,
            bind_password: None,
            user_base: user_base.to_owned(),
            user_filter: "(objectClass=inetOrgPerson)".to_owned(),
            user_id_attribute: "uid".to_owned(),
            user_name_attribute: "uid".to_owned(),
            user_mail_attribute: "mail".to_owned(),
            group_base: None,
            group_filter: "(objectClass=groupOfNames)".to_owned(),
            group_id_attribute: "cn".to_owned(),
            group_name_attribute: "cn".to_owned(),
            group_member_attribute: "member".to_owned(),
            members_are_dns: true,
            connections_max: 4,
            timeout: Duration::from_secs(5),
            entries_max: 1000,
            refresh_every: Duration::from_secs(300),
        }
    }
}

/// Why a directory cannot be used as it is set up.
#[derive(Debug, thiserror::Error)]
pub enum LdapSetupError {
    /// The URL is none of LDAP.
    #[error("{0} is not the URL of a directory: ldaps://host or ldap://host")]
    Url(String),
    /// Passwords would travel in the open (SEC-1).
    #[error("{0} would send passwords in the open: use ldaps:// or start_tls")]
    Open(String),
    /// A filter cannot be read.
    #[error("{0} is not a filter of RFC 4515")]
    Filter(String),
    /// An attribute's name has a wrong form.
    #[error("{0:?} is not the name of an attribute")]
    Attribute(String),
    /// The certificates cannot be used.
    #[error("the directory's certificates cannot be used: {0}")]
    Certificates(String),
}

/// The directory of one domain.
pub(crate) struct Backend {
    pub(crate) options: LdapOptions,
    pool: Pool,
}

/// The directories of all domains that have one. Cheap to clone.
#[derive(Clone, Default)]
pub struct LdapBackends(Arc<[Backend]>);

impl std::fmt::Debug for LdapBackends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let domains = self
            .0
            .iter()
            .map(|backend| (&backend.options.domain, &backend.options.url));
        f.debug_list().entries(domains).finish()
    }
}

impl LdapBackends {
    /// Directories as they are set up; none is asked yet.
    ///
    /// # Errors
    /// [`LdapSetupError`].
    pub fn new(options: &[LdapOptions]) -> Result<Self, LdapSetupError> {
        let backend = |options: &LdapOptions| {
            search::check(options)?;
            Ok(Backend {
                options: options.clone(),
                pool: Pool::new(options)?,
            })
        };
        Ok(Self(options.iter().map(backend).collect::<Result<_, _>>()?))
    }

    /// The directory of a domain; most have none.
    pub(crate) async fn of_domain(&self, records: &Records, id: &str) -> Result<Option<&Backend>, IdentityError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let domain = records.peek::<Domain>(DOMAINS, id).await?;
        let Some(domain) = domain else { return Ok(None) };
        let is = |backend: &&Backend| backend.options.domain == domain.name || backend.options.domain == id;
        Ok(self.0.iter().find(is))
    }

    /// Looks after the shadows of all directories, once.
    #[cfg(test)]
    pub(crate) async fn refresh(&self, records: &Records) -> Result<(), IdentityError> {
        for backend in self.0.iter() {
            backend.refresh(records).await?;
        }
        Ok(())
    }

    /// Looks after the shadows of all directories, forever.
    pub(crate) async fn refresh_forever(&self, records: &Records) {
        let loops = self.0.iter().map(|backend| async move {
            loop {
                tokio::time::sleep(backend.options.refresh_every).await;
                if let Err(error) = backend.refresh(records).await {
                    tracing::warn!(%error, domain = backend.options.domain, "the directory's users stay as they were");
                }
            }
        });
        futures::future::join_all(loops).await;
    }
}

impl Backend {
    /// Whether somebody of that name has that password: their shadow if so.
    pub(crate) async fn login(
        &self,
        records: &Records,
        domain: &str,
        person: Option<&Person>,
        password: &str,
    ) -> Result<Option<(String, Document)>, IdentityError> {
        // A bind without a password is one of nobody, and always succeeds (RFC 4513, 5.1.2).
        if password.is_empty() {
            return Ok(None);
        }
        // Who is not there is asked for too, so that the time of the answer does not tell.
        let nobody = search::nobody(&self.options);
        let dn = person.map_or(nobody.as_str(), |person| person.dn.as_str());
        let right = self.pool.bind(dn, password).await?;
        match person.filter(|_| right) {
            Some(person) => self.shadow(records, domain, person).await,
            None => Ok(None),
        }
    }

    /// The one user of that name.
    pub(crate) async fn person_named(&self, name: &str) -> Result<Option<Person>, IdentityError> {
        self.one(&search::users_named(&self.options, name)).await
    }

    /// The user with that id in the directory.
    pub(crate) async fn person_with_id(&self, id: &str) -> Result<Option<Person>, IdentityError> {
        self.one(&search::user_with_id(&self.options, id)).await
    }

    async fn one(&self, filter: &str) -> Result<Option<Person>, IdentityError> {
        let mut found = self.people(filter).await?;
        if found.len() > 1 {
            tracing::warn!(
                domain = self.options.domain,
                "the directory has several users of one name"
            );
            return Ok(None);
        }
        Ok(found.pop())
    }

    async fn people(&self, filter: &str) -> Result<Vec<Person>, IdentityError> {
        let attributes = search::user_attributes(&self.options);
        let entries = self.pool.search(&self.options.user_base, filter, &attributes).await?;
        Ok(entries
            .iter()
            .filter_map(|entry| search::person(&self.options, entry))
            .collect())
    }
}
