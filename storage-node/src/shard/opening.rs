//! Opening a node's metadata store: what is on the disk, and may it vote (DUR-5)?
//!
//! ```text
//! <dir>/synced   the note of what is synced, see `synced_note`
//! <dir>/db/      the database
//! ```
//! Order at a birth: the note (sequence 0) is synced, the identity row is synced, the note is written again with the
//! sequence number reached. Whatever is cut off in between goes on at the next start.

use std::io;
use std::path::Path;
use std::sync::Arc;

use clock::Dice;

use super::faulty::{FaultyStore, StoreFaults};
use super::identity::{Found, StoreIdentity, Verdict, damaged, emptied, judge};
use super::layout;
use super::options::{Damage, ShardOptions};
use super::rocks::{OpenFailed, RocksStore};
use super::store::{RowStore, Space, StoreFailed, WriteSet};
use super::synced_note::SyncedNote;
use super::types::{from_value, to_value};
use crate::device::{Disk, RealDisk};

/// Why a node's shards did not start. A damaged store is no error here: it opens quarantined.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder, a thread or the database is not to be had; may work later.
    #[error("the metadata store in {dir} does not open: {reason}")]
    Unusable {
        /// The folder.
        dir: String,
        /// What the system said.
        reason: String,
    },
    /// The store belongs to another cluster or node: correct the configuration.
    #[error("{0}")]
    Foreign(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFailed),
}

/// What opening found.
pub(crate) enum Opened {
    /// A store that may vote.
    Sound {
        identity: StoreIdentity,
        store: Arc<dyn RowStore>,
        note: SyncedNote,
    },
    /// One that may not; says why.
    Quarantined(String),
}

/// Opens the store. Blocks on the disk.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn open(options: &ShardOptions, dice: &dyn Dice) -> Result<Opened, OpenError> {
    let dir = options.dir.as_path();
    let folder = note_folder(options).map_err(unusable(dir))?;
    let noted = SyncedNote::read(folder.as_ref()).map_err(unusable(dir))?;
    let store = match open_store(options) {
        Ok(store) => store,
        Err(OpenFailed::Damaged(reason)) => return Ok(Opened::Quarantined(damaged(&reason))),
        Err(e @ OpenFailed::Other(_)) => return Err(unusable(dir)(e)),
    };
    let stored = store
        .get(Space::State, &layout::identity())?
        .map(|value| from_value(&value))
        .transpose()?;
    let found = Found {
        noted,
        stored,
        sequence: store.sequence(),
    };
    let wanted = StoreIdentity {
        cluster: options.cluster,
        node: options.node,
        incarnation: dice.u128(),
    };
    let (identity, note) = match judge(&found, wanted) {
        Verdict::Foreign(reason) => return Err(OpenError::Foreign(reason)),
        // Even an operator who accepts a loss cannot have a cluster decided by a store that knows nothing.
        Verdict::Born(_) if options.expected && found.noted.is_none() => {
            return Ok(Opened::Quarantined(emptied()));
        }
        Verdict::Quarantined(reason) if options.damage == Damage::Quarantine => {
            return Ok(Opened::Quarantined(reason));
        }
        Verdict::Quarantined(reason) => {
            tracing::error!(%reason, "an operator has accepted the damage of this store");
            let identity = stored.unwrap_or(wanted);
            (identity, bear(store.as_ref(), options, identity)?)
        }
        Verdict::Born(identity) => (identity, bear(store.as_ref(), options, identity)?),
        Verdict::Sound(identity) => {
            let synced = found.noted.map_or(0, |noted| noted.sequence);
            (
                identity,
                SyncedNote::create(folder.as_ref(), identity, synced).map_err(unusable(dir))?,
            )
        }
    };
    Ok(Opened::Sound {
        identity,
        store: with_faults(store, options),
        note,
    })
}

/// Gives the store its identity; safe to repeat.
fn bear(store: &dyn RowStore, options: &ShardOptions, identity: StoreIdentity) -> Result<SyncedNote, OpenError> {
    let dir = options.dir.as_path();
    let folder = note_folder(options).map_err(unusable(dir))?;
    SyncedNote::create(folder.as_ref(), identity, 0).map_err(unusable(dir))?;
    let mut set = WriteSet::new();
    set.put(Space::State, layout::identity(), to_value(&identity));
    store.write(&set)?;
    store.sync()?;
    SyncedNote::create(folder.as_ref(), identity, store.sequence()).map_err(unusable(dir))
}

/// Where the note is.
fn note_folder(options: &ShardOptions) -> io::Result<Arc<dyn Disk>> {
    if let Some(ground) = &options.ground {
        return Ok(ground.note());
    }
    std::fs::create_dir_all(&options.dir)?;
    Ok(Arc::new(RealDisk::open(&options.dir)?))
}

fn open_store(options: &ShardOptions) -> Result<Arc<dyn RowStore>, OpenFailed> {
    match &options.ground {
        Some(ground) => ground.metadata(),
        None => Ok(Arc::new(RocksStore::open(&options.dir.join("db"), options.memory)?)),
    }
}

fn with_faults(store: Arc<dyn RowStore>, options: &ShardOptions) -> Arc<dyn RowStore> {
    let slow = || (!options.sync_delay.is_zero()).then(|| StoreFaults::slow(options.sync_delay));
    match options.faults.clone().or_else(slow) {
        Some(faults) => Arc::new(FaultyStore::new(store, faults)),
        None => store,
    }
}

fn unusable<E: std::fmt::Display>(dir: &Path) -> impl Fn(E) -> OpenError {
    let dir = dir.display().to_string();
    move |e| OpenError::Unusable {
        dir: dir.clone(),
        reason: e.to_string(),
    }
}
