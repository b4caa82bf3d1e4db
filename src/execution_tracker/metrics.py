"""Records to numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain, compress
from math import fsum, isfinite
from typing import Any

from execution_tracker.payloads import json_safe
from execution_tracker.timestamps import to_ns

Record = dict[str, Any]
Metrics = dict[str, Any]


def routine_performance(records: list[Record]) -> Metrics | None:
    """Return counts and execution times (seconds) of one routine's records, None if there are none."""
    if not records:
        return None
    return _performance(_status_counts(records), _execution_times(records))


def flow_performance(executions: dict[Any, list[Record]], events: list[Record]) -> Metrics:
    """Return the four numbers of a flow that upstream gives, in its words."""
    times = [_execution_times(records) for records in executions.values()]
    averages = [fsum(of_routine) / len(of_routine) for of_routine in times if of_routine]
    return {
        "total_routines": len(executions),
        "total_events": len(events),
        "total_execution_time": fsum(chain.from_iterable(times)),
        "avg_routine_time": fsum(averages) / len(averages) if averages else 0.0,
    }


def run_metrics(
    flow_id: Any,
    executions: dict[Any, list[Record]],
    events: list[Record],
    *,
    unmatched_ends: int = 0,
    sequential_ns: tuple[int, int] | None = None,
) -> Metrics:
    """Return everything that can be said of a run in numbers, JSON-safe; times in seconds, rates per second.

    Args:
        flow_id: The name of the flow.
        executions: The execution records of each routine.
        events: The event records.
        unmatched_ends: How many ends closed nothing.
        sequential_ns: First start and last end of a run of which it is known that no two executions were open at once;
            it saves reading and sorting all times.
    """
    routines: dict[Any, Metrics] = {}
    statuses: Counter[Any] = Counter()
    times: list[float] = []
    for routine_id, records in executions.items():
        if records:
            of_routine = _status_counts(records), _execution_times(records)
            routines[routine_id] = _performance(*of_routine)
            statuses += of_routine[0]
            times += of_routine[1]
    times.sort()
    performance = _performance(statuses, times)
    if sequential_ns is None:
        wall_time, peak_concurrency = _concurrency(list(chain.from_iterable(executions.values())))
    else:
        wall_time, peak_concurrency = _wall_time(*sequential_ns), min(statuses.total(), 1)
    metrics = {
        "flow_id": flow_id,
        **performance,
        "total_routines": len(executions),
        "total_events": len(events),
        "wall_time": wall_time,
        "throughput": len(times) / wall_time if wall_time else 0.0,
        "event_rate": len(events) / wall_time if wall_time else 0.0,
        "peak_concurrency": peak_concurrency,
        "routines": routines,
        "bottlenecks": _bottlenecks(routines, performance["total_execution_time"]),
        "dropped_executions": 0,
        "dropped_events": 0,
        "unmatched_ends": unmatched_ends,
    }
    return metrics if _has_plain_keys(metrics) else json_safe(metrics)


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


def _performance(statuses: Counter[Any], times: list[float]) -> Metrics:
    """Return counts by status, and statistics of execution times that come in ascending order."""
    total_executions = statuses.total()
    total_time = fsum(times)
    return {
        "total_executions": total_executions,
        "completed": statuses["completed"],
        "failed": statuses["failed"],
        "running": statuses["running"],
        "status_counts": dict(statuses),
        "success_rate": statuses["completed"] / total_executions if total_executions else 0.0,
        "total_execution_time": total_time,
        "avg_execution_time": total_time / len(times) if times else 0.0,
        "min_execution_time": times[0] if times else 0.0,
        "max_execution_time": times[-1] if times else 0.0,
        "median_execution_time": percentile(times, 50),
        "p95_execution_time": percentile(times, 95),
        "p99_execution_time": percentile(times, 99),
    }


def _status_counts(records: list[Record]) -> Counter[Any]:
    statuses = [record.get("status") for record in records]
    try:
        return Counter(statuses)
    except TypeError:  # unhashable
        return Counter(map(repr, statuses))


def _execution_times(records: list[Record]) -> list[float]:
    """Return the execution times of the records that ended, in seconds, ascending."""
    times = [time for record in records if (time := record.get("execution_time")) is not None]
    try:
        times.sort()
        if isfinite(fsum(times)):
            return times
    except (TypeError, OverflowError):
        pass
    # Edited by hand: what is no number is left out.
    return sorted(time for time in times if type(time) in (float, int) and isfinite(time))


def _wall_time(first_start_ns: int, last_end_ns: int) -> float:
    """Return the seconds between two moments to the microsecond, as the texts in the records have it."""
    return max(last_end_ns // 1000 - first_start_ns // 1000, 0) / 1_000_000


def _concurrency(records: list[Record]) -> tuple[float, int]:
    """Return the time from the first start to the last end in seconds, and how many executions ran at once at most."""
    # Plain lists of scalars throughout: a tuple for each record would wake the garbage collector.
    starts: list[Any] = [record.get("start_time") for record in records]
    ends: list[Any] = [record.get("end_time") for record in records]
    ended = [end for end in ends if end is not None]
    if not (_are_local_times(starts) and _are_local_times(ended)):
        starts, ends = list(map(to_ns, starts)), list(map(to_ns, ends))
        ends = [end for start, end in zip(starts, ends, strict=True) if start is not None]
        starts = [start for start in starts if start is not None]
        ended = [end for end in ends if end is not None]
    wall_time = _wall_time(_as_ns(min(starts)), _as_ns(max(ended))) if starts and ended else 0.0
    # What started and ended within one tick of the clock overlaps only those that began before it and ended after it.
    moments = [start for start, end in zip(starts, ends, strict=True) if end is not None and end <= start]
    if moments:
        lasting = [end is None or start < end for start, end in zip(starts, ends, strict=True)]
        starts, ends = list(compress(starts, lasting)), list(compress(ends, lasting))
        ended = [end for end in ends if end is not None]
    for times_ in (moments, starts, ended):
        times_.sort()
    peak = _peak(starts, ended)
    return wall_time, max(peak, 1 + _most_around(moments, starts, ended)) if moments else peak


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
        first, last = min(texts), max(texts)
        return len(first) == len(last) == len("2026-01-31T23:59:59.000000") and to_ns(last) is not None
    except TypeError:
        return False


def _as_ns(time: Any) -> int:
    return time if type(time) is int else to_ns(time) or 0


def _bottlenecks(routines: dict[Any, Metrics], total: float) -> list[Metrics]:
    """Return the routines by what they took, largest first."""
    totals = {routine_id: routine["total_execution_time"] for routine_id, routine in routines.items()}
    return [
        {"routine_id": routine_id, "total_execution_time": time, "share": time / total if total else 0.0}
        for routine_id, time in sorted(totals.items(), key=lambda item: item[1], reverse=True)
    ]


def _has_plain_keys(metrics: Metrics) -> bool:
    keys: Iterable[Any] = chain([metrics["flow_id"]], metrics["routines"], metrics["status_counts"])
    return set(map(type, keys)) <= {str}
