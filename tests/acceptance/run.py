#!/usr/bin/env python3
"""Acceptance: real clients against real processes.

  run.py --halo PATH            small sizes, for every change
  run.py --halo PATH --full     the sizes of docs/acceptance.md
  run.py --halo PATH --only races --only backups
"""

import argparse
import contextlib
import datetime
import importlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from cluster import Cluster  # noqa: E402

CASES = (
    "backups",
    "node_loss",
    "node_loss_all_roles",
    "absence",
    "large_objects",
    "races",
    "many_keys",
    "policies",
    "erasure_coding",
)


class World:
    """What a case is given: the sizes, a folder, and clusters."""

    def __init__(self, options, folder):
        self.halo = Path(options.halo).resolve()
        self.full = options.full
        # Ratios of times are only judged in the full run: the small one shares its machine with other tests.
        self.loose = not options.full
        self.folder = Path(folder)
        self.keep_logs = Path(options.logs) if options.logs else None
        self.skipped = []

    def say(self, line):
        """Progress, for whoever watches."""
        print(f"    {line}", file=sys.stderr, flush=True)

    def has(self, program):
        return shutil.which(program) is not None

    @contextlib.contextmanager
    def cluster(self, name, **kwargs):
        data = self.folder / f"cluster-{name}"
        cluster = Cluster(self.halo, data, **kwargs)
        cluster.up()
        try:
            yield cluster
        except BaseException:
            self.save_logs(name, data)
            with contextlib.suppress(Exception):
                cluster.down()
            raise
        cluster.down()
        shutil.rmtree(data)

    def save_logs(self, name, data):
        if self.keep_logs is None:
            return
        for log in data.rglob("*.log"):
            to = self.keep_logs / name / log.relative_to(data)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, to)


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return f"{os.cpu_count()} cores, {memory} GiB of memory, {platform.system()} {platform.release()}, {platform.machine()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--halo", required=True, help="the halo executable")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", dest="full", action="store_false", help="small sizes (the default)")
    size.add_argument("--full", dest="full", action="store_true", help="full sizes")
    parser.set_defaults(full=False)
    parser.add_argument("--only", action="append", choices=CASES, help="only this case; may be repeated")
    parser.add_argument("--report", help="write the results as Markdown to this file")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--logs", help="folder that keeps the servers' logs of a failed case")
    parser.add_argument("--work", help="folder for data, removed at the end (default: a temporary one)")
    options = parser.parse_args()

    results = {}
    with tempfile.TemporaryDirectory(prefix="halo-acceptance-", dir=options.work) as folder:
        world = World(options, folder)
        for name in options.only or CASES:
            print(f"acceptance: {name} …", file=sys.stderr, flush=True)
            begun = time.monotonic()
            try:
                figures, error = importlib.import_module(f"cases.{name}").run(world), None
            except Exception as problem:  # noqa: BLE001 - a case may fail in any way, and the others still run
                figures, error = {}, f"{problem}"
                traceback.print_exc()
            seconds = time.monotonic() - begun
            results[name] = {"seconds": round(seconds, 1), "error": error, **figures}
            print(f"acceptance: {name}: {'FAILED' if error else 'passed'} in {seconds:.0f} s", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        print(render(results))
    if options.report:
        Path(options.report).write_text(report(results, options))
    for line in world.skipped:
        print(f"skipped: {line}")
    failed = sum(1 for r in results.values() if r["error"])
    print(f"{len(results) - failed} passed, {failed} failed, {len(world.skipped)} skipped")
    return 1 if failed else 0


def render(results):
    lines = []
    for name, result in results.items():
        lines.append(f"{name}: {'FAILED: ' + result['error'] if result['error'] else 'passed'} ({result['seconds']} s)")
        for label, value in result.items():
            if label not in ("error", "seconds"):
                lines.append(f"    {label}: {value}")
    return "\n".join(lines)


def report(results, options):
    when = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    size = "full" if options.full else "small"
    return (
        "# Acceptance: the last run\n\n"
        f"Command: `cargo xtask acceptance --{size}`. When: {when}. Machine: {machine()}.\n\n"
        f"```text\n{render(results)}\n```\n"
    )


if __name__ == "__main__":
    sys.exit(main())
