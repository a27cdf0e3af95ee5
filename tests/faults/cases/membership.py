"""Disks and nodes that leave and come, by themselves and by an operator's word, under load."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import time

from load import BUCKET, Load

SETTLE_SECONDS_MAX = 300
#: How long a disk may be out in these cases, in seconds, instead of five minutes.
PATIENCE_SECONDS = 3
PATIENCE = {"HALO_STORAGE__DEVICE_PATIENCE_S": str(PATIENCE_SECONDS), "HALO_STORAGE__NODE_PATIENCE_S": "20"}


def device_vanishes(world):
    """A running node's disk vanishes: others stand in by themselves, and an empty disk in its place is taken back."""
    with variables(PATIENCE), world.cluster("vanishes", extra=("--devices", "2")) as cluster:
        folder = cluster.data / "node-2" / "device-0"
        device = device_at(cluster, folder)
        with Load(cluster, world.folder / "vanishes") as load:
            load.run(world.pick(4, 8))
            gone = folder.rename(folder.with_name("gone"))
            begun = time.monotonic()
            until(lambda: failed(cluster) == [device], 60, "the cluster to notice", lambda: cluster.status()["devices"])
            noticed = time.monotonic() - begun
            wait_settled(cluster)
            rebuilt = time.monotonic() - begun
            load.run(world.pick(2, 5))
            folder.mkdir()
            begun = time.monotonic()
            until(lambda: failed(cluster) == [], 120, "the new disk to be taken back", lambda: ring(cluster, "status"))
            wait_settled(cluster)
            back = time.monotonic() - begun
            load.run(world.pick(2, 5))
        cluster.wait_healed(120)
        figures = load.verify()
        verify_all(cluster)
        shutil.rmtree(gone)
    return {
        **figures,
        "noticed after": f"{noticed:.1f} s, of which {PATIENCE_SECONDS} s of patience",
        "rebuilt onto the others after": f"{rebuilt:.1f} s",
        "an empty disk has its copies after": f"{back:.1f} s, of which 30 s of patience",
    }


def device_by_hand(world):
    """An operator fails a disk, drains another, and gives both back; a disk nobody can stand in for stays."""
    with world.cluster("by-hand", extra=("--devices", "2")) as cluster:
        with Load(cluster, world.folder / "by-hand") as load:
            load.run(world.pick(3, 6))
            cluster.admin("device", "fail", "2")
            assert failed(cluster) == [2], ring(cluster, "status")
            wait_settled(cluster)
            cluster.admin("device", "replace", "2")
            assert failed(cluster) == [], ring(cluster, "status")
            wait_settled(cluster)
            held = blobs_on(cluster, 5)
            cluster.admin("device", "drain", "5")
            wait_settled(cluster)
            # What was deleted within the last hour stays for slow readers; everything that lives has left.
            until(lambda: blobs_on(cluster, 5) < held / 2, 120, "the drained disk to be emptied", lambda: cluster.status()["devices"])
        cluster.wait_healed(120)
        figures = load.verify()
        verify_all(cluster)
        unknown = cluster.refused("device", "fail", "77")
        assert "no ring names device 77" in unknown, unknown
    with world.cluster("by-hand-3") as cluster:
        cluster.boto().create_bucket(Bucket=BUCKET)
        stuck = cluster.refused("device", "fail", "1")
        assert "nobody can stand in for device 1" in stuck, stuck
    return {**figures, "nobody to stand in": stuck.strip()}


def device_added(world):
    """A node gets a second disk, under load."""
    with world.cluster("added") as cluster:
        with Load(cluster, world.folder / "added") as load:
            load.run(world.pick(3, 6))
            nobody = cluster.refused("device", "add", "3")
            assert "[[storage.devices]]" in nobody, nobody
            config = cluster.data / "node-2" / "node.toml"
            text = config.read_text()
            config.write_text(text.replace("[[storage.devices]]", '[[storage.devices]]\nid = 3\npath = "device-1"\n\n[[storage.devices]]', 1))
            cluster.kill(2)
            cluster.up()
            done = cluster.admin("device", "add", "3")["done"]
            wait_settled(cluster)
            until(lambda: blobs_on(cluster, 3) > 0, 60, "the new disk to hold something")
            load.run(world.pick(2, 5))
        cluster.wait_healed(120)
        figures = load.verify()
        verify_all(cluster)
    return {**figures, "it said": done, "without its configuration": nobody.strip()}


