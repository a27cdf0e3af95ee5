//! Signed URLs: a key of the account or container lets whoever holds the URL do one thing for a while (SEC-1).
//!
//! ```text
//! signature = HMAC(key, [ip=RANGE \n] METHOD \n EXPIRES \n PATH)         PATH as decoded, or prefix:PATH-PREFIX
//! digests   sha256, sha512; hex, or sha256:BASE64
//! ```
//! HEAD is allowed wherever GET, PUT or POST is. SHA-1 is not accepted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sha2::{Sha256, Sha512};

use super::path::{quote, unquote};
use super::reply::{Refused, Reply, TEXT, bad_request, put};
use super::request::Ask;
use super::settings::Settings;
use super::timestamp::{http_date, parse_seconds_or_iso};

/// The digests accepted.
pub(crate) const DIGESTS: [&str; 2] = ["sha256", "sha512"];
/// What a signed URL may be used for.
pub(crate) const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];
/// Headers that would let a signed PUT reach beyond its URL.
const FORBIDDEN: [&str; 2] = ["x-object-manifest", "x-symlink-target"];

/// A signature with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    Sha256(Vec<u8>),
    Sha512(Vec<u8>),
}

impl Signature {
    /// Reads a signature; the digest follows from its form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (digest, bytes) = match text.split_once(':') {
            Some((digest, encoded)) => {
                // With or without padding, of either alphabet; a plus sign in a query reads as a blank.
                let encoded = encoded.replace([' ', '-'], "+").replace('_', "/");
                let bytes = STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?;
                (digest.to_ascii_lowercase(), bytes)
            }
            None => {
                let bytes = hex::decode(text).ok()?;
                (if bytes.len() == 32 { "sha256" } else { "sha512" }.to_owned(), bytes)
            }
        };
        match (digest.as_str(), bytes.len()) {
            ("sha256", 32) => Some(Self::Sha256(bytes)),
            ("sha512", 64) => Some(Self::Sha512(bytes)),
            _ => None,
        }
    }

    /// Whether a key made it of a text. Takes the same time for every wrong signature.
    pub(crate) fn is_of(&self, key: &str, text: &str) -> bool {
        match self {
            Self::Sha256(bytes) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a MAC takes keys of any length");
                mac.update(text.as_bytes());
                mac.verify_slice(bytes).is_ok()
            }
            Self::Sha512(bytes) => {
                let mut mac = Hmac::<Sha512>::new_from_slice(key.as_bytes()).expect("a MAC takes keys of any length");
                mac.update(text.as_bytes());
                mac.verify_slice(bytes).is_ok()
            }
        }
    }
}

/// Which of somebody's keys made a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Account,
    Container,
}

/// Looks for the key that made one of `texts`. The account's settings are read anew when the copy's keys do not fit.
pub(crate) async fn signer(ask: &Ask, signature: &Signature, texts: &[String]) -> Result<Option<Scope>, Refused> {
    let fits = |settings: &Settings, prefix: &str| {
        let keys = ["temp-url-key", "temp-url-key-2"].map(|name| format!("{prefix}{name}"));
        let mut keys = keys
            .iter()
            .filter_map(|name| settings.get(name))
            .filter(|key| !key.is_empty());
        keys.any(|key| texts.iter().any(|text| signature.is_of(key, text)))
    };
    if fits(&*ask.account().await?, "x-account-meta-") {
        return Ok(Some(Scope::Account));
    }
    if let Some(container) = ask.find_container().await?
        && fits(&container.settings, "x-container-meta-")
    {
        return Ok(Some(Scope::Container));
    }
    let now = Settings::of_account(&ask.swift.store, &ask.cx).await?;
    Ok(fits(&now, "x-account-meta-").then_some(Scope::Account))
}

/// What a signed URL says beside its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    expires: u64,
    filename: Option<String>,
    inline: bool,
}

/// Judges a signed URL. `None`: the request is none.
pub(crate) async fn judge(ask: &mut Ask) -> Result<Option<Signed>, Refused> {
    let (signature, expires) = (ask.query.get("temp_url_sig"), ask.query.get("temp_url_expires"));
    if signature.is_none() && expires.is_none() {
        return Ok(None);
    }
    let (Some(signature), Some(expires)) = (signature, expires.and_then(parse_seconds_or_iso)) else {
        return Err(invalid());
    };
    let signature = Signature::parse(signature).ok_or_else(invalid)?;
    let method = ask.method.as_str();
    let prefix = ask.query.get("temp_url_prefix");
    // Whoever may read all of a container may visit it, where it is a web site.
    let whole = prefix == Some("") && matches!(method, "GET" | "HEAD") && ask.path.container.is_some();
    let named = ask.path.object.is_some() || whole;
    if !named || !METHODS.contains(&method) || expires <= ask.now_ms / 1000 {
        return Err(invalid());
    }
    let mut subject = unquote(&ask.raw_path).ok_or_else(invalid)?;
    if let Some(prefix) = prefix {
        if !ask.path.object.as_deref().unwrap_or_default().starts_with(prefix) {
            return Err(invalid());
        }
        subject = format!("prefix:/v1/{}/{}/{prefix}", ask.path.account, ask.path.container());
    }
    let mut before = String::new();
    if let Some(range) = ask.query.get("temp_url_ip_range") {
        if !ask.peer.is_some_and(|peer| within(range, peer)) {
            return Err(invalid());
        }
        before = format!("ip={range}\n");
    }
    let methods: &[&str] = if method == "HEAD" {
        &["HEAD", "GET", "PUT", "POST"]
    } else {
        &[method]
    };
    let texts: Vec<String> = methods
        .iter()
        .map(|method| format!("{before}{method}\n{expires}\n{subject}"))
        .collect();
    let scope = signer(ask, &signature, &texts).await?.ok_or_else(invalid)?;
    if matches!(method, "PUT" | "POST")
        && let Some(name) = FORBIDDEN.into_iter().find(|name| ask.headers.contains_key(*name))
    {
        return Err(bad_request(format!(
            "The header '{name}' is not allowed in this tempurl"
        )));
    }
    let signed = Signed {
        expires,
        filename: ask.query.get("filename").map(str::to_owned),
        inline: ask.query.has("inline"),
    };
    ask.sign(scope);
    Ok(Some(signed))
}

