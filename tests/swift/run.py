#!/usr/bin/env python3
"""The Swift edge under its real clients: swift, rclone, duplicity, curl, and boto3 for the same objects over S3.

  run.py --halo PATH             small sizes, for every change
  run.py --halo PATH --full      5,000 files and 3 GiB
  run.py --halo PATH --only matrix
"""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "acceptance"))
sys.path.insert(0, str(HERE))

from cluster import Cluster  # noqa: E402

CASES = ("main_job", "keystone", "matrix", "backups", "sync")


class World:
    """A cluster, its sizes, and how its clients reach it."""

    def __init__(self, cluster, folder, full):
        self.cluster = cluster
        self.folder = Path(folder)
        self.full = full
        self.files = 5000 if full else 200
        self.large_bytes = (3 << 30) if full else (40 << 20)
        self.segment_bytes = (512 << 20) if full else (8 << 20)
        info = cluster.info
        self.swift = info["swift"]
        self.s3 = info["s3"]
        self.project = self.swift["storage_url"].rsplit("AUTH_", 1)[1]
        self.user = f"{self.project}:{self.s3['access_key']}"
        self.auth = f"{self.swift['endpoint']}/auth/v1.0"

    def swift_environment(self):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "ST_"))}
        return {**inherited, "ST_AUTH": self.auth, "ST_USER": self.user, "ST_KEY": self.s3["secret_key"]}

    def bin(self, name):
        """A client of the tests' own environment, else of the machine."""
        own = Path(sys.executable).parent / name
        return str(own) if own.exists() else shutil.which(name)

    def say(self, line):
        print(f"    {line}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--halo", required=True)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", action="append", choices=CASES)
    options = parser.parse_args()
    # The old authentication opens projects to clients that hold S3 keys; it is off by default.
    os.environ["HALO_PROXY__SWIFT__V1_ACCESS_KEYS"] = "true"
    failed = []
    with tempfile.TemporaryDirectory(prefix="halo-swift-") as folder:
        with Cluster(Path(options.halo).resolve(), Path(folder, "data")) as cluster:
            for name in options.only or CASES:
                began = time.monotonic()
                work = Path(folder, name)
                work.mkdir()
                try:
                    __import__(name).run(World(cluster, work, options.full))
                    print(f"ok   {name} ({time.monotonic() - began:.0f} s)", flush=True)
                except BaseException as error:
                    failed.append(name)
                    traceback.print_exc()
                    print(f"FAIL {name}: {error}", flush=True)
                    if isinstance(error, KeyboardInterrupt):
                        break
                with contextlib.suppress(OSError):
                    shutil.rmtree(work)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
