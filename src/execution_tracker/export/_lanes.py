"""The lanes of a trace: where each execution lies, so that all slices of a lane nest.

Files cut starts to the microsecond and keep durations to the nanosecond. So what followed or enclosed each other may
seem to overlap by less than a tick.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from execution_tracker.timestamps import TICK_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execution_tracker._timeline import Timeline

NO_WORKER = "no worker"

_DEEPEST = 200  # Perfetto puts all that is below 512 levels on one

Moment = tuple[int, int]  # nanoseconds, and the rank among what happens then


class _Lane:
    """One row of a viewer, which belongs to a worker; its slices as positions of executions."""

    def __init__(self, worker: str | None, number: int) -> None:
        self.worker = worker
        self.number = number  # among the lanes of the worker
        self.place = 0  # among all
        self.positions: list[int] = []
        self.begins_ns: list[int] = []
        self.open: list[int] = []  # at the place where the lanes are filled, outer before inner
        self.until_ns = -(2**63)  # what comes next can begin no earlier

    @property
    def name(self) -> str:
        worker = NO_WORKER if self.worker is None else self.worker
        return f"{worker} ({self.number + 1})" if self.number else worker


class Lanes:
    """Lanes by worker. An execution lies inside the slice of its parent if that is on the same worker.

    All others lie beside each other: where another one is on the lane of the worker, an execution gets one more lane.
    What the lists hold is by the position of an execution. ``starts_ns`` and ``ends_ns`` are the ends of its slice;
    these are its own times, but for less than a microsecond where a file has cut them.
    """

    def __init__(self, timeline: Timeline, last_ns: int) -> None:
        executions = timeline.executions
        self.parents = timeline.parents
        self.starts_ns = [execution.start_ns for execution in executions]
        # What still runs lasts as long as the run. No slice is shorter than a viewer can tell.
        ends = (last_ns if execution.end_ns is None else execution.end_ns for execution in executions)
        self.ends_ns = [max(end_ns, start_ns + 1) for end_ns, start_ns in zip(ends, self.starts_ns, strict=True)]
        self.around: list[int | None] = [None] * len(executions)  # the parent, if the slice lies inside its slice
        self.ranks = [0] * len(executions)  # parents before children
        self.last_rank = len(executions)
        self._lane_of: dict[int, _Lane] = {}
        self._lanes: dict[str | None, list[_Lane]] = {}  # by worker
        self._free: dict[str | None, list[int]] = {}  # numbers, as a heap
        self._busy: dict[str | None, list[tuple[int, int]]] = {}  # until when, and numbers, as a heap
        for rank, position in enumerate(self._parents_first()):
            self.ranks[position] = rank
            worker = executions[position].worker
            if not self._nests(position, worker):
                lane = self._free_lane(worker, position)
                self._put(position, lane, None, max(self.starts_ns[position], lane.until_ns))
        lanes = [lane for of_worker in self._lanes.values() for lane in of_worker]
        for place, lane in enumerate(lanes):
            lane.place = place
        self.names = [lane.name for lane in lanes]  # those of one worker follow each other

    def place_of(self, position: int) -> int:
        """Return the place of the lane of an execution among all, counted from 0."""
        return self._lane_of[position].place

    def begin(self, position: int) -> Moment:
        """Return the moment at which a slice begins."""
        return self.starts_ns[position], self.ranks[position]

    def moment_in(self, position: int, at_ns: int) -> Moment:
        """Return a moment at which an execution is the innermost of its lane: this one, else that at which it begins.

        Viewers tie the end of an arrow to the slice that is innermost then.
        """
        if self._innermost(self._lane_of[position], at_ns) == position:
            return at_ns, self.last_rank
        return self.begin(position)

    def holds(self, position: int, at_ns: int) -> bool:
        """Tell whether a moment lies in an execution, as far as a file can tell."""
        return self.starts_ns[position] - TICK_NS < at_ns < self.ends_ns[position] + TICK_NS

    def ties(self, position: int) -> tuple[list[int], bool]:
        """Return the slices around one that end with it, and whether another begins then on its lane."""
        end_ns, begins_ns = self.ends_ns[position], self._lane_of[position].begins_ns
        index = bisect_left(begins_ns, end_ns)
        tied, around = [], self.around[position]
        while around is not None and self.ends_ns[around] == end_ns:
            tied.append(around)
            around = self.around[around]
        return tied, index < len(begins_ns) and begins_ns[index] == end_ns

    def _parents_first(self) -> Iterator[int]:
        """Yield the positions by start, and parents before their children where both began at once."""
        starts_ns = self.starts_ns.copy()  # the slices are moved meanwhile
        seen: set[int] = set()
        for position, start_ns in enumerate(starts_ns):
            above: list[int] = []
            each: int | None = position
            while each is not None and each not in seen and starts_ns[each] == start_ns:
                seen.add(each)
                above.append(each)
                each = self.parents[each]
            yield from reversed(above)

    def _nests(self, position: int, worker: str | None) -> bool:
        """Put an execution inside its parent, if it fits there."""
        parent = self.parents[position]
        lane = None if parent is None else self._lane_of.get(parent)
        if parent is None or lane is None or lane.worker != worker:
            return False
        start_ns, end_ns, until_ns = self.starts_ns[position], self.ends_ns[position], self.ends_ns[parent]
        while lane.open and lane.open[-1] != parent and self.ends_ns[lane.open[-1]] - start_ns < TICK_NS:
            lane.until_ns = max(lane.until_ns, self.ends_ns[lane.open.pop()])
        if not lane.open or lane.open[-1] != parent or len(lane.open) >= _DEEPEST:
            return False
        # If both began at one moment, viewers would tie the arrows of the parent to the child.
        begin_ns = max(min(start_ns, until_ns - 1), lane.until_ns, self.starts_ns[parent] + 1)
        if end_ns - until_ns >= TICK_NS or begin_ns >= until_ns:
            return False
        self._put(position, lane, parent, begin_ns)
        self.ends_ns[position] = min(self.ends_ns[position], until_ns)
        return True

    def _free_lane(self, worker: str | None, position: int) -> _Lane:
        """Return the first lane of a worker on which nothing lies when an execution starts."""
        lanes, start_ns = self._lanes.setdefault(worker, []), self.starts_ns[position]
        free, busy = self._free.setdefault(worker, []), self._busy.setdefault(worker, [])
        while busy and busy[0][0] - start_ns < TICK_NS:
            heappush(free, heappop(busy)[1])
        if not free:
            heappush(free, len(lanes))
            lanes.append(_Lane(worker, len(lanes)))
        lane = lanes[heappop(free)]
        if lane.open:
            lane.until_ns = max(lane.until_ns, self.ends_ns[lane.open[0]])
            lane.open.clear()
        heappush(busy, (max(self.ends_ns[position], lane.until_ns + 1), lane.number))
        return lane

    def _put(self, position: int, lane: _Lane, parent: int | None, begin_ns: int) -> None:
        self.starts_ns[position] = lane.until_ns = begin_ns
        self.ends_ns[position] = max(self.ends_ns[position], begin_ns + 1)
        self._lane_of[position], self.around[position] = lane, parent
        lane.positions.append(position)
        lane.begins_ns.append(begin_ns)
        lane.open.append(position)

    def _innermost(self, lane: _Lane, at_ns: int) -> int | None:
        index = bisect_right(lane.begins_ns, at_ns) - 1
        position = lane.positions[index] if index >= 0 else None
        while position is not None and self.ends_ns[position] <= at_ns:
            position = self.around[position]
        return position