def node_drained(world):
    """A fourth node joins, gets data, is drained, stopped and removed, and does not come back."""
    with world.cluster("drained") as cluster:
        with Load(cluster, world.folder / "drained") as load:
            load.run(world.pick(2, 5))
            cluster.nodes = 4
            cluster.up()
            ring(cluster, "apply", cluster.data / "object.ring", "--min-part-hours", "0")
            wait_settled(cluster)
            holds = cluster.refused("node", "remove", "4")
            cluster.admin("node", "drain", "4")
            wait_settled(cluster)
            until(lambda: voters(cluster, 4) == 0, 120, "the seats to move", lambda: cluster.status()["shards"])
            answers = cluster.refused("node", "remove", "4")
            cluster.kill(4)
            cluster.admin("node", "remove", "4")
            cluster.nodes = 3
            cluster.up()
            until(lambda: [n["node"] for n in cluster.status()["nodes"]] == [1, 2, 3], 60, "the node to be forgotten",
                  lambda: cluster.status()["nodes"])
            load.run(world.pick(2, 5))
        cluster.wait_healed(120)
        figures = load.verify()
        verify_all(cluster)
        log = cluster.data / "node-4" / "again.log"
        with log.open("w") as to:
            command = [cluster.halo, "server", "--config", str(cluster.data / "node-4" / "node.toml")]
            again = subprocess.Popen(command, stdout=to, stderr=to)
        try:
            until(lambda: "was removed from the cluster" in log.read_text(), 60, "the removed node to hear of it", log.read_text)
        finally:
            again.terminate()
            again.wait(60)
        assert [n["node"] for n in cluster.status()["nodes"]] == [1, 2, 3]
        rejoin = re.search(r"this node was removed[^\n]*", log.read_text()).group(0)
    return {**figures, "while it holds data": holds.strip(), "while it runs": answers.strip(), "when it comes back": rejoin}


def node_lost(world):
    """One of four nodes is lost for good: others stand in by themselves, then an operator removes it."""
    with variables(PATIENCE), world.cluster("lost", nodes=4) as cluster:
        with Load(cluster, world.folder / "lost") as load:
            load.run(world.pick(3, 6))
            device = next(d["device"] for d in cluster.status()["devices"] if d["node"] == 4)
            cluster.kill(4)
            shutil.rmtree(cluster.data / "node-4")
            begun = time.monotonic()
            until(lambda: failed(cluster) == [device], 90, "the cluster to notice", lambda: ring(cluster, "status"))
            wait_settled(cluster)
            whole = time.monotonic() - begun
            cluster.admin("node", "drain", "4")
            wait_settled(cluster)
            until(lambda: voters(cluster, 4) == 0, 120, "the seats to move", lambda: cluster.status()["shards"])
            cluster.admin("node", "remove", "4")
            cluster.nodes = 3
            cluster.up()
            load.run(world.pick(2, 5))
        cluster.wait_healed(120)
        figures = load.verify()
        verify_all(cluster)
    return {**figures, "all copies again after": f"{whole:.1f} s, of which 20 s of patience"}


def ring_refusals(world):
    """Ring files that are damaged, older, another cluster's, with unknown devices, too small, or without a failure domain."""
    said = {}
    with world.cluster("rings") as cluster, world.cluster("other-rings", extra=("--devices", "2")) as other:
        cluster.boto().create_bucket(Bucket=BUCKET)
        live = (cluster.data / "object.ring").read_bytes()
        damaged = cluster.data / "damaged.ring"
        damaged.write_bytes(live[:-40] + bytes(40))
        said["damaged"] = refuse(cluster, damaged)
        (cluster.data / "words.ring").write_text("not a ring")
        said["no ring"] = refuse(cluster, cluster.data / "words.ring")
        said["older"] = refuse(cluster, cluster.data / "object.ring")
        said["another cluster's"] = refuse(cluster, changed(other, "theirs", ("set_weight", "d0", "50")))
        said["unknown devices"] = refuse(cluster, changed(cluster, "unknown", ("add", "r1z9-127.0.0.1:7999/d0", "100")))
        said["too small"] = build_refused(cluster, ("set_weight", "d1", "0"))
        said["another partition count"] = refuse(cluster, fresh(cluster))
        thinner = changed(other, "thinner", ("set_weight", "d4", "10"), ("set_weight", "d5", "10"))
        said["a failure domain less"] = refuse(other, thinner)
        assert "fewer" in said["a failure domain less"], said["a failure domain less"]
        twice = ("set_weight", "d0", "50"), ("rebalance", "--force"), ("set_weight", "d2", "50")
        said["two copies of a partition at once"] = refuse(other, changed(other, "twice", *twice))
    return said


