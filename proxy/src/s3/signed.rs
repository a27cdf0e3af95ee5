//! The shape of a version 4 signature, as it stands in the `Authorization` header or in the query.

use super::errors::error_with;
use super::query::Query;
use s3s::{S3Error, S3Result};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The longest validity of a presigned request, in seconds (AWS: a week).
const EXPIRES_SECONDS_MAX: i64 = 604_800;

/// What a signature says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    /// The access key.
    pub(crate) access_key: String,
    /// The day of the scope, `yyyymmdd`.
    pub(crate) day: String,
    /// The region of the scope; empty for some services.
    pub(crate) region: String,
    /// The service of the scope.
    pub(crate) service: String,
    /// The headers that are signed, lower case.
    pub(crate) headers: Vec<String>,
    /// 64 hex digits.
    pub(crate) signature: String,
}

impl Signed {
    /// Reads an `Authorization` header, its parts in any order.
    pub(crate) fn from_header(text: &str) -> S3Result<Self> {
        let malformed = |why: &str| {
            error_with(
                "AuthorizationHeaderMalformed",
                format!("The authorization header is malformed; {why}"),
            )
        };
        let rest = text
            .strip_prefix(ALGORITHM)
            .ok_or_else(|| malformed("the algorithm is not supported."))?;
        let (mut credential, mut headers, mut signature) = (None, None, None);
        for part in rest.split(',').map(str::trim) {
            let place = match part.split_once('=') {
                Some(("Credential", value)) => credential.replace(value),
                Some(("SignedHeaders", value)) => headers.replace(value),
                Some(("Signature", value)) => signature.replace(value),
                _ => return Err(malformed("it has an unknown part.")),
            };
            if place.is_some() {
                return Err(malformed("a part is given twice."));
            }
        }
        let missing = |name: &str| malformed(&format!("the {name} part is missing."));
        let credential = credential.ok_or_else(|| missing("Credential"))?;
        let headers = headers.ok_or_else(|| missing("SignedHeaders"))?;
        let signature = signature.ok_or_else(|| missing("Signature"))?;
        Self::of(credential, headers, signature, malformed)
    }

    /// The header as s3s reads it.
    pub(crate) fn to_header(&self) -> String {
        format!(
            "{ALGORITHM} Credential={}/{}/{}/{}/aws4_request, SignedHeaders={}, Signature={}",
            self.access_key,
            self.day,
            self.region,
            self.service,
            self.headers.join(";"),
            self.signature,
        )
    }

    fn of(credential: &str, headers: &str, signature: &str, malformed: impl Fn(&str) -> S3Error) -> S3Result<Self> {
        let mut parts = credential.rsplitn(5, '/');
        let (end, service, region, day, key) = (parts.next(), parts.next(), parts.next(), parts.next(), parts.next());
        let (Some("aws4_request"), Some(service), Some(region), Some(day), Some(key)) =
            (end, service, region, day, key)
        else {
            return Err(malformed(
                "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
            ));
        };
        if day.len() != 8 || !day.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed(
                "incorrect date format in the credential. This date must be in the format \"yyyyMMdd\".",
            ));
        }
        if headers.is_empty() {
            return Err(malformed("no header is signed."));
        }
        let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if signature.len() != 64 || !hex(signature) {
            return Err(super::errors::error("SignatureDoesNotMatch"));
        }
        Ok(Self {
            access_key: key.to_owned(),
            day: day.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            headers: headers.split(';').map(str::to_ascii_lowercase).collect(),
            signature: signature.to_owned(),
        })
    }
}

/// A presigned request's own part of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Presigned {
    /// What is signed and by whom.
    pub(crate) signed: Signed,
    /// When it was signed, seconds since the Unix epoch.
    pub(crate) at: i64,
    /// For how many seconds it is good.
    pub(crate) expires: i64,
}

impl Presigned {
    /// Reads the `X-Amz-*` parameters.
    pub(crate) fn from_query(query: &Query) -> S3Result<Self> {
        let one = |name: &'static str| {
            let mut values = query.all(name);
            match (values.next(), values.next()) {
                (Some(value), None) => Ok(value),
                _ => Err(parameters(
                    "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
                )),
            }
        };
        if one("X-Amz-Algorithm")? != ALGORITHM {
            return Err(parameters("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
        }
        let (credential, headers) = (one("X-Amz-Credential")?, one("X-Amz-SignedHeaders")?);
        let (signature, date, expires) = (one("X-Amz-Signature")?, one("X-Amz-Date")?, one("X-Amz-Expires")?);
        let at = parse_amz_date(date)
            .ok_or_else(|| parameters("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""))?;
        let expires: i64 = expires
            .parse()
            .map_err(|_| parameters("X-Amz-Expires should be a number"))?;
        if expires < 0 {
            return Err(out_of_range("X-Amz-Expires must be non-negative"));
        }
        if expires > EXPIRES_SECONDS_MAX {
            return Err(out_of_range(
                "X-Amz-Expires must be less than a week (in seconds) that is 604800",
            ));
        }
        let signed = Signed::of(credential, headers, signature, |why| {
            parameters(format!("Error parsing: {why}"))
        })?;
        if !date.starts_with(&signed.day) {
            return Err(parameters(format!(
                "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{date}\".",
                signed.day
            )));
        }
        Ok(Self { signed, at, expires })
    }
}

fn parameters(text: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    error_with("AuthorizationQueryParametersError", text)
}

/// A validity that no presigned request may have is forbidden rather than misspelt: 403.
fn out_of_range(text: &'static str) -> S3Error {
    let mut error = parameters(text);
    error.set_status_code(http::StatusCode::FORBIDDEN);
    error
}

/// Reads `yyyymmddThhmmssZ` into seconds since the Unix epoch.
pub(crate) fn parse_amz_date(text: &str) -> Option<i64> {
    let digits = |range: std::ops::Range<usize>| -> Option<u16> {
        let part = text.get(range)?;
        if part.bytes().all(|b| b.is_ascii_digit()) {
            part.parse().ok()
        } else {
            None
        }
    };
    if text.len() != 16 || text.as_bytes()[8] != b'T' || text.as_bytes()[15] != b'Z' {
        return None;
    }
    let small = |range| digits(range).and_then(|n| u8::try_from(n).ok());
    let month = time::Month::try_from(small(4..6)?).ok()?;
    let date = time::Date::from_calendar_date(i32::from(digits(0..4)?), month, small(6..8)?).ok()?;
    let moment = date.with_hms(small(9..11)?, small(11..13)?, small(13..15)?).ok()?;
    Some(moment.assume_utc().unix_timestamp())
}

/// Writes `yyyymmddThhmmssZ`.
pub(crate) fn amz_date(seconds: i64) -> Option<String> {
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    Some(format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    ))
}
