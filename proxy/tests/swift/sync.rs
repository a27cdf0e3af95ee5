//! Container sync between two clusters: what is sent, in which time, what becomes of what came from elsewhere, and who may
//! send.

use std::net::SocketAddr;

use clock::WallClock;
use hmac::{Hmac, KeyInit, Mac};
use proxy::http::{Server, Tls};
use proxy::swift::{SwiftOptions, SyncOptions, SyncRealm};
use sha1::Sha1;
use store::{BucketConfig, NodeId, RequestContext, RequestId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::kit::{Call, Edge, Reply, call, delete, get, head, post, put};

const REALM_KEY: &str = "the realm's key";
const KEY: &str = "the containers' key";

/// An address that is known before its edge is, and that can be shut.
struct Door {
    address: SocketAddr,
    leads: watch::Sender<Option<SocketAddr>>,
}

impl Door {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free");
        let address = listener.local_addr().expect("bound");
        let (leads, led) = watch::channel(None);
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let mut led = led.clone();
                tokio::spawn(async move {
                    let Some(target) = *led.borrow_and_update() else { return };
                    let Ok(mut to) = TcpStream::connect(target).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                        _ = led.changed() => {}
                    }
                });
            }
        });
        Self { address, leads }
    }

    fn open(&self, edge: &Edge) {
        self.leads.send_replace(Some(edge.address));
    }

    fn shut(&self) {
        self.leads.send_replace(None);
    }
}

fn options(doors: [&Door; 2]) -> SwiftOptions {
    let endpoint = |door: &Door| format!("http://{}/v1/", door.address);
    SwiftOptions {
        sync: SyncOptions {
            realms: vec![SyncRealm {
                name: "realm".into(),
                key: REALM_KEY.into(),
                key2: Some("an older one".into()),
                clusters: vec![("a".into(), endpoint(doors[0])), ("b".into(), endpoint(doors[1]))],
            }],
            current: Some(("realm".into(), "a".into())),
            hosts: vec!["127.0.0.1".into()],
            key_header: true,
            ..SyncOptions::default()
        },
        ..SwiftOptions::default()
    }
}

/// Two clusters whose containers `/c` are synced with each other.
struct Pair {
    a: Edge,
    b: Edge,
    to_b: Door,
    _to_a: Door,
}

impl Pair {
    async fn new() -> Self {
        let pair = Self::apart().await;
        pair.both_ways("c").await;
        pair
    }

    /// Nothing is synced yet.
    async fn apart() -> Self {
        let (to_a, to_b) = (Door::new().await, Door::new().await);
        let a = Edge::start_with(options([&to_a, &to_b])).await;
        let b = Edge::start_with(options([&to_a, &to_b])).await;
        to_a.open(&a);
        to_b.open(&b);
        Self {
            a,
            b,
            to_b,
            _to_a: to_a,
        }
    }

    async fn both_ways(&self, container: &str) {
        for (edge, other) in [(&self.a, "b"), (&self.b, "a")] {
            put(&format!("/{container}"))
                .header("x-container-sync-to", &format!("//realm/{other}/AUTH_p/{container}"))
                .header("x-container-sync-key", KEY)
                .send(edge)
                .await;
        }
    }

    /// Lets both work until neither has anything left; answers how many changes were dealt with.
    async fn settle(&self) -> usize {
        let mut all = 0;
        loop {
            let done = once(&self.a).await + once(&self.b).await;
            all += done;
            if done == 0 {
                return all;
            }
        }
    }
}

async fn once(edge: &Edge) -> usize {
    edge.edge.sync_once().await.expect("the cluster answers")
}

async fn names(edge: &Edge, container: &str) -> Vec<String> {
    get(&format!("/{container}")).send(edge).await.lines()
}

/// What is told of an object: its time, tag, type and colour.
fn told(reply: &Reply) -> [String; 4] {
    ["x-timestamp", "etag", "content-type", "x-object-meta-colour"].map(|name| reply.header(name).to_owned())
}

