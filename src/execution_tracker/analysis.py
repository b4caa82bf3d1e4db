"""Why a run took as long as it did: which event fed which execution, the critical path, and runs compared.

All functions take a tracker and leave it as it is. Their cost is that of sorting its records: about a second for
100,000 executions and as many events.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker.collector import built_at_once
from execution_tracker.metrics import percentile, routine_performance
from execution_tracker.pairing import Record, hashable
from execution_tracker.payloads import as_key, json_safe
from execution_tracker.persistence import names_of
from execution_tracker.timestamps import SECOND_NS, instant_reader

if TYPE_CHECKING:
    from execution_tracker.folding import Snapshot
    from execution_tracker.tracker import ExecutionTracker

_EDGE = ("source_routine_id", "event_name", "target_routine_id")
_LONGEST_S = 1e9  # thirty years; what is longer was edited by hand
_COMPARED = ("avg_execution_time", "median_execution_time", "p95_execution_time")


class Execution(NamedTuple):
    """One execution on the time axis, in nanoseconds since the epoch; ``end_ns`` is None while it runs."""

    routine_id: Any
    start_ns: int
    end_ns: int | None
    record: Record

    @property
    def elapsed_ns(self) -> int | None:
        """How long it took, None while it runs. An execution time is finer than the texts of start and end."""
        time = self.record.get("execution_time")
        if isinstance(time, (float, int)) and type(time) is not bool and 0 <= time <= _LONGEST_S:
            return round(time * SECOND_NS)
        return None if self.end_ns is None else max(self.end_ns - self.start_ns, 0)


class Emission(NamedTuple):
    """One event on the time axis, and the positions in ``Timeline.executions`` of those at its two ends, or None."""

    event: Record
    at_ns: int
    source: int | None
    fed: int | None


class Timeline(NamedTuple):
    """The executions of a run by their start, and its events by their time."""

    executions: list[Execution]
    emissions: list[Emission]


def timeline(tracker: ExecutionTracker) -> Timeline:
    """Put a run on one time axis, and find the executions that each event came from and fed.

    An event feeds the first execution of its target that starts at or after it and that no earlier event of the same
    source fed. It came from the execution of its source that started last before it, among those that still ran if
    there are any. Records and events without a readable time are left out.

    Args:
        tracker: The run.

    Returns:
        Its executions in the order of their starts, and its events in the order of their times.

    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.analysis import timeline
    >>> tracker = ExecutionTracker()
    >>> for routine, target in [("parse", "count"), ("count", None)]:
    ...     _ = tracker.record_routine_start(routine)
    ...     tracker.record_event(routine, "done", target)
    ...     tracker.record_routine_end(routine)
    >>> executions, (parsed, counted) = timeline(tracker)
    >>> executions[parsed.fed].routine_id, counted.fed
    ('count', None)
    """
    return timeline_of(tracker._snapshot())


def timeline_of(run: Snapshot) -> Timeline:
    """Put a moment of a run on one time axis, as :func:`timeline` does."""
    return built_at_once(lambda: _timeline_of(run))


def _timeline_of(run: Snapshot) -> Timeline:
    read = instant_reader()
    executions = [
        Execution(routine_id, start_ns, read(record.get("end_time")), record)
        for routine_id, records in run.executions.items()
        for record in records
        if (start_ns := read(record.get("start_time"))) is not None
    ]
    executions.sort(key=lambda execution: execution.start_ns)
    events = [(at_ns, event) for event in run.events if (at_ns := read(event.get("timestamp"))) is not None]
    events.sort(key=lambda timed: timed[0])
    return Timeline(executions, _emissions(executions, events))


class _Routine:
    """The executions of one routine, as the events that come by in time order find them."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.starts: list[int] = []
        self.started = 0  # how many have started when the present event is emitted
        self.running: list[int] = []  # of those, which may still run
        self.next_fed: dict[Any, int] = {}  # by source: the first of those that its events have not passed yet

    def emitter(self, at_ns: int, executions: list[Execution]) -> int | None:
        """Return the execution that emitted an event. Events must come in time order."""
        while self.started < len(self.starts) and self.starts[self.started] <= at_ns:
            self.running.append(self.positions[self.started])
            self.started += 1
        while self.running:
            end_ns = executions[self.running[-1]].end_ns
            if end_ns is None or end_ns >= at_ns:
                return self.running[-1]
            self.running.pop()
        return self.positions[self.started - 1] if self.started else None

    def fed(self, source_id: Any, emitter: int | None, at_ns: int) -> int | None:
        """Return the execution that an event feeds. The events of one source must come in time order."""
        index = bisect_left(self.starts, at_ns, self.next_fed.get(source_id, 0))
        if index < len(self.starts) and self.positions[index] == emitter:  # within one tick of the clock
            index += 1
        if index == len(self.starts):
            return None
        self.next_fed[source_id] = index + 1
        return self.positions[index]


