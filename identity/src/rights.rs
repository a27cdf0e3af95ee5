//! Who has which role where, computed from assignments, groups, inheritance and implied roles.
//!
//! ```text
//! table "assignments"    key = {u|g}/{actor}/{p|d|s}/{target}/{role}/{d|i}   d: on the target itself, i: on what lies below
//! table "group-members"  key = {user}/{group}
//! table "implied-roles"  key = {prior role}/{implied role}
//! ```
//! Everything is read out of this process's copy: no hop for any request. Everything of one actor stands together, so
//! that a decision reads a few neighbouring rows whatever the number of users.

use std::collections::BTreeSet;

use crate::error::IdentityError;
use crate::model::{Domain, Mark, Project, Role, Trust};
use crate::records::Records;
use crate::row::{ASSIGNMENTS, DOMAINS, IMPLIED_ROLES, MEMBERS, PROJECTS, ROLES, TRUSTS};
use crate::token::{DomainRef, ProjectRef, RoleRef, Scope};

/// How deep projects may be nested, the domain not counted.
pub(crate) const PROJECT_DEPTH_MAX: usize = 5;
/// The target of assignments on the system.
const SYSTEM: &str = "all";

/// The longest chain of trusts: one, and three times handed on (Keystone's default).
pub(crate) const TRUSTS_DEPTH_MAX: usize = 4;

/// A trust and those it was handed on from, the first one last. `None`: one of them is gone, or there are too many.
pub(crate) async fn trusts_up(records: &Records, id: &str) -> Result<Option<Vec<(String, Trust)>>, IdentityError> {
    let (mut chain, mut next) = (Vec::new(), Some(id.to_owned()));
    while let Some(id) = next {
        let found = records.peek::<Trust>(TRUSTS, &id).await?;
        let (Some(row), true) = (found, chain.len() < TRUSTS_DEPTH_MAX) else {
            return Ok(None);
        };
        next = row.redelegated_trust.clone();
        chain.push((id, row));
    }
    Ok(Some(chain))
}

/// Who has a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Actor {
    User(String),
    Group(String),
}

/// Where a role is had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Project(String),
    Domain(String),
    System,
}

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Assignment {
    pub(crate) actor: Actor,
    pub(crate) place: Place,
    /// The role's id.
    pub(crate) role: String,
    /// Whether it counts for the projects below the place instead of the place itself.
    pub(crate) inherited: bool,
}

impl Actor {
    fn prefix(&self) -> String {
        match self {
            Self::User(id) => format!("u/{id}/"),
            Self::Group(id) => format!("g/{id}/"),
        }
    }
}

impl Assignment {
    /// The key of its record.
    pub(crate) fn key(&self) -> String {
        let (kind, target) = match &self.place {
            Place::Project(id) => ('p', id.as_str()),
            Place::Domain(id) => ('d', id.as_str()),
            Place::System => ('s', SYSTEM),
        };
        let below = if self.inherited { 'i' } else { 'd' };
        format!("{}{kind}/{target}/{}/{below}", self.actor.prefix(), self.role)
    }

    /// Out of the key of its record.
    pub(crate) fn parse(key: &str) -> Option<Self> {
        let [actor, actor_id, place, target, role, below] = key.split('/').collect::<Vec<_>>().try_into().ok()?;
        Some(Self {
            actor: match actor {
                "u" => Actor::User(actor_id.to_owned()),
                "g" => Actor::Group(actor_id.to_owned()),
                _ => return None,
            },
            place: match place {
                "p" => Place::Project(target.to_owned()),
                "d" => Place::Domain(target.to_owned()),
                "s" => Place::System,
                _ => return None,
            },
            role: role.to_owned(),
            inherited: below == "i",
        })
    }
}

/// A project with everything that decides whether it can be used.
pub(crate) struct Located {
    pub(crate) project: ProjectRef,
    /// The projects above it, nearest first.
    pub(crate) above: Vec<String>,
    /// Tokens made before this time are void.
    pub(crate) tokens_from_ms: u64,
}

/// A domain, if it is there and enabled, and since when tokens for it are good.
pub(crate) async fn usable_domain(records: &Records, id: &str) -> Result<Option<(DomainRef, u64)>, IdentityError> {
    let domain = records.peek::<Domain>(DOMAINS, id).await?;
    Ok(domain.filter(|domain| domain.enabled).map(|domain| {
        let named = DomainRef {
            id: id.to_owned(),
            name: domain.name,
        };
        (named, domain.tokens_from_ms)
    }))
}

/// A project, if it, its domain and all projects above it are there and enabled.
pub(crate) async fn usable_project(records: &Records, id: &str) -> Result<Option<Located>, IdentityError> {
    let Some(project) = records.peek::<Project>(PROJECTS, id).await? else {
        return Ok(None);
    };
    let Some((domain, domain_from_ms)) = usable_domain(records, &project.domain_id).await? else {
        return Ok(None);
    };
    let mut tokens_from_ms = domain_from_ms.max(project.tokens_from_ms);
    let mut above = Vec::new();
    let mut enabled = project.enabled;
    let mut next = project.parent().map(str::to_owned);
    while let Some(parent) = next {
        if above.len() > PROJECT_DEPTH_MAX {
            return Ok(None);
        }
        let Some(row) = records.peek::<Project>(PROJECTS, &parent).await? else {
            return Ok(None);
        };
        enabled &= row.enabled;
        tokens_from_ms = tokens_from_ms.max(row.tokens_from_ms);
        next = row.parent().map(str::to_owned);
        above.push(parent);
    }
    Ok(enabled.then(|| Located {
        project: ProjectRef {
            id: id.to_owned(),
            name: project.name,
            domain,
        },
        above,
        tokens_from_ms,
    }))
}

