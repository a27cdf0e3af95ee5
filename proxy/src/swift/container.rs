//! Containers: birth, death, settings, and what is told of them.

use http::{Method, StatusCode};
use store::{Created, StoreError, Versioning};

use super::acl::{self, AclKind};
use super::authorize::{OWNERS_ONLY, READ, WRITE};
use super::format::Format;
use super::limits::{CONTAINER_NAME_MAX, Subject};
use super::listing::{Page, render};
use super::objects;
use super::path::quote;
use super::policies::{self, POLICY};
use super::quota;
use super::reply::{Answer, Content, Refused, Reply, bad_request, from_store, not_found, refuse};
use super::request::{Ask, Container, is_true};
use super::settings::{Changes, Settings, metadata_changes};
use super::sync;
use super::timestamp::{http_date, seconds};
use super::versions;

/// Where old versions go, newest first restored.
pub(crate) const STACK: &str = "x-versions-location";
/// Where the whole history goes.
pub(crate) const HISTORY: &str = "x-history-location";
/// Versions kept in the container itself.
const ENABLED: &str = "x-versions-enabled";

/// Answers a request to a container.
pub(crate) async fn handle(ask: &Ask) -> Answer {
    match ask.method {
        Method::GET | Method::HEAD => show(ask).await,
        Method::PUT => create(ask).await,
        Method::POST => post(ask).await,
        Method::DELETE => delete(ask).await,
        _ => Err(Box::new(
            refuse(StatusCode::METHOD_NOT_ALLOWED).with("allow", "GET, HEAD, PUT, POST, DELETE, OPTIONS"),
        )),
    }
}

/// The container as a request to it or to its objects is told of it.
fn describe(ask: &Ask, container: &Container, reply: &mut Reply) {
    let totals = &container.totals;
    reply.set("x-container-object-count", totals.objects.to_string());
    reply.set(
        "x-container-bytes-used",
        (totals.bytes + totals.noncurrent_bytes).to_string(),
    );
    let born = container.bucket.info.created_ms;
    reply.set("x-timestamp", seconds(born));
    reply.set("x-put-timestamp", seconds(born));
    reply.set("last-modified", http_date(born));
    let policies = ask.swift.store.policies();
    let policy = container.bucket.info.policy;
    reply.set(POLICY, policies::name_of(&policies, &ask.swift.options.policy, policy));
    reply.set("accept-ranges", "bytes");
    if container.config.versioning != Versioning::Off {
        let enabled = container.config.versioning == Versioning::Enabled;
        reply.set(ENABLED, if enabled { "True" } else { "False" });
    }
    for (name, value) in container.settings.iter() {
        if name == STACK || name == HISTORY {
            reply.set(name, quote(value));
        } else if ask.is_owner() || !OWNERS_ONLY.contains(&name) {
            reply.set(name, value);
        }
    }
}

async fn show(ask: &Ask) -> Answer {
    let format = if ask.query.has("versions") {
        versions::format(ask)?
    } else {
        Format::of(ask)?
    };
    let page = Page::of(ask)?;
    let container = ask.container().await?;
    let mut reply = Reply::new(StatusCode::NO_CONTENT);
    describe(ask, &container, &mut reply);
    reply.set("content-type", format.media_type());
    if ask.method == Method::HEAD {
        return Ok(reply);
    }
    let entries = if ask.query.has("versions") {
        versions::list(ask, &container, &page).await?
    } else {
        objects::list(ask, &container, &page).await?
    };
    if !entries.is_empty() || format != Format::Text {
        reply.status = StatusCode::OK;
        reply.body = Content::Whole(render(&entries, format, ("container", ask.path.container())));
    }
    Ok(reply)
}

/// What a request sets, checked.
fn changes(ask: &Ask) -> Result<Changes, Refused> {
    let mut changes = metadata_changes(&ask.headers, Subject::Container)?;
    for (name, kind) in [(READ, AclKind::Read), (WRITE, AclKind::Write)] {
        if let Some(list) = ask.header(name) {
            changes.push((name.to_owned(), Some(acl::clean(list, kind)?)));
        }
    }
    for name in [READ, WRITE, STACK, HISTORY] {
        let remove = name.replacen("x-", "x-remove-", 1);
        if ask.headers.contains_key(remove.as_str()) && !ask.headers.contains_key(name) {
            changes.push((name.to_owned(), None));
        }
    }
    changes.extend(sync_changes(ask)?);
    changes.extend(archive_changes(ask)?);
    quota::check_container_change(&changes)?;
    if !ask.is_owner() {
        changes.retain(|(name, _)| !OWNERS_ONLY.contains(&name.as_str()));
    }
    Ok(changes)
}

/// Where the container is sent to, and the key it shares with that place.
fn sync_changes(ask: &Ask) -> Result<Changes, Refused> {
    let mut changes = Changes::new();
    if let Some(to) = ask.header(sync::TO).map(str::trim) {
        if !to.is_empty() {
            let realms = sync::Realms(&ask.swift.options.sync);
            realms.destination(to).map_err(bad_request)?;
        }
        changes.push((sync::TO.to_owned(), Some(to.to_owned())));
    }
    if let Some(key) = ask.header(sync::KEY) {
        changes.push((sync::KEY.to_owned(), Some(key.to_owned())));
    }
    for name in [sync::TO, sync::KEY] {
        let remove = name.replacen("x-", "x-remove-", 1);
        if ask.headers.contains_key(remove.as_str()) && !ask.headers.contains_key(name) {
            changes.push((name.to_owned(), None));
        }
    }
    Ok(changes)
}

