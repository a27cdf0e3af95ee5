//! Who may be sent to and who may send: realms of clusters that share a key, and hosts that plain URLs may name.
//!
//! ```text
//! //REALM/CLUSTER/ACCOUNT/CONTAINER     endpoint of the cluster + /ACCOUNT/CONTAINER; requests are signed
//! http[s]://HOST/v1/ACCOUNT/CONTAINER   HOST is one of the hosts; requests carry the container's key itself
//!
//! X-Container-Sync-Auth: REALM NONCE SIGNATURE
//! SIGNATURE = hex HMAC-SHA1(realm key, METHOD \n PATH \n X-TIMESTAMP \n NONCE \n container's key)
//! ```
//! The digest is given by Swift's protocol. Names of realms and clusters are compared without case.

use std::path::PathBuf;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use http::Uri;
use serde_json::{Value, json};
use sha1::Sha1;

/// A set of clusters that let their containers be synced with each other.
#[derive(Clone)]
pub struct SyncRealm {
    /// Its name.
    pub name: String,
    /// Signs what is sent, and judges what comes.
    pub key: String,
    /// Judges what comes as well, while keys are changed.
    pub key2: Option<String>,
    /// Name and endpoint (`https://host/v1/`) of each cluster.
    pub clusters: Vec<(String, String)>,
}

/// Settings of container sync. By default nobody is sent to and nothing is taken.
#[derive(Clone)]
pub struct SyncOptions {
    /// The realms.
    pub realms: Vec<SyncRealm>,
    /// Realm and name of this cluster, for `/info`.
    pub current: Option<(String, String)>,
    /// Hosts that plain URLs may lead to.
    pub hosts: Vec<String>,
    /// Takes requests that carry the container's key itself instead of a signature.
    pub key_header: bool,
    /// The pause between two looks at the queues.
    pub every: Duration,
    /// The authorities (PEM) that certificates of others are judged by; the system's when there is none.
    pub authorities: Option<PathBuf>,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            realms: Vec::new(),
            current: None,
            hosts: Vec::new(),
            key_header: false,
            every: Duration::from_secs(10),
            authorities: None,
        }
    }
}

/// Where a container is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) https: bool,
    /// Host and port as the URL has them.
    pub(crate) authority: String,
    /// `/v1/ACCOUNT/CONTAINER`, percent-encoded.
    pub(crate) path: String,
    /// The realm's name when requests are signed.
    pub(crate) realm: Option<String>,
}

/// The realms and hosts of this cluster, as questions.
#[derive(Clone, Copy)]
pub(crate) struct Realms<'a>(pub(crate) &'a SyncOptions);

