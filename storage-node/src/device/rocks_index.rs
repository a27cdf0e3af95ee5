//! The index in RocksDB: three column families, written without sync, thrown away when it is damaged.
//!
//! ```text
//! entries    BlobKey                                   -> Entry                            (formats in `index`)
//! segments   segment u64                               -> version u8 (1), SegmentRow in postcard
//! kills      killed u64, tombstones_in u64             -> count u64                        (big endian)
//! default    "clearing"                                -> set while the others are being emptied
//! ```

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use metadata::ids::ClusterId;
use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, Direction, ErrorKind,
    IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::blob::{BlobKey, KEY_BYTES};
use super::index::{Entry, Index, IndexBatch, IndexError, Kill, SegmentRow};

/// A row's key and value as RocksDB gives them.
type RawRow = (Box<[u8]>, Box<[u8]>);

const ROW_VERSION: u8 = 1;
const ENTRIES: &str = "entries";
const SEGMENTS: &str = "segments";
const KILLS: &str = "kills";
const CLEARING: &[u8] = b"clearing";
/// Bytes of the memtable of entries; two may exist.
const WRITE_BUFFER_BYTES: usize = 16 << 20;
/// Bytes of WAL after which memtables are flushed.
const WAL_BYTES_MAX: u64 = 128 << 20;
/// Files RocksDB keeps open.
const FILES_OPEN_MAX: i32 = 256;
/// Of so many neighbouring rows ...
const DELETED_WINDOW: usize = 4096;
/// ... so many removed ones ask for a compaction, so that scans do not crawl over them.
const DELETED_TRIGGER: usize = 2048;

/// An index in a folder of its own.
pub struct RocksIndex {
    db: DB,
    cluster: ClusterId,
}

impl RocksIndex {
    /// Opens or makes the index in `dir`. A damaged one is thrown away: it is only a cache. `cache` is the process'
    /// block cache, shared by all its databases.
    pub fn open(dir: &Path, cluster: ClusterId, cache: Option<&Cache>) -> Result<Self, IndexError> {
        let leftover = dir.with_extension("old");
        let files = |error: std::io::Error| IndexError(format!("{}: {error}", dir.display()));
        if leftover.exists() {
            std::fs::remove_dir_all(&leftover).map_err(files)?;
        }
        let db = match open_db(dir, cache) {
            Err(error) if matches!(error.kind(), ErrorKind::Corruption | ErrorKind::InvalidArgument) => {
                tracing::warn!(%error, "the device's index is damaged and will be rebuilt");
                // Renamed first: a half-deleted database must never be taken for a whole one.
                std::fs::rename(dir, &leftover).map_err(files)?;
                std::fs::remove_dir_all(&leftover).map_err(files)?;
                open_db(dir, cache)
            }
            other => other,
        };
        let index = Self {
            db: db.map_err(failed)?,
            cluster,
        };
        if index.db.get(CLEARING).map_err(failed)?.is_some() {
            index.clear()?;
        }
        Ok(index)
    }

    fn family(&self, name: &str) -> Result<Arc<BoundColumnFamily<'_>>, IndexError> {
        self.db
            .cf_handle(name)
            .ok_or_else(|| IndexError(format!("column family {name} is missing")))
    }

    /// All rows of a small family.
    fn all(&self, name: &str) -> Result<Vec<RawRow>, IndexError> {
        let family = self.family(name)?;
        self.db
            .iterator_cf(&family, IteratorMode::Start)
            .map(|row| row.map_err(failed))
            .collect()
    }
}

impl Index for RocksIndex {
    fn get(&self, key: &BlobKey) -> Result<Option<Entry>, IndexError> {
        let found = self
            .db
            .get_pinned_cf(&self.family(ENTRIES)?, key.to_bytes())
            .map_err(failed)?;
        found
            .map(|bytes| Entry::decode(&bytes, self.cluster).ok_or_else(unknown_format))
            .transpose()
    }

