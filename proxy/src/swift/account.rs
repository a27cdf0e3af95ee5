//! Accounts: what is told of them, their containers, their metadata.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use store::{BucketInfo, PolicyId, Totals};

use super::acl::AccountAcl;
use super::authorize::{ACCOUNT_ACL, OWNERS_ONLY};
use super::format::Format;
use super::limits::{ACCOUNT_NAME_MAX, LISTING_MAX, Subject};
use super::listing::{Entry, Page, render};
use super::policies;
use super::quota;
use super::reply::{Answer, Content, Refused, Reply, bad_request, from_store, refuse};
use super::request::Ask;
use super::settings::{Settings, metadata_changes};
use super::timestamp::seconds;

/// Answers a request to an account.
pub(crate) async fn handle(ask: &Ask) -> Answer {
    if ask.path.account.len() > ACCOUNT_NAME_MAX {
        let why = format!(
            "Account name length of {} longer than {ACCOUNT_NAME_MAX}",
            ask.path.account.len()
        );
        return Err(bad_request(why));
    }
    match ask.method {
        Method::GET | Method::HEAD => show(ask).await,
        Method::POST => post(ask).await,
        _ => Err(Box::new(
            refuse(StatusCode::METHOD_NOT_ALLOWED).with("allow", "GET, HEAD, POST, OPTIONS"),
        )),
    }
}

async fn show(ask: &Ask) -> Answer {
    let format = Format::of(ask)?;
    let page = Page::of(ask)?;
    let settings = Settings::of_account(&ask.swift.store, &ask.cx).await?;
    let all = all_buckets(ask).await?;
    let totals = ask.swift.store.totals(&ask.cx, &all).await.map_err(from_store)?;
    let objects: u64 = totals.iter().map(|totals| totals.objects).sum();
    let bytes: u64 = totals.iter().map(|totals| totals.bytes + totals.noncurrent_bytes).sum();
    let mut reply = Reply::new(StatusCode::NO_CONTENT);
    reply.set("x-account-container-count", all.len().to_string());
    reply.set("x-account-object-count", objects.to_string());
    reply.set("x-account-bytes-used", bytes.to_string());
    tell_by_policy(ask, &all, &totals, &mut reply);
    let born = all.iter().map(|info| info.created_ms).min().unwrap_or(ask.now_ms);
    reply.set("x-timestamp", seconds(born));
    reply.set("x-put-timestamp", seconds(born));
    reply.set("accept-ranges", "bytes");
    for (name, value) in settings.iter() {
        if ask.is_owner() || !OWNERS_ONLY.contains(&name) {
            reply.set(name, value);
        }
    }
    if let Some((name, value)) = quota::old_name(&settings) {
        reply.set(name, value);
    }
    reply.set("content-type", format.media_type());
    if ask.method == Method::HEAD {
        return Ok(reply);
    }
    let policies = ask.swift.store.policies();
    let entries: Vec<Entry> = all
        .into_iter()
        .zip(totals)
        .map(|(info, totals)| Entry::Container {
            name: info.name,
            count: totals.objects,
            bytes: totals.bytes + totals.noncurrent_bytes,
            modified_ms: info.created_ms,
            policy: policies::name_of(&policies, &ask.swift.options.policy, info.policy),
        })
        .collect();
    let entries = select(entries, &page);
    if !entries.is_empty() || format != Format::Text {
        reply.status = StatusCode::OK;
        reply.body = Content::Whole(render(&entries, format, ("account", &ask.path.account)));
    }
    Ok(reply)
}

/// Containers, objects and bytes of each policy that the account uses; of the default one always.
fn tell_by_policy(ask: &Ask, all: &[BucketInfo], totals: &[Totals], reply: &mut Reply) {
    let mut sums = BTreeMap::from([(PolicyId::default(), (0, 0, 0))]);
    for (info, totals) in all.iter().zip(totals) {
        let (containers, objects, bytes): &mut (u64, u64, u64) = sums.entry(info.policy).or_default();
        *containers += 1;
        *objects += totals.objects;
        *bytes += totals.bytes + totals.noncurrent_bytes;
    }
    let policies = ask.swift.store.policies();
    for (policy, (containers, objects, bytes)) in sums {
        let name = policies::name_of(&policies, &ask.swift.options.policy, policy).to_lowercase();
        let told = [
            ("container-count", containers),
            ("object-count", objects),
            ("bytes-used", bytes),
        ];
        for (what, value) in told {
            reply.set(&format!("x-account-storage-policy-{name}-{what}"), value.to_string());
        }
    }
}