/// The groups of a user.
pub(crate) async fn groups_of(records: &Records, user: &str) -> Result<Vec<String>, IdentityError> {
    let prefix = format!("{user}/");
    let rows = records.scan::<Mark>(MEMBERS, &prefix).await?;
    Ok(rows
        .into_iter()
        .filter_map(|(key, _)| Some(key.strip_prefix(&prefix)?.to_owned()))
        .collect())
}

/// Everything assigned to a user, directly and through groups.
pub(crate) async fn assigned_to(records: &Records, user: &str) -> Result<Vec<Assignment>, IdentityError> {
    let groups = groups_of(records, user).await?;
    let actors = std::iter::once(Actor::User(user.to_owned())).chain(groups.into_iter().map(Actor::Group));
    let mut found = Vec::new();
    for actor in actors {
        let rows = records.scan::<Mark>(ASSIGNMENTS, &actor.prefix()).await?;
        found.extend(rows.iter().filter_map(|(key, _)| Assignment::parse(key)));
    }
    Ok(found)
}

/// Whether an assignment counts for a scope. `above` are the projects above a project, nearest first.
pub(crate) fn counts_for(assignment: &Assignment, scope: &Scope, above: &[String]) -> bool {
    match (&assignment.place, scope) {
        (Place::System, Scope::System) => true,
        (Place::Domain(id), Scope::Domain(domain)) => !assignment.inherited && *id == domain.id,
        (Place::Domain(id), Scope::Project(project)) => assignment.inherited && *id == project.domain.id,
        (Place::Project(id), Scope::Project(project)) => {
            (!assignment.inherited && *id == project.id) || (assignment.inherited && above.contains(id))
        }
        _ => false,
    }
}

/// Ids of roles with all those they imply.
pub(crate) async fn with_implied(
    records: &Records,
    ids: impl IntoIterator<Item = String>,
) -> Result<BTreeSet<String>, IdentityError> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<String> = ids.into_iter().collect();
    while let Some(id) = waiting.pop() {
        if found.contains(&id) {
            continue;
        }
        let prefix = format!("{id}/");
        let rows = records.scan::<Mark>(IMPLIED_ROLES, &prefix).await?;
        waiting.extend(
            rows.iter()
                .filter_map(|(key, _)| key.strip_prefix(&prefix))
                .map(str::to_owned),
        );
        found.insert(id);
    }
    Ok(found)
}

/// The roles of a user in a scope, implied ones included. Roles that only a domain knows give nothing by themselves.
pub(crate) async fn roles_in(
    records: &Records,
    user: &str,
    scope: &Scope,
    above: &[String],
) -> Result<BTreeSet<String>, IdentityError> {
    let assigned = assigned_to(records, user).await?;
    let here = assigned.into_iter().filter(|one| counts_for(one, scope, above));
    with_implied(records, here.map(|one| one.role)).await
}

/// Names of roles, sorted; those that are gone or known to one domain only are left out.
pub(crate) async fn named(records: &Records, ids: &BTreeSet<String>) -> Result<Vec<RoleRef>, IdentityError> {
    let mut roles = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(role) = records.recent::<Role>(ROLES, id).await?
            && role.domain_id.is_none()
        {
            roles.push(RoleRef {
                id: id.clone(),
                name: role.name,
            });
        }
    }
    roles.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_assignments_read_back() {
        for (actor, place, inherited) in [
            (Actor::User("u".into()), Place::Project("p".into()), false),
            (Actor::Group("g".into()), Place::Domain("d".into()), true),
            (Actor::User("u".into()), Place::System, false),
        ] {
            let assignment = Assignment {
                actor,
                place,
                role: "r".into(),
                inherited,
            };
            assert_eq!(Assignment::parse(&assignment.key()), Some(assignment));
        }
        for wrong in ["", "u/1", "x/1/p/2/3/d", "u/1/x/2/3/d", "u/1/p/2/3/d/e"] {
            assert_eq!(Assignment::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_inherited_counts_below_and_only_there() {
        let domain = DomainRef {
            id: "d".into(),
            name: "d".into(),
        };
        let project = Scope::Project(ProjectRef {
            id: "p".into(),
            name: "p".into(),
            domain: domain.clone(),
        });
        let counts = |place: Place, inherited, scope: &Scope| {
            let assignment = Assignment {
                actor: Actor::User("u".into()),
                place,
                role: "r".into(),
                inherited,
            };
            counts_for(&assignment, scope, &["above".to_owned()])
        };
        let at = |id: &str| Place::Project(id.to_owned());
        assert!(counts(at("p"), false, &project) && !counts(at("p"), true, &project));
        assert!(counts(at("above"), true, &project) && !counts(at("above"), false, &project));
        assert!(!counts(at("other"), true, &project));
        assert!(
            counts(Place::Domain("d".into()), true, &project) && !counts(Place::Domain("d".into()), false, &project)
        );
        let whole = Scope::Domain(domain);
        assert!(counts(Place::Domain("d".into()), false, &whole) && !counts(Place::Domain("d".into()), true, &whole));
        assert!(!counts(Place::System, false, &project) && counts(Place::System, false, &Scope::System));
        assert!(!counts(at("p"), false, &Scope::Unscoped));
    }
}
