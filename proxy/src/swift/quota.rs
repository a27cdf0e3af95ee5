//! Quotas of containers and accounts: how much may be stored, checked before a body is taken.
//!
//! A check sees the totals of that moment; writes that are under way at the same time may together exceed a quota by their
//! own size, as in Swift. Totals themselves are exact.

use http::StatusCode;
use identity::policy::Action;
use store::Totals;

use super::account::all_buckets;
use super::authorize::granted;
use super::reply::{Refused, bad_request, from_store, refuse, refuse_with};
use super::request::{Ask, Container};
use super::settings::{Changes, Settings};

/// The container's limit of bytes.
pub(crate) const CONTAINER_BYTES: &str = "x-container-meta-quota-bytes";
/// The container's limit of objects.
pub(crate) const CONTAINER_COUNT: &str = "x-container-meta-quota-count";
/// The account's limit of bytes, as it is kept, and under the name that old clients know.
const ACCOUNT_BYTES: &str = "x-account-quota-bytes";
const ACCOUNT_BYTES_OLD: &str = "x-account-meta-quota-bytes";
/// The account's limit of objects.
const ACCOUNT_COUNT: &str = "x-account-quota-count";

/// The limit of one storage policy.
fn of_policy(name: &str, policy: &str) -> String {
    format!("{name}-policy-{}", policy.to_lowercase())
}

/// The limit under a name, and under that name with the policy: there is one policy, so the lower one holds.
fn limit(settings: &Settings, name: &str, policy: &str) -> Option<u64> {
    let both = [settings.number(name), settings.number(&of_policy(name, policy))];
    both.into_iter().flatten().min()
}

/// What an account tells under the old name.
pub(crate) fn old_name(settings: &Settings) -> Option<(&'static str, &str)> {
    settings.get(ACCOUNT_BYTES).map(|limit| (ACCOUNT_BYTES_OLD, limit))
}

/// Quotas of an account are set by resellers only.
pub(crate) fn check_account_change(ask: &Ask, changes: &mut Changes) -> Result<(), Refused> {
    let mut quotas: Changes = Vec::new();
    changes.retain(|(name, value)| {
        let old = name == ACCOUNT_BYTES_OLD;
        if old {
            quotas.push((ACCOUNT_BYTES.to_owned(), value.clone()));
        }
        !old
    });
    for name in ask.headers.keys() {
        let removed = name.as_str().replacen("x-remove-", "x-", 1);
        if !removed.starts_with("x-account-quota-") {
            continue;
        }
        check_name(ask, &removed)?;
        let value = (removed == name.as_str()).then(|| ask.header(&removed).map(str::to_owned));
        quotas.push((removed, value.flatten()));
    }
    if !quotas.is_empty() && !granted(ask, Action::ObjectStoreAdministerAccount) {
        return Err(refuse(StatusCode::FORBIDDEN));
    }
    let bad = |value: &str| !value.is_empty() && value.parse::<u64>().is_err();
    if quotas.iter().any(|(_, value)| value.as_deref().is_some_and(bad)) {
        return Err(bad_request("Invalid quota"));
    }
    if quotas.iter().any(|(name, _)| name == ACCOUNT_BYTES) {
        changes.push((ACCOUNT_BYTES_OLD.to_owned(), None));
    }
    changes.extend(quotas);
    Ok(())
}

/// Only quotas that are there can be set: of bytes and of objects, for all or for the one policy.
fn check_name(ask: &Ask, name: &str) -> Result<(), Refused> {
    let policy = &ask.swift.options.policy;
    let known = |base: &str| name == base || name == of_policy(base, policy);
    if known(ACCOUNT_BYTES) || known(ACCOUNT_COUNT) {
        Ok(())
    } else {
        Err(bad_request(format!("No such quota: {name}")))
    }
}

/// A container's quotas must be numbers.
pub(crate) fn check_container_change(changes: &Changes) -> Result<(), Refused> {
    for (name, value) in changes {
        let value = value.as_deref().unwrap_or_default();
        if value.is_empty() || value.parse::<u64>().is_ok() {
            continue;
        }
        match name.as_str() {
            CONTAINER_BYTES => return Err(bad_request("Invalid bytes quota.")),
            CONTAINER_COUNT => return Err(bad_request("Invalid count quota.")),
            _ => {}
        }
    }
    Ok(())
}

fn exceeded() -> Refused {
    refuse_with(StatusCode::PAYLOAD_TOO_LARGE, "Upload exceeds quota.")
}

/// Refuses an object of `bytes` that would exceed a quota of its container or account; answers how many bytes there is
/// room for.
pub(crate) async fn check_put(ask: &Ask, container: &Container, bytes: u64) -> Result<u64, Refused> {
    let mut room = u64::MAX;
    let settings = &container.settings;
    if let Some(most) = settings.number(CONTAINER_COUNT)
        && container.totals.objects >= most
        && !exists(ask, container).await?
    {
        return Err(exceeded());
    }
    if let Some(most) = settings.number(CONTAINER_BYTES) {
        let used = container.totals.bytes + container.totals.noncurrent_bytes;
        room = room.min(most.saturating_sub(used));
    }
    let account = ask.account().await?;
    let policy = &ask.swift.options.policy;
    let most_bytes = limit(&account, ACCOUNT_BYTES, policy).or(account.number(ACCOUNT_BYTES_OLD));
    let most_objects = limit(&account, ACCOUNT_COUNT, policy);
    if most_bytes.is_some() || most_objects.is_some() {
        let used = account_totals(ask).await?;
        if most_objects.is_some_and(|most| used.objects >= most) && !exists(ask, container).await? {
            return Err(exceeded());
        }
        if let Some(most) = most_bytes {
            room = room.min(most.saturating_sub(used.bytes + used.noncurrent_bytes));
        }
    }
    if bytes > room { Err(exceeded()) } else { Ok(room) }
}

async fn exists(ask: &Ask, container: &Container) -> Result<bool, Refused> {
    let key = ask.path.object().as_bytes();
    match ask
        .swift
        .store
        .object(&ask.cx, &container.bucket, key, store::VersionSelector::Latest)
        .await
    {
        Ok(_) => Ok(true),
        Err(error) if error.class() == store::Class::Absent => Ok(false),
        Err(error) => Err(from_store(error)),
    }
}

/// The sum over the account's containers.
async fn account_totals(ask: &Ask) -> Result<Totals, Refused> {
    let buckets = all_buckets(ask).await?;
    let mut sum = Totals::default();
    for totals in ask.swift.store.totals(&ask.cx, &buckets).await.map_err(from_store)? {
        sum.bytes += totals.bytes;
        sum.noncurrent_bytes += totals.noncurrent_bytes;
        sum.objects += totals.objects;
    }
    Ok(sum)
}