def _emissions(executions: list[Execution], events: list[tuple[int, Record]]) -> list[Emission]:
    routines: dict[Any, _Routine] = {}
    for position, execution in enumerate(executions):
        routine = routines.get(execution.routine_id)
        if routine is None:
            routine = routines[execution.routine_id] = _Routine()
        routine.positions.append(position)
        routine.starts.append(execution.start_ns)
    emissions = []
    for at_ns, event in events:
        source_id = hashable(event.get("source_routine_id"))
        source = _routine_with(source_id, routines)
        target = _routine_with(hashable(event.get("target_routine_id")), routines)
        emitter = source and source.emitter(at_ns, executions)
        emissions.append(Emission(event, at_ns, emitter, target and target.fed(source_id, emitter, at_ns)))
    return emissions


def _routine_with(routine_id: Any, routines: dict[Any, _Routine]) -> Any:
    found = routines.get(routine_id)
    if found is None and routine_id is not None and type(routine_id) is not str:
        # In a file the keys of objects are texts, while the same id within an event is what it was.
        found = routines.get(name_of(routine_id))
    return found


def name_of(routine_id: Any) -> str:
    """Return the text that a file has for the id of a routine.

    >>> name_of("parse"), name_of(5)
    ('parse', '5')
    """
    return routine_id if type(routine_id) is str else as_key(json_safe(hashable(routine_id)))


def critical_path(tracker: ExecutionTracker) -> list[dict[str, Any]]:
    """Return the chain of executions that decided when the run ended, first to last.

    It is followed back from the execution that ended last: each one waited for the latest of the events that fed it,
    which came from the step before. Events of several sources may all feed one execution (see :func:`timeline`) of a
    routine that then runs once for each of them. So where more events had come for a routine than it had begun
    executions, one that none of them fed is taken to have waited for the latest of them. Else it begins the path.

    Args:
        tracker: The run.

    Returns:
        A dict for each step: ``routine_id``, ``start_time`` and ``end_time`` (ISO 8601), ``execution_time`` and
        ``wait_time`` (seconds from that event to its start; 0 for the first). A step that never ended has
        None for end and execution time. Empty if nothing ended.

    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.analysis import critical_path
    >>> tracker = ExecutionTracker()
    >>> for routine, target in [("parse", "count"), ("idle", None), ("count", None)]:
    ...     _ = tracker.record_routine_start(routine)
    ...     tracker.record_event(routine, "done", target)
    ...     tracker.record_routine_end(routine)
    >>> [step["routine_id"] for step in critical_path(tracker)]
    ['parse', 'count']
    """
    return critical_path_in(timeline(tracker))


def critical_path_in(timeline: Timeline) -> list[dict[str, Any]]:
    """Return the critical path through a run, as :func:`critical_path` does."""
    return [
        {
            "routine_id": execution.routine_id,
            "start_time": execution.record["start_time"],
            "end_time": execution.record.get("end_time"),
            "execution_time": execution.record.get("execution_time"),
            "wait_time": (execution.start_ns - fed_by.at_ns) / SECOND_NS if fed_by else 0.0,
        }
        for execution, fed_by in ((timeline.executions[step], fed_by) for step, fed_by in steps_in(timeline).items())
    ]


def steps_in(timeline: Timeline) -> dict[int, Emission | None]:
    """Return the critical path as positions in ``timeline.executions``, each with the event that it waited for."""
    ended = [(end_ns, step) for step, (_, _, end_ns, _) in enumerate(timeline.executions) if end_ns is not None]
    known = [emission for emission in timeline.emissions if emission.source is not None]
    # Of several events that fed an execution the latest stays.
    waited_for = _latest_left_over(timeline.executions, known) | {emission.fed: emission for emission in known}
    steps: dict[int, Emission | None] = {}
    step = max(ended)[1] if ended else None
    while step is not None and step not in steps:  # within one tick it may lead round in a circle
        steps[step] = emission = waited_for.get(step)
        step = emission.source if emission else None
    return dict(reversed(steps.items()))


def _latest_left_over(executions: list[Execution], emissions: list[Emission]) -> dict[int | None, Emission]:
    """Return the latest event for a routine by each execution that began when it had fewer executions than events."""
    events_for: dict[str, list[Emission]] = {}
    for emission in emissions:
        if (target_id := emission.event.get("target_routine_id")) is not None:
            events_for.setdefault(name_of(target_id), []).append(emission)
    begun = dict.fromkeys(events_for, 0)
    left_over: dict[int | None, Emission] = {}
    for position, execution in enumerate(executions):
        name = name_of(execution.routine_id)
        if name in begun:
            events = events_for[name]
            come = bisect_right(events, execution.start_ns, key=lambda emission: emission.at_ns)
            if come > begun[name] and events[come - 1].source != position:
                left_over[position] = events[come - 1]
            begun[name] += 1
    return left_over


