"""The openstack client, unmodified, with the clouds.yaml and the openrc that `halo up` wrote."""

import json
import os
import shlex
import subprocess
import tempfile
from pathlib import Path


def run(cluster):
    info = cluster.info["keystone"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    environment |= {"OS_CLIENT_CONFIG_FILE": info["clouds_file"], "OS_CLOUD": info["cloud"]}

    def openstack(*words, plain=False, fails=False, with_environment=None):
        command = ["openstack", *words] + ([] if plain else ["-f", "json"])
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=with_environment or environment)
        if fails:
            assert done.returncode != 0, f"{words} was done: {done.stdout}"
            return done.stderr
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
        return None if plain else json.loads(done.stdout)

    token = openstack("token", "issue")
    assert token["project_id"] == info["project"], token
    types = {service["Type"] for service in openstack("catalog", "list")}
    assert {"identity", "object-store", "s3"} <= types, types
    project = openstack("project", "create", "photos", "--description", "of all")
    assert openstack("project", "show", "photos")["id"] == project["id"]
    user = openstack("user", "create", "--password", "bobs-password", "--email", "bob@example.org", "bob")
    openstack("role", "add", "--user", "bob", "--project", "photos", "member", plain=True)
    rows = openstack("role", "assignment", "list", "--user", "bob", "--names")
    assert [row["Role"] for row in rows] == ["member"], rows
    bob = {name: value for name, value in environment.items() if not name.startswith("OS_")} | {
        "OS_AUTH_URL": info["auth_url"],
        "OS_USERNAME": "bob",
        "OS_PASSWORD": "bobs-password",
        "OS_PROJECT_NAME": "photos",
        "OS_USER_DOMAIN_NAME": info["domain"],
        "OS_PROJECT_DOMAIN_NAME": info["domain"],
        "OS_IDENTITY_API_VERSION": "3",
    }
    assert openstack("token", "issue", with_environment=bob)["user_id"] == user["id"]
    refused = openstack("project", "create", "more", fails=True, with_environment=bob)
    assert "403" in refused, refused
    made = openstack("application", "credential", "create", "--role", "reader", "nightly", with_environment=bob)
    by_credential = {
        "PATH": environment["PATH"],
        "OS_AUTH_TYPE": "v3applicationcredential",
        "OS_AUTH_URL": info["auth_url"],
        "OS_APPLICATION_CREDENTIAL_ID": made.get("id") or made["ID"],
        "OS_APPLICATION_CREDENTIAL_SECRET": made.get("secret") or made["Secret"],
    }
    issued = openstack("token", "issue", with_environment=by_credential)
    assert issued["project_id"] == project["id"], issued
    objects(openstack, bob, cluster)
    key = openstack("ec2", "credentials", "create", with_environment=bob)
    listed = openstack("ec2", "credentials", "list", with_environment=bob)
    assert [row["Access"] for row in listed] == [key["access"]], listed
    openstack("ec2", "credentials", "delete", key["access"], plain=True, with_environment=bob)
    openstack("group", "create", "staff")
    openstack("group", "add", "user", "staff", "bob", plain=True)
    openstack("group", "contains", "user", "staff", "bob", plain=True)
    openstack("domain", "create", "other")
    openstack("user", "set", "--disable", "bob", plain=True)
    openstack("token", "issue", fails=True, with_environment=bob)
    openstack("user", "delete", "bob", plain=True)
    openstack("project", "delete", "photos", plain=True)
    # The same by the openrc, in a shell.
    script = f". {shlex.quote(info['openrc_file'])} && openstack token issue -f json"
    plain = {name: value for name, value in environment.items() if not name.startswith("OS_")}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, env=plain)
    assert done.returncode == 0 and json.loads(done.stdout)["project_id"] == info["project"], done.stderr
    cluster.admin("identity", "rotate-keys")
    return {}


def objects(openstack, bob, cluster):
    """Containers and objects by the same client; what Swift stores, S3 reads."""
    with tempfile.TemporaryDirectory(prefix="halo-openstack-") as folder:
        folder = Path(folder)
        content = os.urandom(300_000)
        (folder / "photo.raw").write_bytes(content)
        openstack("container", "create", "album", with_environment=bob)
        made = openstack("object", "create", "album", str(folder / "photo.raw"), "--name", "2026/photo.raw", with_environment=bob)
        assert made[0]["object"] == "2026/photo.raw", made
        listed = openstack("object", "list", "album", with_environment=bob)
        assert [row["Name"] for row in listed] == ["2026/photo.raw"], listed
        save = ("object", "save", "album", "2026/photo.raw", "--file", str(folder / "saved"))
        openstack(*save, plain=True, with_environment=bob)
        assert (folder / "saved").read_bytes() == content
        shown = openstack("object", "show", "album", "2026/photo.raw", with_environment=bob)
        assert int(shown["content-length"]) == len(content), shown
        key = openstack("ec2", "credentials", "create", with_environment=bob)
        s3 = cluster.boto_of(key)
        assert s3.get_object(Bucket="album", Key="2026/photo.raw")["Body"].read() == content
        openstack("ec2", "credentials", "delete", key["access"], plain=True, with_environment=bob)
        # Somebody of another project does not see it; the administrator's token is of another project.
        assert "album" not in {row["Name"] for row in openstack("container", "list")}
        openstack("object", "delete", "album", "2026/photo.raw", plain=True, with_environment=bob)
        openstack("container", "delete", "album", plain=True, with_environment=bob)
