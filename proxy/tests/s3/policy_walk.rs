//! SEC-1: every operation against those who may not use it: nobody, somebody of another project, somebody who only reads.

use identity::policy::Action;

use crate::kit::{Call, Edge};
use crate::sign::Signature;

const VERSIONING: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
const DELETE: &str = "<Delete><Object><Key>k</Key></Object></Delete>";
const DELETE_MD5: &str = "5DKh5iefM5MSKvRILIuFwQ==";
const TAGGING: &str = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
const COMPLETE: &str = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"00000000000000000000000000000000\"</ETag></Part></CompleteMultipartUpload>";
const CORS: &str = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>";
const BLOCK: &str =
    "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>";

/// A request for each operation, about the bucket `bkt`, its object `o` and an upload of it.
fn case(operation: &str, id: &str) -> Option<Call> {
    let bucket = |method: fn(&str) -> Call, parameter: &str| Some(method("/bkt").query(parameter, ""));
    let object = |method: fn(&str) -> Call, parameter: &str| Some(method("/bkt/o").query(parameter, ""));
    let upload = |method: fn(&str) -> Call| method("/bkt/o").query("uploadId", id);
    let part = || upload(Call::put).query("partNumber", "1");
    match operation {
        "list_buckets" => Some(Call::get("/")),
        "create_bucket" => Some(Call::put("/bkt")),
        "head_bucket" => Some(Call::head("/bkt")),
        "delete_bucket" => Some(Call::delete("/bkt")),
        "get_bucket_location" => bucket(Call::get, "location"),
        "list_objects" => Some(Call::get("/bkt")),
        "list_objects_v2" => Some(Call::get("/bkt").query("list-type", "2")),
        "list_object_versions" => bucket(Call::get, "versions"),
        "get_bucket_versioning" => bucket(Call::get, "versioning"),
        "put_bucket_versioning" => Some(bucket(Call::put, "versioning")?.body(VERSIONING)),
        "get_object" => Some(Call::get("/bkt/o")),
        "head_object" => Some(Call::head("/bkt/o")),
        "put_object" => Some(Call::put("/bkt/o").body("changed")),
        "delete_object" => Some(Call::delete("/bkt/o")),
        "delete_objects" => Some(
            bucket(Call::post, "delete")?
                .body(DELETE)
                .header("content-md5", DELETE_MD5),
        ),
        "copy_object" => Some(Call::put("/bkt/copy").header("x-amz-copy-source", "bkt/o")),
        "get_object_attributes" => Some(object(Call::get, "attributes")?.header("x-amz-object-attributes", "ETag")),
        "create_multipart_upload" => object(Call::post, "uploads"),
        "upload_part" => Some(part().body("part")),
        "upload_part_copy" => Some(part().header("x-amz-copy-source", "bkt/o")),
        "complete_multipart_upload" => Some(upload(Call::post).body(COMPLETE)),
        "abort_multipart_upload" => Some(upload(Call::delete)),
        "list_parts" => Some(upload(Call::get)),
        "list_multipart_uploads" => bucket(Call::get, "uploads"),
        "get_object_tagging" => object(Call::get, "tagging"),
        "put_object_tagging" => Some(object(Call::put, "tagging")?.body(TAGGING)),
        "delete_object_tagging" => object(Call::delete, "tagging"),
        "get_bucket_tagging" => bucket(Call::get, "tagging"),
        "put_bucket_tagging" => Some(bucket(Call::put, "tagging")?.body(TAGGING)),
        "delete_bucket_tagging" => bucket(Call::delete, "tagging"),
        "get_bucket_cors" => bucket(Call::get, "cors"),
        "put_bucket_cors" => Some(bucket(Call::put, "cors")?.body(CORS)),
        "delete_bucket_cors" => bucket(Call::delete, "cors"),
        "get_bucket_acl" => bucket(Call::get, "acl"),
        "put_bucket_acl" => Some(bucket(Call::put, "acl")?.header("x-amz-acl", "private")),
        "get_object_acl" => object(Call::get, "acl"),
        "put_object_acl" => Some(object(Call::put, "acl")?.header("x-amz-acl", "private")),
        "get_bucket_policy" => bucket(Call::get, "policy"),
        "get_bucket_policy_status" => bucket(Call::get, "policyStatus"),
        "get_bucket_lifecycle_configuration" => bucket(Call::get, "lifecycle"),
        "get_bucket_encryption" => bucket(Call::get, "encryption"),
        "put_public_access_block" => Some(bucket(Call::put, "publicAccessBlock")?.body(BLOCK)),
        "get_public_access_block" => bucket(Call::get, "publicAccessBlock"),
        "delete_public_access_block" => bucket(Call::delete, "publicAccessBlock"),
        "get_object_lock_configuration" => bucket(Call::get, "object-lock"),
        "get_object_retention" => object(Call::get, "retention"),
        "get_object_legal_hold" => object(Call::get, "legal-hold"),
        "get_bucket_replication" => bucket(Call::get, "replication"),
        "get_bucket_website" => bucket(Call::get, "website"),
        "get_bucket_ownership_controls" => bucket(Call::get, "ownershipControls"),
        "get_bucket_request_payment" => bucket(Call::get, "requestPayment"),
        "get_bucket_accelerate_configuration" => bucket(Call::get, "accelerate"),
        "get_bucket_logging" => bucket(Call::get, "logging"),
        "get_bucket_notification_configuration" => bucket(Call::get, "notification"),
        "delete_bucket_policy" => bucket(Call::delete, "policy"),
        "delete_bucket_lifecycle" => bucket(Call::delete, "lifecycle"),
        _ => None,
    }
}

