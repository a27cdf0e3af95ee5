//! Browser forms.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::kit::{Call, Edge, Reply, Setup};
use crate::sign::{Signature, now, sign_policy, stamp};

/// A form on its way: fields in their order, and the conditions of its policy.
#[derive(Clone)]
struct Form {
    fields: Vec<(String, String)>,
    conditions: Vec<String>,
    expires: i64,
    secret: &'static str,
    file: Vec<u8>,
}

impl Form {
    /// A form that stores `hello` under `user/hello.txt`.
    fn good() -> Self {
        let form = Self {
            fields: Vec::new(),
            conditions: vec!["{\"bucket\":\"bkt\"}".into()],
            expires: now() + 60,
            secret: "main-secret",
            file: b"hello".to_vec(),
        };
        let day = stamp(now())[..8].to_owned();
        form.with("key", "user/${filename}")
            .allowing("[\"starts-with\",\"$key\",\"user/\"]")
            .field("x-amz-algorithm", "AWS4-HMAC-SHA256")
            .field("x-amz-credential", &format!("main/{day}/us-east-1/s3/aws4_request"))
            .field("x-amz-date", &stamp(now()))
    }

    /// Adds a field.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a condition.
    fn allowing(mut self, condition: &str) -> Self {
        self.conditions.push(condition.to_owned());
        self
    }

    /// Adds a field and the condition that it is so.
    fn field(self, name: &str, value: &str) -> Self {
        self.with(name, value)
            .allowing(&format!("[\"eq\",\"${name}\",\"{value}\"]"))
    }

    fn body(&self) -> Vec<u8> {
        let expires = stamp(self.expires);
        let (day, time) = (&expires[..8], &expires[9..15]);
        let policy = format!(
            "{{\"expiration\":\"{}-{}-{}T{}:{}:{}Z\",\"conditions\":[{}]}}",
            &day[..4],
            &day[4..6],
            &day[6..],
            &time[..2],
            &time[2..4],
            &time[4..],
            self.conditions.join(",")
        );
        let policy = BASE64.encode(policy);
        let signature = sign_policy(self.secret, &stamp(now())[..8], &policy);
        let last = [("policy".to_owned(), policy), ("X-Amz-Signature".to_owned(), signature)];
        let mut body = Vec::new();
        for (name, value) in self.fields.iter().chain(&last) {
            body.extend(format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes());
        }
        body.extend(b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"hello.txt\"\r\n\r\n");
        body.extend(&self.file);
        body.extend(b"\r\n--b--\r\n");
        body
    }

    async fn post(&self, edge: &Edge) -> Reply {
        send(edge, "/bkt", &self.body()).await
    }
}

async fn send(edge: &Edge, path: &str, body: &[u8]) -> Reply {
    Call::post(path)
        .signed(Signature::Anonymous)
        .header("content-type", "multipart/form-data; boundary=b")
        .body(body)
        .send(edge)
        .await
}

async fn stored(edge: &Edge) -> Reply {
    Call::get("/bkt/user/hello.txt").send(edge).await
}

async fn absent(edge: &Edge) {
    stored(edge).await.is("404 NoSuchKey");
    assert_eq!(edge.copies().await, 0);
}

#[tokio::test]
async fn a_form_stores_its_file() {
    let edge = Edge::with_bucket().await;
    let reply = Form::good()
        .field("Content-Type", "text/x-thing")
        .field("x-amz-meta-a", "b")
        .field("acl", "private")
        .with("x-ignore-this", "x")
        .post(&edge)
        .await;
    assert_eq!((reply.status, reply.body.len()), (204, 0), "{}", reply.text());
    assert_eq!(reply.header("etag"), "\"5d41402abc4b2a76b9719d911017c592\"");
    let got = stored(&edge).await.ok();
    assert_eq!(
        (got.text().as_str(), got.header("content-type")),
        ("hello", "text/x-thing")
    );
    assert_eq!(got.header("x-amz-meta-a"), "b");
    let mut large = Form::good();
    large.file = vec![b'\r'; 300_000];
    assert_eq!(large.post(&edge).await.status, 204);
    assert_eq!(stored(&edge).await.ok().body, large.file);
}

