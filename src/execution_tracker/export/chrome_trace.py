"""A run as a Chrome trace, which ui.perfetto.dev, chrome://tracing and speedscope show.

Each worker has its lanes, in which executions lie inside their parents. An event is an instant in the execution that
emitted it, and arrows lead from there to each execution that it led to.
"""

from __future__ import annotations

import json
from itertools import islice, repeat
from math import ulp
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from execution_tracker._metrics import named
from execution_tracker._run import emitted_ids, run_of
from execution_tracker._timeline import Timeline
from execution_tracker.collector import built_at_once
from execution_tracker.export import bounded, filled, text
from execution_tracker.export._lanes import Lanes, Moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from execution_tracker._timeline import Emission
    from execution_tracker.tracker import ExecutionTracker

_PID = 1
_FIRST_TID = 2  # 0 is taken for the process, and its own number for its main thread
_FACTS = ("status", "params", "result", "error", "execution_id", "parent_id", "worker")
_EVENT_FACTS = ("source_routine_id", "target_routine_id", "data", "event_id")
_CHUNK = 100  # trace events that are encoded at a time

_SLICE, _INSTANT, _TAIL, _HEAD, _MARK_END = range(5)  # what happens at one moment with one rank, in this order

_LATEST_NS = 2**62  # viewers have 64 bits for a time, and a sign
_ROUNDED_AWAY = 0.0004  # microseconds by which a duration can be less without being another one in nanoseconds

# Perfetto shows "ü" as it is, but "\\u00fc" as these six characters.
_encode = json.JSONEncoder(allow_nan=False, check_circular=False, ensure_ascii=False).encode