impl Realms<'_> {
    fn realm(&self, name: &str) -> Option<&SyncRealm> {
        let same = |realm: &&SyncRealm| realm.name.eq_ignore_ascii_case(name);
        self.0.realms.iter().find(same)
    }

    /// Where a setting leads; the reason when it leads nowhere.
    pub(crate) fn destination(&self, value: &str) -> Result<Destination, String> {
        let trimmed = value.trim_end_matches('/');
        let Some(named) = trimmed.strip_prefix("//") else {
            return self.plain(trimmed);
        };
        let pieces: Vec<&str> = named.split('/').collect();
        let &[realm, cluster, account, container] = pieces.as_slice() else {
            return Err(format!("Invalid X-Container-Sync-To format '{value}'"));
        };
        let found = self.realm(realm).ok_or_else(|| format!("No realm key for '{realm}'"))?;
        let endpoint = found
            .clusters
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(cluster));
        let (_, endpoint) = endpoint.ok_or_else(|| format!("No cluster endpoint for '{realm}' '{cluster}'"))?;
        let url = format!("{}/{account}/{container}", endpoint.trim_end_matches('/'));
        let destination = parse(&url).filter(|_| is_name(account) && is_name(container));
        let destination = destination.ok_or_else(|| format!("Invalid X-Container-Sync-To format '{value}'"))?;
        Ok(Destination {
            realm: Some(found.name.to_uppercase()),
            ..destination
        })
    }

    fn plain(&self, value: &str) -> Result<Destination, String> {
        let (scheme, rest) = value.split_once("://").unwrap_or(("", value));
        if scheme != "http" && scheme != "https" {
            return Err(format!(
                "Invalid scheme '{scheme}' in X-Container-Sync-To, must be \"//\", \"http\", or \"https\"."
            ));
        }
        if rest.contains(['?', '#', ';']) {
            return Err("Params, queries, and fragments not allowed in X-Container-Sync-To".to_owned());
        }
        let path = rest.split_once('/').map(|(_, path)| path).unwrap_or_default();
        if path.is_empty() {
            return Err("Path required in X-Container-Sync-To".to_owned());
        }
        let host = value.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        let host = host.unwrap_or_default();
        let known = |allowed: &String| !host.is_empty() && allowed.eq_ignore_ascii_case(&host);
        if !self.0.hosts.iter().any(known) {
            return Err(format!("Invalid host '{host}' in X-Container-Sync-To"));
        }
        parse(value)
            .filter(|_| path.split('/').all(is_name))
            .ok_or_else(|| "Invalid X-Container-Sync-To".to_owned())
    }

    /// What a request of ours carries: realm, nonce and signature.
    pub(crate) fn sign(&self, realm: &str, request: &Signed<'_>) -> Option<String> {
        let key = &self.realm(realm)?.key;
        let signature = hex::encode(request.mac(key).finalize().into_bytes());
        Some(format!("{realm} {} {signature}", request.nonce))
    }

    /// Whether one of a realm's keys made a signature. Takes the same time for every wrong one.
    pub(crate) fn is_signed(&self, realm: &str, signature: &str, request: &Signed<'_>) -> bool {
        let (Some(realm), Ok(signature)) = (self.realm(realm), hex::decode(signature)) else {
            return false;
        };
        let keys = std::iter::once(&realm.key).chain(&realm.key2);
        keys.fold(false, |signed, key| {
            request.mac(key).verify_slice(&signature).is_ok() | signed
        })
    }

    /// What `/info` tells.
    pub(crate) fn told(&self) -> Value {
        let mut realms = serde_json::Map::new();
        for realm in &self.0.realms {
            let mut clusters = serde_json::Map::new();
            for (name, _) in &realm.clusters {
                let same = |(own, cluster): &(String, String)| {
                    own.eq_ignore_ascii_case(&realm.name) && cluster.eq_ignore_ascii_case(name)
                };
                let current = self.0.current.as_ref().is_some_and(same);
                let about = if current { json!({ "current": true }) } else { json!({}) };
                clusters.insert(name.to_uppercase(), about);
            }
            realms.insert(realm.name.to_uppercase(), json!({ "clusters": clusters }));
        }
        json!({ "realms": realms })
    }
}

/// What a signature covers.
#[derive(Clone)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) timestamp: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) container_key: &'a str,
}

impl Signed<'_> {
    fn mac(&self, realm_key: &str) -> Hmac<Sha1> {
        let mut mac = Hmac::<Sha1>::new_from_slice(realm_key.as_bytes()).expect("a MAC takes keys of any length");
        let lines = [self.method, self.path, self.timestamp, self.nonce, self.container_key];
        mac.update(lines.join("\n").as_bytes());
        mac
    }
}

/// A piece of a path that names something: no way up, nothing empty.
fn is_name(piece: &str) -> bool {
    !piece.is_empty() && piece != "." && piece != ".."
}

