//! POST and DELETE of an object.

use std::sync::Arc;

use http::StatusCode;
use store::{StoreError, VersionSelector};

use super::attributes::{
    DELETE_AT, LINK, LINK_ACCOUNT, LINK_ETAG, Said, attribute, has_expired, version_selector, version_text,
};
use super::path::quote;
use super::reply::{Answer, Reply, bad_request, from_store, not_found, refuse};
use super::request::{Ask, Container};
use super::{archive, conditions, expiry, read, symlink};

/// What a POST leaves as it is: the type, and what makes the object a manifest or a link.
const KEPT: [&str; 3] = ["content-type", "swift/slo", "swift/slo-"];

/// Replaces an object's metadata; one command on the current version (DESIGN §3.3).
pub(crate) async fn post(ask: &Arc<Ask>) -> Answer {
    if ask.query.has("version-id") {
        return Err(bad_request("version-id is not allowed in a POST"));
    }
    if ask.header("x-symlink-target").is_some() {
        return Err(bad_request("A PUT request is required to set a symlink target"));
    }
    let said = Said::of(&ask.headers, ask.now_ms)?;
    let seen = read::open_itself(ask, None).await?;
    let row = &seen.reader.head.object;
    let container = ask.container().await?;
    if let Some(at) = said.get(DELETE_AT).and_then(|at| at.parse().ok()) {
        expiry::note(&ask.swift, &ask.cx, &container.bucket, ask.path.object(), at).await?;
    }
    let mut kept: Vec<String> = KEPT.map(str::to_owned).to_vec();
    kept.extend(["", "-account", "-etag", "-bytes", "-slo-etag"].map(|end| format!("{}{end}", symlink::KEPT)));
    kept.extend(["swift/slo-etag", "swift/slo-size", "swift/slo-parts"].map(str::to_owned));
    let key = ask.path.object().as_bytes().to_vec();
    let store = &ask.swift.store;
    let done = store
        .post_object(&ask.cx, &container.bucket, key, said.attributes, said.user, kept)
        .await;
    done.map_err(from_store)?;
    if let Some(target) = attribute(row, LINK) {
        let account = attribute(row, LINK_ACCOUNT).unwrap_or(&ask.path.account);
        let mut reply = Reply::new(StatusCode::TEMPORARY_REDIRECT)
            .with("location", format!("/v1/{}/{target}", quote(account)))
            .with("x-symlink-target", target);
        if let Some(etag) = attribute(row, LINK_ETAG) {
            reply.set("x-symlink-target-etag", etag);
        }
        return Ok(reply);
    }
    Ok(Reply::new(StatusCode::ACCEPTED))
}

/// Deletes an object only while it carries that very end; one command (DESIGN §3.3).
async fn delete_ended(ask: &Arc<Ask>, container: &Container, end: String) -> Answer {
    let (store, key) = (&ask.swift.store, ask.path.object().as_bytes().to_vec());
    let there = store
        .object(&ask.cx, &container.bucket, &key, VersionSelector::Latest)
        .await;
    there.map_err(from_store)?;
    let mark = (DELETE_AT.to_owned(), end);
    let done = store.delete_marked(&ask.cx, &container.bucket, key, mark).await;
    match done.map_err(from_store)?.version {
        Some(_) => Ok(Reply::new(StatusCode::NO_CONTENT)),
        None => Err(refuse(StatusCode::PRECONDITION_FAILED)),
    }
}

/// Deletes an object, or one version of it.
pub(crate) async fn delete(ask: &Arc<Ask>) -> Answer {
    let selector = version_selector(ask.query.get("version-id"))?;
    let condition = conditions::of_write(&ask.headers)?;
    let end = ask.header("x-if-delete-at").map(str::to_owned);
    if end
        .as_ref()
        .is_some_and(|end| end.is_empty() || !end.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err(bad_request("Bad X-If-Delete-At header value"));
    }
    let container = ask.container().await?;
    if let Some(end) = end {
        return delete_ended(ask, &container, end).await;
    }
    if selector == VersionSelector::Latest && archive::is_on(&container) {
        return archive::delete(ask, &container).await;
    }
    let (store, key) = (&ask.swift.store, ask.path.object().as_bytes().to_vec());
    let before = match store.object(&ask.cx, &container.bucket, &key, selector).await {
        Ok(head) => Some(head.object),
        Err(StoreError::DeleteMarker { .. }) if selector != VersionSelector::Latest => None,
        Err(error) if error.class() == store::Class::Absent => {
            let versioned = container.config.versioning != store::Versioning::Off;
            // A marker is made also where there is nothing, so that history tells of the deletion.
            if !versioned || selector != VersionSelector::Latest {
                return Err(not_found());
            }
            let done = store
                .delete_object(&ask.cx, &container.bucket, key, selector, condition)
                .await;
            let mut refused = not_found();
            if let Some((seq, null)) = done.map_err(from_store)?.version
                && !null
            {
                refused.set("x-object-version-id", version_text(seq, null));
            }
            return Err(refused);
        }
        Err(error) => return Err(from_store(error)),
    };
    let done = store
        .delete_object(&ask.cx, &container.bucket, key, selector, condition)
        .await;
    let done = done.map_err(from_store)?;
    if before.is_some_and(|row| selector == VersionSelector::Latest && has_expired(&row, ask.now_ms)) {
        return Err(not_found());
    }
    let Some((seq, null)) = done.version else {
        return Err(not_found());
    };
    let mut reply = Reply::new(StatusCode::NO_CONTENT);
    if done.versioned {
        reply.set("x-object-version-id", version_text(seq, null));
        if selector != VersionSelector::Latest {
            let current = store
                .object(
                    &ask.cx,
                    &container.bucket,
                    ask.path.object().as_bytes(),
                    VersionSelector::Latest,
                )
                .await;
            if let Ok(head) = current {
                reply.set(
                    "x-object-current-version-id",
                    version_text(head.object.seq, head.object.null),
                );
            }
        }
    }
    Ok(reply)
}
