"""The critical path of a timeline: what decided when the run ended, back to its start."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker._run import emitted_ids
from execution_tracker.collector import built_at_once

if TYPE_CHECKING:
    from execution_tracker._timeline import Timeline

# How a step hangs on the one before. Of what came at one moment the later of these is known better.
EVENT, WORKED, PARENT, CAUSED_BY = RANKED = "event", "worker", "parent", "caused_by"
_EVENT, _WORKED, _PARENT, _CAUSED_BY = range(4)


class Step(NamedTuple):
    """An execution on the critical path, and how it hangs on the step before."""

    position: int
    link: str | None  # None for the first
    at_ns: int  # from when on it waited


_Candidate = tuple[
    float, int, Any
]  # what an execution may have waited for: when (µs), its rank in RANKED, its position
_NOTHING: _Candidate = -inf, -1, -1


def path_of(timeline: Timeline) -> list[Step]:
    """Return the critical path, first to last; empty if nothing ended."""
    return built_at_once(_Search(timeline).path)


class _Search:
    """Goes back from the end. What it needs to know of a worker, or of links, it looks up when it gets there."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.by_worker: dict[str, tuple[list[int], list[int]]] = {}  # ends in microseconds, and positions

    def path(self) -> list[Step]:
        steps: dict[int, Step] = {}
        position = self._last()
        while position is not None and position not in steps:  # within one microsecond it may lead round in a circle
            steps[position], position = self._step(position)
        path = [*reversed(steps.values())]
        return [Step(step.position, None, self.timeline.start_ns[step.position]) for step in path[:1]] + path[1:]

    def _step(self, position: int) -> tuple[Step, int | None]:
        """Return the step of an execution, and the position of the step before it."""
        start_ns, parent = self.timeline.start_ns[position], self.timeline.parents[position]
        start_us = start_ns // 1000
        latest = max(self._came(position, start_us), self._before_on_worker(position, start_us))
        if parent is not None and (parent_us := self.timeline.start_ns[parent] // 1000) <= start_us:
            latest = max(latest, (parent_us, _PARENT, parent))
        at_us, rank, before = latest
        if before < 0:
            return Step(position, None, start_ns), None
        # A parent calls when it gets there: there is no wait that could be told. Nor where the worker ran the parent.
        is_called = rank == _PARENT or (
            rank == _WORKED and parent is not None and self.timeline.workers[parent] == self.timeline.workers[position]
        )
        at_ns = start_ns if is_called or at_us == start_us else int(at_us) * 1000
        return Step(position, RANKED[rank], at_ns), before

    def _came(self, position: int, start_us: int) -> _Candidate:
        """Return the latest event that led to an execution and whose emitter is known."""
        timeline, caused_by = self.timeline, self.timeline.caused_by[position]
        if caused_by is None:
            rank, latest = _EVENT, self._inferred.get(position, -1)
        else:
            rank, latest = _CAUSED_BY, -1
            for event_id in emitted_ids(caused_by):
                index = timeline.event_indices.get(event_id, -1)
                if index > latest and timeline.at_ns[index] // 1000 <= start_us and self._is_emitted(index):
                    latest = index
        return _NOTHING if latest < 0 else (timeline.at_ns[latest] // 1000, rank, timeline.sources[latest])

    def _is_emitted(self, index: int) -> bool:
        """Tell whether the emitter of an event is known, and had started."""
        source = self.timeline.sources[index]
        return source is not None and self.timeline.start_ns[source] // 1000 <= self.timeline.at_ns[index] // 1000

    @cached_property
    def _inferred(self) -> dict[int, int]:
        """By position, the latest event of which it is inferred that it led there, and whose emitter is known."""
        came: dict[int, int] = {}
        sources, start_ns, at_ns = self.timeline.sources, self.timeline.start_ns, self.timeline.at_ns
        for index, position in self.timeline.inferred_links():
            source = sources[index]
            # As in _is_emitted, whose call would take longer than all the rest.
            if source is not None and start_ns[source] // 1000 <= at_ns[index] // 1000:
                came[position] = max(index, came.get(position, -1))
        return came

    def _before_on_worker(self, position: int, start_us: int) -> _Candidate:
        """Return the execution of the same worker that had ended last when this one started."""
        worker = self.timeline.workers[position]
        if worker is None:
            return _NOTHING
        if not self.by_worker:
            self._group_by_worker()
        ends_us, positions = self.by_worker[worker]
        after = bisect_right(ends_us, start_us)
        # Of those that ended in the microsecond of the start, in the order of their positions, only earlier ones count.
        place = bisect_left(positions, position, bisect_left(ends_us, start_us, hi=after), after) - 1
        return (ends_us[place], _WORKED, positions[place]) if place >= 0 else _NOTHING

    def _group_by_worker(self) -> None:
        by_worker: dict[str, list[int]] = {worker: [] for worker in self.timeline.workers if worker is not None}
        for position, (worker, end_ns) in enumerate(zip(self.timeline.workers, self.timeline.ends_ns, strict=True)):
            if worker is not None and end_ns is not None:
                by_worker[worker].append(position)
        for worker, positions in by_worker.items():
            ends_us = {position: (self.timeline.ends_ns[position] or 0) // 1000 for position in positions}
            positions.sort(key=ends_us.__getitem__)
            self.by_worker[worker] = [ends_us[position] for position in positions], positions

    def _last(self) -> int | None:
        """Return the execution that ended last, or what ran last inside it, and inside that, and so on.

        It ended when that had ended.
        """
        ends_ns, parents = self.timeline.ends_ns, self.timeline.parents
        ended = [end_ns for end_ns in ends_ns if end_ns is not None]
        if not ended:
            return None
        last_ns = max(ended)
        position = next(position for position in reversed(range(len(ends_ns))) if ends_ns[position] == last_ns)
        last: dict[int, tuple[int, int]] = {}  # by parent, the end and the position of what ran last inside it
        for child, (parent, end_ns) in enumerate(zip(parents, ends_ns, strict=True)):
            around_ns = None if parent is None else ends_ns[parent]
            if parent is not None and end_ns is not None and around_ns is not None and end_ns <= around_ns:
                last[parent] = max(last.get(parent, (end_ns, child)), (end_ns, child))
        seen: set[int] = set()
        while position in last and position not in seen:
            seen.add(position)
            position = last[position][1]
        return position
