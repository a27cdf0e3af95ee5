//! What must hold of a request's signature before s3s computes it (SEC-1).
//!
//! s3s signs what the request lists and nothing more: a header that is not listed would be believed all the same, and a
//! listed header that is absent would be skipped. So here: every `x-amz-*` header and `host` is listed; every listed
//! header is there; one mechanism only; dates within their bounds; version 2 only when it is switched on.

use http::{HeaderMap, HeaderValue, Method, header};
use s3s::{S3Error, S3Result};

use super::errors::{error, error_with, invalid_argument, invalid_request, not_implemented};
use super::names::parse_http_date;
use super::query::Query;
use super::signed::{Presigned, Signed, amz_date, parse_amz_date};

/// How far a client's clock may be off, in seconds (AWS: 15 minutes).
const SKEW_SECONDS_MAX: i64 = 900;
/// The longest header section, in bytes (AWS: 8 KiB for a PUT; more for sessions and long signatures).
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// The longest access key that is looked up.
const ACCESS_KEY_BYTES_MAX: usize = 128;

/// How a request says who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// Not at all.
    Anonymous,
    /// A version 4 signature in the header, with what its payload hash says about the body.
    Header(Payload),
    /// A version 4 signature in the query.
    Presigned,
    /// Version 2, switched on.
    V2,
}

/// What `x-amz-content-sha256` says about the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Plain bytes.
    Plain,
    /// `aws-chunked`.
    Chunked {
        /// Whether every chunk is signed.
        signed: bool,
        /// Whether a trailer follows.
        trailer: bool,
        /// Bytes without the framing.
        decoded: u64,
    },
}

/// What this edge accepts of signatures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted<'a> {
    /// The region it says it is.
    pub(crate) region: &'a str,
    /// Whether version 2 is on.
    pub(crate) sigv2: bool,
}

/// Checks the request and writes its signature in the form that s3s reads.
pub(crate) fn check(
    method: &Method,
    query: &Query,
    headers: &mut HeaderMap,
    now_ms: u64,
    accepted: Accepted<'_>,
) -> S3Result<Mechanism> {
    bounded(headers)?;
    let v4_query = query.pairs().any(|(name, _)| is_v4_parameter(name));
    let v2_query = query.has("Signature") || query.has("AWSAccessKeyId");
    let in_header = headers.get_all(header::AUTHORIZATION).iter().count();
    if in_header + usize::from(v4_query) + usize::from(v2_query) > 1 {
        return Err(invalid_argument(
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
        ));
    }
    let now = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    if v4_query {
        return presigned(query, headers, now, accepted.region).map(|()| Mechanism::Presigned);
    }
    if v2_query {
        return version_2(query, headers, now, accepted.sigv2).map(|()| Mechanism::V2);
    }
    let Some(authorization) = headers.get(header::AUTHORIZATION) else {
        return Ok(Mechanism::Anonymous);
    };
    let authorization = authorization
        .to_str()
        .map_err(|_| invalid_argument("Unsupported Authorization Type"))?;
    if authorization.starts_with("AWS4-") {
        let signed = Signed::from_header(authorization)?;
        known_region(&signed, accepted.region)?;
        return in_the_header(method, &signed, headers, now).map(Mechanism::Header);
    }
    if let Some(pair) = authorization.strip_prefix("AWS ") {
        if !pair.contains(':') {
            return Err(invalid_argument(
                "AWS authorization header is invalid. Expected AwsAccessKeyId:signature",
            ));
        }
        return version_2(query, headers, now, accepted.sigv2).map(|()| Mechanism::V2);
    }
    Err(invalid_argument("Unsupported Authorization Type"))
}