fn parse(url: &str) -> Option<Destination> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    if authority.as_str().contains('@') || uri.query().is_some() {
        return None;
    }
    Some(Destination {
        https: uri.scheme_str()? == "https",
        authority: authority.as_str().to_owned(),
        path: uri.path().trim_end_matches('/').to_owned(),
        realm: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> SyncOptions {
        SyncOptions {
            realms: vec![SyncRealm {
                name: "Realm1".into(),
                key: "realm1key".into(),
                key2: Some("realm1key2".into()),
                clusters: vec![("One".into(), "https://host1:8080/v1/".into())],
            }],
            current: Some(("REALM1".into(), "one".into())),
            hosts: vec!["host2".into()],
            ..SyncOptions::default()
        }
    }

    #[test]
    fn realms_and_hosts_lead_to_urls() {
        let options = options();
        let realms = Realms(&options);
        let to = realms.destination("//realm1/ONE/AUTH_a/c%20d/").expect("a realm");
        assert_eq!((to.https, to.authority.as_str()), (true, "host1:8080"));
        assert_eq!(
            (to.path.as_str(), to.realm.as_deref()),
            ("/v1/AUTH_a/c%20d", Some("REALM1"))
        );
        let to = realms.destination("http://HOST2/v1/AUTH_a/c").expect("a host");
        assert_eq!((to.https, to.path.as_str(), to.realm), (false, "/v1/AUTH_a/c", None));
    }

    #[test]
    fn what_leads_nowhere_is_refused_with_the_reason() {
        let options = options();
        for (value, why) in [
            ("//realm1/one/AUTH_a", "format"),
            ("//realm1/one/AUTH_a/c/o", "format"),
            ("//realm1/one/../c", "format"),
            ("//realm1/one/AUTH_a/c?x", "format"),
            ("//realm2/one/AUTH_a/c", "No realm key"),
            ("//realm1/two/AUTH_a/c", "No cluster endpoint"),
            ("ftp://host2/v1/a/c", "Invalid scheme"),
            ("host2/v1/a/c", "Invalid scheme"),
            ("http://host2", "Path required"),
            ("http://host2/v1/a/c?q", "queries"),
            ("http://host3/v1/a/c", "Invalid host"),
            ("http://host2@host3/v1/a/c", "Invalid host"),
            ("http://me@host2/v1/a/c", "Invalid X"),
            ("http://host2/v1/a/../b/c", "Invalid X"),
        ] {
            let told = Realms(&options).destination(value).expect_err(value);
            assert!(told.contains(why), "{value}: {told}");
        }
    }

    /// Computed with Python's `hmac`.
    const EXPECTED: &str = "f7992e481e41e7df0219146f69aa7f7d385a8d97";

    #[test]
    fn sec_1_signatures_are_those_of_swift() {
        let options = options();
        let realms = Realms(&options);
        let request = Signed {
            method: "PUT",
            path: "/v1/AUTH_a/c/o%20p",
            timestamp: "1400000000.12300",
            nonce: "abc",
            container_key: "userkey",
        };
        let signed = realms.sign("REALM1", &request).expect("a realm");
        assert_eq!(signed, format!("REALM1 abc {EXPECTED}"));
        assert!(realms.is_signed("realm1", EXPECTED, &request));
        let mut second = options.clone();
        second.realms[0].key2 = Some(std::mem::replace(&mut second.realms[0].key, "new".into()));
        assert!(
            Realms(&second).is_signed("realm1", EXPECTED, &request),
            "the second key judges as well"
        );
        for other in [
            Signed {
                method: "DELETE",
                ..request.clone()
            },
            Signed {
                path: "/v1/AUTH_a/c/o",
                ..request.clone()
            },
            Signed {
                timestamp: "1400000000.12301",
                ..request.clone()
            },
            Signed {
                nonce: "abd",
                ..request.clone()
            },
            Signed {
                container_key: "other",
                ..request.clone()
            },
        ] {
            assert!(!realms.is_signed("realm1", EXPECTED, &other));
        }
        assert!(!realms.is_signed("realm2", EXPECTED, &request));
        assert!(!realms.is_signed("realm1", "zz", &request));
        assert!(!realms.is_signed("realm1", "", &request));
    }

    #[test]
    fn info_tells_realms_and_where_this_cluster_stands() {
        let told = Realms(&options()).told();
        assert_eq!(
            told,
            json!({ "realms": { "REALM1": { "clusters": { "ONE": { "current": true } } } } })
        );
    }
}
