//! Joining a cluster that exists, with a token that works once.
//!
//! ```text
//! record of the system shard: table "join-tokens", key = SHA-256 of the token in hex, value = JSON of `TokenRecord`
//! ```
//! The token itself is shown once and kept nowhere. It does not replace the cluster's secret, which every process proves
//! on every connection (SEC-1); it makes sure that a machine joins once, on purpose, and under a node id of its own.
//!
//! Knows: records. Must not know: how a node starts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use clock::{Dice, WallClock};
use metadata::command::{Command, RecordCondition};
use metadata::ids::{NodeId, RequestId, ShardId};
use metadata::model::Record;
use metadata::query::{Found, Query};
use metadata::reply::{Done, Refusal};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use storage_node::client::{MetadataPlane, NODES_TABLE};

use crate::secret::Secret;

/// The table of tokens.
const TOKENS_TABLE: &str = "join-tokens";
/// The version of a token's record.
const TOKEN_FORMAT: u32 = 1;
/// Bytes of a token.
const TOKEN_BYTES: usize = 24;
/// How long the system shard may take.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TokenRecord {
    version: u32,
    /// It is refused after this, in milliseconds since the Unix epoch.
    expires_ms: u64,
    /// The node that used it.
    used_by: Option<u64>,
}

/// The desk where tokens are made and taken.
pub struct JoinDesk {
    /// The system shard.
    pub metadata: Arc<dyn MetadataPlane>,
    /// The time.
    pub clock: Arc<dyn WallClock>,
    /// Tokens and request ids.
    pub dice: Arc<dyn Dice>,
}

impl JoinDesk {
    /// Makes a token.
    ///
    /// # Errors
    /// When the system shard does not answer.
    pub async fn issue(&self, valid: Duration) -> anyhow::Result<Secret> {
        let token = Secret::draw(self.dice.as_ref(), TOKEN_BYTES);
        let valid_ms = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
        let record = TokenRecord {
            version: TOKEN_FORMAT,
            expires_ms: self.clock.now_ms().saturating_add(valid_ms),
            used_by: None,
        };
        let key = key_of(token.reveal());
        if !self.put(&key, &record, RecordCondition::Absent).await? {
            bail!("the same token was drawn twice: the machine's random numbers are broken");
        }
        Ok(token)
    }

    /// Takes a token for `node`.
    ///
    /// # Errors
    /// With a sentence that says what to do: the token is wrong, used or too old, or the node id is taken.
    pub async fn join(&self, token: &str, node: NodeId) -> anyhow::Result<()> {
        if self.record(NODES_TABLE, &node.to_string()).await?.is_some() {
            bail!(
                "node {node} is a member of this cluster already: give this machine a node id of its own; a member starts \
                 without --join"
            );
        }
        let key = key_of(token.trim());
        let Some(found) = self.record(TOKENS_TABLE, &key).await? else {
            bail!("the token is not one of this cluster: make one with `halo admin node add`, and copy it whole");
        };
        let record: TokenRecord = serde_json::from_slice(&found.value)?;
        refuse(&record, node, self.clock.now_ms())?;
        let used = TokenRecord {
            used_by: Some(node.0),
            ..record
        };
        if !self.put(&key, &used, RecordCondition::Version(found.version)).await? {
            bail!("the token was used by another node just now: make one for each node with `halo admin node add`");
        }
        Ok(())
    }

    async fn record(&self, table: &str, key: &str) -> anyhow::Result<Option<Record>> {
        let query = Query::GetRecord {
            table: table.to_owned(),
            key: key.to_owned(),
        };
        match self.metadata.query(ShardId::SYSTEM, query, ANSWER_MAX).await?? {
            Found::Record(record) => Ok(record),
            _ => bail!("the system shard's answer has the wrong kind"),
        }
    }

    /// Writes a token's record; false when it stands otherwise than expected.
    async fn put(&self, key: &str, record: &TokenRecord, expect: RecordCondition) -> anyhow::Result<bool> {
        let command = Command::PutRecord {
            table: TOKENS_TABLE.to_owned(),
            key: key.to_owned(),
            expect,
            value: Bytes::from(serde_json::to_vec(record)?),
        };
        let request = RequestId::new(self.clock.now_ms(), self.dice.u128());
        match self
            .metadata
            .propose(ShardId::SYSTEM, request, command, ANSWER_MAX)
            .await?
        {
            Ok(Done::Record { .. }) => Ok(true),
            Err(Refusal::RecordConflict { .. }) => Ok(false),
            Ok(_) => bail!("the system shard's answer has the wrong kind"),
            Err(refusal) => bail!("{refusal}"),
        }
    }
}

fn key_of(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// Why a token cannot be used by a node. A start that was cut short after it took the token may be repeated. Plain function.
fn refuse(record: &TokenRecord, by: NodeId, now_ms: u64) -> anyhow::Result<()> {
    if let Some(node) = record.used_by.filter(|node| *node != by.0) {
        bail!("the token was used by node {node}: it works once; make another with `halo admin node add`");
    }
    if now_ms > record.expires_ms {
        bail!("the token is too old: make another with `halo admin node add`");
    }
    if record.version != TOKEN_FORMAT {
        bail!("the token was made by another release: make one with `halo admin node add`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(used_by: Option<u64>) -> TokenRecord {
        TokenRecord {
            version: TOKEN_FORMAT,
            expires_ms: 1_000,
            used_by,
        }
    }

    #[test]
    fn a_token_works_once_and_for_a_while() {
        let by = NodeId(9);
        assert!(refuse(&made(None), by, 1_000).is_ok());
        assert!(refuse(&made(Some(9)), by, 1_000).is_ok(), "the same node once more");
        let said = |record, now_ms| refuse(&record, by, now_ms).expect_err("refused").to_string();
        assert!(said(made(Some(4)), 0).contains("used by node 4"));
        assert!(said(made(None), 1_001).contains("too old"));
        assert!(
            said(
                TokenRecord {
                    version: 2,
                    ..made(None)
                },
                0
            )
            .contains("another release")
        );
    }

    #[test]
    fn what_is_kept_does_not_open_anything() {
        assert_ne!(key_of("token"), "token");
        assert_eq!(key_of("token").len(), 64);
    }
}
