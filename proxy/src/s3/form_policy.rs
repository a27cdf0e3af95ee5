//! The policy of a browser form: who signed it, until when it holds, and what it allows.
//!
//! ```text
//! policy     = base64 of {"expiration": ISO 8601, "conditions": [condition…]}
//! condition  = {"field": "value"} | ["eq" | "starts-with", "$field", "value"] | ["content-length-range", min, max]
//! signature  = V4: hex(HMAC(key of the scope, policy))     V2, when it is on: base64(HMAC-SHA1(secret, policy))
//! ```
//! s3s verifies forms too, but only with the whole file in memory; what is signed is one opaque text, so it is verified
//! here and the file streams.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use s3s::{S3Error, S3Result};
use serde_json::{Map, Value};
use sha1::Sha1;
use sha2::Sha256;
use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;

use super::errors::{error, error_with, invalid_argument};
use super::form::Fields;
use super::signed::parse_amz_date;

/// Fields that no condition need name: they say who signed, or are the policy, or are declared meaningless.
const FREE: [&str; 6] = [
    "awsaccesskeyid",
    "signature",
    "policy",
    "x-amz-signature",
    "file",
    "submit",
];
/// How far a signature's date may lie ahead, in seconds.
const SKEW_SECONDS_MAX: i64 = 900;

/// Who signed a form, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FormSigner {
    /// Version 4, with the parts of its scope.
    V4 {
        access_key: String,
        scope: [String; 3],
        signature: Vec<u8>,
    },
    /// Version 2.
    V2 { access_key: String, signature: Vec<u8> },
}

fn missing(field: &str) -> S3Error {
    invalid_argument(format!(
        "Bucket POST must contain a field named '{field}'. If it is specified, please check the order of the fields."
    ))
}

fn malformed() -> S3Error {
    error_with(
        "AuthorizationQueryParametersError",
        "The credential of the form is mal-formed.",
    )
}

impl FormSigner {
    /// Reads who signed; `None`: nobody.
    pub(crate) fn of(fields: &Fields, now: i64, sigv2: bool) -> S3Result<Option<Self>> {
        if fields.get("x-amz-algorithm").is_some() || fields.get("x-amz-signature").is_some() {
            return Self::version_4(fields, now).map(Some);
        }
        let (key, signature) = (fields.get("awsaccesskeyid"), fields.get("signature"));
        if key.is_none() && signature.is_none() && fields.get("policy").is_none() {
            return Ok(None);
        }
        if !sigv2 {
            return Err(super::errors::invalid_request(
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            ));
        }
        let signature = signature.ok_or_else(|| missing("signature"))?;
        Ok(Some(Self::V2 {
            access_key: key.ok_or_else(|| missing("AWSAccessKeyId"))?.to_owned(),
            signature: BASE64.decode(signature).map_err(|_| error("SignatureDoesNotMatch"))?,
        }))
    }

    fn version_4(fields: &Fields, now: i64) -> S3Result<Self> {
        let field = |name: &str| fields.get(name).ok_or_else(|| missing(name));
        if field("x-amz-algorithm")? != "AWS4-HMAC-SHA256" {
            return Err(invalid_argument("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
        }
        let date = field("x-amz-date")?;
        let at = parse_amz_date(date).ok_or_else(malformed)?;
        if at.saturating_sub(now) > SKEW_SECONDS_MAX {
            return Err(error("RequestTimeTooSkewed"));
        }
        let mut parts = field("x-amz-credential")?.rsplitn(5, '/');
        let (end, service, region, day, key) = (parts.next(), parts.next(), parts.next(), parts.next(), parts.next());
        let (Some("aws4_request"), Some("s3"), Some(region), Some(day), Some(key)) = (end, service, region, day, key)
        else {
            return Err(malformed());
        };
        if !date.starts_with(day) || day.len() != 8 {
            return Err(malformed());
        }
        Ok(Self::V4 {
            access_key: key.to_owned(),
            scope: [day.to_owned(), region.to_owned(), "s3".to_owned()],
            signature: hex::decode(field("x-amz-signature")?).map_err(|_| error("SignatureDoesNotMatch"))?,
        })
    }

    /// Whose secret verifies.
    pub(crate) fn access_key(&self) -> &str {
        match self {
            Self::V4 { access_key, .. } | Self::V2 { access_key, .. } => access_key,
        }
    }

    /// Whether the policy was signed with this secret. Compares in constant time.
    pub(crate) fn verifies(&self, policy: &str, secret: &str) -> bool {
        match self {
            Self::V2 { signature, .. } => {
                let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("any length will do");
                mac.update(policy.as_bytes());
                mac.verify_slice(signature).is_ok()
            }
            Self::V4 { scope, signature, .. } => {
                let first = format!("AWS4{secret}").into_bytes();
                let parts = scope.iter().map(String::as_str).chain(["aws4_request"]);
                let key = parts.fold(first, |key, part| mac_256(&key, part).finalize().into_bytes().to_vec());
                mac_256(&key, policy).verify_slice(signature).is_ok()
            }
        }
    }
}

fn mac_256(key: &[u8], text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
    mac.update(text.as_bytes());
    mac
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Equals(String, String),
    Begins(String, String),
    Length(u64, u64),
}

/// What a signed policy allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormPolicy {
    expires: i64,
    conditions: Vec<Condition>,
}

fn invalid(why: &str) -> S3Error {
    error_with("InvalidPolicyDocument", format!("Invalid Policy: {why}"))
}

fn denied(why: &str) -> S3Error {
    error_with("AccessDenied", format!("Invalid according to Policy: {why}"))
}

impl FormPolicy {
    /// Reads a policy.
    pub(crate) fn parse(encoded: &str) -> S3Result<Self> {
        let json = BASE64.decode(encoded).map_err(|_| invalid("it is not base64."))?;
        let policy: Map<String, Value> = serde_json::from_slice(&json).map_err(|_| invalid("Invalid JSON."))?;
        let expiration = policy.get("expiration").and_then(Value::as_str);
        let expiration = expiration.ok_or_else(|| invalid("Policy missing expiration."))?;
        let expires = OffsetDateTime::parse(expiration, &Iso8601::DEFAULT);
        let expires = expires
            .map_err(|_| invalid("Invalid 'expiration' value."))?
            .unix_timestamp();
        let conditions = policy.get("conditions").and_then(Value::as_array);
        let conditions = conditions.ok_or_else(|| invalid("Policy missing conditions."))?;
        let conditions: Vec<Condition> = conditions.iter().map(condition).collect::<S3Result<_>>()?;
        Ok(Self { expires, conditions })
    }

