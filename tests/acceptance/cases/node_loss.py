"""restic backs up while a storage node is killed and comes back: no error, nothing lost, soon healed."""

import subprocess
import tempfile
import threading
import time
from pathlib import Path

import clients
import tree

SMALL = {"files": 1_000, "bytes": 150 << 20, "away": 5}
FULL = {"files": 20_000, "bytes": 1 << 30, "away": 60}
HEAL_SECONDS_MAX = 120
CLIENT_SECONDS_MAX = 1_800


def run(world):
    return rounds(world, all_roles=False)


def rounds(world, all_roles):
    size = FULL if world.full else SMALL
    source = world.folder / f"source-loss-{int(all_roles)}"
    tree.build(source, size["files"], size["bytes"])
    want = tree.digest(source)
    figures = {}
    with world.cluster(f"node-loss-{int(all_roles)}", all_roles=all_roles) as cluster:
        cluster.boto().create_bucket(Bucket="loss")
        leader = cluster.leader_of("loss")
        figures["leader of the bucket's shard"] = leader
        nodes = cluster.storage_nodes()
        victims = nodes if world.full else [leader]
        for victim in victims:
            figures[f"node {victim}"] = one_round(world, cluster, source, want, victim, size["away"], all_roles)
        figures["peak memory"] = cluster.peaks()
    return figures


def one_round(world, cluster, source, want, victim, away, all_roles):
    with tempfile.TemporaryDirectory(dir=world.folder) as scratch:
        cache, target = Path(scratch, "cache"), Path(scratch, "target")
        cache.mkdir()
        target.mkdir()
        client = clients.Restic(cluster, "loss", cache, CLIENT_SECONDS_MAX)
        if all_roles:
            # The client talks to a process that lives; its own end point is not the one that dies.
            survivor = next(e for e in zip(cluster.storage_nodes(), cluster.s3["endpoints"]) if e[0] != victim)[1]
            client.base[2] = f"s3:{survivor}/loss/restic-{victim}"
        else:
            client.base[2] += f"-{victim}"
        client.prepare()
        backup = subprocess.Popen(
            client.backup_command(source), env=client.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        killed = threading.Event()
        returned = {}

        def outage():
            wait_until_busy(cluster, client, backup)
            cluster.kill(victim)
            killed.set()
            time.sleep(away)
            cluster.up()
            returned["at"] = time.monotonic()

        thread = threading.Thread(target=outage)
        thread.start()
        output, _ = backup.communicate(timeout=CLIENT_SECONDS_MAX)
        still_running_at_kill = killed.is_set()
        thread.join()
        assert backup.returncode == 0, f"restic backup failed while node {victim} was away:\n{output[-4000:]}"
        assert still_running_at_kill, "the backup ended before the node was killed: make the tree larger"
        healed = cluster.wait_healed(HEAL_SECONDS_MAX)
        client.check()
        tree.assert_same(want, client.restore(source, target), f"restored after the loss of node {victim}")
        return {"healed after return": f"{healed:.1f} s"}


def wait_until_busy(cluster, client, backup):
    """The kill must fall into the backup: waits until restic has stored its first packs."""
    s3 = cluster.boto()
    prefix = client.base[2].split("/loss/", 1)[1] + "/data/"
    while backup.poll() is None:
        if s3.list_objects_v2(Bucket="loss", Prefix=prefix, MaxKeys=1).get("KeyCount"):
            return
        time.sleep(0.02)
