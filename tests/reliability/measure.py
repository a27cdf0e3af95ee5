#!/usr/bin/env python3
"""The numbers of docs/reliability.md that no fault case prints.

  measure.py --halo PATH rebuild [--gib 4]         a lost device: how fast its copies are made anew
  measure.py --halo PATH deletes [--keys 1000000]  a list page and a GET, before and after most keys were deleted
  measure.py --halo PATH space [--gib 2]           bytes on the disk after ten rounds of overwriting everything
"""

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "acceptance"))

from cluster import Cluster, wait_for  # noqa: E402

BUCKET = "measure"
OBJECT_BYTES = 4 << 20
GIB = 1 << 30


def halo(cluster, *words):
    done = subprocess.run([cluster.halo, *map(str, words), "--json", "--data", str(cluster.data)], capture_output=True, text=True, timeout=3600)
    return json.loads(done.stdout)


def fill(cluster, objects, seed=0):
    """Writes everything, eight objects at a time."""
    client, body = cluster.boto(), os.urandom(OBJECT_BYTES)

    def put(number):
        head = (seed * objects + number).to_bytes(8, "big")
        client.put_object(Bucket=BUCKET, Key=f"{number:06}", Body=head + body[8:])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(objects)))


def disk_speed(folder, direction):
    """Megabytes a second of one stream past the page cache."""
    file = Path(folder, "speed")
    if direction == "write":
        command = ["dd", "if=/dev/zero", f"of={file}", "bs=4M", "count=512", "oflag=direct", "conv=fdatasync"]
    else:
        command = ["dd", f"if={file}", "of=/dev/null", "bs=4M", "iflag=direct"]
    begun = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return 512 * 4 * 1.048576 / (time.monotonic() - begun)


def rebuild(options, folder):
    write, read = disk_speed(folder, "write"), disk_speed(folder, "read")
    Path(folder, "speed").unlink()
    with Cluster(options.halo, Path(folder, "data"), extra=("--devices", "2")) as cluster:
        cluster.boto().create_bucket(Bucket=BUCKET)
        fill(cluster, int(options.gib * GIB / OBJECT_BYTES))
        halo(cluster, "ring", "throttle", "off")
        lost = next(d for d in cluster.status()["devices"] if d["device"] == 0)
        begun = time.monotonic()
        cluster.admin("device", "fail", "0")
        wait_for(lambda: halo(cluster, "admin", "repair", "status")["healed"], 600, "all copies to be made")
        healed = time.monotonic() - begun
        status = halo(cluster, "ring", "status")
    moved = status["bytes_copied"]
    rate = moved / healed / 1e6
    both = 1 / (1 / read + 1 / write)
    return {
        "disk, one stream": f"writes {write:.0f} MB/s, reads {read:.0f} MB/s",
        "device lost with": f"{lost['live_bytes'] / 1e6:.0f} MB, {lost['blobs']} blobs",
        "copied": f"{moved / 1e6:.0f} MB",
        "0 blobs short after": f"{healed:.1f} s",
        "rate": f"{rate:.0f} MB/s: {100 * rate / min(read, write):.0f} % of the slower of reading and writing, "
        f"{100 * rate / both:.0f} % of what one disk can read and write at once",
    }


def p99(times):
    return sorted(times)[int(len(times) * 0.99)] * 1000


def pages_and_gets(client, names):
    """p99 in milliseconds of a first list page of the whole bucket, of one in the middle, and of a GET."""
    first, middle, gets = [], [], []
    for number in range(200):
        begun = time.monotonic()
        client.list_objects_v2(Bucket=BUCKET, MaxKeys=100)
        first.append(time.monotonic() - begun)
        begun = time.monotonic()
        client.list_objects_v2(Bucket=BUCKET, MaxKeys=100, StartAfter=names[number * len(names) // 200])
        middle.append(time.monotonic() - begun)
    for number in range(1000):
        begun = time.monotonic()
        client.get_object(Bucket=BUCKET, Key=f"kept/{number % 100:08}")["Body"].read()
        gets.append(time.monotonic() - begun)
    return {"first page": p99(first), "page in the middle": p99(middle), "GET": p99(gets)}


def listed(client):
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        yield from (entry["Key"] for entry in page.get("Contents", []))


def deletes(options, folder):
    with Cluster(options.halo, Path(folder, "data"), nodes=1) as cluster:
        client = cluster.boto()
        client.create_bucket(Bucket=BUCKET)
        for number in range(100):
            client.put_object(Bucket=BUCKET, Key=f"kept/{number:08}", Body=b"x" * 1000)
        begun = time.monotonic()
        load = ["bench", "put", "--bucket", BUCKET, "--keep", "--size", "100B", "--concurrency", "64", "--warm-up", "0s"]
        done = halo(cluster, *load, "--count", options.keys)
        assert not done["errors"], done
        filled = time.monotonic() - begun
        names = [key for key in listed(client) if not key.startswith("kept/")]
        before = pages_and_gets(client, names)
        begun = time.monotonic()
        for first in range(0, len(names), 1000):
            named = [{"Key": key} for key in names[first : first + 1000]]
            answer = client.delete_objects(Bucket=BUCKET, Delete={"Objects": named, "Quiet": True})
            assert not answer.get("Errors"), answer["Errors"][:3]
        deleted = time.monotonic() - begun
        after = pages_and_gets(client, names)
        time.sleep(60)
        later = pages_and_gets(client, names)
        left = client.list_objects_v2(Bucket=BUCKET)["KeyCount"]
    assert left == 100, left
    return {
        "keys": f"{len(names)}, written in {filled:.0f} s, deleted in {deleted:.0f} s",
        **{f"p99 of a {what}": f"{before[what]:.1f} ms before, {after[what]:.1f} ms right after, {later[what]:.1f} ms a "
           "minute later" for what in before},
    }


def space(options, folder):
    results = {}
    objects = int(options.gib * GIB / OBJECT_BYTES)
    for name, delay in (("reclaim_delay_s = 0", "0"), ("the default, 3600", "3600")):
        os.environ["HALO_STORAGE__RECLAIM_DELAY_S"] = delay
        with Cluster(options.halo, Path(folder, f"data-{delay}"), nodes=1) as cluster:
            cluster.boto().create_bucket(Bucket=BUCKET)
            peak = 0.0
            for turn in range(options.rounds + 1):
                fill(cluster, objects, turn)
                device = cluster.status()["devices"][0]
                peak = max(peak, device["used_bytes"] / (objects * OBJECT_BYTES))
            ended = time.monotonic()
            while time.monotonic() < ended + 30:
                device = cluster.status()["devices"][0]
                if device["used_bytes"] <= 1.3 * objects * OBJECT_BYTES:
                    break
                time.sleep(0.5)
            settled = time.monotonic() - ended
        factor = device["used_bytes"] / (objects * OBJECT_BYTES)
        results[name] = f"{factor:.2f} x the objects' bytes {settled:.1f} s after {options.rounds} rounds, at most {peak:.2f} x meanwhile"
        subprocess.run(["rm", "-rf", str(Path(folder, f"data-{delay}"))], check=True)
    return {"objects": f"{objects} of 4 MiB", **results}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--halo", required=True, type=lambda path: Path(path).resolve())
    parser.add_argument("what", choices=("rebuild", "deletes", "space"))
    parser.add_argument("--gib", type=float, default=2)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--work", help="folder for data, removed at the end (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="halo-measure-", dir=options.work) as folder:
        for label, value in globals()[options.what](options, folder).items():
            print(f"{label}: {value}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
