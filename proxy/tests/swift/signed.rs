//! SEC-1: signed URLs and forms; archives; web sites.

use clock::WallClock;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::kit::{Edge, call, get, post, put};

fn sign(key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

async fn keyed() -> (Edge, u64) {
    let edge = Edge::with_container().await;
    post("")
        .header("x-account-meta-temp-url-key", "account")
        .send(&edge)
        .await
        .is(204);
    post("/c")
        .header("x-container-meta-temp-url-key-2", "container")
        .send(&edge)
        .await
        .is(204);
    put("/c/o")
        .header("x-object-meta-secret", "s")
        .header("x-object-meta-public-a", "1")
        .body("bytes")
        .send(&edge)
        .await
        .is(201);
    let expires = edge.cluster.clock.now_ms() / 1000 + 100;
    (edge, expires)
}

#[tokio::test]
async fn sec_1_a_signed_url_does_one_thing_for_a_while() {
    let (edge, expires) = keyed().await;
    for key in ["account", "container"] {
        let signature = sign(key, &format!("GET\n{expires}\n/v1/AUTH_p/c/o"));
        let query = format!("?temp_url_sig={signature}&temp_url_expires={expires}");
        let got = get(&format!("/c/o{query}")).anonymous().send(&edge).await.is(200);
        assert_eq!(
            (
                got.text().as_str(),
                got.header("x-object-meta-secret"),
                got.header("x-object-meta-public-a")
            ),
            ("bytes", "", "1")
        );
        assert!(
            got.header("content-disposition")
                .starts_with("attachment; filename=\"o\"")
        );
        call("HEAD", &format!("/c/o{query}"))
            .anonymous()
            .send(&edge)
            .await
            .is(200);
        put(&format!("/c/o{query}"))
            .anonymous()
            .body("other")
            .send(&edge)
            .await
            .is(401);
        get(&format!("/c/other{query}")).anonymous().send(&edge).await.is(401);
        let named = get(&format!("/c/o{query}&filename=x.txt&inline"))
            .anonymous()
            .send(&edge)
            .await
            .is(200);
        assert!(
            named
                .header("content-disposition")
                .starts_with("inline; filename=\"x.txt\"")
        );
    }
    let old = sign("account", "GET\n1000\n/v1/AUTH_p/c/o");
    get(&format!("/c/o?temp_url_sig={old}&temp_url_expires=1000"))
        .anonymous()
        .send(&edge)
        .await
        .is(401);
    let signature = sign("account", &format!("PUT\n{expires}\n/v1/AUTH_p/c/n"));
    let path = format!("/c/n?temp_url_sig={signature}&temp_url_expires={expires}");
    put(&path)
        .anonymous()
        .header("x-object-manifest", "c/o")
        .body("")
        .send(&edge)
        .await
        .is(400);
    put(&path).anonymous().body("new").send(&edge).await.is(201);
    edge.pass_seconds(101);
    put(&path).anonymous().body("late").send(&edge).await.is(401);
    assert_eq!(get("/c/n").send(&edge).await.text(), "new");
}

#[tokio::test]
async fn sec_1_prefixes_and_addresses() {
    let (edge, expires) = keyed().await;
    put("/c/dir/x").body("in").send(&edge).await.is(201);
    let signature = sign("account", &format!("GET\n{expires}\nprefix:/v1/AUTH_p/c/dir/"));
    let query = format!("?temp_url_sig={signature}&temp_url_expires={expires}&temp_url_prefix=dir/");
    get(&format!("/c/dir/x{query}")).anonymous().send(&edge).await.is(200);
    get(&format!("/c/o{query}")).anonymous().send(&edge).await.is(401);
    for (range, status) in [("127.0.0.0/8", 200), ("10.0.0.0/8", 401)] {
        let signature = sign("account", &format!("ip={range}\nGET\n{expires}\n/v1/AUTH_p/c/o"));
        let query = format!("?temp_url_sig={signature}&temp_url_expires={expires}&temp_url_ip_range={range}");
        get(&format!("/c/o{query}")).anonymous().send(&edge).await.is(status);
    }
}

#[tokio::test]
async fn sec_1_a_signed_form_uploads_below_its_path() {
    let (edge, expires) = keyed().await;
    let form = |signature: &str, count: usize| {
        let mut body = String::new();
        for (name, value) in [
            ("redirect", ""),
            ("max_file_size", "10"),
            ("max_file_count", "2"),
            ("expires", &expires.to_string()),
            ("signature", signature),
        ] {
            body.push_str(&format!(
                "--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            ));
        }
        for at in 0..count {
            body.push_str(&format!("--XX\r\nContent-Disposition: form-data; name=\"f{at}\"; filename=\"{at}.txt\"\r\nContent-Type: text/plain\r\n\r\nfile {at}\r\n"));
        }
        body.push_str("--XX--\r\n");
        call("POST", "/c/up-")
            .anonymous()
            .header("content-type", "multipart/form-data; boundary=XX")
            .body(body)
    };
    let signature = sign("account", &format!("/v1/AUTH_p/c/up-\n\n10\n2\n{expires}"));
    form(&signature, 2).send(&edge).await.is(201);
    assert_eq!(get("/c/up-1.txt").send(&edge).await.is(200).text(), "file 1");
    form(&sign("wrong", "x"), 1).send(&edge).await.is(401);
    form(&signature, 3).send(&edge).await.is(400);
    form(&signature, 0).send(&edge).await.is(400);
    edge.pass_seconds(101);
    form(&signature, 1).send(&edge).await.is(401);
}

#[tokio::test]
async fn a_web_site_has_an_index_listings_and_error_pages() {
    let edge = Edge::with_container().await;
    post("/c")
        .header("x-container-read", ".r:*,.rlistings")
        .header("x-container-meta-web-index", "index.html")
        .header("x-container-meta-web-error", "error.html")
        .header("x-container-meta-web-listings", "true")
        .send(&edge)
        .await
        .is(204);
    put("/c/index.html").body("home").send(&edge).await.is(201);
    put("/c/404error.html").body("lost").send(&edge).await.is(201);
    put("/c/dir/x").body("x").send(&edge).await.is(201);
    let visit = |path: &str| get(path).anonymous();
    assert_eq!(visit("/c/").send(&edge).await.is(200).text(), "home");
    assert!(
        visit("/c")
            .send(&edge)
            .await
            .is(301)
            .header("location")
            .ends_with("/v1/AUTH_p/c/")
    );
    assert!(
        visit("/c/dir")
            .send(&edge)
            .await
            .is(301)
            .header("location")
            .ends_with("/c/dir/")
    );
    assert!(
        visit("/c/dir/")
            .send(&edge)
            .await
            .is(200)
            .text()
            .contains("<a href=\"./x\">x</a>")
    );
    assert_eq!(visit("/c/none").send(&edge).await.is(404).text(), "lost");
    assert_eq!(
        get("/c").send(&edge).await.is(200).lines().len(),
        3,
        "with a token it is a listing"
    );
}

#[tokio::test]
async fn an_archive_becomes_objects() {
    let edge = Edge::with_container().await;
    let mut block = vec![0; 512];
    block[..8].copy_from_slice(b"dir/file");
    block[124..135].copy_from_slice(b"00000000005");
    block[156] = b'0';
    block[148..156].copy_from_slice(b"        ");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block.extend_from_slice(b"bytes");
    block.resize(2048, 0);
    let report = put("/c/up?extract-archive=tar")
        .header("accept", "application/json")
        .body(&block)
        .send(&edge)
        .await
        .is(200)
        .json();
    assert_eq!(
        (&report["Number Files Created"], &report["Response Status"]),
        (&1.into(), &"201 Created".into())
    );
    assert_eq!(get("/c/up/dir/file").send(&edge).await.is(200).text(), "bytes");
    put("?extract-archive=tar")
        .header("accept", "application/json")
        .body(&block)
        .send(&edge)
        .await
        .is(200);
    assert_eq!(get("/dir/file").send(&edge).await.is(200).text(), "bytes");
    let report = put("/c?extract-archive=tar")
        .header("accept", "application/json")
        .body(&block[..600])
        .send(&edge)
        .await
        .is(200)
        .json();
    assert_eq!(report["Response Status"], "400 Bad Request");
    put("/c?extract-archive=tar.xz").body(&block).send(&edge).await.is(400);
}
