//! The server under the edge: TLS, limits, slow clients, the end.

use std::sync::Arc;
use std::time::Duration;

use proxy::http::{AdmissionOptions, ServerOptions, Tls};
use proxy::s3::S3Options;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::kit::{Call, Edge, Reply, Setup};
use crate::sign::{Payload, Signature};

/// A GET of `/` over TLS, by a client that trusts this certificate and no other.
async fn get_trusting(edge: &Edge, chain: &str) -> std::io::Result<Reply> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(chain.as_bytes()).expect("PEM"))
        .expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(edge.address).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(&Call::get("/").bytes(edge)).await?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    Ok(Reply::parse(&answer))
}

fn generated() -> (String, String) {
    Tls::generate(vec!["localhost".into()]).expect("made")
}

#[tokio::test]
async fn a_generated_certificate_serves() {
    let (chain, key) = generated();
    let tls = Tls::from_pem(chain.as_bytes(), key.as_bytes()).expect("usable");
    let edge = Edge::start_with(Setup {
        tls: Some(tls),
        ..Setup::default()
    })
    .await;
    assert_eq!(get_trusting(&edge, &chain).await.expect("a handshake").status, 200);
    assert!(
        get_trusting(&edge, &generated().0).await.is_err(),
        "another certificate"
    );
    assert_ne!(edge.raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.status, 200);
    assert!(Tls::from_pem(b"nonsense", b"nonsense").is_err());
}

#[tokio::test]
async fn a_given_certificate_is_read_again_and_a_broken_one_is_not_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chain_file, key_file) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let write = || {
        let (chain, key) = generated();
        std::fs::write(&chain_file, &chain).expect("written");
        std::fs::write(&key_file, key).expect("written");
        chain
    };
    let first = write();
    let tls = Tls::from_files(&chain_file, &key_file).expect("usable");
    let edge = Edge::start_with(Setup {
        tls: Some(tls.clone()),
        ..Setup::default()
    })
    .await;
    assert_eq!(get_trusting(&edge, &first).await.expect("a handshake").status, 200);
    let second = write();
    assert!(get_trusting(&edge, &second).await.is_err(), "it was not read yet");
    tls.reload().expect("usable");
    assert_eq!(get_trusting(&edge, &second).await.expect("a handshake").status, 200);
    assert!(get_trusting(&edge, &first).await.is_err(), "the first one is gone");
    std::fs::write(&key_file, "nonsense").expect("written");
    assert!(tls.reload().is_err());
    assert_eq!(get_trusting(&edge, &second).await.expect("a handshake").status, 200);
}

#[tokio::test]
async fn a_connection_is_used_again_after_an_error_and_after_100_continue() {
    let edge = Edge::with_bucket().await;
    let mut stream = TcpStream::connect(edge.address).await.expect("it listens");
    let keep = |call: Call| {
        let text = String::from_utf8(call.bytes(&edge)).expect("it is text");
        text.replace("connection: close\r\n", "").into_bytes()
    };
    stream.write_all(&keep(Call::get("/bkt/absent"))).await.expect("sent");
    assert_eq!(answer(&mut stream).await.error(), "404 NoSuchKey");
    let call = keep(Call::put("/bkt/k").unsigned("expect", "100-continue").body("hello"));
    let (head, body) = call.split_at(call.len() - 5);
    stream.write_all(head).await.expect("sent");
    let mut line = [0; 25];
    stream.read_exact(&mut line).await.expect("an answer before the body");
    assert!(
        line.starts_with(b"HTTP/1.1 100 Continue"),
        "{}",
        String::from_utf8_lossy(&line)
    );
    stream.write_all(body).await.expect("sent");
    assert_eq!(answer(&mut stream).await.status, 200);
    stream
        .write_all(&keep(Call::put("/bkt/k").unsigned("expect", "something").body("there")))
        .await
        .expect("sent");
    assert_eq!(answer(&mut stream).await.status, 200);
    stream.write_all(&keep(Call::get("/bkt/k"))).await.expect("sent");
    assert_eq!(answer(&mut stream).await.text(), "there");
}

#[tokio::test]
async fn expect_is_answered_only_to_who_may_write() {
    let edge = Edge::with_bucket().await;
    for (call, error) in [
        (Call::put("/no-bucket/k"), "404 NoSuchBucket"),
        (Call::put("/bkt/k").by("main", "wrong"), "403 SignatureDoesNotMatch"),
    ] {
        let call = call.unsigned("expect", "100-continue").body("hello").bytes(&edge);
        assert_eq!(edge.raw(&call[..call.len() - 5]).await.error(), error);
    }
}

/// One answer from a connection that stays open.
async fn answer(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.expect("an answer");
        assert!(
            count > 0,
            "the connection was closed: {}",
            String::from_utf8_lossy(&bytes)
        );
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let reply = Reply::parse(&bytes);
        let length: usize = reply.header("content-length").parse().unwrap_or(0);
        if bytes.len() >= end + 4 + length {
            return reply;
        }
    }
}

