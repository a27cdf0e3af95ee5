"""The same loss of a node, against three processes with all roles each."""

from cases import node_loss


def run(world):
    return node_loss.rounds(world, all_roles=True)
