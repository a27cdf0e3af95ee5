//! Signatures made with an EC2 credential, as `ec2tokens` and `s3tokens` bring them.
//!
//! ```text
//! ec2tokens  the parts of a request; version 4 (headers or query), version 2 (query, HMAC-SHA256)
//! s3tokens   the string that was signed, base64; version 4 (its first line says so), version 1 (HMAC-SHA1)
//! ```

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const V4: &str = "AWS4-HMAC-SHA256";
/// How far the time of a signature may be from ours, milliseconds.
const SKEW_MS: u64 = 15 * 60 * 1000;

/// What `POST /v3/ec2tokens` and `/v3/s3tokens` bring.
#[derive(Deserialize)]
pub(crate) struct Signed {
    pub(crate) access: String,
    pub(crate) signature: String,
    /// The string that was signed, base64 (`s3tokens`).
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    host: String,
    #[serde(default)]
    verb: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    params: Map<String, Value>,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    body_hash: Option<String>,
}

impl Signed {
    /// Whether a string-to-sign was signed with `secret`.
    pub(crate) fn string_is_signed_with(&self, secret: &str, now_ms: u64) -> bool {
        let token = self.token.as_deref().unwrap_or_default();
        let decoded = STANDARD
            .decode(token)
            .or_else(|_| base64::engine::general_purpose::URL_SAFE.decode(token));
        let Ok(string) = decoded else { return false };
        let text = String::from_utf8_lossy(&string);
        let mut lines = text.split('\n');
        if lines.next() != Some(V4) {
            return same(&STANDARD.encode(hmac_sha1(secret.as_bytes(), &string)), &self.signature);
        }
        let (Some(date), Some(scope)) = (lines.next(), lines.next()) else {
            return false;
        };
        let Some(key) = v4_key(secret, scope) else { return false };
        is_recent(date, now_ms) && same(&hex::encode(hmac_sha256(&key, &string)), &self.signature)
    }

    /// Whether the request described was signed with `secret`.
    pub(crate) fn request_is_signed_with(&self, secret: &str, now_ms: u64) -> bool {
        if self.parameter("SignatureVersion") == Some("2") {
            return self.parameter("SignatureMethod") == Some("HmacSHA256")
                && self
                    .parameter("Timestamp")
                    .and_then(super::document::parse_moment)
                    .is_some_and(|at| at.abs_diff(now_ms) <= SKEW_MS)
                && self.hosts().any(|host| {
                    same(
                        &STANDARD.encode(hmac_sha256(secret.as_bytes(), self.v2_string(&host).as_bytes())),
                        &self.signature,
                    )
                });
        }
        self.v4_is_signed_with(secret, now_ms).unwrap_or(false)
    }

    /// Some clients sign the port, some do not.
    fn hosts(&self) -> impl Iterator<Item = String> {
        let plain = self.host.split(':').next().unwrap_or_default().to_owned();
        let with_port = self.host.clone();
        std::iter::once(with_port.clone()).chain((plain != with_port).then_some(plain))
    }

    fn v2_string(&self, host: &str) -> String {
        format!(
            "{}\n{host}\n{}\n{}",
            self.verb,
            self.path,
            self.canonical_query("Signature")
        )
    }

