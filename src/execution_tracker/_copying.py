"""Runs that go to another tracker, or to another process."""

from __future__ import annotations

import copy
from io import BytesIO
from typing import TYPE_CHECKING, Any

from execution_tracker._reading import causes_of
from execution_tracker._records import event_record, execution_record, offsets_of, rows_in
from execution_tracker._retention import Totals
from execution_tracker._run import (
    AT_NS,
    CAUSED_BY,
    DATA,
    ELAPSED_NS,
    EMITTER,
    ERROR,
    EVENT_ID,
    EVENT_RECORD,
    EVENT_WIDTH,
    EXECUTION_ID,
    NAME,
    PARAMS,
    PARENT_ID,
    RECORD,
    RESULT,
    SOURCE,
    START_NS,
    STATUS,
    TARGET,
    WIDTH,
    Routine,
    Run,
    emitted_ids,
)
from execution_tracker.descriptions import described
from execution_tracker.payloads import json_safe, unused
from execution_tracker.plain import plain_copy
from execution_tracker.timestamps import Offsets

if TYPE_CHECKING:
    from collections.abc import Callable

_GREAT = 2**52

_PAYLOADS, _EVENT_PAYLOADS = (PARAMS, RESULT, ERROR, RECORD), (DATA, EVENT_RECORD)


def copied_run(run: Run) -> Run:
    """Return a run with records of its own; payloads are shared."""
    return _mapped(run, (RECORD,), (EVENT_RECORD,), lambda record: None if record is None else record.copy())


def deep_copied_run(run: Run, memo: dict[int, Any]) -> Run:
    """Return a run with payloads of its own, a text in the place of one that cannot be copied."""

    def deep_copied(payload: Any) -> Any:
        if id(payload) in memo:
            return memo[id(payload)]
        memo.setdefault(id(memo), [memo])  # where deepcopy keeps alive what it has copied
        before = len(memo)
        try:
            return copy.deepcopy(payload, memo)
        except Exception:
            while len(memo) > before:  # of what is half made
                memo.popitem()
            text = memo[id(payload)] = json_safe(payload)
            return text

    return _mapped(run, _PAYLOADS, _EVENT_PAYLOADS, deep_copied)


def picklable_run(run: Run, stop_at: type) -> Run:
    """Return a run that can be pickled and unpickled, with a text in the place of whatever cannot.

    Args:
        run: The run.
        stop_at: The class of trackers: payloads may lead back to one, which is not tried again.
    """

    import pickle  # here, as most programs never get here

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return "tracker" if isinstance(value, stop_at) else None

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, _: Any) -> Any:
            return None

    def is_picklable(value: Any) -> bool:
        try:
            file = BytesIO()
            Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
            file.seek(0)
            Unpickler(file).load()
        except Exception:
            return False
        return True

    def picklable(payload: Any) -> Any:
        return payload if is_picklable(payload) else json_safe(payload)

    names: dict[Any, Any] = {}  # by id or status, what stands for it: the same everywhere

    def named(value: Any) -> Any:
        kind = type(value)
        if kind is str or kind is int or value is None:
            return value
        if value not in names:
            names[value] = value if is_picklable(value) else unused(described(value), [*run.routines, *names.values()])
        return names[value]

    run = _mapped(run, _PAYLOADS, (*_EVENT_PAYLOADS, NAME), _unless_plain(picklable))
    run = _mapped(run, (STATUS,), (SOURCE, TARGET), named)
    routines = {
        named(routine_id): Routine(rows, _renamed(dropped, named))
        for routine_id, (rows, dropped, _) in run.routines.items()
    }
    return run._replace(routines=routines)


def _renamed(dropped: Totals | None, named: Callable[[Any], Any]) -> Totals | None:
    if dropped is None:
        return None
    counts = {named(status): count for status, count in dropped.status_counts.items()}
    return Totals(counts, dropped.ended, dropped.total_ns, dropped.min_ns, dropped.max_ns, dropped.self_ns)


