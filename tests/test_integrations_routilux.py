"""The integration with routilux: logic on a made-up engine, promises on real ones, each in an environment of its own.

The environments are made once and kept where EXECUTION_TRACKER_ENGINES says, else in pytest's temporary folder.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from serilux import SerializableRegistry

import execution_tracker
from execution_tracker import ExecutionTracker, TrackerError
from execution_tracker.integrations.routilux import install

SCRIPTS = Path(__file__).parent / "engines"
OURS, UPSTREAM = "execution_tracker.tracker", "routilux.execution_tracker"
CLOCK = "a clock reading"
JOB_STATE = {"job_state": "JobState"}


# --- real engines ---


class Engine:
    """A Python environment with one version of routilux, in which the package under test can be imported."""

    def __init__(self, version: str, folder: Path, package_path: Path) -> None:
        self.version = version
        self.ends_good_runs = version in ("0.8.1", "0.9.0")
        self.python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        self._package_path = package_path

    def run(self, script: str, *arguments: str) -> dict:
        """Run a script of tests/engines and return the JSON document that it prints."""
        result = subprocess.run(
            [self.python, SCRIPTS / script, *arguments],
            env={**os.environ, "PYTHONPATH": str(self._package_path), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)


@pytest.fixture(scope="session")
def package_path(tmp_path_factory):
    """A folder with the package under test and nothing else: not the serilux that may be installed beside it."""
    path = tmp_path_factory.mktemp("package")
    shutil.copytree(Path(execution_tracker.__file__).parent, path / "execution_tracker")
    return path


@pytest.fixture(scope="session")
def engines_path(tmp_path_factory):
    kept_in = os.environ.get("EXECUTION_TRACKER_ENGINES")
    return Path(kept_in) if kept_in else tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="session")
def engine(request, engines_path, package_path):
    version = request.param
    folder = engines_path / f"routilux-{version}-python{sys.version_info.major}.{sys.version_info.minor}"
    engine = Engine(version, folder, package_path)
    made = folder / "made"
    if not made.exists():
        venv.create(folder, with_pip=True, clear=True)
        packages = ["serilux==0.3.1", f"routilux=={version}"]
        pip = [engine.python, "-m", "pip", "install", "--quiet", *packages]
        result = subprocess.run(pip, capture_output=True, text=True)
        if result.returncode != 0:
            stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            _, _, reason = result.stderr.strip().rpartition("\n")
            stop(f"pip could not install {' and '.join(packages)}: {reason}")
        made.touch()
    return engine


@pytest.fixture(scope="session")
def document(engine):
    """What all scenarios recorded on one engine."""
    return engine.run("scenarios.py")


on_every_engine = pytest.mark.parametrize("engine", ["0.8.1", "0.9.0", "0.10.0", "0.11.0"], indirect=True)
on_oldest_and_newest_engine = pytest.mark.parametrize("engine", ["0.8.1", "0.11.0"], indirect=True)


def execution(status, error=None):
    record = {"routine_id": "load", "start_time": CLOCK, "params": {"number": 1}, "status": status}
    if status != "running":
        record["end_time"] = CLOCK
        if error is not None:
            record["error"] = error
        record["execution_time"] = CLOCK
    return record


def events(engine, *edges):
    """Return the event records of edges of the form (source, target, number), sorted as the scenarios sort them."""
    job_state = {} if engine.ends_good_runs else JOB_STATE
    records = [
        {
            "timestamp": CLOCK,
            "source_routine_id": source,
            "event_name": "output",
            "target_routine_id": target,
            "data": {"number": number, **job_state},
        }
        for source, target, number in edges
    ]
    return sorted(records, key=json.dumps)


@on_every_engine
def test_every_run_of_the_engine_is_recorded_by_our_class(engine, document):
    assert document["version"] == engine.version
    assert document["classes"] == [OURS]
    assert document["registered"] == OURS
    assert {name: run["flow_id"] for name, run in document["ours"].items()} == {name: name for name in document["ours"]}


@on_every_engine
def test_records_equal_those_of_upstream_apart_from_clock_readings(engine, document):
    # As text, so that the order of the keys counts.
    assert len(document["ours"]) == 7
    for name, run in document["ours"].items():
        assert json.dumps(run, indent=1) == json.dumps(document["upstream"][name], indent=1)


@on_every_engine
def test_a_good_run_has_the_execution_of_its_entry(engine, document):
    status = "completed" if engine.ends_good_runs else "running"
    for name in ("linear", "fan_out", "failing_downstream", "concurrent"):
        assert document["ours"][name]["executions"] == {"load": [execution(status)]}
        assert document["metrics"][name][status] == 1


@on_every_engine
def test_a_failing_run_has_its_error(engine, document):
    assert document["ours"]["failing"]["executions"] == {"load": [execution("failed", "cannot take 1")]}
    assert document["ours"]["failing"]["events"] == []
    assert document["metrics"]["failing"]["failed"] == 1


@on_every_engine
def test_a_retried_run_is_one_execution_that_ends_as_the_last_try(engine, document):
    assert document["ours"]["retried"]["executions"] == {"load": [execution("completed")]}
    in_vain = execution("failed", "down, 0 more to come")
    assert document["ours"]["retried_in_vain"]["executions"] == {"load": [in_vain]}


@on_every_engine
def test_events_tell_who_emitted_what_to_whom(engine, document):
    assert document["ours"]["linear"]["events"] == events(
        engine, ("load", "parse", 2), ("parse", "store", 3), ("store", None, 4)
    )
    # Of several targets the engine tells the first.
    assert document["ours"]["fan_out"]["events"] == events(
        engine, ("load", "left", 2), ("left", None, 3), ("right", None, 3)
    )


@on_every_engine
def test_no_event_of_a_concurrent_run_is_lost(engine, document):
    workers = [f"worker {number}" for number in range(6)]
    assert document["ours"]["concurrent"]["events"] == events(
        engine,
        ("load", "worker 0", 2),
        *((worker, "merge", 3) for worker in workers),
        *(("merge", None, 4) for _ in workers),
    )


@on_every_engine
def test_a_flow_saved_with_its_tracker_comes_back_with_all_records(engine, document):
    saved = document["saved"]
    assert saved["class"] == OURS
    assert saved["routines"] == ["load", "parse", "store"]
    assert saved["after"] == saved["before"] == saved["before_as_json"]
    assert len(saved["before"]["event_flow"]) == 3
    payload = ["number"] if engine.ends_good_runs else ["job_state", "number"]  # the live state of the job
    assert saved["payloads"] == [payload] * 3


@on_oldest_and_newest_engine
@pytest.mark.parametrize(
    "steps",
    [
        ["install", "import routilux"],
        ["install", "install", "import routilux", "install"],
        ["import routilux", "install", "install"],
        ["import execution_tracker", "import routilux", "install"],
    ],
    ids=", ".join,
)
def test_install_works_in_any_order_of_imports(engine, steps):
    assert set(engine.run("import_order.py", *steps).values()) == {OURS}


@on_oldest_and_newest_engine
@pytest.mark.parametrize(
    "steps",
    [["import routilux", "import execution_tracker"], ["import execution_tracker", "import routilux"]],
    ids=", ".join,
)
def test_without_install_the_engine_stays_as_it_was(engine, steps):
    assert set(engine.run("import_order.py", *steps).values()) == {UPSTREAM}


# --- made-up engines ---


@pytest.fixture
def made_up_engine(tmp_path, monkeypatch):
    """A function that makes a package "routilux" of the given files, for as long as the test runs."""
    monkeypatch.setitem(SerializableRegistry.registry, "ExecutionTracker", ExecutionTracker)
    real = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "routilux"}

    def make(**files: str) -> None:
        (tmp_path / "routilux").mkdir()
        for name, text in files.items():
            (tmp_path / "routilux" / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)

    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "routilux"]:
        del sys.modules[name]
    sys.modules.update(real)


OLD_ENGINE = {
    "__init__": "from routilux.execution_tracker import ExecutionTracker",
    "execution_tracker": """
