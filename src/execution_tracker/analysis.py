"""Why a run took as long as it did: which event led to which execution, the critical path, and runs compared.

All functions take a tracker and leave it as it is. They cost a few microseconds for each execution and event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execution_tracker._comparison import compare_runs
from execution_tracker._critical_path import path_of
from execution_tracker._metrics import percentile
from execution_tracker._run import NAME, SOURCE, TARGET, hashable, run_of
from execution_tracker._timeline import Timeline
from execution_tracker.collector import built_at_once
from execution_tracker.timestamps import SECOND_NS, TICK_NS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execution_tracker.tracker import ExecutionTracker

_EDGE = ("source_routine_id", "event_name", "target_routine_id")


def critical_path(tracker: ExecutionTracker) -> list[dict[str, Any]]:
    """Return the chain of executions that decided when the run ended, first to last.

    It is followed back from the execution that ended last: each one waited for what came last of the event that caused
    it, its parent's call, and its worker, which was busy. Where no cause was recorded, an event may be inferred.

    Args:
        tracker: The run.

    Returns:
        A dict for each step: ``routine_id``, ``execution_id``, ``start_time`` and ``end_time`` (ISO 8601),
        ``execution_time`` and ``wait_time`` (seconds from what it waited for to its start; 0 for the first), and
        ``link``, how it hangs on the step before: ``"caused_by"`` and ``"parent"`` were recorded, ``"worker"`` is the
        step before it on the same worker, ``"event"`` is inferred from the order of events, None for the first. A step
        that never ended has None for end and execution time. Empty if nothing ended.

    Raises:
        TypeError: It is no tracker, but a path, say.

    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.analysis import critical_path
    >>> tracker = ExecutionTracker()
    >>> parse = tracker.record_execution("parse", 100.0, 102.0, worker="w-1")
    >>> count = tracker.record_execution("count", 102.5, 104.0, worker="w-1")
    >>> [(step["routine_id"], step["link"], step["wait_time"]) for step in critical_path(tracker)]
    [('parse', None, 0.0), ('count', 'worker', 0.5)]
    """
    return critical_path_in(Timeline(run_of(tracker)))


def critical_path_in(timeline: Timeline) -> list[dict[str, Any]]:
    """Return the critical path through a run, as :func:`critical_path` does."""
    path = path_of(timeline)
    return built_at_once(lambda: [_step(timeline, *step) for step in path])


def _step(timeline: Timeline, position: int, link: str | None, at_ns: int) -> dict[str, Any]:
    execution = timeline.execution(position)
    start_time, end_time = timeline.execution_texts(execution)
    return {
        "routine_id": execution.routine_id,
        "execution_id": execution.execution_id,
        "start_time": start_time,
        "end_time": end_time,
        "execution_time": None if execution.elapsed_ns is None else execution.elapsed_ns / SECOND_NS,
        "wait_time": (execution.start_ns - at_ns) / SECOND_NS,
        "link": link,
    }


def event_edges(tracker: ExecutionTracker) -> list[dict[str, Any]]:
    """Return what went from routine to routine, and how long it waited there.

    Args:
        tracker: The run.

    Returns:
        A dict for each source, event name and target that occur together, in the order of their first events:
        ``source_routine_id``, ``event_name``, ``target_routine_id``, ``count``, ``first`` and ``last`` (ISO 8601),
        ``rate`` (events per second from the first to the last, 0 for a single one), ``caused`` (how many led to an
        execution), ``inferred`` (for how many of these that is not recorded but inferred), ``median_wait_time`` and
        ``max_wait_time`` (seconds from those to the starts; None where there are none, or none that can be told: where
        the start came before its cause, two clocks were at work).

    Raises:
        TypeError: It is no tracker, but a path, say.

    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.analysis import event_edges
    >>> tracker = ExecutionTracker()
    >>> for _ in range(2):
    ...     _ = tracker.record_event("parse", "parsed", "count")
    >>> [(edge["source_routine_id"], edge["target_routine_id"], edge["count"]) for edge in event_edges(tracker)]
    [('parse', 'count', 2)]
    """
    return event_edges_in(Timeline(run_of(tracker)))


def event_edges_in(timeline: Timeline) -> list[dict[str, Any]]:
    """Return what went from routine to routine in a run, as :func:`event_edges` does."""
    edges: dict[tuple[Any, ...], list[int]] = {}
    for index, edge in enumerate(zip(*map(timeline.event_column, (SOURCE, NAME, TARGET)), strict=True)):
        if type(edge[1]) is not str:
            edge = edge[0], hashable(edge[1]), edge[2]
        edges.setdefault(edge, []).append(index)
    recorded_ns, inferred_ns = _waits(timeline, timeline.recorded_links()), _waits(timeline, timeline.inferred_links())
    return [
        dict(zip(_EDGE, edge, strict=True)) | _traffic(indices, recorded_ns, inferred_ns, timeline)
        for edge, indices in edges.items()
    ]


def _waits(timeline: Timeline, links: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Return by event the wait to the first execution that it led to, in nanoseconds."""
    waits_ns: dict[int, int] = {}
    for index, position in links:
        wait_ns = timeline.start_ns[position] - timeline.at_ns[index]
        if index not in waits_ns or wait_ns < waits_ns[index]:
            waits_ns[index] = wait_ns
    return waits_ns


