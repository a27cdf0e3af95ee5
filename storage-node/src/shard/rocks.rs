//! The store over RocksDB: one database per node, a column family per [`Space`].
//!
//! Memory is bounded (MEM-1): one block cache that also holds index and filter blocks, one write-buffer manager, a
//! bounded number of open files. A sync is `flush_wal(true)` after plain writes, so that unsynced writes of applied
//! state never wait behind somebody else's sync. RocksDB syncs closed WAL files before it flushes a family, so a
//! family never gets ahead of the others across a crash (STORE-2).
//!
//! Knows: RocksDB. Must not know: what the rows mean.

use std::path::Path;

use bytes::Bytes;
use metadata::rows::Visit;
use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, Options, ReadOptions,
    Snapshot, WriteBatch, WriteBufferManager, WriteOptions,
};
use std::sync::Arc;

use super::store::{ReadPurpose, ReadSpaces, RowStore, Space, StoreFailed, WriteSet};
use super::tidier::{Steps, Tidier};

/// Values from this size on lie in blob files (only in [`Space::Inline`]), in bytes.
const BLOB_BYTES_MIN: u64 = 1024;
/// Size of one memtable in bytes; the manager below bounds their sum.
const MEMTABLE_BYTES: usize = 16 * 1024 * 1024;
/// The write-ahead log's files are limited to this, so that a seldom written family does not keep old ones, in bytes.
const WAL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Log files kept to be written over.
const RECYCLED_LOGS_MAX: usize = 4;
/// Table files kept open.
const OPEN_FILES_MAX: i32 = 512;
/// Deletions among this many neighbouring rows that make a file worth compacting.
const DELETIONS_WINDOW: usize = 4096;
/// How many of them.
const DELETIONS_TRIGGER: usize = 1024;

/// How much memory the database may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RocksMemory {
    /// Block cache in bytes, index and filter blocks included.
    pub cache_bytes: usize,
    /// All memtables together, in bytes.
    pub write_buffer_bytes: usize,
}

