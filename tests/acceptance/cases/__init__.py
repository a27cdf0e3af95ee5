"""The acceptance cases. Each module has `run(world)`, which returns a dict of figures and raises when something is wrong."""
