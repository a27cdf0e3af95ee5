//! Answers every kind of query from one view of the rows.

use crate::ids::BucketId;
use crate::model::{VersionRow, VersionSelector, Versioning};
use crate::read;
use crate::reply::Refusal;
use crate::rows::{ReadRows, RowsError};
use crate::{PAGE_MAX, PARTS_MAX};

use super::{Answer, Found, ObjectFound, Query, Summary, changes, objects, streams, system, uploads, versions};

/// Answers a query. It costs a bounded number of rows: a page is never larger than [`PAGE_MAX`] entries and a few MiB,
/// and no listing reads what it does not show (CON-2: what an acknowledged batch wrote is in `rows`).
///
/// # Errors
/// When rows cannot be read, or hold what this program cannot decode.
pub fn answer(rows: &dyn ReadRows, query: &Query) -> Result<Answer, RowsError> {
    let found = match query {
        Query::GetObject {
            bucket,
            key,
            version,
            body,
        } => return get_object(rows, *bucket, key, *version, *body),
        Query::Parts { upload, after, limit } => Found::Parts(read::parts(
            rows,
            *upload,
            *after,
            (*limit).min(usize::from(PARTS_MAX)),
        )?),
        Query::ListObjects(list) if is_open(rows, list.bucket)? => Found::Objects(objects::list(rows, list)?),
        Query::ListVersions(list) if is_open(rows, list.bucket)? => Found::Versions(versions::list(rows, list)?),
        Query::ListUploads(list) if is_open(rows, list.bucket)? => Found::Uploads(uploads::list(rows, list)?),
        Query::ListObjects(_) | Query::ListVersions(_) | Query::ListUploads(_) => {
            return Ok(Err(Refusal::NoSuchBucket));
        }
        Query::GetUpload { bucket, key, upload } => {
            let row = match read::open_upload(rows, *bucket, key, *upload)? {
                Some(row) => Some(row),
                None => read::completed_upload(rows, *bucket, key, *upload, read::counters(rows)?.time_ms)?,
            };
            match row {
                Some(row) => Found::Upload(Box::new(row)),
                None => return Ok(Err(Refusal::NoSuchUpload)),
            }
        }
        Query::Bucket { bucket } => Found::BucketState {
            config: read::bucket_config(rows, *bucket)?,
            totals: read::bucket_totals(rows, *bucket)?,
        },
        Query::Lives { writes } if writes.len() > PAGE_MAX => {
            return Ok(Err(Refusal::Invalid("too many streams in one query".to_owned())));
        }
        Query::Lives { writes } => Found::Lives(streams::lives(rows, writes)?),
        Query::Short { limit } => Found::Short(streams::short(rows, (*limit).min(PAGE_MAX))?),
        Query::Reclaim { until_ms, limit } => {
            Found::Reclaim(streams::reclaim(rows, *until_ms, (*limit).min(PAGE_MAX))?)
        }
        Query::Refs { after, limit } => Found::Refs(streams::refs(rows, *after, (*limit).min(PAGE_MAX))?),
        Query::Summary => Found::Summary(summary(rows)?),
        Query::ResolveBucket { project, name } => Found::Bucket(match read::bucket_named(rows, project, name)? {
            Some(info) => Some(info),
            None => read::bucket_globally_named(rows, name)?,
        }),
        Query::BucketById { id } => Found::Bucket(read::bucket_by_id(rows, *id)?),
        Query::ListBuckets {
            project,
            after,
            prefix,
            limit,
        } => system::list_buckets(rows, project, after.as_deref(), prefix, (*limit).min(PAGE_MAX))?,
        Query::AllBuckets { after, limit } => system::all_buckets(rows, *after, (*limit).min(PAGE_MAX))?,
        Query::GetRecord { table, key } => Found::Record(system::record(rows, table, key)?),
        Query::ListRecords { table, after, limit } => {
            system::list_records(rows, table, after.as_deref(), (*limit).min(PAGE_MAX))?
        }
        Query::Totals { buckets } if buckets.len() > PAGE_MAX => {
            return Ok(Err(Refusal::Invalid("too many buckets in one query".to_owned())));
        }
        Query::Totals { buckets } => {
            let totals: Result<Vec<_>, _> = buckets.iter().map(|id| read::bucket_totals(rows, *id)).collect();
            Found::Totals(totals?)
        }
        Query::Changes { bucket, after, limit } => changes::list(rows, *bucket, *after, (*limit).min(PAGE_MAX))?,
        Query::Fence { policy } => Found::Fence(read::fence(rows, *policy)?),
        Query::ShortOf { write } => Found::ShortOf(streams::short_of(rows, *write)?),
    };
    Ok(Ok(found))
}

/// False for a sealed bucket: it is gone for everybody but the finisher of its deletion.
fn is_open(rows: &dyn ReadRows, bucket: BucketId) -> Result<bool, RowsError> {
    Ok(!read::bucket_config(rows, bucket)?.sealed)
}

fn get_object(
    rows: &dyn ReadRows,
    bucket: BucketId,
    key: &[u8],
    version: VersionSelector,
    body: bool,
) -> Result<Answer, RowsError> {
    let config = read::bucket_config(rows, bucket)?;
    if config.sealed {
        return Ok(Err(Refusal::NoSuchBucket));
    }
    let selected = match version {
        // Without versioning there is nothing behind the current object, so a miss costs one row.
        VersionSelector::Latest if config.versioning == Versioning::Off => {
            read::current(rows, bucket, key)?.map(VersionRow::Object)
        }
        _ => read::select(rows, bucket, key, version)?.map(|selected| selected.row),
    };
    let object = match selected {
        None => return Ok(Err(read::absent(version))),
        Some(VersionRow::Marker(marker)) => return Ok(Err(read::hidden(version, &marker))),
        Some(VersionRow::Object(object)) => object,
    };
    let (mut inline, mut manifest) = (None, None);
    if body {
        inline = read::inline(rows, bucket, key, &object)?;
        if let crate::model::Body::Manifest(upload) = object.body {
            manifest = read::manifest(rows, upload)?;
        }
    }
    let versioned = config.versioning != Versioning::Off;
    Ok(Ok(Found::Object(Box::new(ObjectFound {
        object,
        versioned,
        inline,
        manifest,
    }))))
}

fn summary(rows: &dyn ReadRows) -> Result<Summary, RowsError> {
    let counters = read::counters(rows)?;
    Ok(Summary {
        time_ms: counters.time_ms,
        short_chunks: counters.short_chunks,
        lost_chunks: counters.lost_chunks,
        streams: counters.streams,
        totals: counters.totals,
        reclaim_streams: counters.reclaim_streams,
    })
}
