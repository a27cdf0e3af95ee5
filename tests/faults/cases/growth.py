"""Nodes added under load."""

from load import Load


def grow(world):
    """A fourth node joins a cluster of three while it is used, and takes its calls."""
    with world.cluster("grow") as cluster:
        with Load(cluster, world.folder / "grow") as load:
            load.run(world.pick(2, 5))
            cluster.nodes = 4
            cluster.up()
            load.run(world.pick(3, 8))
        status = cluster.status()
        assert [n["node"] for n in status["nodes"] if n["up"]] == [1, 2, 3, 4], status["nodes"]
        cluster.down()
        cluster.up()
        return load.verify()
