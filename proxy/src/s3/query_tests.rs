use super::Query;

#[test]
fn parameters_are_decoded_and_kept_as_they_came() {
    let query = Query::parse(Some("prefix=a%2Fb+c&acl&X-Amz-Date=1&x=%3D&x=2")).expect("it is UTF-8");
    assert_eq!(query.get("prefix"), Some("a/b c"));
    assert!(query.has("acl") && !query.has("ac"));
    assert_eq!(query.all("x").collect::<Vec<_>>(), ["=", "2"]);
    assert_eq!(
        query.without(|name| name.starts_with("X-Amz-")).as_deref(),
        Some("prefix=a%2Fb+c&acl&x=%3D&x=2")
    );
    assert_eq!(Query::parse(Some("a=%ff")), None);
    assert_eq!(Query::parse(None).expect("empty").without(|_| false), None);
}
