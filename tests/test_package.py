"""What importing the package gives, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata, resources

import execution_tracker


def test_the_version_is_that_of_the_distribution() -> None:
    assert execution_tracker.__version__ == metadata.version("execution-tracker")


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files(execution_tracker).joinpath("py.typed").is_file()


def test_importing_starts_no_thread_prints_nothing_and_imports_nothing_optional() -> None:
    program = """
import sys, threading
import serilux
before = set(sys.modules)
import execution_tracker
assert threading.active_count() == 1
wanted = {"asyncio", "trio", "logging", "gzip", "numpy", "pandas"}
wanted |= {"routilux", "rich", "click", "opentelemetry", "distributed"}
assert not wanted & (set(sys.modules) - before), wanted & (set(sys.modules) - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_error_is_a_tracker_error() -> None:
    assert issubclass(execution_tracker.InvalidRunError, execution_tracker.TrackerError)
    assert issubclass(execution_tracker.InvalidRunError, ValueError)