#[tokio::test]
async fn floods_of_headers_are_refused() {
    let edge = Edge::with_bucket().await;
    let long = Call::get("/bkt")
        .header("user-agent", &"a".repeat(20_000))
        .send(&edge)
        .await;
    long.is("400 RequestHeaderSectionTooLarge");
    let many = (0..600).fold(Call::get("/bkt"), |call, n| call.unsigned(&format!("h{n}"), "x"));
    assert!(matches!(many.send(&edge).await.status, 400 | 431));
    let endless = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 1 << 20]].concat();
    assert!(matches!(edge.raw(&endless).await.status, 0 | 400 | 431));
    assert_eq!(edge.raw(b"nonsense\r\n\r\n").await.status, 400);
}

#[tokio::test]
async fn slow_clients_are_let_go() {
    let quick = Duration::from_millis(300);
    let options = S3Options {
        body_idle: quick,
        ..S3Options::default()
    };
    let server = ServerOptions {
        head_timeout: quick,
        ..ServerOptions::default()
    };
    let edge = Edge::start_with(Setup {
        options,
        server,
        tls: None,
    })
    .await;
    Call::put("/bkt").send(&edge).await.ok();
    let head = edge.raw(b"GET / HTTP/1.1\r\nhost: x\r\n");
    let head = tokio::time::timeout(Duration::from_secs(10), head)
        .await
        .expect("it was let go");
    assert!(matches!(head.status, 0 | 408), "{}", head.status);
    let call = Call::put("/bkt/k")
        .signed(Signature::payload(Payload::Unsigned))
        .unsigned("content-length", "100");
    let request = call.bytes(&edge);
    let body = edge.raw(&request);
    let body = tokio::time::timeout(Duration::from_secs(10), body)
        .await
        .expect("it was let go");
    assert_eq!(body.error(), "400 RequestTimeout");
    Call::get("/bkt/k").send(&edge).await.is("404 NoSuchKey");
}

#[tokio::test]
async fn who_does_not_read_is_let_go_with_what_was_held_for_him() {
    let admission = AdmissionOptions {
        requests_max: 1,
        bytes_max: 64 << 20,
    };
    let options = S3Options {
        admission,
        ..S3Options::default()
    };
    let server = ServerOptions {
        write_timeout: Duration::from_millis(300),
        ..ServerOptions::default()
    };
    let edge = Edge::start_with(Setup {
        options,
        server,
        tls: None,
    })
    .await;
    Call::put("/bkt").send(&edge).await.ok();
    // More than both ends of a loopback connection buffer.
    let large = vec![7; 24 << 20];
    Call::put("/bkt/k").body(&large).send(&edge).await.ok();
    let mut stream = TcpStream::connect(edge.address).await.expect("it listens");
    let request = Call::get("/bkt/k").bytes(&edge);
    stream.write_all(&request).await.expect("sent");
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.expect("the answer begins");
    let again = async {
        while Call::get("/bkt").send(&edge).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again)
        .await
        .expect("the only permit came back");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < large.len(), "the answer was cut");
}

#[tokio::test]
async fn mem_1_past_the_limit_clients_are_told_to_slow_down() {
    let admission = AdmissionOptions {
        requests_max: 1,
        bytes_max: 64 << 20,
    };
    let options = S3Options {
        admission,
        ..S3Options::default()
    };
    let edge = Edge::start_with(Setup {
        options,
        ..Setup::default()
    })
    .await;
    Call::put("/bkt").send(&edge).await.ok();
    let call = Call::put("/bkt/k")
        .signed(Signature::payload(Payload::Unsigned))
        .body("hello")
        .bytes(&edge);
    let mut stream = TcpStream::connect(edge.address).await.expect("it listens");
    stream.write_all(&call[..call.len() - 3]).await.expect("sent");
    let refused = loop {
        let reply = Call::get("/bkt").send(&edge).await;
        if reply.status != 200 {
            break reply;
        }
    };
    refused.is("503 SlowDown");
    stream.write_all(&call[call.len() - 3..]).await.expect("sent");
    assert_eq!(answer(&mut stream).await.status, 200);
    Call::get("/bkt/k").send(&edge).await.ok();
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let server = ServerOptions {
        connections_max: 1,
        ..ServerOptions::default()
    };
    let edge = Edge::start_with(Setup {
        server,
        ..Setup::default()
    })
    .await;
    let _held = TcpStream::connect(edge.address).await.expect("it listens");
    assert_eq!(edge.raw(b"").await.status, 503);
}

#[tokio::test]
async fn the_end_waits_for_requests_in_progress() {
    let mut edge = Edge::with_bucket().await;
    let call = Call::put("/bkt/k")
        .signed(Signature::payload(Payload::Unsigned))
        .body("hello")
        .bytes(&edge);
    let mut stream = TcpStream::connect(edge.address).await.expect("it listens");
    let expecting = String::from_utf8(call)
        .expect("it is text")
        .replace("connection: close", "expect: 100-continue");
    stream
        .write_all(&expecting.as_bytes()[..expecting.len() - 5])
        .await
        .expect("sent");
    let mut line = [0; 25];
    stream.read_exact(&mut line).await.expect("the request is in progress");
    edge.stop.take().expect("it runs").send(()).expect("it runs");
    stream.write_all(b"hello").await.expect("sent");
    assert_eq!(answer(&mut stream).await.status, 200);
    tokio::time::timeout(Duration::from_secs(10), &mut edge.running)
        .await
        .expect("it ends")
        .expect("no panic");
    assert!(TcpStream::connect(edge.address).await.is_err());
}
