//! The `x-amz-copy-source` header: `[/]bucket/key[?versionId=id]`, percent-encoded.

use percent_encoding::percent_decode_str;

use super::errors::{error, invalid_argument, not_implemented};

/// What a copy reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceName {
    /// The bucket's name.
    pub(crate) bucket: String,
    /// The key.
    pub(crate) key: String,
    /// The version id as given.
    pub(crate) version: Option<String>,
}

/// Reads the header's value.
pub(crate) fn parse(text: &str) -> s3s::S3Result<SourceName> {
    let malformed = || invalid_argument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
    let (path, version) = match text.split_once("?versionId=") {
        Some((path, version)) => (path, Some(decoded(version).ok_or_else(malformed)?)),
        None => (text, None),
    };
    let path = decoded(path).ok_or_else(malformed)?;
    let path = path.strip_prefix('/').unwrap_or(&path);
    if path.starts_with("arn:") {
        return Err(not_implemented("access points as x-amz-copy-source"));
    }
    let (bucket, key) = path
        .split_once('/')
        .filter(|(_, key)| !key.is_empty())
        .ok_or_else(malformed)?;
    if key.len() > store::KEY_BYTES_MAX {
        return Err(error("KeyTooLongError"));
    }
    if !s3s::path::check_bucket_name(bucket) {
        return Err(error("InvalidBucketName"));
    }
    Ok(SourceName {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        version,
    })
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

/// For the fuzzer.
pub fn fuzz(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return "no text".to_owned();
    };
    match parse(text) {
        Ok(source) => {
            assert!(
                !source.key.is_empty() && source.key.len() <= store::KEY_BYTES_MAX,
                "a source has a key"
            );
            format!("a source, version: {}", source.version.is_some())
        }
        Err(refused) => refused.message().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
#[path = "copy_source_tests.rs"]
mod tests;
