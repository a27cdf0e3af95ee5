//! `halo admin shard` and `halo admin metadata`: what an operator does when metadata stores are lost.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use clock::{SystemClock, SystemDice};
use metadata::ids::{ClusterId, NodeId};
use storage_node::shard::{ShardOptions, restore};

use super::Shown;
use super::client::AdminClient;
use crate::admin_api::model::DoneLine;
use crate::admin_api::recovery::{BACKUP_MAX, BackUp, JoinToken, NewToken, RECOVER_MAX, Recover};
use crate::config::load::load;
use crate::terminal;

#[derive(Subcommand, Debug)]
pub(super) enum ShardAction {
    /// After a majority of the metadata stores was lost for good: go on with what one node has.
    Recover {
        /// The node whose metadata is newest.
        #[arg(long, value_name = "NODE")]
        from: u64,
        /// What only the lost stores held is gone for good.
        #[arg(long)]
        accept_data_loss: bool,
    },
}

/// Makes a token and shows it, once.
pub(super) async fn join_token(client: &AdminClient, valid_hours: u64, shown: &Shown) -> anyhow::Result<()> {
    let wanted = NewToken {
        valid_s: valid_hours * 3600,
    };
    let made: JoinToken = client.post("/v1/nodes/tokens", &wanted).await?;
    shown.show(&made, || {
        terminal::line(&made.token);
        terminal::note(
            "Copy the cluster's secrets and the [cluster] section to the new machine, give it a node id of its own and \
             device numbers that no ring names, start it once with: halo server --config node.toml --join TOKEN, and give \
             each of its disks data with: halo admin device add NUMBER",
        );
    })
}

#[derive(Subcommand, Debug)]
pub(super) enum MetadataAction {
    /// Write the metadata of all shards, as of one moment, into a file.
    Backup {
        /// Folder for the file, on the machine of the node that writes it.
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
        /// Which node writes it; any without it.
        #[arg(long)]
        node: Option<u64>,
    },
    /// Make one node's metadata store from a backup, after all of them were lost. The node must not run; the other nodes
    /// join it again by themselves when their stores are empty.
    Restore {
        /// The backup.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// The configuration of the node.
        #[arg(long, value_name = "NODE.TOML")]
        config: PathBuf,
    },
    /// After a restore: the metadata is whole and newest, and blobs it does not know may be collected again.
    Accept,
}

pub(super) async fn shard(client: &AdminClient, action: ShardAction, shown: &Shown) -> anyhow::Result<()> {
    let ShardAction::Recover { from, accept_data_loss } = action;
    if !accept_data_loss {
        bail!(
            "after this, what only the lost metadata stores held is gone for good: bring the other nodes back if you can, \
             or else add --accept-data-loss"
        );
    }
    let wanted = Recover {
        node: from,
        accept_data_loss,
    };
    let done: DoneLine = client.post_within("/v1/shards/recover", &wanted, RECOVER_MAX).await?;
    shown.show(&done, || terminal::line(&done.done))
}

pub(super) async fn metadata(client: &AdminClient, action: MetadataAction, shown: &Shown) -> anyhow::Result<()> {
    let done: DoneLine = match action {
        MetadataAction::Backup { to, node } => {
            let folder = std::path::absolute(&to).context("--to")?.display().to_string();
            client
                .post_within("/v1/metadata/backup", &BackUp { folder, node }, BACKUP_MAX)
                .await?
        }
        MetadataAction::Accept => client.post("/v1/metadata/accept", &serde_json::json!({})).await?,
        MetadataAction::Restore { from, config } => restored(&from, &config)?,
    };
    shown.show(&done, || terminal::line(&done.done))
}

/// Restores without the cluster: nobody runs.
pub(super) fn restored(from: &Path, config: &Path) -> anyhow::Result<DoneLine> {
    let config = load(config, std::env::vars())?.config;
    let section = config.storage.context("the configuration has no section [storage]")?;
    let cluster: ClusterId = config.cluster.id.parse().context("cluster.id")?;
    let mut options = ShardOptions::new(cluster, NodeId(section.node), section.metadata_dir.clone());
    options.key_shards = config.cluster.key_shards;
    let file = File::open(from).with_context(|| format!("cannot open {}", from.display()))?;
    let restored = restore(&options, &mut BufReader::new(file), &SystemClock, &SystemDice)?;
    Ok(DoneLine {
        done: format!(
            "node {} has the metadata of {} shards as of {}; start the cluster, and when everything is there, run \
             `halo admin metadata accept`",
            section.node,
            restored.shards,
            terminal::date(restored.taken_ms)
        ),
    })
}
