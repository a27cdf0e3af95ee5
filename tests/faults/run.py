#!/usr/bin/env python3
"""Faults of real processes under a mixed load of unmodified clients, checked by an oracle.

  run.py --halo PATH                 every case, full times
  run.py --halo PATH --small         the selection and times of every change
  run.py --halo PATH --only kill_leader --only cut_one_way
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(1, str(HERE.parent / "acceptance"))

import cluster as processes  # noqa: E402
from cases import cuts, disks, growth, kills, membership, refusals, rings, stores, versions  # noqa: E402

CASES = {
    "kill_leader": kills.kill_leader,
    "kill_follower": kills.kill_follower,
    "kill_proxy": kills.kill_proxy,
    "kill_all": kills.kill_all,
    "stop_node": kills.stop_node,
    "pause_leader": kills.pause_leader,
    "disk_full": disks.full,
    "disk_read_only": disks.read_only,
    "disk_damaged": disks.damaged,
    "disk_replaced_empty": disks.vanished,
    "disk_rots": disks.rots,
    "disk_hangs": disks.hangs,
    "store_damaged": stores.damaged,
    "store_emptied": stores.emptied,
    "store_majority_lost": stores.majority_lost,
    "store_restored": stores.restored,
    "cut_leader": cuts.leader_alone,
    "cut_two": cuts.two_apart,
    "cut_one_way": cuts.one_way,
    "cut_proxy": cuts.from_proxy,
    "mixed_version": versions.mixed,
    "grow": growth.grow,
    "refusals": refusals.refusals,
    "ring_refusals": rings.ring_refusals,
    "device_vanishes": membership.device_vanishes,
    "device_by_hand": membership.device_by_hand,
    "device_added": membership.device_added,
    "node_drained": membership.node_drained,
    "node_lost": membership.node_lost,
    "policies_follow": membership.policies_follow,
}
SMALL = ("kill_leader", "store_majority_lost", "cut_leader")


class Skipped(Exception):
    """The case cannot run here; says why."""


class Cluster(processes.Cluster):
    """A cluster whose nodes may be down or quarantined."""

    starting = None

    def kill(self, node):
        """SIGKILL, and the kernel is done with the process: its ports are free."""
        pid = self.process(node=node)
        super().kill(node)
        processes.wait_for(lambda: not Path(f"/proc/{pid}").exists(), 20, f"process {pid} to be gone")

    def spawn_up(self):
        """Starts what does not run, and does not wait for it."""
        command = [self.halo, "up", "--detach", "--json", "--data", str(self.data)]
        self.starting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_up(self):
        """Waits for `spawn_up`, and for all nodes."""
        if self.starting is not None:
            self.starting.communicate(timeout=processes.START_SECONDS_MAX)
            self.starting = None
            self.up()

    def admin_loose(self, *words):
        """As `admin`, whatever the exit code says of the cluster's state."""
        command = [self.halo, "admin", *words, "--json", "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout or '{"nodes": [], "shards": [{"members": []}], "devices": []}')

    def refused(self, *words):
        """Runs a command that must fail; returns its sentence."""
        command = [self.halo, "admin", *words, "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode != 0, f"halo admin {words} was not refused: {done.stdout}"
        return done.stderr


class World:
    """What a case is given."""

    Skipped = Skipped

    def __init__(self, options, folder):
        self.halo = Path(options.halo).resolve()
        self.previous = Path(options.previous).resolve() if options.previous else None
        self.full = not options.small
        self.folder = Path(folder)
        self.keep_logs = Path(options.logs) if options.logs else None

    def pick(self, small, full):
        return full if self.full else small

    def data(self, name):
        return self.folder / f"cluster-{name}"

    @contextlib.contextmanager
    def cluster(self, name, halo=None, **kwargs):
        data = self.data(name)
        cluster = Cluster(halo or self.halo, data, **kwargs)
        cluster.up()
        try:
            yield cluster
        except BaseException:
            self.save_logs(name, data)
            with contextlib.suppress(Exception):
                cluster.down()
            raise
        cluster.down()
        shutil.rmtree(data, ignore_errors=True)

    def save_logs(self, name, data):
        if self.keep_logs is None:
            return
        for log in data.rglob("*.log"):
            if log.name == "halo.log":
                to = self.keep_logs / name / log.relative_to(data)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(log, to)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--halo", required=True, help="the halo executable")
    parser.add_argument("--previous", help="the previous release's executable, for mixed_version")
    parser.add_argument("--small", action="store_true", help="short times, and without --only a selection")
    parser.add_argument("--only", action="append", choices=CASES, help="only this case; may be repeated")
    parser.add_argument("--report", help="write the results as Markdown to this file")
    parser.add_argument("--logs", help="folder that keeps the servers' logs of a failed case")
    parser.add_argument("--work", help="folder for data, removed at the end (default: a temporary one)")
    options = parser.parse_args()

    results = {}
    for name in options.only or (SMALL if options.small else CASES):
        print(f"faults: {name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="halo-faults-", dir=options.work, ignore_cleanup_errors=True) as folder:
            results[name] = one(CASES[name], World(options, folder))
        print(f"faults: {name}: {results[name]['outcome']} in {results[name]['seconds']} s", file=sys.stderr, flush=True)
    print(render(results))
    if options.report:
        Path(options.report).write_text(report(results))
    counts = {word: sum(r["outcome"].startswith(word) for r in results.values()) for word in ("passed", "FAILED", "skipped")}
    print(", ".join(f"{count} {word.lower()}" for word, count in counts.items()))
    return 1 if counts["FAILED"] else 0


def one(case, world):
    begun = time.monotonic()
    figures = {}
    try:
        figures = case(world)
        outcome = "passed"
    except Skipped as why:
        outcome = f"skipped: {why}"
    except Exception as problem:  # noqa: BLE001 - a case may fail in any way, and the others still run
        outcome = f"FAILED: {problem}"
        traceback.print_exc()
    return {"outcome": outcome, "seconds": round(time.monotonic() - begun, 1), "what": case.__doc__, **figures}


def render(results):
    lines = []
    for name, result in results.items():
        lines.append(f"{name}: {result['outcome']} ({result['seconds']} s)")
        lines.append(f"    {result['what']}")
        hidden = ("outcome", "seconds", "what")
        lines += [f"    {label}: {value}" for label, value in result.items() if label not in hidden]
    return "\n".join(lines)


def report(results):
    when = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    machine = f"{os.cpu_count()} cores, {memory} GiB of memory, {platform.system()} {platform.release()}"
    return f"# Faults: the last run\n\nCommand: `cargo xtask faults`. When: {when}. Machine: {machine}.\n\n```text\n{render(results)}\n```\n"


if __name__ == "__main__":
    sys.exit(main())