    fn v4_is_signed_with(&self, secret: &str, now_ms: u64) -> Option<bool> {
        let authorization = self.header("authorization").filter(|text| text.starts_with(V4));
        let (scope, signed_headers, date) = match authorization {
            Some(text) => {
                let part = |name: &str| {
                    let found = text
                        .trim_start_matches(V4)
                        .split(',')
                        .map(str::trim)
                        .find_map(|part| part.strip_prefix(name));
                    found.map(str::to_owned)
                };
                let credential = part("Credential=")?;
                (
                    credential.split_once('/')?.1.to_owned(),
                    part("SignedHeaders=")?,
                    self.header("x-amz-date")?.to_owned(),
                )
            }
            None => {
                let credential = self.parameter("X-Amz-Credential")?;
                let (scope, headers) = (credential.split_once('/')?.1, self.parameter("X-Amz-SignedHeaders")?);
                (
                    scope.to_owned(),
                    headers.to_owned(),
                    self.parameter("X-Amz-Date")?.to_owned(),
                )
            }
        };
        let mut headers = String::new();
        for name in signed_headers.split(';') {
            let value = self.header(name)?.split_whitespace().collect::<Vec<_>>().join(" ");
            headers.push_str(&format!("{name}:{value}\n"));
        }
        let body = self
            .body_hash
            .as_deref()
            .or_else(|| self.header("x-amz-content-sha256"))
            .unwrap_or("UNSIGNED-PAYLOAD");
        let query = self.canonical_query("X-Amz-Signature");
        let request = format!(
            "{}\n{}\n{query}\n{headers}\n{signed_headers}\n{body}",
            self.verb, self.path
        );
        let string = format!(
            "{V4}\n{date}\n{scope}\n{}",
            hex::encode(Sha256::digest(request.as_bytes()))
        );
        let key = v4_key(secret, &scope)?;
        Some(is_recent(&date, now_ms) && same(&hex::encode(hmac_sha256(&key, string.as_bytes())), &self.signature))
    }

    fn header(&self, wanted: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.and_then(|(_, value)| value.as_str())
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.params.get(name).and_then(Value::as_str)
    }

    fn canonical_query(&self, without: &str) -> String {
        let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        let pairs: BTreeMap<String, String> = self
            .params
            .iter()
            .filter(|(name, _)| *name != without)
            .map(|(name, value)| (encode(name), encode(value.as_str().unwrap_or_default())))
            .collect();
        pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("&")
    }
}

/// The signing key of version 4 for `date/region/service/aws4_request`.
fn v4_key(secret: &str, scope: &str) -> Option<Vec<u8>> {
    let [date, region, service, end] = scope.split('/').collect::<Vec<_>>().try_into().ok()?;
    let first = hmac_sha256(format!("AWS4{secret}").as_bytes(), str::as_bytes(date));
    Some(
        [region, service, end]
            .into_iter()
            .fold(first, |key, part: &str| hmac_sha256(&key, part.as_bytes())),
    )
}

/// Whether `YYYYMMDDThhmmssZ` is close to now.
fn is_recent(date: &str, now_ms: u64) -> bool {
    if date.len() != 16 || !date.is_ascii() {
        return false;
    }
    let (d, t) = (&date[..8], &date[9..15]);
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &d[..4],
        &d[4..6],
        &d[6..],
        &t[..2],
        &t[2..4],
        &t[4..]
    );
    super::document::parse_moment(&text).is_some_and(|at| at.abs_diff(now_ms) <= SKEW_MS)
}

fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hmac_sha1(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The example of AWS's own documentation (GET of `iam.amazonaws.com`, ListUsers, 2015-08-30).
    #[test]
    fn a_request_of_awss_documentation_verifies() {
        let now = super::super::document::parse_moment("2015-08-30T12:36:00Z").expect("a moment");
        let signed = |signature: &str| -> Signed {
            serde_json::from_value(json!({
                "access": "AKIDEXAMPLE", "signature": signature, "host": "iam.amazonaws.com", "verb": "GET", "path": "/",
                "params": { "Action": "ListUsers", "Version": "2010-05-08" },
                "headers": {
                    "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
                        SignedHeaders=content-type;host;x-amz-date, Signature=x",
                    "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
                    "Host": "iam.amazonaws.com", "X-Amz-Date": "20150830T123600Z",
                },
                "body_hash": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            }))
            .expect("a signed request")
        };
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let right = signed("5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
        assert!(right.request_is_signed_with(secret, now));
        assert!(!right.request_is_signed_with(secret, now + SKEW_MS + 1), "too old");
        assert!(!right.request_is_signed_with("other", now));
        assert!(!signed("00").request_is_signed_with(secret, now));
    }

    #[test]
    fn nothing_signed_is_never_right() {
        let signed: Signed = serde_json::from_value(json!({ "access": "a", "signature": "" })).expect("parses");
        assert!(!signed.string_is_signed_with("secret", 0));
        assert!(!signed.request_is_signed_with("secret", 0));
    }
}
