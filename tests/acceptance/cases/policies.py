"""Two storage policies on the same devices: each bucket's objects lie as its policy says, through a node's loss."""

import hashlib
import subprocess

from botocore.exceptions import ClientError
from cluster import create_bucket, wait_for

SMALL = {"objects": 60, "large": 9 << 20}
FULL = {"objects": 2_000, "large": 200 << 20}
HEAL_SECONDS_MAX = 180
# The two policies' copies; the first is there from the start.
COPIES = {"plain": 3, "pair": 2}


def run(world):
    size = FULL if world.full else SMALL
    with world.cluster("policies") as cluster:
        refused(cluster, "policy", "create", "GLACIER", "--copies", "2")
        refused(cluster, "policy", "create", "wide", "--copies", "4")
        made = cluster.admin("policy", "create", "pair", "--copies", "2")
        assert (made["id"], made["copies"]) == (1, 2), made
        refused(cluster, "policy", "create", "pair", "--copies", "2")
        names = [policy["name"] for policy in cluster.admin("policy", "list")["policies"]]
        assert names == ["Policy-0", "pair"], names

        s3 = cluster.boto()
        create_bucket(s3, "plain", None)
        create_bucket(s3, "pair", "pair")
        # Made again by its owner: fine under its own policy, refused under another.
        create_bucket(s3, "pair", "pair")
        expect("BucketAlreadyOwnedByYou", lambda: create_bucket(s3, "pair", "STANDARD"))
        expect("InvalidStorageClass", lambda: create_bucket(s3, "other", "SHINY"))

        written = {bucket: fill(s3, bucket, "before", size) for bucket in COPIES}
        check_places(cluster, "before")
        victim = cluster.storage_nodes()[0]
        cluster.kill(victim)
        for bucket in COPIES:
            written[bucket] |= fill(s3, bucket, "during", size)
            read_all(s3, bucket, written[bucket])
        cluster.up()
        s3 = cluster.boto()
        healed = cluster.wait_healed(HEAL_SECONDS_MAX)
        wait_for(lambda: whole(cluster), HEAL_SECONDS_MAX, "every copy to be counted", lambda: cluster.status())
        check_places(cluster, "before")
        check_places(cluster, "during")
        for bucket in COPIES:
            read_all(s3, bucket, written[bucket])
        counted = verify(cluster)
        return {"objects": 2 * 2 * (size["objects"] + 1), "copies counted": counted, "healed after": f"{healed:.1f} s"}


def refused(cluster, *words):
    command = [cluster.halo, "admin", *words, "--data", str(cluster.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and done.stderr.strip(), (words, done.stdout, done.stderr)


def expect(code, call):
    try:
        call()
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return
    raise AssertionError(f"{code} was expected")


def body(key, length):
    seed = hashlib.sha256(key.encode()).digest()
    return (seed * (length // len(seed) + 1))[:length]


def fill(s3, bucket, prefix, size):
    """Objects on both sides of the inline limit, and one of several chunks."""
    lengths = {f"{prefix}/{number}": 3_000 + number * 997 for number in range(size["objects"])}
    lengths[f"{prefix}/large"] = size["large"]
    for key, length in lengths.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body(key, length))
    return lengths


def read_all(s3, bucket, lengths):
    for key, length in lengths.items():
        got = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert got == body(key, length), f"{bucket}/{key} has other bytes"


def check_places(cluster, prefix):
    for bucket, copies in COPIES.items():
        place = cluster.admin("object", "where", bucket, f"{prefix}/large")
        for stream in place["streams"]:
            for chunk in stream["chunks"]:
                good = [copy for copy in chunk["copies"] if copy["primary"] and copy["state"] == "ok"]
                assert len(good) == copies, (bucket, chunk)


def whole(cluster):
    try:
        return all(report["whole"] for report in reports(cluster))
    except RuntimeError:
        return False


def reports(cluster):
    return [cluster.admin("verify", bucket) for bucket in COPIES]


def verify(cluster):
    return {bucket: report["copies"] for bucket, report in zip(COPIES, reports(cluster))}
