//! ListObjects, both versions, and ListMultipartUploads.

use crate::kit::{Call, Edge, Reply};

async fn with_keys(keys: &[&str]) -> Edge {
    let edge = Edge::with_bucket().await;
    for key in keys {
        Call::put(&format!("/bkt/{}", crate::sign::encode(key, true)))
            .body("x")
            .send(&edge)
            .await
            .ok();
    }
    edge
}

fn prefixes(reply: &Reply) -> Vec<String> {
    let found = reply.elements("CommonPrefixes").into_iter();
    found
        .map(|text| text.replace("<Prefix>", "").replace("</Prefix>", ""))
        .collect()
}

#[tokio::test]
async fn both_versions_list_keys_and_prefixes() {
    let edge = with_keys(&["a", "b/1", "b/2", "c/d/e", "z"]).await;
    for version in ["1", "2"] {
        let list = || Call::get("/bkt").query("list-type", version);
        let all = list().send(&edge).await.ok();
        assert_eq!(all.elements("Key"), ["a", "b/1", "b/2", "c/d/e", "z"]);
        assert_eq!(
            (all.element("IsTruncated").as_str(), all.element("MaxKeys").as_str()),
            ("false", "1000")
        );
        let folded = list().query("delimiter", "/").send(&edge).await.ok();
        assert_eq!(
            (folded.elements("Key"), prefixes(&folded)),
            (vec!["a".into(), "z".into()], vec!["b/".into(), "c/".into()])
        );
        let inside = list()
            .query("delimiter", "/")
            .query("prefix", "b/")
            .send(&edge)
            .await
            .ok();
        assert_eq!(
            (inside.elements("Key"), prefixes(&inside)),
            (vec!["b/1".into(), "b/2".into()], vec![])
        );
        let none = list().query("max-keys", "0").send(&edge).await.ok();
        assert_eq!(
            (none.elements("Key").len(), none.element("IsTruncated").as_str()),
            (0, "false")
        );
        assert_eq!(
            list()
                .query("max-keys", "5000")
                .send(&edge)
                .await
                .ok()
                .element("MaxKeys"),
            "1000"
        );
        for wrong in ["-1", "blah", ""] {
            list()
                .query("max-keys", wrong)
                .send(&edge)
                .await
                .is("400 InvalidArgument");
        }
        list()
            .query("encoding-type", "rot13")
            .send(&edge)
            .await
            .is("400 InvalidArgument");
    }
    let (slash, plain) = (
        Call::get("/bkt/").send(&edge).await.ok(),
        Call::get("/bkt").send(&edge).await.ok(),
    );
    assert_eq!(slash.body, plain.body);
}

