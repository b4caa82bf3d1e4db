"""A run as a Chrome trace, which ui.perfetto.dev and chrome://tracing show.

Each routine has its own rows, in which executions that overlap lie below each other. An event is an instant within the
execution that emitted it, and an arrow leads from there to the execution that it fed.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker.analysis import Emission, Execution, Timeline, timeline_of
from execution_tracker.export import filled, text
from execution_tracker.payloads import json_safe
from execution_tracker.persistence import names_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from execution_tracker.tracker import ExecutionTracker

# What happens at one moment comes in this order: a row is free again before the next execution needs it, an arrow
# begins before it ends (viewers lose it otherwise), and an execution holds what belongs to it even if it took no time.
_EMIT, _END, _START, _EMIT_AT_START, _FEED_AT_START, _END_AT_START = range(6)

_PID = 1
_TICK_NS = 1000  # of the clock that tells when executions start and events happen
_CHUNK = 100  # trace events that are encoded at a time

# Perfetto shows "ü" as it is, but "\\u00fc" as these six characters.
_encode = json.JSONEncoder(allow_nan=False, check_circular=False, ensure_ascii=False).encode


def to_chrome_trace(tracker: ExecutionTracker) -> dict[str, Any]:
    """Return a run as a trace in Chrome's format.

    Args:
        tracker: The run.

    Returns:
        A JSON-safe dict. ``traceEvents`` holds in the order of time, in microseconds since the run began:

        - a slice for each execution (``b`` and ``e``), named by its routine. One that failed has the category
          ``execution,failed``, one that still runs ``execution,running`` and no ``e``;
        - an instant for each event (``n``), inside the slice of the execution that emitted it;
        - an arrow from there for each event that fed an execution (``flow_out`` and ``flow_in`` with one ``bind_id``).
          It ends at the slice that it fed; where several do, or one that started at the very moment of its source,
          the others end at an instant of that name in it.

        ``args`` hold status, params, result, error and data, shortened as by :func:`~execution_tracker.snapshot`.
        ``otherData`` tells when the run began (ISO 8601, and nanoseconds since the epoch), and how many records were
        dropped before.

    Records and events without a readable time are left out. 100,000 executions and as many events take a few seconds.

    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.export.chrome_trace import to_chrome_trace
    >>> tracker = ExecutionTracker("nightly")
    >>> _ = tracker.record_routine_start("parse")
    >>> tracker.record_event("parse", "parsed", "count")
    >>> tracker.record_routine_end("parse")
    >>> [(event["ph"], event["name"]) for event in to_chrome_trace(tracker)["traceEvents"]]
    [('M', 'process_name'), ('b', 'parse'), ('n', 'parsed'), ('e', 'parse')]
    """
    trace = _trace(tracker)
    return trace | {"traceEvents": [*trace["traceEvents"]]}


def write_chrome_trace(tracker: ExecutionTracker, path: str | bytes | PathLike[Any]) -> None:
    """Write what :func:`to_chrome_trace` gives to a file.

    Args:
        tracker: The run.
        path: The file. It is compressed if its name ends in ``.gz``; Perfetto reads that, too.

    Raises:
        OSError: The system does not take it.

    Whatever happens meanwhile, the file is the old one or the new one. The trace never is in memory as a whole.

    >>> import os, tempfile
    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.export.chrome_trace import write_chrome_trace
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_chrome_trace(ExecutionTracker("nightly"), os.path.join(folder, "trace.json.gz"))
    ...     os.listdir(folder)
    ['trace.json.gz']
    """
    from execution_tracker import files

    files.write_run(path, _pieces(_trace(tracker)))


def _pieces(trace: dict[str, Any]) -> Iterator[str]:
    events, separator = trace.pop("traceEvents"), ""
    yield '{"traceEvents": ['
    while chunk := [*islice(events, _CHUNK)]:
        yield separator
        yield _encode(chunk)[1:-1]
        separator = ", "
    yield f"], {_encode(trace)[1:]}"


def _trace(tracker: ExecutionTracker) -> dict[str, Any]:
    """Return the trace of a run with an iterator for its events."""
    run, flow_id = tracker._snapshot(), text(tracker.flow_id)
    timeline = timeline_of(run)
    begun = [(execution.start_ns, execution.record.get("start_time")) for execution in timeline.executions[:1]]
    begun += [(emission.at_ns, emission.event.get("timestamp")) for emission in timeline.emissions[:1]]
    begin_ns, begin = min(begun, default=(0, None))
    return {
        "traceEvents": _events(flow_id, names_of(run), timeline, begin_ns),
        "displayTimeUnit": "ms",
        "otherData": {
            "flow_id": flow_id,
            "start_time": begin and text(begin),
            "start_time_ns": begin_ns if begun else None,
            "dropped_executions": run.dropped.executions,
            "dropped_events": run.dropped.events,
        },
    }


def _events(flow_id: str, names: dict[Any, str], timeline: Timeline, begin_ns: int) -> Iterator[dict[str, Any]]:
    """Yield the events of a trace in the order in which a viewer must read them."""
    executions, emissions = timeline
    slices = [_slice(names[execution.routine_id], execution, number) for number, execution in enumerate(executions)]
    instants = [_instant(emission, slices, number) for number, emission in enumerate(emissions, len(slices))]
    steps, led_to = _steps(slices, instants)
    yield {"ph": "M", "pid": _PID, "name": "process_name", "args": {"name": flow_id or "run"}}
    for step_ns, step, index in steps:
        ts = (step_ns - begin_ns) / 1000
        if step == _START:
            args = filled(executions[index].record, "status", "params", "result", "error")
            arrow = _arrow(led_to[index], "flow_in") if index in led_to else {}
            yield {"ph": "b", "ts": ts, **slices[index].face, "args": args, **arrow}
        elif step in (_END, _END_AT_START):
            yield {"ph": "e", "ts": ts, **slices[index].face}
        elif step == _FEED_AT_START:
            fed, name = slices[instants[index].fed or 0], instants[index].face["name"]
            yield {"ph": "n", "ts": ts, **fed.face, "name": name, **_arrow(index, "flow_in")}
        else:
            args = filled(emissions[index].event, "source_routine_id", "target_routine_id", "data")
            arrow = _arrow(index, "flow_out") if instants[index].fed is not None else {}
            yield {"ph": "n", "ts": ts, **instants[index].face, "args": args, **arrow}


class _Slice(NamedTuple):
    """An execution as it is shown."""

    start_ns: int
    end_ns: int | None
    face: dict[str, Any]  # what its trace events have in common


class _Instant(NamedTuple):
    """An event as it is shown."""

    at_ns: int
    step: int
    fed: int | None
    face: dict[str, Any]


def _slice(name: str, execution: Execution, number: int) -> _Slice:
    start_ns, elapsed_ns, face = execution.start_ns, execution.elapsed_ns, _face("execution", name, number)
    if json_safe(execution.record.get("status")) == "failed":
        face |= {"cat": "execution,failed", "cname": "terrible"}
    if elapsed_ns is None:
        return _Slice(start_ns, None, face | {"cat": "execution,running"})
    return _Slice(start_ns, start_ns + elapsed_ns, face)


def _instant(emission: Emission, slices: list[_Slice], number: int) -> _Instant:
    at_ns, name = emission.at_ns, text(emission.event.get("event_name"))
    if emission.source is not None:
        source = slices[emission.source]
        # Start and event are cut to the tick, the end is not: it may seem to be earlier than an event before it.
        if source.end_ns is None or at_ns < source.end_ns + _TICK_NS:
            at_ns = at_ns if source.end_ns is None else min(at_ns, source.end_ns)
            step = _EMIT_AT_START if at_ns == source.start_ns else _EMIT
            return _Instant(at_ns, step, emission.fed, source.face | {"name": name})
    return _Instant(at_ns, _EMIT, emission.fed, _face("event", name, number))


def _face(category: str, name: str, number: int) -> dict[str, Any]:
    return {"cat": category, "name": name, "pid": _PID, "id2": {"local": hex(number + 1)}}


def _steps(slices: list[_Slice], instants: list[_Instant]) -> tuple[list[tuple[int, int, int]], dict[int, int]]:
    """Return (moment, step, number of the slice or instant) in order, and by slice the instant whose arrow it takes."""
    steps: list[tuple[int, int, int]] = []
    led_to: dict[int, int] = {}
    for number, (start_ns, end_ns, _) in enumerate(slices):
        steps.append((start_ns, _START, number))
        if end_ns is not None:
            steps.append((end_ns, _END if end_ns > start_ns else _END_AT_START, number))
    for number, (at_ns, step, fed, _) in enumerate(instants):
        steps.append((at_ns, step, number))
        if fed is None:
            continue
        if fed in led_to or (at_ns == slices[fed].start_ns and step == _EMIT_AT_START):
            steps.append((slices[fed].start_ns, _FEED_AT_START, number))
        else:
            led_to[fed] = number
    steps.sort()
    return steps, led_to


def _arrow(number: int, end: str) -> dict[str, Any]:
    return {"bind_id": hex(number + 1), end: True}
