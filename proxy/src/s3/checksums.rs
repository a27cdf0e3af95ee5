//! Content-MD5 and `x-amz-checksum-*`: what a client promises about its bytes, how the promise is checked, and how a
//! checksum is shown.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::CrcAlgorithm;
use http::HeaderMap;
use s3s::{S3Result, TrailingHeaders, dto};
use sha2::Digest;
use store::{Checksum, ChecksumAlgorithm, ChecksumKind, Digests, Finish, Rejected};

use super::errors::{error, error_with, invalid_request};

/// Every algorithm: its header, its name in S3, its digest's length in bytes.
const ALGORITHMS: [(ChecksumAlgorithm, &str, &str, usize); 5] = [
    (ChecksumAlgorithm::Crc32, "x-amz-checksum-crc32", "CRC32", 4),
    (ChecksumAlgorithm::Crc32c, "x-amz-checksum-crc32c", "CRC32C", 4),
    (ChecksumAlgorithm::Crc64Nvme, "x-amz-checksum-crc64nvme", "CRC64NVME", 8),
    (ChecksumAlgorithm::Sha1, "x-amz-checksum-sha1", "SHA1", 20),
    (ChecksumAlgorithm::Sha256, "x-amz-checksum-sha256", "SHA256", 32),
];

/// Headers that begin like a checksum and are none.
const NOT_CHECKSUMS: [&str; 3] = ["x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode"];

/// An algorithm's name in S3.
pub(crate) fn name(algorithm: ChecksumAlgorithm) -> &'static str {
    row(algorithm).2
}

fn row(algorithm: ChecksumAlgorithm) -> &'static (ChecksumAlgorithm, &'static str, &'static str, usize) {
    ALGORITHMS
        .iter()
        .find(|row| row.0 == algorithm)
        .expect("the table lists every algorithm")
}

/// Reads an algorithm's name.
pub(crate) fn parse_name(text: &str) -> S3Result<ChecksumAlgorithm> {
    let found = ALGORITHMS.iter().find(|row| row.2.eq_ignore_ascii_case(text));
    found.map(|row| row.0).ok_or_else(|| {
        invalid_request(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        )
    })
}

/// What a client promises about its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promise {
    /// Content-MD5.
    pub(crate) md5: Option<[u8; 16]>,
    /// A checksum in a header.
    pub(crate) header: Option<(ChecksumAlgorithm, Vec<u8>)>,
    /// A checksum that comes in the trailer.
    pub(crate) trailer: Option<ChecksumAlgorithm>,
    /// The payload's SHA-256 of the signature, when s3s could not check it.
    pub(crate) payload: Option<[u8; 32]>,
}

impl Promise {
    /// Reads the headers. A checksum we cannot verify is refused (CON-3).
    pub(crate) fn of(headers: &HeaderMap) -> S3Result<Self> {
        let (md5, header, trailer) = (content_md5(headers)?, declared(headers)?, trailer(headers)?);
        let promise = Self {
            md5,
            header,
            trailer,
            payload: None,
        };
        if promise.header.is_some() && promise.trailer.is_some() {
            return Err(invalid_request("Expecting a single x-amz-checksum- header"));
        }
        if let Some(text) = header_text(headers, "x-amz-sdk-checksum-algorithm") {
            let algorithm = parse_name(text)?;
            match promise.algorithm() {
                Some(given) if given == algorithm => {}
                Some(_) => {
                    return Err(invalid_request(
                        "Value for x-amz-sdk-checksum-algorithm header is invalid.",
                    ));
                }
                None if promise.md5.is_some() => {}
                None => {
                    return Err(invalid_request(
                        "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
                    ));
                }
            }
        }
        Ok(promise)
    }

    /// Reads what is promised of a document beside which checksums of something else are told.
    pub(crate) fn of_document(headers: &HeaderMap) -> S3Result<Self> {
        Ok(Self {
            md5: content_md5(headers)?,
            trailer: trailer(headers)?,
            ..Self::default()
        })
    }

    /// Adds the payload's digest of the signature.
    pub(crate) fn with_payload(self, payload: Option<[u8; 32]>) -> Self {
        Self { payload, ..self }
    }

    /// What must be computed of the bytes, besides MD5, to hold them against the promise.
    pub(crate) fn digests(&self) -> Vec<ChecksumAlgorithm> {
        let payload = self.payload.map(|_| ChecksumAlgorithm::Sha256);
        self.algorithm()
            .into_iter()
            .chain(payload.filter(|payload| Some(*payload) != self.algorithm()))
            .collect()
    }

