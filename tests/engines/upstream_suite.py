"""A plugin of pytest for upstream's own tests: tells how each ended, and how many trackers of which class were made.

With TRACKER_OF_THE_SUITE=ours, our class is put in the place of upstream's before a test module is imported.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import pytest
import routilux.execution_tracker

from execution_tracker import ExecutionTracker
from execution_tracker.integrations.routilux import install

made = {"ours": 0, "upstream's": 0}
outcomes: dict[str, str] = {}


def count(cls: type, name: str) -> None:
    init = cls.__init__

    @functools.wraps(init)
    def counting(self, *args, **kwargs):
        made[name] += 1
        init(self, *args, **kwargs)

    cls.__init__ = counting


count(ExecutionTracker, "ours")
count(routilux.execution_tracker.ExecutionTracker, "upstream's")
if os.environ["TRACKER_OF_THE_SUITE"] == "ours":
    install()


@pytest.fixture
def temp_file(tmp_path):
    """The path of a file to write; the fixture of that name is not in the sdist."""
    return str(tmp_path / "file.json")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    document = {"version": routilux.__version__, "made": made, "outcomes": outcomes}
    Path(os.environ["OUTCOMES_OF_THE_SUITE"]).write_text(json.dumps(document))
