//! What a multipart object's tag and checksum are computed from.

use md5::{Digest, Md5};

use crate::model::{ChecksumAlgorithm, ETag, PartRow};

/// The entity tag of a multipart object: the MD5 of its parts' MD5s, and their number (AWS).
#[must_use]
pub fn multipart_etag<'a>(parts: impl IntoIterator<Item = &'a [u8; 16]>) -> ETag {
    let mut digest = Md5::new();
    let mut count = 0_u16;
    for md5 in parts {
        digest.update(md5);
        count = count.saturating_add(1);
    }
    ETag {
        md5: digest.finalize().into(),
        parts: count,
    }
}

/// What a composite checksum is the checksum of: the parts' checksums in order. `None` when a part has none of this
/// algorithm.
#[must_use]
pub fn composite_input(algorithm: ChecksumAlgorithm, parts: &[PartRow]) -> Option<Vec<u8>> {
    let mut input = Vec::with_capacity(parts.len() * 32);
    for part in parts {
        let checksum = part
            .checksum
            .as_ref()
            .filter(|checksum| checksum.algorithm == algorithm)?;
        input.extend_from_slice(&checksum.value);
    }
    Some(input)
}
