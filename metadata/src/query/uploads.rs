//! A page of open multipart uploads. Completed ones stand elsewhere, so a week of them costs a page nothing.

use crate::PAGE_MAX;
use crate::keys;
use crate::model::{Key, UploadRow};
use crate::read;
use crate::rows::{Family, ReadRows, RowsError, Visit};

use super::fold::{Fold, Room, Start};
use super::{ListUploads, Page};

pub(super) fn list(rows: &dyn ReadRows, list: &ListUploads) -> Result<Page<(Key, UploadRow)>, RowsError> {
    let mut page = Page {
        entries: Vec::new(),
        prefixes: Vec::new(),
        more: false,
    };
    let fold = Fold::new(&list.prefix, list.delimiter.as_ref());
    let all = keys::uploads_prefix(list.bucket, &list.prefix);
    let from = match fold.start(list.after.as_ref()) {
        Start::Prefix => Some(all.clone()),
        Start::Behind(key) => match list.after_upload {
            Some(id) => Some(keys::just_after(keys::upload(list.bucket, &key, id))),
            None => keys::after_prefix(&keys::uploads_of(list.bucket, &key)),
        },
        Start::BehindPrefix(shown) => keys::after_prefix(&keys::uploads_prefix(list.bucket, &shown)),
        Start::Nothing => None,
    };
    let (Some(from), limit) = (from, list.limit.min(PAGE_MAX)) else {
        return Ok(page);
    };
    if limit == 0 {
        return Ok(page);
    }
    let until = keys::after_prefix(&all);
    let mut room = Room::new(limit);
    let mut fault = None;
    rows.scan(Family::Uploads, &from, until.as_deref(), &mut |row, value| {
        let Some((key, _)) = keys::parts_of_upload(row) else {
            fault = Some(read::misnamed(Family::Uploads, row));
            return Visit::Stop;
        };
        let prefix = fold.common_prefix(&key);
        if !room.take(prefix.map_or(row.len() + value.len(), <[u8]>::len)) {
            page.more = true;
            return Visit::Stop;
        }
        if let Some(prefix) = prefix {
            page.prefixes.push(prefix.to_vec());
            let behind = keys::after_prefix(&keys::uploads_prefix(list.bucket, prefix));
            return behind.map_or(Visit::Stop, Visit::Seek);
        }
        match read::decode(Family::Uploads, row, value) {
            Ok(upload) => {
                page.entries.push((key, upload));
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
