//! The old way to a token (`GET /auth/v1.0`), for clients older than identity services. Off unless it is configured.
//!
//! ```text
//! token = AUTH_tk | base64url(JSON {account, user, expires}) | . | hex(HMAC-SHA256 of that, under the cluster's key)
//! ```
//! Any process can judge a token without asking another. Users stand in a file, one line each:
//! `account user key [.admin] [.reseller_admin] [group …]`. Access keys of projects open their project as well:
//! `X-Auth-User: project:access-key`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode};
use identity::KeySource;
use identity::token::{
    DomainRef, ProjectRef, ROLE_MEMBER, ROLE_READER, ROLE_RESELLER, ROLE_RESELLER_READER, Scope, TokenContext,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::principal::Principal;
use super::reply::{Answer, Refused, Reply, refuse};

/// How long a token lives, in seconds.
const TOKEN_LIFE_S: u64 = 86_400;
/// How every token of this kind begins.
const PREFIX: &str = "AUTH_tk";
/// Groups of the file that mean roles.
const GROUPS: &[(&str, &[&str])] = &[
    (".admin", &[ROLE_MEMBER, ROLE_READER]),
    (".reseller_admin", &[ROLE_RESELLER]),
    (".reseller_reader", &[ROLE_RESELLER_READER]),
];

/// Old authentication: its users, and the key its tokens are signed with.
#[derive(Clone)]
pub struct V1Auth {
    users: Arc<[V1User]>,
    access_keys: Option<Arc<dyn KeySource>>,
    signing_key: [u8; 32],
}

#[derive(Clone, Debug)]
struct V1User {
    account: String,
    user: String,
    key: [u8; 32],
    groups: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    account: String,
    user: String,
    expires: u64,
}

/// Why a file of users is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0} of the users is not `account user key [group …]`")]
pub struct BadUsers(usize);

impl V1Auth {
    /// Users as a file lists them; empty lines and `#` lines do not count. Access keys are accepted when `access_keys` is
    /// given. All processes of a cluster must be given the same `secret`; tokens are signed with a key made of it.
    ///
    /// # Errors
    /// [`BadUsers`].
    pub fn new(users: &str, access_keys: Option<Arc<dyn KeySource>>, secret: &[u8; 32]) -> Result<Self, BadUsers> {
        let lines = users.lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
        let users: Result<Vec<V1User>, BadUsers> = lines
            .map(|(at, line)| {
                let mut words = line.split_whitespace().map(str::to_owned);
                match (words.next(), words.next(), words.next()) {
                    (Some(account), Some(user), Some(key)) => Ok(V1User {
                        account,
                        user,
                        key: digest(&key),
                        groups: words.collect(),
                    }),
                    _ => Err(BadUsers(at + 1)),
                }
            })
            .collect();
        Ok(Self {
            users: users?.into(),
            access_keys,
            signing_key: derived(secret),
        })
    }

    /// Answers a request for a token. `origin` is what the client reached us under, `http://host:port` say.
    pub(crate) async fn answer(&self, headers: &HeaderMap, origin: &str, now_ms: u64) -> Answer {
        let header = |names: [&str; 2]| names.into_iter().find_map(|name| headers.get(name)?.to_str().ok());
        let user = header(["x-auth-user", "x-storage-user"]).ok_or_else(unauthorized)?;
        let key = header(["x-auth-key", "x-storage-pass"]).ok_or_else(unauthorized)?;
        let (account, user) = user.split_once(':').ok_or_else(unauthorized)?;
        if !self.opens(account, user, key).await? {
            return Err(unauthorized());
        }
        let token = self.token(account, user, now_ms / 1000 + TOKEN_LIFE_S);
        let url = format!("{origin}/v1/AUTH_{}", super::path::quote(account));
        Ok(Reply::new(StatusCode::OK)
            .with("x-auth-token", &token)
            .with("x-storage-token", &token)
            .with("x-auth-token-expires", TOKEN_LIFE_S.to_string())
            .with("x-storage-url", url))
    }

    async fn opens(&self, account: &str, user: &str, key: &str) -> Result<bool, Refused> {
        let key = digest(key);
        if let Some(known) = self.user(account, user) {
            return Ok(known.key == key);
        }
        Ok(match self.access_key(account, user).await? {
            Some(secret) => digest(&secret.secret) == key,
            None => false,
        })
    }

    fn user(&self, account: &str, user: &str) -> Option<&V1User> {
        self.users
            .iter()
            .find(|known| known.account == account && known.user == user)
    }

    async fn access_key(&self, account: &str, user: &str) -> Result<Option<Arc<identity::AccessKey>>, Refused> {
        let Some(keys) = &self.access_keys else { return Ok(None) };
        let found = keys
            .lookup(user)
            .await
            .map_err(|_| refuse(StatusCode::SERVICE_UNAVAILABLE))?;
        Ok(found.filter(|key| key.project == account))
    }

    fn mac(&self, claims: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.signing_key).expect("a MAC takes keys of any length");
        mac.update(claims.as_bytes());
        mac
    }

    fn token(&self, account: &str, user: &str, expires: u64) -> String {
        let (account, user) = (account.to_owned(), user.to_owned());
        let claims = serde_json::to_vec(&Claims { account, user, expires }).expect("strings and numbers are JSON");
        let claims = URL_SAFE_NO_PAD.encode(claims);
        let signature = hex::encode(self.mac(&claims).finalize().into_bytes());
        format!("{PREFIX}{claims}.{signature}")
    }

    /// Who a token speaks for; `None` when it is none of ours, has expired, or its user is gone.
    pub(crate) async fn principal(&self, token: &str, now_ms: u64) -> Result<Option<Principal>, Refused> {
        let Some(claims) = self.claims(token).filter(|claims| claims.expires > now_ms / 1000) else {
            return Ok(None);
        };
        let Claims { account, user, .. } = claims;
        let Some(known) = self.user(&account, &user) else {
            // An access key's token is worth what whoever acts with the key is.
            let key = self.access_key(&account, &user).await?;
            return Ok(key.map(|key| Principal {
                groups: vec![account.clone(), format!("{account}:{user}")],
                ..Principal::of(key.caller.clone())
            }));
        };
        let has = |group: &str| known.groups.iter().any(|given| given == group);
        let given: Vec<&str> = GROUPS
            .iter()
            .filter(|(group, _)| has(group))
            .flat_map(|(_, roles)| roles.iter().copied())
            .collect();
        let scope = Scope::Project(ProjectRef {
            id: account.clone(),
            name: account.clone(),
            domain: DomainRef {
                id: "default".to_owned(),
                name: "default".to_owned(),
            },
        });
        let mut names = vec![account.clone(), format!("{account}:{user}")];
        names.extend(known.groups.iter().filter(|group| !group.starts_with('.')).cloned());
        Ok(Some(Principal {
            groups: names,
            roles: Vec::new(),
            context: Arc::new(TokenContext::vouched(&user, scope, &given)),
        }))
    }

    fn claims(&self, token: &str) -> Option<Claims> {
        let (claims, signature) = token.strip_prefix(PREFIX)?.split_once('.')?;
        let signature = hex::decode(signature).ok()?;
        self.mac(claims).verify_slice(&signature).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

/// The secret has other uses, so tokens get a key of their own.
fn derived(secret: &[u8; 32]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a MAC takes keys of any length");
    mac.update(b"halo swift v1 tokens");
    mac.finalize().into_bytes().into()
}

/// Keys are compared by digest, so that the time of a comparison tells nothing about the key.
fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// 401 as this interface answers it.
fn unauthorized() -> Refused {
    let mut refused = refuse(StatusCode::UNAUTHORIZED);
    refused.set("www-authenticate", "Swift realm=\"unknown\"");
    refused
}

#[cfg(test)]
mod tests {
    use super::super::principal::Home;
    use super::*;

    fn auth() -> V1Auth {
        V1Auth::new("# users\nacc tester secret .admin\nacc guest other\n", None, &[7; 32]).expect("good lines")
    }

    #[tokio::test]
    async fn sec_1_a_token_is_good_for_its_user_until_it_expires() {
        let auth = auth();
        let token = auth.token("acc", "tester", 100);
        let principal = auth
            .principal(&token, 99_000)
            .await
            .map_err(|_| ())
            .expect("judged")
            .expect("good");
        assert_eq!(principal.in_project("acc"), Home::Owner);
        assert_eq!(principal.in_project("other"), Home::Stranger);
        assert!(
            auth.principal(&token, 100_000).await.is_ok_and(|found| found.is_none()),
            "expired"
        );
        let mut forged = token.clone();
        forged.pop();
        assert!(auth.principal(&forged, 1).await.is_ok_and(|found| found.is_none()));
        let stranger = auth.token("acc", "gone", 100);
        assert!(auth.principal(&stranger, 1).await.is_ok_and(|found| found.is_none()));
        let other = V1Auth::new("acc tester secret", None, &[8; 32]).expect("good lines");
        assert!(
            other.principal(&token, 1).await.is_ok_and(|found| found.is_none()),
            "another key"
        );
    }

    #[tokio::test]
    async fn keys_open_accounts() {
        let auth = auth();
        assert!(auth.opens("acc", "tester", "secret").await.is_ok_and(|open| open));
        for (account, user, key) in [
            ("acc", "tester", "other"),
            ("acc", "nobody", "secret"),
            ("b", "tester", "secret"),
        ] {
            assert!(auth.opens(account, user, key).await.is_ok_and(|open| !open));
        }
        assert_eq!(V1Auth::new("one two", None, &[0; 32]).err(), Some(BadUsers(1)));
    }
}
