//! A page of all versions and markers: `current` and `versions` merged in the order key, then newest first.
//!
//! Each family is walked by itself for one page, folding and jumping like a plain listing; the two walks are merged and
//! cut at the limit. A page reads at most two pages of rows, however many versions a key has.

use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::PAGE_MAX;
use crate::ids::{BucketId, Seq};
use crate::keys;
use crate::model::{Key, ObjectRow, VersionRow};
use crate::read;
use crate::rows::{Family, ReadRows, RowsError, Visit};

use super::fold::{Fold, Room, Start};
use super::{ListVersions, Page, VersionFound};

/// One step of a walk.
enum Item {
    Prefix(Key),
    Version(Key, Box<VersionRow>),
}

impl Item {
    fn key(&self) -> &[u8] {
        match self {
            Self::Prefix(key) | Self::Version(key, _) => key,
        }
    }
}

/// What one family has for the page; `ended` when it has nothing further.
struct Walk {
    items: VecDeque<Item>,
    ended: bool,
}

pub(super) fn list(rows: &dyn ReadRows, list: &ListVersions) -> Result<Page<(Key, VersionFound)>, RowsError> {
    let page = Page {
        entries: Vec::new(),
        prefixes: Vec::new(),
        more: false,
    };
    let limit = list.limit.min(PAGE_MAX);
    let fold = Fold::new(&list.prefix, list.delimiter.as_ref());
    let start = fold.start(list.after.as_ref());
    if limit == 0 || start == Start::Nothing {
        return Ok(page);
    }
    let inside = match (&start, list.after_version) {
        (Start::Behind(key), Some(seq)) => Some(Inside {
            key: key.clone(),
            seq,
            latest: latest(rows, list.bucket, key)?,
        }),
        _ => None,
    };
    let currents = walk_current(rows, list, &fold, &start, inside.as_ref(), limit)?;
    let versions = walk_versions(rows, list, &fold, &start, inside.as_ref(), limit)?;
    Ok(merge(currents, versions, inside.as_ref(), limit))
}

/// A page that begins inside a key's versions: only those older than `seq`, and which one is the key's latest.
struct Inside {
    key: Key,
    seq: Seq,
    latest: Option<Seq>,
}

/// A key's latest version or marker.
fn latest(rows: &dyn ReadRows, bucket: BucketId, key: &[u8]) -> Result<Option<Seq>, RowsError> {
    match read::current(rows, bucket, key)? {
        Some(object) => Ok(Some(object.seq)),
        None => Ok(read::newest_noncurrent(rows, bucket, key)?.map(|row| row.seq())),
    }
}

fn walk_current(
    rows: &dyn ReadRows,
    list: &ListVersions,
    fold: &Fold<'_>,
    start: &Start,
    inside: Option<&Inside>,
    limit: usize,
) -> Result<Walk, RowsError> {
    let name = |key: &[u8]| keys::current(list.bucket, key);
    let from = match start {
        Start::Behind(key) if inside.is_some() => Some(name(key)),
        Start::Behind(key) => Some(keys::just_after(name(key))),
        Start::BehindPrefix(shown) => keys::after_prefix(&name(shown)),
        Start::Prefix | Start::Nothing => Some(name(&list.prefix)),
    };
    let until = keys::after_prefix(&name(&list.prefix));
    walk(rows, Family::Current, from, until, limit, |row, value| {
        let key = keys::key_of_current(row).ok_or_else(|| read::misnamed(Family::Current, row))?;
        if let Some(prefix) = fold.common_prefix(key) {
            return Ok(Step::Fold(prefix.to_vec(), keys::after_prefix(&name(prefix))));
        }
        let object: ObjectRow = read::decode(Family::Current, row, value)?;
        if inside.is_some_and(|inside| inside.key == key && object.seq >= inside.seq) {
            return Ok(Step::Skip);
        }
        Ok(Step::Show(Item::Version(
            key.to_vec(),
            Box::new(VersionRow::Object(object)),
        )))
    })
}

