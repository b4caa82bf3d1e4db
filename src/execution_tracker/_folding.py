"""The fold: what is common to the one that makes rows, and the one that keeps up records that somebody holds.

An entry of the log is ten scalars:

===== ========== ========== ======= ============ ===== ======= ========= ========= ======== =======
call  slot 0     1          2       3            4     5       6         7         8        9
===== ========== ========== ======= ============ ===== ======= ========= ========= ======== =======
start ``START``  routine id params  execution id owner mono ns parent id caused by thread   wall ns
end   the status routine id result  given id     owner mono ns error     None      None     None
event ``EVENT``  source id  data    emitter's id owner mono ns name      target id event id None
===== ========== ========== ======= ============ ===== ======= ========= ========= ======== =======

In CPython other threads, signal handlers and forks come in only after a call or a jump, never between two plain
assignments. So the fold decides on an entry with calls, and commits it in a straight line without one: wherever it is
interrupted, each entry has been folded entirely or not at all, and the next fold goes on from there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import chain, islice
from operator import length_hint
from typing import TYPE_CHECKING, Any

from execution_tracker._pairing import Table
from execution_tracker._run import Run, hashable
from execution_tracker.descriptions import described
from execution_tracker.timestamps import ClockFace, Offsets

if TYPE_CHECKING:
    from collections.abc import Callable

    from execution_tracker._metrics import Measured
    from execution_tracker._reading import Ids
    from execution_tracker._retention import Span

START = object()
EVENT = object()
ENTRY_WIDTH = 10
_SMALL_CHUNK = 10_000  # entries


def entries_of(items: Iterator[Any]) -> Iterator[tuple[Any, ...]]:
    """Return the entries that some items of the log make. They end when the list of the items is cleared."""
    return zip(*[items] * ENTRY_WIDTH, strict=True)


class Fold(ABC):
    """What was folded so far, and what is needed to fold more. One thread at a time may use it."""

    is_live = False  # whether the records may be in somebody's hands

    def __init__(self, clock: ClockFace, anchor_ns: int, ids: tuple[Ids, Ids], max_records: int | None = None) -> None:
        self.ids = ids  # of executions and of events
        self.clock = clock
        self.anchor_ns = anchor_ns  # what the wall clock was ahead of the monotonic clock
        self.max_records = max_records
        self.is_eager = self.is_live or max_records is not None  # whether each call has to look if it is to be folded
        self.tables: dict[Any, Table] = {}
        self.events: list[Any] = []
        self.nested_ns: dict[int, int] = {}  # by the id of an execution, the times of those that ran inside it
        self.offsets = Offsets(), Offsets()
        self.unmatched_ends = 0
        self.dropped_events = 0
        self.dropped_span_ns: Span = None, None
        self.grown: dict[Any, Table] = {}  # that may have too many ended executions
        self.issued = 1, 1  # the least ids, of executions and of events, not given out when the log was taken
        self.chunk: list[Any] = []  # what was taken from the log
        self.items = iter(self.chunk)  # those of it that were not looked at
        self.entries: Iterator[tuple[Any, ...]] = iter(())  # the same, ten by ten
        self.entry: Any = None  # the one in hand, which is not committed yet
        self.is_over = False  # whether another fold goes on in the place of this one

    def fold(self, log: list[Any], is_read: bool = True) -> None:
        """Fold what an interrupted fold left behind, and then every entry that is in the log now, oldest first.

        Args:
            log: The log.
            is_read: Whether somebody will read; if not, there may be some more rows than ``max_records``.
        """
        self._fold_entries()
        # What is there now, not until the log is empty: threads that record without a pause would never let the
        # reader go. A quarter at a time, so that most of the log is gone before all of the rows are there.
        count = len(log) // ENTRY_WIDTH
        at_once = max(count // 4, _SMALL_CHUNK)
        for _ in range(0, count, at_once):
            self._take(log, at_once * ENTRY_WIDTH)
            self._fold_entries()
        if self.max_records is not None and not self.is_over:
            self._drop(self.max_records, is_read)

    def _take(self, log: list[Any], size: int) -> None:
        """Take so many items from the log."""
        # Not log[:size]: up to Python 3.11 it reads freed memory if a finalizer that runs while it allocates takes
        # entries away.
        chunk = [*islice(log, size)]
        items = iter(chunk)
        entries = entries_of(items)
        issued = self.ids[0].issued, self.ids[1].issued  # after the log: all ids in it are below
        taken = slice(len(chunk))  # made here, as making one may wake the garbage collector
        self.entries = iter(())  # frees the old ones, and may run finalizers
        self.chunk = []
        if not self.is_over:
            # commit
            self.issued = issued
            self.chunk = chunk
            self.items = items
            self.entries = entries
            del log[taken]

    def rest(self) -> list[Any]:
        """Return what was taken from the log and not looked at."""
        return self.chunk[len(self.chunk) - length_hint(self.items) :]

    def _fold_entries(self) -> None:
        """Fold the entry in hand, if a fold was interrupted, and all that were taken from the log after it."""
        while True:
            try:
                # The entry stays in hand until it is committed.
                self._fold_each(self.entries if self.entry is None else chain((self.entry,), self.entries))
                # All was folded, and the chunk would be kept until the next fold.
                if self.entry is None:  # pragma: no branch - else another fold has taken it over
                    self.entries = self.items = iter(())
                    self.chunk = []
                return
            except Exception:
                entry = self.entry
                if entry is None or not self._refuses(entry[1]):
                    raise  # out of a signal handler, or memory ran out: the entry stays in hand
                self.entry = (entry[0], f"{described(entry[1])} ", *entry[2:])

    def _refuses(self, routine_id: Any) -> bool:
        """Tell whether an id cannot be compared with the others, so that nothing can be recorded under it."""
        try:
            self.tables.get(hashable(routine_id))
        except Exception:
            return True
        return False

    @abstractmethod
    def _fold_each(self, entries: Iterator[tuple[Any, ...]]) -> None:
        """Fold all entries."""

    @abstractmethod
    def _drop(self, max_records: int, is_read: bool) -> None:
        """Drop what is too much."""

    @abstractmethod
    def find(self, table: Table, execution_id: int) -> Any:
        """Return the place of an ended execution by its id, None if there is none: soon if it is one of the latest."""

    @abstractmethod
    def latest(self, table: Table) -> Any:
        """Return the place of the execution that started last, None if there is none."""

    @abstractmethod
    def reading(self) -> Callable[[], Run]:
        """Take what is needed for a run, and return what makes it, though others fold meanwhile."""

    @abstractmethod
    def run(self) -> Run:
        """Return a copy of everything, quickly."""

    @abstractmethod
    def measured(self) -> Measured:
        """Return what numbers are computed from."""

    def _step(self, now_ns: int, wall_ns: int) -> int:
        """Have later texts tell that the wall clock was set, or that the machine slept, and return by how much."""
        since_ns = max([now_ns // 1000 * 1000, *(since_ns for since_ns, _ in self.clock.steps[-1:])])
        step_ns = (wall_ns - now_ns) // 1000 * 1000  # whole microseconds, as the texts have
        self.clock = ClockFace(self.clock.tz, (*self.clock.steps, (since_ns, step_ns)))
        return step_ns

    def check(self) -> None:
        """Assert the invariants of the state between two folds."""
        assert self.entry is None
        assert not self.is_over
        for table in self.tables.values():
            table.check()