    /// Whether the policy holds now and allows these fields; every field must be named by a condition.
    pub(crate) fn allows(&self, fields: &Fields, now: i64) -> S3Result<()> {
        if now > self.expires {
            return Err(denied("Policy expired."));
        }
        for condition in &self.conditions {
            let (name, holds) = match condition {
                Condition::Length(..) => continue,
                Condition::Equals(name, value) => (name, fields.get(name) == Some(value.as_str())),
                Condition::Begins(name, value) => {
                    let given = fields.get(name);
                    // Several types may be given at once: each must begin so.
                    let begins = |text: &str| match name.as_str() {
                        "content-type" => text.split(',').all(|one| one.trim_start().starts_with(value)),
                        _ => text.starts_with(value),
                    };
                    (name, given.is_some_and(begins))
                }
            };
            if !holds {
                return Err(denied(&format!("Policy Condition failed: the field {name}")));
            }
        }
        let named = |field: &str| {
            self.conditions.iter().any(|condition| match condition {
                Condition::Equals(name, _) | Condition::Begins(name, _) => name == field,
                Condition::Length(..) => false,
            })
        };
        let mut extra = fields.iter().map(|(name, _)| name);
        let extra = extra.find(|name| !FREE.contains(name) && !name.starts_with("x-ignore-") && !named(name));
        extra.map_or(Ok(()), |name| Err(denied(&format!("Extra input fields: {name}"))))
    }

    /// The lengths that the file may have.
    pub(crate) fn lengths(&self) -> (u64, u64) {
        self.conditions
            .iter()
            .fold((0, u64::MAX), |(least, most), condition| match condition {
                Condition::Length(min, max) => (least.max(*min), most.min(*max)),
                _ => (least, most),
            })
    }
}

fn condition(value: &Value) -> S3Result<Condition> {
    let wrong = || invalid("Invalid Simple-Condition.");
    match value {
        Value::Object(pairs) if pairs.len() == 1 => {
            let (name, value) = pairs.iter().next().ok_or_else(wrong)?;
            let value = value.as_str().ok_or_else(wrong)?;
            Ok(Condition::Equals(name.to_ascii_lowercase(), value.to_owned()))
        }
        Value::Array(parts) => {
            let [kind, first, second] = parts.as_slice() else {
                return Err(invalid("a condition has three parts."));
            };
            let kind = kind.as_str().ok_or_else(wrong)?.to_ascii_lowercase();
            if kind == "content-length-range" {
                let (min, max) = (first.as_u64().ok_or_else(wrong)?, second.as_u64().ok_or_else(wrong)?);
                return Ok(Condition::Length(min, max));
            }
            let name = first
                .as_str()
                .and_then(|name| name.strip_prefix('$'))
                .ok_or_else(wrong)?;
            let (name, value) = (name.to_ascii_lowercase(), second.as_str().ok_or_else(wrong)?.to_owned());
            match kind.as_str() {
                "eq" => Ok(Condition::Equals(name, value)),
                "starts-with" => Ok(Condition::Begins(name, value)),
                _ => Err(invalid("Unexpected operator.")),
            }
        }
        _ => Err(wrong()),
    }
}

/// For the fuzzer: the policy's text, before it was encoded.
pub fn fuzz(bytes: &[u8]) -> String {
    match FormPolicy::parse(&BASE64.encode(bytes)) {
        Ok(policy) => {
            let (least, most) = policy.lengths();
            let empty = policy.allows(&Fields::default(), 0).is_ok();
            format!("{} {empty} {}", policy.conditions.len().min(3), least <= most)
        }
        Err(refused) => refused.message().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
#[path = "form_policy_tests.rs"]
mod tests;
