"""Records to numbers."""

from __future__ import annotations

from collections import Counter
from itertools import chain, compress
from math import fsum, isfinite
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from execution_tracker.pairing import Record, hashable
from execution_tracker.payloads import json_safe
from execution_tracker.plain import are_all, are_plain_keys
from execution_tracker.retention import LONGEST_S, DroppedRoutine, Span, is_time, wider
from execution_tracker.timestamps import SECOND_NS, to_ns

if TYPE_CHECKING:
    from execution_tracker.folding import Snapshot

Metrics = dict[str, Any]


def routine_performance(records: list[Record], dropped: DroppedRoutine | None = None) -> Metrics | None:
    """Return counts and execution times (seconds) of one routine, None if nothing was ever recorded of it."""
    if not records and not dropped:
        return None
    return _performance(_status_counts(records), _execution_times(records), dropped)


def flow_performance(run: Snapshot) -> Metrics:
    """Return the four numbers of a flow that upstream gives, in its words."""
    totals: list[float] = []
    averages: list[float] = []
    for routine_id, records in run.executions.items():
        ended, total_time = _ended_and_total(_execution_times(records), run.dropped.routines.get(routine_id))
        totals.append(total_time)
        if ended:
            averages.append(total_time / ended)
    return {
        "total_routines": len(run.executions),
        "total_events": len(run.events) + run.dropped.events,
        "total_execution_time": fsum(totals),
        "avg_routine_time": fsum(averages) / len(averages) if averages else 0.0,
    }


def run_metrics(flow_id: Any, run: Snapshot) -> Metrics:
    """Return everything that can be said of a run in numbers, JSON-safe; times in seconds, rates per second."""
    executions, events, dropped, unmatched_ends, sequential_ns = run
    routines: dict[Any, Metrics] = {}
    statuses: Counter[Any] = Counter()
    times: list[float] = []
    for routine_id, records in executions.items():
        dropped_routine = dropped.routines.get(routine_id)
        if records or dropped_routine:
            of_routine = _status_counts(records), _execution_times(records)
            routines[routine_id] = _performance(*of_routine, dropped_routine)
            statuses += of_routine[0]
            times += of_routine[1]
    times.sort()
    performance = _performance(statuses, times, *dropped.routines.values())
    span_ns: Span
    if sequential_ns is not None:  # saves reading and sorting all times
        span_ns, peak_concurrency = sequential_ns, min(statuses.total(), 1)
    else:
        span_ns, peak_concurrency = _concurrency(list(chain.from_iterable(executions.values())))
        span_ns = wider(span_ns, (dropped.first_start_ns, dropped.last_end_ns))
    wall_time = _wall_time(*span_ns)
    total_events = len(events) + dropped.events
    ended = len(times) + sum(routine["ended"] for routine in dropped.routines.values())
    metrics = {
        "flow_id": flow_id,
        **performance,
        "total_routines": len(executions),
        "total_events": total_events,
        "wall_time": wall_time,
        "throughput": ended / wall_time if wall_time else 0.0,
        "event_rate": total_events / wall_time if wall_time else 0.0,
        "peak_concurrency": peak_concurrency,
        "routines": routines,
        "bottlenecks": _bottlenecks(routines, performance["total_execution_time"]),
        "dropped_executions": dropped.executions,
        "dropped_events": dropped.events,
        "unmatched_ends": unmatched_ends,
    }
    has_plain_keys = are_plain_keys([flow_id, *routines, *metrics["status_counts"]])
    return metrics if has_plain_keys else json_safe(metrics)


