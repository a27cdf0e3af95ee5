"""Devices that fill up, refuse writes, or lose and change bytes."""

import json
import os
import random
import shutil
import subprocess
import time

from cases.rings import PATIENCE, failed, halo, ring, variables, wait_settled
from cluster import create_bucket, wait_for
from load import Load

TMPFS_MIB = 400
FREEZABLE_MIB = 2000
FAST_SCRUB = {"HALO_STORAGE__SCRUB_BYTES_PER_S": str(400 << 20)}
#: A device rests for a minute between two passes.
SCRUB_SECONDS_MAX = 300


class Tmpfs:
    """A small file system for one device."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True)
        self.mount("-t", "tmpfs", "-o", f"size={TMPFS_MIB}m", "halo-fault")

    def mount(self, *words):
        subprocess.run(["mount", *words, str(self.folder)], check=True, capture_output=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", str(self.folder)], check=False)


class FreezableDisk:
    """A file system of its own that can be made to hang: nothing fails, and no write ends."""

    def __init__(self, folder):
        self.folder, self.image = folder, folder.with_name(f"{folder.name}.image")
        folder.mkdir(parents=True)
        with self.image.open("wb") as image:
            image.truncate(FREEZABLE_MIB << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(self.image), str(folder)], check=True, capture_output=True)
        (folder / "lost+found").rmdir()
        self.frozen = False

    def freeze(self, frozen):
        subprocess.run(["fsfreeze", "-f" if frozen else "-u", str(self.folder)], check=True, capture_output=True)
        self.frozen = frozen

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.frozen:
            self.freeze(False)
        subprocess.run(["umount", "-l", str(self.folder)], check=False)


def hangs(world):
    """A disk hangs: others stand in for it by themselves, and it is taken back when it goes on."""
    needs_mount(world)
    if shutil.which("fsfreeze") is None or shutil.which("mkfs.ext4") is None:
        raise world.Skipped("a disk that hangs needs fsfreeze and mkfs.ext4")
    data = world.data("hangs")
    with (
        variables(PATIENCE),
        FreezableDisk(data / "node-2" / "device-0") as disk,
        world.cluster("hangs", extra=("--devices", "2")) as cluster,
    ):
        device = next(d["device"] for d in cluster.status()["devices"] if d["path"].endswith("node-2/device-0"))
        with Load(cluster, world.folder / "hangs") as load:
            load.run(world.pick(3, 6))
            disk.freeze(True)
            begun = time.monotonic()
            wait_for(lambda: failed(cluster) == [device], 90, "the cluster to notice", lambda: cluster.status()["devices"])
            noticed = time.monotonic() - begun
            why = next(d["problem"] for d in cluster.status()["devices"] if d["device"] == device)
            wait_settled(cluster)
            load.run(world.pick(2, 5))
            disk.freeze(False)
            wait_for(lambda: failed(cluster) == [], 120, "the disk to be taken back", lambda: ring(cluster, "status"))
            wait_settled(cluster)
            load.run(world.pick(2, 5))
        cluster.wait_healed(180)
        figures = load.verify()
        verified = json.loads(halo(cluster, "admin", "verify", "--json", "--data", cluster.data).stdout)
        assert verified["whole"], verified
        return {**figures, "noticed after": f"{noticed:.1f} s", "it says": why}


def needs_mount(world):
    if os.geteuid() != 0 or shutil.which("mount") is None:
        raise world.Skipped("mounting a small file system needs root")
    probe = world.folder / "probe"
    try:
        with Tmpfs(probe):
            pass
    except (subprocess.CalledProcessError, FileNotFoundError) as problem:
        raise world.Skipped(f"a small file system cannot be mounted here: {problem}") from problem
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def full(world):
    """One device's file system is full to the last byte, then has room again."""
    needs_mount(world)
    data = world.data("full")
    with Tmpfs(data / "node-2" / "device-0") as disk, world.cluster("full") as cluster:
        filler = disk.folder / "filler"
        with Load(cluster, world.folder / "full") as load:
            load.run(world.pick(2, 5))
            with filler.open("wb") as file:
                try:
                    while True:
                        file.write(bytes(1 << 20))
                except OSError:
                    pass
            load.run(world.pick(5, 15))
            filler.unlink(missing_ok=True)
            load.run(world.pick(2, 5))
        restart(cluster, 2)
        healed = cluster.wait_healed(180)
        return {**load.verify(), "healed after": f"{healed:.1f} s"}


