//! Passwords at login: lockout first, then the hash, then whether the user and the password are still good.

use std::collections::BTreeSet;

use super::request::PasswordProof;
use super::{Proven, find_user, ldap};
use crate::model::{Lockout, User};
use crate::refusal::Refusal;
use crate::row::LOCKOUTS;
use crate::service::Identity;
use crate::token::AuthMethod;

pub(super) async fn prove(identity: &Identity, proof: &PasswordProof) -> Result<Proven, Refusal> {
    if let Some(proven) = ldap::prove(identity, proof).await? {
        return Ok(proven);
    }
    let found = find_user(identity, &proof.user).await?;
    let (user, row) = match found {
        Some((user, row)) => (Some(user), Some(row)),
        None => (None, None),
    };
    let locked = match (&user, &row) {
        (Some(user), Some(row)) => is_locked(identity, user, row).await?,
        _ => false,
    };
    if locked {
        return Err(Refusal::Unauthorized);
    }
    let hash = row.as_ref().and_then(|row| row.password_hash.as_deref());
    let right = identity.passwords.verify(&proof.password, hash).await?;
    let (Some(user), Some(row)) = (user, row) else {
        return Err(Refusal::Unauthorized);
    };
    if !right {
        note_failure(identity, &user, &row).await?;
        return Err(Refusal::Unauthorized);
    }
    forget_failures(identity, &user).await?;
    if !row.enabled {
        return Err(Refusal::Unauthorized);
    }
    check_usable(identity, &row)?;
    Ok(Proven {
        user,
        row,
        methods: BTreeSet::from([AuthMethod::Password]),
        ends_ms: None,
        parent_audit: None,
        application_credential: None,
    })
}

/// Whether a right password may be used for anything but changing it.
fn check_usable(identity: &Identity, row: &User) -> Result<(), Refusal> {
    let exempt = |option: Option<bool>| option == Some(true);
    let expired = row
        .password_expires_ms
        .is_some_and(|ends| ends <= identity.records.now_ms());
    if expired && !exempt(row.options.ignore_password_expiry) {
        return Err(Refusal::PasswordUnusable(
            "The password is expired and needs to be changed.",
        ));
    }
    let must_change = identity.options.change_password_upon_first_use && row.password_must_change;
    if must_change && !exempt(row.options.ignore_change_password_upon_first_use) {
        return Err(Refusal::PasswordUnusable(
            "The password must be changed before it is used.",
        ));
    }
    Ok(())
}

/// Whether too many wrong passwords came lately.
pub(crate) async fn is_locked(identity: &Identity, user: &str, row: &User) -> Result<bool, Refusal> {
    let Some(most) = identity.options.lockout_failures else {
        return Ok(false);
    };
    if row.options.ignore_lockout_failure_attempts == Some(true) {
        return Ok(false);
    }
    let lockout = identity
        .records
        .recent::<Lockout>(LOCKOUTS, user)
        .await?
        .unwrap_or_default();
    let over = lockout.last_ms.saturating_add(identity.options.lockout_ms) <= identity.records.now_ms();
    Ok(lockout.failures >= most && !over)
}

/// Counts a wrong password. Two at the same moment may count as one: the queue of hashes bounds how many those are.
pub(crate) async fn note_failure(identity: &Identity, user: &str, row: &User) -> Result<(), Refusal> {
    if identity.options.lockout_failures.is_none() || row.options.ignore_lockout_failure_attempts == Some(true) {
        return Ok(());
    }
    let now = identity.records.now_ms();
    let before = identity
        .records
        .recent::<Lockout>(LOCKOUTS, user)
        .await?
        .unwrap_or_default();
    let old = before.last_ms.saturating_add(identity.options.lockout_ms) <= now;
    let lockout = Lockout {
        failures: if old { 1 } else { before.failures.saturating_add(1) },
        last_ms: now,
    };
    Ok(identity.records.put(LOCKOUTS, user, &lockout).await?)
}

pub(crate) async fn forget_failures(identity: &Identity, user: &str) -> Result<(), Refusal> {
    if identity.records.recent::<Lockout>(LOCKOUTS, user).await?.is_some() {
        identity.records.remove(LOCKOUTS, user).await?;
    }
    Ok(())
}
