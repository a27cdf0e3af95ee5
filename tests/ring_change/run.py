#!/usr/bin/env python3
"""Rebalance under load, from outside: three nodes, a fourth that is filled (3 -> 4) and drained again (4 -> 3).

Objects that stay lie there before; clients put, get, overwrite and delete others all the time, and an oracle remembers
what was acknowledged. Printed at the end: errors (there must be none), the p99 of a small GET while copies move against
the quiet one, bytes moved against the ideal, and what `halo admin verify` counts; of several runs the medians. Exit code 0
only when no client saw an error and everything acknowledged is whole.

    tests/ring_change/run.py --halo target/release/halo --runs 5
"""

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "acceptance"))

from cluster import Cluster, wait_for  # noqa: E402

BUCKET = "ring-change"
KEPT_BUCKET = "kept"
KEPT_BYTES = 256 << 10
SIZES = [1_000, 20_000, 60_000, 300_000]
WEIGHTS = [25, 35, 30, 10]
SMALL_BYTES_MAX = 64_000
MOVE_SECONDS_MAX = 900
# What may be left of the old copies, and of what was overwritten a moment ago.
SURPLUS_MAX = 1.01
# Copies of an object that may vanish within so many seconds: what clients delete meanwhile.
STEADY, STEADY_SECONDS = 0.002, 5
# Little beside what is kept: what is overwritten and deleted while copies move need not move.
KEYS_PER_CLIENT_MAX = 100


class Client(threading.Thread):
    """One client with keys of its own, so that it knows what every read must answer."""

    def __init__(self, cluster, number, stop):
        super().__init__(daemon=True)
        self.boto = cluster.boto(retries={"max_attempts": 1})
        self.number, self.stop = number, stop
        self.random = random.Random(number)
        self.oracle, self.errors, self.gets, self.made = {}, [], [], 0

    def run(self):
        while not self.stop.is_set():
            try:
                self.step()
            except Exception as error:  # every error counts, whatever it is
                self.errors.append(f"{type(error).__name__}: {error}")

    def step(self):
        draw = self.random.random()
        keys = list(self.oracle)
        if not keys or (draw < 0.25 and len(keys) < KEYS_PER_CLIENT_MAX):
            self.made += 1
            self.put(f"{self.number}/{self.made}")
        elif draw < 0.33:
            self.put(self.random.choice(keys))
        elif draw < 0.38:
            key = self.random.choice(keys)
            self.boto.delete_object(Bucket=BUCKET, Key=key)
            del self.oracle[key]
        else:
            self.get(self.random.choice(keys))

    def put(self, key):
        size = self.random.choices(SIZES, WEIGHTS)[0]
        body = self.random.randbytes(size)
        self.boto.put_object(Bucket=BUCKET, Key=key, Body=body)
        self.oracle[key] = (size, hashlib.sha256(body).digest())

    def get(self, key):
        size, digest = self.oracle[key]
        begun = time.monotonic()
        body = self.boto.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        if size <= SMALL_BYTES_MAX:
            self.gets.append((begun, time.monotonic() - begun))
        if hashlib.sha256(body).digest() != digest:
            raise AssertionError(f"{key}: other bytes than were acknowledged")


def halo(cluster, *words):
    done = subprocess.run([cluster.halo, *map(str, words)], capture_output=True, text=True, timeout=120)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"halo {words}: {done.stdout}{done.stderr}")
    return done


def ring(cluster, *words):
    done = halo(cluster, "ring", *words, "--json", "--data", cluster.data)
    if done.returncode != 0:
        raise RuntimeError(f"halo ring {words}: {done.stderr}")
    return json.loads(done.stdout)


def weigh(cluster, device, weight):
    """The ring that follows when a device has another weight."""
    builder, file = cluster.data / "object.builder", cluster.data / f"weight-{weight}.ring"
    halo(cluster, "ring", builder, "set_weight", f"d{device}", weight)
    halo(cluster, "ring", builder, "pretend_min_part_hours_passed")
    halo(cluster, "ring", builder, "rebalance")
    done = halo(cluster, "ring", builder, "write_ring", file)
    if not file.exists():
        raise RuntimeError(f"no ring was written: {done.stdout}{done.stderr}")
    return file


def p99(times):
    times = sorted(times)
    return times[int(len(times) * 0.99)] if times else float("nan")


def p99_between(clients, begun, ended):
    return p99([took for client in clients for at, took in client.gets if begun <= at <= ended])


def stored_bytes(cluster):
    """Bytes of all objects, each counted once."""
    return sum(bucket["bytes"] for bucket in cluster.admin("bucket", "list")["buckets"])


def copies_stored(cluster):
    """Bytes that live on all devices, in bytes of objects."""
    return sum(device["live_bytes"] for device in cluster.status()["devices"]) / stored_bytes(cluster)


def is_steady(cluster):
    """True when next to nothing was dropped within some seconds."""
    before = copies_stored(cluster)
    time.sleep(STEADY_SECONDS)
    return before - copies_stored(cluster) < STEADY


