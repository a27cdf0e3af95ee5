//! Counts and bytes never drift: after a random load of everything that changes them, a recount of all rows finds the same.

use proxy::swift::SwiftOptions;
use store::{ListObjects, ListVersions, VersionFound};

use crate::kit::{Call, Edge, Reply, call, delete, get, head, post, put};

/// Requests of one load.
const STEPS: usize = 400;
/// So few names that most requests meet something.
const NAMES: u64 = 6;
const CONTAINERS: [&str; 4] = ["plain", "versioned", "stacked", "history"];

/// A small generator: the load is the same each time.
struct Load(u64);

impl Load {
    fn pick(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn container(&mut self) -> &'static str {
        CONTAINERS[usize::try_from(self.pick(4)).expect("four")]
    }

    fn object(&mut self) -> String {
        format!("/{}/o-{}", self.container(), self.pick(NAMES))
    }

    /// Bodies inside the row and outside of it.
    fn body(&mut self) -> Vec<u8> {
        let length = [0, 5, 4096, 5000, 70_000][usize::try_from(self.pick(5)).expect("five")];
        vec![b'x'; length]
    }

    /// A version of a name that has some.
    async fn version(&mut self, edge: &Edge) -> Option<String> {
        let rows = get("/versioned?versions&format=json").send(edge).await.is(200).json();
        let rows = rows.as_array().expect("a list").clone();
        let at = usize::try_from(self.pick(rows.len().max(1) as u64)).expect("a few");
        let row = rows.get(at)?;
        let (name, id) = (row["name"].as_str()?, row["version_id"].as_str()?);
        Some(format!("/versioned/{name}?version-id={id}"))
    }

    async fn step(&mut self, edge: &Edge) -> Reply {
        let object = self.object();
        let call: Call = match self.pick(12) {
            0..=2 => put(&object).body(self.body()),
            3 => put(&object).header("x-delete-after", "5").body(self.body()),
            4 => post(&object).header("x-object-meta-a", "b").body(""),
            5 => delete(&object),
            6 => call("COPY", &object).header("destination", &self.object()[1..]),
            7 => {
                let names: Vec<String> = (0..3).map(|_| self.object()).collect();
                post("?bulk-delete").body(names.join("\n"))
            }
            8 => match self.version(edge).await {
                Some(version) => delete(&version),
                None => get("/versioned"),
            },
            9 => {
                let manifest = format!(
                    r#"[{{"path":"/segments/s"}},{{"path":"/segments/s","range":"1-{}"}}]"#,
                    1 + self.pick(3)
                );
                put(&format!("{object}?multipart-manifest=put")).body(manifest)
            }
            10 => put(&object).header("content-length", "99999").body("cut"),
            _ => put("?extract-archive=tar").body(archive(&object[1..], self.pick(2000))),
        };
        call.send(edge).await
    }
}

/// An archive of one file.
fn archive(name: &str, length: u64) -> Vec<u8> {
    let length = usize::try_from(length).expect("small");
    let mut bytes = vec![0; 512];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes[124..135].copy_from_slice(format!("{length:011o}").as_bytes());
    bytes[156] = b'0';
    bytes[148..156].copy_from_slice(b"        ");
    let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
    bytes[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    bytes.resize(512 + length.next_multiple_of(512), b'y');
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Objects and bytes of a container, counted row by row.
async fn recount(edge: &Edge, container: &str) -> (u64, u64) {
    let (store, cx) = (&edge.cluster.store, edge.cluster.request_of("p"));
    let bucket = store.bucket(&cx, container).await.expect("it is there");
    let list = ListObjects {
        limit: 1000,
        ..ListObjects::default()
    };
    let objects = store.list_objects(&cx, &bucket, list).await.expect("it answers");
    assert!(!objects.more, "the load is small");
    let mut list = ListVersions {
        limit: 1000,
        ..ListVersions::default()
    };
    let mut bytes = 0;
    loop {
        let page = store
            .list_versions(&cx, &bucket, list.clone())
            .await
            .expect("it answers");
        for (key, version) in &page.entries {
            let seq = match version {
                VersionFound::Object { object, .. } => {
                    bytes += object.size;
                    object.seq
                }
                VersionFound::Marker { marker, .. } => marker.seq,
            };
            (list.after, list.after_version) = (Some(key.clone()), Some(seq));
        }
        if !page.more {
            return (objects.entries.len() as u64, bytes);
        }
    }
}

async fn compare(edge: &Edge, step: usize) {
    let (mut all_objects, mut all_bytes) = (0, 0);
    for container in CONTAINERS.into_iter().chain(["archive", "segments"]) {
        let told = head(&format!("/{container}")).send(edge).await.is(204);
        let told = |name: &str| told.header(name).parse::<u64>().expect("a number");
        let (objects, bytes) = recount(edge, container).await;
        assert_eq!(told("x-container-object-count"), objects, "{container} after {step}");
        assert_eq!(told("x-container-bytes-used"), bytes, "{container} after {step}");
        all_objects += objects;
        all_bytes += bytes;
    }
    let told = head("").send(edge).await.is(204);
    assert_eq!(told.header("x-account-object-count"), all_objects.to_string());
    assert_eq!(told.header("x-account-bytes-used"), all_bytes.to_string());
}

#[tokio::test]
async fn con_2_counts_are_those_of_a_recount_after_any_load() {
    let impatient = SwiftOptions {
        body_idle: std::time::Duration::from_millis(50),
        ..SwiftOptions::default()
    };
    let edge = Edge::start_with(impatient).await;
    for (name, header, value) in [
        ("plain", "x-container-meta-a", "b"),
        ("segments", "x-container-meta-a", "b"),
        ("archive", "x-container-meta-a", "b"),
        ("versioned", "x-versions-enabled", "true"),
        ("stacked", "x-versions-location", "archive"),
        ("history", "x-history-location", "archive"),
    ] {
        put(&format!("/{name}")).header(header, value).send(&edge).await.is(201);
    }
    put("/segments/s").body(vec![b's'; 6000]).send(&edge).await.is(201);
    let mut load = Load(11);
    let mut worked = 0;
    for step in 0..STEPS {
        let reply = load.step(&edge).await;
        assert!(reply.status < 500, "{}: {}", reply.status, reply.text());
        worked += usize::from(reply.status < 300);
        edge.pass_seconds(load.pick(2));
        if step % 100 == 99 {
            edge.edge.sweep_once().await.expect("it answers");
            compare(&edge, step).await;
        }
    }
    assert!(worked > STEPS / 2, "only {worked} requests did something");
}