/// Whether a parameter belongs to a version 4 signature.
pub(crate) fn is_v4_parameter(name: &str) -> bool {
    const NAMES: [&str; 6] = [
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-signedheaders",
        "x-amz-signature",
    ];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Bounds the header section.
pub(crate) fn bounded(headers: &HeaderMap) -> S3Result<()> {
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if bytes > HEADER_BYTES_MAX {
        Err(error("RequestHeaderSectionTooLarge"))
    } else {
        Ok(())
    }
}

fn known_service(service: &str) -> S3Result<()> {
    match service {
        "s3" => Ok(()),
        "iam" | "sts" | "sns" | "sqs" | "s3vectors" | "s3tables" => {
            Err(not_implemented(&format!("the service {service}")))
        }
        other => Err(error_with(
            "AuthorizationHeaderMalformed",
            format!(
                "The authorization header is malformed; incorrect service \"{other}\". This endpoint belongs to \"s3\"."
            ),
        )),
    }
}

/// Any region will do, if it is spelt like one; a client that guesses is told the right one, as AWS does.
fn known_region(signed: &Signed, ours: &str) -> S3Result<()> {
    let given = &signed.region;
    let spelt = given.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')) && !given.starts_with('-');
    if spelt || signed.service != "s3" {
        return Ok(());
    }
    Err(error_with(
        "AuthorizationHeaderMalformed",
        format!("The authorization header is malformed; the region '{given}' is wrong; expecting '{ours}'"),
    ))
}

fn known_key(access_key: &str) -> S3Result<()> {
    let plausible = !access_key.is_empty() && access_key.len() <= ACCESS_KEY_BYTES_MAX;
    if plausible {
        Ok(())
    } else {
        Err(error("InvalidAccessKeyId"))
    }
}

/// SEC-1: what the signature does not cover is not believed.
fn covered(signed: &Signed, headers: &HeaderMap) -> S3Result<()> {
    let listed = |name: &str| signed.headers.iter().any(|listed| listed == name);
    let unsigned: Vec<&str> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| (name.starts_with("x-amz-") || *name == "host") && !listed(name))
        .collect();
    if !unsigned.is_empty() || !listed("host") {
        let names = if unsigned.is_empty() {
            "host".to_owned()
        } else {
            unsigned.join(", ")
        };
        return Err(error_with(
            "AccessDenied",
            format!("There were headers present in the request which were not signed: {names}"),
        ));
    }
    let absent = signed.headers.iter().any(|name| !headers.contains_key(name.as_str()));
    if absent {
        Err(error("SignatureDoesNotMatch"))
    } else {
        Ok(())
    }
}

fn in_the_header(method: &Method, signed: &Signed, headers: &mut HeaderMap, now: i64) -> S3Result<Payload> {
    known_service(&signed.service)?;
    known_key(&signed.access_key)?;
    covered(signed, headers)?;
    let (at, given) = request_date(headers)?;
    if now.abs_diff(at) > SKEW_SECONDS_MAX.unsigned_abs() {
        return Err(error("RequestTimeTooSkewed"));
    }
    let date = amz_date(at).ok_or_else(no_date)?;
    if !date.starts_with(&signed.day) {
        return Err(error_with(
            "AuthorizationHeaderMalformed",
            format!(
                "The authorization header is malformed; Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{date}\".",
                signed.day
            ),
        ));
    }
    if given == DateHeader::Other {
        let value = HeaderValue::from_str(&date).map_err(|_| no_date())?;
        headers.insert("x-amz-date", value);
    }
    let canonical = HeaderValue::from_str(&signed.to_header());
    headers.insert(
        header::AUTHORIZATION,
        canonical.map_err(|_| invalid_argument("Unsupported Authorization Type"))?,
    );
    payload(method, headers)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DateHeader {
    /// `x-amz-date` in the form that s3s reads.
    Amz,
    /// Another header or form; s3s is given the one it reads. What is signed says the same: it was checked.
    Other,
}

fn no_date() -> S3Error {
    error_with(
        "AccessDenied",
        "AWS authentication requires a valid Date or x-amz-date header",
    )
}

/// When the request was signed, and whether s3s can read it.
fn request_date(headers: &HeaderMap) -> S3Result<(i64, DateHeader)> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let text = text("x-amz-date").or_else(|| text("date")).ok_or_else(no_date)?;
    if headers.contains_key("x-amz-date")
        && let Some(at) = parse_amz_date(text)
    {
        return Ok((at, DateHeader::Amz));
    }
    // Some clients write the zone as a number.
    let number = text.strip_suffix(" -0000").or_else(|| text.strip_suffix(" +0000"));
    let long = number.map_or_else(|| text.to_owned(), |front| format!("{front} GMT"));
    let long = || parse_http_date(&long).and_then(|seconds| i64::try_from(seconds).ok());
    let at = parse_amz_date(text).or_else(long).ok_or_else(no_date)?;
    Ok((at, DateHeader::Other))
}

