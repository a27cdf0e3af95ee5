//! Server and client against each other on loopback, over memory devices.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::SystemDice;
use metadata::ids::{BlobId, BucketId, ClusterId, DeviceId, NodeId, ShardId, WriteId};
use metadata::model::PolicyId;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::codec::{Head, HeadProgress, HeadReader, key_text, parse_key, parse_range};
use super::*;
use crate::device::{
    BLOB_BYTES_MAX, Blob, BlobHeader, BlobKey, BlobStore, FRAME_BYTES, MemoryDevice, Pieces, Purpose, frame_crcs,
};
use crate::node::DeviceSet;
use crate::wire::{AddressBook, Channel, Credentials, Greeting, NodeAddress, Role, Secret, Socket, connect_and_greet};

const NODE: NodeId = NodeId(1);
const DEVICE: DeviceId = DeviceId(4);
const CLUSTER: ClusterId = ClusterId(77);

fn credentials(secret: &[u8]) -> Credentials {
    Credentials {
        cluster: CLUSTER,
        role: Role::Proxy,
        secret: Secret::new(secret).unwrap(),
        tls: None,
    }
}

struct Pair {
    device: Arc<MemoryDevice>,
    server: BlobServer,
    client: BlobClient,
}

fn client(secret: &[u8], server: &BlobServer) -> BlobClient {
    let address = NodeAddress {
        wire: String::new(),
        blobs: server.address().to_string(),
    };
    BlobClient::new(
        credentials(secret),
        AddressBook::new([(NODE, address)]),
        Arc::new(SystemDice),
    )
}

const SECRET: &[u8] = b"a secret of at least sixteen bytes";

async fn bind(address: std::net::SocketAddr) -> BoundBlobs {
    BoundBlobs::bind(credentials(SECRET), NODE, address, Arc::new(SystemDice))
        .await
        .unwrap()
}

/// A proven connection on which a test speaks HTTP by hand.
async fn raw(server: &BlobServer) -> Socket {
    let me = credentials(SECRET);
    let greeting = Greeting {
        me: &me,
        process: 1,
        wanted: NODE,
        channel: Channel::Blobs,
    };
    connect_and_greet(&greeting, &SystemDice, &server.address().to_string())
        .await
        .unwrap()
}

async fn pair() -> Pair {
    let device = Arc::new(MemoryDevice::new(CLUSTER, 1 << 30));
    let devices = DeviceSet::new([(DEVICE, Arc::clone(&device) as Arc<dyn BlobStore>)]);
    let bound = bind("127.0.0.1:0".parse().unwrap()).await;
    let server = bound.serve(devices, Admission::default());
    let client = client(SECRET, &server);
    Pair { device, server, client }
}

fn blob(chunk: u32, len: usize) -> Blob {
    let key = BlobKey {
        placement: 0x0123_4567_89ab_cdef,
        id: BlobId {
            write: WriteId(5),
            chunk,
        },
    };
    let header = BlobHeader {
        cluster: CLUSTER,
        shard: ShardId(1),
        bucket: BucketId(2),
        len: 0,
        blake3: [0; 32],
        written_ms: 1_700_000_000_000,
    };
    let payload: Vec<u8> = (0..len).map(|at| (at * 7 + chunk as usize) as u8).collect();
    Blob::seal(key, header, payload.into())
}

#[tokio::test]
async fn blobs_of_all_sizes_go_there_and_back() {
    let Pair { client, .. } = pair().await;
    for (chunk, len) in [1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, BLOB_BYTES_MAX]
        .into_iter()
        .enumerate()
    {
        let mut blob = blob(chunk as u32, len);
        let whole = blob.payload.to_bytes();
        blob.payload = whole.chunks(10_000).map(Bytes::copy_from_slice).collect::<Pieces>();
        client.put(NODE, DEVICE, &blob).await.unwrap();
        // Again is fine: every request may be repeated.
        client.put(NODE, DEVICE, &blob).await.unwrap();
        assert_eq!(client.stat(NODE, DEVICE, blob.key).await.unwrap(), Some(blob.header));
        let slice = client
            .read(NODE, DEVICE, blob.key, 0..len as u32, Purpose::Serve)
            .await
            .unwrap();
        slice.verify().unwrap();
        assert_eq!(slice.payload, whole);
        let middle = (len / 2) as u32..(len / 2 + 1) as u32;
        let slice = client
            .read(NODE, DEVICE, blob.key, middle.clone(), Purpose::Upkeep)
            .await
            .unwrap();
        slice.verify().unwrap();
        assert_eq!(
            slice.bytes(middle.clone()),
            whole.slice(middle.start as usize..middle.end as usize)
        );
        assert!(slice.payload.len() <= FRAME_BYTES);
    }
}