fn coloured(path: &str, colour: &str) -> Call {
    put(path)
        .header("content-type", "t/x")
        .header("x-object-meta-colour", colour)
}

/// A node of an older release would apply the same entries to other rows, and its replicas would stop.
#[tokio::test]
async fn no_container_is_synced_while_a_node_runs_an_older_release() {
    let pair = Pair::apart().await;
    put("/c").send(&pair.a).await.is(201);
    let key = || post("/c").header("x-container-sync-key", KEY);
    pair.a.cluster.metadata.set_old_nodes(vec![NodeId(2)]);
    let refused = key().send(&pair.a).await.is(503);
    assert!(refused.text().contains("node 2"), "{}", refused.text());
    pair.a.cluster.metadata.set_old_nodes(Vec::new());
    key().send(&pair.a).await.is(204);
}

#[tokio::test]
async fn what_is_written_on_either_side_is_the_same_on_both() {
    let pair = Pair::new().await;
    let big = vec![b'x'; 300_000];
    coloured("/c/a", "red").body("one").send(&pair.a).await.is(201);
    coloured("/c/b%20%C3%BC?x", "blue")
        .body(&big)
        .send(&pair.a)
        .await
        .is(201);
    coloured("/c/d/e", "green").body("three").send(&pair.b).await.is(201);
    pair.a.pass_seconds(1);
    pair.b.pass_seconds(1);
    assert!(pair.settle().await >= 3);
    for edge in [&pair.a, &pair.b] {
        assert_eq!(names(edge, "c").await, ["a", "b ü", "d/e"]);
    }
    assert_eq!(get("/c/b%20%C3%BC").send(&pair.b).await.is(200).body, big);
    for path in ["/c/a", "/c/b%20%C3%BC", "/c/d/e"] {
        let both = [
            head(path).send(&pair.a).await.is(200),
            head(path).send(&pair.b).await.is(200),
        ];
        assert_eq!(
            told(&both[0]),
            told(&both[1]),
            "{path}: time, tag and metadata are those of the original"
        );
    }
    assert_eq!(pair.settle().await, 0, "what came is not sent back for ever");

    // Metadata, other bytes, and deletions, each on the side where the object was not made.
    post("/c/a")
        .header("x-object-meta-colour", "black")
        .send(&pair.b)
        .await
        .is(202);
    coloured("/c/d/e", "white").body("four").send(&pair.a).await.is(201);
    delete("/c/b%20%C3%BC").send(&pair.b).await.is(204);
    pair.settle().await;
    for edge in [&pair.a, &pair.b] {
        assert_eq!(names(edge, "c").await, ["a", "d/e"]);
        assert_eq!(head("/c/a").send(edge).await.header("x-object-meta-colour"), "black");
        assert_eq!(get("/c/d/e").send(edge).await.text(), "four");
        let stat = head("/c").send(edge).await;
        let counts = (
            stat.header("x-container-object-count"),
            stat.header("x-container-bytes-used"),
        );
        assert_eq!(counts, ("2", "7"));
    }
}

