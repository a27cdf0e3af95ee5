"""This release beside the one before."""

from load import Load


def mixed(world):
    """A cluster of the previous release, one process after the other replaced by this one, under load."""
    if world.previous is None:
        raise world.Skipped("no previous executable is given (--previous)")
    with world.cluster("mixed", halo=world.previous) as cluster:
        with Load(cluster, world.folder / "mixed") as load:
            load.run(world.pick(3, 5))
            cluster.halo = str(world.halo)
            for node in cluster.storage_nodes():
                cluster.kill(node)
                cluster.up()
                load.run(world.pick(3, 6))
                cluster.wait_healed(120)
        cluster.wait_healed(120)
        return load.verify()
