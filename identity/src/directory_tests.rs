use std::sync::Arc;

use clock::{ManualClock, SeededDice};
use store::testing::{Cluster, START_MS};

use super::Directory;
use crate::error::IdentityError;
use crate::source::KeySource;

fn directory(cluster: &Cluster, at_rest_key: [u8; 32]) -> Directory {
    let clock = Arc::new(ManualClock::at(START_MS));
    Directory::new(cluster.store.clone(), clock, Arc::new(SeededDice::new(3)), &at_rest_key)
}

#[tokio::test(start_paused = true)]
async fn a_key_is_made_found_listed_and_revoked() {
    let cluster = Cluster::default();
    let directory = directory(&cluster, [1; 32]);
    let project = directory.create_project("backups", None).await.expect("made");
    let issued = directory.create_key(&project.id, "restic").await.expect("made");
    assert_eq!((issued.access_key.len(), issued.secret.len()), (20, 40));
    let found = directory
        .lookup(&issued.access_key)
        .await
        .expect("answered")
        .expect("found");
    assert_eq!(
        (found.secret.as_str(), found.project.as_str()),
        (issued.secret.as_str(), project.id.as_str())
    );
    assert_eq!(found.display_name, "backups");
    let listed = directory.keys(Some(&project.id)).await.expect("listed");
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].access_key.as_str(), listed[0].description.as_str()),
        (issued.access_key.as_str(), "restic")
    );
    directory.revoke_key(&issued.access_key).await.expect("revoked");
    assert!(directory.lookup(&issued.access_key).await.expect("answered").is_none());
    assert!(matches!(
        directory.revoke_key(&issued.access_key).await,
        Err(IdentityError::NoSuchKey)
    ));
}

#[tokio::test(start_paused = true)]
async fn sec_1_a_revoked_key_brought_again_has_its_new_secret() {
    let cluster = Cluster::default();
    let (here, there) = (directory(&cluster, [1; 32]), directory(&cluster, [1; 32]));
    let project = here.create_project("p", Some("p".into())).await.expect("made");
    here.import_key(&project.id, "", "mykey", "first-secret")
        .await
        .expect("made");
    assert_eq!(
        there
            .lookup("mykey")
            .await
            .expect("answered")
            .expect("found")
            .secret
            .as_str(),
        "first-secret"
    );
    here.revoke_key("mykey").await.expect("revoked");
    here.import_key(&project.id, "", "mykey", "second-secret")
        .await
        .expect("made");
    assert_eq!(
        there
            .lookup("mykey")
            .await
            .expect("answered")
            .expect("found")
            .secret
            .as_str(),
        "second-secret"
    );
}

#[tokio::test(start_paused = true)]
async fn sec_1_secrets_are_sealed_at_rest() {
    let cluster = Cluster::default();
    let directory = directory(&cluster, [1; 32]);
    directory.create_project("p", Some("p".into())).await.expect("made");
    directory
        .import_key("p", "", "mykey", "find-me-if-you-can")
        .await
        .expect("made");
    let record = cluster.store.record(&cluster.request(), "access-keys", "mykey").await;
    let value = record.expect("answered").expect("kept").value;
    assert!(!value.windows(8).any(|window| window == b"find-me-"));
    let other = self::directory(&cluster, [2; 32]);
    assert!(matches!(
        other.lookup("mykey").await,
        Err(IdentityError::Unreadable { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_made_is_refused() {
    let cluster = Cluster::default();
    let directory = directory(&cluster, [1; 32]);
    assert!(matches!(
        directory.create_key("nobody", "").await,
        Err(IdentityError::NoSuchProject)
    ));
    assert!(matches!(
        directory.create_project("", None).await,
        Err(IdentityError::Invalid(_))
    ));
    assert!(matches!(
        directory.create_project("n", Some("a/b".into())).await,
        Err(IdentityError::Invalid(_))
    ));
    directory.create_project("p", Some("p".into())).await.expect("made");
    assert!(matches!(
        directory.create_project("p", Some("p".into())).await,
        Err(IdentityError::Taken)
    ));
    for (access_key, secret) in [
        ("ab", "long-enough"),
        ("a b c", "long-enough"),
        ("abc", "short"),
        ("a/b", "long-enough"),
    ] {
        assert!(matches!(
            directory.import_key("p", "", access_key, secret).await,
            Err(IdentityError::Invalid(_))
        ));
    }
    directory.import_key("p", "", "abc", "long-enough").await.expect("made");
    assert!(matches!(
        directory.import_key("p", "", "abc", "long-enough").await,
        Err(IdentityError::Taken)
    ));
    assert_eq!(directory.projects().await.expect("listed").len(), 1);
}
