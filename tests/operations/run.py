#!/usr/bin/env python3
"""Runs every command block of docs/operations.md, in order, against a real cluster.

  run.py --halo PATH [--page docs/operations.md]

A block of `sh` is one script: every command of it must succeed. A block of `text` behind it shows lines that the script must have
printed; … in them stands for anything.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK_SECONDS_MAX = 400
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page):
    """The scripts of a page, each with its line, the nearest heading, and the lines it must print."""
    found = []
    for match in FENCE.finditer(page):
        kind, body = match.groups()
        before = page[: match.start()]
        if kind == "sh":
            headings = re.findall(r"^#+ (.*)$", before, re.MULTILINE)
            found.append({"line": before.count("\n") + 2, "heading": headings[-1], "script": body, "shown": []})
        elif kind == "text":
            found[-1]["shown"] += [line for line in body.splitlines() if line.strip()]
        else:
            raise SystemExit(f"a fence of kind `{kind}`: commands are `sh`, what they print is `text`")
    return found


def missing(shown, printed):
    """Shown lines that were not printed."""
    lines = [line.strip() for line in printed.splitlines()]
    pattern = lambda line: ".*".join(re.escape(part) for part in line.strip().split("…"))  # noqa: E731
    return [line for line in shown if not any(re.fullmatch(pattern(line), printed) for printed in lines)]


def run(block, folder, environment):
    """Runs a block; returns what is wrong with it."""
    output = folder / "block.output"
    with output.open("w") as to:
        process = subprocess.Popen(
            ["bash", "-eu", "-c", block["script"]], cwd=folder, env=environment, stdout=to, stderr=to, start_new_session=True
        )
        try:
            code = process.wait(BLOCK_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"not done after {BLOCK_SECONDS_MAX} s", output.read_text()
    printed = output.read_text()
    if code != 0:
        return f"exit code {code}", printed
    absent = missing(block["shown"], printed)
    return (f"did not print: {absent}" if absent else None), printed


def stop_all(folder, environment):
    subprocess.run(["halo", "down"], cwd=folder, env=environment, capture_output=True, timeout=120)
    for file in folder.glob("*.pid"):
        try:
            os.kill(int(file.read_text()), signal.SIGKILL)
        except (ProcessLookupError, ValueError):
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--halo", required=True, help="the halo executable")
    parser.add_argument("--page", default=ROOT / "docs" / "operations.md", type=Path)
    options = parser.parse_args()
    found = blocks(options.page.read_text())
    with tempfile.TemporaryDirectory(prefix="halo-operations-", ignore_cleanup_errors=True) as folder:
        folder = Path(folder)
        (folder / "bin").mkdir()
        shutil.copy2(options.halo, folder / "bin" / "halo")
        environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "NO_COLOR": "1"}
        environment = {name: value for name, value in environment.items() if not name.startswith("HALO_")}
        try:
            for number, block in enumerate(found, 1):
                begun = time.monotonic()
                problem, printed = run(block, folder, environment)
                took = time.monotonic() - begun
                print(f"{number:2}/{len(found)}  {took:6.1f} s  {block['heading']}, line {block['line']}", flush=True)
                if problem:
                    print(f"{options.page.name}, line {block['line']}: {problem}\n{block['script']}\n{printed[-6000:]}")
                    return 1
        finally:
            stop_all(folder, environment)
    print(f"all {len(found)} command blocks of {options.page.name} ran as shown")
    return 0


if __name__ == "__main__":
    sys.exit(main())
