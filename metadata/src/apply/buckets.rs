//! A bucket in its key shard: versioning, documents, and the seal that ends it.

use bytes::Bytes;

use crate::ids::BucketId;
use crate::model::{Totals, Versioning};
use crate::reply::{Done, Refusal};

use super::DOCUMENTS_BYTES_MAX;
use super::shard::{Fault, Shard};

pub(crate) fn set_versioning(shard: &mut Shard<'_>, bucket: BucketId, versioning: Versioning) -> Result<Done, Fault> {
    let now = shard.writable(bucket)?;
    if versioning == now {
        return Ok(Done::Ok);
    }
    if versioning == Versioning::Off {
        return Err(Refusal::InvalidBucketState("versioning was enabled and can only be suspended".to_owned()).into());
    }
    shard.config_mut(bucket)?.versioning = versioning;
    Ok(Done::Ok)
}

pub(crate) fn set_document(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    name: &str,
    document: Option<&Bytes>,
) -> Result<Done, Fault> {
    shard.writable(bucket)?;
    let config = shard.config(bucket)?;
    let Some(document) = document else {
        if config.documents.contains_key(name) {
            shard.config_mut(bucket)?.documents.remove(name);
        }
        return Ok(Done::Ok);
    };
    let others = config.documents.iter().filter(|(other, _)| other.as_str() != name);
    let bytes: usize = others.map(|(name, document)| name.len() + document.len()).sum();
    if name.is_empty() || bytes + name.len() + document.len() > DOCUMENTS_BYTES_MAX {
        return Err(Fault::invalid(
            "the bucket's documents are too large, or one has no name",
        ));
    }
    shard
        .config_mut(bucket)?
        .documents
        .insert(name.to_owned(), document.clone());
    Ok(Done::Ok)
}

/// As [`set_document`], decided against what stands now, so that two editors never lose each other's change.
pub(crate) fn swap_document(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    name: &str,
    expect: Option<&Bytes>,
    document: Option<&Bytes>,
) -> Result<Done, Fault> {
    shard.writable(bucket)?;
    if shard.config(bucket)?.documents.get(name) != expect {
        return Err(Refusal::PreconditionFailed.into());
    }
    set_document(shard, bucket, name, document)
}

/// From here on every write to the bucket is refused. Sealing again answers the same (a finisher may repeat it).
pub(crate) fn seal(shard: &mut Shard<'_>, bucket: BucketId) -> Result<Done, Fault> {
    if shard.config(bucket)?.sealed {
        return Ok(Done::Ok);
    }
    if *shard.totals_mut(bucket)? != Totals::default() {
        return Err(Refusal::BucketNotEmpty.into());
    }
    shard.config_mut(bucket)?.sealed = true;
    Ok(Done::Ok)
}

pub(crate) fn unseal(shard: &mut Shard<'_>, bucket: BucketId) -> Result<Done, Fault> {
    if shard.config(bucket)?.sealed {
        shard.config_mut(bucket)?.sealed = false;
    }
    Ok(Done::Ok)
}
