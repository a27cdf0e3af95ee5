"""Nodes that cannot reach each other, by a forwarder in their path."""

import re

from forwarder import PROXY, Forwarder
from load import BUCKET, Load


def rewire(cluster, forwarder):
    """Puts the forwarder in front of every node's two ports."""
    cluster.down()
    first = (cluster.data / "node-1" / "node.toml").read_text()
    nodes = re.findall(r'id = (\d+)\nwire = "127\.0\.0\.1:(\d+)"\nblobs = "127\.0\.0\.1:(\d+)"', first)
    moved = {}
    for node, *ports in nodes:
        for port in ports:
            moved[port] = forwarder.listen(int(node), ("127.0.0.1", int(port)))
    for config in cluster.data.glob("*/node.toml"):
        text = config.read_text()
        for port, other in moved.items():
            text = re.sub(rf'(wire|blobs) = "127\.0\.0\.1:{port}"', rf'\1 = "127.0.0.1:{other}"', text)
        for node, wire, blobs in nodes:
            own = f'listen_wire = "127.0.0.1:{wire}"\nlisten_blobs = "127.0.0.1:{blobs}"\n'
            text = text.replace(f"[storage]\nnode = {node}\n", f"[storage]\nnode = {node}\n{own}")
        config.write_text(text)
    cluster.up()


def cut(world, name, pairs_of):
    forwarder = Forwarder()
    try:
        with world.cluster(name) as cluster:
            rewire(cluster, forwarder)
            with Load(cluster, world.folder / name) as load:
                load.run(world.pick(3, 5))
                leader = cluster.leader_of(BUCKET)
                forwarder.cut(*pairs_of(leader, [n for n in cluster.storage_nodes() if n != leader]))
                load.run(world.pick(6, 20))
                forwarder.heal()
                load.run(world.pick(3, 8))
            healed = cluster.wait_healed(180)
            return {**load.verify(), "healed after": f"{healed:.1f} s"}
    finally:
        forwarder.close()


def both_ways(pairs):
    return [way for a, b in pairs for way in ((a, b), (b, a))]


def leader_alone(world):
    """The leader is cut from the other nodes, both ways; the proxy still reaches it."""
    return cut(world, "cut-leader", lambda leader, others: both_ways([(leader, other) for other in others]))


def two_apart(world):
    """The leader and one follower are cut apart."""
    return cut(world, "cut-two", lambda leader, others: both_ways([(leader, others[0])]))


def one_way(world):
    """What the leader sends reaches nobody, but it hears everybody."""
    return cut(world, "cut-one-way", lambda leader, others: [(leader, other) for other in others])


def from_proxy(world):
    """The proxy does not reach the leading node."""
    return cut(world, "cut-proxy", lambda leader, _: both_ways([(PROXY, leader)]))
