//! Multipart uploads and what is told of their parts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Digest;

use crate::kit::{Call, Edge, Reply};

pub(crate) fn md5_base64(bytes: &[u8]) -> String {
    BASE64.encode(md5::Md5::digest(bytes))
}

const MIB: usize = 1 << 20;

async fn create(edge: &Edge, headers: &[(&str, &str)]) -> String {
    let call = headers
        .iter()
        .fold(Call::post("/bkt/k").query("uploads", ""), |call, (name, value)| {
            call.header(name, value)
        });
    call.send(edge).await.ok().element("UploadId")
}

fn part(id: &str, number: usize, bytes: &[u8]) -> Call {
    Call::put("/bkt/k")
        .query("partNumber", &number.to_string())
        .query("uploadId", id)
        .body(bytes)
}

fn document(parts: &[(usize, String)]) -> String {
    let parts = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
    format!(
        "<CompleteMultipartUpload>{}</CompleteMultipartUpload>",
        parts.collect::<String>()
    )
}

fn complete(id: &str, parts: &[(usize, String)]) -> Call {
    Call::post("/bkt/k").query("uploadId", id).body(document(parts))
}

/// A Complete that names every part's checksum, which composite ones demand.
fn complete_with(id: &str, parts: &[(usize, String)], element: &str, values: &[String]) -> Call {
    let parts = parts.iter().zip(values).map(|((number, etag), value)| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag><{element}>{value}</{element}></Part>")
    });
    let parts: String = parts.collect();
    Call::post("/bkt/k")
        .query("uploadId", id)
        .body(format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"))
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex::encode(md5::Md5::digest(bytes)))
}

/// An upload of two parts, 5 MiB and 10 bytes.
async fn two_parts(edge: &Edge, headers: &[(&str, &str)]) -> (String, Vec<(usize, String)>) {
    let id = create(edge, headers).await;
    let bodies = [vec![b'a'; 5 * MIB], vec![b'b'; 10]];
    let mut parts = Vec::new();
    for (at, bytes) in bodies.iter().enumerate() {
        let reply = part(&id, at + 1, bytes).send(edge).await.ok();
        assert_eq!(reply.header("etag"), etag(bytes));
        parts.push((at + 1, reply.header("etag").to_owned()));
    }
    (id, parts)
}

#[tokio::test]
async fn parts_become_an_object_and_completing_again_answers_the_same() {
    let edge = Edge::with_bucket().await;
    let (id, parts) = two_parts(
        &edge,
        &[("x-amz-meta-a", "b"), ("content-type", "x/y"), ("x-amz-tagging", "t=1")],
    )
    .await;
    Call::get("/bkt/k").send(&edge).await.is("404 NoSuchKey");
    let first = complete(&id, &parts).send(&edge).await.ok();
    assert!(first.element("ETag").contains("-2"), "{}", first.text());
    assert_eq!(
        (first.element("Bucket").as_str(), first.element("Key").as_str()),
        ("bkt", "k")
    );
    let again = complete(&id, &parts).send(&edge).await.ok();
    assert_eq!(again.element("ETag"), first.element("ETag"));
    let head = Call::head("/bkt/k").send(&edge).await.ok();
    assert_eq!(
        (head.header("content-length"), head.header("x-amz-meta-a")),
        ("5242890", "b")
    );
    assert_eq!(
        (head.header("content-type"), head.header("x-amz-tagging-count")),
        ("x/y", "1")
    );
    part(&id, 3, b"late").send(&edge).await.is("404 NoSuchUpload");
    let second = Call::get("/bkt/k").query("partNumber", "2").send(&edge).await.ok();
    assert_eq!((second.status, second.text().as_str()), (206, "bbbbbbbbbb"));
    assert_eq!(second.header("x-amz-mp-parts-count"), "2");
    assert_eq!(second.header("content-range"), "bytes 5242880-5242889/5242890");
    let head = Call::head("/bkt/k").query("partNumber", "1").send(&edge).await.ok();
    assert_eq!(
        (head.header("content-length"), head.header("x-amz-mp-parts-count")),
        ("5242880", "2")
    );
    Call::get("/bkt/k")
        .query("partNumber", "3")
        .send(&edge)
        .await
        .is("416 InvalidPartNumber");
    Call::get("/bkt/k")
        .query("partNumber", "0")
        .send(&edge)
        .await
        .is("400 InvalidArgument");
    Call::get("/bkt/k")
        .query("partNumber", "1")
        .header("range", "bytes=0-1")
        .send(&edge)
        .await
        .is("400 InvalidRequest");
}