def changed(cluster, name, *steps):
    builder = cluster.data / f"{name}.builder"
    shutil.copyfile(cluster.data / "object.builder", builder)
    return build(cluster, builder, *steps)


def build(cluster, builder, *steps):
    for step in (*steps, ("rebalance", "--force"), ("write_ring", str(builder) + ".ring")):
        done = halo(cluster, "ring", builder, *step)
        assert done.returncode in (0, 1), f"{step}: {done.stdout}{done.stderr}"
    return str(builder) + ".ring"


def build_refused(cluster, step):
    """Too few devices for the copies: the builder says so before there is a file."""
    builder = cluster.data / "small.builder"
    shutil.copyfile(cluster.data / "object.builder", builder)
    halo(cluster, "ring", builder, *step)
    done = halo(cluster, "ring", builder, "rebalance")
    assert done.returncode == 2, done.stdout + done.stderr
    return (done.stderr or done.stdout).strip().splitlines()[-1]


def fresh(cluster):
    """A ring of the same devices with another number of partitions."""
    builder = cluster.data / "fresh.builder"
    devices = json.loads(halo(cluster, "ring", cluster.data / "object.builder", "--json").stdout)["devices"]
    assert halo(cluster, "ring", builder, "create", "6", "3", "0").returncode == 0
    for device in devices:
        words = ("--zone", device["zone"], "--region", device["region"], "--node", device["node"], "--address",
                 device["address"], "--name", device["name"], "--weight", "100")
        done = halo(cluster, "ring", builder, "add", *words)
        assert done.returncode == 0, done.stderr
    for _ in range(3):
        path = build(cluster, builder)
    return path


def refuse(cluster, file):
    done = halo(cluster, "ring", "apply", file, "--data", cluster.data)
    assert done.returncode == 1, f"{file} was not refused: {done.stdout}"
    return done.stderr.strip()


def halo(cluster, *words):
    return subprocess.run([cluster.halo, *map(str, words)], capture_output=True, text=True, timeout=120)


def ring(cluster, *words):
    done = halo(cluster, "ring", *words, "--json", "--data", cluster.data)
    assert done.returncode == 0, f"halo ring {words}: {done.stderr}"
    return json.loads(done.stdout)


def failed(cluster):
    return ring(cluster, "status")["failed_devices"]


def wait_settled(cluster):
    settled = lambda: ring(cluster, "status")["phase"] == "settled"  # noqa: E731
    until(settled, SETTLE_SECONDS_MAX, "one ring to be live", lambda: ring(cluster, "status"))


def voters(cluster, node):
    shards = cluster.status()["shards"]
    assert all(shard["members"] for shard in shards)
    return sum(m["node"] == node and m["role"] != "learner" for shard in shards for m in shard["members"])


def device_at(cluster, folder):
    return next(d["device"] for d in cluster.status()["devices"] if d["path"] == str(folder) or d["path"].endswith("node-2/device-0"))


def blobs_on(cluster, device):
    return next(d["blobs"] for d in cluster.status()["devices"] if d["device"] == device)


def verify_all(cluster):
    verified = json.loads(halo(cluster, "admin", "verify", BUCKET, "--json", "--data", cluster.data).stdout)
    assert verified["whole"], verified


@contextlib.contextmanager
def variables(values):
    """Variables for the processes started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def until(condition, seconds, what, seen=lambda: ""):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}; last seen: {seen()}"
        time.sleep(0.3)
