"""Serialized runs: what is accepted as one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from execution_tracker.errors import InvalidRunError
from execution_tracker.payloads import json_safe

if TYPE_CHECKING:
    from execution_tracker.folding import Snapshot

_FIELDS = {"flow_id": object, "routine_executions": dict, "event_flow": list, "performance_metrics": dict}
_JSON_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


def run_data(flow_id: Any, run: Snapshot, performance_metrics: Any) -> dict[str, Any]:
    """Return a run as JSON-safe data in the form of serilux."""
    return {
        "_type": "ExecutionTracker",
        "flow_id": json_safe(flow_id),
        "routine_executions": {
            routine_id: _safe_records(records)
            for routine_id, records in zip(_safe_keys(run.executions), run.executions.values(), strict=True)
        },
        "event_flow": _safe_records(run.events),
        "performance_metrics": json_safe(performance_metrics),
    }


def _safe_keys(executions: dict[Any, Any]) -> Iterable[str]:
    return json_safe(dict.fromkeys(executions))  # type: ignore[no-any-return]


def _safe_records(records: list[dict[str, Any]]) -> list[Any]:
    # A record may be ended meanwhile; dict.copy looks at it in one moment.
    return [json_safe(record.copy()) for record in records]


def checked_run(data: Any, *, strict: bool = False) -> dict[str, Any]:
    """Return the fields of a serialized run with containers of their own, payloads as they are.

    Args:
        data: What ``serialize`` gave, here or upstream.
        strict: Refuse fields that are unknown.

    Raises:
        InvalidRunError: It is not a run; the message names the place.

    >>> checked_run({"_type": "ExecutionTracker", "event_flow": [5]})
    Traceback (most recent call last):
    execution_tracker.errors.InvalidRunError: event_flow[0]: expected an object, found a number
    """
    _expect(data, dict, "the run")
    unknown = sorted(map(repr, data.keys() - _FIELDS.keys() - {"_type"}))
    if strict and unknown:
        raise InvalidRunError(f"the run: unknown field {unknown[0]}; leave it out, or deserialize with strict=False")
    run = {field: data[field] for field in _FIELDS if field in data}
    for field, value in run.items():
        _expect(value, _FIELDS[field], field)
    if "routine_executions" in run:
        run["routine_executions"] = {
            routine_id: _records(records, f"routine_executions[{routine_id!r}]")
            for routine_id, records in run["routine_executions"].items()
        }
    if "event_flow" in run:
        run["event_flow"] = _records(run["event_flow"], "event_flow")
    return run


def _records(records: Any, place: str) -> list[dict[str, Any]]:
    _expect(records, list, place)
    for index, record in enumerate(records):
        _expect(record, dict, f"{place}[{index}]")
    return [record.copy() for record in records]


def _expect(value: Any, kind: type, place: str) -> None:
    if not isinstance(value, kind):
        raise InvalidRunError(f"{place}: expected {_json_name(kind)}, found {_json_name(type(value))}")


def _json_name(kind: type) -> str:
    if issubclass(kind, (int, float)) and kind is not bool:
        return "a number"
    return _JSON_NAMES.get(kind, kind.__name__)