def move(cluster, name, file):
    """Applies a ring and waits until one is live again."""
    begun, stored = time.monotonic(), stored_bytes(cluster)
    applied = ring(cluster, "apply", file, "--min-part-hours", "0")
    settled = lambda: ring(cluster, "status")["phase"] == "settled"  # noqa: E731
    wait_for(settled, MOVE_SECONDS_MAX, "the move to end", lambda: ring(cluster, "status"))
    # A quarter of all copies, three of each object: what the fourth device is to hold, or held.
    ideal = (stored + stored_bytes(cluster)) / 2 * 3 / 4
    return {
        "change": name,
        "begun": begun,
        "ended": time.monotonic(),
        "partitions": applied["replicas_moved"],
        "moved": ring(cluster, "status")["bytes_copied"] / max(ideal, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--halo", default="target/release/halo")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--kept-mib", type=int, default=2048, help="bytes that lie there before and stay")
    parser.add_argument("--fill-seconds", type=float, default=10)
    parser.add_argument("--quiet-seconds", type=float, default=15)
    parser.add_argument("--throttle", help="as `halo ring throttle`; the default throttle without it")
    parser.add_argument("--runs", type=int, default=1)
    args = parser.parse_args()
    # What the clients overwrite must not lie there for an hour: the next move would be compared with it.
    os.environ.setdefault("HALO_STORAGE__RECLAIM_DELAY_S", "10")
    runs = []
    for number in range(args.runs):
        with tempfile.TemporaryDirectory(prefix="halo-ring-change-") as folder:
            with Cluster(Path(args.halo).resolve(), Path(folder, "data"), nodes=4) as cluster:
                runs.append(load(cluster, args))
        print(f"run {number + 1}: " + ", ".join(f"{what}: {value}" for what, value in runs[-1].items()), flush=True)
    for what in [name for name in runs[0] if name.endswith("quiet") or name.endswith("ideal")]:
        print(f"median, {what}: {statistics.median(run[what] for run in runs):.2f}")
    return 0 if all(not run["errors"] and not run["wrong"] and run["whole"] for run in runs) else 1


def load(cluster, args):
    last = max(device["device"] for device in cluster.status()["devices"])
    move(cluster, "to three", weigh(cluster, last, 0))
    for bucket in (BUCKET, KEPT_BUCKET):
        cluster.boto().create_bucket(Bucket=bucket)
    count = args.kept_mib * (1 << 20) // KEPT_BYTES
    kept = ["bench", "put", "--bucket", KEPT_BUCKET, "--keep", "--size", f"{KEPT_BYTES}B", "--count", count]
    done = json.loads(halo(cluster, *kept, "--concurrency", "16", "--json", "--data", cluster.data).stdout)
    if done["errors"]:
        raise RuntimeError(f"filling: {done}")
    stop = threading.Event()
    clients = [Client(cluster, number, stop) for number in range(args.clients)]
    for client in clients:
        client.start()
    time.sleep(args.fill_seconds)
    begun = time.monotonic()
    time.sleep(args.quiet_seconds)
    quiet = p99_between(clients, begun, time.monotonic())
    if args.throttle:
        ring(cluster, "throttle", args.throttle)
    copies = copies_stored(cluster)
    changes = [move(cluster, "3 -> 4", weigh(cluster, last, 100))]
    # The old copies are dropped a while later; until then the way back would find them in place.
    wait_for(lambda: copies_stored(cluster) < copies * SURPLUS_MAX, MOVE_SECONDS_MAX, "the old copies to be dropped")
    wait_for(lambda: is_steady(cluster), MOVE_SECONDS_MAX, "the last of them to be dropped")
    changes.append(move(cluster, "4 -> 3", weigh(cluster, last, 0)))
    stop.set()
    for client in clients:
        client.join(60)
    errors = [error for client in clients for error in client.errors]
    wrong = check(cluster, clients)
    for line in errors[:10] + wrong[:10]:
        print(" ", line)
    cluster.wait_healed(120)
    verified = json.loads(halo(cluster, "admin", "verify", "--json", "--data", cluster.data).stdout)
    result = {"p99 of a quiet GET in ms": round(quiet * 1000, 1)}
    for change in changes:
        name, begun, ended = change["change"], change["begun"], change["ended"]
        result[f"{name}, seconds"] = round(ended - begun, 1)
        result[f"{name}, p99 of a GET x quiet"] = round(p99_between(clients, begun, ended) / quiet, 2)
        result[f"{name}, moved x ideal"] = round(change["moved"], 3)
    operations = sum(len(client.gets) + client.made for client in clients)
    return {**result, "operations": operations, "errors": len(errors), "wrong": len(wrong), "whole": verified["whole"]}


def check(cluster, clients):
    """Everything acknowledged is there, with its bytes."""
    boto, wrong = cluster.boto(), []
    for client in clients:
        for key, (_, digest) in client.oracle.items():
            try:
                body = boto.get_object(Bucket=BUCKET, Key=key)["Body"].read()
                if hashlib.sha256(body).digest() != digest:
                    wrong.append(f"{key}: other bytes")
            except Exception as error:
                wrong.append(f"{key}: {error}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