#[tokio::test]
async fn bad_completes_are_refused_and_leave_the_upload_open() {
    let edge = Edge::with_bucket().await;
    let (id, parts) = two_parts(&edge, &[]).await;
    let reversed: Vec<_> = parts.iter().rev().cloned().collect();
    complete(&id, &reversed).send(&edge).await.is("400 InvalidPartOrder");
    complete(&id, &[(1, parts[1].1.clone())])
        .send(&edge)
        .await
        .is("400 InvalidPart");
    complete(&id, &[(3, parts[0].1.clone())])
        .send(&edge)
        .await
        .is("400 InvalidPart");
    complete(&id, &[(1, "nonsense".into())])
        .send(&edge)
        .await
        .is("400 InvalidPart");
    complete(&id, &[(10_001, parts[0].1.clone())])
        .send(&edge)
        .await
        .is("400 InvalidArgument");
    complete(&id, &[(0, parts[0].1.clone())])
        .send(&edge)
        .await
        .is("400 InvalidArgument");
    let many: Vec<_> = (1..=10_001).map(|number| (number, parts[0].1.clone())).collect();
    complete(&id, &many).send(&edge).await.is("400 MalformedXML");
    complete(&id, &[]).send(&edge).await.is("400 MalformedXML");
    let broken = |text: &str| Call::post("/bkt/k").query("uploadId", &id).body(text);
    assert_eq!(broken("").send(&edge).await.status, 400);
    broken("<CompleteMultipartUpload><Part>")
        .send(&edge)
        .await
        .is("400 MalformedXML");
    let small = part(&id, 1, b"small").send(&edge).await.ok();
    complete(&id, &[(1, small.header("etag").into()), parts[1].clone()])
        .send(&edge)
        .await
        .is("400 EntityTooSmall");
    complete(&"0".repeat(32), &parts)
        .send(&edge)
        .await
        .is("404 NoSuchUpload");
    complete("nonsense", &parts).send(&edge).await.is("404 NoSuchUpload");
    Call::get("/bkt/k").send(&edge).await.is("404 NoSuchKey");
    part(&id, 1, &vec![b'a'; 5 * MIB]).send(&edge).await.ok();
    let size = |size: &str| complete(&id, &parts).header("x-amz-mp-object-size", size);
    size("7").send(&edge).await.is("400 InvalidRequest");
    size("5242890").send(&edge).await.ok();
}

#[tokio::test]
async fn part_numbers_and_uploads_are_checked() {
    let edge = Edge::with_bucket().await;
    let id = create(&edge, &[]).await;
    for number in [0, 10_001, 100_000] {
        part(&id, number, b"x").send(&edge).await.is("400 InvalidArgument");
    }
    part(&id, 10_000, b"x").send(&edge).await.ok();
    part("nonsense", 1, b"x").send(&edge).await.is("404 NoSuchUpload");
    Call::put("/bkt/k")
        .query("uploadId", &id)
        .body("x")
        .send(&edge)
        .await
        .is("400 InvalidArgument");
    Call::put("/bkt/k")
        .query("partNumber", "1")
        .body("x")
        .send(&edge)
        .await
        .is("400 InvalidArgument");
    part(&id, 1, b"x")
        .header("content-md5", "rL0Y20zC+Fzt72VPzMSk2A==")
        .send(&edge)
        .await
        .is("400 BadDigest");
    let abort = || Call::delete("/bkt/k").query("uploadId", &id);
    assert_eq!(abort().send(&edge).await.status, 204);
    abort().send(&edge).await.is("404 NoSuchUpload");
    part(&id, 1, b"x").send(&edge).await.is("404 NoSuchUpload");
}

#[tokio::test]
async fn parts_are_listed_in_pages() {
    let edge = Edge::with_bucket().await;
    let id = create(&edge, &[("x-amz-checksum-algorithm", "CRC32")]).await;
    for number in [1, 3, 7] {
        part(&id, number, number.to_string().as_bytes()).send(&edge).await.ok();
    }
    let list = || Call::get("/bkt/k").query("uploadId", &id);
    let first = list().query("max-parts", "2").send(&edge).await.ok();
    assert_eq!(first.elements("PartNumber"), ["1", "3"]);
    assert_eq!(
        (
            first.element("IsTruncated").as_str(),
            first.element("NextPartNumberMarker").as_str()
        ),
        ("true", "3")
    );
    assert_eq!(
        (
            first.element("ChecksumAlgorithm").as_str(),
            first.element("ChecksumType").as_str()
        ),
        ("CRC32", "COMPOSITE")
    );
    assert_eq!(first.elements("ChecksumCRC32").len(), 2);
    let rest = list().query("part-number-marker", "3").send(&edge).await.ok();
    assert_eq!(
        (rest.elements("PartNumber"), rest.element("IsTruncated").as_str()),
        (vec!["7".to_owned()], "false")
    );
    assert!(rest.element("Initiator").contains("main") && rest.element("Owner").contains("main"));
    list()
        .query("max-parts", "-1")
        .send(&edge)
        .await
        .is("400 InvalidArgument");
}

fn crc32(bytes: &[u8]) -> Vec<u8> {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes);
    crc.to_be_bytes()[4..].to_vec()
}

