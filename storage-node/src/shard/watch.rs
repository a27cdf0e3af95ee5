//! Answers to those who keep a copy of the system shard.

use std::time::Duration;

use bytes::Bytes;
use metadata::ids::ShardId;
use metadata::rows::{Family, ReadRows, Visit};

use super::calls::{ShardFault, WatchCall, WatchFrom, WatchPage, WatchRow};
use super::feed::{FAMILIES, PAGE_BYTES_MAX, Since, SystemFeed, bytes_of};
use super::group::ShardGroup;
use super::shard_rows::{ShardRows, applied};
use super::store::{ReadPurpose, ReadSpaces};

/// The longest a watcher is kept waiting: it must hear within its staleness bound of 2 s.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// One page for a watcher.
pub(crate) async fn page(group: &ShardGroup, feed: &SystemFeed, call: WatchCall) -> Result<WatchPage, ShardFault> {
    group.check_runs()?;
    match call.from {
        WatchFrom::Nothing => dump(group, feed, None).await,
        WatchFrom::Dump { index, family, key } => dump(group, feed, Some((index, family, key))).await,
        WatchFrom::Index(index) => {
            let wait = Duration::from_millis(call.wait_ms.into()).min(WAIT_MAX);
            match changes(feed, index, wait).await {
                Since::TooOld => dump(group, feed, None).await,
                Since::Nothing => Ok(changed(group, Vec::new(), index, true)),
                Since::Changes { rows, upto, all } => Ok(changed(group, rows, upto, all)),
            }
        }
    }
}

async fn changes(feed: &SystemFeed, index: u64, wait: Duration) -> Since {
    let mut last = feed.last();
    // A time-out is no news, which is an answer too.
    let _ = tokio::time::timeout(wait, last.wait_for(|last| last.is_some_and(|last| last > index))).await;
    feed.since(index)
}

/// A page of changes. A replica that has not come as far as the watcher proves nothing about its freshness.
fn changed(group: &ShardGroup, rows: Vec<WatchRow>, upto: u64, all: bool) -> WatchPage {
    let here = group.state.applied().last.map_or(0, |last| last.index);
    let behind_ms = if here < upto { u64::MAX } else { group.behind_ms() };
    WatchPage {
        restart: false,
        rows,
        next: WatchFrom::Index(upto),
        complete: all,
        behind_ms,
    }
}

/// A page of a dump. Before it is answered the feed has reached what the page shows, so that the changes after the
/// dump never end before it.
async fn dump(group: &ShardGroup, feed: &SystemFeed, after: Option<(u64, u8, Bytes)>) -> Result<WatchPage, ShardFault> {
    let state = std::sync::Arc::clone(&group.state);
    let read = group.node.pools.reads.run(move || {
        let mut page = Err("the store gave no view".to_owned());
        state.store.with_view(ReadPurpose::Bulk, &mut |view| {
            page = dump_page(view, state.shard, after.clone())
        });
        page
    });
    let (mut page, shown) = read.await.map_err(|_| ShardFault::Busy)?.map_err(ShardFault::Fatal)?;
    let mut last = feed.last();
    let reached = last.wait_for(|last| last.unwrap_or(0) >= shown);
    if tokio::time::timeout(WAIT_MAX, reached).await.is_err() {
        return Err(ShardFault::Unavailable("the feed of changes is behind".into()));
    }
    page.behind_ms = group.behind_ms();
    Ok(page)
}

/// A page and the index that its view had applied.
fn dump_page(
    view: &dyn ReadSpaces,
    shard: ShardId,
    after: Option<(u64, u8, Bytes)>,
) -> Result<(WatchPage, u64), String> {
    let restart = after.is_none();
    let begun = applied(view, shard)
        .map_err(|e| e.to_string())?
        .last
        .map_or(0, |last| last.index);
    let (index, first, after_key) = after.map_or((begun, 0, None), |(index, family, key)| (index, family, Some(key)));
    let rows = ShardRows::live(view, shard).map_err(|e| e.to_string())?;
    let mut page = Vec::new();
    let mut bytes = 0;
    for family in FAMILIES.into_iter().filter(|family| *family as u8 >= first) {
        let after = after_key.as_ref().filter(|_| family as u8 == first);
        let from = after.map_or_else(Vec::new, |key| [key.as_ref(), &[0]].concat());
        let scanned = rows.scan(family, &from, None, &mut |key, value| {
            let row = to_row(family, key, value);
            bytes += bytes_of(&row);
            page.push(row);
            if bytes < PAGE_BYTES_MAX {
                Visit::Next
            } else {
                Visit::Stop
            }
        });
        scanned.map_err(|e| e.to_string())?;
        if bytes >= PAGE_BYTES_MAX {
            break;
        }
    }
    let more = page.last().filter(|_| bytes >= PAGE_BYTES_MAX);
    let next = more.map_or(WatchFrom::Index(index), |row| WatchFrom::Dump {
        index,
        family: row.family,
        key: row.key.clone(),
    });
    // Pages of one dump come from different moments; only a dump of one page is a state that ever was.
    let complete = restart && matches!(next, WatchFrom::Index(_));
    Ok((
        WatchPage {
            restart,
            rows: page,
            next,
            complete,
            behind_ms: 0,
        },
        begun,
    ))
}

fn to_row(family: Family, key: &[u8], value: &[u8]) -> WatchRow {
    WatchRow {
        family: family as u8,
        key: Bytes::copy_from_slice(key),
        value: Some(Bytes::copy_from_slice(value)),
    }
}
