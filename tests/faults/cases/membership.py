"""Disks and nodes that leave and come, by themselves and by an operator's word, under load."""

import json
import os
import re
import shutil
import subprocess
import time

from cases.rings import PATIENCE, PATIENCE_SECONDS, failed, halo, ring, variables, wait_settled
from cluster import create_bucket, wait_for
from load import BUCKET, Load

#: What was deleted stays for slow readers, else for an hour.
SOON_RECLAIMED = {"HALO_STORAGE__RECLAIM_DELAY_S": "5"}


def device_vanishes(world):
    """A running node's disk vanishes: others stand in by themselves, and an empty disk in its place is taken back."""
    with variables(PATIENCE), world.cluster("vanishes", extra=("--devices", "2")) as cluster:
        folder = cluster.data / "node-2" / "device-0"
        device = device_at(cluster, folder)
        with Load(cluster, world.folder / "vanishes") as load:
            load.run(world.pick(4, 8))
            gone = folder.rename(folder.with_name("gone"))
            begun = time.monotonic()
            wait_for(lambda: failed(cluster) == [device], 60, "the cluster to notice", lambda: cluster.status()["devices"])
            noticed = time.monotonic() - begun
            wait_settled(cluster)
            rebuilt = time.monotonic() - begun
            load.run(world.pick(2, 5))
            folder.mkdir()
            begun = time.monotonic()
            wait_for(lambda: failed(cluster) == [], 120, "the new disk to be taken back", lambda: ring(cluster, "status"))
            wait_settled(cluster)
            back = time.monotonic() - begun
            load.run(world.pick(2, 5))
        cluster.wait_healed(120)
        figures = load.verify()
        verify_all(cluster)
        shutil.rmtree(gone)
    return {
        **figures,
        "noticed after": f"{noticed:.1f} s, of which {PATIENCE_SECONDS} s of patience",
        "rebuilt onto the others after": f"{rebuilt:.1f} s",
        "an empty disk has its copies after": f"{back:.1f} s, of which 30 s of patience",
    }


def device_by_hand(world):
    """An operator fails a disk, drains another, and gives both back; a disk nobody can stand in for stays."""
    with variables(SOON_RECLAIMED), world.cluster("by-hand", extra=("--devices", "2")) as cluster:
        with Load(cluster, world.folder / "by-hand") as load:
            load.run(world.pick(3, 6))
            cluster.admin("device", "fail", "2")
            assert failed(cluster) == [2], ring(cluster, "status")
            wait_settled(cluster)
            cluster.admin("device", "replace", "2")
            assert failed(cluster) == [], ring(cluster, "status")
            wait_settled(cluster)
            cluster.admin("device", "drain", "5")
            wait_settled(cluster)
            wait_for(lambda: blobs_on(cluster, 5) == 0, 120, "the drained disk to be emptied", lambda: cluster.status()["devices"])
        cluster.wait_healed(120)
        figures = load.verify()
        verify_all(cluster)
        unknown = cluster.refused("device", "fail", "77")
        assert "no ring names device 77" in unknown, unknown
    with world.cluster("by-hand-3") as cluster:
        cluster.boto().create_bucket(Bucket=BUCKET)
        stuck = cluster.refused("device", "fail", "1")
        assert "nobody can stand in for device 1" in stuck, stuck
    return {**figures, "nobody to stand in": stuck.strip()}


def device_added(world):
    """A node gets a second disk, under load."""
    with world.cluster("added") as cluster:
        with Load(cluster, world.folder / "added") as load:
            load.run(world.pick(3, 6))
            nobody = cluster.refused("device", "add", "3")
            assert "[[storage.devices]]" in nobody, nobody
            config = cluster.data / "node-2" / "node.toml"
            text = config.read_text()
            config.write_text(text.replace("[[storage.devices]]", '[[storage.devices]]\nid = 3\npath = "device-1"\n\n[[storage.devices]]', 1))
            cluster.kill(2)
            cluster.up()
            done = cluster.admin("device", "add", "3")["done"]
            wait_settled(cluster)
            wait_for(lambda: blobs_on(cluster, 3) > 0, 60, "the new disk to hold something")
            load.run(world.pick(2, 5))
        cluster.wait_healed(120)
        figures = load.verify()
        verify_all(cluster)
    return {**figures, "it said": done, "without its configuration": nobody.strip()}


def node_drained(world):
    """A fourth node joins, gets data, is drained, stopped and removed, and does not come back."""
    with world.cluster("drained") as cluster:
        with Load(cluster, world.folder / "drained") as load:
            load.run(world.pick(2, 5))
            cluster.nodes = 4
            cluster.up()
            ring(cluster, "apply", cluster.data / "object.ring", "--min-part-hours", "0")
            wait_settled(cluster)
            holds = cluster.refused("node", "remove", "4")
            cluster.admin("node", "drain", "4")
            wait_settled(cluster)
            wait_for(lambda: voters(cluster, 4) == 0, 120, "the seats to move", lambda: cluster.status()["shards"])
            answers = cluster.refused("node", "remove", "4")
            cluster.kill(4)
            cluster.admin("node", "remove", "4")
            cluster.nodes = 3
            cluster.up()
            wait_for(lambda: [n["node"] for n in cluster.status()["nodes"]] == [1, 2, 3], 60, "the node to be forgotten",
                  lambda: cluster.status()["nodes"])
            load.run(world.pick(2, 5))
        cluster.wait_healed(120)
        figures = load.verify()
        verify_all(cluster)
        log = cluster.data / "node-4" / "again.log"
        with log.open("w") as to:
            command = [cluster.halo, "server", "--config", str(cluster.data / "node-4" / "node.toml")]
            again = subprocess.Popen(command, stdout=to, stderr=to)
        try:
            wait_for(lambda: "was removed from the cluster" in log.read_text(), 60, "the removed node to hear of it", log.read_text)
        finally:
            again.terminate()
            again.wait(60)
        assert [n["node"] for n in cluster.status()["nodes"]] == [1, 2, 3]
        rejoin = re.search(r"this node was removed[^\n]*", log.read_text()).group(0)
    return {**figures, "while it holds data": holds.strip(), "while it runs": answers.strip(), "when it comes back": rejoin}


