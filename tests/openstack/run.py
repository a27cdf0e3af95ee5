#!/usr/bin/env python3
"""OpenStack's own clients against a cluster started by `halo up`.

  run.py --halo PATH                    every case
  run.py --halo PATH --small            those that every change is tested with
  run.py --halo PATH --only logins      one of them
"""

import argparse
import importlib
import json
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
# Last: it has a package of cases too.
sys.path.append(str(HERE.parent / "acceptance"))

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402

from cluster import Cluster  # noqa: E402

SMALL = ("clients", "keys", "holes", "bad_input")
CASES = SMALL + ("judging", "logins")


class WithKeys(Cluster):
    """A cluster that is spoken to with keys other than its first."""

    def boto_of(self, key, endpoint=None):
        """A client that signs with an EC2 credential."""
        return boto3.client(
            "s3",
            endpoint_url=endpoint or self.s3["endpoint"],
            aws_access_key_id=key["access"],
            aws_secret_access_key=key["secret"],
            region_name=self.s3["region"],
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--halo", required=True, help="the halo executable")
    parser.add_argument("--only", action="append", choices=CASES, help="only this case; may be repeated")
    parser.add_argument("--small", action="store_true", help="the cases that every change is tested with")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    options = parser.parse_args()

    results = {}
    with tempfile.TemporaryDirectory(prefix="halo-openstack-") as folder:
        with WithKeys(Path(options.halo).resolve(), Path(folder) / "cluster", all_roles=True) as cluster:
            for name in options.only or (SMALL if options.small else CASES):
                print(f"openstack: {name} …", file=sys.stderr, flush=True)
                begun = time.monotonic()
                try:
                    figures, error = importlib.import_module(f"cases.{name}").run(cluster), None
                except Exception as problem:  # noqa: BLE001 - a case may fail in any way, and the others still run
                    figures, error = {}, f"{problem}"
                    traceback.print_exc()
                results[name] = {"seconds": round(time.monotonic() - begun, 1), "error": error, **figures}
    if options.json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        for name, result in results.items():
            print(name, "FAILED" if result["error"] else "passed", result)
    return 1 if any(result["error"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
