"""Each client backs up a real tree, lists, checks and restores it, and the restored tree is the same byte for byte."""

import tempfile
import time
from pathlib import Path

import clients
import tree

SMALL = {"files": 1_500, "bytes": 60 << 20}
FULL = {"files": 20_000, "bytes": 1 << 30}
CLIENT_SECONDS_MAX = 1_800


def run(world):
    size = FULL if world.full else SMALL
    source = world.folder / "source"
    files, total = tree.build(source, size["files"], size["bytes"])
    want = tree.digest(source)
    figures = {"files": files, "MiB": total >> 20}
    with world.cluster("backups") as cluster:
        cluster.boto().create_bucket(Bucket="backups")
        for kind in clients.ALL:
            if not world.has(kind.name):
                figures[kind.name] = "skipped: not installed"
                world.skipped.append(f"backups with {kind.name}: not installed")
                continue
            with tempfile.TemporaryDirectory(dir=world.folder) as scratch:
                cache, target = Path(scratch, "cache"), Path(scratch, "target")
                cache.mkdir()
                target.mkdir()
                client = kind(cluster, "backups", cache, CLIENT_SECONDS_MAX)
                begun = time.monotonic()
                client.prepare()
                client.backup(source)
                assert client.listing().strip(), f"{kind.name} lists nothing"
                client.check()
                tree.assert_same(want, client.restore(source, target), f"restored by {kind.name}")
                figures[kind.name] = f"{time.monotonic() - begun:.1f} s"
                world.say(f"{kind.name}: {figures[kind.name]}")
        figures["peak memory"] = cluster.peaks()
    return figures
