//! Who has which role where: given, taken, listed.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Call;
use super::document::text;
use super::kinds::{DOMAIN, GROUP, PROJECT, ROLE};
use super::resources::{all, listing, listing_of, require};
use super::users::require_user;
use crate::model::{Document, Mark};
use crate::policy::Target;
use crate::refusal::Refusal;
use crate::rights::{self, Actor, Assignment, Place};
use crate::row::{ASSIGNMENTS, ROLES};
use crate::token::{ROLE_ADMIN, ROLE_MANAGER};

pub(crate) async fn list_grants(call: Arc<Call>) -> Result<Answer, Refusal> {
    let (actor, place, inherited) = grant_of(&call).await?;
    let mut rows = Vec::new();
    for one in existing(&call).await? {
        if (&one.actor, &one.place, one.inherited) == (&actor, &place, inherited)
            && let Some((_, row)) = call.identity.records.get::<Document>(ROLES, &one.role).await?
        {
            rows.push((one.role, row));
        }
    }
    Ok(listing(&call, &ROLE, rows))
}

pub(crate) async fn check_grant(call: Arc<Call>) -> Result<Answer, Refusal> {
    let grant = whole_grant(&call).await?;
    match call.identity.records.get::<Mark>(ASSIGNMENTS, &grant.key()).await? {
        Some(_) => Ok(Answer::nothing()),
        None => Err(Refusal::NotFound(format!(
            "Could not find role assignment with role: {}.",
            grant.role
        ))),
    }
}

pub(crate) async fn give(call: Arc<Call>) -> Result<Answer, Refusal> {
    let grant = whole_grant(&call).await?;
    refuse_beyond_own(&call, &grant).await?;
    call.identity.records.put(ASSIGNMENTS, &grant.key(), &Mark {}).await?;
    Ok(Answer::nothing())
}

pub(crate) async fn take(call: Arc<Call>) -> Result<Answer, Refusal> {
    check_grant(call.clone()).await?;
    let grant = whole_grant(&call).await?;
    refuse_beyond_own(&call, &grant).await?;
    call.identity.records.remove(ASSIGNMENTS, &grant.key()).await?;
    call.identity.records.settle().await;
    Ok(Answer::nothing())
}

/// Takes every role that `unwanted` says; whoever took its owner away settles.
pub(crate) async fn forget(call: &Call, unwanted: impl Fn(&Assignment) -> bool) -> Result<(), Refusal> {
    for one in existing(call).await?.into_iter().filter(unwanted) {
        call.identity.records.remove(ASSIGNMENTS, &one.key()).await?;
    }
    Ok(())
}

async fn existing(call: &Call) -> Result<Vec<Assignment>, Refusal> {
    let rows = call.identity.records.list::<Mark>(ASSIGNMENTS, "").await?;
    Ok(rows.iter().filter_map(|(key, _)| Assignment::parse(key)).collect())
}

/// Who and where, out of the path; both must be there, and the caller must have rights on both.
async fn grant_of(call: &Call) -> Result<(Actor, Place, bool), Refusal> {
    let mut target = Target::default();
    let place_row;
    let place = match (call.parameters.get("project_id"), call.parameters.get("domain_id")) {
        (Some(id), _) => {
            place_row = require(call, &PROJECT, id)
                .await
                .map_err(|refusal| hidden(call, refusal))?;
            target.project = Some(id);
            target.domain = text(&place_row, "domain_id");
            Place::Project(id.clone())
        }
        (None, Some(id)) => {
            require(call, &DOMAIN, id)
                .await
                .map_err(|refusal| hidden(call, refusal))?;
            target.domain = Some(id);
            Place::Domain(id.clone())
        }
        (None, None) => Place::System,
    };
    call.allow(&target)?;
    let (actor, row) = match (call.parameters.get("user_id"), call.parameters.get("group_id")) {
        (Some(id), _) => (Actor::User(id.clone()), require_user(call, id).await?),
        (None, Some(id)) => (Actor::Group(id.clone()), require(call, &GROUP, id).await?),
        (None, None) => return Err(Refusal::NotFound("Could not find actor.".into())),
    };
    // A domain's manager manages the domain's own people only.
    let manages_all = call.may(&Target::default());
    if !manages_all && target.domain.is_some() && text(&row, "domain_id") != target.domain {
        return Err(Refusal::not_allowed(call.action));
    }
    Ok((actor, place, call.path.contains("/OS-INHERIT/")))
}