    /// The algorithm promised, wherever its value comes.
    pub(crate) fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.header.as_ref().map(|(algorithm, _)| *algorithm).or(self.trailer)
    }

    /// True when the client promised anything.
    pub(crate) fn is_any(&self) -> bool {
        self.md5.is_some() || self.algorithm().is_some()
    }

    /// The last word on a PUT: compares, and keeps the checksum by `keep`.
    pub(crate) fn finish(self, trailers: Option<TrailingHeaders>, keep: Option<ChecksumAlgorithm>) -> Finish {
        Box::new(move |digests| {
            self.check(digests, trailers.as_ref())?;
            Ok(keep.and_then(|algorithm| {
                let value = digests.checksum(algorithm)?.to_vec();
                Some(Checksum {
                    algorithm,
                    kind: ChecksumKind::FullObject,
                    value,
                })
            }))
        })
    }

    /// Compares the promise with what was computed.
    fn check(&self, digests: &Digests, trailers: Option<&TrailingHeaders>) -> Result<(), Rejected> {
        if let Some(payload) = &self.payload
            && digests.checksum(ChecksumAlgorithm::Sha256) != Some(payload)
        {
            return Err(Rejected("XAmzContentSHA256Mismatch"));
        }
        if self.md5.is_some_and(|md5| md5 != digests.md5) {
            return Err(Rejected("BadDigest"));
        }
        let promised = match (&self.header, self.trailer) {
            (Some((algorithm, value)), _) => Some((*algorithm, value.clone())),
            (None, Some(algorithm)) => Some((algorithm, from_trailer(trailers, algorithm)?)),
            (None, None) => None,
        };
        match promised {
            Some((algorithm, value)) if digests.checksum(algorithm) != Some(value.as_slice()) => {
                Err(Rejected("BadDigest"))
            }
            _ => Ok(()),
        }
    }

    /// Checks a small body that is in memory.
    pub(crate) fn check_bytes(&self, bytes: &[u8], trailers: Option<&TrailingHeaders>) -> Result<(), Rejected> {
        let computed = self
            .digests()
            .into_iter()
            .map(|algorithm| (algorithm, compute(algorithm, bytes)));
        let digests = Digests {
            md5: md5::Md5::digest(bytes).into(),
            size: bytes.len() as u64,
            checksums: computed.collect(),
        };
        self.check(&digests, trailers)
    }
}

