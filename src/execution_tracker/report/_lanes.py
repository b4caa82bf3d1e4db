"""Where executions are drawn, so that none covers another: lanes of one routine, and nested rows of one worker."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from execution_tracker.timestamps import TICK_NS


class Span(NamedTuple):
    """What takes place from one moment to another, in so many lanes."""

    start_ns: int
    end_ns: int
    height: int = 1


def lanes(spans: Sequence[Span]) -> tuple[list[int], int]:
    """Place spans, which come in the order of their starts, in the lowest lanes that are free.

    Returns:
        The first lane of each span, and the number of lanes.

    >>> lanes([Span(0, 9000), Span(1000, 4000), Span(5000, 6000)])
    ([0, 1, 1], 2)
    >>> lanes([Span(0, 4000, 1), Span(4000, 9000, 3), Span(5000, 9000, 1)])
    ([0, 0, 3], 4)
    """
    busy: list[tuple[int, int]] = []  # end and slot
    free: list[int] = []
    heights: list[int] = []  # by slot, which grows to the highest span in it
    slots = []
    for start_ns, end_ns, height in spans:
        # What starts in the tick in which another one ends may have followed it: it may have its lane.
        while busy and busy[0][0] < start_ns + TICK_NS:
            heappush(free, heappop(busy)[1])
        if free:
            slot = heappop(free)
            heights[slot] = max(heights[slot], height)
        else:
            slot = len(heights)
            heights.append(height)
        heappush(busy, (end_ns, slot))
        slots.append(slot)
    first, total = [], 0
    for height in heights:
        first.append(total)
        total += height
    return [first[slot] for slot in slots], total


def nested_lanes(spans: Sequence[Span], parents: Sequence[int | None]) -> tuple[list[int], int]:
    """Place spans, in the order of their starts, with those that ran inside another one in the lanes below it.

    Args:
        spans: When each ran; its height is not looked at.
        parents: For each the position of the one inside which it ran, which is a smaller one, or None.

    Returns:
        The lane of each span, and the number of lanes.

    >>> nested_lanes([Span(0, 9000), Span(0, 4000), Span(5000, 8000), Span(6000, 7000)], [None, 0, 0, 2])
    ([0, 1, 1, 2], 3)
    """
    inside: list[list[int]] = [[] for _ in spans]
    roots: list[int] = []
    for position, parent in enumerate(parents):
        (roots if parent is None else inside[parent]).append(position)
    blocks = list(spans)  # each with all that ran inside it, from the innermost to the outermost
    below: list[list[int]] = [[] for _ in spans]
    for position in range(len(spans) - 1, -1, -1):
        inner = [blocks[child] for child in inside[position]]
        below[position], height = lanes(inner)
        end_ns = max([spans[position].end_ns, *(block.end_ns for block in inner)])
        blocks[position] = Span(spans[position].start_ns, end_ns, 1 + height)
    placed = [0] * len(spans)
    first, total = lanes([blocks[position] for position in roots])
    for root, lane in zip(roots, first, strict=True):
        placed[root] = lane
    for position, children in enumerate(inside):
        for child, lane in zip(children, below[position], strict=True):
            placed[child] = placed[position] + 1 + lane
    return placed, total
