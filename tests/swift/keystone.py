"""The same clients with tokens of the identity service, as `openrc` and `clouds.yaml` say."""

import os
import subprocess

import clients

TIMEOUT = 300


def environment(world):
    keystone = world.cluster.info["keystone"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "ST_"))}
    return {
        **inherited,
        "OS_AUTH_URL": keystone["auth_url"],
        "OS_IDENTITY_API_VERSION": "3",
        "OS_USERNAME": keystone["user"],
        "OS_PASSWORD": keystone["password"],
        "OS_PROJECT_NAME": keystone["project"],
        "OS_USER_DOMAIN_NAME": keystone["domain"],
        "OS_PROJECT_DOMAIN_NAME": keystone["domain"],
        "OS_CLIENT_CONFIG_FILE": keystone["clouds_file"],
    }


def run(world):
    env = environment(world)
    content = os.urandom(200_000)
    (world.folder / "file").write_bytes(content)
    openstack(world, env, content)
    swift(world, env, content)
    rclone(world, env, content)


def openstack(world, env, content):
    client = [world.bin("openstack"), "--os-cloud", world.cluster.info["keystone"]["cloud"]]
    clients.run([*client, "container", "create", "by-openstack"], env, TIMEOUT)
    clients.run([*client, "object", "create", "by-openstack", "file"], env, TIMEOUT, cwd=world.folder)
    clients.run([*client, "object", "save", "by-openstack", "file", "--file", "saved"], env, TIMEOUT, cwd=world.folder)
    assert (world.folder / "saved").read_bytes() == content
    shown = clients.run([*client, "object", "show", "by-openstack", "file", "-f", "value", "-c", "content-length"], env, TIMEOUT)
    assert shown.strip() == str(len(content)), shown
    clients.run([*client, "container", "delete", "--recursive", "by-openstack"], env, TIMEOUT)


def swift(world, env, content):
    client = [world.bin("swift")]
    clients.run([*client, "upload", "--quiet", "--use-slo", "-S", "70000", "by-swift", "file"], env, TIMEOUT, cwd=world.folder)
    got = subprocess.run([*client, "download", "by-swift", "file", "-o", "-"], env=env, capture_output=True, timeout=TIMEOUT, check=True)
    assert got.stdout == content
    stat = clients.run([*client, "stat", "by-swift", "file"], env, TIMEOUT)
    assert f"Content Length: {len(content)}" in stat, stat
    clients.run([*client, "delete", "--quiet", "by-swift"], env, TIMEOUT)
    wrong = subprocess.run([*client, "stat"], env={**env, "OS_PASSWORD": "wrong"}, capture_output=True, text=True, timeout=TIMEOUT)
    assert wrong.returncode != 0 and "Unauthorized" in wrong.stderr, wrong.stderr


def rclone(world, env, content):
    env = {**env, "RCLONE_CONFIG_K_TYPE": "swift", "RCLONE_CONFIG_K_ENV_AUTH": "true"}
    clients.run(["rclone", "copyto", str(world.folder / "file"), "k:by-rclone/dir/file"], env, TIMEOUT)
    got = subprocess.run(["rclone", "cat", "k:by-rclone/dir/file"], env=env, capture_output=True, timeout=TIMEOUT, check=True)
    assert got.stdout == content
    clients.run(["rclone", "purge", "k:by-rclone"], env, TIMEOUT)
