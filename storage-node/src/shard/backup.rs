//! Backups of all shards of a cluster, taken from the replicas of one node.
//!
//! The node first learns every shard's read index and waits until it has applied it, so that everything acknowledged
//! before the backup began is in it; then one view of its store shows all shards at one moment. Steps of one operation
//! in two shards (a bucket's birth or end) are resumable, so any such moment is a state to go on from. Rows go straight
//! from the view to a file beside the final name, which appears only when it is whole and synced.
//!
//! Knows: views, frames. Must not know: who asked.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use metadata::ids::ShardId;

use super::backup_file::{Frame, write_frame, write_magic};
use super::calls::ShardFault;
use super::node::Node;
use super::shards::Shards;
use super::snapshot::{Part, read_view};
use super::store::ReadPurpose;
use crate::threads;

/// A backup that is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// The file.
    pub file: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// How many shards it holds.
    pub shards: u64,
}

impl fmt::Display for BackedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, bytes, shards } = self;
        write!(
            f,
            "{} holds the metadata of {shards} shards in {bytes} bytes",
            file.display()
        )
    }
}

impl Shards {
    /// Writes a backup of all shards into `folder`.
    ///
    /// # Errors
    /// When a shard does not answer, or the folder cannot be written.
    pub async fn backup(&self, folder: &Path) -> Result<BackedUp, ShardFault> {
        let running = self.running()?;
        for group in running.groups.values() {
            group.catch_up().await?;
        }
        let states: Vec<_> = running
            .groups
            .values()
            .map(|group| std::sync::Arc::clone(&group.state))
            .collect();
        let (node, folder) = (std::sync::Arc::clone(&running.node), folder.to_path_buf());
        drop(running);
        let writing = threads::blocking(move || write(&node, &states, &folder));
        let written = writing.await.map_err(|e| ShardFault::Fatal(e.to_string()))?;
        written.map_err(|e| ShardFault::Unavailable(format!("the backup was not written: {e}")))
    }
}

fn write(node: &Node, states: &[std::sync::Arc<super::state::ShardState>], folder: &Path) -> io::Result<BackedUp> {
    std::fs::create_dir_all(folder)?;
    let taken_ms = node.clock.now_ms();
    let file = folder.join(format!("metadata-{}-{taken_ms}.halo", node.identity.cluster));
    let part = file.with_extension("part");
    let mut to = BufWriter::new(File::create(&part)?);
    write_magic(&mut to)?;
    let head = Frame::Head {
        cluster: node.identity.cluster,
        node: node.identity.node,
        taken_ms,
        key_shards: node.options.key_shards,
    };
    write_frame(&mut to, &head)?;
    let mut outcome = Ok(());
    node.store.with_view(ReadPurpose::Bulk, &mut |view| {
        for state in states {
            let vote = openraft::Vote::default();
            let read = read_view(state, view, vote, &mut |part| {
                outcome = write_frame(&mut to, &frame(state.shard, part));
                outcome.is_ok()
            });
            if let Err(e) = read {
                outcome = Err(io::Error::other(e));
            }
            if outcome.is_err() {
                return;
            }
        }
    });
    outcome?;
    let shards = states.len() as u64;
    write_frame(&mut to, &Frame::Tail { shards })?;
    to.flush()?;
    let written = to.into_inner().map_err(io::IntoInnerError::into_error)?;
    written.sync_all()?;
    let bytes = written.metadata()?.len();
    std::fs::rename(&part, &file)?;
    File::open(folder)?.sync_all()?;
    Ok(BackedUp { file, bytes, shards })
}

fn frame(shard: ShardId, part: Part) -> Frame {
    match part {
        Part::Begin { applied, .. } => Frame::Shard { shard, applied },
        Part::Rows { number, rows } => Frame::Rows { number, rows },
        Part::End { parts, hash } => Frame::ShardEnd { parts, hash },
    }
}