#[tokio::test]
async fn composite_and_whole_checksums_are_computed_verified_and_told() {
    let edge = Edge::with_bucket().await;
    let (one, two) = (vec![b'a'; 5 * MIB], vec![b'b'; 10]);
    let whole = BASE64.encode(crc32(&[one.clone(), two.clone()].concat()));
    let composite = BASE64.encode(crc32(&[crc32(&one), crc32(&two)].concat()));
    let sums = [BASE64.encode(crc32(&one)), BASE64.encode(crc32(&two))];
    for (kind, expected, wrong) in [
        ("FULL_OBJECT", whole.clone(), "AAAAAA=="),
        ("COMPOSITE", format!("{composite}-2"), "AAAAAA==-2"),
    ] {
        let (id, parts) = two_parts(
            &edge,
            &[("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", kind)],
        )
        .await;
        if kind == "COMPOSITE" {
            complete(&id, &parts).send(&edge).await.is("400 InvalidRequest");
        }
        complete_with(&id, &parts, "ChecksumCRC32", &sums)
            .header("x-amz-checksum-crc32", wrong)
            .send(&edge)
            .await
            .is("400 BadDigest");
        let other = if kind == "COMPOSITE" {
            "FULL_OBJECT"
        } else {
            "COMPOSITE"
        };
        complete_with(&id, &parts, "ChecksumCRC32", &sums)
            .header("x-amz-checksum-type", other)
            .send(&edge)
            .await
            .is("400 InvalidRequest");
        let done = complete_with(&id, &parts, "ChecksumCRC32", &sums)
            .header("x-amz-checksum-crc32", &expected)
            .send(&edge)
            .await
            .ok();
        assert_eq!(
            (done.element("ChecksumCRC32"), done.element("ChecksumType")),
            (expected.clone(), kind.to_owned())
        );
        let head = Call::head("/bkt/k")
            .header("x-amz-checksum-mode", "ENABLED")
            .send(&edge)
            .await
            .ok();
        assert_eq!(
            (head.header("x-amz-checksum-crc32"), head.header("x-amz-checksum-type")),
            (expected.as_str(), kind)
        );
        for (number, sum) in [("1", &sums[0]), ("2", &sums[1])] {
            let part = Call::get("/bkt/k").query("partNumber", number);
            let part = part.header("x-amz-checksum-mode", "ENABLED").send(&edge).await.ok();
            assert_eq!(
                (part.header("x-amz-checksum-crc32"), part.header("x-amz-checksum-type")),
                (sum.as_str(), kind)
            );
        }
    }
    for (algorithm, kind) in [
        ("SHA256", "FULL_OBJECT"),
        ("CRC64NVME", "COMPOSITE"),
        ("ROT13", "COMPOSITE"),
    ] {
        let call = Call::post("/bkt/k")
            .query("uploads", "")
            .header("x-amz-checksum-algorithm", algorithm);
        call.header("x-amz-checksum-type", kind)
            .send(&edge)
            .await
            .is("400 InvalidRequest");
    }
}

fn attributes(wanted: &str) -> Call {
    Call::get("/bkt/k")
        .query("attributes", "")
        .header("x-amz-object-attributes", wanted)
}

#[tokio::test]
async fn attributes_tell_parts_in_pages() {
    let edge = Edge::with_bucket().await;
    let (id, parts) = two_parts(&edge, &[("x-amz-checksum-algorithm", "SHA256")]).await;
    let sums = [vec![b'a'; 5 * MIB], vec![b'b'; 10]].map(|bytes| BASE64.encode(sha2::Sha256::digest(bytes)));
    complete_with(&id, &parts, "ChecksumSHA256", &sums)
        .send(&edge)
        .await
        .ok();
    let all = attributes("ETag,Checksum,ObjectParts,StorageClass,ObjectSize")
        .send(&edge)
        .await
        .ok();
    let told = |reply: &Reply, name: &str| reply.element(name);
    assert_eq!(
        (told(&all, "ObjectSize").as_str(), told(&all, "StorageClass").as_str()),
        ("5242890", "STANDARD")
    );
    assert_eq!(
        (told(&all, "PartsCount").as_str(), all.elements("PartNumber").len()),
        ("2", 2)
    );
    assert!(told(&all, "ETag").ends_with("-2") && !told(&all, "ETag").contains('"'));
    assert_eq!(told(&all, "ChecksumType"), "COMPOSITE");
    let first = attributes("ObjectParts")
        .header("x-amz-max-parts", "1")
        .send(&edge)
        .await
        .ok();
    assert_eq!(
        (first.elements("PartNumber"), told(&first, "IsTruncated").as_str()),
        (vec!["1".to_owned()], "true")
    );
    let rest = attributes("ObjectParts").header("x-amz-part-number-marker", &told(&first, "NextPartNumberMarker"));
    let rest = rest.send(&edge).await.ok();
    assert_eq!(
        (rest.elements("PartNumber"), told(&rest, "IsTruncated").as_str()),
        (vec!["2".to_owned()], "false")
    );
    attributes("Nonsense").send(&edge).await.is("400 InvalidArgument");
    Call::put("/bkt/k").body("x").send(&edge).await.ok();
    let plain = attributes("ObjectParts,ObjectSize").send(&edge).await.ok();
    assert_eq!(
        (plain.elements("ObjectParts").len(), told(&plain, "ObjectSize").as_str()),
        (0, "1")
    );
}
