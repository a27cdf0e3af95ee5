//! Quotas of containers and accounts: how much may be stored, checked before a body is taken.
//!
//! A check sees the totals of that moment; writes that are under way at the same time may together exceed a quota by their
//! own size, as in Swift. Totals themselves are exact.

use http::StatusCode;
use store::{BucketInfo, Totals};

use super::limits::LISTING_MAX;
use super::principal::Home;
use super::reply::{Refused, bad_request, from_store, refuse, refuse_with};
use super::request::{Ask, Container};
use super::settings::Changes;

/// The container's limit of bytes.
pub(crate) const CONTAINER_BYTES: &str = "x-container-meta-quota-bytes";
/// The container's limit of objects.
pub(crate) const CONTAINER_COUNT: &str = "x-container-meta-quota-count";
/// The account's limit of bytes, under both its names.
const ACCOUNT_BYTES: &str = "x-account-meta-quota-bytes";
const ACCOUNT_BYTES_NEW: &str = "x-account-quota-bytes";
const ACCOUNT_COUNT: &str = "x-account-quota-count";

/// Quotas of an account are set by resellers only.
pub(crate) fn check_account_change(ask: &Ask, changes: &mut Changes) -> Result<(), Refused> {
    for name in [ACCOUNT_BYTES_NEW, ACCOUNT_COUNT] {
        if let Some(value) = ask.header(name) {
            let name = if name == ACCOUNT_BYTES_NEW { ACCOUNT_BYTES } else { name };
            changes.push((name.to_owned(), Some(value.to_owned())));
        }
    }
    let quotas = changes
        .iter()
        .filter(|(name, _)| name == ACCOUNT_BYTES || name == ACCOUNT_COUNT);
    for (_, value) in quotas {
        let reseller = ask.principal.as_ref().is_some_and(|who| who.reseller == Home::Owner);
        if !reseller {
            return Err(refuse(StatusCode::FORBIDDEN));
        }
        let value = value.as_deref().unwrap_or_default();
        if !value.is_empty() && value.parse::<u64>().is_err() {
            return Err(bad_request("Invalid bytes quota."));
        }
    }
    Ok(())
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
        room = room.min(most.saturating_sub(container.totals.bytes));
    }
    let account = ask.account().await?;
    if let Some(most) = account.number(ACCOUNT_BYTES) {
        let used = account_totals(ask).await?;
        room = room.min(most.saturating_sub(used.bytes + used.noncurrent_bytes));
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
    let (mut sum, mut after) = (Totals::default(), None);
    loop {
        let page = ask
            .swift
            .store
            .list_buckets(&ask.cx, after, String::new(), LISTING_MAX)
            .await;
        let (buckets, more): (Vec<BucketInfo>, bool) = page.map_err(from_store)?;
        for totals in ask.swift.store.totals(&ask.cx, &buckets).await.map_err(from_store)? {
            sum.bytes += totals.bytes;
            sum.noncurrent_bytes += totals.noncurrent_bytes;
            sum.objects += totals.objects;
        }
        after = buckets.last().map(|info| info.name.clone());
        if !more || after.is_none() {
            return Ok(sum);
        }
    }
}
