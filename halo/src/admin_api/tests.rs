//! The API from outside, over a socket, on top of a cluster in which nobody answers.

use std::ops::Range;
use std::sync::OnceLock;

use ::identity::policy::Action;
use ::identity::token::{DomainRef, ProjectRef, ROLE_ADMIN, ROLE_READER, Scope, StaticTokens, TokenContext};
use clock::{ManualClock, SeededDice};
use http::{Request, StatusCode};
use metadata::command::Command;
use metadata::ids::{RequestId, ShardId};
use metadata::model::PolicyId;
use metadata::query::{Answer, Query};
use metadata::reply::Reply;
use ring::Ring;
use storage_node::client::{BlobError, DataPlane, MetadataPlane, PlaneError};
use storage_node::device::{Blob, BlobHeader, BlobKey, BlobSlice};
use store::StoreOptions;
use url::Url;

use super::model::{NewKey, Status};
use super::routes::ROUTES;
use super::*;
use crate::admin::client::{AdminClient, AdminError};
use crate::client::connection::{Connection, Keep, Target};
use crate::client::payload::Payload;

const TOKEN: &str = "the right token";

/// A cluster in which nobody answers.
struct Silent;

#[async_trait]
impl MetadataPlane for Silent {
    async fn propose(&self, shard: ShardId, _: RequestId, _: Command, _: Duration) -> Result<Reply, PlaneError> {
        Err(PlaneError::Unavailable {
            shard,
            reason: "nobody answers".into(),
        })
    }

    async fn query(&self, shard: ShardId, _: Query, _: Duration) -> Result<Answer, PlaneError> {
        Err(PlaneError::Unavailable {
            shard,
            reason: "nobody answers".into(),
        })
    }

    fn query_system_copy(&self, _: &Query) -> Option<Answer> {
        None
    }

    fn key_shards(&self) -> u64 {
        2
    }

    async fn settle_system_copies(&self) {}
}

#[async_trait]
impl DataPlane for Silent {
    fn ring(&self, _: PolicyId) -> Option<Arc<Ring>> {
        None
    }

    fn writable(&self, _: DeviceId) -> bool {
        false
    }

    fn local(&self, _: DeviceId) -> bool {
        false
    }

    async fn put_blob(&self, device: DeviceId, _: Blob, _: Duration) -> Result<(), BlobError> {
        Err(BlobError::Absent(device))
    }

    async fn read_blob(
        &self,
        device: DeviceId,
        _: BlobKey,
        _: Range<u32>,
        _: Duration,
    ) -> Result<BlobSlice, BlobError> {
        Err(BlobError::Absent(device))
    }

    async fn stat_blob(&self, device: DeviceId, _: BlobKey, _: Duration) -> Result<Option<BlobHeader>, BlobError> {
        Err(BlobError::Absent(device))
    }

    async fn remove_blobs(&self, device: DeviceId, _: Vec<BlobKey>, _: Duration) -> Result<(), BlobError> {
        Err(BlobError::Absent(device))
    }
}

#[async_trait]
impl Operator for Silent {
    async fn reports(&self) -> BTreeMap<NodeId, Result<NodeStatus, String>> {
        BTreeMap::from([(NodeId(1), Err("nobody answers".to_owned()))])
    }

    async fn own_report(&self) -> Option<NodeStatus> {
        None
    }

    async fn tell(&self, node: NodeId, _: &AdminCall, _: Duration) -> Result<String, String> {
        Err(format!("node {node} cannot be reached"))
    }

    async fn device_failed(&self, device: DeviceId, _: bool) -> Result<String, String> {
        Err(format!("no ring names device {device}"))
    }

    async fn rebuild_index(&self, device: DeviceId) -> Result<String, String> {
        Err(format!("no ring names device {device}"))
    }

    async fn approve_orphans(&self, device: DeviceId) -> Result<String, String> {
        Err(format!("no ring names device {device}"))
    }
}

#[async_trait]
impl Readiness for Silent {
    async fn missing(&self) -> Option<String> {
        Some("no ring is known yet".to_owned())
    }
}