#[tokio::test]
async fn what_was_there_before_is_sent_too_and_again_to_another_place() {
    let pair = Pair::apart().await;
    for container in ["c", "other"] {
        put(&format!("/{container}"))
            .header("x-container-sync-key", KEY)
            .send(&pair.b)
            .await
            .is(201);
    }
    put("/c").send(&pair.a).await.is(201);
    for number in 0..30 {
        put(&format!("/c/o-{number:02}")).body("x").send(&pair.a).await.is(201);
    }
    let to = |container: &str| post("/c").header("x-container-sync-to", &format!("//REALM/B/AUTH_p/{container}"));
    to("c").send(&pair.a).await.is(204);
    assert_eq!(pair.settle().await, 0, "without a key nothing is sent");
    to("c").header("x-container-sync-key", KEY).send(&pair.a).await.is(204);
    assert_eq!(pair.settle().await, 30);
    to("other").send(&pair.a).await.is(204);
    assert_eq!(pair.settle().await, 30);
    for container in ["c", "other"] {
        assert_eq!(names(&pair.b, container).await.len(), 30);
    }
    let shown = head("/c").send(&pair.a).await;
    assert_eq!(shown.header("x-container-sync-to"), "//REALM/B/AUTH_p/other");
    assert_eq!(shown.header("x-container-sync-key"), KEY);
    // Given up: what is written then stays here.
    post("/c")
        .header("x-remove-container-sync-to", "1")
        .send(&pair.a)
        .await
        .is(204);
    put("/c/late").send(&pair.a).await.is(201);
    assert_eq!(pair.settle().await, 0);
    assert_eq!(names(&pair.b, "other").await.len(), 30);
}

#[tokio::test]
async fn manifests_links_and_ends_are_sent_as_what_they_are() {
    let pair = Pair::new().await;
    pair.both_ways("s").await;
    for (name, byte) in [("1", b'1'), ("2", b'2')] {
        put(&format!("/s/big-{name}"))
            .body(vec![byte; 70_000])
            .send(&pair.a)
            .await
            .is(201);
    }
    let manifest = r#"[{"path":"/s/big-1"},{"path":"/s/big-2","range":"0-9"},{"data":"eHl6"}]"#;
    put("/c/slo?multipart-manifest=put")
        .header("content-type", "t/x")
        .body(manifest)
        .send(&pair.a)
        .await
        .is(201);
    put("/c/dlo")
        .header("x-object-manifest", "s/big-")
        .send(&pair.a)
        .await
        .is(201);
    put("/c/link")
        .header("x-symlink-target", "c/slo")
        .send(&pair.a)
        .await
        .is(201);
    let etag = head("/s/big-1").send(&pair.a).await.header("etag").to_owned();
    put("/c/static")
        .header("x-symlink-target", "s/big-1")
        .header("x-symlink-target-etag", &etag)
        .send(&pair.a)
        .await
        .is(201);
    put("/c/ends")
        .header("x-delete-after", "100")
        .body("short")
        .send(&pair.a)
        .await
        .is(201);
    pair.settle().await;
    let of = |path: &'static str| async {
        [
            get(path).send(&pair.a).await.is(200),
            get(path).send(&pair.b).await.is(200),
        ]
    };
    for path in ["/c/slo", "/c/dlo", "/c/link", "/c/static"] {
        let [here, there] = of(path).await;
        assert!(here.body == there.body && !here.body.is_empty(), "{path}");
        assert_eq!(told(&here), told(&there), "{path}");
    }
    let [here, there] = of("/c/slo?multipart-manifest=get").await;
    assert_eq!(here.json(), there.json());
    let [here, there] = of("/c?format=json").await;
    assert_eq!(here.json(), there.json(), "sizes and tags in listings, too");
    let [here, there] = of("/c/static?symlink=get").await;
    assert_eq!(
        here.header("x-symlink-target-etag"),
        there.header("x-symlink-target-etag")
    );
    let [here, there] = of("/c/ends").await;
    assert_eq!(here.header("x-delete-at"), there.header("x-delete-at"));
    for edge in [&pair.a, &pair.b] {
        edge.pass_seconds(101);
        get("/c/ends").send(edge).await.is(404);
    }
}

#[tokio::test]
async fn a_deletion_is_not_undone_by_what_was_on_its_way() {
    let pair = Pair::new().await;
    put("/c/o").body("x").send(&pair.a).await.is(201);
    assert_eq!(once(&pair.a).await, 1);
    // B has the object in its queue now, to be sent to A, when A deletes it.
    pair.a.pass_seconds(1);
    delete("/c/o").send(&pair.a).await.is(204);
    assert_eq!(once(&pair.b).await, 1);
    get("/c/o").send(&pair.a).await.is(404);
    pair.settle().await;
    for edge in [&pair.a, &pair.b] {
        get("/c/o").send(edge).await.is(404);
    }
}

