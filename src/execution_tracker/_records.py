"""Rows to records, in dicts of their own, and what the texts in them do not tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

from execution_tracker._run import (
    AT_NS,
    EVENT_ID,
    EVENT_RECORD,
    EVENT_WIDTH,
    EXECUTION_ID,
    RECORD,
    START_NS,
    WIDTH,
    Record,
    Run,
    emitted_ids,
)
from execution_tracker.plain import are_all
from execution_tracker.timestamps import SECOND_NS, later_text

if TYPE_CHECKING:
    from execution_tracker.timestamps import ClockFace, Offsets

# The last keys of a record that ended, in their order.
AFTER_END = "end_time", "result", "error", "execution_time", "execution_id", "parent_id", "caused_by", "worker"


def execution_record(routine_id: Any, row: Sequence[Any], clock: ClockFace) -> Record:
    """Return the record of an execution, in a dict of its own."""
    start_ns, execution_id, parent_id, caused_by, worker, params, status, elapsed_ns, result, error, outside = row
    if outside is not None:
        record = {**outside}
        for key, link in (("parent_id", parent_id), ("caused_by", caused_by)):
            if link is None and key in record:  # it was no link
                del record[key]
        return add_facts(record, execution_id, parent_id, caused_by, worker)
    record = {
        "routine_id": routine_id,
        "start_time": clock.text(start_ns),
        "params": {} if params is None else params,
        "status": status,
    }
    if elapsed_ns is not None:
        record["end_time"] = clock.text_after(start_ns, elapsed_ns)
        if result is not None:
            record["result"] = result
        if error is not None:
            record["error"] = error
        record["execution_time"] = elapsed_ns / SECOND_NS
    return add_facts(record, execution_id, parent_id, caused_by, worker)


def add_facts(record: Record, execution_id: int, parent_id: Any, caused_by: Any, worker: Any) -> Record:
    """Put what is known of an execution at the end of its record."""
    record["execution_id"] = execution_id
    if parent_id is not None:
        record["parent_id"] = parent_id
    if caused_by is not None:
        record["caused_by"] = [*emitted_ids(caused_by)]
    if worker is not None:
        record["worker"] = worker
    return record


def event_record(row: Sequence[Any], clock: ClockFace) -> Record:
    """Return the record of an event, in a dict of its own."""
    at_ns, source, name, target, data, event_id, emitter, outside = row
    if outside is not None:
        record = {**outside, "event_id": event_id}
        record.pop("execution_id", None)
        return record if emitter is None else {**record, "execution_id": emitter}
    record = {
        "timestamp": clock.text(at_ns),
        "source_routine_id": source,
        "event_name": name,
        "target_routine_id": target,
        "data": {} if data is None else data,
        "event_id": event_id,
    }
    if emitter is not None:
        record["execution_id"] = emitter
    return record


def rows_in(rows: list[Any], width: int = WIDTH) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a flat list, one after the other."""
    return zip(*[iter(rows)] * width, strict=True)


def end_changes(
    record: Record,
    start_ns: int | None,
    elapsed_ns: int | None,
    now_ns: int,
    clock: ClockFace,
    is_own: bool,
    status: Any,
    result: Any,
    error: Any,
) -> Record:
    """Return what an end changes in a record, and those keys that come after, in their order.

    Args:
        record: The record.
        start_ns: When it started, None if that cannot be read.
        elapsed_ns: How long it took, None if that is not known.
        now_ns: When it ended.
        clock: Writes the end.
        is_own: Whether its start was recorded here.
        status: Its status from now on.
        result: Its result, None for the one that it has.
        error: Its error, None for the one that it has.
    """
    if start_ns is None or elapsed_ns is None:  # edited by hand: it is known when it ended, but not how long it took
        end_time = clock.text(now_ns)
    else:
        # A record from elsewhere gets an end in the form that its start has.
        text = None if is_own else later_text(record.get("start_time"), elapsed_ns)
        end_time = text or clock.text_after(start_ns, elapsed_ns)
    known = {key: record[key] for key in AFTER_END if key in record}
    changes = {"status": status, "end_time": end_time, "result": result, "error": error}
    if elapsed_ns is not None:
        changes["execution_time"] = elapsed_ns / SECOND_NS
    known |= {key: value for key, value in changes.items() if value is not None}
    return {"status": status} | {key: known[key] for key in AFTER_END if key in known}


# --- what the texts do not tell ---


def offsets_of(run: Run) -> tuple[Offsets, Offsets]:
    """Return by how much the texts of all records of a run are ahead of its clock."""
    executions, events = run.offsets[0].copy(), run.offsets[1].copy()
    tables = [[routine.rows[column::WIDTH] for column in _OF_EXECUTIONS] for routine in run.routines.values()]
    _note(tables, executions, run.clock)
    _note([[run.events[column::EVENT_WIDTH] for column in _OF_EVENTS]], events, run.clock)
    return executions, events


_OF_EXECUTIONS, _OF_EVENTS = (EXECUTION_ID, START_NS, RECORD), (EVENT_ID, AT_NS, EVENT_RECORD)


def _note(tables: list[list[list[Any]]], offsets: Offsets, clock: ClockFace) -> None:
    """Remember the offsets of what was recorded here, given the ids, times and records of outside."""
    numbers: list[int] = []
    times: list[int] = []
    for ids, at_ns, outside in tables:
        if are_all(type(None), outside):
            numbers += ids
            times += at_ns
        else:
            is_own = [record is None for record in outside]
            numbers += compress(ids, is_own)
            times += compress(at_ns, is_own)
    if not numbers:
        return
    is_aware = clock.tz is not None
    only_ns = clock.only_offset(min(times), max(times))
    if only_ns is not None and all(offset_ns == only_ns for _, offset_ns in offsets.pairs(is_aware)):
        offsets.note(min(numbers), only_ns, is_aware)
    else:
        for number, time_ns in sorted(zip(numbers, times, strict=True)):
            offsets.note(number, clock.offset_at(time_ns) if only_ns is None else only_ns, is_aware)
