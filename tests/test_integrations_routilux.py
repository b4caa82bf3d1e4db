"""The integration with routilux: logic on a made-up engine, promises on real ones, each in an environment of its own.

The environments are made once and kept where EXECUTION_TRACKER_ENGINES says, else in pytest's temporary folder.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from enum import Enum
from pathlib import Path

import pytest
from serilux import SerializableRegistry

import execution_tracker
from execution_tracker import ExecutionTracker, TrackerError
from execution_tracker.integrations._routilux_hooks import _without_engines
from execution_tracker.integrations.routilux import install, instrument, uninstrument

SCRIPTS = Path(__file__).parent / "engines"
EXAMPLES = Path(__file__).parents[1] / "examples"
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
        return json.loads(self.output_of(SCRIPTS / script, *arguments))

    def output_of(self, path: Path, *arguments: str) -> str:
        """Run a script and return what it prints."""
        result = subprocess.run(
            [self.python, path, *arguments],
            env={**os.environ, "PYTHONPATH": str(self._package_path), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout


@pytest.fixture(scope="session")
def package_path(tmp_path_factory):
    """A folder with the package under test and nothing else: not the serilux that may be installed beside it."""
    path = tmp_path_factory.mktemp("package")
    shutil.copytree(Path(execution_tracker.__file__).parent, path / "execution_tracker")
    if coverage := sys.modules.get("coverage"):  # is measured: what engines run counts
        shutil.copytree(Path(coverage.__file__).parent, path / "coverage")
        (path / "sitecustomize.py").write_text("import coverage\ncoverage.process_startup()\n")
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


@pytest.fixture(scope="session")
def instrumented(engine):
    """What instrumented flows recorded on one engine."""
    return engine.run("instrumented_today.py" if engine.version == TODAY else "instrumented_old.py")


TODAY = "1.1.0"
on_the_engine_of_today = pytest.mark.parametrize("engine", [TODAY], indirect=True)
on_all_engines = pytest.mark.parametrize("engine", ["0.8.1", "0.9.0", "0.10.0", "0.11.0", TODAY], indirect=True)
on_every_old_engine = pytest.mark.parametrize("engine", ["0.8.1", "0.9.0", "0.10.0", "0.11.0"], indirect=True)
on_oldest_and_newest_old_engine = pytest.mark.parametrize("engine", ["0.8.1", "0.11.0"], indirect=True)


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


@on_every_old_engine
def test_every_run_of_the_engine_is_recorded_by_our_class(engine, document):
    assert document["version"] == engine.version
    assert document["classes"] == [OURS]
    assert document["registered"] == OURS
    assert {name: run["flow_id"] for name, run in document["ours"].items()} == {name: name for name in document["ours"]}


@on_every_old_engine
def test_records_equal_those_of_upstream_apart_from_clock_readings(engine, document):
    # As text, so that the order of the keys counts.
    assert len(document["ours"]) == 7
    for name, run in document["ours"].items():
        assert json.dumps(run, indent=1) == json.dumps(document["upstream"][name], indent=1)


@on_every_old_engine
def test_a_good_run_has_the_execution_of_its_entry(engine, document):
    status = "completed" if engine.ends_good_runs else "running"
    for name in ("linear", "fan_out", "failing_downstream", "concurrent"):
        assert document["ours"][name]["executions"] == {"load": [execution(status)]}
        assert document["metrics"][name][status] == 1


@on_every_old_engine
def test_a_failing_run_has_its_error(engine, document):
    assert document["ours"]["failing"]["executions"] == {"load": [execution("failed", "cannot take 1")]}
    assert document["ours"]["failing"]["events"] == []
    assert document["metrics"]["failing"]["failed"] == 1


@on_every_old_engine
def test_a_retried_run_is_one_execution_that_ends_as_the_last_try(engine, document):
    assert document["ours"]["retried"]["executions"] == {"load": [execution("completed")]}
    in_vain = execution("failed", "down, 0 more to come")
    assert document["ours"]["retried_in_vain"]["executions"] == {"load": [in_vain]}


@on_every_old_engine
def test_events_tell_who_emitted_what_to_whom(engine, document):
    assert document["ours"]["linear"]["events"] == events(
        engine, ("load", "parse", 2), ("parse", "store", 3), ("store", None, 4)
    )
    # Of several targets the engine tells the first.
    assert document["ours"]["fan_out"]["events"] == events(
        engine, ("load", "left", 2), ("left", None, 3), ("right", None, 3)
    )


@on_every_old_engine
def test_no_event_of_a_concurrent_run_is_lost(engine, document):
    workers = [f"worker {number}" for number in range(6)]
    assert document["ours"]["concurrent"]["events"] == events(
        engine,
        ("load", "worker 0", 2),
        *((worker, "merge", 3) for worker in workers),
        *(("merge", None, 4) for _ in workers),
    )


@on_every_old_engine
def test_a_flow_saved_with_its_tracker_comes_back_with_all_records(engine, document):
    saved = document["saved"]
    assert saved["class"] == OURS
    assert saved["routines"] == ["load", "parse", "store"]
    assert saved["after"] == saved["before"] == saved["before_as_json"]
    assert len(saved["before"]["event_flow"]) == 3
    payload = ["number"] if engine.ends_good_runs else ["job_state", "number"]  # the live state of the job
    assert saved["payloads"] == [payload] * 3


@on_oldest_and_newest_old_engine
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


@on_oldest_and_newest_old_engine
@pytest.mark.parametrize(
    "steps",
    [["import routilux", "import execution_tracker"], ["import execution_tracker", "import routilux"]],
    ids=", ".join,
)
def test_without_install_the_engine_stays_as_it_was(engine, steps):
    assert set(engine.run("import_order.py", *steps).values()) == {UPSTREAM}


# --- instrumented flows on real engines ---


def executions(routine_id, *outcomes, **params):
    """Return the records of executions that all got the same params; an outcome is None, or the error."""
    records = [execution("completed" if error is None else "failed", error) for error in outcomes]
    return [{**record, "routine_id": routine_id, "params": params} for record in records]


def sent(*edges, event="output"):
    """Return event records of edges of the form (source, target, number), sorted as the scripts sort them."""
    return sorted(
        (
            {
                "timestamp": CLOCK,
                "source_routine_id": source,
                "event_name": event,
                "target_routine_id": target,
                "data": {"number": number},
            }
            for source, target, number in edges
        ),
        key=json.dumps,
    )


@on_every_old_engine
def test_an_instrumented_run_has_every_execution_and_event_once_under_the_flows_ids(engine, instrumented):
    runs = instrumented["scenarios"]
    assert all(run.pop("is the attribute") for run in runs.values())
    assert {run.pop("led nowhere") for run in runs.values()} == {0}
    assert {run.pop("of nobody") for run in runs.values()} == {0}
    paths = {name: run.pop("path") for name, run in runs.items()}
    assert paths["linear"] == ["load", "parse", "store"]
    nested = {name: run.pop("nested") for name, run in runs.items()}
    is_nested = engine.version == "0.8.1"  # which runs a target inside of the call that emits to it
    assert nested["linear"] == ([["load", "parse"], ["parse", "store"]] if is_nested else [])
    assert nested["failing_downstream"] == ([["load", "parse"]] if is_nested else [])
    workers = [f"worker {number}" for number in range(6)]
    down = [f"ConnectionError: down, {left} more to come" for left in (1, 0)]
    one = executions("load", None, number=1)
    assert runs == {
        "linear": {
            "executions": {
                "load": one,
                "parse": executions("parse", None, number=2),
                "store": executions("store", None, number=3),
            },
            "events": sent(("load", "parse", 2), ("parse", "store", 3), ("store", None, 4)),
        },
        "fan_out": {
            "executions": {
                "left": executions("left", None, number=2),
                "load": one,
                "right": executions("right", None, number=2),
            },
            "events": sent(("load", "left", 2), ("load", "right", 2), ("left", None, 3), ("right", None, 3)),
        },
        "failing": {"executions": {"load": executions("load", "ValueError: cannot take 1", number=1)}, "events": []},
        "failing_downstream": {
            "executions": {"load": one, "parse": executions("parse", "ValueError: cannot take 2", number=2)},
            "events": sent(("load", "parse", 2)),
        },
        "retried": {
            "executions": {
                "load": executions("load", *down, None, number=1),
                "parse": executions("parse", None, number=2),
            },
            "events": sent(("load", "parse", 2), ("parse", None, 3)),
        },
        "retried_in_vain": {"executions": {"load": executions("load", *down, number=1)}, "events": []},
        "concurrent": {
            "executions": {
                "load": one,
                "merge": executions("merge", *[None] * 6, number=3),
                **{worker: executions(worker, None, number=2) for worker in workers},
            },
            "events": sent(
                *(("load", worker, 2) for worker in workers),
                *((worker, "merge", 3) for worker in workers),
                *(("merge", None, 4) for _ in workers),
            ),
        },
    }


@on_every_old_engine
def test_retries_of_a_routine_in_the_middle_are_executions_where_the_engine_makes_them(engine, instrumented):
    tries = {"parse": ["failed", "failed", "completed"], "store": ["completed"]}
    if engine.version != "0.11.0":  # the engines before do not
        tries = {"parse": ["failed"]}
    assert instrumented["retried_downstream"] == {"load": ["completed"], **tries}


@on_every_old_engine
def test_arguments_are_recorded_by_name_and_without_objects_of_the_engine(instrumented):
    both = {"number": 1, "word": "two"}
    assert instrumented["payloads"] == {
        "load": [[{"number": 1}, None]],
        "take": [[{"data": both}, 4], [both, [1, "two"]], [both, None], [{"number": 1}, 10]],
        "events": [both] * 5,
    }


@on_all_engines
def test_data_may_have_any_names(instrumented):
    assert instrumented["names"] == [True] * 4


@on_all_engines
def test_errors_end_as_without_instrumentation(instrumented):
    assert len(instrumented["outcomes"]) >= 8
    for plain, tracked in instrumented["outcomes"].values():
        assert tracked == plain


@on_all_engines
def test_a_tracker_that_raises_does_not_hurt_the_flow(engine, instrumented):
    assert instrumented["broken_tracker"] == (True if engine.version == TODAY else "completed")


@on_every_old_engine
def test_a_handler_that_is_interrupted_is_cancelled(instrumented):
    assert instrumented["interrupted"] == ["KeyboardInterrupt", ["cancelled", "KeyboardInterrupt"]]


@on_every_old_engine
def test_the_first_run_takes_the_tracker_given_back_and_each_later_one_a_new_one_unless_one_was_given(instrumented):
    once, twice = (
        dict.fromkeys(["load", "parse", "store", "look"], 1),
        dict.fromkeys(["load", "parse", "store", "look"], 2),
    )
    assert instrumented["trackers_of_runs"] == {
        "first is the one given back": True,
        "second is another": True,
        "counts": [once, once, twice],
        "given is the attribute": True,
        "seen by routines": [0, 1, 2, 2],
        "flow ids": ["runs", "runs", "given"],
    }


@on_all_engines
def test_instrumenting_twice_is_once_and_another_tracker_takes_over(engine, instrumented):
    switched = instrumented["switched_trackers"]
    assert switched["given back"] == [0, 0, 1, 1]
    once, twice = (dict.fromkeys(["load", "parse", "store"], times) for times in (1, 2))
    if engine.version == TODAY:
        assert switched["counts"] == [{}, once, twice]  # the last was assigned to the attribute
    else:
        assert switched["assigned"]
        assert switched["counts"] == [{}, once, {}]


@on_every_old_engine
def test_a_flow_of_an_engine_with_our_class_can_be_instrumented_too(engine, instrumented):
    entry_only = {"load": 1}
    counts = {"load": 1, "parse": 1, "store": 1}
    assert instrumented["installed"] == [True, counts, 3, True, entry_only]


@on_all_engines
def test_flows_that_run_at_once_do_not_mix(engine, instrumented):
    def counts(name):
        return {"load": 1, "parse": 1, "store" if engine.version == TODAY else f"only in {name}": 1}

    assert instrumented["two_flows"] == {name: [counts(name), 3] for name in ("a", "b")}


@on_all_engines
def test_a_routine_in_two_flows_is_recorded_for_the_one_that_runs(engine, instrumented):
    shared = instrumented["shared_routine"]
    both = {"load": 1, "other": 1}
    assert shared["counts"] == ([{"load": 1}, {"load": 2}] if engine.version == TODAY else [{"load": 1}, both, both])
    assert shared["undressed"]


@on_every_old_engine
def test_parts_that_are_added_later_are_tracked(instrumented):
    late = instrumented["late_parts"]
    store = [*executions("store", None, number=3), *executions("store", None, number=5)]
    assert late["executions"]["store"] == store
    assert late["executions"]["audit"] == executions("audit", None, number=4)
    edges = [("load", "parse", 2), ("parse", "store", 3), ("store", "audit", 4), ("audit", "store", 5)]
    assert late["events"] == sorted([*sent(*edges), *sent(("store", None, 5), event="done")], key=json.dumps)
    assert late["replaced"] == "replaced"


@on_every_old_engine
def test_what_a_handler_records_itself_is_kept_apart(instrumented):
    assert instrumented["records_by_hand"] == [[{"number": 1}, "completed", None], [{"by": "hand"}, "running", 1]]


@on_every_old_engine
def test_what_the_engine_does_not_call_is_no_execution(instrumented):
    assert {"number": 7} in instrumented["calls_by_hand"]
    assert {"number": 1} not in instrumented["calls_by_hand"]


@on_the_engine_of_today
def test_routines_that_are_added_later_are_tracked_today(instrumented):
    counts, events = instrumented["late_parts"]
    assert counts == {"audit": 1, "load": 1, "parse": 1, "store": 1}
    assert events == ["done", *["output"] * 8]


@on_all_engines
def test_nothing_of_the_flow_changes_but_its_classes_and_these_only_for_a_while(instrumented):
    restored = instrumented["restored"]
    assert set(restored["during"].values()) == {True}
    engines_own = restored["after"].pop("engine's own tracker again", UPSTREAM)
    assert engines_own == UPSTREAM
    assert set(restored["after"].values()) == {True}


@on_every_old_engine
def test_an_instrumented_flow_is_saved_with_its_tracker_at_any_time(engine, instrumented):
    saved = instrumented["saved"]
    nested = engine.version == "0.8.1"  # which runs a target inside of the call that emits to it
    before = "running" if nested else "completed"
    assert saved["during"] == {"load": [before], "parse": [before], "store": [before], "wait": ["running"]}
    assert saved["read back"]
    assert saved["events"] == [4, 4]


# --- the engine of today ---


@on_the_engine_of_today
def test_every_logic_is_an_execution_with_what_it_took_out_of_its_slots(instrumented):
    chain = instrumented["chain"]
    assert chain["executions"] == {
        routine_id: executions(routine_id, None, input=[{"number": number}])
        for routine_id, number in [("load", 1), ("parse", 2), ("store", 3)]
    }
    assert chain["events"] == sent(("load", "parse", 2), ("parse", "store", 3), ("store", None, 4))
    assert chain["led nowhere"] == chain["of nobody"] == 0
    assert chain["path"] == ["load", "parse", "store"]
    assert chain["is the attribute"]
    assert chain["flow id"] == "chain"


@on_the_engine_of_today
def test_four_posts_at_once_are_four_overlapping_executions_that_all_end(instrumented):
    four = instrumented["four_at_once"]
    assert four["statuses"] == ["completed"] * 4
    assert four["numbers"] == four["events"] == [1, 2, 3, 4]
    assert four["peak"] == 4
    assert four["running"] == four["led nowhere"] == four["of nobody"] == 0
    assert all(0.05 <= time < 30 for time in four["times"])


@on_the_engine_of_today
def test_each_of_four_that_run_at_once_emits_its_own_events(instrumented):
    assert sorted(instrumented["four_at_once"]["emitted by"]) == [[number, number] for number in (1, 2, 3, 4)]


@on_all_engines
def test_an_event_of_an_earlier_run_stays_with_the_execution_that_emitted_it(instrumented):
    assert instrumented["late_event"] == {"first": [["load", "load"]], "second": []}


@on_the_engine_of_today
def test_a_failing_branch_today_has_its_error_and_the_other_goes_on(instrumented):
    fan_out = instrumented["fan_out_with_failure"]
    number = {"input": [{"number": 2}]}
    assert fan_out["executions"] == {
        "left": executions("left", "ValueError: cannot take 2", **number),
        "load": executions("load", None, input=[{"number": 1}]),
        "right": executions("right", None, **number),
    }
    assert fan_out["events"] == sent(("load", "left", 2), ("load", "right", 2), ("right", None, 3))
    assert fan_out["led nowhere"] == fan_out["of nobody"] == 0


@on_the_engine_of_today
def test_slots_are_recorded_by_name_and_without_objects_of_the_engine(instrumented):
    payloads = instrumented["payloads"]
    (load,), (count,) = payloads["executions"]["load"], payloads["executions"]["count"]
    assert load["params"] == {"input": [{"number": 1}], "more": []}
    assert "result" not in load
    assert (count["params"], count["result"]) == ({"input": [{"word": "two"}]}, 1)
    assert [event["data"] for event in payloads["events"]] == [{"word": "two"}]


@on_the_engine_of_today
def test_a_routine_without_logic_has_no_executions(instrumented):
    assert instrumented["without_logic"] == [{"load": 1}, ["sink"]]


@on_the_engine_of_today
def test_hooks_of_others_stay_and_are_called(instrumented):
    assert instrumented["hooks"] == {
        "still set": True,
        "called": ["on_event_emit", "on_routine_end completed", "on_routine_end failed", "on_routine_start"],
    }


def test_of_what_the_engine_makes_only_live_objects_are_left_out():
    class JobState:
        pass

    class EngineError(Exception):
        pass

    class Status(Enum):
        RUNNING = 1

    for kind in (JobState, EngineError, Status):
        kind.__module__ = "routilux.status"

    class OwnState(JobState):
        pass

    plain = {"error": EngineError("no"), "status": Status.RUNNING, "routilux": "routilux", "n": 1}
    assert _without_engines({**plain, "state": JobState(), "own": OwnState()}) == plain
    assert _without_engines(JobState()) is None
    assert _without_engines(plain["error"]) is plain["error"]


# --- examples ---


@pytest.mark.parametrize("engine", ["0.10.0", "0.11.0"], indirect=True)
def test_the_example_for_old_engines_shows_each_execution_failures_and_retries_included(engine):
    headline, *lines = engine.output_of(EXAMPLES / "routilux_old.py").splitlines()
    assert headline == "9 executions, 2 failed, 7 events"
    executions = [re.sub(r" +[\d.]+ ms +", " ", line) for line in lines]
    assert executions[:2] == [
        "read {'day': 'Monday'} -> ConnectionError: the orders of Monday cannot be read yet",
        "read {'day': 'Monday'} -> completed",
    ]
    assert "price {'product': 'anvil', 'quantity': 1} -> KeyError: 'anvil'" in executions
    assert "book {'product': 'bolt', 'amount': 48.0} -> bolt: 48.00" in executions
    assert [line.split()[0] for line in executions] == ["read"] * 2 + ["price"] * 4 + ["book"] * 3


@on_the_engine_of_today
def test_the_example_for_the_engine_of_today_shows_posts_that_run_at_once(engine):
    headline, *lines = engine.output_of(EXAMPLES / "routilux_new.py").splitlines()
    assert re.fullmatch(r"8 executions in [\d.]+ s, up to \d at once, 1 failed, 4 events", headline)
    executions = [re.sub(r" +[\d.]+ ms +", " ", line) for line in lines]
    assert "count {'text': [{'name': 'north', 'text': 'five six seven'}]} -> 3" in executions
    assert any(line.endswith("ValueError: the report of the south is empty") for line in executions)
    assert sorted(line.split()[0] for line in executions) == ["count"] * 4 + ["fetch"] * 4


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


def test_instrumenting_without_an_engine_says_how_to_install_one(made_up_engine, monkeypatch):
    monkeypatch.setitem(sys.modules, "routilux", None)
    with pytest.raises(TrackerError, match=r"not installed.*pip install 'routilux==1\.1\.0'"):
        instrument(object())


@pytest.mark.parametrize("thing", [None, "flow", object()])
def test_instrumenting_what_is_no_flow_says_what_it_is(made_up_engine, thing):
    made_up_engine(__init__="__version__ = '1.1.0'\nclass Flow: pass")
    with pytest.raises(TrackerError, match=rf"expected a flow of routilux 1\.1\.0; found {type(thing).__name__}"):
        instrument(thing)
    uninstrument(thing)


@pytest.mark.parametrize("runtime", ["", "class Runtime: pass", "class Runtime:\n _check_routine_activation = max"])
def test_an_engine_that_is_not_known_is_named_with_those_that_are(made_up_engine, runtime):
    made_up_engine(__init__=f"__version__ = '2.0'\nclass Flow: pass\n{runtime}")
    import routilux

    with pytest.raises(TrackerError, match=r"routilux 2\.0 is not known; instrument\(\) works with 0\.8\.1 to 1\.1"):
        instrument(routilux.Flow())


MINIMAL_ENGINE = {
    **OLD_ENGINE,
    "__init__": """
