#!/usr/bin/python3
"""OpenStack Swift's own tools read our rings, and we theirs, and both say the same.

    tests/ring/swift_tools.py RING_BUILDER

Needs Debian's packages swift and python3-swift. What is compared: devices with all their fields, partitions per device,
balance, dispersion, replica count, version, and the nodes of sampled partitions in order. Handoffs are not: Swift walks
along the ring for them, we take the emptiest failure domain first.
"""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile

from swift.cli import ringbuilder
from swift.common.ring import Ring, RingBuilder

SAMPLE = 64


def run(*words, good=(0,)):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode in good, "%s: exit code %d\n%s%s" % (words, done.returncode, done.stdout, done.stderr)
    return done.stdout


def swift_ring_builder(*words, good=(0,)):
    """`swift-ring-builder`, in this process: its start takes longer than its work."""
    said, code = io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            ringbuilder.main(["swift-ring-builder", *words])
        except SystemExit as done:
            code = done.code or 0
    assert code in good, "%s: exit code %s\n%s" % (words, code, said.getvalue())
    return said.getvalue()


class Ours:
    def __init__(self, program, folder, name):
        self.program = program
        self.builder = os.path.join(folder, name + ".builder")
        self.ring = os.path.join(folder, name + ".ring.gz")

    def __call__(self, *words, good=(0,)):
        return run(self.program, self.builder, *words, good=good)

    def json(self, *words, good=(0, 1)):
        return json.loads(self(*words, "--json", good=good))


def fields(device):
    """A device as Swift has it, from our JSON."""
    split = lambda address: (address.rsplit(":", 1)[0].strip("[]"), int(address.rsplit(":", 1)[1]))
    ip, port = split(device["address"])
    replication_ip, replication_port = split(device.get("replication", device["address"]))
    return {
        "id": device["id"], "region": device["region"], "zone": device["zone"], "ip": ip, "port": port,
        "replication_ip": replication_ip, "replication_port": replication_port, "device": device["name"],
        "weight": device["weight"], "meta": device.get("meta", ""),
    }


def same_devices(shown, theirs):
    ours = {device["id"]: fields(device) for device in shown["devices"]}
    theirs = {dev["id"]: {key: dev[key] for key in ours[dev["id"]]} for dev in theirs if dev}
    assert ours == theirs, (ours, theirs)


def read_by_swift(ours, folder):
    """Swift's ring class, its command-line tool and its swift-get-nodes on our ring."""
    shown, spread = ours.json("show"), ours.json("dispersion")
    ring = Ring(ours.ring)
    same_devices(shown, ring.devs)
    assert (ring.partition_count, ring.version) == (shown["partitions"], shown["version"])
    # Fractions are cut to whole partitions.
    assert abs(ring.replica_count - shown["replicas"]) <= 1 / shown["partitions"]

    swifts = os.path.join(folder, "swifts.ring.gz")
    with open(ours.ring, "rb") as source, open(swifts, "wb") as copy:
        copy.write(source.read())
    builder_path = swifts.replace(".ring.gz", ".builder")
    if os.path.exists(builder_path):
        os.remove(builder_path)
    swift_ring_builder(swifts, "write_builder", "1")
    swift_ring_builder(builder_path, "validate")
    # Both count with the replicas that were asked for, which a ring file does not tell to the last digit.
    swift_ring_builder(builder_path, "set_replicas", repr(shown["replicas"]))
    table = swift_ring_builder(builder_path)
    for device in shown["devices"]:
        row = re.search(r"^ +%d +%d +%d .*$" % (device["id"], device["region"], device["zone"]), table, re.MULTILINE)
        assert row, (device, table)
        parts, balance = re.search(r"%6.02f +(\d+) +(-?[\d.]+)" % device["weight"], row.group()).groups()
        assert int(parts) == device["held"], (device, row.group())
        assert abs(float(balance) - device["balance"]) < 0.011, (device, row.group())
    said = swift_ring_builder(builder_path, "dispersion", "-v", "--recalculate", good=(0, 1))
    dispersion, balance = re.search(r"Dispersion is ([\d.]+), Balance is ([\d.]+)", said).groups()
    assert abs(float(balance) - spread["balance"]) < 1e-4, (said, spread["balance"])
    required = float(re.search(r"Required overload is ([\d.]+)%", said).group(1))
    assert abs(required - spread["required_overload"] * 100) < 1e-3, (required, spread["required_overload"])
    same_nodes(ours, ring)
    if shown["replicas"] % 1:
        return  # Swift's dispersion passes over the partitions that have one copy less; ours counts all.
    assert abs(float(dispersion) - spread["dispersion"]) < 1e-4, (said, spread["dispersion"])
    same_domains(said, ours.json("dispersion", "-v")["domains"])


