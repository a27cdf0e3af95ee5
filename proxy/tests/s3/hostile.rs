//! Requests that are signed and nonsense: whatever is asked, there is an answer, it is not "internal error", nothing
//! panics, and what lies there stays as it was.

use crate::kit::{Call, Edge};
use crate::sign::{Payload, Signature};

/// Requests of one run.
const REQUESTS: usize = 3_000;

/// Numbers that follow from a seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).expect("it is below a usize")
    }

    fn one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

const PARAMETERS: [&str; 58] = [
    "acl",
    "accelerate",
    "analytics",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "tagging",
    "torrent",
    "uploads",
    "uploadId",
    "partNumber",
    "versionId",
    "versioning",
    "versions",
    "website",
    "list-type",
    "prefix",
    "delimiter",
    "marker",
    "start-after",
    "max-keys",
    "max-parts",
    "max-uploads",
    "max-buckets",
    "part-number-marker",
    "key-marker",
    "upload-id-marker",
    "version-id-marker",
    "continuation-token",
    "encoding-type",
    "fetch-owner",
    "allow-unordered",
    "response-content-type",
    "response-expires",
    "x-id",
    "intelligent-tiering",
    "session",
    "renameObject",
    "metadataTable",
    "unknown",
];
const HEADERS: [&str; 46] = [
    "x-amz-acl",
    "x-amz-tagging",
    "x-amz-storage-class",
    "x-amz-copy-source",
    "x-amz-copy-source-range",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-metadata-directive",
    "x-amz-tagging-directive",
    "x-amz-checksum-crc32",
    "x-amz-checksum-sha256",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-type",
    "x-amz-checksum-mode",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-trailer",
    "x-amz-mp-object-size",
    "x-amz-object-attributes",
    "x-amz-max-parts",
    "x-amz-part-number-marker",
    "x-amz-expected-bucket-owner",
    "x-amz-bypass-governance-retention",
    "x-amz-mfa",
    "x-amz-request-payer",
    "x-amz-meta-a",
    "x-amz-meta-",
    "x-amz-website-redirect-location",
    "x-amz-server-side-encryption",
    "x-amz-object-lock-mode",
    "x-amz-grant-read",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-security-token",
    "content-md5",
    "content-type",
    "content-encoding",
    "cache-control",
    "expires",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "origin",
    "access-control-request-method",
    "content-language",
    "accept-encoding",
];
const VALUES: [&str; 34] = [
    "",
    "0",
    "1",
    "-1",
    "2147483648",
    "99999999999999999999",
    "true",
    "null",
    "url",
    "*",
    "/",
    "//",
    "/bkt/k",
    "bkt/k?versionId=null",
    "bytes=0-1",
    "bytes=9-",
    "bytes=-0",
    "\"5d41402abc4b2a76b9719d911017c592\"",
    "W/\"x\"",
    "private",
    "public-read",
    "COPY",
    "REPLACE",
    "CRC32",
    "FULL_OBJECT",
    "COMPOSITE",
    "AAAAAA==",
    "a=b&c=d",
    "Sat, 29 Oct 1994 19:43:31 GMT",
    "ETag,Checksum,ObjectParts",
    "text/plain",
    "0123456789abcdef0123456789abcdef",
    "ENABLED",
    "\u{fc}\u{1F600}",
];
const PATHS: [&str; 12] = [
    "/",
    "/bkt",
    "/bkt/",
    "/bkt/k",
    "/bkt//",
    "/bkt/..",
    "/bkt/a%2Fb",
    "/bkt/%00",
    "/none/k",
    "/UPPER/k",
    "/b",
    "//",
];
const DOCUMENTS: [&str; 16] = [
    "",
    "<",
    "hello",
    "<Delete><Object><Key>x</Key></Object></Delete>",
    "<Delete></Delete>",
    "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    "<Tagging/>",
    "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>",
    "<VersioningConfiguration/>",
    "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
    "<CreateBucketConfiguration/>",
    "<AccessControlPolicy/>",
    "<!DOCTYPE a [<!ENTITY x \"y\">]><Tagging>&x;</Tagging>",
    "{\"Version\":\"2012-10-17\"}",
    "<Tagging xmlns=\"urn:x\"><TagSet><Tag><Key>&#0;</Key><Value>&lt;</Value></Tag></TagSet></Tagging>",
];

fn request(chance: &mut Chance) -> Call {
    let path = chance.one(&PATHS);
    let call = match chance.below(6) {
        0 => Call::get(path),
        1 => Call::head(path),
        2 => Call::put(path),
        3 => Call::post(path),
        4 => Call::delete(path),
        _ => Call::options(path).signed(Signature::default()),
    };
    // The first object of the bucket is what must survive.
    let spares = call.method == "GET" || call.method == "HEAD" || call.path != "/bkt/k";
    let mut call = if spares {
        call
    } else {
        Call {
            path: "/bkt/other".into(),
            ..call
        }
    };
    for _ in 0..chance.below(3) {
        let (name, value) = (chance.one(&PARAMETERS), chance.one(&VALUES));
        if !call.query.iter().any(|(given, _)| given == name) {
            call = call.query(name, value);
        }
    }
    for _ in 0..chance.below(4) {
        let (name, value) = (chance.one(&HEADERS), chance.one(&VALUES));
        if !call.headers.iter().any(|(given, _)| given == name) {
            call = call.header(name, value);
        }
    }
    let payload = match chance.below(5) {
        0 => Payload::Unsigned,
        1 => Payload::Chunked(4),
        2 if !call.headers.iter().any(|(name, _)| name == "x-amz-trailer") => {
            Payload::UnsignedTrailer(4, "x-amz-checksum-crc32", "AAAAAA==")
        }
        _ => Payload::Hashed,
    };
    call.body(chance.one(&DOCUMENTS)).signed(Signature::payload(payload))
}

#[tokio::test]
async fn nonsense_is_answered_and_harms_nothing() {
    let edge = Edge::with_bucket().await;
    Call::put("/bkt/k").body("hello").send(&edge).await.ok();
    let mut chance = Chance(20_260_101);
    let mut refused = 0;
    for _ in 0..REQUESTS {
        let call = request(&mut chance);
        let shown = format!("{call:?}");
        let reply = call.send(&edge).await;
        assert!((200..600).contains(&reply.status), "no answer to {shown}");
        assert!(
            reply.status < 500 || reply.status == 501,
            "{} {} to {shown}",
            reply.status,
            reply.text()
        );
        refused += usize::from(reply.status >= 400);
    }
    assert!(refused > REQUESTS / 2, "most of it is nonsense: {refused}");
    assert!(refused < REQUESTS, "some of it is not");
    Call::delete("/bkt").query("cors", "").send(&edge).await.ok();
    assert_eq!(Call::get("/bkt/k").send(&edge).await.ok().text(), "hello");
}
