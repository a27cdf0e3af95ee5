#!/usr/bin/python3
"""Plays scenarios through our ring builder and OpenStack Swift's, and compares what comes out.

    tests/ring/compare.py [--ring-builder PATH] [--seeds N] [--swift-results FILE] [--only PART] [--speed]

Needs Debian's python3-swift, for the interpreter that it belongs to. Exit code 0 when all goals are met:

- balance and dispersion (Swift's own definitions, after each round, averaged over the rounds) in no scenario worse than
  the worst of Swift's seeds, and better in the sum over all scenarios;
- partitions moved (all rounds after the first) in no scenario above 1.05 x the mean of Swift's seeds plus one per device,
  and fewer in total;
- with --speed: 2^16 partitions x 3 on 300 devices at least 50 times as fast, first placement and one device added.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from scenarios import Scenario, all_scenarios

HERE = os.path.dirname(os.path.abspath(__file__))
MOST_REBALANCES = 64
SETTLED = 1.0
WORTH = 50
# Figures are compared with this much room for rounding.
NOISE = 1e-9


def swift_play(scenario, seed):
    """The rounds as Swift's analyzer plays them: [[moved, balance, dispersion, seconds], ...] for each."""
    from swift.common.ring.builder import MAX_BALANCE, RingBuilder
    from swift.common.ring.utils import parse_add_value

    builder = RingBuilder(scenario["part_power"], scenario["replicas"], 1)
    builder.set_overload(scenario["overload"])
    rounds = []
    for commands in scenario["rounds"]:
        for name, *values in commands:
            if name == "add":
                device = parse_add_value(values[0])
                device["weight"] = float(values[1])
                device["replication_ip"] = device["ip"]
                device["replication_port"] = device["port"]
                builder.add_dev(device)
            elif name == "remove":
                builder.remove_dev(values[0])
            elif name == "set_weight":
                builder.set_dev_weight(values[0], float(values[1]))
            elif name == "set_overload":
                builder.set_overload(values[0])
            elif name == "set_replicas":
                builder.set_replicas(values[0])
        steps = []
        for _ in range(MOST_REBALANCES):
            start = time.perf_counter()
            moved, balance, removed = builder.rebalance(seed=seed)
            seconds = time.perf_counter() - start
            builder.pretend_min_part_hours_passed()
            before = steps[-1][1] if steps else None
            steps.append([moved, balance, builder.dispersion, seconds])
            draining = before == MAX_BALANCE and balance == MAX_BALANCE
            if before is not None and ((abs(before - balance) < SETTLED and not draining) or not (moved or removed)):
                break
        rounds.append(steps)
    return rounds


def our_play(program, scenario):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(scenario, file)
        file.flush()
        done = subprocess.run([program, file.name, "analyze", "--json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit("%s: %s" % (program, done.stderr))
    rounds = json.loads(done.stdout)["rounds"]
    return [[[s["moved"], s["balance"], s["dispersion"], s["micros"] / 1e6] for s in steps] for steps in rounds]


def figures(rounds):
    last = [steps[-1] for steps in rounds]
    mean = lambda values: sum(values) / len(values)
    return {
        "balance": mean([step[1] for step in last]),
        "dispersion": mean([step[2] for step in last]),
        "moved": sum(step[0] for steps in rounds[1:] for step in steps),
        "rebalances": sum(len(steps) for steps in rounds),
    }


def compare(args):
    known = {}
    if args.swift_results and os.path.exists(args.swift_results):
        with open(args.swift_results, encoding="utf-8") as file:
            known = json.load(file)
    rows = []
    for scenario in all_scenarios():
        if args.only and args.only not in scenario.name:
            continue
        plan = scenario.json()
        key = json.dumps(plan, sort_keys=True)
        if len(known.get(key, [])) < args.seeds:
            known[key] = [figures(swift_play(plan, str(seed))) for seed in range(args.seeds)]
            if args.swift_results:
                with open(args.swift_results, "w", encoding="utf-8") as file:
                    json.dump(known, file)
        devices = sum(command[0] == "add" for commands in plan["rounds"] for command in commands)
        rows.append((scenario.name, devices, known[key][: args.seeds], figures(our_play(args.ring_builder, plan))))
    return report(rows)


def report(rows):
    mean = lambda seeds, what: sum(one[what] for one in seeds) / len(seeds)
    print("| Scenario | Balance: ours | Swift, mean (worst) | Dispersion: ours | Swift, mean (worst) | Moved: ours | Swift, mean | Limit |")
    print("|---|---|---|---|---|---|---|---|")
    failures = []
    totals = {what: [0.0, 0.0] for what in ("balance", "dispersion", "moved")}
    for name, devices, seeds, ours in rows:
        cells = [name]
        for what in ("balance", "dispersion"):
            worst = max(one[what] for one in seeds)
            cells += ["%.2f" % ours[what], "%.2f (%.2f)" % (mean(seeds, what), worst)]
            if ours[what] > worst + NOISE:
                failures.append("%s: %s %.4f, worst of Swift's seeds %.4f" % (name, what, ours[what], worst))
        limit = 1.05 * mean(seeds, "moved") + devices
        cells += ["%d" % ours["moved"], "%d" % mean(seeds, "moved"), "%d" % limit]
        if ours["moved"] > limit:
            failures.append("%s: %d moved, limit %d" % (name, ours["moved"], limit))
        for what, total in totals.items():
            total[0] += ours[what]
            total[1] += mean(seeds, what)
        print("| %s |" % " | ".join(cells))
    total = lambda what: ("%.2f" % totals[what][0], "%.2f" % totals[what][1])
    print("| **sum of %d** | %s | %s | %s | %s | %s | %s | |" % ((len(rows),) + total("balance") + total("dispersion") + total("moved")))
    for what, (ours, theirs) in totals.items():
        if not ours < theirs:
            failures.append("%s in the sum: %.4f, Swift %.4f" % (what, ours, theirs))
    return failures


def speed(args):
    """First placement, and one device added, at 2^16 partitions x 3 on 300 devices: seconds in the builders' own call."""
    scenario = Scenario("speed", power=16)
    scenario.site([1], range(1, 6), range(1, 11), range(6)).then().add(1, 1, 1, 9, 100)
    plan = scenario.json()
    best = lambda plays, number: min(play[number][0][3] for play in plays)
    ours = [our_play(args.ring_builder, plan) for _ in range(5)]
    theirs = [swift_play(plan, str(seed)) for seed in range(3)]
    failures = []
    print("\n| 2^16 partitions x 3, 300 devices | ours | Swift | times as fast |")
    print("|---|---|---|---|")
    for number, what in enumerate(("first placement", "one device added")):
        one, other = best(ours, number), best(theirs, number)
        print("| %s | %.1f ms | %.0f ms | %.0f |" % (what, one * 1e3, other * 1e3, other / one))
        if other / one < WORTH:
            failures.append("%s is only %.0f times as fast" % (what, other / one))
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "..", "target"))
    parser.add_argument("--ring-builder", default=os.path.join(target, "release", "ring-builder"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--swift-results", help="a file that keeps Swift's figures between runs")
    parser.add_argument("--only", help="scenarios whose name has this in it")
    parser.add_argument("--speed", action="store_true", help="measure the time too (on a quiet machine)")
    args = parser.parse_args()
    failures = compare(args)
    if args.speed:
        failures += speed(args)
    for failure in failures:
        print("NOT MET: %s" % failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
