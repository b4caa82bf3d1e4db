"""Many trackers to one: those of workers, other processes, and files."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from execution_tracker._copying import copied_run, greatest_ids, moved, with_small_ids
from execution_tracker._retention import Span, wider
from execution_tracker._run import AT_NS, EVENT_WIDTH, START_NS, WIDTH, Routine, Run, run_of
from execution_tracker.collector import built_at_once
from execution_tracker.timestamps import ClockFace, Offsets
from execution_tracker.tracker import ExecutionTracker

_UNREADABLE_NS = -(10**30)


def merge(trackers: Iterable[ExecutionTracker], flow_id: str = "") -> ExecutionTracker:
    """Return one tracker with all records of several, such as those of the workers of one run.

    Args:
        trackers: The trackers, which stay as they are: recorded here, unpickled, or loaded from files. One that comes
            twice counts twice.
        flow_id: The name of the merged flow.

    Returns:
        A tracker of its own, with copies of the records; payloads by reference. Executions of each routine are in the
        order of their starts and events in that of their times, compared as instants, whatever zones they are written
        in; times without a zone are local. Of equal times the earlier tracker's come first, and before all others
        those that cannot be read. What the trackers have dropped and their unmatched ends add up. What runs stays open.

    Raises:
        TypeError: One of them is no tracker, but a path, say; the message says which.

    A hundred thousand records take a few tenths of a second.

    >>> from execution_tracker import ExecutionTracker, merge
    >>> workers = [ExecutionTracker(), ExecutionTracker()]
    >>> for worker in workers:
    ...     with worker.track("parse"):
    ...         pass
    >>> merge(workers, "nightly").get_routine_performance("parse")["completed"]
    2
    """
    runs: list[Run] = []
    for index, tracker in enumerate(trackers):
        runs.append(run_of(tracker, f"trackers[{index}]"))
    merged = ExecutionTracker(flow_id)
    # Not together with the loop above, which may wait for trackers that are still on their way.
    merged._take(built_at_once(lambda: with_small_ids(_merged(runs))))
    return merged


def _merged(runs: list[Run]) -> Run:
    routines: dict[Any, Routine] = {}
    events: list[Any] = []
    nested_ns: dict[int, int] = {}
    offsets = Offsets(), Offsets()
    span_ns: Span = (None, None)
    greatest = (0, 0)
    for run in runs:
        part = moved(copied_run(run), *greatest)
        for routine_id, (rows, dropped, _) in part.routines.items():
            before = routines.get(routine_id, Routine([]))
            totals = before.dropped + dropped if before.dropped and dropped else before.dropped or dropped
            routines[routine_id] = Routine(before.rows + rows, totals)
        events += part.events
        nested_ns |= part.nested_ns
        for known, more, before_it in zip(offsets, part.offsets, greatest, strict=True):
            known.extend(more, before_it + 1)
        span_ns = wider(span_ns, part.dropped_span_ns)
        greatest = greatest_ids(part, greatest)
    ordered = {
        routine_id: Routine(_in_order(routine.rows, START_NS, WIDTH), routine.dropped)
        for routine_id, routine in routines.items()
    }
    events = _in_order(events, AT_NS, EVENT_WIDTH)
    dropped_events, unmatched_ends = (
        (sum(numbers) for numbers in zip(*map(_counts, runs), strict=True)) if runs else (0, 0)
    )
    return Run(ordered, events, nested_ns, ClockFace(), offsets, dropped_events, span_ns, unmatched_ends)


def _counts(run: Run) -> tuple[int, int]:
    return run.dropped_events, run.unmatched_ends


def _in_order(rows: list[Any], column: int, width: int) -> list[Any]:
    """Return rows in the order of time, those without one first."""
    times = [_UNREADABLE_NS if time_ns is None else time_ns for time_ns in rows[column::width]]
    order = sorted(range(len(times)), key=times.__getitem__)
    return [*chain.from_iterable(rows[index * width : (index + 1) * width] for index in order)]