#[tokio::test]
async fn the_newest_of_two_writes_wins_on_both_sides() {
    let pair = Pair::new().await;
    put("/c/o").body("older").send(&pair.a).await.is(201);
    pair.b.pass_seconds(5);
    put("/c/o").body("newer").send(&pair.b).await.is(201);
    pair.settle().await;
    for edge in [&pair.a, &pair.b] {
        assert_eq!(get("/c/o").send(edge).await.text(), "newer");
    }
    // A's clock is behind what it holds; a write there is the newest nevertheless.
    put("/c/o").body("newest").send(&pair.a).await.is(201);
    pair.settle().await;
    for edge in [&pair.a, &pair.b] {
        assert_eq!(get("/c/o").send(edge).await.text(), "newest");
    }
}

#[tokio::test]
async fn an_outage_is_waited_for_and_nothing_is_lost() {
    let pair = Pair::new().await;
    pair.to_b.shut();
    for number in 0..5 {
        put(&format!("/c/o-{number}")).body("x").send(&pair.a).await.is(201);
    }
    delete("/c/o-0").send(&pair.a).await.is(204);
    assert_eq!(once(&pair.a).await, 0);
    pair.to_b.open(&pair.b);
    assert_eq!(once(&pair.a).await, 0, "it is not tried again at once");
    pair.a.pass_seconds(3);
    assert_eq!(once(&pair.a).await, 5);
    assert_eq!(names(&pair.b, "c").await, ["o-1", "o-2", "o-3", "o-4"]);
}

#[tokio::test]
async fn one_object_that_is_refused_does_not_keep_the_others() {
    let pair = Pair::new().await;
    post("/c")
        .header("x-container-meta-quota-bytes", "10")
        .send(&pair.b)
        .await
        .is(204);
    put("/c/a-large").body(vec![b'x'; 20]).send(&pair.a).await.is(201);
    put("/c/b-small").body("x").send(&pair.a).await.is(201);
    assert_eq!(once(&pair.a).await, 1);
    put("/c/c-small").body("x").send(&pair.a).await.is(201);
    assert_eq!(once(&pair.a).await, 1, "what comes later is sent");
    assert_eq!(names(&pair.b, "c").await, ["b-small", "c-small"]);
    post("/c")
        .header("x-container-meta-quota-bytes", "1000")
        .send(&pair.b)
        .await
        .is(204);
    assert_eq!(once(&pair.a).await, 0);
    pair.a.pass_seconds(301);
    assert_eq!(once(&pair.a).await, 1);
    assert_eq!(names(&pair.b, "c").await, ["a-large", "b-small", "c-small"]);
}

#[tokio::test]
async fn a_url_of_an_allowed_host_is_sent_the_key_itself() {
    let pair = Pair::apart().await;
    put("/c")
        .header("x-container-sync-key", KEY)
        .send(&pair.b)
        .await
        .is(201);
    put("/c")
        .header(
            "x-container-sync-to",
            &format!("http://{}/v1/AUTH_p/c", pair.to_b.address),
        )
        .header("x-container-sync-key", KEY)
        .send(&pair.a)
        .await
        .is(201);
    put("/c/o").body("x").send(&pair.a).await.is(201);
    put("/c/gone").body("x").send(&pair.a).await.is(201);
    pair.settle().await;
    delete("/c/gone").send(&pair.a).await.is(204);
    pair.settle().await;
    assert_eq!(names(&pair.b, "c").await, ["o"]);
    // The key without a time, or another key, is nothing.
    let by_key = |key: &str| put("/c/p").anonymous().header("x-container-sync-key", key);
    by_key(KEY).send(&pair.b).await.is(401);
    by_key("another")
        .header("x-timestamp", "1400000000")
        .send(&pair.b)
        .await
        .is(401);
    by_key(KEY)
        .header("x-timestamp", "1400000000")
        .send(&pair.b)
        .await
        .is(201);
    get("/c/o")
        .anonymous()
        .header("x-container-sync-key", KEY)
        .header("x-timestamp", "1")
        .send(&pair.b)
        .await
        .is(401);
}