def event_edges(tracker: ExecutionTracker) -> list[dict[str, Any]]:
    """Return what went from routine to routine, and how long it waited there.

    Args:
        tracker: The run.

    Returns:
        A dict for each source, event name and target that occur together, in the order of their first events:
        ``source_routine_id``, ``event_name``, ``target_routine_id``, ``count``, ``first`` and ``last`` (ISO 8601),
        ``rate`` (events per second from the first to the last, 0 for a single one), ``fed`` (how many fed an
        execution), ``median_wait_time`` and ``max_wait_time`` (seconds from those to the starts that they fed; 0 where
        none did).

    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.analysis import event_edges
    >>> tracker = ExecutionTracker()
    >>> tracker.record_event("parse", "parsed", "count")
    >>> tracker.record_event("parse", "parsed", "count")
    >>> [(edge["source_routine_id"], edge["target_routine_id"], edge["count"]) for edge in event_edges(tracker)]
    [('parse', 'count', 2)]
    """
    return event_edges_in(timeline(tracker))


def event_edges_in(timeline: Timeline) -> list[dict[str, Any]]:
    """Return what went from routine to routine in a run, as :func:`event_edges` does."""
    executions, emissions = timeline
    edges: dict[tuple[Any, ...], list[Emission]] = {}
    for emission in emissions:
        edges.setdefault(tuple(hashable(emission.event.get(key)) for key in _EDGE), []).append(emission)
    return [dict(zip(_EDGE, edge, strict=True)) | _traffic(of_edge, executions) for edge, of_edge in edges.items()]


def _traffic(emissions: list[Emission], executions: list[Execution]) -> dict[str, Any]:
    waits = sorted(
        (executions[emission.fed].start_ns - emission.at_ns) / SECOND_NS
        for emission in emissions
        if emission.fed is not None
    )
    elapsed_ns = emissions[-1].at_ns - emissions[0].at_ns
    return {
        "count": len(emissions),
        "first": emissions[0].event["timestamp"],
        "last": emissions[-1].event["timestamp"],
        "rate": (len(emissions) - 1) * SECOND_NS / elapsed_ns if elapsed_ns else 0.0,
        "fed": len(waits),
        "median_wait_time": percentile(waits, 50),
        "max_wait_time": waits[-1] if waits else 0.0,
    }


def compare(before: ExecutionTracker, after: ExecutionTracker) -> list[dict[str, Any]]:
    """Return how each routine fared in two runs.

    Args:
        before: The run to compare with.
        after: The run in question.

    Returns:
        A dict for each routine, those of ``before`` first: ``routine_id`` (as a file has it: a text), ``change``
        (``"both"``, ``"new"`` or ``"gone"``), ``before`` and ``after`` (what ``get_routine_performance`` gives, None
        where it did not run) and ``ratio``: for ``avg_``, ``median_`` and ``p95_execution_time``, after divided by
        before, None where one of the two has no execution that ended.

    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.analysis import compare
    >>> before, after = ExecutionTracker(), ExecutionTracker()
    >>> for tracker, routine in [(before, "parse"), (after, "parse"), (after, "count")]:
    ...     _ = tracker.record_routine_start(routine)
    ...     tracker.record_routine_end(routine)
    >>> [(row["routine_id"], row["change"]) for row in compare(before, after)]
    [('parse', 'both'), ('count', 'new')]
    """
    routines_before, routines_after = _performances(before), _performances(after)
    return [
        _compared(routine_id, routines_before.get(routine_id), routines_after.get(routine_id))
        for routine_id in routines_before | routines_after
    ]


def _performances(tracker: ExecutionTracker) -> dict[str, dict[str, Any]]:
    run = tracker._snapshot()
    performances = {
        name: routine_performance(run.executions.get(routine_id, []), run.dropped.routines.get(routine_id))
        for routine_id, name in names_of(run).items()
    }
    return {name: performance for name, performance in performances.items() if performance}


def _compared(routine_id: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "routine_id": routine_id,
        "change": "new" if before is None else "gone" if after is None else "both",
        "before": before,
        "after": after,
        "ratio": {key: _ratio(before, after, key) for key in _COMPARED},
    }


def _ratio(before: dict[str, Any] | None, after: dict[str, Any] | None, key: str) -> float | None:
    if not (before and after and before[key] and after[key]):
        return None
    ratio: float = after[key] / before[key]
    return ratio
