//! Small records of services, changed by compare-and-set. Versions come from one counter of the shard, so that a record
//! deleted and made again never repeats one.

use bytes::Bytes;

use crate::command::RecordCondition;
use crate::keys;
use crate::model::Record;
use crate::read;
use crate::reply::{Done, Refusal};
use crate::rows::Family;

use super::RECORD_BYTES_MAX;
use super::shard::{Fault, Shard};

/// The longest table name or record key, in bytes.
const NAME_BYTES_MAX: usize = 1024;

pub(crate) fn put(
    shard: &mut Shard<'_>,
    table: &str,
    key: &str,
    expect: RecordCondition,
    value: &Bytes,
) -> Result<Done, Fault> {
    check_name(table, key)?;
    if value.len() > RECORD_BYTES_MAX {
        return Err(Fault::invalid("the record is too large"));
    }
    check_version(shard, table, key, expect)?;
    shard.counters.record_version += 1;
    let version = shard.counters.record_version;
    shard.put(
        Family::Records,
        keys::record(table, key),
        &Record {
            version,
            value: value.clone(),
        },
    );
    Ok(Done::Record { version })
}

/// Answers version 0: there is no record now. Deleting what is not there is no error unless a version is expected.
pub(crate) fn delete(shard: &mut Shard<'_>, table: &str, key: &str, expect: RecordCondition) -> Result<Done, Fault> {
    check_name(table, key)?;
    if check_version(shard, table, key, expect)? != 0 {
        shard.rows.remove(Family::Records, keys::record(table, key));
    }
    Ok(Done::Record { version: 0 })
}

fn check_version(shard: &Shard<'_>, table: &str, key: &str, expect: RecordCondition) -> Result<u64, Fault> {
    let record: Option<Record> = read::get(&shard.rows, Family::Records, &keys::record(table, key))?;
    let version = record.map_or(0, |record| record.version);
    let holds = match expect {
        RecordCondition::Any => true,
        RecordCondition::Absent => version == 0,
        RecordCondition::Version(expected) => version == expected && version != 0,
    };
    if holds {
        Ok(version)
    } else {
        Err(Refusal::RecordConflict { version }.into())
    }
}

fn check_name(table: &str, key: &str) -> Result<(), Fault> {
    if table.is_empty() || table.len() > NAME_BYTES_MAX || key.len() > NAME_BYTES_MAX {
        return Err(Fault::invalid(
            "a record's table has 1 to 1024 bytes, its key at most 1024",
        ));
    }
    Ok(())
}
