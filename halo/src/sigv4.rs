//! AWS Signature Version 4, the client's half, as far as the load generator and the start-up check need it.
//!
//! Knows: canonical requests and signing keys (AWS "Signing and authenticating REST requests"). Must not know: who
//! sends them. Bodies are declared `UNSIGNED-PAYLOAD`, so that measuring a server does not mean hashing in the client.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// What stands for the body's hash when the body is not signed.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Who signs, and for where.
#[derive(Clone, Debug)]
pub struct Signer {
    access_key: String,
    secret_key: Secret,
    region: String,
    /// The signing key of a day, `YYYYMMDD`.
    cached: Option<(String, [u8; 32])>,
}

/// A request to be signed. Names of headers are lower-case and sorted, `host` among them.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// `GET`, `PUT`, ...
    pub method: &'a str,
    /// The path, already percent-encoded as [`encode`] does.
    pub path: &'a str,
    /// Name and value of every parameter, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// Every header that is signed.
    pub headers: &'a [(&'a str, &'a str)],
    /// Hex SHA-256 of the body, or [`UNSIGNED`].
    pub payload: &'a str,
    /// `YYYYMMDDThhmmssZ`.
    pub time: &'a str,
}

impl Signer {
    /// Signs as `access_key` for service `s3` in `region`.
    #[must_use]
    pub fn new(access_key: String, secret_key: Secret, region: String) -> Self {
        Self {
            access_key,
            secret_key,
            region,
            cached: None,
        }
    }

    /// The value of the `authorization` header.
    pub fn authorization(&mut self, request: &Unsigned<'_>) -> String {
        let (canonical, signed_headers) = canonical_request(request);
        let day = request.time.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{digest}", request.time);
        let signature = hex::encode(hmac(&self.key_of(day), to_sign.as_bytes()));
        let access_key = &self.access_key;
        format!("AWS4-HMAC-SHA256 Credential={access_key}/{scope},SignedHeaders={signed_headers},Signature={signature}")
    }

    fn key_of(&mut self, day: &str) -> [u8; 32] {
        if let Some((cached_day, key)) = &self.cached
            && cached_day == day
        {
            return *key;
        }
        let first = format!("AWS4{}", self.secret_key.reveal());
        let by_day = hmac(first.as_bytes(), day.as_bytes());
        let by_region = hmac(&by_day, self.region.as_bytes());
        let key = hmac(&hmac(&by_region, b"s3"), b"aws4_request");
        self.cached = Some((day.to_owned(), key));
        key
    }
}

/// Percent-encodes everything but letters, digits and `-_.~`; slashes stay in paths.
#[must_use]
pub fn encode(text: &str, slash: Slash) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b'/' if slash == Slash::Kept => out.push('/'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Whether a slash is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slash {
    /// In a path.
    Kept,
    /// In a parameter.
    Encoded,
}

/// The query as it is sent and signed: encoded and sorted.
#[must_use]
pub fn query_text(query: &[(&str, &str)]) -> String {
    let mut pairs: Vec<(String, String)> = query
        .iter()
        .map(|(name, value)| (encode(name, Slash::Encoded), encode(value, Slash::Encoded)))
        .collect();
    pairs.sort();
    let joined: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    joined.join("&")
}

/// Milliseconds since the epoch as `YYYYMMDDThhmmssZ`.
#[must_use]
pub fn amz_time(now_ms: u64) -> String {
    let seconds = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z",
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn canonical_request(request: &Unsigned<'_>) -> (String, String) {
    debug_assert!(request.headers.is_sorted_by_key(|(name, _)| *name));
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    let signed_headers = names.join(";");
    let mut text = format!("{}\n{}\n{}\n", request.method, request.path, query_text(request.query));
    for (name, value) in request.headers {
        text.push_str(&format!("{name}:{}\n", value.trim()));
    }
    text.push_str(&format!("\n{signed_headers}\n{}", request.payload));
    (text, signed_headers)
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    //! The vectors are those AWS publishes in "Signature Calculations for the Authorization Header".

    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const TIME: &str = "20130524T000000Z";
    const HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");

    fn signature(method: &str, path: &str, query: &[(&str, &str)], headers: &[(&str, &str)], payload: &str) -> String {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into());
        let mut signer = Signer::new("AKIAIOSFODNN7EXAMPLE".into(), secret, "us-east-1".into());
        let path = encode(path, Slash::Kept);
        let request = Unsigned {
            method,
            path: &path,
            query,
            headers,
            payload,
            time: TIME,
        };
        let value = signer.authorization(&request);
        assert_eq!(
            value,
            signer.authorization(&request),
            "the cached key gives the same signature"
        );
        value.rsplit_once("Signature=").expect("a signature").1.to_owned()
    }

    #[test]
    fn get_object_with_a_range() {
        let headers = [
            HOST,
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", TIME),
        ];
        let found = signature("GET", "/test.txt", &[], &headers, EMPTY);
        assert_eq!(
            found,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }

    #[test]
    fn put_object_with_a_key_to_encode() {
        let hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        let headers = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            HOST,
            ("x-amz-content-sha256", hash),
            ("x-amz-date", TIME),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        let found = signature("PUT", "/test$file.text", &[], &headers, hash);
        assert_eq!(
            found,
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
    }

    #[test]
    fn get_lifecycle_a_parameter_without_a_value() {
        let headers = [HOST, ("x-amz-content-sha256", EMPTY), ("x-amz-date", TIME)];
        let found = signature("GET", "/", &[("lifecycle", "")], &headers, EMPTY);
        assert_eq!(
            found,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
    }

    #[test]
    fn list_objects_with_parameters_to_sort() {
        let headers = [HOST, ("x-amz-content-sha256", EMPTY), ("x-amz-date", TIME)];
        let found = signature("GET", "/", &[("prefix", "J"), ("max-keys", "2")], &headers, EMPTY);
        assert_eq!(
            found,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn times_are_written_without_punctuation() {
        assert_eq!(amz_time(1_369_353_600_999), TIME);
    }
}
