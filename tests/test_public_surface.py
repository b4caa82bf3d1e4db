"""Every name that users rely on, with its parameters: what changes here is a change of the interface.

Types are frozen by the code in ``typing``, which type checkers read.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import execution_tracker
from execution_tracker import ExecutionTracker
from execution_tracker.commands import commands
from execution_tracker.integrations.dask import ClusterContext
from execution_tracker.tracking import Execution

REFERENCE = Path(__file__).parents[1] / "docs" / "reference.md"

PUBLIC = {
    "execution_tracker": {
        "ExecutionTracker": "(flow_id='', *, capture=None, max_records=None, tz=None)",
        "InvalidRunError": None,
        "TrackerError": None,
        "merge": "(trackers, flow_id='')",
        "snapshot": "(redact=(), max_string=200, max_items=20, max_depth=5)",
    },
    "execution_tracker.analysis": {
        "compare": "(before, after)",
        "critical_path": "(tracker)",
        "event_edges": "(tracker)",
    },
    "execution_tracker.export.chrome_trace": {
        "to_chrome_trace": "(tracker)",
        "write_chrome_trace": "(tracker, path)",
    },
    "execution_tracker.export.opentelemetry": {
        "SpanExport": "(tracker, tracer_provider=None, *, context=None)",
        "export_spans": "(tracker, tracer_provider=None, *, context=None)",
    },
    "execution_tracker.integrations.dask": {"track_cluster": "(client, tracker)"},
    "execution_tracker.integrations.routilux": {
        "install": "()",
        "instrument": "(flow, tracker=None)",
        "uninstrument": "(flow)",
    },
    "execution_tracker.report.html": {"write_html": "(tracker, path)"},
    "execution_tracker.report.terminal": {
        "print_comparison": (
            "(rows, max_slowdown=None, console=None, *, max_failed=None, min_count=5, min_time=0.001)"
        ),
        "print_report": "(tracker, console=None)",
    },
}
NOT_TO_BE_CALLED_BY_USERS = {
    "execution_tracker.analysis": {"critical_path_in", "event_edges_in"},
    "execution_tracker.integrations.dask": {"ClusterContext"},
}

OF_A_TRACKER = {
    "deserialize": "(self, data, strict=False, registry=None)",
    "event_flow": None,
    "get_flow_performance": "(self)",
    "get_performance_metrics": "(self)",
    "get_routine_performance": "(self, routine_id)",
    "load": "(path)",
    "record_event": ("(self, source_routine_id, event_name, target_routine_id=None, data=None, *, execution_id=None)"),
    "record_execution": (
        "(self, routine_id, start, end, status='completed', params=None, result=None, error=None, *, "
        "parent_id=None, caused_by=None, worker=None)"
    ),
    "record_routine_end": "(self, routine_id, status='completed', result=None, error=None, *, execution_id=None)",
    "record_routine_start": "(self, routine_id, params=None, *, parent_id=None, caused_by=None)",
    "routine_executions": None,
    "save": "(self, path)",
    "serialize": "(self, max_depth=100, _current_depth=0)",
    "track": "(self, routine_id, params=None, *, caused_by=None)",
    "tracked": "(self, routine_id=None)",
}


def parameters(thing: Any) -> str | None:
    """Return the parameters of what can be called, without their types; None for an attribute."""
    if not callable(thing):
        return None
    signature = inspect.signature(thing)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(inspect.Signature(bare))


def members(cls: type) -> dict[str, Any]:
    """Return the public members of a class that this package defines."""
    return {
        name: getattr(cls, name)
        for base in cls.__mro__
        if base.__module__.startswith("execution_tracker")
        for name in vars(base)
        if not name.startswith("_")
    }


def test_modules_that_users_do_not_import_begin_with_an_underscore() -> None:
    package = Path(execution_tracker.__file__).parent
    private = {path.stem for path in package.glob("_*.py")} - {"__init__", "__main__"}
    documented = {name.split(".")[1] for name in PUBLIC if "." in name}
    assert documented.isdisjoint(private)
    assert not documented - {path.stem for path in package.iterdir()}


def test_the_names_of_the_package_are_these() -> None:
    assert execution_tracker.__all__ == sorted(PUBLIC["execution_tracker"])


@pytest.mark.parametrize("module_name", PUBLIC)
def test_the_public_names_of_a_module_take_what_they_took(module_name: str) -> None:
    module = import_module(module_name)
    own = {name for name, thing in vars(module).items() if getattr(thing, "__module__", None) == module_name}
    named = {name for name in getattr(module, "__all__", own) if not name.startswith("_")}
    assert named - NOT_TO_BE_CALLED_BY_USERS.get(module_name, set()) == set(PUBLIC[module_name])
    frozen = {name: signature for name, signature in PUBLIC[module_name].items() if signature}
    assert {name: parameters(getattr(module, name)) for name in frozen} == frozen


def test_a_tracker_has_these_methods_and_attributes() -> None:
    assert {name: parameters(member) for name, member in members(ExecutionTracker).items()} == OF_A_TRACKER
    attributes = {name for name in vars(ExecutionTracker()) if not name.startswith("_")}
    assert attributes == {"fields_to_serialize", "flow_id", "performance_metrics"}


def test_help_on_how_to_make_a_tracker_is_its_own() -> None:
    assert ExecutionTracker.__init__.__doc__ == "Make an empty tracker; the class tells what the settings do."


def test_a_tracker_serializes_these_fields() -> None:
    fields = ["flow_id", "routine_executions", "event_flow", "performance_metrics"]
    assert ExecutionTracker().fields_to_serialize == fields
    assert sorted(ExecutionTracker().serialize()) == sorted(["_type", *fields])


def test_what_track_gives_has_these_attributes() -> None:
    assert sorted(members(Execution)) == ["error", "execution_id", "result", "status"]


def test_what_track_cluster_gives_is_a_context_manager_and_no_more() -> None:
    assert members(ClusterContext) == {}


def test_the_command_line_takes_these_arguments() -> None:
    taken = {name: [parameter.opts for parameter in command.params] for name, command in commands.commands.items()}
    assert taken == {
        "report": [["run"], ["--json"]],
        "html": [["run"], ["-o", "--output"], ["--open"]],
        "trace": [["run"], ["-o", "--output"]],
        "compare": [
            *(["before"], ["after"], ["--max-slowdown"], ["--max-failed"], ["--min-count"], ["--min-time"], ["--json"])
        ],
    }


def test_the_reference_documents_the_public_names_and_no_others() -> None:
    reference = REFERENCE.read_text(encoding="utf-8")
    documented = set(re.findall(r"^\.\. auto(?:class|exception|function):: ([\w.]+)", reference, re.MULTILINE))
    named = {f"{module_name}.{name}" for module_name, names in PUBLIC.items() for name in names}
    assert documented == named | {"execution_tracker.tracking.Execution"}
    assert {*OF_A_TRACKER} <= {*re.findall(r"^   \.\. auto(?:method|property):: (\w+)", reference, re.MULTILINE)}
