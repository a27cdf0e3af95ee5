use super::*;
use crate::token::{DomainRef, ProjectRef, RoleRef, UserRef};

fn context(scope: Scope, role: &str) -> TokenContext {
    TokenContext {
        user: UserRef {
            id: "u".into(),
            name: "user".into(),
            domain: domain("d"),
            password_expires_ms: None,
        },
        scope,
        roles: vec![RoleRef {
            id: role.into(),
            name: role.into(),
        }],
        methods: Vec::new(),
        audit_ids: Vec::new(),
        issued_ms: 0,
        expires_ms: 1,
        access_rules: None,
        application_credential: None,
        trust: None,
        admin_project: false,
    }
}

fn domain(id: &str) -> DomainRef {
    DomainRef {
        id: id.into(),
        name: id.into(),
    }
}

fn project(id: &str) -> Scope {
    Scope::Project(ProjectRef {
        id: id.into(),
        name: id.into(),
        domain: domain("d"),
    })
}

#[test]
fn names_of_actions_are_unique_and_say_their_service() {
    let mut names: Vec<_> = ACTIONS.iter().map(|action| action.name()).collect();
    assert!(names.iter().all(|name| name.split_once(':').is_some()));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ACTIONS.len());
}

#[test]
fn without_a_token_only_open_actions_are_allowed() {
    let target = Target {
        project: Some("p"),
        domain: Some("d"),
        user: Some("u"),
    };
    for action in ACTIONS {
        assert_eq!(
            allowed(*action, None, &target),
            action.grants().contains(&Anyone),
            "{}",
            action.name()
        );
    }
}

#[test]
fn a_role_on_another_project_gives_nothing() {
    let target = Target::project("p");
    for action in ACTIONS {
        let theirs = context(project("q"), ROLE_ADMIN);
        let open = action.grants().iter().any(|g| matches!(g, Anyone | Authenticated));
        assert_eq!(allowed(*action, Some(&theirs), &target), open, "{}", action.name());
    }
}

#[test]
fn an_unknown_target_is_nobodys() {
    let mine = context(project("p"), ROLE_MEMBER);
    assert!(!allowed(Action::ObjectStoreReadObject, Some(&mine), &Target::default()));
    assert!(!allowed(Action::IdentityReadUser, Some(&mine), &Target::default()));
}

#[test]
fn readers_read_and_members_write() {
    let target = Target::project("p");
    let may = |action, role| allowed(action, Some(&context(project("p"), role)), &target);
    assert!(may(Action::ObjectStoreReadObject, ROLE_READER));
    assert!(!may(Action::ObjectStoreWriteObject, ROLE_READER));
    assert!(may(Action::ObjectStoreWriteObject, ROLE_MEMBER));
    assert!(!may(Action::ObjectStoreAdministerAccount, ROLE_ADMIN));
}

#[test]
fn admins_of_the_cluster_need_the_system_or_the_admin_project() {
    let may = |context: &TokenContext| allowed(Action::IdentityWriteDomain, Some(context), &Target::default());
    assert!(may(&context(Scope::System, ROLE_ADMIN)));
    assert!(!may(&context(Scope::System, ROLE_READER)));
    assert!(!may(&context(project("p"), ROLE_ADMIN)));
    assert!(!may(&context(Scope::Domain(domain("d")), ROLE_ADMIN)));
}
