"""A run as its readers get it: one moment of a tracker, in rows of scalars that do not change any more.

The rows of a routine, and those of the events, are one flat list: so many items for each execution or event, in this
order. A column is a stride: ``rows[STATUS::WIDTH]``. Times are whole nanoseconds since the epoch, taken from the
monotonic clock and an anchor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker.descriptions import type_name
from execution_tracker.errors import NotATrackerError

if TYPE_CHECKING:
    from execution_tracker._retention import Totals
    from execution_tracker.timestamps import ClockFace, Offsets

Record = dict[str, Any]

# A row of an execution. An end assigns STATUS to ERROR at once.
(
    START_NS,  # None if a record from outside has no time that can be read
    EXECUTION_ID,
    PARENT_ID,
    CAUSED_BY,  # the id of an event, a tuple of several, or None
    WORKER,
    PARAMS,  # None if there were none
    STATUS,
    ELAPSED_NS,  # None while it runs
    RESULT,
    ERROR,
    RECORD,  # the record from outside that this row was read from; None if it was recorded here
    WIDTH,
) = range(12)

# A row of an event.
(
    AT_NS,  # None if a record from outside has no time that can be read
    SOURCE,
    NAME,
    TARGET,
    DATA,  # None if there was none
    EVENT_ID,
    EMITTER,  # the id of the execution that emitted it, or None
    EVENT_RECORD,
    EVENT_WIDTH,
) = range(9)

RUNNING = "running"


class Routine(NamedTuple):
    """What was recorded of one routine: rows, and the numbers of what was dropped."""

    rows: list[Any]
    dropped: Totals | None = None
    revision: int = 0


class Run(NamedTuple):
    """One moment of a tracker."""

    routines: dict[Any, Routine]
    events: list[Any]
    nested_ns: dict[int, int]  # by the id of an execution, the times of those that ran inside it
    clock: ClockFace  # writes times as the tracker's records have them
    offsets: tuple[Offsets, Offsets]  # of the records from outside: of executions and of events
    dropped_events: int = 0
    dropped_span_ns: tuple[int | None, int | None] = (None, None)  # first start and last end of what was dropped
    unmatched_ends: int = 0

    @property
    def axis_ns(self) -> int:
        """What the times of the rows are behind the epoch."""
        return 0

    @property
    def dropped_executions(self) -> int:
        """How many executions were dropped."""
        return sum(sum(routine.dropped.status_counts.values()) for routine in self.routines.values() if routine.dropped)

    @property
    def executions(self) -> int:
        """How many executions are left."""
        return sum(len(routine.rows) for routine in self.routines.values()) // WIDTH

    @property
    def event_count(self) -> int:
        """How many events are left."""
        return len(self.events) // EVENT_WIDTH


def run_of(tracker: Any, place: str = "") -> Run:
    """Return this moment of a tracker, or say what to write where it is a path, say.

    Args:
        tracker: What a caller gave.
        place: Where it was given, for the message.

    >>> run_of("run.json")
    Traceback (most recent call last):
    execution_tracker.errors.NotATrackerError: expected an ExecutionTracker, found a str; load files with \
ExecutionTracker.load
    """
    if hasattr(type(tracker), "_run"):
        run: Run = tracker._run()
        return run
    begin = f"{place}: expected" if place else "expected"
    raise NotATrackerError(
        f"{begin} an ExecutionTracker, found a {type_name(tracker)}; load files with ExecutionTracker.load"
    )


def hashable(value: Any) -> Any:
    """Return an id or a status as given, or its ``repr`` if it cannot be hashed or compared."""
    kind = type(value)
    if kind is str or kind is int or kind is float or kind is bool or kind is bytes or value is None:
        return value  # nothing so far can raise, so what is raised comes out of a signal handler
    try:
        if _can_be_a_key(value):
            return value
    except Exception:
        if is_answered(_can_be_a_key, value):
            raise  # out of a signal handler, since the value itself does answer
    try:
        return str.__str__(repr(value))
    except Exception:
        return f"<{type_name(value)}>"


def _can_be_a_key(value: Any) -> bool:
    hash(value)
    return bool(value == value) and not bool(value == "")


def is_answered(ask: Callable[..., Any], *values: Any) -> bool:
    """Tell whether a question to foreign code that was just answered with an exception is answered now."""
    try:
        ask(*values)
    except Exception:
        return False
    return True


def are_equal(one: Any, other: Any) -> bool:
    """Tell whether two ids are the same; what cannot be compared is not."""
    if one is other:
        return True
    if type(one) is str and type(other) is str:
        return one == other
    try:
        return bool(one == other)
    except Exception:
        if is_answered(lambda: bool(one == other)):
            raise  # out of a signal handler
        return False


def is_empty(payload: Any) -> bool:
    """Tell whether this is an empty container of Python's own, or an empty text; nothing else is asked."""
    kind = type(payload)
    is_own = kind is dict or kind is list or kind is tuple or kind is str or kind is set or kind is frozenset
    return (is_own or kind is bytes or kind is bytearray) and not payload


def emitted_ids(caused_by: Any) -> tuple[int, ...]:
    """Return the ids in a row's ``CAUSED_BY``."""
    return () if caused_by is None else (caused_by,) if type(caused_by) is int else caused_by
