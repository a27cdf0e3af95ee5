#!/usr/bin/env python3
"""Rebalance under load, from outside: four nodes, the fourth drained (4 -> 3) and filled again (3 -> 4).

Clients put, get, overwrite and delete all the time; an oracle remembers what was acknowledged. Printed at the end: errors
(there must be none), the p99 of a small GET while copies move against the quiet one, bytes moved against the ideal, and
what `halo admin verify` counts. Exit code 0 only when no client saw an error and everything acknowledged is whole.

    tests/ring_change/run.py --halo target/release/halo
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "acceptance"))

from cluster import Cluster, wait_for  # noqa: E402

BUCKET = "ring-change"
SIZES = [1_000, 20_000, 60_000, 300_000, 2_000_000, 9_000_000]
WEIGHTS = [20, 30, 30, 10, 8, 2]
SMALL_BYTES_MAX = 64_000
MOVE_SECONDS_MAX = 900
KEYS_PER_CLIENT_MAX = 400


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
    """Bytes of the bucket's objects, each counted once."""
    return next(b for b in cluster.admin("bucket", "list")["buckets"] if b["name"] == BUCKET)["bytes"]


def move(cluster, clients, name, file):
    """Applies a ring and waits until one is live again."""
    begun, stored = time.monotonic(), stored_bytes(cluster)
    applied = ring(cluster, "apply", file, "--min-part-hours", "0")
    settled = lambda: ring(cluster, "status")["phase"] == "settled"  # noqa: E731
    wait_for(settled, MOVE_SECONDS_MAX, "the move to end", lambda: ring(cluster, "status"))
    ended, status = time.monotonic(), ring(cluster, "status")
    return {
        "change": name,
        "seconds": round(ended - begun, 1),
        "partitions": applied["replicas_moved"],
        "bytes_copied": status["bytes_copied"],
        # A quarter of all copies: what the fourth device holds, or is to hold. What is written meanwhile goes to its new
        # place at once, and what is deleted meanwhile need not move.
        "bytes_ideal": stored * 3 // 4,
        "p99_get_ms": round(p99_between(clients, begun, ended) * 1000, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--halo", default="target/release/halo")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--fill-seconds", type=float, default=20)
    parser.add_argument("--quiet-seconds", type=float, default=15)
    parser.add_argument("--throttle", help="as `halo ring throttle`; the default throttle without it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="halo-ring-change-") as folder:
        cluster = Cluster(Path(args.halo).resolve(), Path(folder, "data"), nodes=4)
        with cluster:
            return load(cluster, args)


def load(cluster, args):
    cluster.boto().create_bucket(Bucket=BUCKET)
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
    last = max(device["device"] for device in cluster.status()["devices"])
    results = [
        move(cluster, clients, "4 -> 3", weigh(cluster, last, 0)),
        move(cluster, clients, "3 -> 4", weigh(cluster, last, 100)),
    ]
    stop.set()
    for client in clients:
        client.join(60)
    errors = [error for client in clients for error in client.errors]
    wrong = check(cluster, clients)
    cluster.wait_healed(120)
    verified = json.loads(halo(cluster, "admin", "verify", BUCKET, "--json", "--data", cluster.data).stdout)
    print(json.dumps({"p99_get_quiet_ms": round(quiet * 1000, 1), "changes": results}, indent=2))
    for result in results:
        moved, ideal = result["bytes_copied"], result["bytes_ideal"]
        print(
            f"{result['change']}: {result['seconds']} s, p99 of a GET {result['p99_get_ms'] / (quiet * 1000):.2f} x quiet, "
            f"moved {moved / max(ideal, 1):.2f} x the ideal"
        )
    operations = sum(len(client.gets) + client.made for client in clients)
    print(f"{operations} small reads and new keys, {len(errors)} errors, {len(wrong)} wrong objects, "
          f"verify: {'all is well' if verified['whole'] else verified}")
    for line in errors[:10] + wrong[:10]:
        print(" ", line)
    return 0 if not errors and not wrong and verified["whole"] else 1


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
