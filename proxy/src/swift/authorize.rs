//! Whether a request may be (SEC-1): whoever identity's policy table grants it, whoever the account's lists name, whoever
//! holds a signed URL.

use http::{Method, StatusCode};
use identity::policy::Action;

use super::acl::{AccountAcl, Acl};
use super::principal::Home;
use super::reply::{Refused, refuse};
use super::request::Ask;
use super::routes;
use super::settings::Settings;

/// The container's list for readers.
pub(crate) const READ: &str = "x-container-read";
/// The container's list for writers.
pub(crate) const WRITE: &str = "x-container-write";
/// The account's lists.
pub(crate) const ACCOUNT_ACL: &str = "x-account-access-control";

/// What only owners see and set.
pub(crate) const OWNERS_ONLY: [&str; 9] = [
    READ,
    WRITE,
    ACCOUNT_ACL,
    "x-container-sync-key",
    "x-container-sync-to",
    "x-account-meta-temp-url-key",
    "x-account-meta-temp-url-key-2",
    "x-container-meta-temp-url-key",
    "x-container-meta-temp-url-key-2",
];

/// Lets a request through or refuses it; settles what the caller is in the account.
pub(crate) async fn authorize(ask: &mut Ask) -> Result<(), Refused> {
    if ask.by_signature.is_some() || ask.elsewhere.is_some() || ask.method == Method::OPTIONS {
        return Ok(());
    }
    if ask.path.project().is_none() {
        return Err(denied(ask));
    }
    // What is done to many things is decided for each of them.
    if ask.query.has("bulk-delete") || (ask.query.has("extract-archive") && ask.method == Method::PUT) {
        return if ask.principal.is_some() {
            Ok(())
        } else {
            Err(denied(ask))
        };
    }
    let action = match routes::find(&ask.method, &ask.path) {
        Ok(route) => route.action,
        Err(refused) if ask.principal.is_some() => return Err(refused),
        Err(_) => return Err(denied(ask)),
    };
    if granted(ask, action) {
        return Ok(());
    }
    // No list gives what only resellers may.
    if action == Action::ObjectStoreAdministerAccount {
        return Err(denied(ask));
    }
    if container_lets_in(ask).await? {
        return Ok(());
    }
    let home = account_lets_in(ask).await?;
    if home == Home::Owner {
        ask.home = Home::Owner;
        return Ok(());
    }
    let may = match home {
        // Those who read and write do not change the account itself.
        Home::Reader => reads(&ask.method),
        Home::Owner | Home::Stranger => false,
    };
    if may || account_lets_write(ask).await? {
        return Ok(());
    }
    Err(denied(ask))
}

/// Whether the policy table grants an action in the account, lists aside.
pub(crate) fn granted(ask: &Ask, action: Action) -> bool {
    let project = ask.path.project().unwrap_or_default();
    ask.principal.as_ref().is_some_and(|who| who.may(action, project))
}

fn reads(method: &Method) -> bool {
    // A copy reads what its path names; what it writes is judged apart.
    matches!(*method, Method::GET | Method::HEAD) || method.as_str() == "COPY"
}

fn allows(home: Home, method: &Method) -> bool {
    match home {
        Home::Owner => true,
        Home::Reader => reads(method),
        Home::Stranger => false,
    }
}

/// Whether the lists of the container let the caller in. Lists speak of objects, and of reading the container.
async fn container_lets_in(ask: &Ask) -> Result<bool, Refused> {
    if ask.path.container.is_none() {
        return Ok(false);
    }
    let list = match (reads(&ask.method), &ask.path.object) {
        (true, _) => READ,
        (false, Some(_)) => WRITE,
        (false, None) => return Ok(false),
    };
    // Old versions are the owner's.
    if ask.query.has("version-id") || (ask.path.object.is_none() && ask.query.has("versions")) {
        return Ok(false);
    }
    let Some(container) = ask.find_container().await? else {
        return Ok(false);
    };
    let acl = Acl::parse(container.settings.get(list).unwrap_or_default());
    let by_page = acl.lets_in_from(ask.header("referer")) && (ask.path.object.is_some() || acl.listings());
    let by_name = ask
        .principal
        .as_ref()
        .is_some_and(|who| acl.names(&who.groups) || acl.names_role(&who.roles));
    Ok((list == READ && by_page) || by_name)
}

/// What the account's own lists make of the caller.
async fn account_lets_in(ask: &Ask) -> Result<Home, Refused> {
    let Some((acl, groups)) = account_acl(ask).await? else {
        return Ok(Home::Stranger);
    };
    let named = |list: &[String]| list.iter().any(|name| groups.contains(name));
    Ok(if named(&acl.admin) {
        Home::Owner
    } else if named(&acl.read_only) || named(&acl.read_write) {
        Home::Reader
    } else {
        Home::Stranger
    })
}

async fn account_lets_write(ask: &Ask) -> Result<bool, Refused> {
    if ask.path.container.is_none() {
        return Ok(false);
    }
    let acl = account_acl(ask).await?;
    Ok(acl.is_some_and(|(acl, groups)| acl.read_write.iter().any(|name| groups.contains(name))))
}

async fn account_acl(ask: &Ask) -> Result<Option<(AccountAcl, Vec<String>)>, Refused> {
    let Some(who) = &ask.principal else { return Ok(None) };
    let parse = |settings: &Settings| AccountAcl::parse(settings.get(ACCOUNT_ACL)?).ok();
    let mut acl = parse(&*ask.account().await?);
    // Before somebody is refused, the lists are read as they are now: who was just let in is in at once.
    if !acl.as_ref().is_some_and(|acl| acl.names(&who.groups)) {
        acl = parse(&Settings::of_account(&ask.swift.store, &ask.cx).await?);
    }
    Ok(acl.map(|acl| (acl, who.groups.clone())))
}

/// 401 to nobody, 403 to somebody.
pub(crate) fn denied(ask: &Ask) -> Refused {
    if ask.principal.is_some() {
        return refuse(StatusCode::FORBIDDEN);
    }
    unauthorized(&ask.path.account)
}

/// 401, with the realm to ask for.
pub(crate) fn unauthorized(account: &str) -> Refused {
    let realm = if account.is_empty() { "unknown" } else { account };
    let mut refused = refuse(StatusCode::UNAUTHORIZED);
    refused.set(
        "www-authenticate",
        format!("Swift realm=\"{}\"", super::path::quote(realm)),
    );
    refused
}

/// Whether the caller may read objects of a container of the same account that the request leads to: segments, targets
/// of links, sources of copies.
pub(crate) async fn may_read(ask: &Ask, inner: &Ask) -> Result<bool, Refused> {
    if ask.by_signature.is_some() {
        return Ok(inner.by_signature.is_some());
    }
    if allows(inner.home, &Method::GET) || container_lets_in(inner).await? {
        return Ok(true);
    }
    Ok(account_lets_in(inner).await? > Home::Stranger)
}

/// Whether the caller may write objects of the container that `inner` names.
pub(crate) async fn may_write(inner: &Ask) -> Result<bool, Refused> {
    if allows(inner.home, &Method::PUT) || container_lets_in(inner).await? {
        return Ok(true);
    }
    Ok(account_lets_in(inner).await? == Home::Owner || account_lets_write(inner).await?)
}
