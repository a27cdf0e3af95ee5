//! Signature version 4 as a client computes it: in the header, presigned, chunked.

use clock::{SystemClock, WallClock};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::kit::Call;

/// What a request says of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Its SHA-256.
    Hashed,
    /// Nothing.
    Unsigned,
    /// `aws-chunked`, in chunks of so many bytes, each signed.
    Chunked(usize),
    /// The same with a signed trailer.
    ChunkedTrailer(usize, &'static str, &'static str),
    /// `aws-chunked` without signatures, with a trailer.
    UnsignedTrailer(usize, &'static str, &'static str),
}

/// Who signs, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signature {
    Anonymous,
    Header {
        key: &'static str,
        secret: &'static str,
        payload: Payload,
        at: Option<i64>,
    },
    Presigned {
        expires: i64,
        at: Option<i64>,
    },
}

impl Default for Signature {
    fn default() -> Self {
        Self::payload(Payload::Hashed)
    }
}

/// A request ready to be written.
pub(crate) struct Made {
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn now() -> i64 {
    i64::try_from(SystemClock.now_ms() / 1000).expect("it is long before then")
}

pub(crate) fn stamp(at: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(at).expect("a time");
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

pub(crate) fn encode(text: &str, path: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            b'/' if path => encoded.push('/'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

const SCOPE: &str = "us-east-1/s3/aws4_request";

fn sign(secret: &str, day: &str, text: &str) -> String {
    let key = ["us-east-1", "s3", "aws4_request"]
        .iter()
        .fold(hmac(format!("AWS4{secret}").as_bytes(), day), |key, part| {
            hmac(&key, part)
        });
    hex::encode(hmac(&key, text))
}

/// The signature of a form's policy.
pub(crate) fn sign_policy(secret: &str, day: &str, policy: &str) -> String {
    sign(secret, day, policy)
}

fn canonical(call: &Call, query: &[(String, String)], headers: &[(String, String)], payload: &str) -> String {
    let mut pairs: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false)))
        .collect();
    pairs.sort();
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    format!(
        "{}\n{}\n{}\n{lines}\n{}\n{payload}",
        call.method,
        call.path,
        pairs.join("&"),
        names(headers)
    )
}

fn names(headers: &[(String, String)]) -> String {
    headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect::<Vec<_>>()
        .join(";")
}

fn to_sign(stamp: &str, canonical: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256\n{stamp}\n{}/{SCOPE}\n{}",
        &stamp[..8],
        sha256(canonical.as_bytes())
    )
}

impl Signature {
    pub(crate) fn payload(payload: Payload) -> Self {
        Self::Header {
            key: "main",
            secret: "main-secret",
            payload,
            at: None,
        }
    }

    pub(crate) fn apply(&self, call: &Call, host: &str) -> Made {
        let mut headers = call.headers.clone();
        headers.push(("host".to_owned(), host.to_owned()));
        match *self {
            Self::Anonymous => Made {
                query: call.query.clone(),
                headers,
                body: call.body.clone(),
            },
            Self::Header {
                key,
                secret,
                payload,
                at,
            } => in_the_header(call, headers, key, secret, payload, &stamp(at.unwrap_or_else(now))),
            Self::Presigned { expires, at } => presigned(call, headers, expires, &stamp(at.unwrap_or_else(now))),
        }
    }
}