def percentile(ascending: list[float], percent: float) -> float:
    """Return the percentile of values in ascending order by linear interpolation, as ``numpy.percentile``; 0.0 of none.

    >>> percentile([1.0, 2.0, 4.0], 75)
    3.0
    """
    if not ascending:
        return 0.0
    position = (len(ascending) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (ascending[above] - ascending[below]) * (position - below)


def _performance(statuses: Counter[Any], times: list[float], *dropped: DroppedRoutine | None) -> Metrics:
    """Return counts by status, and statistics of execution times that come in ascending order.

    What was dropped adds to all but the percentiles.
    """
    known = [routine for routine in dropped if routine]
    statuses = sum((Counter(routine["status_counts"]) for routine in known), statuses)
    ended, total_time = _ended_and_total(times, *known)
    total_executions = statuses.total()
    least = [routine["min_ns"] / SECOND_NS for routine in known if routine["ended"]]
    most = [routine["max_ns"] / SECOND_NS for routine in known if routine["ended"]]
    return {
        "total_executions": total_executions,
        "completed": statuses["completed"],
        "failed": statuses["failed"],
        "running": statuses["running"],
        "status_counts": dict(statuses),
        "success_rate": statuses["completed"] / total_executions if total_executions else 0.0,
        "total_execution_time": total_time,
        "avg_execution_time": total_time / ended if ended else 0.0,
        "min_execution_time": min(times[:1] + least, default=0.0),
        "max_execution_time": max(times[-1:] + most, default=0.0),
        "median_execution_time": percentile(times, 50),
        "p95_execution_time": percentile(times, 95),
        "p99_execution_time": percentile(times, 99),
    }


def _ended_and_total(times: list[float], *dropped: DroppedRoutine | None) -> tuple[int, float]:
    """Return how many executions ended, and the sum of their times in seconds."""
    known = [routine for routine in dropped if routine]
    ended = len(times) + sum(routine["ended"] for routine in known)
    return ended, fsum([*times, sum(routine["total_ns"] for routine in known) / SECOND_NS])


def _status_counts(records: list[Record]) -> Counter[Any]:
    statuses = [record.get("status") for record in records]
    try:
        return Counter(statuses)
    except Exception:  # one of them cannot be a key
        return Counter(map(hashable, statuses))


def _execution_times(records: list[Record]) -> list[float]:
    """Return the execution times of the records that ended, in seconds, ascending."""
    times = [time for record in records if (time := record.get("execution_time")) is not None]
    if are_all(float, times) and isfinite(sum(times)):
        times.sort()
        if not times or max(-times[0], times[-1]) < LONGEST_S:
            return times
    # From elsewhere, or edited by hand: what is no number is left out.
    return sorted(filter(is_time, times))


def _wall_time(first_start_ns: int | None, last_end_ns: int | None) -> float:
    """Return the seconds between two moments to the microsecond, as the texts in the records have it."""
    if not first_start_ns or not last_end_ns:
        return 0.0
    return max(last_end_ns // 1000 - first_start_ns // 1000, 0) / 1_000_000


def _concurrency(records: list[Record]) -> tuple[Span, int]:
    """Return the first start and the last end in nanoseconds, and how many executions ran at once at most."""
    # Plain lists of scalars throughout: a tuple for each record would wake the garbage collector.
    starts: list[Any] = [record.get("start_time") for record in records]
    ends: list[Any] = [record.get("end_time") for record in records]
    ended = [end for end in ends if end is not None]
    if not (_are_local_times(starts) and _are_local_times(ended)):
        starts, ends = list(map(to_ns, starts)), list(map(to_ns, ends))
        ends = [end for start, end in zip(starts, ends, strict=True) if start is not None]
        starts = [start for start in starts if start is not None]
        ended = [end for end in ends if end is not None]
    span_ns = _as_ns(min(starts, default=None)), _as_ns(max(ended, default=None))
    # What started and ended within one tick of the clock overlaps only those that began before it and ended after it.
    moments = [start for start, end in zip(starts, ends, strict=True) if end is not None and end <= start]
    if moments:
        lasting = [end is None or start < end for start, end in zip(starts, ends, strict=True)]
        starts, ends = list(compress(starts, lasting)), list(compress(ends, lasting))
        ended = [end for end in ends if end is not None]
    for times_ in (moments, starts, ended):
        times_.sort()
    peak = _peak(starts, ended)
    return span_ns, max(peak, 1 + _most_around(moments, starts, ended)) if moments else peak


def _peak(starts: list[Any], ends: list[Any]) -> int:
    """Return the greatest number of intervals that hold one moment, given their starts and ends in ascending order.

    Each start either raises the peak by one, or uses up the earliest end that is not after it: one pass is enough.
    """
    peak = 0
    pending = iter(ends)
    end = next(pending, None)
    for start in starts:
        if end is not None and end <= start:
            end = next(pending, None)
        else:
            peak += 1
    return peak


def _most_around(moments: list[Any], starts: list[Any], ends: list[Any]) -> int:
    """Return the greatest number of intervals that began before one of the moments and end after it; all ascending."""
    most = began = ended = 0
    for moment in moments:
        while began < len(starts) and starts[began] < moment:
            began += 1
        while ended < len(ends) and ends[ended] <= moment:
            ended += 1
        most = max(most, began - ended)
    return most


def _are_local_times(texts: list[Any]) -> bool:
    """Tell whether these are times as the tracker writes them without a zone, which sort as they are."""
    if not texts:
        return True
    try:
        return (
            set(map(len, texts)) == {len("2026-01-31T23:59:59.000000")}
            and "".join(map(itemgetter(slice(20, None)), texts)).isdigit()
            and to_ns(max(texts)) is not None
        )
    except (TypeError, KeyError):
        return False


def _as_ns(time: Any) -> int | None:
    return time if type(time) is int else to_ns(time)


def _bottlenecks(routines: dict[Any, Metrics], total: float) -> list[Metrics]:
    """Return the routines by what they took, largest first."""
    totals = {routine_id: routine["total_execution_time"] for routine_id, routine in routines.items()}
    return [
        {"routine_id": routine_id, "total_execution_time": time, "share": time / total if total else 0.0}
        for routine_id, time in sorted(totals.items(), key=lambda item: item[1], reverse=True)
    ]
