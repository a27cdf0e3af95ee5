"""The main job: a tree and a large file in and out by `swift`, and what its users do in between."""

import json
import os
import subprocess
import time

import clients
from tree import assert_same, build, digest

TIMEOUT = 3600


def random_file(path, size):
    with open(path, "wb") as file:
        left = size
        while left:
            left -= file.write(os.urandom(min(left, 1 << 20)))


def timed(world, what, bytes_moved, command, env, **more):
    """Runs a client and says how long it took."""
    began = time.monotonic()
    clients.run(command, env, TIMEOUT, **more)
    took = time.monotonic() - began
    world.say(f"{what}: {took:.1f} s, {bytes_moved / took / (1 << 20):.1f} MiB/s")


def run(world):
    env = world.swift_environment()
    swift = [world.bin("swift")]
    source = world.folder / "source"
    count, size = build(source, world.files, 4 << 20)
    want = digest(source)
    world.say(f"{count} files, {size >> 20} MiB")
    timed(world, "swift upload of the tree", size, [*swift, "upload", "--quiet", "tree", "."], env, cwd=source)
    back = world.folder / "back"
    back.mkdir()
    timed(world, "swift download of the tree", size, [*swift, "download", "--quiet", "tree"], env, cwd=back)
    assert_same(want, back, "swift download")
    listed = clients.run([*swift, "list", "tree"], env, TIMEOUT).splitlines()
    assert len(listed) == count, (len(listed), count)
    stat = clients.run([*swift, "stat", "tree"], env, TIMEOUT)
    assert f"Objects: {count}" in stat and f"Bytes: {size}" in stat, stat
    segments(world, swift, env)
    name = next(iter(want))
    post_and_copy(world, swift, env, name)
    tempurl(world, swift, env, name, source)
    timed(world, "swift delete of the tree", 0, [*swift, "delete", "--quiet", "tree"], env)
    account = json.loads(clients.run(["curl", "-sf", "-H", f"X-Auth-Token: {token(world)}", f"{world.swift['storage_url']}?format=json"], env, 60))
    assert "tree" not in [row["name"] for row in account], account


def segments(world, swift, env):
    """A large file as a static large object."""
    large = world.folder / "large.bin"
    random_file(large, world.large_bytes)
    upload = [*swift, "upload", "--quiet", "--use-slo", "-S", str(world.segment_bytes), "big", "large.bin"]
    timed(world, f"swift upload of {world.large_bytes >> 20} MiB", world.large_bytes, upload, env, cwd=world.folder)
    stat = clients.run([*swift, "stat", "big", "large.bin"], env, TIMEOUT)
    assert f"Content Length: {world.large_bytes}" in stat, stat
    copy = world.folder / "copy.bin"
    download = [*swift, "download", "--quiet", "big", "large.bin", "-o", str(copy)]
    timed(world, f"swift download of {world.large_bytes >> 20} MiB", world.large_bytes, download, env)
    subprocess.run(["cmp", str(large), str(copy)], check=True)
    clients.run([*swift, "delete", "--quiet", "big", "large.bin"], env, TIMEOUT)
    left = clients.run([*swift, "list", "big_segments"], env, TIMEOUT).splitlines()
    assert left == [], left
    large.unlink()
    copy.unlink()


def post_and_copy(world, swift, env, name):
    clients.run([*swift, "post", "tree", name, "-m", "Color:blue", "-H", "Content-Type: text/x-test"], env, TIMEOUT)
    stat = clients.run([*swift, "stat", "tree", name], env, TIMEOUT)
    assert "Meta Color: blue" in stat and "text/x-test" in stat, stat
    clients.run([*swift, "copy", "tree", name, "-d", "/copies/of it"], env, TIMEOUT)
    stat = clients.run([*swift, "stat", "copies", "of it"], env, TIMEOUT)
    assert "Meta Color: blue" in stat, stat


def tempurl(world, swift, env, name, source):
    clients.run([*swift, "post", "-m", "Temp-URL-Key:a key of ours"], env, TIMEOUT)
    path = f"/v1/AUTH_{world.project}/tree/{name}"
    made = clients.run([*swift, "tempurl", "--digest", "sha256", "GET", "600", path, "a key of ours"], env, TIMEOUT).strip()
    got = subprocess.run(["curl", "-sf", world.swift["endpoint"] + made], capture_output=True, timeout=60, check=True)
    assert got.stdout == (source / name).read_bytes()
    wrong = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", world.swift["endpoint"] + made + "0"],
        capture_output=True, text=True, timeout=60, check=True)
    assert wrong.stdout == "401", wrong.stdout


def token(world):
    """A token by curl alone."""
    done = subprocess.run(
        ["curl", "-sf", "-D", "-", "-o", "/dev/null", "-H", f"X-Auth-User: {world.user}",
         "-H", f"X-Auth-Key: {world.s3['secret_key']}", world.auth],
        capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    return next(line.split(": ", 1)[1] for line in lines if line.lower().startswith("x-auth-token:"))
