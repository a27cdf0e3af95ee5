//! How an object's version and entity tag are written, the same over every API: what one names, the other finds.

use store::{ETag, Seq};

/// The version id that a null version shows.
pub(crate) const NULL: &str = "null";

/// A version's id as clients see it: opaque to them, 16 hex digits of its place for us.
pub(crate) fn version_text(seq: Seq, null: bool) -> String {
    if null {
        NULL.to_owned()
    } else {
        format!("{:016x}", seq.0)
    }
}

/// Reads the 16 lower-case hex digits that [`version_text`] writes.
pub(crate) fn parse_seq(text: &str) -> Option<Seq> {
    let plain = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if plain {
        u64::from_str_radix(text, 16).ok().map(Seq)
    } else {
        None
    }
}

/// An entity tag without quotes.
pub(crate) fn etag_text(etag: &ETag) -> String {
    let mut text = hex::encode(etag.md5);
    if etag.parts > 0 {
        text.push_str(&format!("-{}", etag.parts));
    }
    text
}

/// Reads an entity tag without quotes; `None` when it is none of ours and so can match nothing.
pub(crate) fn parse_etag(text: &str) -> Option<ETag> {
    let (digest, parts) = match text.split_once('-') {
        Some((digest, parts)) => (digest, parts.parse().ok()?),
        None => (text, 0),
    };
    let mut md5 = [0; 16];
    hex::decode_to_slice(digest, &mut md5).ok()?;
    Some(ETag { md5, parts })
}