def same_domains(said, domains):
    theirs = {}
    for line in said.splitlines():
        found = re.match(r"^(r\d+\S*) +(\d+) +([\d.]+) +(\d+) +([\d ]+)$", line)
        if found:
            name, parts, percent, most, counts = found.groups()
            theirs[name] = (int(parts), percent, int(most), [int(count) for count in counts.split()])
    ours = {one["name"]: (one["placed"], "%.2f" % one["percent"], one["most"], one["partitions"]) for one in domains}
    assert ours == theirs, (ours, theirs)


def same_nodes(ours, ring):
    step = max(ring.partition_count // SAMPLE, 1)
    listed = {}
    for device in ours.json("show")["devices"]:
        rows = ours.json("list_parts", "d%d" % device["id"]) if device["held"] else []
        for row in rows:
            listed.setdefault(row["partition"], set()).add(device["id"])
    for part in range(0, ring.partition_count, step):
        theirs = [node["id"] for node in ring.get_part_nodes(part)]
        assert set(theirs) == listed[part], (part, theirs, listed[part])
    part = ring.partition_count // 3
    said = run("swift-get-nodes", ours.ring, "-p", str(part))
    nodes = ring.get_part_nodes(part)
    for node in nodes:
        host = "[%s]" % node["ip"] if ":" in node["ip"] else node["ip"]
        assert "%s:%d %s" % (host, node["port"], node["device"]) in said, (node, said)


def our_ring(program, folder):
    ours = Ours(program, folder, "ours")
    ours("create", "8", "3", "1")
    for zone in (1, 2, 3):
        for node in (1, 2):
            for disk in range(3):
                ours("add", "r1z%d-10.0.%d.%d:6200/d%d" % (zone, zone, node, disk), str(90 + 10 * disk))
    ours("add", "r2z1-[fd00::1]:6200R[fd00::2]:6300/sdb_a remark", "50.5")
    ours("rebalance", good=(0, 1))
    read_by_swift(ours, folder)
    ours("remove", "d4")
    ours("set_weight", "z2-10.0.2.1", "40", "--yes")
    ours("set_overload", "10%")
    ours("rebalance", "--force", good=(0, 1))
    read_by_swift(ours, folder)
    # Partitions that moved a moment ago rest, so the drained devices keep some: both count those as badly placed.
    ours("set_weight", "d7", "0", "d12", "0")
    ours("rebalance", "--force", good=(0, 1))
    shown = ours.json("show")
    assert any(not device["weight"] and device["held"] for device in shown["devices"]), shown
    read_by_swift(ours, folder)
    ours("set_replicas", "3.5")
    ours("set_info", "d0", "_another remark")
    ours("pretend_min_part_hours_passed")
    ours("rebalance", "--force", good=(0, 1))
    shown = ours.json("show")
    assert Ring(ours.ring).replica_count == 3.5 and shown["ring_file"] == "up-to-date", shown


def their_ring(program, folder):
    """A ring that Swift's builder made, with a hole in its ids and fractional replicas, read by us and changed on."""
    builder = RingBuilder(7, 2.5, 1)
    for number in range(10):
        ip = "10.1.%d.%d" % (number % 3, number % 5)
        builder.add_dev({"region": 1, "zone": number % 3, "ip": ip, "port": 6200, "replication_ip": ip,
                         "replication_port": 6201, "device": "sdb%d" % number, "weight": 100.0 + number, "meta": "m%d" % number})
    builder.rebalance(seed=1)
    builder.remove_dev(4)
    builder.pretend_min_part_hours_passed()
    builder.rebalance(seed=2)
    path = os.path.join(folder, "theirs.ring.gz")
    builder.get_ring().save(path)
    run(program, path, "write_builder", "1")
    ours = Ours(program, folder, "theirs")
    shown, spread = ours.json("show"), ours.json("dispersion")
    same_devices(shown, builder.devs)
    assert {device["id"]: device["held"] for device in shown["devices"]} == {dev["id"]: dev["parts"] for dev in builder._iter_devs()}
    assert abs(spread["balance"] - builder.get_balance()) < 1e-9
    same_nodes(ours, Ring(path))
    ours("add", "r1z1-10.1.9.9:6200/new", "100")
    ours("rebalance", good=(0, 1))
    read_by_swift(ours, folder)


def main():
    program = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        our_ring(program, folder)
        their_ring(program, folder)
    print("Swift's tools and ours agree")


if __name__ == "__main__":
    main()
