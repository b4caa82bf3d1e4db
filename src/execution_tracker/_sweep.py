"""How many executions ran at once: one pass over the moments at which they start and end.

Moments count to the microsecond, as the records tell them, so the same comes out of a run and of its file. What ends
at a moment does not overlap what starts then. What starts and ends at one moment overlaps what began before and ends
after.
"""

from __future__ import annotations

from itertools import chain, repeat
from math import inf
from typing import NamedTuple

_END, _MOMENT, _START = range(3)  # what comes first of what happens at one moment


class Span(NamedTuple):
    """What is new of an execution."""

    start_us: int | None  # None if the pass has been there
    end_us: int | None  # None while it runs
    execution_id: int
    parent_id: int | None


class Sweep:
    """The greatest number of executions that ran at once, as far as the pass has come.

    With ``is_nested`` an execution does not count while another one runs inside it; ``running`` knows how many do.
    """

    def __init__(self, is_nested: bool = False, axis_ns: int = 0) -> None:
        self.is_nested = is_nested
        self.axis_ns = axis_ns  # what the nanoseconds that come are behind the epoch
        self.peak = 0
        self.first_us: int | None = None
        self.last_end_us: int | None = None
        self.running: dict[int, int] = {}
        self._level = 0
        self._reached_us: int | None = None

    def add(self, starts: list[int], ends: list[int], moments: list[int]) -> bool:
        """Go on over starts, ends, and moments at which executions both start and end: nanoseconds in any order.

        Returns:
            Whether all came after what was swept over before. If not, the pass has to begin anew.
        """
        for times in (starts, ends, moments):
            times.sort()
        firsts = [self.us(times[0]) for times in (starts, moments) if times]
        lasts = [self.us(times[-1]) for times in (ends, moments) if times]
        if not self._reaches([*firsts, *map(self.us, ends[:1])], [*lasts, *map(self.us, starts[-1:])]):
            return False
        self._widen(firsts, lasts)
        around = self._around(moments, starts, ends)
        # Each start takes the place of an execution that is over, or raises the peak.
        over = chain(repeat(-inf, self.peak - self._level), ends, repeat(inf))
        end, rest_ns = next(over), self.axis_ns % 1000
        raised = 0
        for start in starts:
            if end <= start or (end - start < 1000 and end - (end + rest_ns) % 1000 <= start):
                end = next(over)
            else:
                raised += 1
        self.peak = max(self.peak + raised, around)
        self._level += len(starts) - len(ends)
        return True

    def us(self, time_ns: int) -> int:
        """Return the microsecond from the epoch in which a moment is."""
        return (time_ns + self.axis_ns) // 1000

    def _around(self, moments: list[int], starts: list[int], ends: list[int]) -> int:
        """Return the greatest number of executions at one of the moments, at which it is one more; all ascending."""
        started = ended = most = 0
        for moment in moments:
            begin = moment - (moment + self.axis_ns) % 1000
            while started < len(starts) and starts[started] < begin:
                started += 1
            while ended < len(ends) and ends[ended] < begin + 1000:
                ended += 1
            most = max(most, self._level + started - ended + 1)
        return most

    def add_nested(self, spans: list[Span]) -> bool:
        """Do as :meth:`add` does, where executions may run inside others."""
        starts = [span.start_us for span in spans if span.start_us is not None]
        ends = [span.end_us for span in spans if span.end_us is not None]
        if not self._reaches([*starts, *ends], [*starts, *ends]):
            return False
        self._widen(starts, ends)
        steps: list[tuple[int, int, int, int | None]] = []
        for start_us, end_us, execution_id, parent_id in spans:
            if start_us is not None and start_us == end_us:
                steps.append((start_us, _MOMENT, execution_id, parent_id))
                continue
            if start_us is not None:
                steps.append((start_us, _START, execution_id, parent_id))
            if end_us is not None:
                steps.append((end_us, _END, execution_id, parent_id))
        steps.sort(key=lambda step: step[:3])
        for _, step, execution_id, parent_id in steps:
            if step == _START:
                self._begin(execution_id, parent_id)
            elif step == _END:
                self._end(execution_id, parent_id)
            else:
                self.peak = max(self.peak, self._level + (self.running.get(parent_id or 0) != 0))
        return True

    def _begin(self, execution_id: int, parent_id: int | None) -> None:
        running = self.running
        if parent_id in running:
            self._level -= running[parent_id] == 0
            running[parent_id] += 1
        running[execution_id] = 0
        self._level += 1
        self.peak = max(self.peak, self._level)

    def _end(self, execution_id: int, parent_id: int | None) -> None:
        running = self.running
        self._level -= running.pop(execution_id, 1) == 0
        if parent_id in running:
            running[parent_id] -= 1
            self._level += running[parent_id] == 0

    def _reaches(self, firsts: list[int], lasts: list[int]) -> bool:
        """Tell whether nothing came before what was reached, and remember how far the pass comes."""
        if firsts:
            if self._reached_us is not None and min(firsts) <= self._reached_us:
                return False
            self._reached_us = max(lasts)
        return True

    def _widen(self, starts: list[int], ends: list[int]) -> None:
        if starts:
            self.first_us = min(starts) if self.first_us is None else min(self.first_us, *starts)
        if ends:
            self.last_end_us = max(ends) if self.last_end_us is None else max(self.last_end_us, *ends)
