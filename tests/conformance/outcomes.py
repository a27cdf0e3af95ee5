"""A pytest plugin: one line per test, `outcome<TAB>id<TAB>reason`, into the file $HALO_OUTCOMES.

Runs in the process that collects the results, so it works the same with and without workers (xdist).
"""

import os

import pytest


class Outcomes:
    """Writes a test's outcome when its last phase is over."""

    def __init__(self, path):
        self.path = path
        self.open_tests = {}

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report):
        outcome, reason = self.open_tests.get(report.nodeid, ("passed", ""))
        # A failed teardown is the suite's own cleaning up, after the verdict.
        if report.when != "teardown" and report.outcome != "passed":
            outcome, reason = report.outcome, first_line(report)
        self.open_tests[report.nodeid] = (outcome, reason)
        if report.when == "teardown":
            self.write(report.nodeid, *self.open_tests.pop(report.nodeid))

    @pytest.hookimpl
    def pytest_sessionfinish(self):
        for test in list(self.open_tests):
            self.write(test, "failed", "its worker ended before it did")

    def write(self, test, outcome, reason):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{outcome}\t{test}\t{reason}\n")


def first_line(report):
    """What went wrong, in one line."""
    if isinstance(report.longrepr, tuple):
        text = str(report.longrepr[2])
    else:
        crash = getattr(report.longrepr, "reprcrash", None)
        text = getattr(crash, "message", "") or str(report.longrepr)
    return " ".join(text.split())[:200]


def pytest_configure(config):
    path = os.environ.get("HALO_OUTCOMES")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(path), "halo-outcomes")
