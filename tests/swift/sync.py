"""Container sync between two clusters of real processes, both ways, with processes killed and restarted in the middle."""

import json
import os
import signal
import time
import urllib.parse
import urllib.request

import clients
from cluster import Cluster, alive, wait_for
from tree import assert_same, build, digest

TIMEOUT = 3600
KEY = "the containers' own key"
SETTING = "HALO_PROXY__SWIFT__CONTAINER_SYNC"


class Side:
    """One of the two clusters."""

    def __init__(self, world, name, nodes):
        self.world = world
        self.name = name
        self.cluster = Cluster(world.cluster.halo, world.folder / name, nodes=nodes)
        self.cluster.up()

    @property
    def url(self):
        return self.cluster.info["swift"]["storage_url"]

    @property
    def account(self):
        return self.url.rsplit("/", 1)[1]

    def environment(self):
        info = self.cluster.info
        user = f"{self.account.removeprefix('AUTH_')}:{info['s3']['access_key']}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "ST_"))}
        auth = f"{info['swift']['endpoint']}/auth/v1.0"
        return {**inherited, "ST_AUTH": auth, "ST_USER": user, "ST_KEY": info["s3"]["secret_key"]}

    def swift(self, *words, **more):
        return clients.run([self.world.bin("swift"), *words], self.environment(), TIMEOUT, **more)

    def listing(self, container):
        """Name, tag, bytes, type and time of everything."""
        env = self.environment()
        head = urllib.request.Request(env["ST_AUTH"], headers={"X-Auth-User": env["ST_USER"], "X-Auth-Key": env["ST_KEY"]})
        with urllib.request.urlopen(head, timeout=60) as answer:
            token = answer.headers["X-Auth-Token"]
        rows, marker = [], ""
        while True:
            query = urllib.parse.urlencode({"format": "json", "marker": marker})
            request = urllib.request.Request(f"{self.url}/{container}?{query}", headers={"X-Auth-Token": token})
            with urllib.request.urlopen(request, timeout=60) as answer:
                page = json.loads(answer.read())
            if not page:
                return rows
            rows += page
            marker = page[-1]["name"]

    def metric(self, name):
        """The sum of a counter over the cluster's processes."""
        total = 0
        for endpoint in self.cluster.info["admin"]["endpoints"]:
            with urllib.request.urlopen(f"{endpoint}/metrics", timeout=60) as answer:
                for line in answer.read().decode().splitlines():
                    if line.startswith(name):
                        total += float(line.rsplit(" ", 1)[1])
        return int(total)

    def kill(self, process):
        os.kill(process["pid"], signal.SIGKILL)
        wait_for(lambda: not alive(process["pid"]), 10, "a process to die")


def start(world):
    """Two clusters; each knows the other's address, so both are started twice."""
    sides = [Side(world, "a", 3), Side(world, "b", 1)]
    key = world.folder / "realm.key"
    key.write_text("the realm's key\n")
    key.chmod(0o600)
    endpoints = ", ".join(f'{side.name} = "{side.cluster.info["swift"]["endpoint"]}/v1/"' for side in sides)
    for side in sides:
        side.cluster.down()
    realms = f'realms = {{ test = {{ key_file = "{key}", clusters = {{ {endpoints} }} }} }}'
    os.environ[SETTING] = f'{{ interval_s = 1, current = "//test/a", {realms} }}'
    for side in sides:
        side.cluster.up()
    return sides


def same(sides, container):
    listings = [side.listing(container) for side in sides]
    return listings[0] == listings[1] and bool(listings[0])


def wait_same(sides, containers, seconds):
    def seen():
        return [[len(side.listing(container)) for side in sides] for container in containers]

    began = time.monotonic()
    wait_for(lambda: all(same(sides, container) for container in containers), seconds, "both sides to be the same", seen)
    return time.monotonic() - began


def run(world):
    try:
        sides = start(world)
        try:
            sync(world, sides)
        finally:
            for side in sides:
                side.cluster.down()
    finally:
        os.environ.pop(SETTING, None)


def sync(world, sides):
    a, b = sides
    source = world.folder / "source"
    count, size = build(source, world.files, 4 << 20)
    want = digest(source)
    large = world.folder / "large.bin"
    large.write_bytes(os.urandom(world.large_bytes // 8))
    a.swift("upload", "--quiet", "docs", ".", cwd=source)
    b.swift("upload", "--quiet", "--use-slo", "-S", str(world.segment_bytes // 4), "docs", "large.bin", cwd=world.folder)
    for side, other in ((b, a), (a, b)):
        for container in ("docs", "docs_segments"):
            side.swift("post", container, "-t", f"//test/{other.name}/{other.account}/{container}", "-k", KEY)
    restart(world, a, b)
    took = wait_same(sides, ("docs", "docs_segments"), 900)
    world.say(f"{count} files ({size >> 20} MiB) and one of {large.stat().st_size >> 20} MiB: the same {took:.1f} s after the restart")
    back = world.folder / "back"
    back.mkdir()
    b.swift("download", "--quiet", "docs", cwd=back)
    (back / "large.bin").unlink()
    assert_same(want, back, "what B has of A")
    a.swift("download", "--quiet", "docs", "large.bin", "-o", str(world.folder / "copy.bin"))
    assert (world.folder / "copy.bin").read_bytes() == large.read_bytes()
    change(world, sides, sorted(want))
    puts = [side.metric("halo_container_sync_puts_total") for side in sides]
    deletes = [side.metric("halo_container_sync_deletes_total") for side in sides]
    world.say(f"puts sent since the restart: {puts}, deletions: {deletes}")
    assert all(puts) and sum(deletes) > 0


def restart(world, a, b):
    """A's proxy and the node that leads the container's shard die while much is to be sent; B is stopped and started."""
    wait_for(lambda: len(b.listing("docs")) > 10, 60, "the first objects to arrive")
    for process in a.cluster.info["processes"]:
        if "proxy" in process["role"]:
            a.kill(process)
    leader = a.cluster.leader_of("docs")
    a.cluster.kill(leader)
    b.cluster.down()
    a.cluster.up()
    b.cluster.up()
    arrived = len(b.listing("docs"))
    world.say(f"killed A's proxy and node {leader}, restarted B, when {arrived} objects had arrived")


def change(world, sides, names):
    """Deletions on one side, other bytes on the other over S3, metadata: at the same time."""
    a, b = sides
    gone, changed, described = names[: len(names) // 3], names[-5:], names[len(names) // 2]
    b.swift("delete", "--quiet", "docs", *gone)
    s3 = a.cluster.boto()
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert "docs" in buckets, buckets
    for name in changed:
        s3.put_object(Bucket="docs", Key=name, Body=b"written over S3", Metadata={"by": "s3"})
    b.swift("post", "docs", described, "-m", "Color:blue")
    took = wait_same(sides, ("docs",), 300)
    world.say(f"{len(gone)} deletions and {len(changed) + 1} changes: the same after {took:.1f} s")
    left = {row["name"] for row in a.listing("docs")}
    assert not left & set(gone) and set(changed) <= left
    for side in sides:
        stat = side.swift("stat", "docs", changed[0])
        assert "Meta By: s3" in stat, stat
        assert "Meta Color: blue" in side.swift("stat", "docs", described)
        assert side.swift("download", "--quiet", "docs", changed[0], "-o", "-") == "written over S3"
