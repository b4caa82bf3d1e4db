"""What the records of a run do not tell, as it travels in a file's ``performance_metrics``.

That is: what was dropped, ends without a start, and by how much the texts of the times are ahead of the run's own clock
where that is not one constant.
"""

from __future__ import annotations

from typing import Any

from execution_tracker._records import offsets_of
from execution_tracker._retention import Totals
from execution_tracker._run import AT_NS, EVENT_WIDTH, START_NS, WIDTH, Routine, Run, hashable
from execution_tracker.errors import InvalidRunError, expect, short
from execution_tracker.payloads import json_safe, unused
from execution_tracker.timestamps import ClockFace, Offsets

_KEY = "lifetime"
_FIELDS = "unmatched_ends", "events", "first_start_ns", "last_end_ns", "routines"
_NUMBERS = "ended", "total_ns", "min_ns", "max_ns"

# The fields for times, which records they are of, and whether they are for times with an offset.
_CLOCK = ("executions", 0, False), ("events", 1, False), ("aware_executions", 0, True), ("aware_events", 1, True)

_MOST = 2**63  # executions, and ids
_LAST_NS = 253_402_300_800 * 10**9  # the year 10000
_DAY_NS = 86_400 * 10**9
_LONGEST_NS = _MOST * _LAST_NS


def with_lifetime(metrics: dict[str, Any], run: Run, names: dict[Any, str]) -> dict[str, Any]:
    """Return JSON-safe metrics with what the records do not tell, if there is anything to tell.

    Args:
        metrics: The metrics, which may have a key of the same name.
        run: The run.
        names: The text under which each routine id is written.
    """
    lifetime = _to_json(run, names)
    if not lifetime and any(map(_is_ours, metrics.values())):
        lifetime = _nothing()  # a user's own value looks like it: the last one is ours
    return {**metrics, unused(_KEY, metrics): lifetime} if lifetime else metrics


def _nothing() -> dict[str, Any]:
    return {"unmatched_ends": 0, "events": 0, "first_start_ns": None, "last_end_ns": None, "routines": {}}


def _to_json(run: Run, names: dict[Any, str]) -> dict[str, Any]:
    offsets = offsets_of(run)
    routines = {
        names[routine_id]: _totals_to_json(routine.dropped)
        for routine_id, routine in run.routines.items()
        if routine.dropped is not None
    }
    naive_ns = {offset_ns for each in offsets for _, offset_ns in each.of_naive}
    aware_ns = {offset_ns for each in offsets for _, offset_ns in each.of_aware}
    varies = any(aware_ns) or not _is_local(run, naive_ns)
    if not (routines or run.dropped_events or run.unmatched_ends or varies):
        return {}
    # On a clock that agrees with the wall clock at the end of the run, which is where a tracker goes on that loads it.
    step_ns = run.clock.step_ns
    first_ns, last_ns = (None if at_ns is None else at_ns + step_ns for at_ns in run.dropped_span_ns)
    lifetime = _nothing() | {
        "unmatched_ends": run.unmatched_ends,
        "events": run.dropped_events,
        "first_start_ns": first_ns,
        "last_end_ns": last_ns,
        "routines": routines,
    }
    if varies or first_ns is not None:
        lifetime["clock"] = {
            name: _shifted(offsets[index].pairs(is_aware), step_ns) for name, index, is_aware in _CLOCK
        }
    if routines and run.nested_ns:  # some of those that ran inside others may be gone
        lifetime["nested_ns"] = [list(pair) for pair in run.nested_ns.items()]
    return lifetime


def _is_local(run: Run, naive_ns: set[int | None]) -> bool:
    """Tell whether times without an offset are read right as local ones: not so near a change of the zone."""
    times = [*run.events[AT_NS::EVENT_WIDTH]]
    for routine in run.routines.values():
        times += routine.rows[START_NS::WIDTH]
    placed = [at_ns for at_ns in times if at_ns is not None]
    if not naive_ns or not placed:
        return True
    return {ClockFace().only_offset(min(placed) - _DAY_NS, max(placed) + _DAY_NS)} == naive_ns


def _shifted(pairs: list[tuple[int, int | None]], step_ns: int) -> list[list[int | None]]:
    return [[number, None if offset_ns is None else offset_ns - step_ns] for number, offset_ns in pairs]


def _totals_to_json(totals: Totals) -> dict[str, Any]:
    # Pairs, since a status need not be a text: the kept records with the same one are added to its count.
    return {
        "status_counts": [[json_safe(status), count] for status, count in totals.status_counts.items()],
        **{name: getattr(totals, name) for name in (*_NUMBERS, "self_ns")},
    }


