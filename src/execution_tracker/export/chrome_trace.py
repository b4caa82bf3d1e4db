"""A run as a Chrome trace, which ui.perfetto.dev and chrome://tracing show.

Each routine has its own rows, in which executions that overlap lie below each other. An event is an instant within the
execution that emitted it, and an arrow leads from there to each execution that it led to.
"""

from __future__ import annotations

import json
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker._metrics import named
from execution_tracker._run import run_of
from execution_tracker._timeline import Emission, Execution, Link, Timeline, timeline_of
from execution_tracker.collector import built_at_once
from execution_tracker.export import filled, text
from execution_tracker.payloads import json_safe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from execution_tracker.tracker import ExecutionTracker

# What happens at one moment comes in this order: an execution holds what happens at its very ends, a row is free again
# before the next execution needs it, and an arrow begins before it ends (viewers lose it otherwise).
_EMIT, _END, _START, _EMIT_AT_START, _ARRIVE = range(5)

_PID = 1
_TICK_NS = 1000  # to which the texts of times are cut
_FACTS = ("status", "params", "result", "error", "execution_id", "parent_id", "worker")
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
        - an arrow from there to each execution that the event led to (``flow_out`` and ``flow_in`` with one
          ``bind_id``). It ends at the slice; where several do, or the event came no earlier than the slice began, at
          an instant of that name in it. ``args`` of the event say ``inferred`` where no cause was recorded.

        ``args`` hold status, params, result, error, data, the ids of the execution and its parent, and the worker,
        shortened as by :func:`~execution_tracker.snapshot`. ``otherData`` tells when the run began (ISO 8601, and
        nanoseconds since the epoch), and how many records were dropped before.

    Records and events without a readable time are left out. 100,000 executions and as many events take a few seconds.

    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.export.chrome_trace import to_chrome_trace
    >>> tracker = ExecutionTracker("nightly")
    >>> _ = tracker.record_routine_start("parse")
    >>> _ = tracker.record_event("parse", "parsed", "count")
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
    run, flow_id = run_of(tracker), text(tracker.flow_id)
    timeline = built_at_once(lambda: timeline_of(run))
    begun = [(first.start_ns, timeline.execution_texts(first)[0]) for first in timeline.executions[:1]]
    begun += [(first.at_ns, timeline.emission_text(first)) for first in timeline.emissions[:1]]
    begin_ns, begin = min(begun, default=(0, None), key=itemgetter(0))
    return {
        "traceEvents": _events(flow_id, named(run.routines), timeline, begin_ns),
        "displayTimeUnit": "ms",
        "otherData": {
            "flow_id": flow_id,
            "start_time": begin and text(begin),
            "start_time_ns": begin_ns if begun else None,
            "dropped_executions": run.dropped_executions,
            "dropped_events": run.dropped_events,
        },
    }


def _events(flow_id: str, names: dict[Any, str], timeline: Timeline, begin_ns: int) -> Iterator[dict[str, Any]]:
    """Yield the events of a trace in the order in which a viewer must read them."""
    executions, emissions, links = timeline.executions, timeline.emissions, timeline.links
    slices = [_slice(names[execution.routine_id], execution, number) for number, execution in enumerate(executions)]
    instants = [_instant(emission, slices, number) for number, emission in enumerate(emissions, len(slices))]
    steps, led_to = _steps(slices, instants, links)
    is_inferred = {link.emission: link.is_inferred for link in links}
    yield {"ph": "M", "pid": _PID, "name": "process_name", "args": {"name": flow_id or "run"}}
    for step_ns, step, index in steps:
        ts = (step_ns - begin_ns) / 1000
        if step == _START:
            arrow = _arrow(led_to[index], "flow_in") if index in led_to else {}
            yield {"ph": "b", "ts": ts, **slices[index].face, "args": filled(executions[index], *_FACTS), **arrow}
        elif step == _END:
            yield {"ph": "e", "ts": ts, **slices[index].face}
        elif step == _ARRIVE:
            led, name = slices[links[index].execution], instants[links[index].emission].face["name"]
            yield {"ph": "n", "ts": ts, **led.face, "name": name, **_arrow(links[index].emission, "flow_in")}
        else:
            args = _emission_args(emissions[index], is_inferred.get(index, False))
            arrow = _arrow(index, "flow_out") if index in is_inferred else {}
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
    face: dict[str, Any]


def _slice(name: str, execution: Execution, number: int) -> _Slice:
    start_ns, elapsed_ns, face = execution.start_ns, execution.elapsed_ns, _face("execution", name, number)
    if json_safe(execution.status) == "failed":
        face |= {"cat": "execution,failed", "cname": "terrible"}
    if elapsed_ns is None:
        return _Slice(start_ns, None, face | {"cat": "execution,running"})
    return _Slice(start_ns, start_ns + elapsed_ns, face)


def _instant(emission: Emission, slices: list[_Slice], number: int) -> _Instant:
    at_ns, name = emission.at_ns, text(emission.event_name)
    if emission.source is not None:
        source = slices[emission.source]
        end_ns = at_ns if source.end_ns is None else source.end_ns
        # The texts of a loaded event and of its execution are cut, so that it may seem to lie outside.
        if source.start_ns - _TICK_NS < at_ns < end_ns + _TICK_NS:
            at_ns = max(source.start_ns, min(at_ns, end_ns))
            step = _EMIT_AT_START if at_ns == source.start_ns else _EMIT
            return _Instant(at_ns, step, source.face | {"name": name})
    return _Instant(at_ns, _EMIT, _face("event", name, number))


def _emission_args(emission: Emission, is_inferred: bool) -> dict[str, Any]:
    args = filled(emission, "source_routine_id", "target_routine_id", "data")
    if emission.emitter is not None:
        args["execution_id"] = emission.emitter
    return args | {"inferred": True} if is_inferred else args


def _face(category: str, name: str, number: int) -> dict[str, Any]:
    return {"cat": category, "name": name, "pid": _PID, "id2": {"local": hex(number + 1)}}


def _steps(
    slices: list[_Slice], instants: list[_Instant], links: list[Link]
) -> tuple[list[tuple[int, int, int]], dict[int, int]]:
    """Return the steps in order, and by slice the instant whose arrow it takes.

    A step is its moment, what it is, and the number of the slice, instant or link. A slice takes one arrow, which must
    have begun before. Each other arrow arrives at an instant of its own.
    """
    steps: list[tuple[int, int, int]] = []
    led_to: dict[int, int] = {}
    for number, (start_ns, end_ns, _) in enumerate(slices):
        steps.append((start_ns, _START, number))
        if end_ns is not None:
            steps.append((end_ns, _END, number))
    for number, (at_ns, step, _) in enumerate(instants):
        steps.append((at_ns, step, number))
    for number, (emission, position, _) in enumerate(links):
        (at_ns, step, _), start_ns = instants[emission], slices[position].start_ns
        if position not in led_to and (at_ns, step) < (start_ns, _START):
            led_to[position] = emission
        else:
            steps.append((max(at_ns, start_ns), _ARRIVE, number))
    steps.sort()
    return steps, led_to


def _arrow(number: int, end: str) -> dict[str, Any]:
    return {"bind_id": hex(number + 1), end: True}
