//! Secrets at rest (SEC-1): AES-256-GCM under the cluster's at-rest key, bound to the record they belong to.
//!
//! ```text
//! Sealed = nonce (12 bytes, drawn anew for every sealing) | ciphertext | tag (16 bytes)
//! associated data = the record's key, so that a sealed secret cannot be moved under another access key
//! ```

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use clock::Dice;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 12;

/// An encrypted secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealed(Vec<u8>);

impl Sealed {
    /// As text, for rows in JSON.
    pub(crate) fn to_text(&self) -> String {
        STANDARD_NO_PAD.encode(&self.0)
    }

    /// Out of a row in JSON.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        STANDARD_NO_PAD.decode(text).ok().map(Self)
    }
}

/// Seals and opens secrets with one key.
pub(crate) struct Sealer(Aes256Gcm);

impl Sealer {
    /// A sealer under the cluster's at-rest key.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(&(*key).into()))
    }

    /// Encrypts `secret`, readable only under the same `record`.
    pub(crate) fn seal(&self, dice: &dyn Dice, record: &str, secret: &str) -> Sealed {
        let mut nonce = [0; NONCE_BYTES];
        dice.fill(&mut nonce);
        let payload = Payload {
            msg: secret.as_bytes(),
            aad: record.as_bytes(),
        };
        let sealed = self
            .0
            .encrypt(&Nonce::from(nonce), payload)
            .expect("a secret is far shorter than the cipher's limit");
        Sealed([&nonce[..], &sealed].concat())
    }

    /// Decrypts; `None` when the key, the record or the bytes are not those of the sealing.
    pub(crate) fn open(&self, record: &str, sealed: &Sealed) -> Option<Zeroizing<String>> {
        let (nonce, bytes) = sealed.0.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: bytes,
            aad: record.as_bytes(),
        };
        let secret = self.0.decrypt(&Nonce::from(*nonce), payload).ok()?;
        String::from_utf8(secret).ok().map(Zeroizing::new)
    }
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