#[tokio::test]
async fn con_2_every_page_continues_where_the_last_one_ended() {
    let keys: Vec<String> = (0..25).map(|n| format!("{}/{n:02}", ["p", "q", "r"][n / 10])).collect();
    let edge = with_keys(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for size in ["1", "3", "10", "25"] {
        let (mut marker, mut found) = (String::new(), Vec::new());
        loop {
            let page = Call::get("/bkt")
                .query("max-keys", size)
                .query("marker", &marker)
                .send(&edge)
                .await
                .ok();
            found.extend(page.elements("Key"));
            assert_eq!(page.element("NextMarker"), "", "only with a delimiter");
            match page.elements("Key").last() {
                Some(last) if page.element("IsTruncated") == "true" => marker = last.clone(),
                _ => break,
            }
        }
        assert_eq!(found, keys);
        let (mut token, mut found) = (None::<String>, Vec::new());
        loop {
            let call = Call::get("/bkt").query("list-type", "2").query("max-keys", size);
            let call = token
                .iter()
                .fold(call, |call, token| call.query("continuation-token", token));
            let page = call.send(&edge).await.ok();
            assert_eq!(page.element("KeyCount"), page.elements("Key").len().to_string());
            found.extend(page.elements("Key"));
            if page.element("IsTruncated") != "true" {
                break;
            }
            token = Some(page.element("NextContinuationToken"));
        }
        assert_eq!(found, keys);
    }
    let (mut marker, mut found) = (String::new(), Vec::new());
    for _ in 0..3 {
        let call = Call::get("/bkt")
            .query("delimiter", "/")
            .query("max-keys", "1")
            .query("marker", &marker);
        let page = call.send(&edge).await.ok();
        found.extend(prefixes(&page));
        marker = page.element("NextMarker");
    }
    assert_eq!(
        (found, marker.as_str()),
        (vec!["p/".into(), "q/".into(), "r/".into()], "")
    );
}

#[tokio::test]
async fn the_second_version_has_its_own_parameters() {
    let edge = with_keys(&["a", "b", "c"]).await;
    let list = || Call::get("/bkt").query("list-type", "2");
    let reply = list()
        .query("start-after", "a")
        .query("fetch-owner", "true")
        .send(&edge)
        .await
        .ok();
    assert_eq!(
        (reply.elements("Key"), reply.element("StartAfter").as_str()),
        (vec!["b".into(), "c".into()], "a")
    );
    assert_eq!(reply.elements("ID"), ["main", "main"]);
    assert!(list().send(&edge).await.ok().elements("Owner").is_empty());
    assert_eq!(
        list()
            .query("continuation-token", "")
            .send(&edge)
            .await
            .ok()
            .elements("Key")
            .len(),
        3
    );
    list()
        .query("continuation-token", "nonsense")
        .send(&edge)
        .await
        .is("400 InvalidArgument");
    assert_eq!(Call::get("/bkt").send(&edge).await.ok().elements("Owner").len(), 3);
}

#[tokio::test]
async fn keys_are_encoded_when_asked() {
    let edge = with_keys(&["a b+c/%", "ü"]).await;
    let reply = Call::get("/bkt").query("encoding-type", "url").send(&edge).await.ok();
    assert_eq!(reply.elements("Key"), ["a%20b%2Bc/%25", "%C3%BC"]);
    assert_eq!(reply.element("EncodingType"), "url");
    let reply = Call::get("/bkt")
        .query("encoding-type", "url")
        .query("delimiter", "/")
        .send(&edge)
        .await
        .ok();
    assert_eq!(prefixes(&reply), ["a%20b%2Bc/"]);
}

#[tokio::test]
async fn uploads_are_listed_in_pages() {
    let edge = Edge::with_bucket().await;
    let mut made = Vec::new();
    for key in ["a", "b", "b", "d/1", "d/2"] {
        let reply = Call::post(&format!("/bkt/{key}"))
            .query("uploads", "")
            .send(&edge)
            .await
            .ok();
        made.push((key.to_owned(), reply.element("UploadId")));
    }
    let (mut key, mut id, mut found) = (String::new(), String::new(), Vec::new());
    loop {
        let call = Call::get("/bkt").query("uploads", "").query("max-uploads", "2");
        let page = call
            .query("key-marker", &key)
            .query("upload-id-marker", &id)
            .send(&edge)
            .await
            .ok();
        found.extend(page.elements("Key").into_iter().zip(page.elements("UploadId")));
        if page.element("IsTruncated") != "true" {
            break;
        }
        (key, id) = (page.element("NextKeyMarker"), page.element("NextUploadIdMarker"));
    }
    made.sort();
    found.sort();
    assert_eq!(found, made);
    let folded = Call::get("/bkt")
        .query("uploads", "")
        .query("delimiter", "/")
        .send(&edge)
        .await
        .ok();
    assert_eq!(
        (folded.elements("Key").len(), prefixes(&folded)),
        (3, vec!["d/".to_owned()])
    );
    let owners = folded.elements("Initiator");
    assert!(
        owners.len() == 3 && owners.iter().all(|owner| owner.contains("<ID>main</ID>")),
        "{owners:?}"
    );
}
