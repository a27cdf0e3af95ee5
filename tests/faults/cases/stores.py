"""Metadata stores that lose bytes, or are lost altogether (DUR-5)."""

import shutil
import time

from load import Load

REJOIN_SECONDS_MAX = 90


def damaged(world):
    """A killed node's write-ahead log is cut: it is quarantined, and joins again by itself as a new member."""
    return one_lost(world, "store-damaged", cut_log)


def emptied(world):
    """A killed node comes back with an empty metadata folder: the same."""
    return one_lost(world, "store-emptied", lambda folder: shutil.rmtree(folder))


def one_lost(world, name, spoil):
    with world.cluster(name) as cluster:
        with Load(cluster, world.folder / name) as load:
            load.run(world.pick(3, 6))
            victim = 2
            before = incarnation_log(cluster, victim)
            cluster.kill(victim)
            spoil(cluster.data / f"node-{victim}" / "metadata")
            start_without_waiting(cluster)
            rejoined = wait_member(world, cluster, victim)
            load.run(world.pick(2, 5))
        cluster.wait_healed(120)
        # The new member counts: another one may go.
        other = next(node for node in cluster.storage_nodes() if node != victim)
        cluster.kill(other)
        with Load(cluster, world.folder / f"{name}-again", seed=2) as again:
            again.run(world.pick(3, 6))
        cluster.up()
        log = incarnation_log(cluster, victim)[len(before):]
        assert "quarantined" in log, "the node did not notice that its store was spoiled"
        again.verify()
        return {**load.verify(), "a member again after": f"{rejoined:.1f} s"}


def majority_lost(world):
    """Two of three metadata stores are destroyed: an operator recovers from the third, and the others join again."""
    with world.cluster("store-majority") as cluster:
        with Load(cluster, world.folder / "store-majority", rclone=False) as load:
            load.run(world.pick(3, 6))
        # What is acknowledged is in the survivor too, once it has caught up.
        time.sleep(2)
        survivor = 1
        for process in cluster.info["processes"]:
            if process["node"] in (2, 3):
                cluster.kill(process["node"])
                shutil.rmtree(cluster.data / f"node-{process['node']}" / "metadata")
        start_without_waiting(cluster)
        time.sleep(3)
        said = " ".join(filter(None, (node["problem"] for node in cluster.admin_loose("status")["nodes"])))
        assert "halo admin shard recover" in said, f"the status does not say what to do: {said}"
        refused = cluster.refused("shard", "recover", "--from", str(survivor))
        assert "--accept-data-loss" in refused, refused
        begun = time.monotonic()
        done = cluster.admin("shard", "recover", "--from", str(survivor), "--accept-data-loss")
        recovered = time.monotonic() - begun
        cluster.up()
        for node in (2, 3):
            wait_member(world, cluster, node)
        cluster.wait_healed(120)
        refused = cluster.refused("shard", "recover", "--from", str(survivor), "--accept-data-loss")
        assert "majority" in refused, refused
        return {**load.verify(), "recovered in": f"{recovered:.1f} s", "it said": done["done"]}


def restored(world):
    """All metadata stores are lost: one is made from a backup, over the devices as they are."""
    with world.cluster("store-restored") as cluster:
        with Load(cluster, world.folder / "store-restored", rclone=False) as load:
            load.run(world.pick(3, 8))
        backups = world.folder / "backups"
        begun = time.monotonic()
        cluster.admin("metadata", "backup", "--to", str(backups))
        took = time.monotonic() - begun
        backup = next(backups.glob("*.halo"))
        cluster.boto().put_object(Bucket="faults", Key="after the backup", Body=b"x" * 100_000)
        cluster.down()
        for node in cluster.storage_nodes():
            shutil.rmtree(cluster.data / f"node-{node}" / "metadata")
        config = str(cluster.data / "node-1" / "node.toml")
        torn = backups / "torn"
        torn.write_bytes(backup.read_bytes()[:-20])
        refused = cluster.refused("metadata", "restore", "--from", str(torn), "--config", config)
        assert "cannot be used" in refused, refused
        said = cluster.admin("metadata", "restore", "--from", str(backup), "--config", config)
        refused = cluster.refused("metadata", "restore", "--from", str(backup), "--config", config)
        assert "set it aside" in refused, refused
        cluster.up()
        for node in cluster.storage_nodes():
            wait_member(world, cluster, node)
        figures = load.verify()
        cluster.wait_healed(120)
        with Load(cluster, world.folder / "store-restored-again", seed=2, rclone=False) as again:
            again.run(world.pick(2, 5))
        again.verify()
        cluster.admin("metadata", "accept")
        size = f"{backup.stat().st_size} bytes in {took:.1f} s"
        return {**figures, "backup": size, "it said": said["done"]}


def cut_log(folder):
    log = max((folder / "db").glob("*.log"))
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size // 2)


def start_without_waiting(cluster):
    """`halo up` waits until every node is ready, which a quarantined one is not until it has joined again."""
    cluster.spawn_up()


def wait_member(world, cluster, node):
    """Waits until a node votes in every shard again; returns how long it took."""
    begun = time.monotonic()
    seen = None
    while time.monotonic() - begun < REJOIN_SECONDS_MAX:
        seen = cluster.admin_loose("status")
        shards = seen["shards"]
        roles = [m["role"] for s in shards for m in s["members"] if m["node"] == node]
        if len(roles) == len(shards) and all(role in ("leader", "follower") for role in roles):
            cluster.wait_up()
            return time.monotonic() - begun
        time.sleep(0.5)
    raise AssertionError(f"node {node} is not a member again after {REJOIN_SECONDS_MAX} s: {seen}")


def incarnation_log(cluster, node):
    return (cluster.data / f"node-{node}" / "halo.log").read_text()
