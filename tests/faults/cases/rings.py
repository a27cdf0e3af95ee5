"""Ring files that are refused, and the commands that change rings."""

import contextlib
import json
import os
import shutil
import subprocess

from cluster import wait_for
from load import BUCKET

SETTLE_SECONDS_MAX = 300
#: How long a disk may be out in these cases, in seconds, instead of five minutes.
PATIENCE_SECONDS = 3
PATIENCE = {"HALO_STORAGE__DEVICE_PATIENCE_S": str(PATIENCE_SECONDS), "HALO_STORAGE__NODE_PATIENCE_S": "20"}


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
        with world.cluster("twin") as twin:
            said["of a cluster of the same shape"] = refuse(cluster, changed(twin, "twins", ("set_weight", "d0", "50")))
        assert "another cluster" in said["of a cluster of the same shape"], said
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
    """One ring of each policy is live."""
    moving = lambda: [p["name"] for p in cluster.admin("policy", "list")["policies"] if p["moving"]]  # noqa: E731
    wait_for(lambda: not moving(), SETTLE_SECONDS_MAX, "one ring to be live", moving)


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
