"""Which executions are dropped when there are too many, and what stays known of them."""

from __future__ import annotations

from typing import Any

from execution_tracker._run import ELAPSED_NS, EXECUTION_ID, START_NS, STATUS, WIDTH

Span = tuple["int | None", "int | None"]  # first start and last end


class Totals:
    """The numbers of executions that add up. Whole nanoseconds do so exactly, however long a tracker lives."""

    __slots__ = ("ended", "max_ns", "min_ns", "self_ns", "status_counts", "total_ns")

    def __init__(
        self,
        status_counts: dict[Any, int],
        ended: int = 0,
        total_ns: int = 0,
        min_ns: int = 0,
        max_ns: int = 0,
        self_ns: int = 0,
    ) -> None:
        self.status_counts = status_counts
        self.ended = ended
        self.total_ns = total_ns
        self.min_ns = min_ns
        self.max_ns = max_ns
        self.self_ns = self_ns

    def __add__(self, other: Totals) -> Totals:
        counts = dict(self.status_counts)
        for status, count in other.status_counts.items():
            counts[status] = counts.get(status, 0) + count
        timed = [totals for totals in (self, other) if totals.ended]
        return Totals(
            counts,
            self.ended + other.ended,
            self.total_ns + other.total_ns,
            min((totals.min_ns for totals in timed), default=0),
            max((totals.max_ns for totals in timed), default=0),
            self.self_ns + other.self_ns,
        )


def totals_of(rows: list[Any], nested_ns: dict[int, int]) -> Totals:
    """Return the numbers of some rows."""
    status_counts: dict[Any, int] = {}
    for status in rows[STATUS::WIDTH]:
        status_counts[status] = status_counts.get(status, 0) + 1
    times_ns = [elapsed_ns for elapsed_ns in rows[ELAPSED_NS::WIDTH] if elapsed_ns is not None]
    total_ns = self_ns = sum(times_ns)
    if nested_ns:
        for execution_id, elapsed_ns in zip(rows[EXECUTION_ID::WIDTH], rows[ELAPSED_NS::WIDTH], strict=True):
            self_ns -= min(nested_ns.get(execution_id, 0), elapsed_ns or 0)
    return Totals(status_counts, len(times_ns), total_ns, min(times_ns, default=0), max(times_ns, default=0), self_ns)


def span_of(rows: list[Any]) -> Span:
    """Return the first start and the last end of some rows."""
    placed = [
        (start_ns, start_ns + (elapsed_ns or 0))
        for start_ns, elapsed_ns in zip(rows[START_NS::WIDTH], rows[ELAPSED_NS::WIDTH], strict=True)
        if start_ns is not None
    ]
    return min((start for start, _ in placed), default=None), max((end for _, end in placed), default=None)


def wider(*spans: Span) -> Span:
    """Return the earliest of the starts and the latest of the ends, where there are any."""
    starts = [start for start, _ in spans if start is not None]
    ends = [end for _, end in spans if end is not None]
    return min(starts, default=None), max(ends, default=None)


def parted(rows: list[Any], open_places: set[int], excess: int) -> tuple[list[Any], list[Any], dict[int, int]]:
    """Part the rows of a routine: those of its ended executions that ended first are dropped.

    Args:
        rows: All of them.
        open_places: Where the rows of open executions begin.
        excess: How many are dropped.

    Returns:
        The dropped rows, the kept ones, and by their old place the new ones of the open executions.
    """
    ended = [place for place in range(0, len(rows), WIDTH) if place not in open_places]
    ended.sort(key=lambda place: (rows[place + START_NS] or 0) + (rows[place + ELAPSED_NS] or 0))
    gone = set(ended[:excess])
    dropped: list[Any] = []
    kept: list[Any] = []
    places: dict[int, int] = {}
    for place in range(0, len(rows), WIDTH):
        if place in gone:
            dropped += rows[place : place + WIDTH]
        else:
            if place in open_places:
                places[place] = len(kept)
            kept += rows[place : place + WIDTH]
    return dropped, kept, places
