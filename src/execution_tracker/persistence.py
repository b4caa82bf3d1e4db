"""The JSON form of runs, and what is accepted as one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from execution_tracker.collector import built_at_once
from execution_tracker.errors import InvalidRunError, expect, short
from execution_tracker.payloads import as_key, json_safe, unused
from execution_tracker.plain import are_all, are_plain_keys, plain_column, plain_shapes, set_column
from execution_tracker.retention import Dropped, from_json, to_json

if TYPE_CHECKING:
    from execution_tracker.folding import Snapshot
    from execution_tracker.pairing import Record

TYPE_NAME = "ExecutionTracker"
_FIELDS = {"flow_id": object, "routine_executions": dict, "event_flow": list, "performance_metrics": dict}

# The key in a file's performance_metrics for what the records do not tell: dropped executions, unmatched ends.
_LIFETIME = "lifetime"

# Records that are copied and written at a time. So few that their copies are gone again before there are enough new
# containers (700) for the garbage collector to look at them, and for their sake, now and then, at all of the program's.
_CHUNK = 200


# --- the JSON form of a run ---


def run_data(flow_id: Any, run: Snapshot, performance_metrics: Any) -> dict[str, Any]:
    """Return a run as JSON-safe data in the form of serilux."""
    return built_at_once(lambda: _run_data(flow_id, run, performance_metrics))


def _run_data(flow_id: Any, run: Snapshot, performance_metrics: Any) -> dict[str, Any]:
    names = names_of(run)
    return {
        "_type": TYPE_NAME,
        "flow_id": json_safe(flow_id),
        "routine_executions": {
            name: [*chain.from_iterable(safe_chunks(records))]
            for name, records in zip(names.values(), run.executions.values())  # noqa: B905 - dropped routines follow
        },
        "event_flow": [*chain.from_iterable(safe_chunks(run.events))],
        "performance_metrics": safe_metrics(run, performance_metrics, names),
    }


def names_of(run: Snapshot) -> dict[Any, str]:
    """Return the text under which each routine id is written; two ids never get the same."""
    ids = [*run.executions, *(routine_id for routine_id in run.dropped.routines if routine_id not in run.executions)]
    if are_plain_keys(ids):
        return dict(zip(ids, ids, strict=True))
    taken: dict[str, None] = {}
    for routine_id in ids:
        taken[unused(as_key(json_safe(routine_id)), taken)] = None
    return dict(zip(ids, taken, strict=True))


def safe_metrics(run: Snapshot, performance_metrics: Any, names: dict[Any, str]) -> dict[str, Any]:
    safe = json_safe(performance_metrics)
    metrics = safe if isinstance(safe, dict) else {}
    metrics.pop(_LIFETIME, None)  # a user's own would be taken for ours
    lifetime = to_json(run.dropped, run.unmatched_ends, names)
    return {**metrics, _LIFETIME: lifetime} if lifetime else metrics


# --- JSON-safe copies of many records at once ---
#
# Nearly all records and payloads hold a few plain scalars under the same keys as their neighbours. Such are looked at
# column by column, by functions in C, in a third of the time that `json_safe` takes for one after another.


def safe_chunks(records: list[Record]) -> Iterator[list[Any]]:
    for first in range(0, len(records), _CHUNK):
        # A record may be ended meanwhile; dict.copy looks at it in one moment.
        yield _safe_records(list(map(dict.copy, records[first : first + _CHUNK])))


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
    """The fields of a serialized run that it has, and what they do not tell; None where it has no records."""

    def __init__(self, fields: dict[str, Any], dropped: Dropped | None = None, unmatched_ends: int | None = None):
        self.fields = fields
        self.dropped = dropped
        self.unmatched_ends = unmatched_ends


def checked_run(data: Any, *, strict: bool = False) -> CheckedRun:
    """Return the fields of a serialized run, with the records and payloads that are in it.

    Args:
        data: What ``serialize`` gave, here or upstream.
        strict: Refuse fields that are unknown.

    Raises:
        InvalidRunError: It is not a run; the message names the place.

    >>> checked_run({"_type": "ExecutionTracker", "event_flow": [5]})
    Traceback (most recent call last):
    execution_tracker.errors.InvalidRunError: event_flow[0]: expected an object, found a number
    """
    expect(data, dict, "the run")
    unknown = sorted(map(repr, data.keys() - _FIELDS.keys() - {"_type"}))
    if strict and unknown:
        raise InvalidRunError(f"the run: unknown field {unknown[0]}; leave it out, or deserialize with strict=False")
    fields = {field: data[field] for field in _FIELDS if field in data}
    for field, value in fields.items():
        expect(value, _FIELDS[field], field)
    if "routine_executions" in fields:
        for routine_id, records in fields["routine_executions"].items():
            _expect_records(records, f"routine_executions[{short(routine_id)}]")
    if "event_flow" in fields:
        _expect_records(fields["event_flow"], "event_flow")
    if "performance_metrics" in fields:
        fields["performance_metrics"] = metrics = dict(fields["performance_metrics"])
        if _LIFETIME in metrics:
            return CheckedRun(fields, *from_json(metrics.pop(_LIFETIME), f"performance_metrics[{_LIFETIME!r}]"))
    # Other records have another past, of which nothing is known.
    return CheckedRun(fields, Dropped(), 0) if "routine_executions" in fields else CheckedRun(fields)


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
    return CheckedRun(fields, run.dropped, run.unmatched_ends)
