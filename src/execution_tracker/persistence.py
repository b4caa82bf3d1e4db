"""The JSON form of runs, and what is accepted as one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker._copying import with_small_ids
from execution_tracker._lifetime import Lifetime, taken_out, with_lifetime
from execution_tracker._metrics import named
from execution_tracker._reading import Columns, Ids, nested_times, rows_of
from execution_tracker._records import event_record, execution_record, rows_in
from execution_tracker._run import EVENT_WIDTH, WIDTH, Routine, Run
from execution_tracker.collector import built_at_once
from execution_tracker.errors import InvalidRunError, expect, short
from execution_tracker.payloads import json_safe
from execution_tracker.plain import are_all, plain_column, plain_shapes, set_column
from execution_tracker.timestamps import ClockFace

if TYPE_CHECKING:
    from collections.abc import Collection

    from execution_tracker._run import Record

TYPE_NAME = "ExecutionTracker"
FIELDS = {"flow_id": object, "routine_executions": dict, "event_flow": list, "performance_metrics": dict}

# Records that are made and written at a time. So few that they, with copies of their payloads, are gone again before
# there are enough new containers (700) for the garbage collector to look at them, and for their sake, now and then, at
# all of the program's.
_CHUNK = 64


# --- the JSON form of a run ---


class Fields(NamedTuple):
    """What a tracker has beside its run."""

    flow_id: Any
    performance_metrics: Any
    type_name: str = TYPE_NAME
    added: dict[str, Any] = {}  # noqa: RUF012 - JSON-safe values of fields that a subclass added; never changed


def run_data(fields: Fields, run: Run) -> dict[str, Any]:
    """Return a run as JSON-safe data in the form of serilux."""
    return built_at_once(lambda: _run_data(fields, run))


def _run_data(fields: Fields, run: Run) -> dict[str, Any]:
    names = named(run.routines)
    return {
        "_type": fields.type_name,
        "flow_id": json_safe(fields.flow_id),
        "routine_executions": {
            name: [*chain.from_iterable(execution_chunks(run, routine_id))] for routine_id, name in names.items()
        },
        "event_flow": [*chain.from_iterable(event_chunks(run))],
        "performance_metrics": safe_metrics(run, fields.performance_metrics, names),
        **fields.added,
    }


def safe_metrics(run: Run, performance_metrics: Any, names: dict[Any, str]) -> dict[str, Any]:
    """Return metrics JSON-safe, part by part so that nothing is cut, with what the records do not tell."""
    safe = json_safe({}) if not isinstance(performance_metrics, dict) else _safe_parts(performance_metrics)
    return with_lifetime(safe, run, names)


def _safe_parts(metrics: dict[Any, Any]) -> dict[str, Any]:
    return {
        name: _safe_part(metrics[key], key in ("routines", "bottlenecks", "status_counts"))
        for key, name in named(dict.copy(metrics)).items()
    }


def _safe_part(value: Any, is_long: bool) -> Any:
    if is_long and type(value) is dict:
        return _safe_parts(value)
    return [json_safe(row) for row in value] if is_long and type(value) is list else json_safe(value)


# --- JSON-safe copies of many records at once ---
#
# Nearly all records and payloads hold a few plain scalars under the same keys as their neighbours. Such are looked at
# column by column, by functions in C, in a third of the time that `json_safe` takes for one after another.


def execution_chunks(run: Run, routine_id: Any) -> Iterator[list[Any]]:
    """Yield the JSON-safe records of a routine, some at a time."""
    rows = run.routines[routine_id].rows
    for begin in range(0, len(rows), _CHUNK * WIDTH):
        chunk = rows[begin : begin + _CHUNK * WIDTH]
        yield _safe_records([execution_record(routine_id, row, run.clock) for row in rows_in(chunk)])


def event_chunks(run: Run) -> Iterator[list[Any]]:
    """Yield the JSON-safe records of the events, some at a time."""
    for begin in range(0, len(run.events), _CHUNK * EVENT_WIDTH):
        chunk = run.events[begin : begin + _CHUNK * EVENT_WIDTH]
        yield _safe_records([event_record(row, run.clock) for row in rows_in(chunk, EVENT_WIDTH)])


def _safe_records(copies: list[Any]) -> list[Any]:
    """Return records of our own, which may be changed, in a JSON-safe form."""
    shapes = plain_shapes(copies)
    if shapes is None:
        return list(map(json_safe, copies))
    if len(shapes) == 1:
        _make_columns_safe(shapes.pop(), copies)
        return copies
    alike: dict[tuple[str, ...], list[Record]] = {keys: [] for keys in shapes}
    for copy in copies:
        alike[tuple(copy)].append(copy)
    for keys, records in alike.items():
        _make_columns_safe(keys, records)
    return copies


def _make_columns_safe(keys: tuple[str, ...], records: list[Record]) -> None:
    for key, column in zip(keys, zip(*map(dict.values, records), strict=True), strict=True):
        safe = plain_column(column, 3)
        set_column(records, key, column, list(map(json_safe, column)) if safe is None else safe)


# --- what is accepted as a run ---


class CheckedRun:
    """The fields of a serialized run that it has."""

    def __init__(self, fields: dict[str, Any], lifetime: Lifetime) -> None:
        self.fields = fields
        self.lifetime = lifetime

    def run(self) -> Run:
        """Return the run; records without an id of their own get one."""
        executions = {id_: Columns(records) for id_, records in self.fields.get("routine_executions", {}).items()}
        events = Columns(self.fields.get("event_flow", []))
        rows, of_events = built_at_once(lambda: rows_of(executions, events, self.lifetime.offsets, (Ids(), Ids())))
        routines = {routine_id: Routine(of_routine) for routine_id, of_routine in rows.items()}
        run = Run(routines, of_events, nested_times(rows.values()), ClockFace(), self.lifetime.offsets)
        return with_small_ids(self.lifetime.applied_to(run))


def checked_run(
    data: Any, *, strict: bool = False, type_name: str = TYPE_NAME, added: Collection[str] = ()
) -> CheckedRun:
    """Return the fields of a serialized run, with the records and payloads that are in it.

    Args:
        data: What ``serialize`` gave, here or upstream.
        strict: Refuse fields that are unknown.
        type_name: What its ``_type`` may be where it has no records.
        added: The names of fields that a subclass added.

    Raises:
        InvalidRunError: It is not a run; the message names the place.

    >>> checked_run({"_type": "ExecutionTracker", "event_flow": [5]})
    Traceback (most recent call last):
    execution_tracker.errors.InvalidRunError: event_flow[0]: expected an object, found a number
    """
    expect(data, dict, "the run")
    has_records = "routine_executions" in data or "event_flow" in data
    if not has_records and data.get("_type", type_name) not in (TYPE_NAME, type_name):
        raise InvalidRunError(f"the run: expected an {type_name}, found data of the type {short(data['_type'])}")
    unknown = sorted(map(repr, data.keys() - FIELDS.keys() - {"_type", *added}))
    if strict and unknown:
        raise InvalidRunError(f"the run: unknown field {unknown[0]}; leave it out, or deserialize with strict=False")
    fields = {field: data[field] for field in FIELDS if field in data}
    for field, value in fields.items():
        expect(value, FIELDS[field], field)
    if "routine_executions" in fields:
        for routine_id, records in fields["routine_executions"].items():
            _expect_records(records, f"routine_executions[{short(routine_id)}]")
    if "event_flow" in fields:
        _expect_records(fields["event_flow"], "event_flow")
    lifetime = Lifetime()
    if "performance_metrics" in fields:
        fields["performance_metrics"] = dict(fields["performance_metrics"])
        lifetime = taken_out(fields["performance_metrics"])
    fields |= {field: data[field] for field in added if field in data}
    return CheckedRun(fields, lifetime)


def _expect_records(records: Any, place: str) -> None:
    expect(records, list, place)
    if not are_all(dict, records):
        for index, record in enumerate(records):
            expect(record, dict, f"{place}[{index}]")


def detached(run: CheckedRun) -> CheckedRun:
    """Return a run with records of its own, whose payloads are shared."""
    fields = dict(run.fields)
    if "routine_executions" in fields:
        fields["routine_executions"] = {
            routine_id: list(map(dict.copy, records)) for routine_id, records in fields["routine_executions"].items()
        }
    if "event_flow" in fields:
        fields["event_flow"] = list(map(dict.copy, fields["event_flow"]))
    return CheckedRun(fields, run.lifetime)
