//! POST and DELETE of an object.

use std::sync::Arc;

use http::StatusCode;
use store::{StoreError, VersionSelector};

use super::attributes::{DELETE_AT, LINK, LINK_ACCOUNT, Said, attribute, has_expired, version_selector, version_text};
use super::path::quote;
use super::reply::{Answer, Reply, bad_request, from_store, not_found};
use super::request::Ask;
use super::{archive, conditions, expiry, read, symlink};

/// What a POST leaves as it is: the type, and what makes the object a manifest or a link.
const KEPT: [&str; 3] = ["content-type", "swift/slo", "swift/slo-"];

/// Replaces an object's metadata; one command on the current version (DESIGN §3.3).
pub(crate) async fn post(ask: &Arc<Ask>) -> Answer {
    if ask.query.has("version-id") {
        return Err(bad_request("version-id is not allowed in a POST"));
    }
    let said = Said::of(&ask.headers, ask.now_ms)?;
    let seen = read::open_itself(ask, None).await?;
    let row = &seen.reader.head.object;
    let container = ask.container().await?;
    if let Some(at) = said.get(DELETE_AT).and_then(|at| at.parse().ok()) {
        expiry::note(&ask.swift, &ask.cx, &container.bucket, ask.path.object(), at).await?;
    }
    let mut kept: Vec<String> = KEPT.map(str::to_owned).to_vec();
    kept.extend(["", "-account", "-etag", "-bytes"].map(|end| format!("{}{end}", symlink::KEPT)));
    kept.extend(["swift/slo-etag", "swift/slo-size"].map(str::to_owned));
    let key = ask.path.object().as_bytes().to_vec();
    let store = &ask.swift.store;
    let done = store
        .post_object(&ask.cx, &container.bucket, key, said.attributes, said.user, kept)
        .await;
    done.map_err(from_store)?;
    if let Some(target) = attribute(row, LINK) {
        let account = attribute(row, LINK_ACCOUNT).unwrap_or(&ask.path.account);
        return Ok(Reply::new(StatusCode::TEMPORARY_REDIRECT)
            .with("location", format!("/v1/{}/{target}", quote(account)))
            .with("x-symlink-target", target));
    }
    Ok(Reply::new(StatusCode::ACCEPTED))
}

/// Deletes an object, or one version of it.
pub(crate) async fn delete(ask: &Arc<Ask>) -> Answer {
    let selector = version_selector(ask.query.get("version-id"))?;
    let condition = conditions::of_write(&ask.headers)?;
    let container = ask.container().await?;
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
            done.map_err(from_store)?;
            return Err(not_found());
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