    fn scan(
        &self,
        from: Bound<BlobKey>,
        until_placement: u64,
        limit: usize,
    ) -> Result<Vec<(BlobKey, Entry)>, IndexError> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        if let Some(end) = until_placement.checked_add(1) {
            options.set_iterate_upper_bound(BlobKey::first(end).to_bytes());
        }
        let start = match from {
            Bound::Unbounded => [0; KEY_BYTES],
            Bound::Included(key) | Bound::Excluded(key) => key.to_bytes(),
        };
        let mode = IteratorMode::From(&start, Direction::Forward);
        let mut rows = Vec::new();
        for row in self.db.iterator_cf_opt(&self.family(ENTRIES)?, options, mode) {
            if rows.len() == limit {
                break;
            }
            let (key, entry) = row.map_err(failed)?;
            let key = BlobKey::from_bytes(&key).ok_or_else(unknown_format)?;
            if from != Bound::Excluded(key) {
                rows.push((key, Entry::decode(&entry, self.cluster).ok_or_else(unknown_format)?));
            }
        }
        Ok(rows)
    }

    fn rows(&self) -> Result<BTreeMap<u64, SegmentRow>, IndexError> {
        let rows = self.all(SEGMENTS)?;
        let decoded = rows.iter().map(|(segment, row)| {
            let segment = u64::from_be_bytes(segment[..].try_into().ok()?);
            let row = row.strip_prefix(&[ROW_VERSION])?;
            Some((segment, postcard::from_bytes(row).ok()?))
        });
        decoded.collect::<Option<_>>().ok_or_else(unknown_format)
    }

    fn kills(&self) -> Result<BTreeMap<Kill, u64>, IndexError> {
        let rows = self.all(KILLS)?;
        let decoded = rows.iter().map(|(kill, count)| {
            let killed = u64::from_be_bytes(kill.get(..8)?.try_into().ok()?);
            let tombstones_in = u64::from_be_bytes(kill.get(8..)?.try_into().ok()?);
            Some((
                Kill { killed, tombstones_in },
                u64::from_be_bytes(count[..].try_into().ok()?),
            ))
        });
        decoded.collect::<Option<_>>().ok_or_else(unknown_format)
    }

    fn apply(&self, batch: IndexBatch, sync: bool) -> Result<(), IndexError> {
        let (entries, segments, kills) = (self.family(ENTRIES)?, self.family(SEGMENTS)?, self.family(KILLS)?);
        let mut writes = WriteBatch::default();
        for (key, entry) in &batch.entries {
            match entry {
                Some(entry) => writes.put_cf(&entries, key.to_bytes(), entry.encode()),
                None => writes.delete_cf(&entries, key.to_bytes()),
            }
        }
        for (segment, row) in &batch.rows {
            match row {
                Some(row) => {
                    let bytes = postcard::to_extend(row, vec![ROW_VERSION]);
                    let bytes = bytes.map_err(|error| IndexError(error.to_string()))?;
                    writes.put_cf(&segments, segment.to_be_bytes(), bytes);
                }
                None => writes.delete_cf(&segments, segment.to_be_bytes()),
            }
        }
        for (kill, count) in &batch.kills {
            let key = [kill.killed.to_be_bytes(), kill.tombstones_in.to_be_bytes()].concat();
            match count {
                0 => writes.delete_cf(&kills, key),
                count => writes.put_cf(&kills, key, count.to_be_bytes()),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.db.write_opt(writes, &options).map_err(failed)
    }

    fn clear(&self) -> Result<(), IndexError> {
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        self.db.put_opt(CLEARING, [], &synced).map_err(failed)?;
        for (name, options) in families(None) {
            if self.db.cf_handle(name).is_some() {
                self.db.drop_cf(name).map_err(failed)?;
            }
            self.db.create_cf(name, &options).map_err(failed)?;
        }
        self.db.delete_opt(CLEARING, &synced).map_err(failed)
    }
}

fn open_db(dir: &Path, cache: Option<&Cache>) -> Result<DB, rocksdb::Error> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_open_files(FILES_OPEN_MAX);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    let families = families(cache)
        .into_iter()
        .map(|(name, options)| ColumnFamilyDescriptor::new(name, options));
    DB::open_cf_descriptors(&options, dir, families)
}

fn families(cache: Option<&Cache>) -> [(&'static str, Options); 3] {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_bloom_filter(10.0, false);
    if let Some(cache) = cache {
        blocks.set_block_cache(cache);
        blocks.set_cache_index_and_filter_blocks(true);
    }
    let mut entries = Options::default();
    entries.set_write_buffer_size(WRITE_BUFFER_BYTES);
    entries.set_compression_type(DBCompressionType::Lz4);
    entries.set_block_based_table_factory(&blocks);
    entries.add_compact_on_deletion_collector_factory(DELETED_WINDOW, DELETED_TRIGGER, 0.5);
    [
        (ENTRIES, entries),
        (SEGMENTS, Options::default()),
        (KILLS, Options::default()),
    ]
}

fn failed(error: rocksdb::Error) -> IndexError {
    IndexError(error.to_string())
}

fn unknown_format() -> IndexError {
    IndexError("a row has an unknown format".into())
}
