"""The fold while nobody holds the records: entries of the log become rows.

Its rows have the readings of the monotonic clock as they are in the log: another number for each would cost as much as
all that is done with it. What leaves this module counts from the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from execution_tracker._folding import EVENT, START, Fold
from execution_tracker._pairing import Table, closed_by, emitter_among
from execution_tracker._reading import causes_of, parent_of
from execution_tracker._records import AFTER_END, end_changes
from execution_tracker._retention import parted, span_of, totals_of, wider
from execution_tracker._run import (
    AT_NS,
    ELAPSED_NS,
    ERROR,
    EVENT_WIDTH,
    EXECUTION_ID,
    PARENT_ID,
    RECORD,
    RESULT,
    RUNNING,
    START_NS,
    STATUS,
    WIDTH,
    Record,
    Routine,
    Run,
    hashable,
)
from execution_tracker.timestamps import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from execution_tracker._metrics import Numbers
    from execution_tracker._reading import Ids

_SLACK = 64  # rows that may be too many until somebody reads


class RowFold(Fold):
    """The fold while nobody holds the records: it writes rows."""

    numbers: Numbers | None = None  # those that were computed; None also while they are computed
    _nested_most = _SLACK

    def _fold_each(self, entries: Iterator[tuple[Any, ...]]) -> None:
        tables, events, (issued, issued_to_events) = self.tables, self.events, self.issued
        ahead_ns = self.anchor_ns + self.clock.step_ns
        # No return instead: in CPython 3.10 the jump over it would let signal handlers in.
        entries = entries if not self.is_over else iter(())
        for self.entry in entries:
            kind, routine_id, payload, execution_id, owner, mono_ns, sixth, seventh, eighth, wall_ns = self.entry
            if type(routine_id) is not str:
                routine_id = hashable(routine_id)
            table = tables.get(routine_id)
            if kind is EVENT:
                if execution_id is not None:
                    emitter = execution_id if type(execution_id) is int and 0 < execution_id < issued else None
                else:
                    emitter = emitter_among(table, owner) if table is not None and table.open else None
                if type(seventh) is not str:
                    seventh = hashable(seventh)
                row: tuple[Any, ...] = mono_ns, routine_id, sixth, seventh, payload, eighth, emitter, None
                if self.entry is not None:
                    # commit
                    events += row
                    self.entry = None
            elif kind is START:
                if table is None:
                    table = tables[routine_id] = Table(routine_id)
                if wall_ns is not None and not -SECOND_NS < wall_ns - mono_ns - ahead_ns < SECOND_NS:
                    ahead_ns = self.anchor_ns + self._step(mono_ns + self.anchor_ns, wall_ns)
                if sixth is not None:
                    sixth = parent_of(sixth, execution_id)
                if seventh is not None:
                    seventh = causes_of(seventh, issued_to_events)
                rows, open_, by_owner, worker = table.rows, table.open, table.by_owner, eighth.name
                opened = len(rows), owner, mono_ns, sixth
                row = mono_ns, execution_id, sixth, seventh, worker, payload, RUNNING, None, None, None, None
                if by_owner is not None:
                    table.by_owner = None  # made again if what follows is interrupted
                if self.entry is not None:
                    # commit
                    rows += row
                    open_[execution_id] = opened
                    self.entry = None
                    if by_owner is not None:
                        table.opened(execution_id, by_owner)
            elif table is not None and type(execution_id) is int and execution_id in table.open:
                self._close(table, execution_id, mono_ns, kind, payload, sixth)
            else:
                found = closed_by(self, execution_id, table, owner, issued)
                if found is None:
                    if self.entry is not None:
                        # commit
                        self.unmatched_ends += 1
                        self.entry = None
                elif found.is_open:
                    self._close(found.table, found.execution_id, mono_ns, kind, payload, sixth)
                else:
                    self._update(found.table, found.place, mono_ns, kind, payload, sixth)

    def _close(self, table: Table, execution_id: int, mono_ns: int, status: Any, result: Any, error: Any) -> None:
        """End an open execution."""
        rows, open_, by_owner = table.rows, table.open, table.by_owner
        place, owner, start_ns, parent_id = open_[execution_id]
        if type(status) is not str:
            status = hashable(status)
        if owner is None or parent_id is not None or by_owner is not None or self.max_records is not None:
            self._close_with_care(table, execution_id, mono_ns, status, result, error)
            return
        elapsed_ns = mono_ns - start_ns if mono_ns > start_ns else 1  # type: ignore[operator]  # it was recorded here
        cut = slice(place + STATUS, place + RECORD)
        ended = status, elapsed_ns, result, error
        if self.entry is not None:
            # commit
            rows[cut] = ended
            del open_[execution_id]
            self.entry = None

    def _close_with_care(
        self, table: Table, execution_id: int, mono_ns: int, status: Any, result: Any, error: Any
    ) -> None:
        """End an open execution that came from outside, or ran inside another, or is kept in more than one place."""
        rows, open_, by_owner, nested_ns = table.rows, table.open, table.by_owner, self.nested_ns
        place, owner, start_ns, parent_id = open_[execution_id]
        elapsed_ns = None if start_ns is None else max(mono_ns - start_ns, 1)
        outside = rows[place + RECORD]
        if outside is not None:
            outside = self._ended_outside(outside, start_ns, elapsed_ns, mono_ns, status, result, error)
            result, error = outside.get("result"), outside.get("error")
        ended = status, elapsed_ns, result, error, outside
        cut = slice(place + STATUS, place + WIDTH)
        before = rows[cut]  # else what is replaced would be freed in the middle of the commit
        if parent_id is None:
            parent_id, nested_ns, nested_time_ns = 0, {}, 0
        else:
            nested_time_ns = nested_ns.get(parent_id, 0) + (elapsed_ns or 0)
        if self.max_records is not None:
            self.grown[table.routine_id] = table
        table.by_owner = None  # made again if what follows is interrupted
        if self.entry is not None:
            # commit
            rows[cut] = ended
            nested_ns[parent_id] = nested_time_ns
            del open_[execution_id]
            self.entry = None
            if by_owner is not None:
                table.closed(execution_id, owner, by_owner)
        del before

    def _update(self, table: Table, place: int, mono_ns: int, status: Any, result: Any, error: Any) -> None:
        """End an execution that had ended before."""
        rows, nested_ns = table.rows, self.nested_ns
        start_ns, parent_id = rows[place + START_NS], rows[place + PARENT_ID]
        status = hashable(status)
        # Its start as the record tells it: the monotonic one counts for the first end only.
        if start_ns is not None:
            start_ns -= (start_ns + self.anchor_ns) % 1000
        elapsed_ns = None if start_ns is None else max(mono_ns - start_ns, 1)
        outside = rows[place + RECORD]
        if outside is not None:
            outside = self._ended_outside(outside, start_ns, elapsed_ns, mono_ns, status, result, error)
        ended = (
            status,
            elapsed_ns,
            rows[place + RESULT] if result is None else result,
            rows[place + ERROR] if error is None else error,
            outside,
        )
        cut = slice(place + STATUS, place + WIDTH)
        if parent_id is None:
            parent_id, nested_ns, nested_time_ns = 0, {}, 0
        else:
            before_ns = rows[place + ELAPSED_NS]
            nested_time_ns = nested_ns.get(parent_id, 0) + (elapsed_ns or 0) - (before_ns or 0)
        before = rows[place : place + WIDTH]  # else what is replaced would be freed in the middle of the commit
        if self.entry is not None:
            # commit
            table.revision += 1
            rows[place + START_NS] = start_ns
            rows[cut] = ended
            nested_ns[parent_id] = nested_time_ns
            self.entry = None
        del before

    def _ended_outside(
        self, record: Record, start_ns: int | None, elapsed_ns: int | None, mono_ns: int, *outcome: Any
    ) -> Record:
        """Return the record of an execution from outside with its end."""
        if start_ns is not None:
            start_ns += self.anchor_ns
        changes = end_changes(record, start_ns, elapsed_ns, mono_ns + self.anchor_ns, self.clock, False, *outcome)
        return {key: value for key, value in record.items() if key not in AFTER_END} | changes

    def find(self, table: Table, execution_id: int) -> int | None:
        rows, end, size = table.rows, len(table.rows), 64 * WIDTH
        while end:
            begin = max(end - size, 0)
            ids = rows[begin + EXECUTION_ID : end : WIDTH]
            if execution_id in ids:
                return begin + ids.index(execution_id) * WIDTH
            end, size = begin, size * 8
        return None

    def latest(self, table: Table) -> int | None:
        return len(table.rows) - WIDTH if table.rows else None

    def _drop(self, max_records: int, is_read: bool) -> None:
        """Drop the executions that ended first of routines that have too many, and the oldest events.

        While nobody reads there may be twice as many, so that each is not looked at again and again.
        """
        most = max_records if is_read else 2 * max_records + _SLACK
        for routine_id, table in [*self.grown.items()]:
            count = len(table.rows) // WIDTH - len(table.open)
            if count > most:
                self._drop_of(table, count - max_records)
            if count <= max_records or is_read:
                self.grown.pop(routine_id, None)
        excess = len(self.events) // EVENT_WIDTH - max_records
        if excess > most - max_records:
            cut = slice(excess * EVENT_WIDTH)
            gone = self.events[cut]
            if not self.is_over:
                # commit
                self.dropped_events += excess
                del self.events[cut]
            del gone
        if len(self.nested_ns) > self._nested_most:
            self._forget()

    def _forget(self) -> None:
        """Forget what ran inside executions that are gone, though it ended after them."""
        ids = {id_ for table in self.tables.copy().values() for id_ in table.rows[EXECUTION_ID::WIDTH]}
        self.nested_ns = {id_: time_ns for id_, time_ns in self.nested_ns.items() if id_ in ids}
        self._nested_most = 2 * len(self.nested_ns) + _SLACK

    def limit(self, max_records: int) -> None:
        """Drop what is too much of executions and events that come from elsewhere."""
        self.grown = dict(self.tables)
        self._drop(max_records, is_read=True)

    def _drop_of(self, table: Table, excess: int) -> None:
        places = {opened[0]: execution_id for execution_id, opened in table.open.items()}
        gone, kept, moved = parted(table.rows, set(places), excess)
        open_ = {id_: (moved[place], *rest) for id_, (place, *rest) in table.open.items()}
        totals = totals_of(gone, self.nested_ns)
        if table.dropped is not None:
            totals = table.dropped + totals
        first_ns, last_ns = span_of(gone)
        span_ns = wider(self.dropped_span_ns, (_moved(first_ns, self.anchor_ns), _moved(last_ns, self.anchor_ns)))
        nested_ns = self.nested_ns
        if nested_ns:
            ids = set(gone[EXECUTION_ID::WIDTH])
            nested_ns = {id_: time_ns for id_, time_ns in nested_ns.items() if id_ not in ids}
        before = table.rows  # else it would be freed in the middle of the commit
        if not self.is_over:
            # commit
            self.nested_ns = nested_ns
            self.dropped_span_ns = span_ns
            table.dropped = totals
            table.rows = kept
            table.open = open_  # type: ignore[assignment]
            table.by_owner = None
            table.revision += 1
        del before

    def reading(self) -> Callable[[], Run]:
        run = self.run()
        return lambda: run

    def measured(self) -> RowFold:
        return self

    @property
    def axis_ns(self) -> int:
        """What the times of the rows are behind the epoch."""
        return self.anchor_ns

    @property
    def routines(self) -> dict[Any, Table]:
        """What numbers are computed from."""
        return self.tables

    @property
    def event_count(self) -> int:
        """How many events are left."""
        return len(self.events) // EVENT_WIDTH

    def run(self) -> Run:
        # dict.copy is atomic, list(….items()) is not: a finalizer may record a new routine in the middle of it.
        tables = self.tables.copy().items()
        return Run(
            {
                id_: Routine(_shifted(table.rows[:], START_NS, WIDTH, self.anchor_ns), table.dropped)
                for id_, table in tables
            },
            _shifted(self.events[:], AT_NS, EVENT_WIDTH, self.anchor_ns),
            self.nested_ns.copy(),
            self.clock.copy(),
            (self.offsets[0].copy(), self.offsets[1].copy()),
            self.dropped_events,
            self.dropped_span_ns,
            self.unmatched_ends,
        )


def _shifted(rows: list[Any], column: int, width: int, by_ns: int) -> list[Any]:
    """Return rows with later times."""
    rows[column::width] = [None if time_ns is None else time_ns + by_ns for time_ns in rows[column::width]]
    return rows


def _moved(time_ns: int | None, by_ns: int) -> int | None:
    return None if time_ns is None else time_ns + by_ns


def fold_of(run: Run, anchor_ns: int, ids: tuple[Ids, Ids], max_records: int | None = None) -> RowFold:
    """Return a fold that goes on with a run of its own; what has not ended is open."""
    fold = RowFold(run.clock, anchor_ns, ids, max_records)
    fold.events = _shifted(run.events, AT_NS, EVENT_WIDTH, -anchor_ns)
    fold.nested_ns, fold.offsets = run.nested_ns, run.offsets
    fold.dropped_events, fold.dropped_span_ns = run.dropped_events, run.dropped_span_ns
    fold.unmatched_ends = run.unmatched_ends
    for routine_id, (rows, dropped, _) in run.routines.items():
        table = fold.tables[routine_id] = Table(routine_id)
        table.rows, table.dropped = _shifted(rows, START_NS, WIDTH, -anchor_ns), dropped
        if None in rows[ELAPSED_NS::WIDTH]:
            for place in range(0, len(rows), WIDTH):
                outside = rows[place + RECORD]
                if rows[place + ELAPSED_NS] is None and (outside is None or "end_time" not in outside):
                    start_ns = rows[place + START_NS]
                    if start_ns is not None:
                        start_ns -= (start_ns + anchor_ns) % 1000  # as its record tells it: the very start is gone
                        rows[place + START_NS] = start_ns
                    table.open[rows[place + EXECUTION_ID]] = place, None, start_ns, rows[place + PARENT_ID]
    if max_records is not None:
        fold.limit(max_records)
    return fold