fn payload(method: &Method, headers: &HeaderMap) -> S3Result<Payload> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let hash = text("x-amz-content-sha256")
        .ok_or_else(|| invalid_request("Missing required header for this request: x-amz-content-sha256"))?;
    let (signed, trailer) = match hash {
        "UNSIGNED-PAYLOAD" => return Ok(Payload::Plain),
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => (false, true),
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => (true, false),
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => (true, true),
        hash if hash.starts_with("STREAMING-AWS4-ECDSA") => return Err(not_implemented("signature version 4A")),
        hash if hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => {
            return Ok(Payload::Plain);
        }
        _ => {
            return Err(invalid_argument(
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
            ));
        }
    };
    if !matches!(*method, Method::PUT | Method::POST) {
        return Err(invalid_request("This method does not take a chunked payload."));
    }
    if trailer && text("x-amz-trailer").is_none_or(str::is_empty) {
        return Err(invalid_request(
            "Missing required header for this request: x-amz-trailer",
        ));
    }
    let decoded = text("x-amz-decoded-content-length").ok_or_else(|| error("MissingContentLength"))?;
    let digits = !decoded.is_empty() && decoded.bytes().all(|b| b.is_ascii_digit());
    let decoded = if digits { decoded.parse().ok() } else { None };
    let decoded = decoded.ok_or_else(|| invalid_argument("x-amz-decoded-content-length is not a number"))?;
    Ok(Payload::Chunked {
        signed,
        trailer,
        decoded,
    })
}

fn presigned(query: &Query, headers: &HeaderMap, now: i64, region: &str) -> S3Result<()> {
    let Presigned { signed, at, expires } = Presigned::from_query(query)?;
    known_service(&signed.service)?;
    known_region(&signed, region)?;
    known_key(&signed.access_key)?;
    covered(&signed, headers)?;
    if at.saturating_sub(now) > SKEW_SECONDS_MAX {
        return Err(error_with("AccessDenied", "Request is not yet valid"));
    }
    if expires == 0 || now > at.saturating_add(expires) {
        return Err(error_with("AccessDenied", "Request has expired"));
    }
    let streaming = headers
        .get("x-amz-content-sha256")
        .is_some_and(|value| value.as_bytes().starts_with(b"STREAMING-"));
    if streaming {
        Err(not_implemented("a chunked payload of a presigned request"))
    } else {
        Ok(())
    }
}

fn version_2(query: &Query, headers: &HeaderMap, now: i64, on: bool) -> S3Result<()> {
    if !on {
        return Err(invalid_request(
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        ));
    }
    if query.has("Signature") {
        let expires = query.get("Expires").and_then(|text| text.parse::<i64>().ok());
        let expires =
            expires.ok_or_else(|| error_with("AccessDenied", "Invalid date (should be seconds since epoch)"))?;
        return if now > expires {
            Err(error_with("AccessDenied", "Request has expired"))
        } else {
            Ok(())
        };
    }
    let (at, _) = request_date(headers)?;
    if now.abs_diff(at) > SKEW_SECONDS_MAX.unsigned_abs() {
        Err(error("RequestTimeTooSkewed"))
    } else {
        Ok(())
    }
}

/// For the fuzzer: lines of `name: value`, the first one a query.
pub fn fuzz(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return "no text".to_owned();
    };
    let mut lines = text.lines();
    let Some(query) = Query::parse(lines.next()) else {
        return "no query".to_owned();
    };
    let mut headers = HeaderMap::new();
    for line in lines.take(100) {
        if let Some((name, value)) = line.split_once(':')
            && let (Ok(name), Ok(value)) = (
                name.trim().parse::<http::HeaderName>(),
                HeaderValue::from_str(value.trim()),
            )
        {
            headers.append(name, value);
        }
    }
    let before = headers.clone();
    let accepted = Accepted {
        region: "us-east-1",
        sigv2: false,
    };
    match check(&Method::PUT, &query, &mut headers, 1_700_000_000_000, accepted) {
        Ok(mechanism) => {
            let signed = matches!(mechanism, Mechanism::Header(_) | Mechanism::Presigned);
            let listed = signed_names(&query, &headers);
            let amz = before.keys().map(http::HeaderName::as_str);
            let mut amz = amz.filter(|name| name.starts_with("x-amz-") || *name == "host");
            assert!(
                !signed || amz.all(|name| listed.iter().any(|listed| listed == name)),
                "SEC-1: every x-amz-* header and host is signed"
            );
            assert!(mechanism != Mechanism::V2, "version 2 is off");
            format!("{mechanism:?}")
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .collect()
        }
        Err(refused) => {
            let text = refused.message().unwrap_or_default();
            format!("{}: {}", refused.code().as_str(), text.get(..24).unwrap_or(text))
        }
    }
}

/// The names that a signature lists, read a second way, for the fuzzer to compare.
fn signed_names(query: &Query, headers: &HeaderMap) -> Vec<String> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let header = header.and_then(|text| Some(text.rsplit_once("SignedHeaders=")?.1.split(',').next()?.trim()));
    let parameter = query
        .pairs()
        .find(|(name, _)| name.eq_ignore_ascii_case("X-Amz-SignedHeaders"))
        .map(|(_, value)| value);
    let names = header.or(parameter).unwrap_or_default();
    names.split(';').map(|name| name.trim().to_ascii_lowercase()).collect()
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
