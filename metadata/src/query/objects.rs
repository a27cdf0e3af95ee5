//! A page of current objects (ListObjects v1 and v2).

use crate::PAGE_MAX;
use crate::keys;
use crate::model::Key;
use crate::model::ObjectRow;
use crate::read;
use crate::rows::{Family, ReadRows, RowsError, Visit};

use super::fold::{Fold, Room, Start};
use super::{ListObjects, Page};

pub(super) fn list(rows: &dyn ReadRows, list: &ListObjects) -> Result<Page<(Key, ObjectRow)>, RowsError> {
    let mut page = Page {
        entries: Vec::new(),
        prefixes: Vec::new(),
        more: false,
    };
    let fold = Fold::new(&list.prefix, list.delimiter.as_ref());
    let name = |key: &[u8]| keys::current(list.bucket, key);
    let start = match fold.start(list.after.as_ref()) {
        // The first page of ListObjectsV2 may begin inside a common prefix, which is still to be shown.
        Start::BehindPrefix(_) if list.start_after => list.after.clone().map_or(Start::Prefix, Start::Behind),
        start => start,
    };
    let from = match start {
        Start::Prefix => Some(name(&list.prefix)),
        Start::Behind(key) => Some(keys::just_after(name(&key))),
        Start::BehindPrefix(shown) => keys::after_prefix(&name(&shown)),
        Start::Nothing => None,
    };
    let (Some(from), limit) = (from, list.limit.min(PAGE_MAX)) else {
        return Ok(page);
    };
    if limit == 0 {
        return Ok(page);
    }
    let until = keys::after_prefix(&name(&list.prefix));
    let mut room = Room::new(limit);
    let mut fault = None;
    rows.scan(Family::Current, &from, until.as_deref(), &mut |row, value| {
        let Some(key) = keys::key_of_current(row) else {
            fault = Some(read::misnamed(Family::Current, row));
            return Visit::Stop;
        };
        if let Some(prefix) = fold.common_prefix(key) {
            if !room.take(prefix.len()) {
                page.more = true;
                return Visit::Stop;
            }
            page.prefixes.push(prefix.to_vec());
            return keys::after_prefix(&name(prefix)).map_or(Visit::Stop, Visit::Seek);
        }
        if !room.take(row.len() + value.len()) {
            page.more = true;
            return Visit::Stop;
        }
        match read::decode(Family::Current, row, value) {
            Ok(object) => {
                page.entries.push((key.to_vec(), object));
                Visit::Next
            }
            Err(error) => {
                fault = Some(error);
                Visit::Stop
            }
        }
    })?;
    fault.map_or(Ok(page), Err)
}
