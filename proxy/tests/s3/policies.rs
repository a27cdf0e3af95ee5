//! Buckets under storage policies, named by `x-amz-storage-class`.

use store::PolicyKind;

use crate::kit::{Call, Edge};

#[tokio::test]
async fn a_bucket_is_born_under_the_policy_its_storage_class_names() {
    let edge = Edge::start().await;
    edge.cluster
        .data
        .add_policy("pair", PolicyKind::Replicated { copies: 2 });
    let under = |path: &'static str, class: &'static str| Call::put(path).header("x-amz-storage-class", class);
    under("/cold", "Pair").send(&edge).await.ok();
    under("/plain", "STANDARD").send(&edge).await.ok();
    let body = "x".repeat(20_000);
    Call::put("/cold/k").body(&body).send(&edge).await.ok();
    assert_eq!(edge.copies().await, 2);
    Call::put("/plain/k").body(&body).send(&edge).await.ok();
    assert_eq!(edge.copies().await, 5);
    // STANDARD on an object is the bucket's policy; a policy's name is no class for an object.
    under("/cold/k2", "STANDARD").body(&body).send(&edge).await.ok();
    assert_eq!(edge.copies().await, 7);
    under("/cold/k3", "pair")
        .send(&edge)
        .await
        .is("400 InvalidStorageClass");

    // The same again is as always; under another policy the bucket is there already.
    Call::put("/cold").send(&edge).await.ok();
    under("/cold", "pair").send(&edge).await.ok();
    under("/cold", "STANDARD")
        .send(&edge)
        .await
        .is("409 BucketAlreadyOwnedByYou");
    under("/other", "SHINY").send(&edge).await.is("400 InvalidStorageClass");
    under("/other", "GLACIER")
        .send(&edge)
        .await
        .is("400 InvalidStorageClass");
    assert_eq!(Call::head("/other").send(&edge).await.status, 404);
}
