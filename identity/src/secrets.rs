//! Credentials as the API keeps them: a type and a blob, sealed at rest (SEC-1).

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::IdentityError;
use crate::records::Records;
use crate::row::CREDENTIALS;
use crate::seal::{Sealed, Sealer};
use crate::service::Identity;

/// A credential that is not an EC2 one (those are access keys).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CredentialRow {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) project: Option<String>,
    /// Sealed under the credential's id.
    pub(crate) blob: String,
}

/// Seals a blob for the credential `id`.
pub(crate) fn seal_blob(records: &Records, sealer: &Sealer, id: &str, blob: &str) -> String {
    sealer.seal(&*records.dice, &name(id), blob).to_text()
}

/// Opens the blob of the credential `id`.
pub(crate) fn open_blob(sealer: &Sealer, id: &str, row: &CredentialRow) -> Result<Zeroizing<String>, IdentityError> {
    let opened = Sealed::from_text(&row.blob).and_then(|sealed| sealer.open(&name(id), &sealed));
    opened.ok_or_else(|| IdentityError::Unreadable {
        what: format!("credential {id}"),
        why: "it is damaged or sealed with another key",
    })
}

fn name(id: &str) -> String {
    format!("credential/{id}")
}

/// The secrets of a user's one-time passwords.
pub(crate) async fn totp_secrets(identity: &Identity, user: &str) -> Result<Vec<Zeroizing<Vec<u8>>>, IdentityError> {
    let rows = identity.records.scan::<CredentialRow>(CREDENTIALS, "").await?;
    let mut secrets = Vec::new();
    for (id, row) in rows.iter().filter(|(_, row)| row.kind == "totp" && row.user == user) {
        let blob = open_blob(&identity.sealer, id, row)?;
        secrets.extend(base32(&blob).map(Zeroizing::new));
    }
    Ok(secrets)
}

/// Decodes RFC 4648 base32, padding optional; `None` when it is not that.
fn base32(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut buffer, mut bits, mut bytes) = (0_u32, 0_u32, Vec::new());
    for letter in text.trim().trim_end_matches('=').bytes() {
        let value = ALPHABET
            .iter()
            .position(|known| *known == letter.to_ascii_uppercase())?;
        buffer = (buffer << 5) | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((buffer >> bits) & 0xff).ok()?);
            buffer &= (1 << bits) - 1;
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::base32;

    #[test]
    fn base32_reads_the_vectors_of_rfc_4648() {
        for (text, wanted) in [
            ("MY======", "f"),
            ("MZXW6===", "foo"),
            ("MZXW6YTBOI", "foobar"),
            ("mzxw6ytb", "fooba"),
        ] {
            assert_eq!(base32(text).as_deref(), Some(wanted.as_bytes()));
        }
        assert_eq!(base32("MZ1W6"), None);
        assert_eq!(base32(""), None);
    }
}
