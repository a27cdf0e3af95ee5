"""The same clients with tokens of the identity service, as `openrc` and `clouds.yaml` say."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request

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
    bad_tokens(world)


def status(method, url, token, body=None):
    """Status of a request under a token."""
    request = urllib.request.Request(url, method=method, data=body, headers={"X-Auth-Token": token})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.read()
        return error.code


def issue(world, identity, scope=None):
    """A token, and what it says of itself."""
    url = f"{world.cluster.info['keystone']['auth_url']}/auth/tokens"
    auth = {"auth": {"identity": identity, **({"scope": scope} if scope else {})}}
    request = urllib.request.Request(url, method="POST", data=json.dumps(auth).encode(), headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers["X-Subject-Token"], json.loads(answer.read())["token"]


def bad_tokens(world):
    """Expired, unscoped, of a domain, of the system, revoked, tampered: what Swift answers, and nothing stored."""
    keystone, url = world.cluster.info["keystone"], world.swift["storage_url"]
    user = {"name": keystone["user"], "domain": {"id": "default"}, "password": keystone["password"]}
    by_password = {"methods": ["password"], "password": {"user": user}}
    project = {"project": {"name": keystone["project"], "domain": {"id": "default"}}}
    good, said = issue(world, by_password, project)
    assert status("PUT", f"{url}/tokens", good) == 201
    wrong = {"unscoped": (issue(world, by_password, "unscoped")[0], 403)}
    for name, scope in (("domain", {"domain": {"id": "default"}}),):
        try:
            wrong[name] = (issue(world, by_password, scope)[0], 403)
        except urllib.error.HTTPError as error:
            assert error.code == 401, error
    middle = len(good) // 2
    wrong["tampered"] = (good[:middle] + ("A" if good[middle] != "A" else "B") + good[middle + 1 :], 401)
    wrong["cut"] = (good[:-3], 401)
    wrong["of nobody"] = ("x" * 200, 401)
    revoked = issue(world, by_password, project)[0]
    request = urllib.request.Request(
        f"{keystone['auth_url']}/auth/tokens", method="DELETE", headers={"X-Auth-Token": good, "X-Subject-Token": revoked})
    urllib.request.urlopen(request, timeout=60).close()
    wrong["revoked"] = (revoked, 401)
    wrong["expired"] = (expired(world, good, said), 401)
    for name, (token, wanted) in wrong.items():
        for method, path in (("GET", ""), ("GET", "/tokens"), ("PUT", "/tokens/o"), ("PUT", "/other"), ("DELETE", "/tokens")):
            got = status(method, url + path, token, b"x" if method == "PUT" else None)
            assert got == wanted, (name, method, path, got)
    assert status("GET", f"{url}/tokens/o", good) == 404 and status("GET", f"{url}/other", good) == 404
    assert status("DELETE", f"{url}/tokens", good) == 204


def expired(world, good, said):
    """A token of an application credential that ends in a moment."""
    keystone = world.cluster.info["keystone"]
    ends = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 3))
    wanted = {"application_credential": {"name": "short", "expires_at": ends}}
    made = urllib.request.Request(
        f"{keystone['auth_url']}/users/{said['user']['id']}/application_credentials", method="POST",
        data=json.dumps(wanted).encode(), headers={"X-Auth-Token": good, "Content-Type": "application/json"})
    with urllib.request.urlopen(made, timeout=60) as answer:
        credential = json.loads(answer.read())["application_credential"]
    by_credential = {
        "methods": ["application_credential"],
        "application_credential": {"id": credential["id"], "secret": credential["secret"]}}
    token, told = issue(world, by_credential)
    assert told["expires_at"][:19] <= ends, (told["expires_at"], ends)
    assert status("GET", world.swift["storage_url"], token) in (200, 204)
    while time.time() < time.mktime(time.strptime(ends, "%Y-%m-%dT%H:%M:%S")) - time.timezone + 1:
        time.sleep(0.2)
    return token


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
