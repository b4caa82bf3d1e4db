"""Rows to numbers. Reading the numbers of a run again costs what is new."""

from __future__ import annotations

from collections import Counter
from math import fsum
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from execution_tracker._retention import Span, Totals, wider
from execution_tracker._run import ELAPSED_NS, EXECUTION_ID, PARENT_ID, START_NS, STATUS, WIDTH
from execution_tracker._sweep import Span as SweptSpan
from execution_tracker._sweep import Sweep
from execution_tracker.payloads import as_key, json_safe, unused
from execution_tracker.plain import are_plain_keys
from execution_tracker.timestamps import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Metrics = dict[str, Any]


class Rows(Protocol):
    """What was recorded of one routine, the numbers of what was dropped, and how often rows changed that had ended."""

    @property
    def rows(self) -> list[Any]: ...
    @property
    def dropped(self) -> Totals | None: ...
    @property
    def revision(self) -> int: ...


class Measured(Protocol):
    """What numbers are computed from: a run, or a fold that goes on."""

    @property
    def routines(self) -> Mapping[Any, Rows]: ...
    @property
    def event_count(self) -> int: ...
    @property
    def nested_ns(self) -> dict[int, int]: ...
    @property
    def dropped_events(self) -> int: ...
    @property
    def dropped_span_ns(self) -> Span: ...
    @property
    def unmatched_ends(self) -> int: ...
    @property
    def axis_ns(self) -> int: ...


class Measurement(NamedTuple):
    """What numbers are computed from, and no more."""

    routines: Mapping[Any, Rows]
    event_count: int
    nested_ns: dict[int, int]
    dropped_events: int
    dropped_span_ns: Span
    unmatched_ends: int
    axis_ns: int = 0