from routilux.execution_tracker import ExecutionTracker

refuses = False

class Kind(type):
    def __init__(cls, *args):
        if refuses: raise TypeError("no more of these")

class Slot(metaclass=Kind):
    handler = call_handler = None

class Routine:
    def __init__(self): self._slots, self._events = {"input": Slot()}, {}

class Flow:
    flow_id = "minimal"
    def __init__(self): self.routines = {"load": Routine()}
""",
}


def test_a_tracker_of_another_class_is_refused(made_up_engine):
    made_up_engine(**MINIMAL_ENGINE)
    import routilux

    flow = routilux.Flow()
    with pytest.raises(TrackerError, match=r"expected an ExecutionTracker of execution_tracker; found Exec"):
        instrument(flow, routilux.ExecutionTracker())
    assert type(flow) is routilux.Flow


def test_a_flow_that_cannot_be_instrumented_stays_as_it_was(made_up_engine, monkeypatch):
    made_up_engine(**MINIMAL_ENGINE)
    import routilux

    flow = routilux.Flow()
    monkeypatch.setattr(routilux, "refuses", True)
    with pytest.raises(TrackerError, match="cannot be instrumented: no more of these"):
        instrument(flow)
    assert type(flow) is routilux.Flow


def test_a_flow_that_is_instrumented_stays_so_where_a_new_routine_cannot_be(made_up_engine, monkeypatch):
    made_up_engine(**MINIMAL_ENGINE)
    import routilux

    flow = routilux.Flow()
    tracker = instrument(flow)
    flow.routines["later"] = routilux.Routine()
    monkeypatch.setattr(routilux, "refuses", True)
    with pytest.raises(TrackerError, match="cannot be instrumented: no more of these"):
        instrument(flow)
    assert type(flow) is not routilux.Flow
    assert flow.execution_tracker is tracker
