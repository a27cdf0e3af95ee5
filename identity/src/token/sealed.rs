//! The form of a token: authenticated encryption of its payload under a key of the cluster.
//!
//! ```text
//! token = base64url without padding ( head | sealed )
//! head   = version 1 (1 byte) | key id (4 bytes, big endian) | nonce (12 bytes)
//! sealed = AES-256-GCM of postcard(TokenPayload), head as associated data
//! ```
//! As with Fernet, whoever has the keys judges a token without asking anybody. Fernet itself (AES-CBC + HMAC) would give
//! 128-bit keys and a longer token; the key id spares trying every key.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clock::Dice;

use crate::model::TokenPayload;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;
const HEAD_BYTES: usize = 1 + 4 + NONCE_BYTES;
/// The longest text that is looked at; ours are far shorter.
const TOKEN_CHARS_MAX: usize = 1024;

/// A token taken apart, not opened yet.
pub(crate) struct Envelope {
    /// Which key opens it.
    pub(crate) key_id: u32,
    bytes: Vec<u8>,
}

/// Makes a token's text.
pub(crate) fn seal(dice: &dyn Dice, key_id: u32, key: &[u8; 32], payload: &TokenPayload) -> String {
    let mut nonce = [0; NONCE_BYTES];
    dice.fill(&mut nonce);
    let mut bytes = Vec::with_capacity(256);
    bytes.push(VERSION);
    bytes.extend(key_id.to_be_bytes());
    bytes.extend(nonce);
    let plain = postcard::to_allocvec(payload).expect("a payload of strings and numbers always encodes into memory");
    let sealed = Aes256Gcm::new(&(*key).into())
        .encrypt(
            &Nonce::from(nonce),
            Payload {
                msg: &plain,
                aad: &bytes,
            },
        )
        .expect("a payload is far shorter than the cipher's limit");
    bytes.extend(sealed);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Takes a token apart; `None` when it has not the form of one.
pub(crate) fn parse(token: &str) -> Option<Envelope> {
    if token.len() > TOKEN_CHARS_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    if bytes.len() <= HEAD_BYTES || bytes[0] != VERSION {
        return None;
    }
    let key_id = u32::from_be_bytes(bytes[1..5].try_into().ok()?);
    Some(Envelope { key_id, bytes })
}

impl Envelope {
    /// Opens it; `None` when the key or any bit is another one.
    pub(crate) fn open(&self, key: &[u8; 32]) -> Option<TokenPayload> {
        let (head, sealed) = self.bytes.split_at_checked(HEAD_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = head[5..].try_into().ok()?;
        let plain = Aes256Gcm::new(&(*key).into())
            .decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad: head })
            .ok()?;
        postcard::from_bytes(&plain).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PayloadScope;
    use clock::SeededDice;

    fn payload() -> TokenPayload {
        TokenPayload {
            user: "0123456789abcdef0123456789abcdef".into(),
            scope: PayloadScope::Project("0123456789abcdef0123456789abcdef".into()),
            methods: vec![crate::token::AuthMethod::Password],
            issued_ms: 1,
            expires_ms: 2,
            audit: [3; 16],
            parent_audit: None,
            application_credential: None,
            trust: None,
            access_key: None,
        }
    }

    #[test]
    fn sec_1_a_token_opens_only_unchanged_and_under_its_key() {
        let token = seal(&SeededDice::new(1), 7, &[1; 32], &payload());
        assert!(
            token.len() < 255,
            "{} characters do not fit old clients' columns",
            token.len()
        );
        let envelope = parse(&token).expect("a token");
        assert_eq!((envelope.key_id, envelope.open(&[1; 32])), (7, Some(payload())));
        assert_eq!(envelope.open(&[2; 32]), None);
        let bytes = URL_SAFE_NO_PAD.decode(&token).expect("base64");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let opened = parse(&URL_SAFE_NO_PAD.encode(changed)).and_then(|envelope| envelope.open(&[1; 32]));
            assert_eq!(opened, None, "bit {bit}");
        }
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        for text in ["", "x", "gAAAAA", "AQAAAAE", "ä", &"A".repeat(100_000)] {
            let opened = parse(text).and_then(|envelope| envelope.open(&[1; 32]));
            assert_eq!(opened, None);
        }
    }
}
