//! Bucket names in the system shard (CON-2, DESIGN §3.3): one never-reused id, one name in the project, at most one
//! global name, and a deletion in three resumable steps.

use crate::ids::{BlobId, BucketId, ShardId};
use crate::keys;
use crate::model::{BucketInfo, BucketState, PolicyId};
use crate::read;
use crate::reply::{Done, Refusal};
use crate::rows::{Family, RowsError};

use super::shard::{Fault, Shard};

/// The longest bucket or project name, in bytes (Swift's containers: 256; S3's buckets: 63, checked by the edge).
const NAME_BYTES_MAX: usize = 256;
/// The largest number of key shards.
const KEY_SHARDS_MAX: u64 = 65_536;

pub(crate) fn create(
    shard: &mut Shard<'_>,
    project: &str,
    name: &str,
    global: bool,
    key_shards: u64,
    policy: PolicyId,
) -> Result<Done, Fault> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || project.len() > NAME_BYTES_MAX {
        return Err(Fault::invalid("a bucket's name has 1 to 256 bytes"));
    }
    if key_shards == 0 || key_shards > KEY_SHARDS_MAX {
        return Err(Fault::invalid("a cluster has 1 to 65536 key shards"));
    }
    if policy.0 >= BlobId::POLICIES {
        return Err(Fault::invalid("a policy's number is at most 127"));
    }
    if let Some(info) = read::bucket_named(&shard.rows, project, name)? {
        return create_again(shard, info, global);
    }
    if global {
        check_global_name(shard, name)?;
    }
    let home = emptiest_shard(shard, key_shards)?;
    let info = BucketInfo {
        id: BucketId(shard.counters.next_bucket),
        name: name.to_owned(),
        project: project.to_owned(),
        global,
        shard: home,
        created_ms: shard.now_ms(),
        policy,
        state: BucketState::Active,
    };
    shard.counters.next_bucket += 1;
    shard.put(Family::Names, keys::bucket_by_name(project, name), &info.id);
    if global {
        shard.put(Family::Names, keys::bucket_by_global_name(name), &info.id);
    }
    count_bucket(shard, home, |count| count + 1)?;
    shard.put(Family::Names, keys::bucket_by_id(info.id), &info);
    Ok(Done::Bucket { info, created: true })
}

/// The caller's own bucket: nothing is reset, but the global name is taken when it is asked for first now.
fn create_again(shard: &mut Shard<'_>, mut info: BucketInfo, global: bool) -> Result<Done, Fault> {
    if info.state == BucketState::Deleting {
        return Err(Refusal::BucketBusy.into());
    }
    if global && !info.global {
        check_global_name(shard, &info.name)?;
        info.global = true;
        shard.put(Family::Names, keys::bucket_by_global_name(&info.name), &info.id);
        shard.put(Family::Names, keys::bucket_by_id(info.id), &info);
    }
    Ok(Done::Bucket { info, created: false })
}

fn check_global_name(shard: &Shard<'_>, name: &str) -> Result<(), Fault> {
    match read::bucket_globally_named(&shard.rows, name)? {
        None => Ok(()),
        Some(info) if info.state == BucketState::Deleting => Err(Refusal::BucketBusy.into()),
        Some(_) => Err(Refusal::BucketTaken.into()),
    }
}

/// The key shard with the fewest buckets; the lowest of equals.
fn emptiest_shard(shard: &Shard<'_>, key_shards: u64) -> Result<ShardId, RowsError> {
    let mut best = (u64::MAX, ShardId(1));
    let mut next = 1;
    let (from, until) = (
        keys::buckets_in_shard(ShardId(1)),
        keys::buckets_in_shard(ShardId(key_shards + 1)),
    );
    read::each(&shard.rows, Family::Names, &from, Some(&until), |name, count: u64| {
        let id = keys::shard_of_count(name).ok_or_else(|| read::misnamed(Family::Names, name))?;
        if id.0 != next {
            return Ok(false);
        }
        next += 1;
        best = best.min((count, id));
        Ok(true)
    })?;
    // The first shard without a row has no bucket yet.
    Ok(if next <= key_shards && best.0 > 0 {
        ShardId(next)
    } else {
        best.1
    })
}

fn count_bucket(shard: &mut Shard<'_>, home: ShardId, change: impl Fn(u64) -> u64) -> Result<(), RowsError> {
    let name = keys::buckets_in_shard(home);
    let count: u64 = read::get(&shard.rows, Family::Names, &name)?.unwrap_or(0);
    shard.put(Family::Names, name, &change(count));
    Ok(())
}

/// First step. Repeating it is no error: the finisher does.
pub(crate) fn begin_delete(shard: &mut Shard<'_>, id: BucketId) -> Result<Done, Fault> {
    set_state(shard, id, BucketState::Deleting)
}

pub(crate) fn cancel_delete(shard: &mut Shard<'_>, id: BucketId) -> Result<Done, Fault> {
    set_state(shard, id, BucketState::Active)
}

fn set_state(shard: &mut Shard<'_>, id: BucketId, state: BucketState) -> Result<Done, Fault> {
    let mut info = read::bucket_by_id(&shard.rows, id)?.ok_or(Refusal::NoSuchBucket)?;
    if info.state != state {
        info.state = state;
        shard.put(Family::Names, keys::bucket_by_id(id), &info);
    }
    Ok(Done::Ok)
}

/// Last step. A bucket that is gone already is no error: the finisher may come twice.
pub(crate) fn finish_delete(shard: &mut Shard<'_>, id: BucketId) -> Result<Done, Fault> {
    let Some(info) = read::bucket_by_id(&shard.rows, id)? else {
        return Ok(Done::Ok);
    };
    if info.state != BucketState::Deleting {
        return Err(Refusal::InvalidBucketState("the bucket is not being deleted".to_owned()).into());
    }
    shard.rows.remove(Family::Names, keys::bucket_by_id(id));
    shard
        .rows
        .remove(Family::Names, keys::bucket_by_name(&info.project, &info.name));
    if info.global {
        shard
            .rows
            .remove(Family::Names, keys::bucket_by_global_name(&info.name));
    }
    count_bucket(shard, info.shard, |count| count.saturating_sub(1))?;
    Ok(Done::Ok)
}