fn walk_versions(
    rows: &dyn ReadRows,
    list: &ListVersions,
    fold: &Fold<'_>,
    start: &Start,
    inside: Option<&Inside>,
    limit: usize,
) -> Result<Walk, RowsError> {
    let all_with = |prefix: &[u8]| keys::escaped_prefix(list.bucket, prefix);
    let from = match (start, inside) {
        (Start::Behind(key), Some(inside)) => Some(keys::just_after(keys::version(list.bucket, key, inside.seq))),
        (Start::Behind(key), None) => keys::after_prefix(&keys::versions_of(list.bucket, key)),
        (Start::BehindPrefix(shown), _) => keys::after_prefix(&all_with(shown)),
        (Start::Prefix | Start::Nothing, _) => Some(all_with(&list.prefix)),
    };
    let until = keys::after_prefix(&all_with(&list.prefix));
    walk(rows, Family::Versions, from, until, limit, |row, value| {
        let (key, _) = keys::parts_of_version(row).ok_or_else(|| read::misnamed(Family::Versions, row))?;
        if let Some(prefix) = fold.common_prefix(&key) {
            return Ok(Step::Fold(prefix.to_vec(), keys::after_prefix(&all_with(prefix))));
        }
        Ok(Step::Show(Item::Version(
            key,
            read::decode(Family::Versions, row, value)?,
        )))
    })
}

/// What one row means for a walk.
enum Step {
    Show(Item),
    Skip,
    /// A common prefix, and the row to jump to.
    Fold(Key, Option<Vec<u8>>),
}

fn walk(
    rows: &dyn ReadRows,
    family: Family,
    from: Option<Vec<u8>>,
    until: Option<Vec<u8>>,
    limit: usize,
    mut step: impl FnMut(&[u8], &[u8]) -> Result<Step, RowsError>,
) -> Result<Walk, RowsError> {
    let mut walk = Walk {
        items: VecDeque::new(),
        ended: true,
    };
    let Some(from) = from else { return Ok(walk) };
    // One more than the page holds, so that the merge knows whether there is more.
    let mut room = Room::new(limit + 1);
    let mut fault = None;
    rows.scan(family, &from, until.as_deref(), &mut |row, value| {
        if !room.take(row.len() + value.len()) {
            walk.ended = false;
            return Visit::Stop;
        }
        match step(row, value) {
            Ok(Step::Show(item)) => {
                walk.items.push_back(item);
                Visit::Next
            }
            Ok(Step::Skip) => Visit::Next,
            Ok(Step::Fold(prefix, behind)) => {
                walk.items.push_back(Item::Prefix(prefix));
                behind.map_or(Visit::Stop, Visit::Seek)
            }
            Err(error) => {
                fault = Some(error);
                Visit::Stop
            }
        }
    })?;
    fault.map_or(Ok(walk), Err)
}

fn merge(mut currents: Walk, mut versions: Walk, inside: Option<&Inside>, limit: usize) -> Page<(Key, VersionFound)> {
    let mut page = Page {
        entries: Vec::new(),
        prefixes: Vec::new(),
        more: false,
    };
    // The last key of which a version was shown: a later version of the same key is not the latest.
    let mut shown: Option<Key> = None;
    loop {
        let order = match (currents.items.front(), versions.items.front()) {
            (None, None) => {
                page.more = !(currents.ended && versions.ended);
                return page;
            }
            // What a walk that stopped early has next is not known, so the page ends before it.
            (None, Some(_)) if !currents.ended => Ordering::Equal,
            (Some(_), None) if !versions.ended => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(current), Some(version)) => current.key().cmp(version.key()).then(Ordering::Less),
        };
        if order == Ordering::Equal {
            page.more = true;
            return page;
        }
        let walk = if order == Ordering::Less {
            &mut currents
        } else {
            &mut versions
        };
        // Both walks may have folded keys into the same prefix.
        if matches!((walk.items.front(), page.prefixes.last()), (Some(Item::Prefix(new)), Some(old)) if new == old) {
            walk.items.pop_front();
            continue;
        }
        if page.entries.len() + page.prefixes.len() == limit {
            page.more = true;
            return page;
        }
        match walk.items.pop_front() {
            Some(Item::Prefix(prefix)) => page.prefixes.push(prefix),
            Some(Item::Version(key, row)) => {
                let latest = match inside.filter(|inside| inside.key == key) {
                    Some(inside) => inside.latest == Some(row.seq()),
                    None => shown.as_ref() != Some(&key),
                };
                shown = Some(key.clone());
                page.entries.push((key, found(*row, latest)));
            }
            None => {}
        }
    }
}

fn found(row: VersionRow, latest: bool) -> VersionFound {
    match row {
        VersionRow::Object(object) => VersionFound::Object { object, latest },
        VersionRow::Marker(marker) => VersionFound::Marker { marker, latest },
    }
}