fn from_trailer(trailers: Option<&TrailingHeaders>, algorithm: ChecksumAlgorithm) -> Result<Vec<u8>, Rejected> {
    let (_, header, _, length) = row(algorithm);
    let value = trailers
        .and_then(|trailers| trailers.read(|headers| headers.get(*header).cloned()))
        .flatten();
    let value = value.and_then(|value| BASE64.decode(value.as_bytes()).ok());
    value
        .filter(|value| value.len() == *length)
        .ok_or(Rejected("MalformedTrailerError"))
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn content_md5(headers: &HeaderMap) -> S3Result<Option<[u8; 16]>> {
    let Some(value) = headers.get("content-md5") else {
        return Ok(None);
    };
    let md5 = BASE64
        .decode(value.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    md5.map(Some).ok_or_else(|| error("InvalidDigest"))
}

fn declared(headers: &HeaderMap) -> S3Result<Option<(ChecksumAlgorithm, Vec<u8>)>> {
    let mut found = None;
    for (name, value) in headers {
        if !name.as_str().starts_with("x-amz-checksum-") || NOT_CHECKSUMS.contains(&name.as_str()) {
            continue;
        }
        let Some((algorithm, _, _, length)) = ALGORITHMS.iter().find(|row| row.1 == name.as_str()) else {
            return Err(invalid_request(
                "The algorithm type you specified in x-amz-checksum- header is invalid.",
            ));
        };
        let value = BASE64
            .decode(value.as_bytes())
            .ok()
            .filter(|value| value.len() == *length);
        let value = value.ok_or_else(|| invalid_request(format!("Value for {name} header is invalid.")))?;
        if found.replace((*algorithm, value)).is_some() {
            return Err(invalid_request(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
    }
    Ok(found)
}

fn trailer(headers: &HeaderMap) -> S3Result<Option<ChecksumAlgorithm>> {
    let Some(text) = header_text(headers, "x-amz-trailer") else {
        return Ok(None);
    };
    let mut found = None;
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let row = ALGORITHMS.iter().find(|row| row.1.eq_ignore_ascii_case(name));
        let row =
            row.ok_or_else(|| invalid_request("The value specified in the x-amz-trailer header is not supported"))?;
        if found.replace(row.0).is_some() {
            return Err(invalid_request("Expecting a single x-amz-checksum- header"));
        }
    }
    Ok(found)
}

/// One digest of bytes in memory, big endian.
pub(crate) fn compute(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
    let crc = |kind| crc_fast::checksum(kind, bytes);
    match algorithm {
        ChecksumAlgorithm::Crc32 => low_half(crc(CrcAlgorithm::Crc32IsoHdlc)),
        ChecksumAlgorithm::Crc32c => low_half(crc(CrcAlgorithm::Crc32Iscsi)),
        ChecksumAlgorithm::Crc64Nvme => crc(CrcAlgorithm::Crc64Nvme).to_be_bytes().to_vec(),
        ChecksumAlgorithm::Sha1 => sha1::Sha1::digest(bytes).to_vec(),
        ChecksumAlgorithm::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
    }
}

fn low_half(crc: u64) -> Vec<u8> {
    crc.to_be_bytes()[4..].to_vec()
}

/// What a multipart upload is to be checked by, as asked at its Create.
pub(crate) fn upload_kind(
    algorithm: Option<&str>,
    kind: Option<&str>,
) -> S3Result<Option<(ChecksumAlgorithm, ChecksumKind)>> {
    let Some(algorithm) = algorithm else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(invalid_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let algorithm = parse_name(algorithm)?;
    let full_only = algorithm == ChecksumAlgorithm::Crc64Nvme;
    let composite_only = matches!(algorithm, ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256);
    let kind = match kind {
        None if full_only => ChecksumKind::FullObject,
        None => ChecksumKind::Composite,
        Some(text) => parse_kind(text)?,
    };
    let wrong = (full_only && kind == ChecksumKind::Composite) || (composite_only && kind == ChecksumKind::FullObject);
    if wrong {
        return Err(invalid_request(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind_name(kind),
            name(algorithm).to_lowercase(),
        )));
    }
    Ok(Some((algorithm, kind)))
}

/// Reads `x-amz-checksum-type`.
pub(crate) fn parse_kind(text: &str) -> S3Result<ChecksumKind> {
    match text {
        "FULL_OBJECT" => Ok(ChecksumKind::FullObject),
        "COMPOSITE" => Ok(ChecksumKind::Composite),
        _ => Err(invalid_request("Value for x-amz-checksum-type header is invalid.")),
    }
}

/// A kind's name in S3.
pub(crate) fn kind_name(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::FullObject => "FULL_OBJECT",
        ChecksumKind::Composite => "COMPOSITE",
    }
}

/// A kind for an answer.
pub(crate) fn kind_dto(kind: ChecksumKind) -> dto::ChecksumType {
    dto::ChecksumType::from_static(kind_name(kind))
}

/// An algorithm for an answer.
pub(crate) fn algorithm_dto(algorithm: ChecksumAlgorithm) -> dto::ChecksumAlgorithm {
    dto::ChecksumAlgorithm::from_static(name(algorithm))
}

/// A checksum as S3 shows it: base64, and for a composite one the number of parts.
pub(crate) fn show(checksum: &Checksum, parts: u16) -> String {
    let text = BASE64.encode(&checksum.value);
    match checksum.kind {
        ChecksumKind::Composite if parts > 0 => format!("{text}-{parts}"),
        _ => text,
    }
}

/// A checksum's value given for a part in an XML document.
pub(crate) fn parse_value(algorithm: ChecksumAlgorithm, text: &str) -> S3Result<Vec<u8>> {
    let (_, _, name, length) = row(algorithm);
    let text = text.split_once('-').map_or(text, |(value, _)| value);
    let value = BASE64.decode(text).ok().filter(|value| value.len() == *length);
    value.ok_or_else(|| error_with("InvalidRequest", format!("Value for Checksum{name} is invalid.")))
}

/// Fills the five checksum fields of one of s3s's types.
macro_rules! show_checksum {
    ($target:expr, $checksum:expr, $parts:expr) => {
        if let Some(checksum) = $checksum {
            let text = Some($crate::s3::checksums::show(checksum, $parts));
            match checksum.algorithm {
                store::ChecksumAlgorithm::Crc32 => $target.checksum_crc32 = text,
                store::ChecksumAlgorithm::Crc32c => $target.checksum_crc32c = text,
                store::ChecksumAlgorithm::Crc64Nvme => $target.checksum_crc64nvme = text,
                store::ChecksumAlgorithm::Sha1 => $target.checksum_sha1 = text,
                store::ChecksumAlgorithm::Sha256 => $target.checksum_sha256 = text,
            }
        }
    };
}
pub(crate) use show_checksum;

#[cfg(test)]
#[path = "checksums_tests.rs"]
mod tests;
