"""An erasure coded policy on six devices of three nodes: real clients over S3 and Swift, a lost node, a lost device."""

import hashlib
import shutil
import subprocess
import time

import clients
from botocore.exceptions import ClientError
from cases.policies import fill, read_all, refused
from cluster import create_bucket, wait_for
from tree import assert_same, build, digest

SMALL = {"objects": 40, "large": 24 << 20, "files": 60, "file": 4 << 20}
FULL = {"objects": 1_000, "large": 400 << 20, "files": 1_000, "file": 32 << 20}
HEAL_SECONDS_MAX = 300
TIMEOUT = 1800
DATA, PARITY = 4, 2
BUCKET = "coded"


def run(world):
    size = FULL if world.full else SMALL
    with world.cluster("erasure-coding", extra=["--devices", "2"]) as cluster:
        make_policy(cluster)
        s3 = cluster.boto()
        create_bucket(s3, BUCKET, "ec-4-2")
        used_before = live_bytes(cluster)
        written = fill(s3, BUCKET, "s3", size)
        spread(cluster, BUCKET, "s3/large")
        used = live_bytes(cluster) - used_before
        ratio = used / sum(written.values())
        multipart(s3, size)
        tree = backups(world, cluster, size)

        victim = cluster.storage_nodes()[0]
        cluster.kill(victim)
        read_all(s3, BUCKET, written)
        back(world, cluster, tree, "without a node")
        # Five fragments find no three nodes: refused, never half written.
        try:
            s3.put_object(Bucket=BUCKET, Key="refused", Body=b"x" * 100_000)
            raise AssertionError("a write without a third node was acknowledged")
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503, error
        # Small objects do not lie on devices.
        s3.put_object(Bucket=BUCKET, Key="small", Body=b"x" * 1000)
        cluster.up()

        rebuilt = lose_a_device(cluster, victim)
        s3 = cluster.boto()
        read_all(s3, BUCKET, written)
        back(world, cluster, tree, "after the rebuild")
        spread(cluster, BUCKET, "s3/large")
        counted = whole(cluster)
        return {
            "objects": counted["versions"],
            "fragments counted": counted["copies"],
            "stored bytes for each byte": f"{ratio:.2f}",
            "a lost device rebuilt after": f"{rebuilt:.1f} s",
        }


def make_policy(cluster):
    refused(cluster, "policy", "create", "ec-8-3", "--data-fragments", "8", "--parity", "3")
    refused(cluster, "policy", "create", "ec-5-1", "--data-fragments", "5", "--parity", "1")
    refused(cluster, "policy", "create", "both", "--copies", "2", "--data-fragments", "4", "--parity", "2")
    made = cluster.admin("policy", "create", "ec-4-2", "--data-fragments", str(DATA), "--parity", str(PARITY))
    assert (made["data"], made["parity"], made["copies"]) == (DATA, PARITY, None), made
    assert "while a node is down" in made["note"], made


def spread(cluster, bucket, key):
    """Every fragment of every chunk is there, each on a device of its own."""
    place = cluster.admin("object", "where", bucket, key)
    for stream in place["streams"]:
        for chunk in stream["chunks"]:
            good = [copy for copy in chunk["copies"] if copy["primary"] and copy["state"] == "ok"]
            assert sorted(copy["fragment"] for copy in good) == list(range(DATA + PARITY)), chunk
            assert len({copy["device"] for copy in good}) == DATA + PARITY, chunk


def live_bytes(cluster):
    return sum(device["live_bytes"] for device in cluster.status()["devices"])


def multipart(s3, size):
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    body = hashlib.sha256(b"parts").digest() * ((6 << 20) // 32)
    parts = []
    for number in (1, 2):
        etag = s3.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    s3.complete_multipart_upload(Bucket=BUCKET, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    ranged = s3.get_object(Bucket=BUCKET, Key="parts", Range=f"bytes={(6 << 20) - 100}-{(6 << 20) + 99}")["Body"].read()
    assert ranged == body[-100:] + body[:100]


def backups(world, cluster, size):
    """A tree into the policy's buckets by rclone, over S3 and over Swift."""
    source = world.folder / "ec-tree"
    build(source, size["files"], size["file"])
    over_s3 = clients.Rclone(cluster, BUCKET, world.folder, TIMEOUT)
    over_s3.backup(source)
    over_s3.check()
    env = swift_environment(cluster)
    clients.run(["rclone", "copy", str(source), "ec:swift-coded/tree"], env, TIMEOUT)
    clients.run(["rclone", "check", "--download", str(source), "ec:swift-coded/tree"], env, TIMEOUT)
    spread_any(cluster, "swift-coded")
    return source, over_s3, env


def spread_any(cluster, bucket):
    """The container was born under the policy that its client named."""
    report = cluster.admin("verify", bucket)
    assert report["whole"] and report["copies"] == (DATA + PARITY) * report["chunks"] > 0, report


def back(world, cluster, tree, when):
    source, over_s3, env = tree
    want = digest(source)
    target = world.folder / "ec-back"
    over_s3.restore(source, target)
    assert_same(want, target, f"rclone over S3 {when}")
    shutil.rmtree(target)
    clients.run(["rclone", "copy", "ec:swift-coded/tree", str(target)], env, TIMEOUT)
    assert_same(want, target, f"rclone over Swift {when}")
    shutil.rmtree(target)


def swift_environment(cluster):
    keystone = cluster.info["keystone"]
    return {
        **cluster.environment(),
        "RCLONE_CONFIG_EC_TYPE": "swift",
        "RCLONE_CONFIG_EC_AUTH": keystone["auth_url"],
        "RCLONE_CONFIG_EC_AUTH_VERSION": "3",
        "RCLONE_CONFIG_EC_USER": keystone["user"],
        "RCLONE_CONFIG_EC_KEY": keystone["password"],
        "RCLONE_CONFIG_EC_TENANT": keystone["project"],
        "RCLONE_CONFIG_EC_DOMAIN": keystone["domain"],
        "RCLONE_CONFIG_EC_TENANT_DOMAIN": keystone["domain"],
        "RCLONE_CONFIG_EC_STORAGE_POLICY": "ec-4-2",
    }


def lose_a_device(cluster, node):
    """The node's second disk is replaced by an empty one; seconds until everything is whole again."""
    cluster.wait_healed(HEAL_SECONDS_MAX)
    second = [device for device in cluster.status()["devices"] if device["node"] == node][1]
    assert second["blobs"] > 0, second
    cluster.kill(node)
    shutil.rmtree(second["path"])
    cluster.up()
    begun = time.monotonic()
    wait_for(lambda: is_whole(cluster), HEAL_SECONDS_MAX, "every fragment to be counted", lambda: cluster.status())
    return time.monotonic() - begun


def is_whole(cluster):
    try:
        return all(cluster.admin("verify", bucket)["whole"] for bucket in (BUCKET, "swift-coded"))
    except (RuntimeError, subprocess.TimeoutExpired):
        return False


def whole(cluster):
    report = cluster.admin("verify", BUCKET)
    assert report["whole"] and report["copies"] == (DATA + PARITY) * report["chunks"], report
    return report