/// 401 for a signed URL that opens nothing.
pub(crate) fn invalid() -> Refused {
    let text = "401 Unauthorized: Temp URL invalid\n";
    Box::new(Reply::text(StatusCode::UNAUTHORIZED, TEXT, text).with("www-authenticate", "Swift realm=\"unknown\""))
}

/// Whether an address lies in `a.b.c.d`, `a.b.c.d/n` or their IPv6 kin.
fn within(range: &str, peer: std::net::IpAddr) -> bool {
    use std::net::IpAddr;
    let (network, bits) = match range.split_once('/') {
        Some((network, bits)) => (network, bits.parse::<u32>().ok()),
        None => (range, None),
    };
    let Ok(network) = network.parse::<IpAddr>() else {
        return false;
    };
    if range.contains('/') && bits.is_none() {
        return false;
    }
    let wide = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((network, width), (peer, peer_width)) = (wide(network), wide(peer.to_canonical()));
    let bits = bits.unwrap_or(width);
    if width != peer_width || bits > width {
        return false;
    }
    bits == 0 || (network ^ peer) >> (128 - bits) == 0
}

impl Signed {
    /// What the holder of a URL is told: no metadata but the public kind, a name to save the bytes under, an end.
    pub(crate) fn dress(&self, ask: &Ask, status: StatusCode, headers: &mut HeaderMap) {
        let hidden: Vec<HeaderName> = headers
            .keys()
            .filter(|name| {
                name.as_str().starts_with("x-object-meta-") && !name.as_str().starts_with("x-object-meta-public-")
            })
            .cloned()
            .collect();
        for name in hidden {
            headers.remove(name);
        }
        if !matches!(ask.method.as_str(), "GET" | "HEAD") || !status.is_success() {
            return;
        }
        let kept = headers
            .get("content-disposition")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let name = ask
            .path
            .object
            .as_deref()
            .unwrap_or_default()
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let disposition = match (&self.filename, self.inline, kept) {
            (Some(name), true, _) => disposition("inline", name),
            (Some(name), false, _) => disposition("attachment", name),
            (None, true, _) => "inline".to_owned(),
            (None, false, Some(kept)) => kept,
            (None, false, None) => disposition("attachment", &name),
        };
        put(headers, "content-disposition", disposition);
        if let Ok(value) = HeaderValue::from_str(&http_date(self.expires.saturating_mul(1000))) {
            headers.insert("expires", value);
        }
    }
}

fn disposition(kind: &str, name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if matches!(c, '"' | '\\' | '\r' | '\n') { '_' } else { c })
        .collect();
    format!(
        "{kind}; filename=\"{plain}\"; filename*=UTF-8''{}",
        quote(name).replace('/', "%2F")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_1_signatures_are_read_by_their_form_and_sha1_is_none() {
        assert!(matches!(Signature::parse(&"ab".repeat(32)), Some(Signature::Sha256(_))));
        assert!(matches!(Signature::parse(&"ab".repeat(64)), Some(Signature::Sha512(_))));
        assert_eq!(Signature::parse(&"ab".repeat(20)), None);
        let encoded = STANDARD_NO_PAD.encode([7; 32]);
        assert_eq!(
            Signature::parse(&format!("sha256:{encoded}")),
            Some(Signature::Sha256(vec![7; 32]))
        );
        assert_eq!(Signature::parse(&format!("sha1:{encoded}")), None);
    }

    #[test]
    fn a_signature_is_of_one_key_and_one_text() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"key").expect("any length");
        mac.update(b"GET\n5\n/v1/a/c/o");
        let signature = Signature::Sha256(mac.finalize().into_bytes().to_vec());
        assert!(signature.is_of("key", "GET\n5\n/v1/a/c/o"));
        assert!(!signature.is_of("other", "GET\n5\n/v1/a/c/o") && !signature.is_of("key", "PUT\n5\n/v1/a/c/o"));
    }

    #[test]
    fn addresses_lie_in_ranges() {
        let peer = "10.1.2.3".parse().expect("an address");
        for (range, inside) in [
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("10.0.0.0/8", true),
            ("10.1.2.0/31", false),
            ("0.0.0.0/0", true),
            ("10.1.2.3/33", false),
            ("::/0", false),
            ("x", false),
            ("10.1.2.3/x", false),
        ] {
            assert_eq!(within(range, peer), inside, "{range}");
        }
        assert!(within("2001:db8::/32", "2001:db8::5".parse().expect("an address")));
    }
}