/// A request as another cluster would sign it.
fn signed(call: Call, method: &str, path: &str, timestamp: &str) -> Call {
    signed_with(call, method, path, timestamp, ("REALM", REALM_KEY, KEY))
}

fn signed_with(
    call: Call,
    method: &str,
    path: &str,
    timestamp: &str,
    (realm, realm_key, key): (&str, &str, &str),
) -> Call {
    let mut mac = Hmac::<Sha1>::new_from_slice(realm_key.as_bytes()).expect("any length");
    mac.update(format!("{method}\n/v1/AUTH_p{path}\n{timestamp}\nnonce\n{key}").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    call.anonymous()
        .header("x-container-sync-auth", &format!("{realm} nonce {signature}"))
        .header("x-timestamp", timestamp)
}

#[tokio::test]
async fn sec_1_only_who_has_both_keys_may_send() {
    let pair = Pair::apart().await;
    let edge = &pair.b;
    put("/c").header("x-container-sync-key", KEY).send(edge).await.is(201);
    put("/keyless").send(edge).await.is(201);
    put("/c/o").body("kept").send(edge).await.is(201);
    let old = "1400000000.00000";
    let with = |names| signed_with(put("/c/n").body("x"), "PUT", "/c/n", old, names);
    for names in [
        ("REALM", "wrong", KEY),
        ("REALM", REALM_KEY, "wrong"),
        ("OTHER", REALM_KEY, KEY),
        ("REALM", "", KEY),
        ("REALM", REALM_KEY, ""),
    ] {
        let refused = with(names).send(edge).await.is(401);
        assert!(
            refused
                .header("www-authenticate")
                .starts_with("SwiftContainerSync realm="),
            "{names:?}"
        );
    }
    with(("realm", "an older one", KEY)).send(edge).await.is(201);
    delete("/c/n").send(edge).await.is(204);
    // Another method, path or time than the one that was signed; and what nobody can sign.
    signed(delete("/c/o"), "PUT", "/c/o", old).send(edge).await.is(401);
    signed(put("/c/n"), "PUT", "/c/o", old).send(edge).await.is(401);
    signed(put("/c/n"), "PUT", "/c/n", old)
        .header("x-timestamp", "1")
        .send(edge)
        .await;
    for auth in ["", "REALM", "REALM nonce", "REALM nonce zz", "REALM nonce 00 more"] {
        put("/c/n")
            .header("x-container-sync-auth", auth)
            .send(edge)
            .await
            .is(401);
    }
    signed(put("/keyless/n"), "PUT", "/keyless/n", old)
        .send(edge)
        .await
        .is(401);
    signed(put("/none/n"), "PUT", "/none/n", old).send(edge).await.is(401);
    for (method, path) in [
        ("GET", "/c/o"),
        ("POST", "/c/o"),
        ("COPY", "/c/o"),
        ("GET", "/c"),
        ("DELETE", "/c"),
        ("PUT", "/d"),
        ("GET", ""),
    ] {
        signed(call(method, path), method, path, old).send(edge).await.is(401);
    }
    // A token beside it makes a wrong signature no better.
    put("/c/n")
        .header("x-container-sync-auth", "REALM nonce 00")
        .send(edge)
        .await
        .is(401);
    for header in ["x-copy-from", "if-none-match", "if-match"] {
        signed(put("/c/n"), "PUT", "/c/n", old)
            .header(header, "c/o")
            .send(edge)
            .await
            .is(400);
    }
    signed(put("/c/n?multipart-manifest=put").body("[]"), "PUT", "/c/n", old)
        .send(edge)
        .await
        .is(400);
    signed(delete("/c/o?version-id=null"), "DELETE", "/c/o", old)
        .send(edge)
        .await
        .is(400);
    assert_eq!(names(edge, "c").await, ["o"]);
    assert_eq!(get("/c/o").send(edge).await.text(), "kept");
}

#[tokio::test]
async fn a_clients_own_time_is_honoured_for_container_sync_only() {
    let pair = Pair::apart().await;
    let edge = &pair.b;
    put("/c").header("x-container-sync-key", KEY).send(edge).await.is(201);
    let write = |at: &str| signed(put("/c/o").body(at), "PUT", "/c/o", at);
    // Deletions are remembered for a week, so the times are of this hour.
    let began = edge.cluster.clock.now_ms() / 1000 - 1000;
    let at = |second: u64, fraction: &str| format!("{}{fraction}", began + second);
    let made = write(&at(0, ".12345")).send(edge).await.is(201);
    assert_eq!(made.header("x-timestamp"), at(0, ".12300"));
    let seen = head("/c/o").send(edge).await;
    assert_eq!(seen.header("x-timestamp"), at(0, ".12300"));
    // Swift: an older or equal time is accepted, and nothing is done.
    write("1400000000").send(edge).await.is(202);
    write(&at(0, ".12345")).send(edge).await.is(202);
    assert_eq!(get("/c/o").send(edge).await.text(), at(0, ".12345"));
    let end = |at: &str| signed(delete("/c/o"), "DELETE", "/c/o", at);
    end(&at(0, ".1")).send(edge).await.is(409);
    let seen = signed(head("/c/o"), "HEAD", "/c/o", "1").send(edge).await.is(200);
    assert_eq!(seen.header("x-timestamp"), at(0, ".12300"));
    end(&at(1, "")).send(edge).await.is(204);
    end(&at(2, "")).send(edge).await.is(404);
    write(&at(1, ".5")).send(edge).await.is(202);
    get("/c/o").send(edge).await.is(404);
    write(&at(3, "_0000000000000001")).send(edge).await.is(400);
    write(&at(3, ".00000_0000000000000001")).send(edge).await.is(201);
    for bad in [
        "soon",
        "-1",
        "0",
        "1e12",
        "99999999999",
        "9999999999",
        "1.2.3",
        "1500000004,5",
    ] {
        signed(put("/c/bad"), "PUT", "/c/bad", bad).send(edge).await.is(400);
    }
    get("/c/bad").send(edge).await.is(404);
    // Whoever has a token only gets the shard's time.
    let made = put("/c/p")
        .header("x-timestamp", "1400000000")
        .body("x")
        .send(edge)
        .await
        .is(201);
    assert!(!made.header("x-timestamp").starts_with("1400000000"));
}

#[tokio::test]
async fn sec_1_https_is_spoken_to_whom_a_known_authority_vouches_for() {
    let realm = |endpoint: String| SyncOptions {
        realms: vec![SyncRealm {
            name: "realm".into(),
            key: REALM_KEY.into(),
            key2: None,
            clusters: vec![("b".into(), endpoint)],
        }],
        ..SyncOptions::default()
    };
    let with = |sync: SyncOptions| SwiftOptions {
        sync,
        ..SwiftOptions::default()
    };
    let b = Edge::start_with(with(realm("http://nowhere/v1/".into()))).await;
    let (chain, key) = Tls::generate(vec!["localhost".to_owned()]).expect("made");
    let tls = Tls::from_pem(chain.as_bytes(), key.as_bytes()).expect("usable");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(any, Some(tls)).await.expect("port 0 is free");
    let endpoint = format!("https://localhost:{}/v1/", server.local_addr().port());
    tokio::spawn(server.run(b.edge.clone(), std::future::pending()));
    let folder = tempfile::tempdir().expect("a folder");
    let authorities = folder.path().join("ca.pem");
    std::fs::write(&authorities, &chain).expect("written");
    put("/c").header("x-container-sync-key", KEY).send(&b).await.is(201);
    for (known, sent) in [(Some(authorities), 1), (None, 0)] {
        let sync = SyncOptions {
            authorities: known,
            ..realm(endpoint.clone())
        };
        let a = Edge::start_with(with(sync)).await;
        put("/c")
            .header("x-container-sync-to", "//realm/b/AUTH_p/c")
            .header("x-container-sync-key", KEY)
            .send(&a)
            .await
            .is(201);
        put(&format!("/c/o-{sent}")).body("x").send(&a).await.is(201);
        assert_eq!(once(&a).await, sent);
    }
    assert_eq!(names(&b, "c").await, ["o-1"]);
}

#[tokio::test]
async fn settings_that_lead_nowhere_are_refused() {
    let pair = Pair::apart().await;
    let edge = &pair.a;
    put("/c").send(edge).await.is(201);
    for bad in [
        "//realm/b/AUTH_p",
        "//other/b/AUTH_p/c",
        "//realm/x/AUTH_p/c",
        "http://elsewhere/v1/a/c",
        "ftp://127.0.0.1/v1/a/c",
    ] {
        post("/c").header("x-container-sync-to", bad).send(edge).await.is(400);
        put("/new").header("x-container-sync-to", bad).send(edge).await.is(400);
    }
    get("/new").send(edge).await.is(404);
    let to = "//realm/b/AUTH_p/c";
    let source = |call: Call| {
        call.header("x-container-sync-to", to)
            .header("x-container-sync-key", KEY)
    };
    source(put("/versions"))
        .header("x-versions-enabled", "true")
        .send(edge)
        .await
        .is(400);
    put("/versions")
        .header("x-versions-enabled", "true")
        .send(edge)
        .await
        .is(202);
    source(post("/versions")).send(edge).await.is(400);
    source(post("/c")).send(edge).await.is(204);
    post("/c").header("x-versions-enabled", "true").send(edge).await.is(400);
    // Only owners see and set it.
    post("/c").header("x-container-read", "q:*").send(edge).await.is(204);
    let seen = head("/c").by("other").send(edge).await.is(204);
    assert_eq!(
        (seen.header("x-container-sync-to"), seen.header("x-container-sync-key")),
        ("", "")
    );
    let info = get("").target("/info").anonymous().send(edge).await.json();
    assert_eq!(
        info["container_sync"]["realms"]["REALM"]["clusters"]["A"]["current"],
        true
    );
    assert!(info["container_sync"]["realms"]["REALM"]["clusters"]["B"].is_object());
    assert!(!info.to_string().contains(REALM_KEY));
}

#[tokio::test]
async fn a_container_that_ends_leaves_nothing_behind() {
    let pair = Pair::new().await;
    pair.to_b.shut();
    for number in 0..3 {
        put(&format!("/c/o-{number}")).send(&pair.a).await.is(201);
        delete(&format!("/c/o-{number}")).send(&pair.a).await.is(204);
    }
    let cx = || RequestContext::new(RequestId::new(1, 1), "p".into(), std::time::Duration::from_secs(5));
    let bucket = pair.a.cluster.store.bucket(&cx(), "c").await.expect("there");
    let place = (bucket.info.shard, bucket.info.id);
    let store = &pair.a.cluster.store;
    assert_eq!(store.changes(&cx(), place, None, 10).await.expect("asked").0.len(), 3);
    let (config, _) = store.bucket_state(&cx(), &bucket).await.expect("asked");
    assert!(config.documents.contains_key(BucketConfig::NOTE_CHANGES));
    delete("/c").send(&pair.a).await.is(204);
    pair.a.pass_seconds(3700);
    once(&pair.a).await;
    assert!(store.changes(&cx(), place, None, 10).await.expect("asked").0.is_empty());
    let left = store.list_records(&cx(), "swift-sync", None, 10).await.expect("asked");
    assert!(left.0.is_empty());
}