async fn whole_grant(call: &Call) -> Result<Assignment, Refusal> {
    let (actor, place, inherited) = grant_of(call).await?;
    let role = call.parameter("role_id").to_owned();
    require(call, &ROLE, &role).await?;
    Ok(Assignment {
        actor,
        place,
        role,
        inherited,
    })
}

/// A domain's manager gives only roles below the own one: never admin.
async fn refuse_beyond_own(call: &Call, grant: &Assignment) -> Result<(), Refusal> {
    let caller = call.caller()?;
    if caller.is_admin() || call.may(&Target::default()) {
        return Ok(());
    }
    let given = rights::with_implied(&call.identity.records, [grant.role.clone()]).await?;
    let given = rights::named(&call.identity.records, &given).await?;
    let beyond = |name: &str| name == ROLE_ADMIN || (name == ROLE_MANAGER && !caller.has_role(ROLE_ADMIN));
    let unowned = given
        .iter()
        .any(|role| beyond(&role.name) || !caller.has_role(&role.name));
    if unowned {
        Err(Refusal::not_allowed(call.action))
    } else {
        Ok(())
    }
}

fn hidden(call: &Call, refusal: Refusal) -> Refusal {
    super::users::hidden(call, refusal)
}

/// `GET /v3/role_assignments`, with its filters, `effective` and `include_names`.
pub(crate) async fn list_assignments(call: Arc<Call>) -> Result<Answer, Refusal> {
    let domain = call.caller()?.domain().map(|domain| domain.id.clone());
    call.allow(&Target {
        domain: domain.as_deref(),
        project: call.filter("scope.project.id"),
        user: None,
    })?;
    // Without rights on everything, only what lies in the own domain or project.
    let everything = call.may(&Target::default());
    let (mut found, names) = (Vec::new(), Names::load(&call).await?);
    let effective = call
        .filter("effective")
        .is_some_and(|value| value != "0" && value != "false");
    let assignments = existing(&call).await?;
    for one in expanded(&call, assignments, effective, &names).await? {
        let here = everything
            || match &one.place {
                Place::Project(id) => {
                    call.filter("scope.project.id") == Some(id)
                        || names.domain_of_project(id) == domain.as_deref() && domain.is_some()
                }
                Place::Domain(id) => domain.as_ref() == Some(id),
                Place::System => false,
            };
        if here && matches_filters(&call, &one) {
            found.push(names.shown(&call, &one));
        }
    }
    Ok(listing_of(&call, "role_assignments", found))
}

fn matches_filters(call: &Call, one: &Assignment) -> bool {
    let is = |filter: &str, have: Option<&str>| call.filter(filter).is_none_or(|wanted| have == Some(wanted));
    let (user, group) = match &one.actor {
        Actor::User(id) => (Some(id.as_str()), None),
        Actor::Group(id) => (None, Some(id.as_str())),
    };
    let (project, domain, system) = match &one.place {
        Place::Project(id) => (Some(id.as_str()), None, false),
        Place::Domain(id) => (None, Some(id.as_str()), false),
        Place::System => (None, None, true),
    };
    is("user.id", user)
        && is("group.id", group)
        && is("role.id", Some(&one.role))
        && is("scope.project.id", project)
        && is("scope.domain.id", domain)
        && (call.filter("scope.system").is_none() || system)
        && (call.filter("scope.OS-INHERIT:inherited_to").is_none() || one.inherited)
}

/// Effective assignments: groups replaced by their users, roles by all they imply, inheritance by the projects below.
async fn expanded(
    call: &Call,
    assignments: Vec<Assignment>,
    effective: bool,
    names: &Names,
) -> Result<BTreeSet<Assignment>, Refusal> {
    if !effective {
        return Ok(assignments.into_iter().collect());
    }
    let members = call.identity.records.list::<Mark>(crate::row::MEMBERS, "").await?;
    let mut found = BTreeSet::new();
    for one in assignments {
        let actors: Vec<Actor> = match &one.actor {
            Actor::User(_) => vec![one.actor.clone()],
            Actor::Group(group) => members
                .iter()
                .filter_map(|(key, _)| key.split_once('/'))
                .filter(|(_, of)| of == group)
                .map(|(user, _)| Actor::User(user.to_owned()))
                .collect(),
        };
        let places = if one.inherited {
            names.projects_below(&one.place)
        } else {
            vec![one.place.clone()]
        };
        let roles = rights::with_implied(&call.identity.records, [one.role.clone()]).await?;
        for actor in &actors {
            for place in &places {
                found.extend(roles.iter().map(|role| Assignment {
                    actor: actor.clone(),
                    place: place.clone(),
                    role: role.clone(),
                    inherited: false,
                }));
            }
        }
    }
    Ok(found)
}