def to_chrome_trace(tracker: ExecutionTracker) -> dict[str, Any]:
    """Return a run as a trace in Chrome's format.

    Args:
        tracker: The run.

    Returns:
        A JSON-safe dict. ``traceEvents`` holds, with times in microseconds since the run began:

        - the names of the lanes (``M``). Each worker has a lane, and more of them, as ``MainThread (2)``, where its
          executions overlap. What has no worker lies in lanes named ``no worker``;
        - a slice for each execution (``X``), named by its routine, inside that of its parent where that is on the same
          worker and lasts as long. The category is ``execution``, ``execution,failed`` or, for one that still runs,
          ``execution,running``: that slice ends with the run;
        - an instant for each event (``i``), in the lane of the execution that emitted it. Events without one, or
          outside of its time, are marks (``B`` and ``E``) in a lane named ``events``;
        - an arrow (``s`` and ``f``) for each link: from an event to the execution that it caused (category
          ``caused_by``, or ``inferred`` where no cause was recorded), and from a parent to an execution that does not
          lie inside its slice (``parent``). There is none to what began before that which led to it.

        ``args`` hold status, params, result, error, data, ids and worker, shortened as by
        :func:`~execution_tracker.snapshot`; integers beyond 2**53 are texts, since viewers round them. Those of an
        event say ``inferred`` where its links are. ``otherData`` tells when the run began (ISO 8601, and nanoseconds
        since the epoch), and how many records were dropped before.

    Durations are exact to the nanosecond. Files cut starts to the microsecond; what seems to overlap by less than that
    is shown one after the other. Records and events without a readable time are left out. 100,000 executions and as
    many events take a few seconds.

    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.export.chrome_trace import to_chrome_trace
    >>> tracker = ExecutionTracker("nightly")
    >>> with tracker.track("load"), tracker.track("parse"):
    ...     _ = tracker.record_event("parse", "parsed", "count")
    >>> [(event["ph"], event["name"]) for event in to_chrome_trace(tracker)["traceEvents"]]
    [('M', 'process_name'), ('M', 'thread_name'), ('X', 'load'), ('X', 'parse'), ('i', 'parsed')]
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
    timeline = Timeline(run)
    begun = [(first.start_ns, timeline.execution_texts(first)[0]) for first in timeline.executions[:1]]
    begun += [(first.at_ns, timeline.emission_text(first)) for first in timeline.emissions[:1]]
    begin_ns, begin = min(begun, default=(0, None), key=itemgetter(0))
    events = _Events(timeline, begin_ns, named(run.routines))
    return {
        "traceEvents": events.all_of(flow_id or "run"),
        "displayTimeUnit": "ms",
        "otherData": {
            "flow_id": flow_id,
            "start_time": begin and text(begin),
            "start_time_ns": begin_ns if begun else None,
            "dropped_executions": run.dropped_executions,
            "dropped_events": run.dropped_events,
        },
    }


_Step = tuple[int, int, int, int]


class _Events:
    """The events of a trace, in the order in which a viewer must read them."""

    def __init__(self, timeline: Timeline, begin_ns: int, names: dict[Any, str]) -> None:
        self._executions, self._emissions, self._links = timeline.executions, timeline.emissions, timeline.links
        self._begin_ns = begin_ns
        self._names = names
        self._inferred = {link.emission for link in self._links if link.is_inferred}
        moments = [execution.end_ns or execution.start_ns for execution in self._executions]
        moments += (emission.at_ns for emission in self._emissions)
        self._lanes = Lanes(timeline, max(moments, default=begin_ns))
        self._lane_names = self._lanes.names
        self._places = [self._place(emission) for emission in self._emissions]

    def all_of(self, process: str) -> Iterator[dict[str, Any]]:
        """Yield the names of the process and the lanes, and then what happened."""
        yield _name("process_name", process)
        for tid, name in enumerate(self._lane_names, _FIRST_TID):
            yield _name("thread_name", text(name), tid)
        if None in self._places:
            yield _name("thread_name", "events", self._events_tid)
        for at_ns, _, step, number in built_at_once(self._steps):
            if step == _SLICE:
                yield self._slice(number)
            elif step in (_INSTANT, _MARK_END):
                yield self._instant(number, step)
            else:
                yield self._arrow(number, step, at_ns)

    @property
    def _events_tid(self) -> int:
        return _FIRST_TID + len(self._lane_names)

    def _place(self, emission: Emission) -> int | None:
        """Return when an event is shown in the slice of its emitter, None if it lies in none."""
        source, lanes = emission.source, self._lanes
        if source is None or not lanes.holds(source, emission.at_ns):
            return None
        return max(lanes.starts_ns[source], min(emission.at_ns, lanes.ends_ns[source] - 1))

    def _steps(self) -> list[_Step]:
        """Return what happens in order: when, its rank among what happens then, what it is, and its number.

        The number is that of an execution, an event or an arrow.
        """
        lanes = self._lanes
        steps = [*zip(lanes.starts_ns, lanes.ranks, repeat(_SLICE), range(len(lanes.ranks)))]
        for index, place_ns in enumerate(self._places):
            if place_ns is None:
                steps += ((*self._mark(index), step, index) for step in (_INSTANT, _MARK_END))
            else:
                steps.append((place_ns, lanes.last_rank, _INSTANT, index))
        for number, (index, position, _) in enumerate(self._links):
            self._add_arrow(steps, number, self._tail(index, lanes.starts_ns[position]), position)
        for position, parent in enumerate(lanes.parents):
            if parent is not None and lanes.around[position] is None:
                self._add_arrow(steps, len(self._links) + position, lanes.begin(parent), position)
        steps.sort()
        return steps

    def _mark(self, index: int) -> Moment:
        """Return the moment of an event that has no slice to lie in: one after the other, before slices begin."""
        return self._emissions[index].at_ns, index - len(self._emissions)

    def _tail(self, index: int, until_ns: int) -> Moment:
        """Return the moment at which an arrow leaves an event, or else its emitter, before it ends at another moment.

        Perfetto ties it to the slice that was the last to begin or to have an instant, so it is that of one of both.
        """
        source, place_ns = self._emissions[index].source, self._places[index]
        if source is None or place_ns is None:
            return self._mark(index)
        return self._lanes.moment_in(source, place_ns) if place_ns < until_ns else self._lanes.begin(source)

    def _add_arrow(self, steps: list[_Step], number: int, tail: Moment, position: int) -> None:
        """Add both ends of an arrow to an execution, unless it would lead back in time: viewers lose those."""
        head = self._lanes.begin(position)
        if tail < head:
            steps += (*tail, _TAIL, number), (*head, _HEAD, number)

    def _slice(self, position: int) -> dict[str, Any]:
        execution, lanes = self._executions[position], self._lanes
        category, start_ns = "execution", lanes.starts_ns[position]
        args = filled(execution, *_FACTS)
        face: dict[str, Any] = {}
        if args.get("status") == "failed":
            category, face = "execution,failed", {"cname": "terrible"}
        elif execution.elapsed_ns is None:
            category = "execution,running"
        if caused_by := emitted_ids(execution.caused_by):
            args["caused_by"] = bounded(caused_by)
        place = {"ts": self._ts(start_ns), "dur": self._duration(position), "pid": _PID, "tid": self._tid(position)}
        return {"ph": "X", "cat": category, "name": self._names[execution.routine_id], **place, **face, "args": args}

    def _duration(self, position: int) -> float:
        """Return how long a slice lasts.

        speedscope adds this to the start, and compares what it gets. Where slices end together, or one begins as
        another ends, rounding must not turn their order. Sums of whole microseconds are not rounded.
        """
        starts_ns, end_ns = self._lanes.starts_ns, self._lanes.ends_ns[position]
        duration = (end_ns - starts_ns[position]) / 1000
        tied, is_followed = self._lanes.ties(position)
        moments = (end_ns, starts_ns[position], *(starts_ns[around] for around in tied))
        if not any((moment_ns - self._begin_ns) % 1000 for moment_ns in moments):
            return duration
        return duration - min(_ROUNDED_AWAY, 4 * (len(tied) + is_followed) * ulp(self._ts(end_ns)))

    def _instant(self, index: int, step: int) -> dict[str, Any]:
        emission, place_ns = self._emissions[index], self._places[index]
        args = filled(emission, *_EVENT_FACTS)
        if emission.emitter is not None:
            args["execution_id"] = bounded(emission.emitter)
        if index in self._inferred:
            args["inferred"] = True
        face = {"cat": "event", "name": text(emission.event_name), "pid": _PID, "args": args}
        if emission.source is not None and place_ns is not None:
            return {"ph": "i", "s": "t", "ts": self._ts(place_ns), "tid": self._tid(emission.source), **face}
        # Both ends have the arguments: speedscope takes them for a part of the name.
        phase = "E" if step == _MARK_END else "B"
        return {"ph": phase, "ts": self._ts(emission.at_ns), "tid": self._events_tid, **face}

    def _arrow(self, number: int, step: int, at_ns: int) -> dict[str, Any]:
        """Return one end of an arrow."""
        if number < len(self._links):
            link = self._links[number]
            category, name = "inferred" if link.is_inferred else "caused_by", self._emissions[link.emission].event_name
            position = link.execution
            source = None if self._places[link.emission] is None else self._emissions[link.emission].source
        else:
            position = number - len(self._links)
            category, name, source = "parent", "parent", self._lanes.parents[position]
        face = {"cat": category, "name": text(name), "id": number + 1, "ts": self._ts(at_ns), "pid": _PID}
        if step == _HEAD:
            return {"ph": "f", "bp": "e", **face, "tid": self._tid(position)}
        return {"ph": "s", **face, "tid": self._events_tid if source is None else self._tid(source)}

    def _ts(self, at_ns: int) -> float:
        return min(at_ns - self._begin_ns, _LATEST_NS) / 1000

    def _tid(self, position: int) -> int:
        return _FIRST_TID + self._lanes.place_of(position)


def _name(kind: str, name: str, tid: int = 0) -> dict[str, Any]:
    return {"ph": "M", "ts": 0, "pid": _PID, "tid": tid, "name": kind, "args": {"name": name}}