def read_only(world):
    """A killed node finds its device's file system read-only."""
    needs_mount(world)
    data = world.data("read-only")
    with Tmpfs(data / "node-2" / "device-0") as disk, world.cluster("read-only") as cluster:
        with Load(cluster, world.folder / "read-only") as load:
            load.run(world.pick(2, 5))
            # The kernel turns a file system read-only after an error; by hand that needs its files closed.
            cluster.kill(2)
            disk.mount("-o", "remount,ro")
            cluster.up()
            load.run(world.pick(5, 15))
            disk.mount("-o", "remount,rw")
        restart(cluster, 2)
        healed = cluster.wait_healed(180)
        return {**load.verify(), "healed after": f"{healed:.1f} s"}


def damaged(world):
    """A killed node's segments come back with flipped bits, and one of them cut."""
    with world.cluster("damaged") as cluster:
        with Load(cluster, world.folder / "damaged") as load:
            load.run(world.pick(4, 8))
            cluster.kill(3)
            changed = damage(cluster.data / "node-3" / "device-0")
            cluster.up()
            load.run(world.pick(4, 10))
        cluster.wait_healed(180)
        figures = load.verify()
        found = sum(d["corrupt_records"] for d in cluster.status()["devices"] if d["node"] == 3)
        return {**figures, "bytes changed": changed, "damaged records met": found}


def rots(world):
    """Bits of a running node's segments flip, and no client reads them: scrub finds them, and repair mends them."""
    with variables(FAST_SCRUB), world.cluster("rots", extra=("--devices", "2")) as cluster:
        cluster.admin("policy", "create", "ec-2-1", "--data-fragments", "2", "--parity", "1")
        s3 = cluster.boto()
        written = {}
        for policy in (None, "ec-2-1"):
            bucket = policy or "copies"
            create_bucket(s3, bucket, policy)
            for number in range(world.pick(60, 300)):
                body = os.urandom(200_000 + number)
                s3.put_object(Bucket=bucket, Key=f"{number}", Body=body)
                written[bucket, f"{number}"] = body
        devices = [d["device"] for d in cluster.status()["devices"] if d["node"] == 3]
        changed = sum(flip(cluster.data / "node-3" / f"device-{number}") for number in (0, 1))
        begun = time.monotonic()
        wait_for(lambda: found_by_scrub(cluster, devices) > 0, SCRUB_SECONDS_MAX, "scrub to find damage",
              lambda: scrubs(cluster))
        found = time.monotonic() - begun
        wait_for(lambda: is_sound(cluster, devices), SCRUB_SECONDS_MAX, "a scrub without findings",
              lambda: scrubs(cluster))
        mended = time.monotonic() - begun
        cluster.wait_healed(180)
        verified = json.loads(halo(cluster, "admin", "verify", "--read", "--json", "--data", cluster.data).stdout)
        assert verified["whole"], verified
        for (bucket, key), body in written.items():
            assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body, (bucket, key)
    return {"bits flipped": changed, "first found after": f"{found:.1f} s", "a whole pass without a finding after": f"{mended:.1f} s"}


def found_by_scrub(cluster, devices):
    lines = [line for line in scrubs(cluster) if line["device"] in devices]
    return sum(max(line["damaged"], line["last_damaged"] or 0) for line in lines)


def scrubs(cluster):
    return cluster.admin_loose("repair", "status")["scrubs"]


def is_sound(cluster, devices):
    """The last whole pass over each device found nothing, and it was not the first."""
    lines = {line["device"]: line for line in scrubs(cluster)}
    return all(lines[device]["passes"] > 1 and lines[device]["last_damaged"] == 0 for device in devices)


def damage(folder):
    """Flips bits, and cuts the last third of the largest segment."""
    changed = flip(folder)
    largest = max(folder.glob("*.seg"), key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size * 2 // 3)
    return changed


def flip(folder):
    """Flips a bit in every 64 KiB of half of the segments."""
    dice = random.Random(3)
    segments = sorted(folder.glob("*.seg"))
    changed = 0
    for segment in segments[::2]:
        with segment.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            for at in range(4096, size, 64 << 10):
                at = min(size - 1, at + dice.randrange(64 << 10))
                file.seek(at)
                old = file.read(1)
                if not old or old == b"\0":
                    continue
                file.seek(at)
                file.write(bytes([old[0] ^ 1 << dice.randrange(8)]))
                changed += 1
    return changed


def vanished(world):
    """A killed node comes back with an empty device: a disk was replaced."""
    with world.cluster("vanished") as cluster:
        with Load(cluster, world.folder / "vanished") as load:
            load.run(world.pick(4, 8))
            cluster.kill(3)
            shutil.rmtree(cluster.data / "node-3" / "device-0")
            cluster.up()
            load.run(world.pick(4, 10))
        cluster.wait_healed(180)
        return load.verify()


def restart(cluster, node):
    cluster.kill(node)
    cluster.up()
