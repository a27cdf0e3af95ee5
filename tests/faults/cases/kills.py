"""kill -9, SIGSTOP and planned stops of processes."""

import os
import signal
import time

from load import BUCKET, Load


def follower_of(cluster, leader):
    return next(node for node in cluster.storage_nodes() if node != leader)


def killed(world, name, victim_of, away, proxy=False):
    with world.cluster(name) as cluster:
        with Load(cluster, world.folder / name) as load:
            load.run(world.pick(3, 5))
            if proxy:
                os.kill(cluster.process(role="proxy"), signal.SIGKILL)
            else:
                cluster.kill(victim_of(cluster))
            load.run(away)
            cluster.up()
            load.run(world.pick(3, 8))
        healed = cluster.wait_healed(120)
        return {**load.verify(), "healed after": f"{healed:.1f} s"}


def kill_leader(world):
    """kill -9 of the node that leads the bucket's shard."""
    return killed(world, "kill-leader", lambda cluster: cluster.leader_of(BUCKET), world.pick(4, 10))


def kill_follower(world):
    """kill -9 of a node that follows."""
    return killed(
        world, "kill-follower", lambda cluster: follower_of(cluster, cluster.leader_of(BUCKET)), world.pick(4, 10)
    )


def kill_proxy(world):
    """kill -9 of the process that serves S3, started again at once."""
    return killed(world, "kill-proxy", None, 0.5, proxy=True)


def kill_all(world):
    """kill -9 of every process at once, then a start."""
    with world.cluster("kill-all") as cluster:
        with Load(cluster, world.folder / "kill-all") as load:
            load.run(world.pick(3, 8))
            for process in cluster.info["processes"]:
                os.kill(process["pid"], signal.SIGKILL)
            time.sleep(1)
            begun = time.monotonic()
            cluster.up()
            ready = time.monotonic() - begun
            load.run(world.pick(3, 8))
        cluster.wait_healed(120)
        return {**load.verify(), "serving again after": f"{ready:.1f} s"}


def stop_node(world):
    """SIGTERM to the node that leads the bucket's shard: a planned stop."""
    with world.cluster("stop-node") as cluster:
        with Load(cluster, world.folder / "stop-node") as load:
            load.run(world.pick(3, 5))
            os.kill(cluster.process(node=cluster.leader_of(BUCKET)), signal.SIGTERM)
            load.run(world.pick(4, 8))
            cluster.up()
            load.run(world.pick(2, 5))
        cluster.wait_healed(120)
        return load.verify()


def pause_leader(world):
    """SIGSTOP of the leading node, for 30 seconds in the full run."""
    with world.cluster("pause-leader") as cluster:
        with Load(cluster, world.folder / "pause-leader") as load:
            load.run(world.pick(3, 5))
            pid = cluster.process(node=cluster.leader_of(BUCKET))
            os.kill(pid, signal.SIGSTOP)
            try:
                load.run(world.pick(6, 30))
            finally:
                os.kill(pid, signal.SIGCONT)
            load.run(world.pick(3, 8))
        healed = cluster.wait_healed(180)
        return {**load.verify(), "healed after": f"{healed:.1f} s"}
