"""An EC2 credential is an S3 key: it works at once everywhere, and deleted it stops at once here, soon elsewhere."""

import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from keystone import Keystone

STOPS_EVERYWHERE_SECONDS = 2


def run(cluster):
    keystone = Keystone(cluster.info["keystone"])
    admin = keystone.admin()
    project, user = keystone.tenant(admin, "keys", "keys-password")
    token = keystone.login("keys", "keys-password", project)[1]
    path = f"/users/{user}/credentials/OS-EC2"
    slowest_stop = 0.0
    for round_ in range(5):
        key = keystone.must("POST", path, {"tenant_id": project}, token)["credential"]
        clients = [client(cluster, endpoint, key) for endpoint in cluster.s3["endpoints"]]
        for one in clients:
            one.list_buckets()
        clients[0].create_bucket(Bucket=f"keys-{round_}")
        asked = time.monotonic()
        keystone.must("DELETE", f"{path}/{key['access']}", None, token)
        # This process answered the deletion: its own S3 port must refuse at once.
        assert not opens(clients[0]), "the key still works where it was deleted"
        for one in clients[1:]:
            while opens(one):
                assert time.monotonic() < asked + STOPS_EVERYWHERE_SECONDS, "the key works elsewhere after 2 s"
            slowest_stop = max(slowest_stop, time.monotonic() - asked)
    # A disabled user's key opens nothing, and a bucket of the project is seen by its other keys.
    key = keystone.must("POST", path, {"tenant_id": project}, token)["credential"]
    one = client(cluster, cluster.s3["endpoints"][0], key)
    names = {bucket["Name"] for bucket in one.list_buckets()["Buckets"]}
    assert names == {f"keys-{round_}" for round_ in range(5)}, names
    keystone.must("PATCH", f"/users/{user}", {"user": {"enabled": False}}, admin)
    assert not opens(one), "the key of a disabled user works"
    return {"slowest_stop_seconds": round(slowest_stop, 3)}


def client(cluster, endpoint, key):
    config = Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=key["access"],
        aws_secret_access_key=key["secret"],
        region_name=cluster.s3["region"],
        config=config,
    )


def opens(one):
    try:
        one.list_buckets()
        return True
    except ClientError as error:
        assert error.response["Error"]["Code"] in ("InvalidAccessKeyId", "AccessDenied"), error
        return False