/// Rows for the names in a listing of assignments.
struct Names {
    users: Vec<(String, Document)>,
    groups: Vec<(String, Document)>,
    projects: Vec<(String, Document)>,
    domains: Vec<(String, Document)>,
    roles: Vec<(String, Document)>,
    shown: bool,
}

impl Names {
    async fn load(call: &Call) -> Result<Self, Refusal> {
        let shown = call.flag("include_names");
        let (users, groups) = if shown {
            (all(call, &super::kinds::USER).await?, all(call, &GROUP).await?)
        } else {
            (Vec::new(), Vec::new())
        };
        Ok(Self {
            users,
            groups,
            projects: all(call, &PROJECT).await?,
            domains: all(call, &DOMAIN).await?,
            roles: all(call, &ROLE).await?,
            shown,
        })
    }

    fn find<'a>(rows: &'a [(String, Document)], id: &str) -> Option<&'a Document> {
        // Listings come sorted by key.
        rows.binary_search_by(|(key, _)| key.as_str().cmp(id))
            .ok()
            .map(|at| &rows[at].1)
    }

    fn domain_of_project(&self, id: &str) -> Option<&str> {
        Self::find(&self.projects, id).and_then(|row| text(row, "domain_id"))
    }

    fn projects_below(&self, place: &Place) -> Vec<Place> {
        let below = |(_, row): &&(String, Document)| match place {
            Place::Domain(domain) => text(row, "domain_id") == Some(domain),
            Place::Project(above) => {
                let mut next = text(row, "parent_id");
                for _ in 0..=rights::PROJECT_DEPTH_MAX {
                    match next {
                        Some(parent) if parent == above => return true,
                        Some(parent) => {
                            next = Self::find(&self.projects, parent).and_then(|row| text(row, "parent_id"))
                        }
                        None => return false,
                    }
                }
                false
            }
            Place::System => false,
        };
        self.projects
            .iter()
            .filter(below)
            .map(|(id, _)| Place::Project(id.clone()))
            .collect()
    }

    fn named(&self, rows: &[(String, Document)], id: &str) -> Value {
        let mut shown = json!({ "id": id });
        if self.shown
            && let Some(row) = Self::find(rows, id)
        {
            shown["name"] = json!(text(row, "name"));
            if let Some(domain) = text(row, "domain_id") {
                let name = Self::find(&self.domains, domain).and_then(|row| text(row, "name"));
                shown["domain"] = json!({ "id": domain, "name": name });
            }
        }
        shown
    }

    fn shown(&self, call: &Call, one: &Assignment) -> Value {
        let mut shown = json!({ "role": self.named(&self.roles, &one.role) });
        let (actor, actor_id) = match &one.actor {
            Actor::User(id) => ("user", id),
            Actor::Group(id) => ("group", id),
        };
        shown[actor] = self.named(if actor == "user" { &self.users } else { &self.groups }, actor_id);
        let (kind, target) = match &one.place {
            Place::Project(id) => {
                shown["scope"] = json!({ "project": self.named(&self.projects, id) });
                ("projects", id.as_str())
            }
            Place::Domain(id) => {
                shown["scope"] = json!({ "domain": self.named(&self.domains, id) });
                ("domains", id.as_str())
            }
            Place::System => {
                shown["scope"] = json!({ "system": { "all": true } });
                ("system", "")
            }
        };
        if one.inherited {
            shown["scope"]["OS-INHERIT:inherited_to"] = json!("projects");
        }
        let place = if target.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}/{target}")
        };
        let inherited = if one.inherited {
            ("/OS-INHERIT", "/inherited_to_projects")
        } else {
            ("", "")
        };
        shown["links"] = json!({ "assignment": format!(
            "{}/v3{}/{place}/{actor}s/{actor_id}/roles/{}{}", call.base, inherited.0, one.role, inherited.1
        ) });
        shown
    }
}
