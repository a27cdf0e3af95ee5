use super::*;

/// A member of project `p` of the default domain.
fn context() -> TokenContext {
    let domain = DomainRef {
        id: "default".into(),
        name: "Default".into(),
    };
    TokenContext {
        user: UserRef {
            id: "u".into(),
            name: "user".into(),
            domain: domain.clone(),
            password_expires_ms: None,
        },
        scope: Scope::Project(ProjectRef {
            id: "p".into(),
            name: "project".into(),
            domain,
        }),
        roles: vec![RoleRef {
            id: "r".into(),
            name: "admin".into(),
        }],
        methods: vec![AuthMethod::Password],
        audit_ids: vec!["a".into()],
        issued_ms: 0,
        expires_ms: 1,
        access_rules: None,
        application_credential: None,
        trust: None,
        admin_project: false,
    }
}

#[test]
fn an_admin_of_a_project_is_nobody_outside_of_it() {
    let mut context = context();
    assert!(context.has_role("Admin") && !context.is_admin() && !context.is_reseller());
    context.admin_project = true;
    assert!(context.is_admin() && context.is_reseller());
    context.admin_project = false;
    context.scope = Scope::System;
    assert!(context.is_admin());
}

#[test]
fn access_rules_allow_only_what_they_name() {
    let mut context = context();
    assert!(context.allows("object-store", "DELETE", "/v1/AUTH_p/c/o"));
    context.access_rules = Some(vec![AccessRule {
        id: "1".into(),
        service: "object-store".into(),
        method: "GET".into(),
        path: "/v1/AUTH_p/photos/**".into(),
    }]);
    assert!(context.allows("object-store", "GET", "/v1/AUTH_p/photos/a/b"));
    for (service, method, path) in [
        ("image", "GET", "/v1/AUTH_p/photos/a"),
        ("object-store", "PUT", "/v1/AUTH_p/photos/a"),
        ("object-store", "GET", "/v1/AUTH_p/other/a"),
        ("object-store", "GET", "/v1/AUTH_p/photos/../other/a"),
    ] {
        assert!(!context.allows(service, method, path), "{service} {method} {path}");
    }
    context.access_rules = Some(Vec::new());
    assert!(!context.allows("object-store", "GET", "/"));
}

#[test]
fn patterns_match_as_documented() {
    for (pattern, path, wanted) in [
        ("/v3/users", "/v3/users", true),
        ("/v3/users", "/v3/users/", false),
        ("/v3/*/x", "/v3/users/x", true),
        ("/v3/*/x", "/v3/a/b/x", false),
        ("/v3/{id}/x", "/v3//x", false),
        ("/v3/{id}/x", "/v3/7/x", true),
        ("/**", "/", true),
        ("/**/x", "/a/b/x", true),
        ("/**/x", "/a/b/y", false),
        ("/a*c/d", "/abbc/d", true),
        ("/a*c*e/d", "/abcde/d", true),
        ("/a*c/d", "/ab/d", false),
        ("/a*a/d", "/a/d", false),
    ] {
        assert_eq!(path_matches(pattern, path), wanted, "{pattern} {path}");
    }
}
