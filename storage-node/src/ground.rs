//! What a node stands on: where its metadata and its devices lie.
//!
//! A server's node stands on folders ([`ShardOptions::dir`](crate::shard::ShardOptions), the paths of its devices) and
//! needs none of this. A simulation brings a [`Ground`] that it owns: stores and disks in memory that know synced from
//! unsynced, so that it can pull the plug.

use std::fmt;
use std::sync::Arc;

use metadata::ids::DeviceId;

use crate::device::{Disk, Index};
use crate::shard::{OpenFailed, RowStore};

/// The stores and disks of one node.
pub trait Ground: fmt::Debug + Send + Sync + 'static {
    /// The folder in which the node notes how far its metadata is synced (DUR-5).
    fn note(&self) -> Arc<dyn Disk>;

    /// Opens the metadata store.
    ///
    /// # Errors
    /// When it is damaged, or not to be had.
    fn metadata(&self) -> Result<Arc<dyn RowStore>, OpenFailed>;

    /// The disk and the index of a device.
    fn device(&self, device: DeviceId) -> (Arc<dyn Disk>, Arc<dyn Index>);
}