/// Tokens of an administrator, of somebody who reads the whole system, and of an admin and a reader of some project.
fn tokens() -> StaticTokens {
    let domain = || DomainRef {
        id: "default".into(),
        name: "Default".into(),
    };
    let project = || {
        Scope::Project(ProjectRef {
            id: "p".into(),
            name: "p".into(),
            domain: domain(),
        })
    };
    let who = TokenContext::vouched;
    StaticTokens::default()
        .with("admin", who("admin", Scope::System, &[ROLE_ADMIN, ROLE_READER]))
        .with("system-reader", who("rita", Scope::System, &[ROLE_READER]))
        .with(
            "domain-admin",
            who("dora", Scope::Domain(domain()), &[ROLE_ADMIN, ROLE_READER]),
        )
        .with("other-project", who("otto", project(), &[ROLE_ADMIN, ROLE_READER]))
        .with("reader", who("rob", project(), &[ROLE_READER]))
}

fn parts() -> AdminParts {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    let metrics = METRICS.get_or_init(|| {
        metrics_exporter_prometheus::PrometheusBuilder::new()
            .install_recorder()
            .expect("the only recorder")
    });
    let planes = Planes {
        metadata: Arc::new(Silent),
        data: Arc::new(Silent),
    };
    let clock: Arc<dyn WallClock> = Arc::new(ManualClock::at(5));
    let dice: Arc<dyn Dice> = Arc::new(SeededDice::new(1));
    let cluster = ClusterId(1);
    let store = Store::new(planes.clone(), clock.clone(), dice.clone(), StoreOptions::new(cluster));
    AdminParts {
        cluster,
        token: Secret::new(TOKEN.into()),
        planes,
        directory: Arc::new(Directory::new(store.clone(), clock.clone(), dice.clone(), &[7; 32])),
        identity: Arc::new(::identity::Identity::new(
            store.clone(),
            clock.clone(),
            dice.clone(),
            &[7; 32],
            ::identity::IdentityOptions::default(),
        )),
        store,
        tokens: Arc::new(tokens()),
        operator: Arc::new(Silent),
        readiness: Arc::new(Silent),
        metrics: metrics.clone(),
        clock,
        dice,
    }
}

async fn start() -> SocketAddr {
    let listener = bind("127.0.0.1:0".parse().expect("an address"))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(serve(listener, parts(), std::future::pending()));
    address
}

fn client(address: SocketAddr, token: &str) -> AdminClient {
    let url = Url::parse(&format!("http://{address}")).expect("a URL");
    AdminClient::new(vec![url], Secret::new(token.into()))
}

async fn get(address: SocketAddr, path: &str) -> (StatusCode, String) {
    send(address, "GET", path, None).await
}

async fn send(address: SocketAddr, method: &str, path: &str, header: Option<(&str, &str)>) -> (StatusCode, String) {
    let authority = address.to_string();
    let target = Target {
        address: authority.clone(),
        authority: authority.clone(),
        tls: None,
    };
    let mut request = Request::builder().method(method).uri(path).header("host", authority);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let request = request.body(Payload::empty()).expect("valid");
    let answer = Connection::to(target)
        .send(request, Keep::Everything)
        .await
        .expect("answered");
    (answer.status, String::from_utf8(answer.body).expect("text"))
}

