"""What does not belong together is refused, with a sentence that says what to do."""

import os
import shutil
import subprocess

from cluster import wait_for
from load import BUCKET

#: How long a process may take to say what it has to.
SAID_SECONDS_MAX = 60


def refusals(world):
    """Foreign devices and files, a device in use, another cluster's store, used and wrong tokens, two of one identity."""
    said = {}
    with world.cluster("ours") as cluster, world.cluster("theirs", nodes=1) as other:
        cluster.boto().create_bucket(Bucket=BUCKET)
        cluster.boto().put_object(Bucket=BUCKET, Key="k", Body=b"x" * 50_000)
        said.update(devices(cluster, other))
        said["another cluster's store"] = foreign_store(cluster, other)
        said.update(tokens(world, cluster))
        said["two of one identity"] = two_of_one(world, cluster)
        assert cluster.boto().get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"x" * 50_000
        cluster.up()
    return said


def devices(cluster, other):
    """A device with a foreign file, and one of another cluster."""
    folder = cluster.data / "node-3" / "device-0"
    cluster.kill(3)
    (folder / "holiday.jpg").write_bytes(b"not a segment")
    cluster.up()
    foreign = problem(cluster, 3)
    assert "holiday.jpg" in foreign, foreign
    cluster.kill(3)
    (folder / "holiday.jpg").unlink()
    kept = folder.rename(folder.with_name("kept"))
    other.down()
    shutil.copytree(other.data / "node-1" / "device-0", folder)
    other.up()
    cluster.up()
    theirs = problem(cluster, 3)
    assert "belongs to cluster" in theirs, theirs
    cluster.kill(3)
    shutil.rmtree(folder)
    kept.rename(folder)
    cluster.up()
    return {"a foreign file": foreign, "another cluster's device": theirs}


def problem(cluster, node):
    return next(d["problem"] for d in cluster.status()["devices"] if d["node"] == node) or ""


def foreign_store(cluster, other):
    store = cluster.data / "node-3" / "metadata"
    cluster.kill(3)
    kept = store.rename(store.with_name("kept-metadata"))
    other.down()
    shutil.copytree(other.data / "node-1" / "metadata", store)
    other.up()
    refused = serve(cluster, cluster.data / "node-3" / "node.toml")
    assert "belongs to node" in refused, refused
    shutil.rmtree(store)
    kept.rename(store)
    cluster.up()
    return refused


def tokens(world, cluster):
    """A new node's configuration, made from the third's."""
    folder = cluster.data / "node-9"
    folder.mkdir()
    text = (cluster.data / "node-3" / "node.toml").read_text()
    ports = free_ports(3)
    entry = f'[[cluster.nodes]]\nid = 9\nwire = "127.0.0.1:{ports[0]}"\nblobs = "127.0.0.1:{ports[1]}"\n\n[storage]\nnode = 9\n'
    text = text.replace("[storage]\nnode = 3\n", entry).replace("id = 2\npath", "id = 90\npath")
    lines = [f'listen = "127.0.0.1:{ports[2]}"' if line.startswith("listen = ") else line for line in text.splitlines()]
    config = folder / "node.toml"
    config.write_text("\n".join(lines).replace("open = true\n", "") + "\n")
    uninvited = heard(cluster, config, "is no member")
    assert all(n["node"] != 9 for n in cluster.status()["nodes"]), cluster.status()["nodes"]
    wrong = serve(cluster, config, "--join", "nonsense")
    assert "is not one of this cluster" in wrong, wrong
    token = cluster.admin("node", "add")["token"]
    taken = serve(cluster, cluster.data / "node-3" / "node.toml", "--join", token, admin=free_ports(1)[0])
    assert "is a member of this cluster already" in taken, taken
    joining = start(cluster, config, "--join", token)
    try:
        wait_for(lambda: any(n["node"] == 9 and n["up"] for n in cluster.status()["nodes"]), SAID_SECONDS_MAX, "node 9 to be known")
    finally:
        joining.terminate()
        joining.wait(60)
    used = serve(cluster, config_with_node(config, 8), "--join", token)
    assert "was used by node 9" in used, used
    return {"no token": uninvited, "a wrong token": wrong, "an id that is taken": taken, "a used token": used}


def config_with_node(config, node):
    text = config.read_text().replace("id = 9\n", f"id = {node}\n").replace("node = 9\n", f"node = {node}\n")
    other = config.with_name(f"node-{node}.toml")
    other.write_text(text)
    return other


def two_of_one(world, cluster):
    """A second process with node 3's identity and an empty folder, at other addresses."""
    folder = cluster.data / "node-3b"
    folder.mkdir()
    text = (cluster.data / "node-3" / "node.toml").read_text()
    ports = free_ports(3)
    text = text.replace(
        "[storage]\nnode = 3\n",
        f'[storage]\nnode = 3\nlisten_wire = "127.0.0.1:{ports[0]}"\nlisten_blobs = "127.0.0.1:{ports[1]}"\n',
    )
    lines = [f'listen = "127.0.0.1:{ports[2]}"' if line.startswith("listen = ") else line for line in text.splitlines()]
    config = folder / "node.toml"
    config.write_text("\n".join(lines) + "\n")
    said = heard(cluster, config, "is alive")
    wait_for(lambda: all(s["health"] == "ok" for s in cluster.status()["shards"]), SAID_SECONDS_MAX, "the first one to be a member as before")
    return said


def heard(cluster, config, words):
    """Starts a process that goes on by itself, and returns what it says with these words."""
    log = config.with_suffix(".log")
    with log.open("w") as to:
        process = start(cluster, config, stderr=to)
    try:
        wait_for(lambda: words in log.read_text(), SAID_SECONDS_MAX, f"a process to say `{words}`", log.read_text)
    finally:
        process.terminate()
        process.wait(60)
    return next(line for line in log.read_text().splitlines() if words in line)[-220:]


def start(cluster, config, *words, stderr=subprocess.DEVNULL):
    command = [cluster.halo, "server", "--config", str(config), *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr)


def serve(cluster, config, *words, admin=None):
    """Runs a process that must end by itself; returns what it says."""
    environment = dict(os.environ)
    if admin:
        environment["HALO_ADMIN__LISTEN"] = f"127.0.0.1:{admin}"
    command = [cluster.halo, "server", "--config", str(config), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode != 0, f"{command} was not refused"
    return done.stderr.strip().splitlines()[-1]


def free_ports(count):
    import socket

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
