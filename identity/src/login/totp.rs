//! One-time passwords (RFC 6238: HMAC-SHA1, 30 s, 6 digits) against the user's credentials of type `totp`.
//!
//! A passcode works once: the time step it belongs to is kept, and none up to it is taken again.

use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::request::TotpProof;
use super::{Proven, find_user, password};
use crate::error::IdentityError;
use crate::refusal::Refusal;
use crate::row::LOCKOUTS;
use crate::secrets;
use crate::service::Identity;
use crate::token::AuthMethod;

const STEP_S: u64 = 30;
const DIGITS: u32 = 6;
/// Steps before the current one that are still taken: clocks differ and people type slowly.
const STEPS_BACK: u64 = 1;

#[derive(Serialize, Deserialize)]
struct LastStep {
    step: u64,
}

pub(super) async fn prove(identity: &Identity, proof: &TotpProof) -> Result<Proven, Refusal> {
    let (user, row) = find_user(identity, &proof.user).await?.ok_or(Refusal::Unauthorized)?;
    if !row.enabled || password::is_locked(identity, &user, &row).await? {
        return Err(Refusal::Unauthorized);
    }
    let now_step = identity.records.now_ms() / 1000 / STEP_S;
    let used_name = format!("totp/{user}");
    let used = identity.records.get::<LastStep>(LOCKOUTS, &used_name).await?;
    let least = used.as_ref().map_or(0, |(_, used)| used.step + 1);
    let steps = now_step.saturating_sub(STEPS_BACK)..=now_step;
    let mut right = None;
    for secret in secrets::totp_secrets(identity, &user).await? {
        for step in steps.clone().filter(|step| *step >= least) {
            if passcode(&secret, step)
                .as_bytes()
                .ct_eq(proof.passcode.as_bytes())
                .into()
            {
                right = Some(step);
            }
        }
    }
    let Some(step) = right else {
        password::note_failure(identity, &user, &row).await?;
        return Err(Refusal::Unauthorized);
    };
    let last = LastStep { step };
    let noted = match used {
        Some((version, _)) => identity.records.replace(LOCKOUTS, &used_name, version, &last).await,
        None => identity.records.insert(LOCKOUTS, &used_name, &last).await,
    };
    match noted {
        Ok(()) => {}
        // Somebody else used it at the same moment.
        Err(IdentityError::Taken) => return Err(Refusal::Unauthorized),
        Err(other) => return Err(other.into()),
    }
    password::forget_failures(identity, &user).await?;
    Ok(Proven {
        user,
        row,
        methods: BTreeSet::from([AuthMethod::Totp]),
        ends_ms: None,
        parent_audit: None,
        application_credential: None,
    })
}

/// The passcode of a time step.
pub(crate) fn passcode(secret: &[u8], step: u64) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of every length");
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let at = usize::from(digest[19] & 0xf);
    let bytes = [digest[at] & 0x7f, digest[at + 1], digest[at + 2], digest[at + 3]];
    let number = u32::from_be_bytes(bytes) % 10_u32.pow(DIGITS);
    format!("{number:0width$}", width = DIGITS as usize)
}

#[cfg(test)]
mod tests {
    use super::passcode;

    /// RFC 6238, appendix B (SHA-1), the last six digits.
    #[test]
    fn passcodes_are_those_of_the_rfc() {
        for (seconds, wanted) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000_u64, "353130"),
        ] {
            assert_eq!(passcode(b"12345678901234567890", seconds / 30), wanted);
        }
    }
}
