"""Upstream's own tests, with our class in the place of theirs: those that pass with the one pass with the other.

The tests are taken out of routilux's sdist when this runs; none of them is in this repository. What pip gets is kept
where EXECUTION_TRACKER_ENGINES says, else in pytest's temporary folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import execution_tracker

VERSION = "0.10.0"
SCRIPTS = Path(__file__).parent / "engines"

# What upstream's tests assert and the contract changes on purpose: the name of the test, and the reason.
CHANGED_ON_PURPOSE: dict[str, str] = {}


def pip(*arguments: str | Path) -> None:
    result = subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        _, _, reason = result.stderr.strip().rpartition("\n")
        stop(f"pip could not {arguments[0]} {arguments[-1]}: {reason}")


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with upstream and the serilux of its time in ``packages``, and upstream's tests in ``tests``."""
    kept_in = os.environ.get("EXECUTION_TRACKER_ENGINES")
    parent = Path(kept_in) if kept_in else tmp_path_factory.mktemp("upstream")
    folder = parent / f"routilux-{VERSION}-suite"
    made = folder / "made"
    if not made.exists():
        shutil.rmtree(folder, ignore_errors=True)
        packages, sdists = folder / "packages", folder / "sdists"
        pip("install", "--no-deps", "--target", packages, "serilux==0.3.1", f"routilux=={VERSION}")
        pip("download", "--no-deps", "--no-binary", "routilux", "--dest", sdists, f"routilux=={VERSION}")
        unpack_tests(next(sdists.glob("*.tar.gz")), folder / "tests")
        made.touch()
    return folder


def unpack_tests(sdist: Path, folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(sdist) as archive:
        for member in archive:
            path = Path(member.name)
            if member.isfile() and path.parts[1:2] == ("tests",) and path.suffix == ".py":
                content = archive.extractfile(member)
                assert content is not None
                (folder / path.name).write_bytes(content.read())
    (folder / "pytest.ini").write_text("[pytest]\n")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package under test and nothing else: not the serilux that may be installed beside it."""
    path = tmp_path_factory.mktemp("package")
    shutil.copytree(Path(execution_tracker.__file__).parent, path / "execution_tracker")
    return path


class Suite:
    """Upstream's tests, to be run in interpreters of their own."""

    def __init__(self, upstream: Path, ours: Path, folder: Path) -> None:
        self.tests = upstream / "tests"
        self.folder = folder
        self.path = os.pathsep.join(map(str, [ours, upstream / "packages", SCRIPTS]))

    def run(self, tracker: str, *only: str) -> Any:
        """Run all tests, or only some, and return what the plugin tells of them."""
        working = self.folder / f"{tracker} {len(only)}"
        working.mkdir()
        environment = {
            **os.environ,
            "PYTHONPATH": self.path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "",
            "TRACKER_OF_THE_SUITE": tracker,
            "OUTCOMES_OF_THE_SUITE": str(working / "outcomes.json"),
        }
        options = ["-q", "-p", "upstream_suite", "-p", "no:cacheprovider", "-c", self.tests / "pytest.ini"]
        options += ["--basetemp", working / "temporary"]
        paths = [self.tests / name for name in only] or [self.tests]
        result = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *paths],
            env=environment,
            cwd=working,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert result.returncode in (0, 1), result.stdout + result.stderr  # 1: some failed
        return json.loads((working / "outcomes.json").read_text())

    def run_with_both(self, *only: str) -> tuple[Any, Any]:
        with ThreadPoolExecutor(2) as pool:  # they sleep most of the time
            theirs, ours = pool.map(lambda tracker: self.run(tracker, *only), ["upstream's", "ours"])
        return theirs, ours


@pytest.mark.once
def test_upstreams_own_tests_pass_with_our_class_where_they_pass_with_theirs(
    upstream: Path, ours: Path, tmp_path: Path
) -> None:
    suite = Suite(upstream, ours, tmp_path)
    theirs, with_ours = suite.run_with_both()
    assert theirs["version"] == with_ours["version"] == VERSION
    for run, name, other in ((theirs, "upstream's", "ours"), (with_ours, "ours", "upstream's")):
        assert run["made"][name] > 100
        assert run["made"][other] == 0
    outcomes = [theirs["outcomes"], with_ours["outcomes"]]
    assert outcomes[0].keys() == outcomes[1].keys()
    failed = [name for name in outcomes[0] if "failed" in (outcomes[0][name], outcomes[1][name])]
    if failed:  # again, as some of them ask how long something took
        for before, again in zip(outcomes, suite.run_with_both(*failed), strict=True):
            before |= again["outcomes"]
    expected, found = ({name for name in each if each[name] == "passed"} for each in outcomes)
    assert len(expected) > 300
    assert found == expected - CHANGED_ON_PURPOSE.keys()
