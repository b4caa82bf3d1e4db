"""The fold once somebody holds the records: it keeps the dicts and lists up to date, whatever is done to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execution_tracker._folding import EVENT, START, Fold
from execution_tracker._metrics import Measurement
from execution_tracker._pairing import Table, closed_by, emitter_among
from execution_tracker._reading import (
    Columns,
    Ids,
    Known,
    causes_of,
    columns_for_numbers,
    give_ids,
    nested_times,
    parent_of,
    rows_of,
)
from execution_tracker._records import (
    AFTER_END,
    end_changes,
    event_record,
    execution_record,
    offsets_of,
    rows_in,
)
from execution_tracker._retention import span_of, totals_of, wider
from execution_tracker._run import (
    ELAPSED_NS,
    EVENT_WIDTH,
    RUNNING,
    START_NS,
    WIDTH,
    Record,
    Routine,
    Run,
    hashable,
)
from execution_tracker.plain import are_all
from execution_tracker.timestamps import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class LiveFold(Fold):
    """The fold while the records may be in somebody's hands.

    The place of an open execution is its record. The rows of a table are its ended records, the first end first, where
    ``max_records`` bounds them.
    """

    is_live = True

    def __init__(self, before: Fold, executions: dict[Any, list[Record]], events: list[Record]) -> None:
        super().__init__(before.clock, before.anchor_ns, before.ids, before.max_records)
        self.unmatched_ends = before.unmatched_ends
        self.dropped_events, self.dropped_span_ns = before.dropped_events, before.dropped_span_ns
        self.executions = executions
        self.events = events
        self._known: Known = {}  # what was read of the times

    def _fold_each(self, entries: Iterator[tuple[Any, ...]]) -> None:
        # No return instead: in CPython 3.10 the jump over it would let signal handlers in.
        entries = entries if not self.is_over else iter(())
        for self.entry in entries:
            entry = self.entry
            kind, routine_id, *_ = entry
            routine_id = hashable(routine_id)
            table = self.tables.get(routine_id)
            if table is None:
                table = self.tables[routine_id] = Table(routine_id)
            if kind is EVENT:
                self._fold_event(table, entry)
            elif kind is START:
                self._fold_start(table, entry)
            else:
                self._fold_end(table, entry)

    def _fold_event(self, table: Table, entry: tuple[Any, ...]) -> None:
        _, _, data, emitter, owner, mono_ns, name, target, event_id, _ = entry
        if emitter is None:
            emitter = emitter_among(table, owner)
        elif type(emitter) is not int or not 0 < emitter < self.issued[0]:
            emitter = None
        now_ns = mono_ns + self.anchor_ns
        row = now_ns, table.routine_id, name, hashable(target), data, event_id, emitter, None
        record = event_record(row, self.clock)
        self.offsets[1].note(event_id, self.clock.written_offset(now_ns), self.clock.tz is not None)
        events, added = self.events, (record,)
        if self.entry is not None:
            # commit
            events += added
            self.entry = None

    def _fold_start(self, table: Table, entry: tuple[Any, ...]) -> None:
        _, _, params, execution_id, owner, mono_ns, parent_id, caused_by, thread, wall_ns = entry
        now_ns = mono_ns + self.anchor_ns
        if wall_ns is not None and not -SECOND_NS < wall_ns - now_ns - self.clock.step_ns < SECOND_NS:
            self._step(now_ns, wall_ns)
        parent_id = parent_of(parent_id, execution_id)
        causes = causes_of(caused_by, self.issued[1])
        row = now_ns, execution_id, parent_id, causes, thread.name, params, RUNNING, None, None, None, None
        record = execution_record(table.routine_id, row, self.clock)
        self.offsets[0].note(execution_id, self.clock.written_offset(now_ns), self.clock.tz is not None)
        records = self.executions.setdefault(table.routine_id, [])
        if not isinstance(records, list):  # broken by hand
            records = self.executions[table.routine_id] = []
        opened = record, owner, now_ns, parent_id
        open_, by_owner, added = table.open, table.by_owner, (record,)
        table.by_owner = None  # made again if what follows is interrupted
        if self.entry is not None:
            # commit
            records += added
            open_[execution_id] = opened
            self.entry = None
            if by_owner is not None:
                table.opened(execution_id, by_owner)

    def _fold_end(self, table: Table, entry: tuple[Any, ...]) -> None:
        status, _, result, error, *_ = (entry[0], entry[1], entry[2], entry[6])
        given_id, owner, now_ns = entry[3], entry[4], entry[5] + self.anchor_ns
        found = closed_by(self, given_id, table, owner, self.issued[0])
        if found is None:
            if self.entry is not None:
                # commit
                self.unmatched_ends += 1
                self.entry = None
            return
        table, record, nested_ns = found.table, found.place, self.nested_ns
        open_, by_owner = table.open, table.by_owner
        if found.is_open:
            _, owner, start_ns, parent_id = open_[found.execution_id]
        else:
            start_ns, parent_id, open_ = self._start_of(record), record.get("parent_id"), {found.execution_id: None}  # type: ignore[dict-item]
        elapsed_ns = None if start_ns is None else max(now_ns - start_ns, 1)
        is_own = found.is_open and owner is not None
        changes = end_changes(record, start_ns, elapsed_ns, now_ns, self.clock, is_own, hashable(status), result, error)
        # The keys keep their order. A key that is not there is taken out of a dict of its own.
        holders = [record if key in record else {key: None} for key in AFTER_END]
        end_time_in, result_in, error_in, time_in, id_in, parent_in, causes_in, worker_in = holders
        if type(parent_id) is int:
            before = record.get("execution_time") if not found.is_open else None
            nested_time_ns = nested_ns.get(parent_id, 0) + (elapsed_ns or 0) - _whole_ns(before)
        else:
            parent_id, nested_ns, nested_time_ns = 0, {}, 0
        ended: list[Any] = []
        if self.max_records is not None:
            self.grown[table.routine_id] = table
            if is_own:
                ended = table.rows
            else:
                table.rows = []  # made again in the order of the ends
        before, added = record.copy(), (record,)  # else what is replaced would be freed in the middle of the commit
        table.by_owner = None  # made again if what follows is interrupted
        if self.entry is not None:
            # commit
            del end_time_in["end_time"]
            del result_in["result"]
            del error_in["error"]
            del time_in["execution_time"]
            del id_in["execution_id"]
            del parent_in["parent_id"]
            del causes_in["caused_by"]
            del worker_in["worker"]
            record |= changes
            ended += added
            nested_ns[parent_id] = nested_time_ns
            del open_[found.execution_id]
            self.entry = None
            if by_owner is not None and found.is_open:
                table.closed(found.execution_id, owner, by_owner)
        del before

    def _start_of(self, record: Record) -> int | None:
        rows, _ = rows_of({None: Columns([record])}, Columns([]), self.offsets, self._spare_ids())
        start_ns: int | None = rows[None][START_NS]
        return None if start_ns is None else start_ns // 1000 * 1000

    def _spare_ids(self) -> tuple[Ids, Ids]:
        return Ids(self.ids[0].issued), Ids(self.ids[1].issued)

    def find(self, table: Table, execution_id: int) -> Record | None:
        for record in reversed(self._records(table.routine_id)):
            known = record.get("execution_id")
            if type(known) is int and known == execution_id:
                return record
        return None

    def latest(self, table: Table) -> Record | None:
        records = self.executions.get(table.routine_id)
        if isinstance(records, list) and records and isinstance(records[-1], dict):
            return records[-1]
        return None

    def _records(self, routine_id: Any) -> list[Record]:
        records = self.executions.get(routine_id)
        return dicts_in(records) if isinstance(records, list) else []

    # --- what is too much ---

    def _drop(self, max_records: int, is_read: bool) -> None:
        """Drop the executions that ended first of routines that have too many, and the oldest events."""
        for routine_id, table in [*self.grown.items()]:
            records = self.executions.get(routine_id)
            if isinstance(records, list):
                # What ran elsewhere may have ended long ago; and others may have changed the list.
                if len(records) != len(table.rows) + len(table.open):
                    table.rows = self._ended(records)
                    self._forget()
                for record in table.rows[: max(len(table.rows) - max_records, 0)]:
                    self._drop_record(table, records, record)
            self.grown.pop(routine_id, None)
        excess = len(self.events) - max_records
        if excess > 0:
            cut = slice(excess)
            gone = self.events[cut]
            if not self.is_over:
                # commit
                self.dropped_events += excess
                del self.events[cut]
            del gone

    def _drop_record(self, table: Table, records: list[Record], record: Record) -> None:
        rows, _ = rows_of({None: Columns([record])}, Columns([]), self.offsets, self._spare_ids())
        totals = totals_of(rows[None], self.nested_ns)
        if table.dropped is not None:
            totals = table.dropped + totals
        span_ns = wider(self.dropped_span_ns, span_of(rows[None]))
        index = next((index for index, each in enumerate(records) if each is record), None)
        if index is None:  # somebody has just put another one in its place
            table.rows = [each for each in table.rows if each is not record]
            return
        cut = slice(index, index + 1)
        ended, first = table.rows, slice(1)
        if not self.is_over:
            # commit
            self.dropped_span_ns = span_ns
            table.dropped = totals
            del records[cut]
            del ended[first]
        self.nested_ns.pop(record.get("execution_id"), None)  # type: ignore[arg-type]

    def _ended(self, records: list[Record]) -> list[Any]:
        """Return the records of ended executions, the first end first."""
        known = [record for record in dicts_in(records) if "end_time" in record]
        rows, _ = rows_of({None: Columns(known)}, Columns([]), self.offsets, self._spare_ids())
        ends = [(row[START_NS] or 0) + (row[ELAPSED_NS] or 0) for row in rows_in(rows[None])]
        return [known[index] for index in sorted(range(len(known)), key=ends.__getitem__)]

    def _forget(self) -> None:
        """Forget what ran inside executions that are in no list any more."""
        if self.nested_ns:
            ids = {
                record.get("execution_id")
                for routine_id in self.executions.copy()
                for record in self._records(routine_id)
            }
            self.nested_ns = {id_: time_ns for id_, time_ns in self.nested_ns.items() if id_ in ids}

    # --- what readers see ---

    def run(self) -> Run:
        return self.reading()()

    def measured(self) -> Measurement:
        return self.measuring()()

    def measuring(self) -> Callable[[], Measurement]:
        """Return what gives all that numbers are computed from, as :meth:`reading` does."""
        event_count, reading = len(self.events), self.reading(numbers_only=True)

        def measured() -> Measurement:
            run = reading()
            dropped = run.dropped_events, run.dropped_span_ns
            return Measurement(run.routines, event_count, run.nested_ns, *dropped, run.unmatched_ends)

        return measured

    def reading(self, numbers_only: bool = False) -> Callable[[], Run]:
        """Copy the records, and return what reads the copies: a recorder need not wait for that."""
        taken = columns_for_numbers if numbers_only else _columns_of_copies
        executions = {
            routine_id: taken(dicts_in(records[:]))
            for routine_id, records in self.executions.copy().items()
            if isinstance(records, list)
        }
        events = taken([] if numbers_only else dicts_in(self.events[:]))
        dropped = {id_: table.dropped for id_, table in self.tables.copy().items() if table.dropped is not None}
        nested_ns = None if self.max_records is None else self.nested_ns.copy()
        offsets, clock = (self.offsets[0].copy(), self.offsets[1].copy()), self.clock.copy()
        counts = self.dropped_events, self.dropped_span_ns, self.unmatched_ends

        def run() -> Run:
            known, self._known = self._known, {}  # if this is interrupted, it is read again
            rows, event_rows = rows_of(executions, events, offsets, self._spare_ids(), known, numbers_only)
            self._known = {routine_id: known[routine_id] for routine_id in rows}
            routines = {id_: Routine(rows.get(id_, []), dropped.get(id_)) for id_ in {**rows, **dropped}}
            nested = nested_times(rows.values()) if nested_ns is None else nested_ns
            return Run(routines, event_rows, nested, clock, offsets, *counts)

        return run


def _columns_of_copies(records: list[Record]) -> Columns:
    return Columns([*map(dict.copy, records)])


def live(before: Fold) -> LiveFold:
    """Return a fold that has records in the place of the rows of another."""
    run = before.run()
    records: dict[Any, list[Record]] = {}
    tables: dict[Any, Table] = {}
    for routine_id, table in before.tables.copy().items():
        of_routine = [execution_record(routine_id, row, before.clock) for row in rows_in(run.routines[routine_id].rows)]
        tables[routine_id] = copy = Table(routine_id)
        copy.dropped = table.dropped
        copy.open = {
            execution_id: (
                of_routine[place // WIDTH],
                owner,
                None if start_ns is None else start_ns + before.anchor_ns,
                parent_id,
            )
            for execution_id, (place, owner, start_ns, parent_id) in table.open.items()
        }
        records[routine_id] = of_routine
    events = [event_record(row, before.clock) for row in rows_in(run.events, EVENT_WIDTH)]
    fold = LiveFold(before, records, events)
    fold.tables = tables
    fold.nested_ns = before.nested_ns.copy()
    fold.offsets = offsets_of(run)
    fold.grown = {routine_id: tables[routine_id] for routine_id in before.grown.copy() if routine_id in tables}
    return fold


def holding(before: LiveFold, executions: dict[Any, list[Record]] | None, events: list[Record] | None) -> LiveFold:
    """Return a fold that holds other containers; None keeps those of the fold before.

    A record that is known there keeps its id and its start. One that never ended is open.
    """
    fold = LiveFold(before, before.executions, before.events)
    # Copies, since the fold before may still be in the middle of an entry.
    fold.tables = {routine_id: table.copy() for routine_id, table in before.tables.copy().items()}
    fold.grown = {routine_id: fold.tables[routine_id] for routine_id in before.grown.copy()}
    fold.offsets = before.offsets[0].copy(), before.offsets[1].copy()
    fold.nested_ns = before.nested_ns.copy()
    if events is not None:
        fold.events = events
        give_ids(dicts_in(events[:]), "event_id", before.ids[1])
    if executions is not None:
        fold.executions = executions
        # Copies, since others may record by hand into containers that they hold.
        lists = {
            key: dicts_in(records[:]) for key, records in dict.copy(executions).items() if isinstance(records, list)
        }
        give_ids([record for records in lists.values() for record in records], "execution_id", before.ids[0])
        fold.tables = {}
        known = {id(opened[0]): opened for table in before.tables.values() for opened in table.open.values()}
        for routine_id, table in before.tables.items():
            if table.dropped is not None:
                fold.tables[routine_id] = Table(routine_id)
                fold.tables[routine_id].dropped = table.dropped
        for routine_id, record in _open_records(lists):
            opened = known.get(id(record)) or (record, None, fold._start_of(record), record.get("parent_id"))
            if routine_id not in fold.tables:
                fold.tables[routine_id] = Table(routine_id)
            fold.tables[routine_id].open[record["execution_id"]] = opened
        fold.grown = dict(fold.tables)
        for routine_id in lists:
            fold.grown.setdefault(routine_id, fold.tables.setdefault(routine_id, Table(routine_id)))
    return fold


def _open_records(lists: dict[Any, list[Record]]) -> Iterator[tuple[Any, Record]]:
    seen: set[int] = set()
    for routine_id, records in lists.items():
        for record in records:
            if "end_time" not in record and id(record) not in seen:  # one that stands in two places is open once
                seen.add(id(record))
                yield routine_id, record


def dicts_in(records: list[Any]) -> list[Record]:
    """Return those of a list that are dicts, as records are."""
    return records if are_all(dict, records) else [record for record in records if isinstance(record, dict)]


def _whole_ns(seconds: Any) -> int:
    return round(seconds * SECOND_NS) if type(seconds) is float and abs(seconds) < 1e11 else 0