class Lifetime:
    """What a file tells beside its records."""

    def __init__(self) -> None:
        self.unmatched_ends = 0
        self.events = 0
        self.span_ns: tuple[int | None, int | None] = (None, None)
        self.routines: dict[str, Totals] = {}
        self.offsets = Offsets(), Offsets()
        self.nested_ns: dict[int, int] | None = None

    def applied_to(self, run: Run) -> Run:
        """Return a run of the records of the file with all that is told of it."""
        routines = dict(run.routines)
        for routine_id, totals in self.routines.items():
            rows = routines[routine_id].rows if routine_id in routines else []
            routines[routine_id] = Routine(rows, totals)
        return run._replace(
            routines=routines,
            nested_ns=run.nested_ns if self.nested_ns is None else self.nested_ns,
            dropped_events=self.events,
            dropped_span_ns=self.span_ns,
            unmatched_ends=self.unmatched_ends,
        )


def taken_out(metrics: dict[str, Any]) -> Lifetime:
    """Take what :func:`with_lifetime` put into metrics out of them.

    Raises:
        InvalidRunError: It is nothing that this writes; the message names the place.
    """
    # A user's own value may have the name; ours was written last then.
    ours = [key for key, value in metrics.items() if key.startswith(_KEY) and _is_ours(value)]
    return _from_json(metrics.pop(ours[-1]), f"performance_metrics[{ours[-1]!r}]") if ours else Lifetime()


def _is_ours(value: Any) -> bool:
    return isinstance(value, dict) and all(field in value for field in _FIELDS)


def _from_json(data: dict[str, Any], place: str) -> Lifetime:
    lifetime = Lifetime()
    lifetime.unmatched_ends = _whole(data["unmatched_ends"], f"{place}['unmatched_ends']")
    lifetime.events = _whole(data["events"], f"{place}['events']")
    first_ns, last_ns = (
        None if data[name] is None else _whole(data[name], f"{place}[{name!r}]", -_LAST_NS, _LAST_NS)
        for name in ("first_start_ns", "last_end_ns")
    )
    lifetime.span_ns = first_ns, last_ns
    expect(data["routines"], dict, f"{place}['routines']")
    for routine_id, known in data["routines"].items():
        lifetime.routines[routine_id] = _totals_from_json(known, f"{place}['routines'][{short(routine_id)}]")
    if "clock" in data:
        lifetime.offsets = _offsets_from_json(data["clock"], f"{place}['clock']")
    if "nested_ns" in data:
        lifetime.nested_ns = dict(_pairs(data["nested_ns"], f"{place}['nested_ns']", 0, _LONGEST_NS, may_lack=False))
    return lifetime


def _totals_from_json(data: Any, place: str) -> Totals:
    expect(data, dict, place)
    for name in ("status_counts", *_NUMBERS):
        if name not in data:
            raise InvalidRunError(f"{place}: no field {name!r}")
    pairs = data["status_counts"]
    expect(pairs, list, f"{place}['status_counts']")
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise InvalidRunError(f"{place}['status_counts']: expected a list of pairs, found {short(pairs)}")
    status_counts: dict[Any, int] = {}
    for status, count in pairs:
        known = hashable(status)
        status_counts[known] = status_counts.get(known, 0) + _whole(count, f"{place}['status_counts']")
    numbers = {
        name: _whole(data[name], f"{place}[{name!r}]", 0, _LONGEST_NS) for name in ("total_ns", "min_ns", "max_ns")
    }
    ended = _whole(data["ended"], f"{place}['ended']")
    if ended > sum(status_counts.values()):
        raise InvalidRunError(f"{place}['ended']: expected at most as many as executions, found {ended}")
    self_ns = _whole(data.get("self_ns", numbers["total_ns"]), f"{place}['self_ns']", 0, numbers["total_ns"])
    return Totals(status_counts, ended, **numbers, self_ns=self_ns)


def _offsets_from_json(data: Any, place: str) -> tuple[Offsets, Offsets]:
    expect(data, dict, place)
    pairs = {
        (index, is_aware): _pairs(data.get(name), f"{place}[{name!r}]", -_LAST_NS, _LAST_NS)
        for name, index, is_aware in _CLOCK
    }
    executions, events = (Offsets(pairs[index, False], pairs[index, True]) for index in (0, 1))
    return executions, events


def _pairs(data: Any, place: str, least: int, most: int, may_lack: bool = True) -> list[tuple[int, Any]]:
    expect(data, list, place)
    pairs: list[tuple[int, Any]] = []
    for index, pair in enumerate(data):
        if not (isinstance(pair, list) and len(pair) == 2):
            raise InvalidRunError(f"{place}[{index}]: expected a pair, found {short(pair)}")
        number = _whole(pair[0], f"{place}[{index}]")
        is_lacking = pair[1] is None and may_lack
        pairs.append((number, None if is_lacking else _whole(pair[1], f"{place}[{index}]", least, most)))
    return sorted(pairs, key=lambda pair: pair[0])


def _whole(value: Any, place: str, least: int = 0, most: int = _MOST) -> int:
    if type(value) is not int or not least <= value <= most:
        expected = "a whole number from 0 on" if least == 0 else "a whole number"
        if type(value) is int and value > most:
            expected = "a smaller number"
        raise InvalidRunError(f"{place}: expected {expected}, found {short(value)}")
    return value
