"""Which records are dropped when there are too many, and what stays known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execution_tracker.errors import InvalidRunError, expect, short
from execution_tracker.pairing import Record, hashable
from execution_tracker.payloads import json_safe
from execution_tracker.timestamps import SECOND_NS, to_ns

if TYPE_CHECKING:
    from typing import TypeGuard

# What stays known of the dropped executions of one routine: "status_counts", how many "ended", their "total_ns",
# "min_ns" and "max_ns". Whole nanoseconds add up exactly, however long a tracker lives.
DroppedRoutine = dict[str, Any]

LONGEST_S = 1e100  # times beyond are nobody's

Span = tuple["int | None", "int | None"]  # first start and last end, nanoseconds since the epoch


class Dropped:
    """The numbers of dropped records, which with those of the kept ones make the numbers of a tracker's whole life."""

    def __init__(self) -> None:
        self.routines: dict[Any, DroppedRoutine] = {}
        self.events = 0
        self.first_start_ns: int | None = None
        self.last_end_ns: int | None = None

    def copy(self) -> Dropped:
        """Return a copy that does not change with this one; the numbers of a routine are replaced, never changed."""
        other = Dropped()
        vars(other).update(vars(self), routines=self.routines.copy())
        return other

    def widen(self, span: Span) -> None:
        """Count a span in."""
        self.first_start_ns, self.last_end_ns = wider((self.first_start_ns, self.last_end_ns), span)

    @property
    def executions(self) -> int:
        """How many executions were dropped."""
        return sum(sum(routine["status_counts"].values()) for routine in self.routines.values())


def oldest_ended(records: list[Record], count: int) -> tuple[int, list[Record], list[Record]]:
    """Find the oldest ``count`` records that ended.

    Returns:
        How many records to cut off at the front, those of them to drop, and those to put back, which are open.
    """
    dropped: list[Record] = []
    still_open: list[Record] = []
    for length, record in enumerate(records, start=1):
        is_open = isinstance(record, dict) and "end_time" not in record
        (still_open if is_open else dropped).append(record)
        if len(dropped) == count:
            return length, [record for record in dropped if isinstance(record, dict)], still_open
    return 0, [], []


def routine_with(known: DroppedRoutine | None, records: list[Record]) -> DroppedRoutine:
    """Return what stays known of a routine after these records are dropped, too."""
    times = [record.get("execution_time") for record in records]
    times_ns = [round(time * SECOND_NS) for time in times if is_time(time)]
    status_counts = dict(known["status_counts"]) if known else {}
    for record in records:
        status = hashable(record.get("status"))
        status_counts[status] = status_counts.get(status, 0) + 1
    ended, total_ns = len(times_ns), sum(times_ns)
    if known and known["ended"]:
        ended += known["ended"]
        total_ns += known["total_ns"]
        times_ns += known["min_ns"], known["max_ns"]
    return {
        "status_counts": status_counts,
        "ended": ended,
        "total_ns": total_ns,
        "min_ns": min(times_ns, default=0),
        "max_ns": max(times_ns, default=0),
    }


def is_time(value: object) -> TypeGuard[float]:
    """Tell whether this is a number of seconds that can be added up."""
    return (type(value) is float or type(value) is int) and abs(value) < LONGEST_S


def wider(*spans: Span) -> Span:
    """Return the earliest of the starts and the latest of the ends, where there are any."""
    starts = [start for start, _ in spans if start is not None]
    ends = [end for _, end in spans if end is not None]
    return min(starts, default=None), max(ends, default=None)


def span_with(known: Span, records: list[Record]) -> Span:
    """Return the first start and the last end after these records are dropped, too."""
    return wider(known, *((to_ns(record.get("start_time")), to_ns(record.get("end_time"))) for record in records))


# --- how it travels in a file ---

_LIMIT = 10**300  # numbers beyond cannot be averaged as floats
_ROUTINE_NUMBERS = ("ended", "total_ns", "min_ns", "max_ns")


def to_json(dropped: Dropped, unmatched_ends: int, names: dict[Any, str]) -> dict[str, Any]:
    """Return what the records of a run do not tell as JSON-safe data, ``{}`` if there is nothing to tell.

    Args:
        dropped: What is known of dropped records.
        unmatched_ends: Ends for which there was no record.
        names: The text under which each routine id is written.
    """
    if not (dropped.routines or dropped.events or unmatched_ends):
        return {}
    return {
        "unmatched_ends": unmatched_ends,
        "events": dropped.events,
        "first_start_ns": dropped.first_start_ns,
        "last_end_ns": dropped.last_end_ns,
        "routines": {names[routine_id]: _routine_to_json(known) for routine_id, known in dropped.routines.items()},
    }


def _routine_to_json(known: DroppedRoutine) -> dict[str, Any]:
    numbers = {name: max(-_LIMIT, min(_LIMIT, known[name])) for name in _ROUTINE_NUMBERS}
    # Pairs, since a status need not be a text: the kept records with the same one are added to its count.
    return {"status_counts": [[json_safe(status), count] for status, count in known["status_counts"].items()]} | numbers


def from_json(data: Any, place: str) -> tuple[Dropped, int]:
    """Return the dropped records and unmatched ends that :func:`to_json` wrote.

    Raises:
        InvalidRunError: It is nothing that it writes; the message names the place.
    """
    _expect_fields(data, ("unmatched_ends", "events", "first_start_ns", "last_end_ns", "routines"), place)
    dropped = Dropped()
    dropped.events = _whole(data["events"], f"{place}['events']", least=0)
    for name in ("first_start_ns", "last_end_ns"):
        if data[name] is not None:
            setattr(dropped, name, _whole(data[name], f"{place}[{name!r}]"))
    expect(data["routines"], dict, f"{place}['routines']")
    for routine_id, known in data["routines"].items():
        dropped.routines[routine_id] = _routine_from_json(known, f"{place}['routines'][{short(routine_id)}]")
    return dropped, _whole(data["unmatched_ends"], f"{place}['unmatched_ends']", least=0)


def _routine_from_json(data: Any, place: str) -> DroppedRoutine:
    _expect_fields(data, ("status_counts", *_ROUTINE_NUMBERS), place)
    pairs = data["status_counts"]
    expect(pairs, list, f"{place}['status_counts']")
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise InvalidRunError(f"{place}['status_counts']: expected a list of pairs, found {short(pairs)}")
    status_counts: dict[Any, int] = {}
    for status, count in pairs:
        known = hashable(status)
        status_counts[known] = status_counts.get(known, 0) + _whole(count, f"{place}['status_counts']", least=0)
    numbers = {name: _whole(data[name], f"{place}[{name!r}]") for name in _ROUTINE_NUMBERS}
    if not 0 <= numbers["ended"] <= sum(status_counts.values()):
        raise InvalidRunError(f"{place}['ended']: expected at most as many as executions, found {numbers['ended']}")
    return {"status_counts": status_counts, **numbers}


def _expect_fields(data: Any, names: tuple[str, ...], place: str) -> None:
    expect(data, dict, place)
    for name in names:
        if name not in data:
            raise InvalidRunError(f"{place}: no field {name!r}")


def _whole(value: Any, place: str, least: int = -_LIMIT) -> int:
    if type(value) is not int or not least <= value <= _LIMIT:
        raise InvalidRunError(f"{place}: expected a whole number{' from 0 on' * (least == 0)}, found {short(value)}")
    return value