#[tokio::test]
async fn a_form_is_answered_as_it_asks() {
    let edge = Edge::with_bucket().await;
    let made = Form::good().field("success_action_status", "201").post(&edge).await;
    assert_eq!(made.status, 201);
    assert_eq!(
        (made.element("Bucket"), made.element("Key")),
        ("bkt".to_owned(), "user/hello.txt".to_owned())
    );
    assert_eq!(made.element("ETag"), "&quot;5d41402abc4b2a76b9719d911017c592&quot;");
    assert_eq!(
        Form::good()
            .field("success_action_status", "404")
            .post(&edge)
            .await
            .status,
        204
    );
    let sent = Form::good()
        .field("success_action_redirect", "http://x.test/y?z=1")
        .post(&edge)
        .await;
    assert_eq!(
        (sent.status, sent.header("location")),
        (
            303,
            "http://x.test/y?z=1&bucket=bkt&key=user/hello.txt&etag=%225d41402abc4b2a76b9719d911017c592%22"
        )
    );
    let tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>c</Value></Tag></TagSet></Tagging>";
    let tagged = Form::good()
        .with("tagging", tags)
        .allowing("[\"starts-with\",\"$tagging\",\"\"]");
    assert_eq!(tagged.post(&edge).await.status, 204);
    let told = Call::get("/bkt/user/hello.txt")
        .query("tagging", "")
        .send(&edge)
        .await
        .ok();
    assert_eq!(
        (told.element("Key"), told.element("Value")),
        ("a b".to_owned(), "c".to_owned())
    );
}

#[tokio::test]
async fn sec_1_what_the_policy_does_not_allow_is_not_stored() {
    let edge = Edge::with_bucket().await;
    let good = Form::good;
    let wrong_secret = Form {
        secret: "wrong",
        ..good()
    };
    wrong_secret.post(&edge).await.is("403 SignatureDoesNotMatch");
    let expired = Form {
        expires: now() - 5,
        ..good()
    };
    expired.post(&edge).await.is("403 AccessDenied");
    good()
        .with("x-amz-meta-a", "b")
        .post(&edge)
        .await
        .is("403 AccessDenied");
    good()
        .allowing("[\"eq\",\"$x-amz-meta-a\",\"b\"]")
        .post(&edge)
        .await
        .is("403 AccessDenied");
    good()
        .allowing("{\"bucket\":\"other\"}")
        .post(&edge)
        .await
        .is("403 AccessDenied");
    good().allowing("{}").post(&edge).await.is("400 InvalidPolicyDocument");
    let mut elsewhere = good();
    elsewhere.fields[0].1 = "elsewhere".into();
    elsewhere.post(&edge).await.is("403 AccessDenied");
    let mut unknown = good();
    unknown.fields[2].1 = unknown.fields[2].1.replace("main/", "nobody/");
    unknown.post(&edge).await.is("403 InvalidAccessKeyId");
    let mut nameless = good();
    nameless.fields.remove(0);
    nameless.post(&edge).await.is("400 InvalidArgument");
    good()
        .field("acl", "public-read")
        .post(&edge)
        .await
        .is("501 NotImplemented");
    let text = "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--b--\r\n";
    send(&edge, "/bkt", text.as_bytes()).await.is("403 AccessDenied");
    send(&edge, "/none", text.as_bytes()).await.is("404 NoSuchBucket");
    let version_2 = text.replacen(
        "name=\"key\"\r\n\r\nk",
        "name=\"key\"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; name=\"AWSAccessKeyId\"\r\n\r\nmain",
        1,
    );
    send(&edge, "/bkt", version_2.as_bytes()).await.is("400 InvalidRequest");
    absent(&edge).await;
}

#[tokio::test]
async fn lengths_and_ends_of_forms_are_checked() {
    let edge = Edge::with_bucket().await;
    let good = Form::good;
    good()
        .allowing("[\"content-length-range\",0,4]")
        .post(&edge)
        .await
        .is("400 EntityTooLarge");
    good()
        .allowing("[\"content-length-range\",6,9]")
        .post(&edge)
        .await
        .is("400 EntityTooSmall");
    let mut large = good().allowing("[\"content-length-range\",0,200000]");
    large.file = vec![7; 300_000];
    large.post(&edge).await.is("400 EntityTooLarge");
    let whole = good().body();
    let cut = send(&edge, "/bkt", &whole[..whole.len() - 12]).await;
    assert_eq!(cut.error(), "400 IncompleteBody");
    send(&edge, "/bkt", b"nonsense").await.is("400 MalformedPOSTRequest");
    let flood = good().with("x-ignore-a", &"x".repeat(30_000));
    flood.post(&edge).await.is("400 MaxPostPreDataLengthExceededError");
    send(&edge, "/bkt/k", &whole).await.is("405 MethodNotAllowed");
    absent(&edge).await;
    good().allowing("[\"content-length-range\",5,5]").post(&edge).await.ok();
}

#[tokio::test]
async fn a_form_may_come_to_a_virtual_host() {
    let options = proxy::s3::S3Options {
        domains: vec!["s3.test".into()],
        ..Default::default()
    };
    let edge = Edge::start_with(Setup {
        options,
        ..Setup::default()
    })
    .await;
    Call::put("/bkt").send(&edge).await.ok();
    let reply = Call::post("/")
        .host("bkt.s3.test")
        .signed(Signature::Anonymous)
        .header("content-type", "multipart/form-data; boundary=b")
        .body(Form::good().body())
        .send(&edge)
        .await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (204, "http://bkt.s3.test/user%2Fhello%2Etxt"),
        "{}",
        reply.text()
    );
    assert_eq!(stored(&edge).await.ok().text(), "hello");
}
