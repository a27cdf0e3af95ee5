//! Containers under storage policies.

use store::PolicyKind;

use crate::kit::{Edge, get, head, put};

#[tokio::test]
async fn a_container_is_born_under_the_policy_it_names_and_keeps_it() {
    let edge = Edge::start().await;
    edge.cluster
        .data
        .add_policy("pair", PolicyKind::Replicated { copies: 2 });
    let under = |path: &'static str, policy: &'static str| put(path).header("x-storage-policy", policy);
    under("/cold", "PAIR").send(&edge).await.is(201);
    under("/plain", "policy-0").send(&edge).await.is(201);
    assert_eq!(
        head("/cold").send(&edge).await.is(204).header("x-storage-policy"),
        "pair"
    );
    assert_eq!(
        head("/plain").send(&edge).await.is(204).header("x-storage-policy"),
        "Policy-0"
    );
    under("/cold", "pair").send(&edge).await.is(202);
    put("/cold").send(&edge).await.is(202);
    let refused = under("/cold", "Policy-0").send(&edge).await.is(409);
    assert_eq!(refused.header("x-storage-policy"), "pair");
    under("/other", "none").send(&edge).await.is(400);
    head("/other").send(&edge).await.is(404);

    put("/cold/o").body("x".repeat(20_000)).send(&edge).await.is(201);
    assert_eq!(edge.cluster.data.copies().await, 2);
    put("/plain/o").body("123").send(&edge).await.is(201);
    let told = get("?format=json").send(&edge).await.is(200);
    let count = |name: &str| told.header(&format!("x-account-storage-policy-{name}")).to_owned();
    assert_eq!(
        (count("pair-container-count"), count("pair-object-count")),
        ("1".into(), "1".into())
    );
    assert_eq!(
        (count("pair-bytes-used"), count("policy-0-bytes-used")),
        ("20000".into(), "3".into())
    );
    let rows = told.json();
    let shown: Vec<&str> = rows
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| row["storage_policy"].as_str().expect("each has one"))
        .collect();
    assert_eq!(shown, ["pair", "Policy-0"]);
}
