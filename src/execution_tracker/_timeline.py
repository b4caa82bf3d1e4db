"""A run on one axis of time: its executions and events in order, and which event led to which execution.

What was recorded (emitters, causes, parents, workers) is taken as it is. Only where no cause was recorded, links are
inferred from the order of events and starts, and marked as such. Moments are compared to the microsecond, as the
records tell them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker._metrics import named
from execution_tracker._records import rows_in
from execution_tracker._run import AT_NS, EMITTER, EVENT_WIDTH, WIDTH, Run, emitted_ids
from execution_tracker.payloads import as_key, json_safe

if TYPE_CHECKING:
    from execution_tracker._run import Record

CAUSED_BY, PARENT, WORKER, EVENT = "caused_by", "parent", "worker", "event"


class Execution(NamedTuple):
    """One execution; times in nanoseconds."""

    routine_id: Any
    start_ns: int
    execution_id: int
    parent_id: int | None
    caused_by: Any
    worker: str | None
    params: Any
    status: Any
    elapsed_ns: int | None  # None while it runs
    result: Any
    error: Any
    record: Record | None  # the record from outside that it was read from

    @property
    def end_ns(self) -> int | None:
        """When it ended, None while it runs."""
        return None if self.elapsed_ns is None else self.start_ns + self.elapsed_ns


class Emission(NamedTuple):
    """One event, and the position of the execution that emitted it."""

    at_ns: int
    source_routine_id: Any
    event_name: Any
    target_routine_id: Any
    data: Any
    event_id: int
    emitter: int | None
    record: Record | None
    source: int | None


class Link(NamedTuple):
    """An event led to an execution: positions of both."""

    emission: int
    execution: int
    is_inferred: bool


class Timeline(NamedTuple):
    """The executions of a run by their starts, its events by their times, and the links in the order of the events."""

    run: Run
    executions: list[Execution]
    emissions: list[Emission]
    links: list[Link]

    def execution_texts(self, execution: Execution) -> tuple[Any, Any]:
        """Return start and end as the record tells them; the end is None while it runs."""
        if execution.record is not None:
            return execution.record.get("start_time"), execution.record.get("end_time")
        clock, elapsed_ns = self.run.clock, execution.elapsed_ns
        end = None if elapsed_ns is None else clock.text_after(execution.start_ns, elapsed_ns)
        return clock.text(execution.start_ns), end

    def emission_text(self, emission: Emission) -> Any:
        """Return the time of an event as its record tells it."""
        return self.run.clock.text(emission.at_ns) if emission.record is None else emission.record.get("timestamp")


def timeline_of(run: Run) -> Timeline:
    """Put a run on one axis of time. Executions and events without a time are left out.

    Costs about three microseconds for each execution and event.
    """
    executions: list[Execution] = []
    for routine_id, routine in run.routines.items():
        rows = routine.rows
        executions += map(Execution, repeat(routine_id), *(rows[column::WIDTH] for column in range(WIDTH)))
    executions = [execution for execution in executions if execution.start_ns is not None]
    executions.sort(key=lambda execution: (execution.start_ns, execution.execution_id))
    positions = {execution.execution_id: position for position, execution in enumerate(executions)}
    emissions = [
        Emission._make((*row, positions.get(row[EMITTER])))
        for row in rows_in(run.events, EVENT_WIDTH)
        if row[AT_NS] is not None
    ]
    emissions.sort(key=lambda emission: (emission.at_ns, emission.event_id))
    _infer_emitters(executions, emissions)
    return Timeline(run, executions, emissions, [*_links(run, executions, emissions)])


def _infer_emitters(executions: list[Execution], emissions: list[Emission]) -> None:
    """Find the emitters of events in old files, which do not tell: the only execution of the source that ran.

    Old are executions without a worker.
    """
    by_name: dict[str, list[int]] = {}
    for position, execution in enumerate(executions):
        if execution.worker is None:
            by_name.setdefault(name_of(execution.routine_id), []).append(position)
    unknown = [index for index, each in enumerate(emissions) if each.emitter is None] if by_name else []
    running: dict[str, list[int]] = {name: [] for name in by_name}
    begun = dict.fromkeys(by_name, 0)
    for index in unknown:
        name, at_us = name_of(emissions[index].source_routine_id), emissions[index].at_ns // 1000
        of_source = by_name.get(name, [])
        if not of_source:
            continue
        while begun[name] < len(of_source) and executions[of_source[begun[name]]].start_ns // 1000 <= at_us:
            running[name].append(of_source[begun[name]])
            begun[name] += 1
        running[name] = [
            each for each in running[name] if (end_ns := executions[each].end_ns) is None or end_ns // 1000 >= at_us
        ]
        if len(running[name]) == 1:
            emissions[index] = emissions[index]._replace(source=running[name][0])


def _links(run: Run, executions: list[Execution], emissions: list[Emission]) -> list[Link]:
    by_id = {emission.event_id: index for index, emission in enumerate(emissions)}
    links: list[Link] = []
    free: dict[str, list[int]] = {}  # by the name of a routine, executions without a recorded cause
    taken: set[int] = set()
    for position, execution in enumerate(executions):
        causes = emitted_ids(execution.caused_by)
        for event_id in causes:
            if event_id in by_id:
                links.append(Link(by_id[event_id], position, is_inferred=False))
                taken.add(by_id[event_id])
        if not causes:
            free.setdefault(name_of(execution.routine_id), []).append(position)
    if not run.dropped_events:  # else it is not known how many came
        dropped = {name for name, routine_id in zip(*_names(run), strict=True) if run.routines[routine_id].dropped}
        came: dict[tuple[str, str], list[int]] = {}  # by target and source
        for index, emission in enumerate(emissions):
            if index not in taken and emission.target_routine_id is not None:
                target = name_of(emission.target_routine_id)
                if target in free and target not in dropped:
                    came.setdefault((target, name_of(emission.source_routine_id)), []).append(index)
        for (target, _), of_source in came.items():
            links += _inferred(free[target], of_source, executions, emissions)
    links.sort()
    return links


def _names(run: Run) -> tuple[Iterable[str], Iterable[Any]]:
    names = named(run.routines)
    return names.values(), names


def _inferred(
    free: list[int], came: list[int], executions: list[Execution], emissions: list[Emission]
) -> Iterable[Link]:
    """Yield the links from events of one source to executions of their target, by the order of both.

    A routine that ran at least as often as events came takes them one by one, oldest first; one that ran less often
    takes all that had come by its start. An execution does not lead to itself.
    """
    if len(free) >= len(came):
        next_free = 0
        for index in came:
            at_us = emissions[index].at_ns // 1000
            while next_free < len(free) and (
                executions[free[next_free]].start_ns // 1000 < at_us or free[next_free] == emissions[index].source
            ):
                next_free += 1
            if next_free == len(free):
                return
            yield Link(index, free[next_free], is_inferred=True)
            next_free += 1
    else:
        times = [emissions[index].at_ns // 1000 for index in came]
        begun = 0
        for position in free:
            until = bisect_right(times, executions[position].start_ns // 1000)
            for index in came[begun:until]:
                if emissions[index].source != position:
                    yield Link(index, position, is_inferred=True)
            begun = max(begun, until)


_BEGIN = 0, 0, 0, ""  # of a step that waited for nothing


class Step(NamedTuple):
    """An execution on the critical path, and how it hangs on the step before."""

    position: int
    link: str | None  # None for the first
    at_ns: int  # from when on it waited


def path_of(timeline: Timeline) -> list[Step]:
    """Return the critical path, first to last: what decided when the run ended."""
    executions, emissions = timeline.executions, timeline.emissions
    ended = [(end_ns, position) for position, each in enumerate(executions) if (end_ns := each.end_ns) is not None]
    if not ended:
        return []
    positions = {execution.execution_id: position for position, execution in enumerate(executions)}
    came: dict[int, tuple[int, int, bool]] = {}  # by position, the latest event that led there
    for index, to, is_inferred in timeline.links:
        emission = emissions[index]
        if emission.source is not None and emission.at_ns // 1000 <= executions[to].start_ns // 1000:
            came[to] = emission.at_ns, emission.source, is_inferred
    before = _before_on_worker(executions)
    position: int | None = _last_inside(max(ended)[1], executions, positions)
    steps: dict[int, Step] = {}
    while position is not None and position not in steps:  # within one microsecond it may lead round in a circle
        execution = executions[position]
        candidates: list[tuple[int, int, int, str]] = []
        start_us = execution.start_ns // 1000
        if position in came:
            at_ns, emitter, is_inferred = came[position]
            candidates.append((at_ns // 1000, 0 if is_inferred else 3, emitter, EVENT if is_inferred else CAUSED_BY))
        if (parent := positions.get(execution.parent_id or 0)) is not None and executions[
            parent
        ].start_ns // 1000 <= start_us:
            candidates.append((executions[parent].start_ns // 1000, 2, parent, PARENT))
        if position in before:
            candidates.append(((executions[before[position]].end_ns or 0) // 1000, 1, before[position], WORKER))
        # What came last; of what came at one moment, what is known best.
        at_us, _, source, link = max(candidates, default=_BEGIN)
        if link == WORKER and parent is not None and executions[parent].worker == execution.worker:
            at_us = start_us  # meanwhile the worker ran the parent, which then made the call
        waited = candidates and link != PARENT and at_us != start_us
        steps[position] = Step(position, link, at_us * 1000 if waited else execution.start_ns)
        position = source if candidates else None
    path = [*reversed(steps.values())]
    return [Step(path[0].position, None, executions[path[0].position].start_ns), *path[1:]]


def _last_inside(position: int, executions: list[Execution], positions: dict[int, int]) -> int:
    """Return what ran last inside an execution, and inside that, and so on: the execution ended when that had ended."""
    last: dict[int, tuple[int, int]] = {}
    for child, execution in enumerate(executions):
        parent = positions.get(execution.parent_id or 0)
        end_ns, around_ns = execution.end_ns, None if parent is None else executions[parent].end_ns
        if parent is not None and end_ns is not None and around_ns is not None and end_ns <= around_ns:
            last[parent] = max(last.get(parent, (end_ns, child)), (end_ns, child))
    seen: set[int] = set()
    while position in last and position not in seen:
        seen.add(position)
        position = last[position][1]
    return position


def _before_on_worker(executions: list[Execution]) -> dict[int, int]:
    """Return for each execution the one of the same worker that had ended last by its start."""
    by_worker: dict[str, list[int]] = {}
    for position, execution in enumerate(executions):
        if execution.worker is not None:
            by_worker.setdefault(execution.worker, []).append(position)
    before: dict[int, int] = {}
    for of_worker in by_worker.values():
        ended = sorted((end_ns // 1000, each) for each in of_worker if (end_ns := executions[each].end_ns) is not None)
        over = 0
        for position in of_worker:
            start_us = executions[position].start_ns // 1000
            while over < len(ended) and ended[over][0] <= start_us:
                over += 1
            index = over - 1 - (over > 0 and ended[over - 1][1] >= position)
            if index >= 0 and ended[index][1] < position:
                before[position] = ended[index][1]
    return before


def name_of(routine_id: Any) -> str:
    """Return the text that a file has for the id of a routine.

    >>> name_of("parse"), name_of(5)
    ('parse', '5')
    """
    return routine_id if type(routine_id) is str else as_key(json_safe(routine_id))
