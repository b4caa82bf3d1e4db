"""A run on one axis of time: its executions and events in order, and which event led to which execution.

What was recorded (emitters, causes, parents, workers) is taken as it is. Only where no cause was recorded, links are
inferred from the order of events and starts, and marked as such. Moments are compared to the microsecond, as the
records tell them.

A timeline is made of columns, as a run is. An item for each execution or event is made only for those who read all of
them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from functools import cached_property
from heapq import heappop, heappush
from itertools import accumulate, chain, repeat
from math import inf
from operator import eq, le
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker._run import (
    AT_NS,
    CAUSED_BY,
    ELAPSED_NS,
    EMITTER,
    EVENT_ID,
    EVENT_WIDTH,
    EXECUTION_ID,
    PARENT_ID,
    SOURCE,
    START_NS,
    TARGET,
    WIDTH,
    WORKER,
    Run,
    emitted_ids,
)
from execution_tracker.collector import built_at_once
from execution_tracker.payloads import as_key, json_safe
from execution_tracker.plain import are_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execution_tracker._run import Record

_Column = list[Any]


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


class Timeline:
    """The executions of a run by their starts, its events by their times, and the links between them.

    A position is the place of an execution in that order. Executions and events without a time are left out. It costs
    half a microsecond for each execution and event; links cost as much again.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._routine_ids = [*run.routines]
        self._rows = [routine.rows for routine in run.routines.values()]
        counts = (len(rows) // WIDTH for rows in self._rows)
        self._first_places = [0, *accumulate(counts)]  # of each routine, one after the other
        self._order = _order(self._flat(START_NS), self._flat(EXECUTION_ID))
        self.start_ns = self.column(START_NS)
        self.elapsed_ns = self.column(ELAPSED_NS)
        self.caused_by = self.column(CAUSED_BY)
        self.positions: dict[int, int] = {id_: position for position, id_ in enumerate(self.column(EXECUTION_ID))}
        self._event_order = _order(run.events[AT_NS::EVENT_WIDTH], run.events[EVENT_ID::EVENT_WIDTH])
        self.at_ns = self.event_column(AT_NS)
        self.sources: list[int | None] = [*map(self.positions.get, self.event_column(EMITTER))]  # positions of emitters
        _infer_emitters(self)

    def _flat(self, column: int) -> _Column:
        return [*chain.from_iterable(rows[column::WIDTH] for rows in self._rows)]

    def column(self, column: int) -> _Column:
        """Return a column of the executions, by their starts."""
        return [*map(self._flat(column).__getitem__, self._order)]

    def event_column(self, column: int) -> _Column:
        """Return a column of the events, by their times."""
        return [*map(self.run.events[column::EVENT_WIDTH].__getitem__, self._event_order)]

    @cached_property
    def routine_ids(self) -> _Column:
        """The routine of each execution."""
        ids = [repeat(routine_id, len(of.rows) // WIDTH) for routine_id, of in self.run.routines.items()]
        return [*map([*chain.from_iterable(ids)].__getitem__, self._order)]

    @cached_property
    def ends_ns(self) -> list[int | None]:
        """When each execution ended, None while it runs."""
        return [
            None if elapsed_ns is None else start_ns + elapsed_ns
            for start_ns, elapsed_ns in zip(self.start_ns, self.elapsed_ns, strict=True)
        ]

    @cached_property
    def parents(self) -> list[int | None]:
        """The position of the execution inside which each ran, None if that is not known."""
        return [*map(self.positions.get, self.column(PARENT_ID))]

    @cached_property
    def workers(self) -> list[str | None]:
        """Who started each execution."""
        return self.column(WORKER)

    @cached_property
    def event_indices(self) -> dict[int, int]:
        """The place of each event in the order of their times, by its id."""
        return {event_id: index for index, event_id in enumerate(self.event_column(EVENT_ID))}

    def execution(self, position: int) -> Execution:
        """Return all that was recorded of one execution."""
        place = self._order[position]
        table = bisect_right(self._first_places, place) - 1
        begin = (place - self._first_places[table]) * WIDTH
        return Execution(self._routine_ids[table], *self._rows[table][begin : begin + WIDTH])

    def emission(self, index: int) -> Emission:
        """Return all that was recorded of one event."""
        begin = self._event_order[index] * EVENT_WIDTH
        return Emission._make((*self.run.events[begin : begin + EVENT_WIDTH], self.sources[index]))

    @cached_property
    def executions(self) -> list[Execution]:
        """All that was recorded of each execution."""
        return built_at_once(lambda: [*map(Execution, self.routine_ids, *map(self.column, range(WIDTH)))])

    @cached_property
    def emissions(self) -> list[Emission]:
        """All that was recorded of each event."""
        columns = map(self.event_column, range(EVENT_WIDTH))
        return built_at_once(lambda: [*map(Emission, *columns, self.sources)])

    @cached_property
    def links(self) -> list[Link]:
        """The links, by their events."""
        return built_at_once(
            lambda: sorted(
                Link(index, position, is_inferred)
                for pairs, is_inferred in ((self.recorded_links(), False), (self.inferred_links(), True))
                for index, position in pairs
            )
        )

    def recorded_links(self) -> Iterator[tuple[int, int]]:
        """Yield the links of recorded causes: an event and the position of the execution that it led to."""
        indices = self.event_indices
        for position, caused_by in enumerate(self.caused_by):
            if caused_by is not None:
                for event_id in emitted_ids(caused_by):
                    if event_id in indices:
                        yield indices[event_id], position

    def inferred_links(self) -> Iterator[tuple[int, int]]:
        """Yield links to executions without a recorded cause from events that are none, by the order of both."""
        for free, events in _free_ends(self):
            yield from _matched(free, events, self)

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


def _order(times_ns: _Column, ids: _Column) -> list[int]:
    """Return the places of what has a time, the earliest first, the ids telling what came first at one moment."""
    places = [*range(len(times_ns))]
    if None in times_ns:
        places = [place for place in places if times_ns[place] is not None]
    # Two sorts of what is nearly sorted take less time than one by pairs.
    places.sort(key=ids.__getitem__)
    places.sort(key=times_ns.__getitem__)
    return places


def _infer_emitters(timeline: Timeline) -> None:
    """Find the emitters of events in old files, which do not tell: the only execution of the source that ran.

    Old are executions without a worker.
    """
    sources = timeline.sources
    if None not in sources or are_all(str, timeline.workers):
        return
    by_name: dict[str, list[int]] = {}
    for position, (routine_id, worker) in enumerate(zip(timeline.routine_ids, timeline.workers, strict=True)):
        if worker is None:
            by_name.setdefault(name_of(routine_id), []).append(position)
    begun = dict.fromkeys(by_name, 0)
    running: dict[str, list[tuple[float, int]]] = {name: [] for name in by_name}  # a heap of ends and positions
    emitters, names = timeline.event_column(EMITTER), map(name_of, timeline.event_column(SOURCE))
    for index, (name, at_ns, emitter) in enumerate(zip(names, timeline.at_ns, emitters, strict=True)):
        if emitter is not None or name not in by_name:
            continue
        at_us, of_source, of_running = at_ns // 1000, by_name[name], running[name]
        while begun[name] < len(of_source):
            position = of_source[begun[name]]
            end_ns = timeline.ends_ns[position]
            if timeline.start_ns[position] // 1000 > at_us:
                break
            heappush(of_running, (inf if end_ns is None else end_ns // 1000, position))
            begun[name] += 1
        while of_running and of_running[0][0] < at_us:
            heappop(of_running)
        if len(of_running) == 1:
            sources[index] = of_running[0][1]


# --- links ---


def _free_ends(timeline: Timeline) -> Iterator[tuple[list[int], list[int]]]:
    """Yield executions without a recorded cause, and the events from one source to their routine that are no cause."""
    run = timeline.run
    if run.dropped_events or None not in timeline.caused_by:  # else it is not known how many events came
        return
    names = {routine_id: name_of(routine_id) for routine_id in run.routines}
    free: defaultdict[str, list[int]] = defaultdict(list)  # by the name of a routine, executions without a cause
    for position, (routine_id, caused_by) in enumerate(zip(timeline.routine_ids, timeline.caused_by, strict=True)):
        if caused_by is None:
            free[names[routine_id]].append(position)
    for routine_id, routine in run.routines.items():
        if routine.dropped:
            free.pop(names[routine_id], None)
    causes = {*chain.from_iterable(map(emitted_ids, filter(None, timeline.caused_by)))}
    by_ends: defaultdict[tuple[Any, Any], list[int]] = defaultdict(list)  # by the ids of source and target
    events = zip(*map(timeline.event_column, (EVENT_ID, SOURCE, TARGET)), strict=True)
    for index, (event_id, source_id, target_id) in enumerate(events):
        if event_id not in causes:
            by_ends[source_id, target_id].append(index)
    came: defaultdict[tuple[str, str], list[int]] = defaultdict(list)  # by the names of target and source
    for (source_id, target_id), of_ends in by_ends.items():
        if target_id is not None and (target := name_of(target_id)) in free:
            came[target, name_of(source_id)] += of_ends
    for (target, _), of_source in came.items():
        of_source.sort()  # ids of several types may have one name
        yield free[target], of_source


def _matched(free: list[int], came: list[int], timeline: Timeline) -> Iterator[tuple[int, int]]:
    """Yield the links from events of one source to executions of their target, by the order of both.

    A routine that ran at least as often as events came takes them one by one, oldest first; one that ran less often
    takes all that had come by its start. An execution does not lead to itself.
    """
    sources, times_us = timeline.sources, [timeline.at_ns[index] // 1000 for index in came]
    starts_us = [timeline.start_ns[position] // 1000 for position in free]
    if len(free) >= len(came):
        emitters = map(sources.__getitem__, came)
        if all(map(le, times_us, starts_us)) and not any(map(eq, emitters, free)):
            yield from zip(came, free, strict=False)  # none is passed over, as nearly always
            return
        next_free = 0
        for index, at_us in zip(came, times_us, strict=True):
            while next_free < len(free) and (starts_us[next_free] < at_us or free[next_free] == sources[index]):
                next_free += 1
            if next_free == len(free):
                return
            yield index, free[next_free]
            next_free += 1
    else:
        begun = 0
        for position, start_us in zip(free, starts_us, strict=True):
            until = bisect_right(times_us, start_us)
            for index in came[begun:until]:
                if sources[index] != position:
                    yield index, position
            begun = max(begun, until)


def name_of(routine_id: Any) -> str:
    """Return the text that a file has for the id of a routine.

    >>> name_of("parse"), name_of(5)
    ('parse', '5')
    """
    return routine_id if type(routine_id) is str else as_key(json_safe(routine_id))
