"""The JSON form of runs, and what is accepted as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker.collector import built_at_once
from execution_tracker.errors import InvalidRunError
from execution_tracker.payloads import as_key, json_safe, unused
from execution_tracker.retention import Dropped, from_json, to_json

if TYPE_CHECKING:
    from execution_tracker.folding import Snapshot
    from execution_tracker.pairing import Record

TYPE_NAME = "ExecutionTracker"
_FIELDS = {"flow_id": object, "routine_executions": dict, "event_flow": list, "performance_metrics": dict}
_JSON_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}

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
            names[routine_id]: [*chain.from_iterable(safe_chunks(records))]
            for routine_id, records in run.executions.items()
        },
        "event_flow": [*chain.from_iterable(safe_chunks(run.events))],
        "performance_metrics": safe_metrics(run, performance_metrics, names),
    }


def names_of(run: Snapshot) -> dict[Any, str]:
    """Return the text under which each routine id is written; two ids never get the same."""
    ids = [*run.executions, *(routine_id for routine_id in run.dropped.routines if routine_id not in run.executions)]
    if _are_plain_keys(ids):
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
    shapes = _plain_shapes(copies)
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
        safe = _plain_copies(column, 3)
        _set_column(records, key, column, list(map(json_safe, column)) if safe is None else safe)


def _set_column(dicts: Sequence[dict[Any, Any]], key: str, column: Sequence[Any], values: Sequence[Any]) -> None:
    if values is not column:
        for dict_, value in zip(dicts, values, strict=True):
            dict_[key] = value


def _plain_copies(values: Sequence[Any], levels: int) -> Sequence[Any] | None:
    """Return copies of values of one plain type, the values themselves if they cannot change; None for any other."""
    kinds = set(map(type, values))
    kind = kinds.pop()
    if kinds:
        return None
    if kind is str:
        is_plain = max(map(len, values)) <= 1_000 and _is_text("".join(values))
    elif kind is int:
        is_plain = min(values) > -(2**63) and max(values) < 2**63
    elif kind is float:
        is_plain = isfinite(sum(values))  # not finite if one of them is not
    elif kind is dict and levels:
        return _plain_dicts(values, levels - 1)
    else:
        is_plain = kind is bool or kind is type(None)
    return values if is_plain else None


def _plain_dicts(dicts: Sequence[dict[Any, Any]], levels: int) -> Sequence[Any] | None:
    if len(dicts[0]) > 32:
        return None
    copies = list(map(dict.copy, dicts))
    shapes = _plain_shapes(copies)
    if shapes is None or len(shapes) > 1:
        return None
    for key, column in zip(shapes.pop(), zip(*map(dict.values, copies), strict=True), strict=True):
        safe = _plain_copies(column, levels)
        if safe is None:
            return None
        _set_column(copies, key, column, safe)
    return copies


def _plain_shapes(dicts: Sequence[dict[Any, Any]]) -> set[tuple[str, ...]] | None:
    """Return the different sequences of keys that dicts have, None if not all keys are plain."""
    keys = [*chain.from_iterable(dicts)]
    # Each key's type is looked at: a key of another type may equal a text.
    if not set(map(type, keys)) <= {str}:
        return None
    first = tuple(dicts[0])
    # As no dict has a key twice, all keys in a row repeat those of the first only if each dict has the same.
    shapes = {first} if keys == [*first] * len(dicts) else set(map(tuple, dicts))
    return shapes if _are_plain_keys(chain.from_iterable(shapes)) else None


def _are_plain_keys(keys: Iterable[Any]) -> bool:
    keys = list(keys)
    if not set(map(type, keys)) <= {str}:
        return False
    different = set(keys)
    return max(map(len, different), default=0) <= 1_000 and _is_text("".join(different))


def _is_text(text: str) -> bool:
    """Tell whether a text has a form in UTF-8, which half of a surrogate pair has not."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


# --- what is accepted as a run ---


class CheckedRun(NamedTuple):
    """The fields of a serialized run, None where it has none."""

    fields: dict[str, Any]
    dropped: Dropped | None
    unmatched_ends: int | None


def checked_run(data: Any, *, strict: bool = False) -> CheckedRun:
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
    expect(data, dict, "the run")
    unknown = sorted(map(repr, data.keys() - _FIELDS.keys() - {"_type"}))
    if strict and unknown:
        raise InvalidRunError(f"the run: unknown field {unknown[0]}; leave it out, or deserialize with strict=False")
    fields = {field: data[field] for field in _FIELDS if field in data}
    for field, value in fields.items():
        expect(value, _FIELDS[field], field)
    if "routine_executions" in fields:
        fields["routine_executions"] = {
            routine_id: _records(records, f"routine_executions[{_short(routine_id)}]")
            for routine_id, records in fields["routine_executions"].items()
        }
    if "event_flow" in fields:
        fields["event_flow"] = _records(fields["event_flow"], "event_flow")
    if "performance_metrics" in fields:
        fields["performance_metrics"] = metrics = dict(fields["performance_metrics"])
        if _LIFETIME in metrics:
            return CheckedRun(fields, *from_json(metrics.pop(_LIFETIME), f"performance_metrics[{_LIFETIME!r}]"))
    # Other records have another past, of which nothing is known.
    return CheckedRun(fields, Dropped(), 0) if "routine_executions" in fields else CheckedRun(fields, None, None)


def _records(records: Any, place: str) -> list[Record]:
    expect(records, list, place)
    if not set(map(type, records)) <= {dict}:
        for index, record in enumerate(records):
            expect(record, dict, f"{place}[{index}]")
    return list(map(dict.copy, records))


def expect(value: Any, kind: type, place: str) -> None:
    if not isinstance(value, kind):
        raise InvalidRunError(f"{place}: expected {_json_name(kind)}, found {_json_name(type(value))}")


def _json_name(kind: type) -> str:
    if issubclass(kind, (int, float)) and kind is not bool:
        return "a number"
    return _JSON_NAMES.get(kind, kind.__name__)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"