class RoutineNumbers:
    """The numbers of one routine, as far as its rows have been read."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self.read = 0  # items of the rows
        self.open: dict[int, Any] = {}  # by the place of each row without a time, the status that was counted
        self.status_counts: Counter[Any] = Counter()
        self.times_ns: list[int] = []  # ascending
        self.total_ns = 0
        self.nested_ns = 0  # of the total, what others took that ran inside

    def totals(self, dropped: Totals | None) -> Totals:
        """Return what adds up, with that of what was dropped."""
        times = self.times_ns
        least_ns, most_ns = (times[0], times[-1]) if times else (0, 0)
        counts = {status: count for status, count in self.status_counts.items() if count}
        totals = Totals(counts, len(times), self.total_ns, least_ns, most_ns, self.total_ns - self.nested_ns)
        return totals if dropped is None else dropped + totals


class Numbers:
    """The numbers of a run, which grow with it."""

    def __init__(self) -> None:
        self.routines: dict[Any, RoutineNumbers] = {}
        self.times_ns: list[int] = []  # ascending
        self.sweep = Sweep()
        # By the id of an execution that ended and in which others ran: its numbers, its time, and what they took of it.
        self.nests: dict[int, tuple[RoutineNumbers, int, int]] = {}

    def update(self, run: Measured) -> None:
        """Read what is new in a run, or all of it where what was read before has changed."""
        is_nested = bool(
            self.sweep.is_nested
            or run.nested_ns
            or any(any(each.rows[self._read_of(id_) + PARENT_ID :: WIDTH]) for id_, each in run.routines.items())
        )
        if (
            self.routines
            and is_nested is self.sweep.is_nested
            and self.sweep.axis_ns == run.axis_ns
            and self._holds(run.routines)
            and self._add(run)
        ):
            return
        Numbers.__init__(self)
        self.sweep = Sweep(is_nested, run.axis_ns)
        self._add(run)

    def _read_of(self, routine_id: Any) -> int:
        numbers = self.routines.get(routine_id)
        return numbers.read if numbers else 0

    def _holds(self, routines: Mapping[Any, Rows]) -> bool:
        """Tell whether what was read before is still so."""
        for routine_id, numbers in self.routines.items():
            routine = routines.get(routine_id)
            if routine is None or routine.revision != numbers.revision:
                return False
        return True

    def _add(self, run: Measured) -> bool:
        """Read what is new; return False if it does not go with what was read before."""
        is_first = not self.routines
        news: list[tuple[RoutineNumbers, list[Any]]] = []  # rows that are new, or have ended
        known: list[tuple[RoutineNumbers, list[Any]]] = []
        for routine_id, routine in run.routines.items():
            numbers = self.routines.get(routine_id)
            if numbers is None:
                numbers = self.routines[routine_id] = RoutineNumbers(routine.revision)
            rows = routine.rows
            known.append((numbers, _read_open(numbers, rows)))
            news.append((numbers, rows[numbers.read :] if numbers.read else rows))
            _read_new(numbers, news[-1][1])
            numbers.read = len(rows)
        for numbers, rows in (*known, *news):
            times_ns = [elapsed_ns for elapsed_ns in rows[ELAPSED_NS::WIDTH] if elapsed_ns is not None]
            if times_ns:
                times_ns.sort()
                numbers.total_ns += sum(times_ns)
                numbers.times_ns += times_ns
                numbers.times_ns.sort()
                self.times_ns += times_ns
        self.times_ns.sort()  # of parts that are sorted, which are merged quickly
        if not self.sweep.is_nested:
            return self._sweep(known, news)
        spans = [*self._spans(known, is_new=False), *self._spans(news, is_new=True)]
        return self.sweep.add_nested(spans) and (self._nest([*known, *news], run.nested_ns) or is_first)

    def _sweep(
        self, known: list[tuple[RoutineNumbers, list[Any]]], news: list[tuple[RoutineNumbers, list[Any]]]
    ) -> bool:
        starts: list[int] = []
        ends: list[int] = []
        moments: list[int] = []
        for _, rows in known:
            ends += map(add, rows[START_NS::WIDTH], rows[ELAPSED_NS::WIDTH])
        for _, rows in news:
            times = rows[START_NS::WIDTH], rows[ELAPSED_NS::WIDTH]
            if None in times[0] or None in times[1] or (times[1] and min(times[1]) < 1000):
                for start_ns, elapsed_ns in zip(*times, strict=True):
                    self._place(start_ns, elapsed_ns, starts, ends, moments)
            else:
                starts += times[0]
                ends += map(add, *times)
        return self.sweep.add(starts, ends, moments)

    def _place(
        self, start_ns: int | None, elapsed_ns: int | None, starts: list[int], ends: list[int], moments: list[int]
    ) -> None:
        if start_ns is None:  # it has no place on the axis of time
            return
        if elapsed_ns is None:
            starts.append(start_ns)
        elif self.sweep.us(start_ns) == self.sweep.us(start_ns + elapsed_ns):
            moments.append(start_ns)
        else:
            starts.append(start_ns)
            ends.append(start_ns + elapsed_ns)

    def _spans(self, parts: list[tuple[RoutineNumbers, list[Any]]], is_new: bool) -> list[SweptSpan]:
        return [
            SweptSpan(
                self.sweep.us(start_ns) if is_new else None,
                None if elapsed_ns is None else self.sweep.us(start_ns + elapsed_ns),
                execution_id,
                parent_id,
            )
            for _, rows in parts
            for start_ns, elapsed_ns, execution_id, parent_id in zip(
                *(rows[column::WIDTH] for column in (START_NS, ELAPSED_NS, EXECUTION_ID, PARENT_ID)), strict=True
            )
            if start_ns is not None
        ]

    def _nest(self, parts: list[tuple[RoutineNumbers, list[Any]]], nested_ns: dict[int, int]) -> bool:
        """Take the times of executions off those around them; return False where one of these is not known."""
        parents: set[int] = set()
        ended: set[int] = set()
        for numbers, rows in parts:
            ids, times = rows[EXECUTION_ID::WIDTH], rows[ELAPSED_NS::WIDTH]
            for execution_id, parent_id, elapsed_ns in zip(ids, rows[PARENT_ID::WIDTH], times, strict=True):
                if elapsed_ns is not None:
                    ended.add(execution_id)
                    if parent_id is not None:
                        parents.add(parent_id)
                    if execution_id in nested_ns:
                        self._take_off(execution_id, numbers, elapsed_ns, 0, nested_ns)
        for parent_id in parents - ended:
            if parent_id in self.nests:
                self._take_off(parent_id, *self.nests[parent_id], nested_ns)
        return parents <= ended | self.nests.keys() | self.sweep.running.keys()

    def _take_off(
        self, execution_id: int, numbers: RoutineNumbers, elapsed_ns: int, before_ns: int, nested_ns: dict[int, int]
    ) -> None:
        taken_ns = min(nested_ns.get(execution_id, 0), elapsed_ns)
        numbers.nested_ns += taken_ns - before_ns
        self.nests[execution_id] = numbers, elapsed_ns, taken_ns


def _read_open(numbers: RoutineNumbers, rows: list[Any]) -> list[Any]:
    """Look at the rows that had no time before, and return those that have one now."""
    ended: list[Any] = []
    for place, status in [*numbers.open.items()]:
        now = rows[place + STATUS]
        if now is not status:
            numbers.status_counts[status] -= 1
            numbers.status_counts[now] += 1
            numbers.open[place] = now
        if rows[place + ELAPSED_NS] is not None:
            del numbers.open[place]
            ended += rows[place : place + WIDTH]
    return ended


def _read_new(numbers: RoutineNumbers, rows: list[Any]) -> None:
    statuses, elapsed = rows[STATUS::WIDTH], rows[ELAPSED_NS::WIDTH]
    numbers.status_counts.update(statuses)
    if None in elapsed:
        places = range(numbers.read, numbers.read + len(rows), WIDTH)
        for place, status, elapsed_ns in zip(places, statuses, elapsed, strict=True):
            if elapsed_ns is None:
                numbers.open[place] = status


# --- the numbers as users get them ---


def routine_performance(numbers: Numbers, run: Measured, routine_id: Any) -> Metrics | None:
    """Return counts and execution times (seconds) of one routine, None if nothing was ever recorded of it."""
    routine = run.routines.get(routine_id)
    if routine is None or not (routine.rows or routine.dropped):
        return None
    of_routine = numbers.routines[routine_id]
    return _performance(of_routine.totals(routine.dropped), of_routine.times_ns)


def flow_performance(numbers: Numbers, run: Measured) -> Metrics:
    """Return the four numbers of a flow that upstream gives, in its words."""
    totals = [numbers.routines[routine_id].totals(routine.dropped) for routine_id, routine in run.routines.items()]
    averages = [each.total_ns / each.ended / SECOND_NS for each in totals if each.ended]
    return {
        "total_routines": len(totals),
        "total_events": run.event_count + run.dropped_events,
        "total_execution_time": sum(each.total_ns for each in totals) / SECOND_NS,
        "avg_routine_time": fsum(averages) / len(averages) if averages else 0.0,
    }


def metrics_of(flow_id: Any, run: Measured) -> Metrics:
    """Return everything that can be said of a run in numbers, as :func:`run_metrics` does."""
    numbers = Numbers()
    numbers.update(run)
    return run_metrics(flow_id, numbers, run)


def run_metrics(flow_id: Any, numbers: Numbers, run: Measured) -> Metrics:
    """Return everything that can be said of a run in numbers, JSON-safe; times in seconds, rates per second.

    Args:
        flow_id: The name of the flow.
        numbers: The numbers of this run, up to date.
        run: The run.
    """
    totals = {
        routine_id: numbers.routines[routine_id].totals(routine.dropped)
        for routine_id, routine in run.routines.items()
        if routine.rows or routine.dropped
    }
    total = sum(totals.values(), Totals({}))
    names = named(totals)
    routines = {
        name: _performance(totals[routine_id], numbers.routines[routine_id].times_ns)
        for routine_id, name in names.items()
    }
    first_us, last_us = wider(
        (numbers.sweep.first_us, numbers.sweep.last_end_us),
        tuple(None if ns is None else ns // 1000 for ns in run.dropped_span_ns),  # type: ignore[arg-type]
    )
    wall_time = 0.0 if first_us is None or last_us is None else max(last_us - first_us, 0) / 1_000_000
    total_events = run.event_count + run.dropped_events
    return {
        "flow_id": json_safe(flow_id),
        **_performance(total, numbers.times_ns),
        "total_routines": len(run.routines),
        "total_events": total_events,
        "wall_time": wall_time,
        "throughput": total.ended / wall_time if wall_time else 0.0,
        "event_rate": total_events / wall_time if wall_time else 0.0,
        "peak_concurrency": numbers.sweep.peak,
        "avg_concurrency": total.self_ns / SECOND_NS / wall_time if wall_time else 0.0,
        "routines": routines,
        "bottlenecks": _bottlenecks(routines, total.self_ns / SECOND_NS),
        "dropped_executions": sum(
            sum(each.dropped.status_counts.values()) for each in run.routines.values() if each.dropped
        ),
        "dropped_events": run.dropped_events,
        "unmatched_ends": run.unmatched_ends,
    }


def named(values: Iterable[Any]) -> dict[Any, str]:
    """Return for each value the text under which it is written as a key; two never get the same.

    >>> named(["a", 1, "1"])
    {'a': 'a', 1: '1', '1': '1 (3)'}
    """
    values = [*values]
    if are_plain_keys(values):
        return dict(zip(values, values, strict=True))
    taken: dict[str, None] = {}
    for value in values:
        taken[unused(as_key(json_safe(value)), taken)] = None
    return dict(zip(values, taken, strict=True))


def percentile(ascending: list[Any], percent: float, unit: int = 1) -> float:
    """Return the percentile of values in ascending order by linear interpolation, as ``numpy.percentile``; 0.0 of none.

    Args:
        ascending: The values.
        percent: 0 to 100.
        unit: What the values are divided by.

    >>> percentile([1.0, 2.0, 4.0], 75)
    3.0
    """
    if not ascending:
        return 0.0
    position = (len(ascending) - 1) * percent / 100
    below = int(position)
    low, high = ascending[below] / unit, ascending[min(below + 1, len(ascending) - 1)] / unit
    between: float = low + (high - low) * (position - below)
    return between


def _performance(totals: Totals, times_ns: list[int]) -> Metrics:
    """Return counts by status, and statistics of execution times, of which those that are kept come in order."""
    counts = totals.status_counts
    total_executions, total_time = sum(counts.values()), totals.total_ns / SECOND_NS
    return {
        "total_executions": total_executions,
        "completed": counts.get("completed", 0),
        "failed": counts.get("failed", 0),
        "running": counts.get("running", 0),
        "status_counts": {name: counts[status] for status, name in named(counts).items()},
        "success_rate": counts.get("completed", 0) / total_executions if total_executions else 0.0,
        "total_execution_time": total_time,
        "self_execution_time": totals.self_ns / SECOND_NS,
        "avg_execution_time": total_time / totals.ended if totals.ended else 0.0,
        "min_execution_time": totals.min_ns / SECOND_NS,
        "max_execution_time": totals.max_ns / SECOND_NS,
        "median_execution_time": percentile(times_ns, 50, SECOND_NS),
        "p95_execution_time": percentile(times_ns, 95, SECOND_NS),
        "p99_execution_time": percentile(times_ns, 99, SECOND_NS),
    }


def _bottlenecks(routines: dict[str, Metrics], self_time: float) -> list[Metrics]:
    """Return the routines by what they took themselves, largest first."""
    ordered = sorted(routines.items(), key=lambda item: item[1]["self_execution_time"], reverse=True)
    return [
        {
            "routine_id": name,
            "total_execution_time": routine["total_execution_time"],
            "self_execution_time": routine["self_execution_time"],
            "share": routine["self_execution_time"] / self_time if self_time else 0.0,
        }
        for name, routine in ordered
    ]