def _traffic(
    indices: list[int], recorded_ns: dict[int, int], inferred_ns: dict[int, int], timeline: Timeline
) -> dict[str, Any]:
    first, last = timeline.emission(indices[0]), timeline.emission(indices[-1])
    # An event that is a recorded cause has no other links.
    recorded, inferred = ([waits[index] for index in indices if index in waits] for waits in (recorded_ns, inferred_ns))
    # What started before its cause was recorded elsewhere, by another clock: nobody knows how long it waited.
    waits = sorted(max(wait_ns, 0) for wait_ns in recorded + inferred if wait_ns > -TICK_NS)
    elapsed_ns = last.at_ns - first.at_ns
    return {
        "count": len(indices),
        "first": timeline.emission_text(first),
        "last": timeline.emission_text(last),
        "rate": (len(indices) - 1) * SECOND_NS / elapsed_ns if elapsed_ns else 0.0,
        "caused": len(recorded) + len(inferred),
        "inferred": len(inferred),
        "median_wait_time": percentile(waits, 50, SECOND_NS) if waits else None,
        "max_wait_time": waits[-1] / SECOND_NS if waits else None,
    }


def compare(before: ExecutionTracker, after: ExecutionTracker) -> list[dict[str, Any]]:
    """Return how each routine fared in two runs.

    Args:
        before: The run to compare with.
        after: The run in question.

    Returns:
        A dict for each routine, those of ``before`` first: ``routine_id`` (as a file has it: a text), ``change``
        (``"both"``, ``"new"`` or ``"gone"``), ``before`` and ``after`` (None where it did not run) and ``ratio``: for
        ``avg_``, ``median_`` and ``p95_execution_time``, after divided by before, None where one of the two has no
        completed execution.

        ``before`` and ``after`` are dicts of counts: ``total_executions``, ``completed``, ``failed``, ``running`` (what
        never ended), ``status_counts`` and ``success_rate``; and of the times of completed executions alone, in
        seconds, None without one: ``avg_``, ``min_``, ``max_``, ``median_`` and ``p95_execution_time``.
        ``timed_executions`` says of how many these are: fewer than ``completed`` if ``max_records`` dropped some, whose
        times are not known by status.

    Raises:
        TypeError: One of the two is no tracker, but a path, say.

    Takes about a microsecond for each execution.

    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.analysis import compare
    >>> before, after = ExecutionTracker(), ExecutionTracker()
    >>> _ = before.record_execution("parse", 100.0, 102.0)
    >>> _ = after.record_execution("parse", 200.0, 203.0)
    >>> _ = after.record_execution("parse", 203.0, 203.1, "failed")
    >>> (row,) = compare(before, after)
    >>> row["ratio"]["median_execution_time"], row["after"]["failed"]
    (1.5, 1)
    """
    return compare_runs(run_of(before), run_of(after))