#[tokio::test]
async fn remove_list_stat_and_digest_speak_of_the_same_blobs() {
    let Pair { client, device, .. } = pair().await;
    let blobs: Vec<Blob> = (0..5).map(|chunk| blob(chunk, 100)).collect();
    for blob in &blobs {
        client.put(NODE, DEVICE, blob).await.unwrap();
    }
    let keys: Vec<BlobKey> = blobs.iter().map(|blob| blob.key).collect();
    let page = ListCall {
        after: Some(keys[0]),
        until_placement: u64::MAX,
        limit: 2,
    };
    let listed = client.list(NODE, DEVICE, page).await.unwrap();
    assert_eq!(listed, vec![(keys[1], blobs[1].header), (keys[2], blobs[2].header)]);
    client.remove(NODE, DEVICE, &keys[..2]).await.unwrap();
    assert_eq!(client.stat(NODE, DEVICE, keys[0]).await.unwrap(), None);
    let found = client.stat_many(NODE, DEVICE, keys.clone()).await.unwrap();
    assert_eq!(
        found.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, false, true, true, true]
    );
    let digest = client.digest(NODE, DEVICE, 0..=u64::MAX, PolicyId(0)).await.unwrap();
    assert_eq!(digest, device.digest(0..=u64::MAX, PolicyId(0)).await.unwrap());
    assert_eq!(digest.blobs, 3);
    let other = client.digest(NODE, DEVICE, 0..=u64::MAX, PolicyId(1)).await.unwrap();
    assert_eq!(other.blobs, 0);
}

fn fault<T: std::fmt::Debug>(answer: Result<T, BlobClientError>) -> Fault {
    match answer {
        Err(BlobClientError::Fault(fault, _)) => fault,
        other => panic!("a fault was expected: {other:?}"),
    }
}

#[tokio::test]
async fn faults_travel_as_codes() {
    let Pair { client, device, .. } = pair().await;
    let good = blob(0, FRAME_BYTES * 2);
    assert_eq!(
        fault(client.read(NODE, DEVICE, good.key, 0..1, Purpose::Serve).await),
        Fault::Absent
    );
    assert_eq!(fault(client.put(NODE, DeviceId(9), &good).await), Fault::NoSuchDevice);
    let mut bad = good.clone();
    bad.frame_crcs[1] ^= 1;
    assert_eq!(fault(client.put(NODE, DEVICE, &bad).await), Fault::Malformed);
    bad.frame_crcs.pop();
    assert_eq!(fault(client.put(NODE, DEVICE, &bad).await), Fault::Malformed);
    let mut long = good.clone();
    long.payload.push(Bytes::from_static(b"more"));
    assert_eq!(fault(client.put(NODE, DEVICE, &long).await), Fault::Malformed);
    let mut foreign = good.clone();
    foreign.header.cluster = ClusterId(1);
    assert_eq!(fault(client.put(NODE, DEVICE, &foreign).await), Fault::ForeignCluster);
    client.put(NODE, DEVICE, &good).await.unwrap();
    let mut other = blob(1, FRAME_BYTES * 2);
    other.key = good.key;
    other.frame_crcs = frame_crcs(good.key.id, 0, &other.payload.to_bytes());
    assert_eq!(fault(client.put(NODE, DEVICE, &other).await), Fault::Conflict);
    assert_eq!(
        fault(
            client
                .read(NODE, DEVICE, good.key, 900_000..900_001, Purpose::Serve)
                .await
        ),
        Fault::Range
    );
    // INT-1: rot on the device is seen by the last hop, not by the wire.
    device.flip(&good.key, 70_000);
    let slice = client
        .read(NODE, DEVICE, good.key, 0..1_000_000, Purpose::Serve)
        .await
        .unwrap();
    assert!(slice.verify().is_err());
}

#[tokio::test]
async fn sec_1_a_wrong_secret_plain_http_and_another_channel_do_nothing() {
    let Pair { server, device, .. } = pair().await;
    let stranger = client(b"another secret of enough bytes", &server);
    let refused = stranger.put(NODE, DEVICE, &blob(0, 10)).await;
    assert!(matches!(refused, Err(BlobClientError::Refused(_))), "{refused:?}");
    let me = credentials(SECRET);
    let greeting = Greeting {
        me: &me,
        process: 1,
        wanted: NODE,
        channel: Channel::Metadata,
    };
    let wrong = connect_and_greet(&greeting, &SystemDice, &server.address().to_string()).await;
    for mut connection in [
        wrong.unwrap(),
        Socket::new(TcpStream::connect(server.address()).await.unwrap()),
    ] {
        let _ = connection
            .write_all(b"GET /v1/devices/4/list HTTP/1.1\r\nhost: x\r\n\r\n")
            .await;
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{answer:?}");
    }
    assert_eq!(device.usage().blobs, 0);
}