/// The account's containers by name. Their rows are small, and exact totals need all of them anyway.
pub(crate) async fn all_buckets(ask: &Ask) -> Result<Vec<BucketInfo>, Refused> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = ask
            .swift
            .store
            .list_buckets(&ask.cx, after, String::new(), LISTING_MAX)
            .await;
        let (buckets, more) = page.map_err(from_store)?;
        after = buckets.last().map(|info| info.name.clone());
        all.extend(
            buckets
                .into_iter()
                .filter(|info| info.state == store::BucketState::Active),
        );
        if !more || after.is_none() {
            return Ok(all);
        }
    }
}

/// The part of a sorted listing that a page shows.
pub(crate) fn select(mut entries: Vec<Entry>, page: &Page) -> Vec<Entry> {
    if page.reverse {
        entries.reverse();
    }
    let mut shown: Vec<Entry> = Vec::new();
    for entry in entries {
        if shown.len() == page.limit || page.ends_before(entry.name()) {
            break;
        }
        let beyond = |marker: &String| match page.reverse {
            true => entry.name() < marker.as_str(),
            false => entry.name() > marker.as_str(),
        };
        if !entry.name().starts_with(&page.prefix) || !page.marker.as_ref().is_none_or(beyond) {
            continue;
        }
        match subdir(entry.name(), page) {
            Some(subdir) => {
                let repeated = page.marker.as_ref() == Some(&subdir);
                let entry = Entry::Subdir(subdir);
                if !repeated && shown.last() != Some(&entry) {
                    shown.push(entry);
                }
            }
            None => shown.push(entry),
        }
    }
    shown
}

fn subdir(name: &str, page: &Page) -> Option<String> {
    let delimiter = page.delimiter.as_deref()?;
    let at = name[page.prefix.len()..].find(delimiter)?;
    Some(name[..page.prefix.len() + at + delimiter.len()].to_owned())
}

async fn post(ask: &Ask) -> Answer {
    let mut changes = metadata_changes(&ask.headers, Subject::Account)?;
    quota::check_account_change(ask, &mut changes)?;
    if let Some(acl) = ask.header(ACCOUNT_ACL) {
        changes.push((ACCOUNT_ACL.to_owned(), AccountAcl::clean(acl)?));
    }
    if !ask.is_owner() {
        changes.retain(|(name, _)| !OWNERS_ONLY.contains(&name.as_str()));
    }
    Settings::change_account(&ask.swift.store, &ask.cx, &changes).await?;
    Ok(Reply::new(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(page: &Page) -> Vec<String> {
        let entries = ["a", "b-1", "b-2", "c", "d"].map(|name| Entry::Container {
            name: name.into(),
            count: 0,
            bytes: 0,
            modified_ms: 0,
            policy: String::new(),
        });
        let shown = select(entries.to_vec(), page);
        shown.iter().map(|entry| entry.name().to_owned()).collect()
    }

    #[test]
    fn pages_are_cut_folded_and_reversed() {
        let page = Page {
            limit: 10,
            ..Page::default()
        };
        let (marker, end_marker) = (Some("a".to_owned()), Some("d".to_owned()));
        assert_eq!(
            names(&Page {
                marker,
                end_marker,
                ..page.clone()
            }),
            ["b-1", "b-2", "c"]
        );
        let delimiter = Some("-".to_owned());
        assert_eq!(
            names(&Page {
                delimiter,
                ..page.clone()
            }),
            ["a", "b-", "c", "d"]
        );
        let (marker, end_marker) = (Some("d".to_owned()), Some("a".to_owned()));
        let reversed = Page {
            reverse: true,
            limit: 2,
            marker,
            end_marker,
            ..page.clone()
        };
        assert_eq!(names(&reversed), ["c", "b-2"]);
        assert_eq!(
            names(&Page {
                prefix: "b-".into(),
                ..page
            }),
            ["b-1", "b-2"]
        );
    }
}