fn in_the_header(
    call: &Call,
    mut headers: Vec<(String, String)>,
    key: &str,
    secret: &str,
    payload: Payload,
    stamp: &str,
) -> Made {
    let hash = match payload {
        Payload::Hashed => sha256(&call.body),
        Payload::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
        Payload::Chunked(_) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
        Payload::ChunkedTrailer(..) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
        Payload::UnsignedTrailer(..) => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
    };
    let given = |headers: &[(String, String)], name: &str| headers.iter().any(|(given, _)| given == name);
    if !given(&headers, "x-amz-content-sha256") {
        headers.push(("x-amz-content-sha256".to_owned(), hash.clone()));
    }
    headers.push(("x-amz-date".to_owned(), stamp.to_owned()));
    if !matches!(payload, Payload::Hashed | Payload::Unsigned) && !given(&headers, "x-amz-decoded-content-length") {
        headers.push(("x-amz-decoded-content-length".to_owned(), call.body.len().to_string()));
    }
    if let Payload::ChunkedTrailer(_, name, _) | Payload::UnsignedTrailer(_, name, _) = payload {
        headers.push(("x-amz-trailer".to_owned(), name.to_owned()));
    }
    headers.sort();
    let hash = headers
        .iter()
        .find(|(name, _)| name == "x-amz-content-sha256")
        .map(|(_, hash)| hash.clone());
    let canonical = canonical(call, &call.query, &headers, &hash.expect("it was pushed"));
    let signature = sign(secret, &stamp[..8], &to_sign(stamp, &canonical));
    let body = framed(&call.body, payload, secret, stamp, &signature);
    let names = names(&headers);
    headers.push((
        "authorization".to_owned(),
        format!(
            "AWS4-HMAC-SHA256 Credential={key}/{}/{SCOPE}, SignedHeaders={names}, Signature={signature}",
            &stamp[..8]
        ),
    ));
    Made {
        query: call.query.clone(),
        headers,
        body,
    }
}

/// The body with the frames of `aws-chunked`.
fn framed(body: &[u8], payload: Payload, secret: &str, stamp: &str, seed: &str) -> Vec<u8> {
    let (size, signed, trailer) = match payload {
        Payload::Hashed | Payload::Unsigned => return body.to_vec(),
        Payload::Chunked(size) => (size, true, None),
        Payload::ChunkedTrailer(size, name, value) => (size, true, Some((name, value))),
        Payload::UnsignedTrailer(size, name, value) => (size, false, Some((name, value))),
    };
    let mut previous = seed.to_owned();
    let mut out = Vec::new();
    for chunk in body.chunks(size).chain([&[][..]]) {
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{stamp}\n{}/{SCOPE}\n{previous}\n{}\n{}",
            &stamp[..8],
            sha256(b""),
            sha256(chunk)
        );
        if signed {
            previous = sign(secret, &stamp[..8], &text);
            out.extend(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).bytes());
        } else {
            out.extend(format!("{:x}\r\n", chunk.len()).bytes());
        }
        out.extend_from_slice(chunk);
        if !chunk.is_empty() {
            out.extend(b"\r\n");
        }
    }
    if let Some((name, value)) = trailer {
        out.extend(format!("{name}:{value}\r\n").bytes());
        if signed {
            let text = format!(
                "AWS4-HMAC-SHA256-TRAILER\n{stamp}\n{}/{SCOPE}\n{previous}\n{}",
                &stamp[..8],
                sha256(format!("{name}:{value}\n").as_bytes())
            );
            out.extend(format!("x-amz-trailer-signature:{}\r\n", sign(secret, &stamp[..8], &text)).bytes());
        }
    }
    out.extend(b"\r\n");
    out
}

fn presigned(call: &Call, mut headers: Vec<(String, String)>, expires: i64, stamp: &str) -> Made {
    headers.sort();
    let mut query = call.query.clone();
    for (name, value) in [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("X-Amz-Credential", format!("main/{}/{SCOPE}", &stamp[..8])),
        ("X-Amz-Date", stamp.to_owned()),
        ("X-Amz-Expires", expires.to_string()),
        ("X-Amz-SignedHeaders", names(&headers)),
    ] {
        query.push((name.to_owned(), value));
    }
    let canonical = canonical(call, &query, &headers, "UNSIGNED-PAYLOAD");
    query.push((
        "X-Amz-Signature".to_owned(),
        sign("main-secret", &stamp[..8], &to_sign(stamp, &canonical)),
    ));
    Made {
        query,
        headers,
        body: call.body.clone(),
    }
}
