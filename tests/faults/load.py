"""A mixed load of unmodified clients, and an oracle of what was acknowledged to them.

Every worker owns its keys, so what one of its requests may see follows from what was acknowledged to it before. A write
that failed may have happened all the same; its key is left alone from then on, and must show the one or the other.
"""

import hashlib
import random
import subprocess
import threading
import time
from pathlib import Path

BUCKET = "faults"
SIZES = (700, 3_000, 20_000, 200_000)
LARGE_BYTES = 6 << 20
ABSENT = "absent"
KEYS_PER_WORKER = 40
#: A client gives one attempt up after this long and tries again, a few times.
ATTEMPT_SECONDS = 10
ATTEMPTS = 4
RCLONE_FILES = 12


class Load:
    """Starts with `with`, runs until the block ends, and is then checked by `verify`."""

    def __init__(self, cluster, folder, workers=4, endpoint=None, seed=1, rclone=True):
        self.cluster = cluster
        self.endpoint = endpoint
        self.seed = seed
        client = self.client()
        if BUCKET not in [b["Name"] for b in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=BUCKET)
        self.stopped = threading.Event()
        self.workers = [Worker(self, number, seed) for number in range(workers)]
        self.rclone = RcloneWorker(self, Path(folder)) if rclone else None
        self.marks = []

    def client(self):
        return self.cluster.boto(
            endpoint=self.endpoint,
            connect_timeout=2,
            read_timeout=ATTEMPT_SECONDS,
            retries={"max_attempts": ATTEMPTS, "mode": "standard"},
        )

    def __enter__(self):
        self.begun = time.monotonic()
        for worker in self.all():
            worker.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for worker in self.all():
            worker.thread.join(120)
            assert not worker.thread.is_alive(), f"{worker.name} hangs"

    def all(self):
        return self.workers + ([self.rclone] if self.rclone else [])

    def run(self, seconds):
        """Lets the load run; a wrong answer ends the case at once."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.check()
            time.sleep(0.1)

    def check(self):
        for worker in self.all():
            if worker.wrong:
                raise AssertionError(worker.wrong[0])

    def verify(self):
        """Reads everything back; returns the figures of the run."""
        self.check()
        for worker in self.workers:
            worker.verify()
        if self.rclone:
            self.rclone.verify()
        self.check()
        return self.figures()

    def figures(self):
        done = sum(w.done for w in self.workers)
        failed = sum(w.failed for w in self.workers)
        puts = [seconds for w in self.workers for seconds in w.put_seconds]
        return {
            "requests": done + failed,
            "failed after retries": f"{failed} ({100 * failed / max(1, done + failed):.2f} %)",
            "longest PUT": f"{max(puts, default=0):.2f} s",
            "longest GET": f"{max((s for w in self.workers for s in w.get_seconds), default=0):.2f} s",
            "longest time without any PUT acknowledged": f"{self.longest_gap():.2f} s",
            "rclone copies": f"{self.rclone.done} ({self.rclone.failed} failed)" if self.rclone else "none",
        }

    def longest_gap(self):
        times = sorted(at for w in self.workers for at in w.put_at)
        return max((b - a for a, b in zip(times, times[1:])), default=0.0)


class Worker:
    """One client, one request at a time."""

    def __init__(self, load, number, seed):
        self.load = load
        self.name = f"worker {number}"
        self.prefix = f"w{number}-{seed}/"
        self.random = random.Random(seed * 1000 + number)
        self.client = load.client()
        #: key -> what a read may show: digests of bodies, or ABSENT
        self.may_show = {}
        #: keys with a write of unknown outcome: never written again
        self.unsure = set()
        self.done = self.failed = 0
        self.put_seconds, self.put_at, self.get_seconds = [], [], []
        self.wrong = []
        self.thread = threading.Thread(target=self.work, name=self.name, daemon=True)

    def work(self):
        steps = (self.put,) * 10 + (self.get,) * 6 + (self.listing,) * 2 + (self.delete,) * 2 + (self.create,)
        while not self.load.stopped.is_set():
            try:
                self.random.choice(steps)()
            except AssertionError as problem:
                self.wrong.append(f"{self.name}: {problem}")
                return

    def key(self):
        while True:
            key = f"{self.prefix}k{self.random.randrange(KEYS_PER_WORKER):03}-{len(self.unsure)}"
            if key not in self.unsure:
                return key

    def body(self):
        size = LARGE_BYTES if self.random.random() < 0.02 else self.random.choice(SIZES)
        return self.random.randbytes(size)

    def ask(self, call, seconds=None, **words):
        """Makes one request; answers None when it failed for good."""
        begun = time.monotonic()
        try:
            answer = call(Bucket=BUCKET, **words)
            if "Body" in answer:
                answer["bytes"] = answer["Body"].read()
        except self.client.exceptions.NoSuchKey:
            answer = ABSENT
        except Exception as problem:  # noqa: BLE001 - whatever a client library raises is a failed request
            code = getattr(problem, "response", {}).get("Error", {}).get("Code")
            if code == "PreconditionFailed":
                answer = code
            else:
                self.failed += 1
                answer = None
        if answer is not None:
            self.done += 1
        if seconds is not None:
            seconds.append(time.monotonic() - begun)
        return answer

    def put(self):
        key, body = self.key(), self.body()
        before = self.may_show.get(key, {ABSENT})
        if self.ask(self.client.put_object, self.put_seconds, Key=key, Body=body) is None:
            self.lost_track(key, before | {digest(body)})
        else:
            self.put_at.append(time.monotonic())
            self.may_show[key] = {digest(body)}

    def create(self):
        """A conditional write: wins exactly when the key is absent."""
        key, body = self.key(), self.body()
        before = self.may_show.get(key, {ABSENT})
        answer = self.ask(self.client.put_object, self.put_seconds, Key=key, Body=body, IfNoneMatch="*")
        if answer is None:
            self.lost_track(key, before | {digest(body)})
        elif answer == "PreconditionFailed":
            # A retry of the client library may meet its own first attempt.
            assert before != {ABSENT} or self.shows(key) == digest(body), f"{key} was refused although it was absent"
            self.may_show[key] = before if before != {ABSENT} else {digest(body)}
        else:
            assert ABSENT in before, f"{key} was created although it existed"
            self.put_at.append(time.monotonic())
            self.may_show[key] = {digest(body)}

    def delete(self):
        key = self.key()
        before = self.may_show.get(key, {ABSENT})
        if self.ask(self.client.delete_object, Key=key) is None:
            self.lost_track(key, before | {ABSENT})
        else:
            self.may_show[key] = {ABSENT}

    def get(self):
        if not self.may_show:
            return
        key = self.random.choice(sorted(self.may_show))
        shown = self.shows(key, self.get_seconds)
        if shown is not None:
            self.expect(key, shown)

    def shows(self, key, seconds=None):
        answer = self.ask(self.client.get_object, seconds, Key=key)
        return answer if answer in (None, ABSENT) else digest(answer["bytes"])

    def expect(self, key, shown):
        allowed = self.may_show[key]
        assert shown in allowed, f"{key} shows {shown}, and only {sorted(allowed)} may be (CON-1, DUR-1)"

    def listing(self):
        must = {key for key, states in self.may_show.items() if ABSENT not in states}
        never = {key for key, states in self.may_show.items() if states == {ABSENT}}
        answer = self.ask(self.client.list_objects_v2, Prefix=self.prefix, MaxKeys=1000)
        if answer is None or answer.get("IsTruncated"):
            return
        listed = {row["Key"] for row in answer.get("Contents", [])}
        assert must <= listed, f"the listing of {self.prefix} misses {sorted(must - listed)[:5]} (CON-2)"
        assert not never & listed, f"the listing of {self.prefix} shows the deleted {sorted(never & listed)[:5]} (CON-2)"

    def lost_track(self, key, states):
        self.unsure.add(key)
        self.may_show[key] = states

    def verify(self):
        """Every key, with patience: what was acknowledged must come back."""
        for key in sorted(self.may_show):
            for attempt in range(5):
                shown = self.shows(key)
                if shown is not None:
                    break
                time.sleep(1)
            assert shown is not None, f"{key} cannot be read after the fault"
            try:
                self.expect(key, shown)
            except AssertionError as problem:
                raise AssertionError(f"{self.name}, at the end: {problem}") from problem
        self.listing()


class RcloneWorker:
    """rclone copies a small tree into a new prefix, again and again."""

    def __init__(self, load, folder):
        self.load = load
        self.name = "rclone"
        self.source = folder / "rclone-source"
        self.source.mkdir(parents=True, exist_ok=True)
        maker = random.Random(7)
        for number in range(RCLONE_FILES):
            (self.source / f"file-{number}").write_bytes(maker.randbytes(maker.choice((500, 9_000, 300_000))))
        self.config = folder / "rclone.conf"
        self.config.touch()
        self.copied = []
        self.done = self.failed = 0
        self.wrong = []
        self.thread = threading.Thread(target=self.work, name=self.name, daemon=True)

    def command(self, *words):
        s3 = self.load.cluster.s3
        environment = {
            **self.load.cluster.environment(),
            "RCLONE_CONFIG": str(self.config),
            "RCLONE_S3_ENDPOINT": self.load.endpoint or s3["endpoint"],
            "RCLONE_S3_REGION": s3["region"],
            "RCLONE_S3_PROVIDER": "Other",
            "RCLONE_S3_ENV_AUTH": "true",
        }
        done = subprocess.run(["rclone", *words], env=environment, capture_output=True, text=True, timeout=180)
        return done.returncode == 0, done.stderr

    def work(self):
        while not self.load.stopped.is_set():
            target = f":s3:{BUCKET}/rclone-{self.load.seed}/{len(self.copied) + self.failed}"
            copied, _ = self.command("copy", "--transfers", "4", str(self.source), target)
            if copied:
                self.copied.append(target)
                self.done += 1
            else:
                self.failed += 1
            self.load.stopped.wait(0.3)

    def verify(self):
        for target in self.copied[-20:]:
            same, said = self.command("check", "--download", str(self.source), target)
            assert same, f"rclone acknowledged {target}, and it differs now: {said[-500:]}"


def digest(body):
    return hashlib.sha256(body).hexdigest()[:16]
