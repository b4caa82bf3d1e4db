"""Which records are dropped when there are too many, and what stays known of them."""

from __future__ import annotations

from math import isfinite
from typing import Any

from execution_tracker.pairing import Record, hashable
from execution_tracker.timestamps import SECOND_NS, to_ns

# What stays known of the dropped executions of one routine: "status_counts", how many "ended", their "total_ns",
# "min_ns" and "max_ns". Whole nanoseconds add up exactly, however long a tracker lives.
DroppedRoutine = dict[str, Any]


class Dropped:
    """The numbers of dropped records, which with those of the kept ones make the numbers of a tracker's whole life."""

    def __init__(self) -> None:
        self.routines: dict[Any, DroppedRoutine] = {}
        self.events = 0
        self.first_start_ns: int | None = None
        self.last_end_ns: int | None = None

    def copy(self) -> Dropped:
        """Return a copy that does not change with this one; the numbers of a routine are replaced, never changed."""
        other = Dropped()
        vars(other).update(vars(self), routines=self.routines.copy())
        return other

    def widen(self, first_start_ns: int, last_end_ns: int) -> None:
        """Count a span in, of which 0 means that there was no start or no end."""
        if first_start_ns:
            self.first_start_ns = min(first_start_ns, self.first_start_ns or first_start_ns)
        if last_end_ns:
            self.last_end_ns = max(last_end_ns, self.last_end_ns or last_end_ns)

    @property
    def executions(self) -> int:
        """How many executions were dropped."""
        return sum(sum(routine["status_counts"].values()) for routine in self.routines.values())


def oldest_ended(records: list[Record], count: int) -> tuple[int, list[Record], list[Record]]:
    """Find the oldest ``count`` records that ended.

    Returns:
        How many records to cut off at the front, those of them to drop, and those to put back, which are open.
    """
    dropped: list[Record] = []
    still_open: list[Record] = []
    for length, record in enumerate(records, start=1):
        is_open = isinstance(record, dict) and "end_time" not in record
        (still_open if is_open else dropped).append(record)
        if len(dropped) == count:
            return length, [record for record in dropped if isinstance(record, dict)], still_open
    return 0, [], []


def routine_with(known: DroppedRoutine | None, records: list[Record]) -> DroppedRoutine:
    """Return what stays known of a routine after these records are dropped, too."""
    times = [record.get("execution_time") for record in records]
    times_ns = [round(time * SECOND_NS) for time in times if type(time) is float and isfinite(time)]
    status_counts = dict(known["status_counts"]) if known else {}
    for record in records:
        status = hashable(record.get("status"))
        status_counts[status] = status_counts.get(status, 0) + 1
    ended, total_ns = len(times_ns), sum(times_ns)
    if known and known["ended"]:
        ended += known["ended"]
        total_ns += known["total_ns"]
        times_ns += known["min_ns"], known["max_ns"]
    return {
        "status_counts": status_counts,
        "ended": ended,
        "total_ns": total_ns,
        "min_ns": min(times_ns, default=0),
        "max_ns": max(times_ns, default=0),
    }


def span_with(known: tuple[int | None, int | None], records: list[Record]) -> tuple[int | None, int | None]:
    """Return the first start and the last end, in nanoseconds, after these records are dropped, too."""
    starts = [known[0], *(to_ns(record.get("start_time")) for record in records)]
    ends = [known[1], *(to_ns(record.get("end_time")) for record in records)]
    return (
        min((start for start in starts if start is not None), default=None),
        max((end for end in ends if end is not None), default=None),
    )
