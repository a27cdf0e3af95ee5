"""A node that was away under load catches up: from the log when the others still have it, else by a snapshot."""

import json
import re
import subprocess
import time
import tomllib
import urllib.request
from pathlib import Path

from cluster import wait_for

# Bodies of this size travel in the log itself: the most that a shard's log has to keep.
SMALL = {"log": {"seconds": 10, "size": "4000B"}}
FULL = {"log": {"seconds": 600, "size": "4000B"}, "long": {"seconds": 1000, "size": "4000B"}}
CATCH_UP_SECONDS_MAX = 600
MEMORY_KIB_MAX = 512 << 10
BUCKET = "absence"


def run(world):
    figures = {}
    for name, load in (FULL if world.full else SMALL).items():
        with world.cluster(f"absence-{name}") as cluster:
            cluster.boto().create_bucket(Bucket=BUCKET)
            label = f"away {load['seconds']} s under PUTs of {load['size']}"
            figures[label] = absent(cluster, load)
            world.say(f"{label}: {figures[label]}")
            if name == "log":
                assert figures[label]["by"] == "log", f"a snapshot was needed after {load['seconds']} s"
    return figures


def absent(cluster, load):
    shard, leader = shard_of(cluster)
    node = next(n for n in cluster.storage_nodes() if n != leader)
    before = shard_metric(cluster, node, shard, "last_index")
    cluster.kill(node)
    command = [cluster.halo, "bench", "put", "--data", str(cluster.data), "--bucket", BUCKET, "--keep", "--json"]
    command += ["--size", load["size"], "--concurrency", "32", "--duration", f"{load['seconds']}s"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    begun = time.monotonic()
    cluster.up()
    wait_for(lambda: caught_up(cluster, shard, node), CATCH_UP_SECONDS_MAX, f"node {node} to catch up", cluster.status)
    caught = time.monotonic() - begun
    healed = caught + cluster.wait_healed(CATCH_UP_SECONDS_MAX)
    purged = shard_metric(cluster, node, shard, "purged_index")
    cluster.note_peaks()
    peak = max(kib for label, kib in cluster.peak_kib.items() if label.endswith(f"-{node}"))
    assert peak < MEMORY_KIB_MAX, f"node {node} took {peak >> 10} MiB"
    return {
        "PUT/s": round(result["requests_per_s"]),
        # A snapshot replaces the log up to its own place; the log alone never goes beyond what the node had.
        "by": "snapshot" if purged > before else "log",
        "caught up after": f"{caught:.1f} s",
        "all copies after": f"{healed:.1f} s",
        "peak memory": f"{peak >> 10} MiB",
    }


def shard_of(cluster):
    row = next(b for b in cluster.admin("bucket", "list")["buckets"] if b["name"] == BUCKET)
    return row["shard"], cluster.leader_of(BUCKET)


def caught_up(cluster, shard, node):
    try:
        shards = cluster.status()["shards"]
    except RuntimeError:
        return False
    members = next(s["members"] for s in shards if s["shard"] == shard)
    return any(m["node"] == node and m["role"] in ("leader", "follower") and m["behind"] == 0 for m in members)


def shard_metric(cluster, node, shard, name):
    """A number of the node's own replica, as Prometheus would see it."""
    process = next(p for p in cluster.info["processes"] if p["node"] == node and "storage" in p["role"])
    settings = tomllib.loads(Path(process["data"], "node.toml").read_text())
    with urllib.request.urlopen(f"http://{settings['admin']['listen']}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return float(re.search(rf'^halo_shard_{name}{{shard="{shard}"}} (\S+)$', text, re.M).group(1))