fn of(operation: &str, id: &str) -> Call {
    case(operation, id).unwrap_or_else(|| panic!("{operation} has no case here: who may not use it?"))
}

fn reads(action: Action) -> bool {
    matches!(
        action,
        Action::S3ListBuckets | Action::S3ReadBucket | Action::S3ReadObject
    )
}

async fn filled() -> (Edge, String) {
    let edge = Edge::with_bucket().await;
    Call::put("/bkt/o").body("kept").send(&edge).await.ok();
    let upload = Call::post("/bkt/o").query("uploads", "").send(&edge).await.ok();
    let id = upload.element("UploadId");
    (edge, id)
}

/// Whether it was the policy that refused. HEAD has no body to tell.
fn is_denied(reply: &crate::kit::Reply) -> bool {
    reply.status == 403 && (reply.body.is_empty() || reply.element("Code") == "AccessDenied")
}

#[tokio::test]
async fn sec_1_every_operation_wants_a_key() {
    let (edge, id) = filled().await;
    for (operation, _) in proxy::s3::OPERATIONS {
        let reply = of(operation, &id).signed(Signature::Anonymous).send(&edge).await;
        assert!(is_denied(&reply), "{operation}: {} {}", reply.status, reply.text());
        let reply = of(operation, &id).by("nobody", "nobody-secret").send(&edge).await;
        assert_eq!(reply.status, 403, "{operation} with a key that is none");
    }
    assert_eq!(Call::get("/bkt/o").send(&edge).await.ok().text(), "kept");
}

#[tokio::test]
async fn sec_1_another_projects_member_reaches_nothing() {
    let (edge, id) = filled().await;
    for (operation, _) in proxy::s3::OPERATIONS {
        let reply = of(operation, &id).by("alt", "alt-secret").send(&edge).await;
        match *operation {
            "list_buckets" => assert!(
                reply.ok().elements("Name").is_empty(),
                "buckets of others are not listed"
            ),
            "create_bucket" => assert_eq!(reply.error(), "409 BucketAlreadyExists"),
            _ => assert!(is_denied(&reply), "{operation}: {} {}", reply.status, reply.text()),
        }
    }
    // What one may write somewhere does not let one read it elsewhere.
    Call::put("/mine").by("alt", "alt-secret").send(&edge).await.ok();
    let copy = Call::put("/mine/o").header("x-amz-copy-source", "bkt/o");
    copy.by("alt", "alt-secret").send(&edge).await.is("403 AccessDenied");
    assert_eq!(Call::get("/bkt/o").send(&edge).await.ok().text(), "kept");
}

#[tokio::test]
async fn sec_1_readers_read_and_change_nothing() {
    let (edge, id) = filled().await;
    for (operation, action) in proxy::s3::OPERATIONS {
        let reply = of(operation, &id).by("reader", "reader-secret").send(&edge).await;
        let wanted = !reads(*action);
        assert_eq!(
            is_denied(&reply),
            wanted,
            "{operation}: {} {}",
            reply.status,
            reply.text()
        );
        // Without any role, reading is refused too.
        let reply = of(operation, &id).by("none", "none-secret").send(&edge).await;
        assert!(is_denied(&reply), "{operation}: {} {}", reply.status, reply.text());
    }
    let names = Call::get("/bkt").by("reader", "reader-secret").send(&edge).await.ok();
    assert_eq!(names.elements("Key"), ["o"], "nothing was added or removed");
    assert_eq!(Call::get("/bkt/o").send(&edge).await.ok().text(), "kept");
}

#[tokio::test]
async fn members_are_refused_by_no_policy() {
    let (edge, id) = filled().await;
    for (operation, _) in proxy::s3::OPERATIONS {
        let reply = of(operation, &id).send(&edge).await;
        assert!(
            !is_denied(&reply) && reply.status != 501,
            "{operation}: {} {}",
            reply.status,
            reply.text()
        );
    }
}