impl Default for RocksMemory {
    fn default() -> Self {
        Self {
            cache_bytes: 80 * 1024 * 1024,
            write_buffer_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Why the database did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailed {
    /// Files are damaged or missing: the store must be quarantined (DUR-5).
    #[error("the metadata store is damaged: {0}")]
    Damaged(String),
    /// It is locked, unreadable, or the disk is full: may work later.
    #[error("the metadata store does not open: {0}")]
    Other(String),
}

/// A RocksDB database.
pub struct RocksStore {
    // Ends before the database is closed.
    tidier: Tidier,
    db: Arc<DB>,
}

impl RocksStore {
    /// Opens the database in `dir`, or makes an empty one.
    ///
    /// # Errors
    /// [`OpenFailed`].
    pub fn open(dir: &Path, memory: RocksMemory) -> Result<Self, OpenFailed> {
        let cache = Cache::new_lru_cache(memory.cache_bytes);
        let families = Space::ALL.map(|space| ColumnFamilyDescriptor::new(name(space), family_options(space, &cache)));
        let db = DB::open_cf_descriptors(&database_options(memory), dir, families).map_err(|e| match e.kind() {
            rocksdb::ErrorKind::Corruption | rocksdb::ErrorKind::InvalidArgument => OpenFailed::Damaged(e.to_string()),
            _ => OpenFailed::Other(e.to_string()),
        })?;
        let db = Arc::new(db);
        let tidier = Tidier::start(&db).map_err(|e| OpenFailed::Other(e.to_string()))?;
        Ok(Self { tidier, db })
    }

    fn family(&self, space: Space) -> Arc<BoundColumnFamily<'_>> {
        self.db
            .cf_handle(name(space))
            .expect("every space was opened as a column family")
    }
}

impl ReadSpaces for RocksStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreFailed> {
        get(self, &ReadOptions::default(), space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreFailed> {
        scan(self, ReadOptions::default(), space, from, until, visit)
    }

    fn last(&self, space: Space, from: &[u8], until: &[u8]) -> Result<Option<(Vec<u8>, Bytes)>, StoreFailed> {
        last(self, ReadOptions::default(), space, from, until)
    }
}

impl RowStore for RocksStore {
    fn write(&self, set: &WriteSet) -> Result<(), StoreFailed> {
        let families = Space::ALL.map(|space| self.family(space));
        let mut batch = WriteBatch::with_capacity_bytes(set.bytes() + 32 * set.rows().len());
        for row in set.rows() {
            let family = &families[row.space as usize];
            match &row.value {
                Some(value) => batch.put_cf(family, &row.key, value),
                None => batch.delete_cf(family, &row.key),
            }
        }
        self.db
            .write_opt(batch, &WriteOptions::default())
            .map_err(failed("writing"))
    }

    fn sync(&self) -> Result<(), StoreFailed> {
        self.db.flush_wal(true).map_err(failed("syncing"))
    }

    fn sequence(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    fn with_view(&self, purpose: ReadPurpose, read: &mut dyn FnMut(&dyn ReadSpaces)) {
        read(&View {
            store: self,
            snapshot: self.db.snapshot(),
            purpose,
        });
    }

    fn drop_range(&self, space: Space, from: &[u8], until: &[u8]) -> Result<(), StoreFailed> {
        let family = self.family(space);
        self.db
            .delete_range_cf(&family, from, until)
            .map_err(failed("dropping a range"))?;
        self.db.compact_range_cf(&family, Some(from), Some(until));
        Ok(())
    }

    fn end_background_work(&self) {
        // Also the compaction of a dropped range, which a thread of ours waits for: after a snapshot that is gigabytes.
        self.db.cancel_all_background_work(false);
    }

    fn bytes_between(&self, space: Space, from: &[u8], until: &[u8]) -> u64 {
        let sizes = self
            .db
            .get_approximate_sizes_cf(&self.family(space), &[rocksdb::Range::new(from, until)]);
        sizes.first().copied().unwrap_or(0)
    }
}

/// One RocksDB snapshot.
struct View<'a> {
    store: &'a RocksStore,
    snapshot: Snapshot<'a>,
    purpose: ReadPurpose,
}

impl View<'_> {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options.fill_cache(self.purpose == ReadPurpose::Serve);
        options
    }
}

impl ReadSpaces for View<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreFailed> {
        get(self.store, &self.options(), space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreFailed> {
        scan(self.store, self.options(), space, from, until, visit)
    }

    fn last(&self, space: Space, from: &[u8], until: &[u8]) -> Result<Option<(Vec<u8>, Bytes)>, StoreFailed> {
        last(self.store, self.options(), space, from, until)
    }
}

fn get(store: &RocksStore, options: &ReadOptions, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreFailed> {
    let found = store
        .db
        .get_pinned_cf_opt(&store.family(space), key, options)
        .map_err(failed("reading a row"))?;
    Ok(found.map(|value| Bytes::copy_from_slice(&value)))
}

fn scan(
    store: &RocksStore,
    mut options: ReadOptions,
    space: Space,
    from: &[u8],
    until: &[u8],
    visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
) -> Result<(), StoreFailed> {
    if from >= until {
        return Ok(());
    }
    options.set_total_order_seek(true);
    options.set_iterate_upper_bound(until);
    if space == Space::Log {
        // Old entries are read once, for a peer that was away; the latest ones lie in memory anyway.
        options.fill_cache(false);
    }
    let steps = Steps::count();
    let mut rows = store.db.raw_iterator_cf_opt(&store.family(space), options);
    rows.seek(from);
    while let Some((key, value)) = rows.item() {
        match visit(key, value) {
            Visit::Next => rows.next(),
            Visit::Stop => break,
            Visit::Seek(target) if target.as_slice() >= until => break,
            Visit::Seek(target) => rows.seek(target),
        }
    }
    let end = rows.key().unwrap_or(until);
    store.tidier.scanned(space, from, end, steps.tombstones());
    rows.status().map_err(failed("scanning rows"))
}

fn last(
    store: &RocksStore,
    mut options: ReadOptions,
    space: Space,
    from: &[u8],
    until: &[u8],
) -> Result<Option<(Vec<u8>, Bytes)>, StoreFailed> {
    options.set_total_order_seek(true);
    options.set_iterate_range(from.to_vec()..until.to_vec());
    let mut rows = store.db.raw_iterator_cf_opt(&store.family(space), options);
    rows.seek_to_last();
    let found = rows
        .item()
        .map(|(key, value)| (key.to_vec(), Bytes::copy_from_slice(value)));
    rows.status().map_err(failed("finding the last row"))?;
    Ok(found)
}

fn failed(doing: &'static str) -> impl Fn(rocksdb::Error) -> StoreFailed {
    move |e| StoreFailed {
        doing,
        reason: e.to_string(),
    }
}

pub(super) fn name(space: Space) -> &'static str {
    match space {
        Space::Log => "log",
        Space::State => "state",
        Space::Current => "current",
        Space::Versions => "versions",
        Space::Inline => "inline",
        Space::Requests => "requests",
        Space::Rows => "rows",
    }
}

fn database_options(memory: RocksMemory) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager(
        memory.write_buffer_bytes,
        false,
    ));
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_background_jobs(2);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    // A log written over an old one does not grow, so that its sync is no journal commit of the file system.
    options.set_recycle_log_file_num(RECYCLED_LOGS_MAX);
    options.set_bytes_per_sync(1024 * 1024);
    options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::PointInTime);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 * 1024 * 1024);
    options.set_log_level(rocksdb::LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options
}

fn family_options(space: Space, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    table.set_block_size(8 * 1024);
    if space != Space::Log {
        table.set_bloom_filter(10.0, false);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_write_buffer_number(3);
    options.set_target_file_size_base(32 * 1024 * 1024);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.add_compact_on_deletion_collector_factory(DELETIONS_WINDOW, DELETIONS_TRIGGER, 0.5);
    if space == Space::Inline {
        options.set_enable_blob_files(true);
        options.set_min_blob_size(BLOB_BYTES_MIN);
        options.set_blob_file_size(64 * 1024 * 1024);
        options.set_blob_compression_type(DBCompressionType::Lz4);
        options.set_enable_blob_gc(true);
        options.set_blob_gc_age_cutoff(0.5);
    }
    options
}