/// What the changes mean for container sync is arranged before they are made. Versions are not synced (Swift).
async fn arrange_sync(
    ask: &Ask,
    bucket: &store::Bucket,
    container: Option<&Container>,
    changes: &Changes,
) -> Result<(), Refused> {
    let (settings, config) = match container {
        Some(container) => (container.settings.clone(), container.config.clone()),
        None => Default::default(),
    };
    let intent = sync::Intent::of(&settings, changes);
    let enabled = match versioning(ask) {
        Some(wanted) => wanted == Versioning::Enabled,
        None => config.versioning == Versioning::Enabled,
    };
    if intent.sends() && enabled {
        return Err(bad_request(if sync::is_source(&settings) {
            "Cannot enable object versioning on a container configured as source of container syncing."
        } else {
            "Cannot configure container sync on a container with object versioning configured."
        }));
    }
    sync::arrange(&ask.swift, &ask.cx, bucket, &config, &intent).await
}

/// The two places for old versions exclude each other.
fn archive_changes(ask: &Ask) -> Result<Changes, Refused> {
    let given = |name: &str| ask.header(name).map(str::trim).filter(|value| !value.is_empty());
    let mut changes = Changes::new();
    match (given(STACK), given(HISTORY)) {
        (Some(_), Some(_)) => {
            return Err(bad_request(
                "Only one of X-Versions-Location or X-History-Location may be specified",
            ));
        }
        (Some(place), None) => changes.extend(place_for_versions(STACK, HISTORY, place)?),
        (None, Some(place)) => changes.extend(place_for_versions(HISTORY, STACK, place)?),
        (None, None) => {
            let emptied = [STACK, HISTORY]
                .into_iter()
                .filter(|name| ask.headers.contains_key(*name));
            changes.extend(emptied.map(|name| (name.to_owned(), None)));
        }
    }
    if !changes.iter().any(|(_, place)| place.is_some()) {
        return Ok(changes);
    }
    if ask.header(ENABLED).is_some_and(is_true) {
        return Err(bad_request("Versioning is enabled in the container"));
    }
    Ok(changes)
}

fn place_for_versions(name: &str, other: &str, place: &str) -> Result<Changes, Refused> {
    let place = super::path::unquote(place).filter(|place| !place.is_empty() && !place.contains('/'));
    let place = place.ok_or_else(|| bad_request(format!("Invalid container name in {name}")))?;
    Ok(vec![(name.to_owned(), Some(place)), (other.to_owned(), None)])
}

/// Which versioning a request asks for.
fn versioning(ask: &Ask) -> Option<Versioning> {
    let enabled = is_true(ask.header(ENABLED)?);
    Some(if enabled {
        Versioning::Enabled
    } else {
        Versioning::Suspended
    })
}

async fn set_versioning(ask: &Ask, bucket: &store::Bucket) -> Result<(), Refused> {
    let Some(wanted) = versioning(ask) else { return Ok(()) };
    if let Some(container) = ask.find_container().await? {
        let archives = [STACK, HISTORY]
            .into_iter()
            .any(|name| container.settings.get(name).is_some());
        if wanted == Versioning::Enabled && archives {
            return Err(bad_request(
                "Cannot enable object versioning on a container with a versions location",
            ));
        }
        if wanted == Versioning::Suspended && container.config.versioning == Versioning::Off {
            return Ok(());
        }
    } else if wanted == Versioning::Suspended {
        return Ok(());
    }
    let done = ask.swift.store.set_versioning(&ask.cx, bucket, wanted).await;
    done.map_err(from_store)
}

async fn create(ask: &Ask) -> Answer {
    let name = ask.path.container();
    let changes = changes(ask)?;
    let policy = policies::asked(ask)?;
    if name.len() > CONTAINER_NAME_MAX {
        let why = format!(
            "Container name length of {} longer than {CONTAINER_NAME_MAX}",
            name.len()
        );
        return Err(bad_request(why));
    }
    let (bucket, created) = match ask
        .swift
        .store
        .create_bucket_under(&ask.cx, name, false, policy.unwrap_or_default())
        .await
    {
        Ok(made) => made,
        Err(StoreError::BucketTaken | StoreError::BucketBusy) => return Err(refuse(StatusCode::CONFLICT)),
        Err(error) => return Err(from_store(error)),
    };
    if policy.is_some_and(|policy| policy != bucket.info.policy) {
        let policies = ask.swift.store.policies();
        let kept = policies::name_of(&policies, &ask.swift.options.policy, bucket.info.policy);
        return Err(Box::new(refuse(StatusCode::CONFLICT).with(POLICY, &kept)));
    }
    arrange_sync(ask, &bucket, ask.find_container().await?.as_deref(), &changes).await?;
    set_versioning(ask, &bucket).await?;
    Settings::change_container(&ask.swift.store, &ask.cx, &bucket, &changes).await?;
    Ok(Reply::new(match created {
        Created::New => StatusCode::CREATED,
        Created::AlreadyOwned => StatusCode::ACCEPTED,
    }))
}

async fn post(ask: &Ask) -> Answer {
    let changes = changes(ask)?;
    let container = ask.container().await?;
    arrange_sync(ask, &container.bucket, Some(&container), &changes).await?;
    set_versioning(ask, &container.bucket).await?;
    Settings::change_container(&ask.swift.store, &ask.cx, &container.bucket, &changes).await?;
    Ok(Reply::new(StatusCode::NO_CONTENT))
}

async fn delete(ask: &Ask) -> Answer {
    let bucket = ask
        .swift
        .bucket(&ask.cx, ask.path.container())
        .await?
        .ok_or_else(not_found)?;
    match ask.swift.store.delete_bucket(&ask.cx, &bucket).await {
        Ok(()) => Ok(Reply::new(StatusCode::NO_CONTENT)),
        Err(error) => Err(from_store(error)),
    }
}