from serilux import Serializable, register_serializable

@register_serializable
class ExecutionTracker(Serializable):
    pass
""",
}


def test_install_puts_our_class_wherever_the_engine_looks(made_up_engine):
    made_up_engine(**OLD_ENGINE)
    install()
    import routilux.execution_tracker

    assert routilux.ExecutionTracker is ExecutionTracker
    assert routilux.execution_tracker.ExecutionTracker is ExecutionTracker
    assert SerializableRegistry.get_class("ExecutionTracker") is ExecutionTracker


def test_upstreams_class_gets_the_name_until_install(made_up_engine):
    made_up_engine(**OLD_ENGINE)
    import routilux

    assert SerializableRegistry.get_class("ExecutionTracker") is routilux.ExecutionTracker is not ExecutionTracker
    install()
    assert SerializableRegistry.get_class("ExecutionTracker") is routilux.ExecutionTracker is ExecutionTracker


def test_asking_the_engine_of_today_for_a_tracker_leaves_the_name_alone(made_up_engine):
    made_up_engine(__init__="")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("routilux.execution_tracker")
    assert SerializableRegistry.get_class("ExecutionTracker") is ExecutionTracker


def test_an_engine_without_a_tracker_is_named_with_its_version_and_what_to_do(made_up_engine):
    made_up_engine(__init__="__version__ = '0.13.0'")
    with pytest.raises(
        TrackerError, match=r"routilux 0\.13\.0 has no execution tracker .* install 0\.8\.1 to 0\.11\.0"
    ):
        install()
    assert SerializableRegistry.get_class("ExecutionTracker") is ExecutionTracker


def test_a_missing_engine_is_an_error_that_says_how_to_install_it(made_up_engine, monkeypatch):
    monkeypatch.setitem(sys.modules, "routilux", None)
    with pytest.raises(TrackerError, match=r"not installed.*pip install 'routilux>=0\.8\.1,<=0\.11\.0'"):
        install()


def test_an_engine_that_lacks_something_itself_says_so_in_its_own_words(made_up_engine):
    made_up_engine(__init__="import no_such_module")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        install()