def policies_follow(world):
    """Two policies beside the default one: a node's disk is added to each ring, and one word drains it of all."""
    with world.cluster("policies") as cluster:
        cluster.admin("policy", "create", "pair", "--copies", "2")
        cluster.admin("policy", "create", "ec-2-1", "--data-fragments", "2", "--parity", "1")
        s3, written = cluster.boto(), {}
        for policy in ("pair", "ec-2-1"):
            create_bucket(s3, policy, policy)
            for number in range(world.pick(40, 200)):
                body = os.urandom(50_000 + number)
                s3.put_object(Bucket=policy, Key=f"{number}", Body=body)
                written[policy, f"{number}"] = body
        with Load(cluster, world.folder / "policies") as load:
            load.run(world.pick(2, 5))
            cluster.nodes = 4
            cluster.up()
            unapplied = cluster.refused("device", "add", "3")
            assert "is not applied yet" in unapplied, unapplied
            ring(cluster, "apply", cluster.data / "object.ring", "--min-part-hours", "0")
            for policy in ("pair", "ec-2-1"):
                cluster.admin("device", "add", "3", "--policy", policy)
            wait_settled(cluster)
            assert holds_partitions(cluster, 3) == {"Policy-0", "pair", "ec-2-1"}, cluster.admin("policy", "list")
            # One ring alone, then all that name the node.
            resting = cluster.refused("device", "drain", "3", "--policy", "pair")
            assert "--min-part-hours 0" in resting, resting
            one = cluster.admin("device", "drain", "3", "--policy", "pair", "--min-part-hours", "0")["done"]
            wait_settled(cluster)
            assert holds_partitions(cluster, 3) == {"Policy-0", "ec-2-1"}, one
            held = cluster.refused("node", "remove", "4")
            all_of_them = cluster.admin("node", "drain", "4", "--min-part-hours", "0")["done"]
            wait_settled(cluster)
            assert holds_partitions(cluster, 3) == set(), all_of_them
            wait_for(lambda: voters(cluster, 4) == 0, 120, "the seats to move", lambda: cluster.status()["shards"])
            cluster.kill(4)
            cluster.admin("node", "remove", "4")
            cluster.nodes = 3
            cluster.up()
            wait_for(lambda: cluster.status()["healthy"], 60, "the cluster to be healthy", cluster.status)
        cluster.wait_healed(120)
        figures = load.verify()
        verified = json.loads(halo(cluster, "admin", "verify", "--read", "--json", "--data", cluster.data).stdout)
        assert verified["whole"], verified
        for (bucket, key), body in written.items():
            assert cluster.boto().get_object(Bucket=bucket, Key=key)["Body"].read() == body, (bucket, key)
    return {**figures, "one ring": one, "all rings": all_of_them, "while it holds data": held.strip()}


def holds_partitions(cluster, device):
    """The policies whose live ring gives the device something."""
    held = set()
    for policy in cluster.admin("policy", "list")["policies"]:
        file = cluster.data / ("object.builder" if policy["id"] == 0 else f"object-{policy['id']}.builder")
        if file.exists():
            devices = json.loads(halo(cluster, "ring", file, "--json").stdout)["devices"]
            if any(one["id"] == device and one["held"] > 0 for one in devices):
                held.add(policy["name"])
    return held


def node_lost(world):
    """One of four nodes is lost for good: others stand in by themselves, then an operator removes it."""
    with variables(PATIENCE), world.cluster("lost", nodes=4) as cluster:
        with Load(cluster, world.folder / "lost") as load:
            load.run(world.pick(3, 6))
            device = next(d["device"] for d in cluster.status()["devices"] if d["node"] == 4)
            cluster.kill(4)
            shutil.rmtree(cluster.data / "node-4")
            begun = time.monotonic()
            wait_for(lambda: failed(cluster) == [device], 90, "the cluster to notice", lambda: ring(cluster, "status"))
            wait_settled(cluster)
            whole = time.monotonic() - begun
            cluster.admin("node", "drain", "4")
            wait_settled(cluster)
            wait_for(lambda: voters(cluster, 4) == 0, 120, "the seats to move", lambda: cluster.status()["shards"])
            cluster.admin("node", "remove", "4")
            cluster.nodes = 3
            cluster.up()
            load.run(world.pick(2, 5))
        cluster.wait_healed(120)
        figures = load.verify()
        verify_all(cluster)
    return {**figures, "all copies again after": f"{whole:.1f} s, of which 20 s of patience"}


def voters(cluster, node):
    shards = cluster.status()["shards"]
    assert all(shard["members"] for shard in shards)
    return sum(m["node"] == node and m["role"] != "learner" for shard in shards for m in shard["members"])


def device_at(cluster, folder):
    return next(d["device"] for d in cluster.status()["devices"] if d["path"] == str(folder) or d["path"].endswith("node-2/device-0"))


def blobs_on(cluster, device):
    return next(d["blobs"] for d in cluster.status()["devices"] if d["device"] == device)


def verify_all(cluster):
    verified = json.loads(halo(cluster, "admin", "verify", BUCKET, "--json", "--data", cluster.data).stdout)
    assert verified["whole"], verified
