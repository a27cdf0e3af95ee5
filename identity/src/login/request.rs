//! The body of `POST /v3/auth/tokens`, taken apart.

use serde::Deserialize;
use serde_json::Value;

use crate::refusal::Refusal;
use crate::token::AuthMethod;

/// The most methods one request may name.
const METHODS_MAX: usize = 8;

/// The whole body.
#[derive(Deserialize)]
pub(crate) struct AuthRequest {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    identity: Proofs,
    #[serde(default)]
    scope: Option<Value>,
}

#[derive(Deserialize)]
struct Proofs {
    methods: Vec<String>,
    #[serde(default)]
    password: Option<PasswordBlock>,
    #[serde(default)]
    token: Option<TokenBlock>,
    #[serde(default)]
    totp: Option<TotpBlock>,
    #[serde(default)]
    application_credential: Option<ApplicationCredentialProof>,
}

#[derive(Deserialize)]
struct PasswordBlock {
    user: PasswordProof,
}

#[derive(Deserialize)]
struct TotpBlock {
    user: TotpProof,
}

#[derive(Deserialize)]
struct TokenBlock {
    id: String,
}

/// A domain by id or name.
#[derive(Clone, Deserialize)]
pub(crate) struct DomainName {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
}

/// Something in a domain, by id or by name and domain.
#[derive(Clone, Deserialize)]
pub(crate) struct Named {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) domain: Option<DomainName>,
}

/// A user by id or by name and domain.
pub(crate) type UserName = Named;

/// A user and a password.
#[derive(Deserialize)]
pub(crate) struct PasswordProof {
    #[serde(flatten)]
    pub(crate) user: UserName,
    pub(crate) password: String,
}

/// A user and a one-time password.
#[derive(Deserialize)]
pub(crate) struct TotpProof {
    #[serde(flatten)]
    pub(crate) user: UserName,
    pub(crate) passcode: String,
}

/// An application credential and its secret.
#[derive(Deserialize)]
pub(crate) struct ApplicationCredentialProof {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) user: Option<UserName>,
    pub(crate) secret: String,
}

/// A scope asked for.
pub(crate) enum ScopeWish {
    Unscoped,
    System,
    Domain(DomainName),
    Project(Named),
    Trust(String),
}

impl AuthRequest {
    /// Out of the body.
    ///
    /// # Errors
    /// 400 with where it has not its form; never with what it holds.
    pub(crate) fn parse(body: &Value) -> Result<Self, Refusal> {
        Self::deserialize(body)
            .map_err(|error| Refusal::BadRequest(format!("the body is no request for a token: {}", plain(&error))))
    }

    /// The methods named, each once.
    pub(crate) fn methods(&self) -> Result<Vec<AuthMethod>, Refusal> {
        let names = &self.auth.identity.methods;
        if names.is_empty() || names.len() > METHODS_MAX {
            return Err(Refusal::BadRequest(
                "auth.identity.methods must name at least one method.".into(),
            ));
        }
        let mut methods = Vec::new();
        for name in names {
            let method = match name.as_str() {
                "password" => AuthMethod::Password,
                "token" => AuthMethod::Token,
                "totp" => AuthMethod::Totp,
                "application_credential" => AuthMethod::ApplicationCredential,
                _ => return Err(Refusal::Unauthorized),
            };
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
        Ok(methods)
    }

    pub(crate) fn password(&self) -> Result<&PasswordProof, Refusal> {
        let block = self.auth.identity.password.as_ref();
        block.map(|block| &block.user).ok_or_else(|| missing("password"))
    }

    pub(crate) fn totp(&self) -> Result<&TotpProof, Refusal> {
        let block = self.auth.identity.totp.as_ref();
        block.map(|block| &block.user).ok_or_else(|| missing("totp"))
    }

    pub(crate) fn token(&self) -> Result<&str, Refusal> {
        let block = self.auth.identity.token.as_ref();
        block.map(|block| block.id.as_str()).ok_or_else(|| missing("token"))
    }

    pub(crate) fn application_credential(&self) -> Result<&ApplicationCredentialProof, Refusal> {
        let block = self.auth.identity.application_credential.as_ref();
        block.ok_or_else(|| missing("application_credential"))
    }

    /// The scope asked for, if one was.
    pub(crate) fn scope(&self) -> Result<Option<ScopeWish>, Refusal> {
        let wrong = |why: &str| Refusal::BadRequest(format!("auth.scope: {why}"));
        let scope = match &self.auth.scope {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text == "unscoped" => return Ok(Some(ScopeWish::Unscoped)),
            Some(Value::Object(scope)) => scope,
            Some(_) => return Err(wrong("it must be an object")),
        };
        let mut kinds = scope.iter();
        let (Some((kind, wanted)), None) = (kinds.next(), kinds.next()) else {
            return Err(wrong(
                "name exactly one of project, domain, system, OS-TRUST:trust and unscoped",
            ));
        };
        let wish = match kind.as_str() {
            "unscoped" => ScopeWish::Unscoped,
            "system" if wanted.get("all") == Some(&Value::Bool(true)) => ScopeWish::System,
            "system" => return Err(wrong("system must be {\"all\": true}")),
            "domain" => ScopeWish::Domain(DomainName::deserialize(wanted).map_err(|error| wrong(&plain(&error)))?),
            "project" => ScopeWish::Project(Named::deserialize(wanted).map_err(|error| wrong(&plain(&error)))?),
            "OS-TRUST:trust" => match wanted.get("id").and_then(Value::as_str) {
                Some(id) => ScopeWish::Trust(id.to_owned()),
                None => return Err(wrong("a trust is named by its id")),
            },
            _ => return Err(wrong("there is no such kind of scope")),
        };
        Ok(Some(wish))
    }
}

fn missing(method: &str) -> Refusal {
    Refusal::BadRequest(format!("Expecting to find {method} in identity."))
}

/// An error's sentence without the values it quotes: they may be secrets.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") {
        text
    } else {
        "a field has the wrong type".to_owned()
    }
}
