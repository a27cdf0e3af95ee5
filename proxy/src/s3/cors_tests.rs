use http::{HeaderMap, HeaderValue};

use super::{Origin, Preflight, Rule, answer_preflight, decorate, fits};

fn rule(origin: &str, method: &str, header: &str) -> Rule {
    Rule {
        origins: vec![origin.into()],
        methods: vec![method.into()],
        headers: vec![header.into()],
        max_age_seconds: Some(30),
        ..Rule::default()
    }
}

fn asked(origin: &str, method: &str, headers: &str) -> Preflight {
    let mut map = HeaderMap::new();
    for (name, value) in [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", headers),
    ] {
        map.insert(name, HeaderValue::from_str(value).expect("a header value"));
    }
    Preflight::of(&map).expect("it is well formed")
}

#[test]
fn one_star_fits_anything() {
    for (pattern, text, expected) in [
        ("*", "", true),
        ("*", "x", true),
        ("http://*.org", "http://a.org", true),
        ("http://*.org", "http://.org", true),
        ("http://*.org", "http://a.com", false),
        ("abc*bcd", "abcd", false),
        ("start*", "startend", true),
        ("plain", "plain", true),
        ("plain", "Plain", false),
    ] {
        assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn the_first_fitting_rule_answers_a_preflight() {
    let rules = [rule("https://a.org", "PUT", "x-*"), rule("*", "GET", "*")];
    let response = answer_preflight(Some(&rules), &asked("https://a.org", "PUT", "X-One, x-two")).expect("allowed");
    let get = |name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().expect("text").to_owned())
    };
    assert_eq!(get("access-control-allow-origin").as_deref(), Some("https://a.org"));
    assert_eq!(get("access-control-allow-headers").as_deref(), Some("x-one, x-two"));
    assert_eq!(get("access-control-max-age").as_deref(), Some("30"));
    let response = answer_preflight(Some(&rules), &asked("https://b.org", "GET", "")).expect("allowed");
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    for (origin, method, headers) in [("https://b.org", "PUT", ""), ("https://a.org", "PUT", "content-type")] {
        let refused = answer_preflight(Some(&rules), &asked(origin, method, headers)).expect_err("no rule");
        assert_eq!(refused.code().as_str(), "AccessForbidden");
    }
    assert!(answer_preflight(None, &asked("https://a.org", "GET", "")).is_err());
}

#[test]
fn answers_carry_what_the_rule_allows() {
    let mut headers = HeaderMap::new();
    let origin = Origin("https://a.org".into());
    decorate(
        &mut headers,
        &[rule("https://a.org", "PUT", "*")],
        &origin,
        &http::Method::GET,
    );
    assert!(headers.is_empty());
    decorate(
        &mut headers,
        &[rule("https://a.org", "PUT", "*")],
        &origin,
        &http::Method::PUT,
    );
    assert_eq!(headers["access-control-allow-origin"], "https://a.org");
}
