//! Preconditions (CON-1), as AWS decides them.

use crate::command::Condition;
use crate::model::ETag;
use crate::reply::Refusal;

/// Checks a condition against the entity tag of what is there; `None` when nothing is, or a delete marker.
///
/// # Errors
/// [`Refusal::NoSuchKey`] when the condition needs an object and there is none (AWS: 404), else
/// [`Refusal::PreconditionFailed`].
pub fn check(condition: &Condition, present: Option<&ETag>) -> Result<(), Refusal> {
    match (condition, present) {
        (Condition::Present | Condition::ETagIn(_), None) => Err(Refusal::NoSuchKey),
        (Condition::Absent, Some(_)) => Err(Refusal::PreconditionFailed),
        (Condition::ETagIn(tags), Some(etag)) if !tags.contains(etag) => Err(Refusal::PreconditionFailed),
        (Condition::ETagNotIn(tags), Some(etag)) if tags.contains(etag) => Err(Refusal::PreconditionFailed),
        _ => Ok(()),
    }
}
