//! Connections to one directory: bounded in number, in waiting, in time; kept for the next search when they are good.
//!
//! Searches share connections of the one who searches. A login has a connection of its own, which ends with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry, SearchOptions};
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{LdapOptions, LdapSetupError};
use crate::error::IdentityError;

/// Searches and logins that wait for a connection; one more is told to come back.
const WAITING_MAX: usize = 256;
/// The directory had more entries than were asked for.
const SIZE_LIMIT_EXCEEDED: u32 = 4;

pub(super) struct Pool {
    url: String,
    start_tls: bool,
    tls: Option<Arc<ClientConfig>>,
    searcher: Option<(String, zeroize::Zeroizing<String>)>,
    timeout: Duration,
    entries_max: usize,
    connections: Semaphore,
    waiting: Semaphore,
    idle: Mutex<Vec<Ldap>>,
}

impl Pool {
    pub(super) fn new(options: &LdapOptions) -> Result<Self, LdapSetupError> {
        let searcher = options.bind_dn.clone().map(|dn| {
            let password = options.bind_password.clone().unwrap_or_default();
            (dn, password)
        });
        Ok(Self {
            url: options.url.clone(),
            start_tls: options.start_tls,
            tls: options.ca_pem.as_deref().map(trusting).transpose()?,
            searcher,
            timeout: options.timeout,
            entries_max: options.entries_max,
            connections: Semaphore::new(options.connections_max.max(1)),
            waiting: Semaphore::new(WAITING_MAX),
            idle: Mutex::new(Vec::new()),
        })
    }

    /// The entries below `base` that match; at most as many as the setting says.
    pub(super) async fn search(
        &self,
        base: &str,
        filter: &str,
        attributes: &[String],
    ) -> Result<Vec<SearchEntry>, IdentityError> {
        let _room = self.enter().await?;
        let searching = async {
            // The directory may have closed a connection that was kept; a new one decides.
            let kept = self.idle.lock().pop();
            if let Some(mut ldap) = kept
                && let Ok((found, all)) = self.search_on(&mut ldap, base, filter, attributes).await
            {
                self.keep(ldap, all);
                return Ok(found);
            }
            let mut ldap = self.connect().await?;
            if let Some((dn, password)) = &self.searcher {
                ldap.with_timeout(self.timeout)
                    .simple_bind(dn, password)
                    .await?
                    .success()?;
            }
            let (found, all) = self.search_on(&mut ldap, base, filter, attributes).await?;
            self.keep(ldap, all);
            Ok(found)
        };
        self.within(searching).await
    }

    /// Whether the directory takes a password for an entry.
    pub(super) async fn bind(&self, dn: &str, password: &str) -> Result<bool, IdentityError> {
        let _room = self.enter().await?;
        let binding = async {
            let mut ldap = self.connect().await?;
            let answer = ldap.with_timeout(self.timeout).simple_bind(dn, password).await?;
            let _ = ldap.with_timeout(self.timeout).unbind().await;
            Ok(answer.rc == 0)
        };
        self.within(binding).await
    }

    async fn enter(&self) -> Result<SemaphorePermit<'_>, IdentityError> {
        let _place = self.waiting.try_acquire().map_err(|_| IdentityError::Busy)?;
        let turn = tokio::time::timeout(self.timeout, self.connections.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or(IdentityError::Busy)
    }

    /// Twice the time of one step, because a search may need a new connection first.
    async fn within<T>(&self, asked: impl Future<Output = Result<T, LdapError>>) -> Result<T, IdentityError> {
        let failed = |why: String| {
            tracing::warn!(url = self.url, why, "the directory did not answer");
            IdentityError::Directory
        };
        match tokio::time::timeout(self.timeout * 2, asked).await {
            Ok(answer) => answer.map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed("it took too long".to_owned())),
        }
    }

    async fn connect(&self) -> Result<Ldap, LdapError> {
        let mut settings = LdapConnSettings::new()
            .set_conn_timeout(self.timeout)
            .set_starttls(self.start_tls);
        if let Some(tls) = &self.tls {
            settings = settings.set_config(tls.clone());
        }
        let (connection, ldap) = LdapConnAsync::with_settings(settings, &self.url).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "a connection to the directory ended");
            }
        });
        Ok(ldap)
    }

    /// Keeps a connection for the next search, unless entries of the last are still on their way.
    fn keep(&self, ldap: Ldap, all: bool) {
        if all {
            self.idle.lock().push(ldap);
        }
    }

    /// Entries, and whether the directory sent no more.
    async fn search_on(
        &self,
        ldap: &mut Ldap,
        base: &str,
        filter: &str,
        attributes: &[String],
    ) -> Result<(Vec<SearchEntry>, bool), LdapError> {
        let bounds = SearchOptions::new()
            .sizelimit(i32::try_from(self.entries_max).unwrap_or(i32::MAX))
            .timelimit(i32::try_from(self.timeout.as_secs().max(1)).unwrap_or(i32::MAX));
        ldap.with_search_options(bounds).with_timeout(self.timeout);
        let mut stream = ldap
            .streaming_search(base, Scope::Subtree, filter, attributes.to_vec())
            .await?;
        let mut found = Vec::new();
        while let Some(entry) = stream.next().await? {
            if entry.is_ref() || entry.is_intermediate() {
                continue;
            }
            if found.len() >= self.entries_max {
                // It does not keep to the limit.
                return Ok((found, false));
            }
            // The library panics at an entry that is not one of RFC 4511.
            if let Ok(entry) = catch_unwind(AssertUnwindSafe(|| SearchEntry::construct(entry))) {
                found.push(entry);
            }
        }
        let answer = stream.finish().await;
        if answer.rc == SIZE_LIMIT_EXCEEDED {
            tracing::warn!(
                base,
                entries = found.len(),
                "the directory has more entries than one search may give"
            );
            return Ok((found, true));
        }
        answer.success()?;
        Ok((found, true))
    }
}

/// A client that trusts these certificates and no others.
fn trusting(pem: &[u8]) -> Result<Arc<ClientConfig>, LdapSetupError> {
    let wrong = |why: String| LdapSetupError::Certificates(why);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("there is none in the file".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| wrong(error.to_string()))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
