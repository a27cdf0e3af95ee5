//! Bodies: chunked, checked, cut off, too long, too large. Whatever is wrong, nothing is stored.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::kit::{Call, Edge};
use crate::sign::{Payload, Signature};

const BODY: &[u8] = b"123456789";
const CRC32: &str = "y/Q5Jg==";
const MD5: &str = "JfnnlDI7RTiF9RgfG2JNCw==";

/// Nothing is visible and nothing is left on a device.
async fn absent(edge: &Edge) {
    Call::get("/bkt/k").send(edge).await.is("404 NoSuchKey");
    assert_eq!(edge.copies().await, 0);
}

fn put(payload: Payload) -> Call {
    Call::put("/bkt/k").body(BODY).signed(Signature::payload(payload))
}

#[tokio::test]
async fn every_way_of_sending_a_body() {
    let edge = Edge::with_bucket().await;
    for payload in [
        Payload::Hashed,
        Payload::Unsigned,
        Payload::Chunked(4),
        Payload::ChunkedTrailer(4, "x-amz-checksum-crc32", CRC32),
        Payload::UnsignedTrailer(4, "x-amz-checksum-crc32", CRC32),
        Payload::UnsignedTrailer(1 << 20, "x-amz-checksum-crc32", CRC32),
    ] {
        put(payload)
            .header("content-encoding", "aws-chunked, gzip")
            .send(&edge)
            .await
            .ok();
        let reply = Call::get("/bkt/k").send(&edge).await.ok();
        assert_eq!(
            (reply.body.as_slice(), reply.header("content-encoding")),
            (BODY, "gzip")
        );
        Call::delete("/bkt/k").send(&edge).await.ok();
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_taken_and_verified() {
    let edge = Edge::with_bucket().await;
    let framed = |call: Call| {
        let bytes = call.unsigned("transfer-encoding", "chunked").bytes(&edge);
        let text = String::from_utf8(bytes).expect("it is text");
        text.replace("\r\n\r\n123456789", "\r\n\r\n4\r\n1234\r\n5\r\n56789\r\n0\r\n\r\n")
            .into_bytes()
    };
    assert_eq!(edge.raw(&framed(put(Payload::Hashed))).await.error(), "200");
    assert_eq!(Call::get("/bkt/k").send(&edge).await.ok().body, BODY);
    Call::delete("/bkt/k").send(&edge).await.ok();
    let wrong = put(Payload::Hashed).header("x-amz-content-sha256", &"0".repeat(64));
    assert_eq!(edge.raw(&framed(wrong)).await.error(), "400 XAmzContentSHA256Mismatch");
    absent(&edge).await;
    assert_eq!(edge.raw(&framed(put(Payload::Unsigned))).await.error(), "200");
}

#[tokio::test]
async fn a_checksum_is_verified_kept_and_told() {
    let edge = Edge::with_bucket().await;
    let sha256 = BASE64.encode(Sha256::digest(BODY));
    for (name, value) in [
        ("x-amz-checksum-crc32", CRC32),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
        ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
        ("x-amz-checksum-sha256", sha256.as_str()),
    ] {
        put(Payload::Hashed)
            .header(name, value)
            .header("content-md5", MD5)
            .send(&edge)
            .await
            .ok();
        let head = Call::head("/bkt/k")
            .header("x-amz-checksum-mode", "ENABLED")
            .send(&edge)
            .await
            .ok();
        assert_eq!(
            (head.header(name), head.header("x-amz-checksum-type")),
            (value, "FULL_OBJECT")
        );
        assert_eq!(Call::head("/bkt/k").send(&edge).await.ok().header(name), "");
        Call::delete("/bkt/k").send(&edge).await.ok();
        let length = BASE64.decode(value).expect("base64").len();
        let wrong = BASE64.encode(vec![7; length]);
        put(Payload::Hashed)
            .header(name, &wrong)
            .send(&edge)
            .await
            .is("400 BadDigest");
        absent(&edge).await;
    }
    put(Payload::Hashed).send(&edge).await.ok();
    let head = Call::head("/bkt/k")
        .header("x-amz-checksum-mode", "ENABLED")
        .send(&edge)
        .await
        .ok();
    assert_eq!(head.header("x-amz-checksum-crc64nvme"), "rosUhgp5mIg=");
}

#[tokio::test]
async fn wrong_digests_are_refused() {
    let edge = Edge::with_bucket().await;
    for (name, value, code) in [
        ("content-md5", "rL0Y20zC+Fzt72VPzMSk2A==", "400 BadDigest"),
        ("content-md5", "YWJyYWNhZGFicmE=", "400 InvalidDigest"),
        ("content-md5", "", "400 InvalidDigest"),
        ("x-amz-checksum-crc32", "nonsense", "400 InvalidRequest"),
        ("x-amz-checksum-md2", "AAAA", "400 InvalidRequest"),
        ("x-amz-sdk-checksum-algorithm", "CRC32", "400 InvalidRequest"),
    ] {
        put(Payload::Hashed).header(name, value).send(&edge).await.is(code);
    }
    let trailer = |value| Payload::UnsignedTrailer(4, "x-amz-checksum-crc32", value);
    put(trailer("AAAAAA==")).send(&edge).await.is("400 BadDigest");
    put(trailer("nonsense"))
        .send(&edge)
        .await
        .is("400 MalformedTrailerError");
    put(Payload::UnsignedTrailer(4, "x-amz-meta-a", "b"))
        .send(&edge)
        .await
        .is("400 InvalidRequest");
    put(Payload::ChunkedTrailer(4, "x-amz-checksum-crc32", "AAAAAA=="))
        .send(&edge)
        .await
        .is("400 BadDigest");
    absent(&edge).await;
}

/// The request with its body's bytes changed.
fn tampered(edge: &Edge, call: &Call, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let bytes = call.clone().unsigned("content-length", "@").bytes(edge);
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head")
        + 4;
    let mut body = bytes[end..].to_vec();
    change(&mut body);
    let head = String::from_utf8(bytes[..end].to_vec()).expect("it is text");
    [
        head.replace("content-length: @", &format!("content-length: {}", body.len()))
            .as_bytes(),
        &body,
    ]
    .concat()
}

#[tokio::test]
async fn truncated_and_endless_chunked_bodies_store_nothing() {
    let edge = Edge::with_bucket().await;
    for payload in [
        Payload::Chunked(4),
        Payload::UnsignedTrailer(4, "x-amz-checksum-crc32", CRC32),
    ] {
        let call = put(payload);
        let whole = tampered(&edge, &call, |_| {});
        assert_eq!(edge.raw(&whole).await.error(), "200");
        Call::delete("/bkt/k").send(&edge).await.ok();
        let size = {
            let end = whole.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
            whole.len() - end - 4
        };
        for cut in [1, size / 3, size / 2, size - 20] {
            let reply = edge.raw(&tampered(&edge, &call, |body| body.truncate(cut))).await;
            assert!(
                matches!(reply.status, 400 | 403),
                "cut at {cut} of {size}: {} {}",
                reply.status,
                reply.text()
            );
            absent(&edge).await;
        }
        let endless = tampered(&edge, &call, |body| body.extend(vec![b'x'; 100_000]));
        assert_eq!(edge.raw(&endless).await.status, 400);
        absent(&edge).await;
    }
    let flipped = tampered(&edge, &put(Payload::Chunked(4)), |body| {
        let at = body
            .windows(4)
            .position(|window| window == b"5678")
            .expect("the second chunk");
        body[at] = b'X';
    });
    assert_eq!(edge.raw(&flipped).await.error(), "403 SignatureDoesNotMatch");
    absent(&edge).await;
    let huge = tampered(&edge, &put(Payload::Chunked(4)), |body| {
        body.splice(0..1, *b"ffffffffffff").for_each(drop)
    });
    assert_eq!(edge.raw(&huge).await.error(), "400 IncompleteBody");
    let more = put(Payload::Chunked(4)).header("x-amz-decoded-content-length", "10");
    more.send(&edge).await.is("400 IncompleteBody");
    let fewer = put(Payload::Chunked(4)).header("x-amz-decoded-content-length", "8");
    fewer.send(&edge).await.is("400 IncompleteBody");
    absent(&edge).await;
}

#[tokio::test]
async fn lengths_are_demanded_and_bounded() {
    let edge = Edge::with_bucket().await;
    let none = Call::put("/bkt/k")
        .signed(Signature::payload(Payload::Unsigned))
        .unsigned("content-length", "<absent>");
    none.send(&edge).await.is("411 MissingContentLength");
    let huge = Call::put("/bkt/k")
        .signed(Signature::payload(Payload::Unsigned))
        .unsigned("content-length", "5368709121");
    huge.send(&edge).await.is("400 EntityTooLarge");
    let huge = put(Payload::Chunked(4)).header("x-amz-decoded-content-length", "5368709121");
    huge.send(&edge).await.is("400 EntityTooLarge");
    // The client hangs up in the middle.
    let call = put(Payload::Unsigned).unsigned("content-length", "100");
    let mut stream = tokio::net::TcpStream::connect(edge.address).await.expect("it listens");
    stream.write_all(&call.bytes(&edge)).await.expect("sent");
    drop(stream);
    absent(&edge).await;
}

#[tokio::test]
async fn documents_are_verified_and_bounded() {
    let edge = Edge::with_bucket().await;
    let delete = "<Delete><Object><Key>k</Key></Object></Delete>";
    let call = || Call::post("/bkt").query("delete", "");
    call().body(delete).send(&edge).await.is("400 InvalidRequest");
    call()
        .body(delete)
        .header("content-md5", MD5)
        .send(&edge)
        .await
        .is("400 BadDigest");
    call()
        .body(delete)
        .header("x-amz-checksum-crc32", CRC32)
        .send(&edge)
        .await
        .is("400 BadDigest");
    let signed = |text: &str| {
        let digest = BASE64.encode(Sha256::digest(text));
        call().body(text).header("x-amz-checksum-sha256", &digest)
    };
    signed(delete).send(&edge).await.ok();
    signed(delete)
        .signed(Signature::payload(Payload::Chunked(7)))
        .send(&edge)
        .await
        .ok();
    for malformed in [
        "<Delete>",
        "",
        "<Delete></Delete>",
        "<Delete><Object/></Delete>",
        "nonsense",
        "<A><B></A></B>",
    ] {
        let reply = signed(malformed).send(&edge).await;
        assert_eq!(reply.status, 400, "{malformed}: {}", reply.text());
    }
    let many: String = (0..1001).map(|n| format!("<Object><Key>{n}</Key></Object>")).collect();
    signed(&format!("<Delete>{many}</Delete>"))
        .send(&edge)
        .await
        .is("400 MalformedXML");
    signed(&"x".repeat((8 << 20) + 1))
        .send(&edge)
        .await
        .is("400 MaxMessageLengthExceeded");
    let deep = format!("{}{}", "<Delete>".repeat(100_000), "</Delete>".repeat(100_000));
    signed(&deep).send(&edge).await.is("400 MalformedXML");
    let bomb =
        "<!DOCTYPE a [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><Delete><Object><Key>&b;</Key></Object></Delete>";
    assert_eq!(signed(bomb).send(&edge).await.status, 400);
}