fn refused<T: std::fmt::Debug>(result: Result<T, AdminError>) -> (StatusCode, String) {
    match result {
        Err(AdminError::Refused { status, message }) => (status, message),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn health_readiness_and_metrics_need_no_token() {
    let address = start().await;
    assert_eq!(get(address, "/healthz").await, (StatusCode::OK, "ok\n".into()));
    assert_eq!(
        get(address, "/readyz").await,
        (StatusCode::SERVICE_UNAVAILABLE, "no ring is known yet\n".into())
    );
    let (status, text) = get(address, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("process_resident_memory_bytes"), "{text}");
}

#[tokio::test]
async fn sec_1_nothing_else_opens_without_the_token() {
    let address = start().await;
    for path in [
        "/v1/status",
        "/v1/keys",
        "/v1/projects",
        "/v1/buckets",
        "/v1/no-such-thing",
        "/",
    ] {
        assert_eq!(get(address, path).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    for wrong in ["", "the right toke", "the right tokens", "the wrong token"] {
        let asked = client(address, wrong).get::<Status>("/v1/status").await;
        assert_eq!(refused(asked).0, StatusCode::UNAUTHORIZED, "{wrong:?}");
    }
}

/// Every endpoint against those who may not use it: nobody, somebody of a project, somebody who only reads.
#[tokio::test]
async fn sec_1_every_endpoint_asks_the_policy() {
    let address = start().await;
    for route in ROUTES {
        let filled = |part: &str| {
            if part.starts_with('{') {
                "1".to_owned()
            } else {
                part.to_owned()
            }
        };
        let path = route.path.split('/').map(filled).collect::<Vec<_>>().join("/");
        let method = route.method.to_uppercase();
        let ask = async |header: &str, value: &str| {
            let status = send(address, &method, &path, Some((header, value))).await.0;
            let verdict = match status {
                StatusCode::UNAUTHORIZED => "who?",
                StatusCode::FORBIDDEN => "no",
                _ => "yes",
            };
            format!("{method} {path} {value}: {verdict}")
        };
        let is = |value: &str, verdict: &str| format!("{method} {path} {value}: {verdict}");
        let open = route.action == Action::ClusterOpen;
        let reads = route.action == Action::ClusterRead;
        let otherwise = |verdict| if open { "yes" } else { verdict };
        assert!(
            reads || open || method != "GET",
            "{path} is asked for with GET and changes something"
        );
        for (header, forged) in [
            ("x-nothing", ""),
            ("authorization", "Bearer wrong"),
            ("x-auth-token", "forged"),
        ] {
            assert_eq!(ask(header, forged).await, is(forged, otherwise("who?")));
        }
        for nobody in ["other-project", "reader", "domain-admin"] {
            assert_eq!(ask("x-auth-token", nobody).await, is(nobody, otherwise("no")));
        }
        let by_reading = if reads { "yes" } else { "no" };
        assert_eq!(
            ask("x-auth-token", "system-reader").await,
            is("system-reader", otherwise(by_reading))
        );
        assert_eq!(ask("x-auth-token", "admin").await, is("admin", "yes"));
        let operator = format!("Bearer {TOKEN}");
        assert_eq!(ask("authorization", &operator).await, is(&operator, "yes"));
    }
}

#[tokio::test]
async fn heal_1_a_silent_cluster_is_not_called_healthy() {
    let address = start().await;
    let status: Status = client(address, TOKEN).get("/v1/status").await.expect("answered");
    assert!(!status.healthy);
    assert_eq!(status.short_chunks, None);
    assert_eq!(status.shards.len(), 3, "the system shard and two key shards");
    assert_eq!(status.nodes[0].problem.as_deref(), Some("nobody answers"));
}

#[tokio::test]
async fn refusals_are_sentences() {
    let address = start().await;
    let client = client(address, TOKEN);
    let half = NewKey {
        project: "p".into(),
        description: String::new(),
        access_key: Some("A".into()),
        secret_key: None,
    };
    let (status, sentence) = refused(client.post::<serde_json::Value>("/v1/keys", &half).await);
    assert_eq!(
        (status, sentence.as_str()),
        (
            StatusCode::BAD_REQUEST,
            "give both access_key and secret_key, or neither"
        )
    );

    let (status, sentence) = refused(
        client
            .post::<serde_json::Value>("/v1/keys", &serde_json::json!({}))
            .await,
    );
    assert!(
        status.is_client_error() && sentence.contains("project"),
        "{status} {sentence}"
    );

    let none = serde_json::json!({});
    let (status, sentence) = refused(
        client
            .post::<serde_json::Value>("/v1/devices/nine/rebuild-index", &none)
            .await,
    );
    assert_eq!(
        (status, sentence.as_str()),
        (StatusCode::BAD_REQUEST, "nine is not the number of a device")
    );

    let (status, sentence) = refused(
        client
            .post::<serde_json::Value>("/v1/devices/9/rebuild-index", &none)
            .await,
    );
    assert_eq!(
        (status, sentence.as_str()),
        (StatusCode::CONFLICT, "no ring names device 9")
    );

    assert_eq!(
        refused(client.get::<Status>("/v1/no-such-thing").await).0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        refused(client.get::<Status>("/v1/buckets").await).0,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn a_second_endpoint_is_asked_when_the_first_is_gone() {
    let gone = {
        let listener = bind("127.0.0.1:0".parse().expect("an address"))
            .await
            .expect("a free port");
        listener.local_addr().expect("bound")
    };
    let urls = [gone, start().await].map(|address| Url::parse(&format!("http://{address}")).expect("a URL"));
    let client = AdminClient::new(urls.to_vec(), Secret::new(TOKEN.into()));
    client
        .get::<Status>("/v1/status")
        .await
        .expect("answered by the second");
}