def _unless_plain(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that leaves plain data as it is."""

    def changed(value: Any) -> Any:
        try:
            plain_copy(value, 3)
        except Exception:  # not as plain as that
            return change(value)
        return value

    return changed


def _mapped(run: Run, of_executions: tuple[int, ...], of_events: tuple[int, ...], change: Callable[[Any], Any]) -> Run:
    """Return a run in whose columns each value was changed."""
    routines = {}
    for routine_id, routine in run.routines.items():
        rows = routine.rows[:]
        _map(rows, of_executions, WIDTH, change)
        routines[routine_id] = Routine(rows, routine.dropped)
    events = run.events[:]
    _map(events, of_events, EVENT_WIDTH, change)
    return run._replace(routines=routines, events=events)


def _map(rows: list[Any], columns: tuple[int, ...], width: int, change: Callable[[Any], Any]) -> None:
    for column in columns:
        values = rows[column::width]
        if any(value is not None for value in values):
            rows[column::width] = map(change, values)


def latest_ns(run: Run) -> int:
    """Return the latest moment of a run, as its records tell it; 0 if it has none."""
    latest: int = 0
    for routine in run.routines.values():
        for start_ns, elapsed_ns in zip(routine.rows[START_NS::WIDTH], routine.rows[ELAPSED_NS::WIDTH], strict=True):
            if start_ns is not None:
                latest = max(latest, start_ns + (elapsed_ns or 0))
    latest = max([latest, *(int(at_ns) for at_ns in run.events[AT_NS::EVENT_WIDTH] if at_ns is not None)])
    return latest - latest % 1000


def moved(run: Run, base: int, event_base: int) -> Run:
    """Return a run as a part of another: ids greater by so much, links included, and records that stay as they are."""
    clock, offsets = run.clock, offsets_of(run)
    step_ns = clock.step_ns  # to a clock that agrees with the wall clock at the end of the run
    if clock.tz is not None or clock.steps:  # others would write other texts
        for routine_id, routine in run.routines.items():
            routine.rows[RECORD::WIDTH] = [execution_record(routine_id, row, clock) for row in rows_in(routine.rows)]
        run.events[EVENT_RECORD::EVENT_WIDTH] = [event_record(row, clock) for row in rows_in(run.events, EVENT_WIDTH)]
    for routine in run.routines.values():
        _move(routine.rows, EXECUTION_ID, WIDTH, base)
        _move(routine.rows, PARENT_ID, WIDTH, base)
        _move(routine.rows, CAUSED_BY, WIDTH, event_base)
        _move(routine.rows, START_NS, WIDTH, step_ns)
    _move(run.events, EVENT_ID, EVENT_WIDTH, event_base)
    _move(run.events, EMITTER, EVENT_WIDTH, base)
    _move(run.events, AT_NS, EVENT_WIDTH, step_ns)
    executions, events = (
        Offsets(
            *(
                [(number + first, ns if ns is None else ns - step_ns) for number, ns in each.pairs(kind)]
                for kind in (False, True)
            )
        )
        for each, first in zip(offsets, (base, event_base), strict=True)
    )
    first_ns, last_ns = (None if at_ns is None else at_ns + step_ns for at_ns in run.dropped_span_ns)
    return run._replace(
        nested_ns={execution_id + base: time_ns for execution_id, time_ns in run.nested_ns.items()},
        offsets=(executions, events),
        dropped_span_ns=(first_ns, last_ns),
    )


def _move(rows: list[Any], column: int, width: int, base: int) -> None:
    if base:
        rows[column::width] = [
            None if ids is None else ids + base if type(ids) is int else tuple(each + base for each in ids)
            for ids in rows[column::width]
        ]


def greatest_ids(run: Run, before: tuple[int, int]) -> tuple[int, int]:
    executions, events = [before[0], *run.nested_ns], [before[1], *run.events[EVENT_ID::EVENT_WIDTH]]
    executions += filter(None, run.events[EMITTER::EVENT_WIDTH])
    for routine in run.routines.values():
        executions += routine.rows[EXECUTION_ID::WIDTH]
        executions += filter(None, routine.rows[PARENT_ID::WIDTH])
        events += (event_id for causes in routine.rows[CAUSED_BY::WIDTH] for event_id in emitted_ids(causes))
    return max(executions), max(events)


def with_small_ids(run: Run) -> Run:
    """Return a run whose ids leave room for more: numbered anew by their order if one is very great."""
    if max(greatest_ids(run, (0, 0))) < _GREAT:
        return run
    executions = {
        number: rank
        for rank, number in enumerate(
            sorted(number for routine in run.routines.values() for number in routine.rows[EXECUTION_ID::WIDTH]), start=1
        )
    }
    events = {number: rank for rank, number in enumerate(sorted(run.events[EVENT_ID::EVENT_WIDTH]), start=1)}
    for routine in run.routines.values():
        rows = routine.rows
        rows[EXECUTION_ID::WIDTH] = map(executions.get, rows[EXECUTION_ID::WIDTH])
        rows[PARENT_ID::WIDTH] = map(executions.get, rows[PARENT_ID::WIDTH])
        rows[CAUSED_BY::WIDTH] = [
            causes_of(tuple(events.get(number) for number in emitted_ids(causes)), _GREAT)
            for causes in rows[CAUSED_BY::WIDTH]
        ]
    run.events[EMITTER::EVENT_WIDTH] = map(executions.get, run.events[EMITTER::EVENT_WIDTH])
    run.events[EVENT_ID::EVENT_WIDTH] = map(events.get, run.events[EVENT_ID::EVENT_WIDTH])
    offsets = []
    for known, ranks in zip(run.offsets, (executions, events), strict=True):
        offsets.append(Offsets())
        for is_aware in (False, True):
            if known.pairs(is_aware):
                for number, rank in sorted(ranks.items()):
                    offsets[-1].note(rank, known.at(number, is_aware), is_aware)
    nested_ns = {executions[number]: time_ns for number, time_ns in run.nested_ns.items() if number in executions}
    return run._replace(nested_ns=nested_ns, offsets=(offsets[0], offsets[1]))
