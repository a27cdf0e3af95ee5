//! The keys tokens are sealed with: made by the first who needs one, rotated by an operator, kept by the cluster.
//!
//! ```text
//! table "token-keys"   key "current"   value = { "keys": [ { "id", "key" (sealed), "made_ms" }, … newest first ] }
//! ```
//! The newest key seals; the older ones still open. A process that meets a key it does not know asks the shard, at most
//! once in a while, so a rotation needs no second step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::IdentityError;
use crate::records::Records;
use crate::row::TOKEN_KEYS;
use crate::seal::{Sealed, Sealer};

const RECORD: &str = "current";
/// Keys that open tokens: the newest, and those of rotations before. Rotating more often than tokens live, times this
/// number less one, ends tokens early.
const KEYS_MAX: usize = 3;
/// How often a token with an unknown key may make us ask the shard.
const ASK_EVERY_MS: u64 = 1000;

#[derive(Serialize, Deserialize)]
struct KeysRow {
    keys: Vec<KeyRow>,
}

#[derive(Clone, Serialize, Deserialize)]
struct KeyRow {
    id: u32,
    key: String,
    made_ms: u64,
}

struct Key {
    id: u32,
    key: Zeroizing<[u8; 32]>,
}

/// The cluster's token keys, as this process knows them.
pub(crate) struct TokenKeys {
    records: Arc<Records>,
    sealer: Arc<Sealer>,
    known: RwLock<Vec<Arc<Key>>>,
    /// When the shard was asked last, milliseconds.
    asked_ms: AtomicU64,
}

impl TokenKeys {
    pub(crate) fn new(records: Arc<Records>, sealer: Arc<Sealer>) -> Self {
        Self {
            records,
            sealer,
            known: RwLock::default(),
            asked_ms: AtomicU64::new(0),
        }
    }

    /// The key to seal with; makes the first one of a new cluster.
    pub(crate) async fn newest(&self) -> Result<(u32, Zeroizing<[u8; 32]>), IdentityError> {
        // The copy is fresh within its bound, so a rotation is followed soon.
        let row = match self.records.peek::<KeysRow>(TOKEN_KEYS, RECORD).await? {
            Some(row) => row,
            None => self.make_first().await?,
        };
        self.learn(&row)?;
        let known = self.known.read();
        let newest = known.first().ok_or_else(|| unreadable("there is none"))?;
        Ok((newest.id, newest.key.clone()))
    }

    /// The key with an id; `None` when no token can be sealed with it any more.
    pub(crate) async fn find(&self, id: u32) -> Result<Option<Zeroizing<[u8; 32]>>, IdentityError> {
        if let Some(row) = self.records.recent::<KeysRow>(TOKEN_KEYS, RECORD).await? {
            self.learn(&row)?;
        }
        if let Some(key) = self.known_key(id) {
            return Ok(Some(key));
        }
        let (now, asked) = (self.records.now_ms(), self.asked_ms.load(Ordering::Relaxed));
        if asked != 0 && now < asked.saturating_add(ASK_EVERY_MS) {
            return Ok(None);
        }
        self.asked_ms.store(now.max(1), Ordering::Relaxed);
        if let Some((_, row)) = self.records.get::<KeysRow>(TOKEN_KEYS, RECORD).await? {
            self.learn(&row)?;
        }
        Ok(self.known_key(id))
    }

    /// Makes a new key and forgets the oldest; answers the new one's id.
    pub(crate) async fn rotate(&self) -> Result<u32, IdentityError> {
        let Some((version, mut row)) = self.records.get::<KeysRow>(TOKEN_KEYS, RECORD).await? else {
            let row = self.make_first().await?;
            return Ok(row.keys.first().map_or(0, |key| key.id));
        };
        let id = row.keys.iter().map(|key| key.id).max().unwrap_or(0).wrapping_add(1);
        row.keys.insert(0, self.draw(id));
        row.keys.truncate(KEYS_MAX);
        self.records.replace(TOKEN_KEYS, RECORD, version, &row).await?;
        self.learn(&row)?;
        Ok(id)
    }

    async fn make_first(&self) -> Result<KeysRow, IdentityError> {
        let row = KeysRow {
            keys: vec![self.draw(1)],
        };
        match self.records.insert(TOKEN_KEYS, RECORD, &row).await {
            Ok(()) => Ok(row),
            // Somebody else was first.
            Err(IdentityError::Taken) => {
                let row = self.records.get::<KeysRow>(TOKEN_KEYS, RECORD).await?;
                row.map(|(_, row)| row).ok_or_else(|| unreadable("it came and went"))
            }
            Err(other) => Err(other),
        }
    }

    fn draw(&self, id: u32) -> KeyRow {
        let mut key = Zeroizing::new([0; 32]);
        self.records.dice.fill(&mut *key);
        let text = Zeroizing::new(hex::encode(*key));
        KeyRow {
            id,
            key: self.sealer.seal(&*self.records.dice, &name(id), &text).to_text(),
            made_ms: self.records.now_ms(),
        }
    }

    fn known_key(&self, id: u32) -> Option<Zeroizing<[u8; 32]>> {
        let known = self.known.read();
        known.iter().find(|key| key.id == id).map(|key| key.key.clone())
    }

    /// Opens what is new in a row, and forgets what is not in it any more.
    fn learn(&self, row: &KeysRow) -> Result<(), IdentityError> {
        {
            let known = self.known.read();
            let same = known.len() == row.keys.len() && known.iter().zip(&row.keys).all(|(a, b)| a.id == b.id);
            if same {
                return Ok(());
            }
        }
        let opened = row.keys.iter().map(|key| self.open(key)).collect::<Result<_, _>>()?;
        *self.known.write() = opened;
        Ok(())
    }

    fn open(&self, row: &KeyRow) -> Result<Arc<Key>, IdentityError> {
        let sealed = Sealed::from_text(&row.key).ok_or_else(|| unreadable("it is damaged"))?;
        let text = self.sealer.open(&name(row.id), &sealed);
        let text = text.ok_or_else(|| unreadable("it is sealed with another key"))?;
        let bytes = hex::decode(text.as_str()).ok().and_then(|bytes| bytes.try_into().ok());
        let key = bytes.ok_or_else(|| unreadable("it is damaged"))?;
        Ok(Arc::new(Key {
            id: row.id,
            key: Zeroizing::new(key),
        }))
    }
}

fn name(id: u32) -> String {
    format!("token-key/{id}")
}

fn unreadable(why: &'static str) -> IdentityError {
    IdentityError::Unreadable {
        what: "the token key".to_owned(),
        why,
    }
}
