"""The fold: log entries become records.

An entry of the log is eight scalars:

====== ============ ======================== ========== ============ ============ ===== ======= =======
call   slot 0       1                        2          3            4            5     6       7
====== ============ ======================== ========== ============ ============ ===== ======= =======
start  ``START``    routine id               params     None         execution id owner wall ns mono ns
end    the status   routine id               result     error        execution id owner wall ns mono ns
event  ``EVENT``    source id                event name target id    data         None  wall ns None
====== ============ ======================== ========== ============ ============ ===== ======= =======

In CPython other threads, signal handlers and forks come in only after a call or a jump, never between two plain
assignments. So the fold decides on an entry with calls, and commits it in a straight line without one: wherever it is
interrupted, each entry has been folded entirely or not at all, and the next fold goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker.pairing import Pairing, Record, hashable
from execution_tracker.retention import Dropped, oldest_ended, routine_with, span_with
from execution_tracker.timestamps import SECOND_NS, ClockFace, to_ns

if TYPE_CHECKING:
    from datetime import tzinfo

START = object()
EVENT = object()
ENTRY_WIDTH = 8

_PRUNE_AT = 10_000

_NOWHERE: Record = {}  # takes the None that is not to be kept: a commit has no condition


class Snapshot(NamedTuple):
    """One moment of a tracker, in containers of its own. The records in them are live, but each changes at once."""

    executions: dict[Any, list[Record]]
    events: list[Record]
    dropped: Dropped
    unmatched_ends: int
    # First start and last end on the wall clock, if it is certain that no two executions were ever open at once.
    sequential_ns: tuple[int, int] | None


class Fold:
    """The records folded so far, and what is needed to fold more. One thread at a time may use it."""

    def __init__(self, tz: tzinfo | None = None, max_records: int | None = None) -> None:
        self.max_records = max_records
        self.dropped = Dropped()
        self._grown: dict[Any, None] = {}  # routines that may have too many records
        self._id_of: dict[int, int] = {}  # by the id() of a record that may be dropped, that of its execution
        self._prune_at = _PRUNE_AT
        self.executions: dict[Any, list[Record]] = {}
        self.events: list[Record] = []
        self.unmatched_ends = 0
        self.pairing = Pairing()
        self.clock = ClockFace(tz)
        self._first_start_ns = self._last_end_ns = 0  # on the wall clock, 0 before there is one
        self._from_outside = False  # whether records were put in that were not recorded here
        self._may_overlap = False  # until two executions are open at once, or records come from outside
        self._entries: Iterator[tuple[Any, ...]] = iter(())
        self._entry: Any = None

    def fold(self, log: list[Any]) -> None:
        """Fold what an interrupted fold left behind, and then every entry that is in the log now, oldest first."""
        self._fold_entries()
        # Once, not until the log is empty: threads that record without a pause would never let the reader go.
        # Not tuple(log): up to Python 3.11 it reads freed memory if a finalizer records while it allocates.
        chunk = log[:]
        entries = zip(*[iter(chunk)] * ENTRY_WIDTH, strict=True)
        taken = slice(len(chunk))  # made here, as making one may wake the garbage collector
        self._entries = iter(())  # frees the old ones, and may run finalizers
        # Nothing may come between these two: else the chunk would be folded twice.
        self._entries = entries
        del log[taken]
        self._fold_entries()
        if self.max_records is not None:
            self._drop(self.max_records)
        if len(self.pairing.ended) >= self._prune_at:
            self._prune()

    def _fold_entries(self) -> None:
        """Fold the entry in hand, if a fold was interrupted, and all that were taken from the log after it."""
        if self._entry is not None:
            entries = chain((self._entry,), self._entries)
            # Nothing may come between these two either.
            self._entries = entries
            self._entry = None
        for self._entry in self._entries:  # noqa: B020 - the entry stays in hand until it is committed
            try:
                kind = self._entry[0]
                if kind is EVENT:
                    self._fold_event(self._entry)
                elif kind is START:
                    self._fold_start(self._entry)
                else:
                    self._fold_end(self._entry)
            except Exception:
                if self._entry is None or not self._refuses(self._entry[1]):
                    raise  # out of a signal handler, or memory ran out: the entry stays in hand
                self._entry = None

    def _refuses(self, routine_id: Any) -> bool:
        """Tell whether an id cannot be compared with others, so that nothing can be recorded under it."""
        try:
            self.executions.get(routine_id)
        except Exception:
            return True
        return False

    def _fold_event(self, entry: tuple[Any, ...]) -> None:
        _, source_routine_id, event_name, target_routine_id, data, _, wall_ns, _ = entry
        record = {
            "timestamp": self.clock.text(wall_ns),
            "source_routine_id": source_routine_id if type(source_routine_id) is str else hashable(source_routine_id),
            "event_name": event_name,
            "target_routine_id": target_routine_id if type(target_routine_id) is str else hashable(target_routine_id),
            "data": {} if data is None else data,
        }
        events = self.events
        # commit
        events += (record,)
        self._entry = None

    def _fold_start(self, entry: tuple[Any, ...]) -> None:
        _, routine_id, params, _, execution_id, owner, wall_ns, mono_ns = entry
        if type(routine_id) is not str:
            routine_id = hashable(routine_id)
        record = {
            "routine_id": routine_id,
            "start_time": self.clock.text(wall_ns),
            "params": {} if params is None else params,
            "status": "running",
        }
        records = self.executions.get(routine_id)
        if not isinstance(records, list):
            records = self.executions[routine_id] = []
        pairing = self.pairing
        open_of_routine = pairing.open_of_routine.get(routine_id)
        if open_of_routine is None:
            open_of_routine = pairing.open_of_routine[routine_id] = {}
        by_owner = pairing.open_of_owner.pop(routine_id, None) if pairing.open_of_owner else None
        opened = record, routine_id, owner, wall_ns, mono_ns
        if pairing.open:
            self._may_overlap = True
        if not self._first_start_ns or wall_ns < self._first_start_ns:
            self._first_start_ns = wall_ns
        # commit
        records += (record,)
        pairing.open[execution_id] = opened
        open_of_routine[execution_id] = opened
        self._entry = None
        if by_owner is not None:
            by_owner.setdefault(id(owner), {})[execution_id] = opened
            pairing.open_of_owner[routine_id] = by_owner

    def _fold_end(self, entry: tuple[Any, ...]) -> None:
        status, routine_id, result, error, given_id, owner, wall_ns, mono_ns = entry
        if type(routine_id) is not str:
            routine_id = hashable(routine_id)
        pairing = self.pairing
        execution_id = pairing.closed_by(given_id, routine_id, owner)
        opened = pairing.open.get(execution_id)
        open_: dict[int, Any]
        open_of_routine: dict[int, Any]
        by_owner = None
        if opened is not None:
            record, routine_id, owner, start_ns, mono_start_ns = opened
            open_, ended = pairing.open, pairing.ended
            # It is not there if the hash of the id has changed meanwhile.
            open_of_routine = pairing.open_of_routine.get(routine_id) or {execution_id: opened}
            if pairing.open_of_owner:
                by_owner = pairing.open_of_owner.pop(routine_id, None)
        else:
            latest = pairing.ended.get(execution_id) if execution_id else self._latest_record(routine_id)
            if latest is None:
                # commit
                self.unmatched_ends += 1
                self._entry = None
                return
            record = latest
            start_ns, mono_start_ns = to_ns(record.get("start_time")), None
            self._may_overlap = True  # it takes longer now than it was known to
            open_, open_of_routine, ended = {execution_id: opened}, {execution_id: opened}, {}  # nothing to close
        if start_ns is None:  # edited by hand: it is known when it ended, but not how long it took
            end_ns = wall_ns
            end_time = self.clock.text(wall_ns)
            execution_time, time_in = None, _NOWHERE
        else:
            elapsed_ns = wall_ns - start_ns if mono_start_ns is None else mono_ns - mono_start_ns
            if elapsed_ns < 1:
                elapsed_ns = 1
            end_ns = start_ns + elapsed_ns
            end_time = self.clock.text_after(start_ns, elapsed_ns)
            execution_time, time_in = elapsed_ns / SECOND_NS, record
        result_in = _NOWHERE if result is None else record
        error_in = _NOWHERE if error is None else record
        if self.max_records is not None:
            self._grown[routine_id] = None
            if execution_id:
                self._id_of[id(record)] = execution_id
        if end_ns > self._last_end_ns:
            self._last_end_ns = end_ns
        # commit
        record["status"] = status
        record["end_time"] = end_time
        result_in["result"] = result
        error_in["error"] = error
        time_in["execution_time"] = execution_time
        ended[execution_id] = record
        del open_[execution_id], open_of_routine[execution_id]
        self._entry = None
        if by_owner is not None and open_of_routine:
            del by_owner[id(owner)][execution_id]
            if not by_owner[id(owner)]:
                del by_owner[id(owner)]
            pairing.open_of_owner[routine_id] = by_owner

    def _latest_record(self, routine_id: Any) -> Record | None:
        """Return the record that an end updates when nothing is open: rule 4, or None for rule 5."""
        records = self.executions.get(routine_id)
        if isinstance(records, list) and records and isinstance(records[-1], dict):
            return records[-1]
        return None

    def _drop(self, max_records: int) -> None:
        """Drop the oldest ended executions of routines that have too many, and the oldest events."""
        dropped = self.dropped
        for routine_id in list(self._grown):
            records = self.executions.get(routine_id)
            if isinstance(records, list):
                excess = len(records) - len(self.pairing.open_of_routine.get(routine_id, ())) - max_records
                if excess > 0:
                    length, ended, still_open = oldest_ended(records, excess)
                    numbers = routine_with(dropped.routines.get(routine_id), ended)
                    first_ns, last_ns = dropped.first_start_ns, dropped.last_end_ns
                    if self._from_outside:  # the span of what was recorded here is known
                        first_ns, last_ns = span_with((first_ns, last_ns), ended)
                    gone_until = max([self.pairing.gone_until, *(self._id_of.get(id(record), 0) for record in ended)])
                    cut = slice(length)
                    # commit
                    dropped.routines[routine_id] = numbers  # first, as it may call an id's __eq__
                    dropped.first_start_ns = first_ns
                    dropped.last_end_ns = last_ns
                    self.pairing.gone_until = gone_until
                    records[cut] = still_open
                    for record in ended:
                        self.pairing.ended.pop(self._id_of.pop(id(record), 0), None)
            del self._grown[routine_id]
        excess = len(self.events) - max_records
        if excess > 0:
            cut = slice(excess)
            # commit
            dropped.events += excess
            del self.events[cut]

    def _prune(self) -> None:
        """Forget the ids of records that are no longer kept: dropped ones, and those that users removed by hand."""
        lists = [records for records in self.executions.copy().values() if isinstance(records, list)]
        kept = {id(record) for records in lists for record in records}
        ended = {execution_id: record for execution_id, record in self.pairing.ended.items() if id(record) in kept}
        self._prune_at = _PRUNE_AT + 4 * len(ended)  # seldom enough to cost next to nothing for each execution
        self.pairing.ended = ended

    def replace(
        self, executions: dict[Any, list[Record]] | None, events: list[Record] | None, next_id: Callable[[], int]
    ) -> None:
        """Hold these containers, which may come from outside, from now on; None keeps what is there."""
        pairing = self.pairing if executions is None else self.pairing.adopt(executions, next_id)
        grown: dict[Any, None] = dict.fromkeys(executions or ())
        if executions is not None and self.dropped.routines:
            self.dropped.widen((self._first_start_ns or None, self._last_end_ns or None))
        # commit
        self.pairing = pairing
        if executions is not None:
            self._may_overlap = self._from_outside = True
            self._first_start_ns = self._last_end_ns = 0
            self.executions = executions
            self._grown = grown
        if events is not None:
            self.events = events

    def expect_overlap(self) -> None:
        """Take it that executions may overlap whose entries in the log do not."""
        self._may_overlap = True

    def snapshot(self) -> Snapshot:
        """Return shallow copies of everything, quickly."""
        dropped = self.dropped.copy()
        if dropped.routines:
            dropped.widen((self._first_start_ns or None, self._last_end_ns or None))
        # dict.copy is atomic, list(….items()) is not: a finalizer may record a new routine in the middle of it.
        return Snapshot(
            {id_: records[:] for id_, records in self.executions.copy().items() if isinstance(records, list)},
            self.events[:],
            dropped,
            self.unmatched_ends,
            None if self._may_overlap else (self._first_start_ns, self._last_end_ns),
        )

    def check(self) -> None:
        """Assert the invariants of the state between two folds."""
        assert self._entry is None
        self.pairing.check()
        identities = {id(record) for records in self.executions.values() for record in records}
        assert all(id(opened[0]) in identities for opened in self.pairing.open.values())
        assert len(self.pairing.ended) < self._prune_at
