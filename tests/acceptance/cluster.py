"""A cluster under test: starts and stops it by `halo`, kills its processes, and reads its status.

Everything goes through the command line that users have; nothing here knows the inside.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 60
POLL_SECONDS = 0.2


class Cluster:
    """One data folder and the processes that serve it."""

    def __init__(self, halo, data, nodes=3, all_roles=False, extra=()):
        self.halo = str(halo)
        self.data = Path(data)
        self.nodes = nodes
        self.all_roles = all_roles
        self.extra = list(extra)
        self.info = None
        self.peak_kib = {}

    def up(self):
        """Starts what is not running; returns the JSON object that `halo up` prints."""
        command = [self.halo, "up", "--detach", "--json", "--data", str(self.data)]
        command += ["--nodes", str(self.nodes), "--port-base", "0"]
        if self.all_roles:
            command.append("--all-roles")
        done = subprocess.run(command + self.extra, capture_output=True, text=True, timeout=START_SECONDS_MAX)
        if done.returncode != 0:
            raise RuntimeError(f"halo up failed ({done.returncode}):\n{done.stdout}\n{done.stderr}")
        self.info = json.loads(done.stdout)
        return self.info

    def down(self):
        """Stops everything cleanly."""
        self.note_peaks()
        command = [self.halo, "down", "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=STOP_SECONDS_MAX)
        if done.returncode != 0:
            raise RuntimeError(f"halo down failed ({done.returncode}):\n{done.stdout}\n{done.stderr}")

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, *_):
        self.down()

    def admin(self, *words):
        """Runs `halo admin … --json` and returns what it printed."""
        command = [self.halo, "admin", *words, "--json", "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"halo admin {words} failed ({done.returncode}): {done.stderr}")
        return json.loads(done.stdout)

    @property
    def s3(self):
        return self.info["s3"]

    def environment(self):
        """The usual AWS variables of the cluster's first key."""
        s3 = self.s3
        # Settings of the caller's own AWS account must not leak into the clients (a CA bundle stops rclone).
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {
            **inherited,
            "AWS_ACCESS_KEY_ID": s3["access_key"],
            "AWS_SECRET_ACCESS_KEY": s3["secret_key"],
            "AWS_DEFAULT_REGION": s3["region"],
            "AWS_REGION": s3["region"],
            "AWS_ENDPOINT_URL": s3["endpoint"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "S3_ENDPOINT": s3["endpoint"],
        }

    def boto(self, endpoint=None, **config):
        """A boto3 client."""
        import boto3
        from botocore.config import Config

        settings = {"signature_version": "s3v4", "s3": {"addressing_style": "path"}, "max_pool_connections": 64}
        settings.update(config)
        s3 = self.s3
        return boto3.client(
            "s3",
            endpoint_url=endpoint or s3["endpoint"],
            aws_access_key_id=s3["access_key"],
            aws_secret_access_key=s3["secret_key"],
            region_name=s3["region"],
            config=Config(**settings),
        )

    def process(self, node=None, role=None):
        """The pid of a node's storage process, or of the first process with the role."""
        for process in self.info["processes"]:
            if node is not None and process["node"] == node and "storage" in process["role"]:
                return process["pid"]
            if role is not None and role in process["role"]:
                return process["pid"]
        raise LookupError(f"no process for node {node}, role {role}: {self.info['processes']}")

    def storage_nodes(self):
        return sorted(p["node"] for p in self.info["processes"] if "storage" in p["role"])

    def kill(self, node):
        """SIGKILL to a node's storage process."""
        self.note_peaks()
        pid = self.process(node=node)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not alive(pid), 10, f"process {pid} to die")

    def status(self):
        return self.admin("status")

    def leader_of(self, bucket):
        """The node that leads the shard of a bucket."""
        row = next(b for b in self.admin("bucket", "list")["buckets"] if b["name"] == bucket)
        shard = next(s for s in self.status()["shards"] if s["shard"] == row["shard"])
        return shard["leader"]

    def wait_healed(self, seconds):
        """Waits until no blob is short of a copy; returns how long it took."""
        begun = time.monotonic()

        def healed():
            try:
                status = self.status()
            except RuntimeError:
                return False
            return status["short_chunks"] == 0 and all(n["up"] for n in status["nodes"])

        wait_for(healed, seconds, "every blob to have all its copies", lambda: self.status())
        return time.monotonic() - begun

    def note_peaks(self):
        """Remembers each process's peak resident memory (VmHWM)."""
        for process in self.info["processes"]:
            peak = peak_kib(process["pid"])
            label = f"{process['role']}-{process['node']}"
            self.peak_kib[label] = max(self.peak_kib.get(label, 0), peak)

    def peaks(self):
        self.note_peaks()
        return {label: f"{kib // 1024} MiB" for label, kib in sorted(self.peak_kib.items())}


def peak_kib(pid):
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def create_bucket(s3, bucket, policy=None):
    """Makes a bucket under a storage policy, for which boto3 has no parameter."""

    def name_policy(request, **_):
        if policy is not None:
            request.headers.add_header("x-amz-storage-class", policy)

    event = "before-sign.s3.CreateBucket"
    s3.meta.events.register(event, name_policy)
    try:
        s3.create_bucket(Bucket=bucket)
    finally:
        s3.meta.events.unregister(event, name_policy)


def wait_for(condition, seconds, what, seen=lambda: ""):
    """Polls a condition until it holds or the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"waited {seconds} s for {what}; last seen: {seen()}")