#[tokio::test]
async fn bodies_without_length_or_with_too_much_are_refused_unread() {
    let Pair { server, device, .. } = pair().await;
    let path = format!("/v1/devices/{DEVICE}/blobs/{}", key_text(&blob(0, 1).key));
    for (length, status) in [
        ("content-length: 99999999", "413"),
        ("transfer-encoding: chunked", "400"),
    ] {
        let head = format!("PUT {path} HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n");
        let mut tcp = raw(&server).await;
        tcp.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        tcp.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer[9..], status.as_bytes());
    }
    assert_eq!(device.usage().blobs, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_sender_is_cut_and_a_full_pool_is_busy() {
    let device = Arc::new(MemoryDevice::new(CLUSTER, 1 << 30));
    let devices = DeviceSet::new([(DEVICE, Arc::clone(&device) as Arc<dyn BlobStore>)]);
    let bound = bind("127.0.0.1:0".parse().unwrap()).await;
    // The pool holds exactly one blob of the largest size.
    let server = bound.serve(
        devices,
        Admission {
            write_bytes: 1,
            read_bytes: 1,
        },
    );
    let path = format!("/v1/devices/{DEVICE}/blobs/{}", key_text(&blob(0, 1).key));
    let length = super::codec::BODY_BYTES_MAX;
    let head = format!("PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\nab");
    let mut slow = raw(&server).await;
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer[9..], b"408");
    let client = client(SECRET, &server);
    client.put(NODE, DEVICE, &blob(1, 10)).await.unwrap();
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_closed_server_is_refused_and_a_kept_connection_is_replaced() {
    let Pair { server, client, device } = pair().await;
    let address = server.address();
    client.put(NODE, DEVICE, &blob(0, 10)).await.unwrap();
    server.stop(Duration::from_secs(5)).await;
    let refused = client.put(NODE, DEVICE, &blob(1, 10)).await;
    assert!(matches!(refused, Err(BlobClientError::Refused(_))), "{refused:?}");
    let devices = DeviceSet::new([(DEVICE, device as Arc<dyn BlobStore>)]);
    let bound = bind(address).await;
    let _server = bound.serve(devices, Admission::default());
    client.put(NODE, DEVICE, &blob(1, 10)).await.unwrap();
}

#[test]
fn ranges_and_keys_are_read_strictly() {
    assert_eq!(parse_range("bytes=0-0"), Some(0..1));
    for bad in [
        "bytes=2-1",
        "bytes=-5",
        "bytes=0-",
        "0-1",
        "bytes=0-1,3-4",
        "bytes=4294967296-4294967297",
    ] {
        assert_eq!(parse_range(bad), None, "{bad}");
    }
    let key = blob(7, 1).key;
    let text = key_text(&key);
    assert_eq!(parse_key(&text), Some(key));
    for bad in [
        text.to_uppercase(),
        format!("{text}.1"),
        format!("0{text}"),
        text.replace(".7", ".+7"),
        String::new(),
    ] {
        assert_eq!(parse_key(&bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn a_head_survives_any_cut_and_hostile_bytes_never_panic(
        cuts in prop::collection::vec(0_usize..200, 0..6),
        noise in prop::collection::vec(any::<u8>(), 0..300),
        frames in 0_usize..64,
    ) {
        let head = Head {
            header: blob(3, 10).header,
            first_frame: 0,
            frame_crcs: (0..frames as u32).collect(),
        };
        let bytes = [&head.encode()[..], b"payload"].concat();
        let mut reader = HeadReader::default();
        let (mut at, mut found, mut rest) = (0, None, Vec::new());
        for end in cuts.into_iter().chain([bytes.len()]) {
            let end = end.clamp(at, bytes.len());
            let piece = Bytes::copy_from_slice(&bytes[at..end]);
            at = end;
            if found.is_some() {
                rest.extend_from_slice(&piece);
                continue;
            }
            match reader.push(piece) {
                HeadProgress::More => {}
                HeadProgress::Whole(head, payload) => { found = Some(head); rest.extend_from_slice(&payload); }
                HeadProgress::Bad => prop_assert!(false, "a good head was refused"),
            }
        }
        prop_assert_eq!(found, Some(head));
        prop_assert_eq!(rest, b"payload");
        if let HeadProgress::Whole(head, _) = HeadReader::default().push(Bytes::from(noise)) {
            let _ = head.payload_bytes();
        }
    }
}
