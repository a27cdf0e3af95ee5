"""An EC2 credential is an S3 key: it works at once everywhere, and deleted it stops at once here, soon elsewhere."""

import time

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
        clients = [cluster.boto_of(key, endpoint) for endpoint in cluster.s3["endpoints"]]
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
    one = cluster.boto_of(key)
    names = {bucket["Name"] for bucket in one.list_buckets()["Buckets"]}
    assert names == {f"keys-{round_}" for round_ in range(5)}, names
    keystone.must("PATCH", f"/users/{user}", {"user": {"enabled": False}}, admin)
    assert not opens(one), "the key of a disabled user works"
    roles(cluster, keystone, admin)
    return {"slowest_stop_seconds": round(slowest_stop, 3)}


def roles(cluster, keystone, admin):
    """A key does what its user's role in the project allows, and no more, at every moment."""
    project, user = keystone.tenant(admin, "roles", "roles-password", role="member")
    token = keystone.login("roles", "roles-password", project)[1]
    key = keystone.must("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": project}, token)["credential"]
    one = cluster.boto_of(key)
    one.create_bucket(Bucket="roles")
    one.put_object(Bucket="roles", Key="o", Body=b"kept")
    grant = f"/projects/{project}/users/{user}/roles/"
    ids = {row["name"]: row["id"] for row in keystone.must("GET", "/roles", None, admin)["roles"]}
    keystone.must("PUT", grant + ids["reader"], None, admin)
    keystone.must("DELETE", grant + ids["member"], None, admin)
    assert one.get_object(Bucket="roles", Key="o")["Body"].read() == b"kept"
    assert [row["Key"] for row in one.list_objects_v2(Bucket="roles")["Contents"]] == ["o"]
    for change in (
        lambda: one.put_object(Bucket="roles", Key="o", Body=b"changed"),
        lambda: one.delete_object(Bucket="roles", Key="o"),
        lambda: one.create_bucket(Bucket="roles-more"),
        lambda: one.delete_bucket(Bucket="roles"),
        lambda: one.copy_object(Bucket="roles", Key="p", CopySource="roles/o"),
        lambda: one.create_multipart_upload(Bucket="roles", Key="m"),
    ):
        assert refusal(change) == "AccessDenied"
    keystone.must("DELETE", grant + ids["reader"], None, admin)
    assert not opens(one), "the key of a user without a role works"


def refusal(change):
    try:
        change()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


def opens(one):
    try:
        one.list_buckets()
        return True
    except ClientError as error:
        assert error.response["Error"]["Code"] in ("InvalidAccessKeyId", "AccessDenied"), error
        return False
