//! How batches, queries, answers, replies and rows become bytes.
//!
//! ```text
//! message or row value = format version (1 byte) | postcard of the type named by the context
//! ```
//! Every kind has its own version number. What is read may be damaged or hostile: decoding answers an error, consumes
//! the whole input or refuses it, and allocates in proportion to the input only.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::command::{BATCH_FORMAT, Batch, Envelope};
use crate::query::{Answer, Query};
use crate::reply::Reply;

/// The format version of an encoded [`Query`].
pub const QUERY_FORMAT: u8 = 1;
/// The format version of an encoded [`Answer`].
pub const ANSWER_FORMAT: u8 = 1;
/// The format version of encoded replies.
pub const REPLIES_FORMAT: u8 = 1;
/// The format version of a row's value.
pub const ROW_FORMAT: u8 = 1;
/// The longest message that is decoded, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// The largest number of commands in one batch: memory for decoded commands stays in proportion to it.
pub const BATCH_COMMANDS_MAX: usize = 16_384;

/// Bytes that are not what they should be. Nothing was decoded; sending or reading them again will not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A version this program does not know: the sender is newer.
    #[error("format version {found} is not known, expected {expected}")]
    Format {
        /// What the bytes begin with.
        found: u8,
        /// What this program reads.
        expected: u8,
    },
    /// More than a limit allows.
    #[error("the message is larger than its limit")]
    TooLarge,
    /// Not the encoding of the type.
    #[error("the bytes are damaged: {0}")]
    Damaged(String),
}

/// Encodes what one Raft entry carries.
#[must_use]
pub fn encode_batch(batch: &Batch) -> Vec<u8> {
    encode(BATCH_FORMAT, batch)
}

/// Decodes what one Raft entry carries.
///
/// # Errors
/// When the bytes are not a batch of this format, or exceed [`MESSAGE_BYTES_MAX`] or [`BATCH_COMMANDS_MAX`].
pub fn decode_batch(bytes: &[u8]) -> Result<Batch, CodecError> {
    let body = body(BATCH_FORMAT, bytes)?;
    // Field by field, so that the number of commands is checked before memory is taken for them.
    let (stamp_ms, rest) = take::<u64>(body)?;
    let (count, mut rest) = take::<usize>(rest)?;
    if count > BATCH_COMMANDS_MAX {
        return Err(CodecError::TooLarge);
    }
    let mut commands = Vec::with_capacity(count.min(rest.len()));
    for _ in 0..count {
        let (envelope, after) = take::<Envelope>(rest)?;
        commands.push(envelope);
        rest = after;
    }
    nothing_left(rest)?;
    Ok(Batch { stamp_ms, commands })
}

/// Encodes a question.
#[must_use]
pub fn encode_query(query: &Query) -> Vec<u8> {
    encode(QUERY_FORMAT, query)
}

/// Decodes a question.
///
/// # Errors
/// When the bytes are not a query of this format.
pub fn decode_query(bytes: &[u8]) -> Result<Query, CodecError> {
    decode(QUERY_FORMAT, bytes)
}

/// Encodes the answer to a question.
#[must_use]
pub fn encode_answer(answer: &Answer) -> Vec<u8> {
    encode(ANSWER_FORMAT, answer)
}

/// Decodes the answer to a question.
///
/// # Errors
/// When the bytes are not an answer of this format.
pub fn decode_answer(bytes: &[u8]) -> Result<Answer, CodecError> {
    decode(ANSWER_FORMAT, bytes)
}

/// Encodes the replies to a batch's commands.
#[must_use]
pub fn encode_replies(replies: &[Reply]) -> Vec<u8> {
    encode(REPLIES_FORMAT, replies)
}

/// Decodes the replies to a batch's commands.
///
/// # Errors
/// When the bytes are not replies of this format.
pub fn decode_replies(bytes: &[u8]) -> Result<Vec<Reply>, CodecError> {
    decode(REPLIES_FORMAT, bytes)
}

/// Encodes a row's value.
#[must_use]
pub fn encode_row<T: Serialize + ?Sized>(value: &T) -> Bytes {
    encode(ROW_FORMAT, value).into()
}

/// Decodes a row's value.
///
/// # Errors
/// When the bytes are not a value of this type and format.
pub fn decode_row<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode(ROW_FORMAT, bytes)
}

fn encode<T: Serialize + ?Sized>(format: u8, value: &T) -> Vec<u8> {
    let bytes = Vec::with_capacity(256);
    let mut bytes = postcard::to_extend(&format, bytes).expect("a byte always encodes");
    bytes = postcard::to_extend(value, bytes).expect("model types have known lengths, so they always encode");
    bytes
}

fn decode<T: DeserializeOwned>(format: u8, bytes: &[u8]) -> Result<T, CodecError> {
    let (value, rest) = take(body(format, bytes)?)?;
    nothing_left(rest)?;
    Ok(value)
}

fn body(format: u8, bytes: &[u8]) -> Result<&[u8], CodecError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(CodecError::TooLarge);
    }
    match bytes.split_first() {
        Some((found, body)) if *found == format => Ok(body),
        Some((found, _)) => Err(CodecError::Format {
            found: *found,
            expected: format,
        }),
        None => Err(CodecError::Damaged("no bytes".to_owned())),
    }
}

fn take<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), CodecError> {
    postcard::take_from_bytes(bytes).map_err(|error| CodecError::Damaged(error.to_string()))
}

fn nothing_left(rest: &[u8]) -> Result<(), CodecError> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err(CodecError::Damaged(format!("{} bytes too many", rest.len())))
    }
}

#[cfg(test)]
mod tests;
