"""What the HTML page shows of a run, as JSON-safe data.

Moments are seconds from the start of the run, durations seconds. Whatever a record holds comes out as a number that
was checked, or as a text that was cut. Routines are numbered, for two long names may be cut to the same text.
"""

from __future__ import annotations

import json
import re
from heapq import heappop, heappush, nlargest
from math import log
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker import _metrics, _timeline, analysis
from execution_tracker._run import ERROR, PARAMS, START_NS, STATUS, WIDTH, run_of
from execution_tracker.collector import built_at_once
from execution_tracker.payloads import json_safe, snapshot
from execution_tracker.report import _facts as facts
from execution_tracker.report._failures import is_failed
from execution_tracker.timestamps import SECOND_NS

if TYPE_CHECKING:
    from execution_tracker._run import Run
    from execution_tracker.tracker import ExecutionTracker

MAX_DRAWN = 50_000  # executions in the timeline; docs/html-report.md has the measurements
MAX_OWN = 24  # routines with lanes, a histogram or a node of their own
MAX_LINKS = 60  # in the graph; with more it is a knot
MAX_LISTED = 300  # edges, and different failures
MAX_TEXT = 400  # characters of a payload or a name

_KINDS = {"completed": 0, "failed": 1}
_FAILED, _RUNNING, _OTHER = 1, 2, 3
_TICK_NS = 1_000  # of the clock in the records
_MAX_BINS = 32
# Control characters, and those that turn the direction of reading: they are shown, not obeyed.
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_short = snapshot(max_string=120, max_items=8, max_depth=3)
_written = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode


class Bar(NamedTuple):
    """An execution on the time axis."""

    routine: int
    start_ns: int
    duration_ns: int | None  # None while it runs
    kind: int
    step: facts.Step | None  # of the critical path
    execution: _timeline.Execution


def page_data(tracker: ExecutionTracker) -> dict[str, Any]:
    """Return everything that the page shows of a run."""
    run = run_of(tracker)
    names = _metrics.named(run.routines)
    numbers = _metrics.metrics_of("", _numbered(run, names))
    routines = [numbers["routines"].get(str(number)) for number in range(len(names))]
    timeline = built_at_once(lambda: _timeline.timeline_of(run))
    path = facts.critical_path(timeline)
    bars = _bars(timeline, names, {step.position: step for step in path.steps})
    unplaced = run.executions - len(bars)
    by_name = {name: routine for name, routine in zip(names.values(), routines, strict=True) if routine}
    largest = nlargest(MAX_OWN, range(len(names)), key=lambda number: _weight(routines[number]))
    origin_ns = bars[0].start_ns if bars else 0
    edges = analysis.event_edges_in(timeline)
    return {
        "flow": text(tracker.flow_id),
        "subtitle": facts.subtitle(run, numbers),
        "numbers": {key: number for key, number in numbers.items() if isinstance(number, int | float)},
        "missing": facts.missing({**numbers, "routines": by_name}, unplaced),
        "names": [text(name) for name in names.values()],
        "routines": _routine_rows(routines, bars),
        "path": {
            "steps": len(path.steps),
            **{key: _seconds(getattr(path, f"{key}_ns")) for key in ("length", "waited")},
        },
        "timeline": _drawn(bars, set(largest), origin_ns),
        "histograms": _histograms(bars, largest),
        "failures": _failures(run, names, origin_ns),
        "flow_graph": _flow_graph(edges, names),
        "led_nowhere": facts.led_nowhere(edges, numbers),
    }


def text(value: Any) -> str:
    """Return any value as a short text, "" for what is as good as nothing.

    >>> text({"path": "a.md"}), text({}), text("x" * 1000)[-3:]
    ('{"path": "a.md"}', '', 'xx…')
    """
    if value is None or (type(value) is dict and not value):
        return ""
    whole: str = json_safe(value[: MAX_TEXT + 1]) if type(value) is str else _written(_short(value))
    whole = _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), whole)
    return whole if len(whole) <= MAX_TEXT else whole[: MAX_TEXT - 1] + "…"


def _numbered(run: Run, names: dict[Any, str]) -> Run:
    """Return a run whose routines are called by their numbers."""
    return run._replace(routines={str(number): run.routines[routine_id] for number, routine_id in enumerate(names)})


def _weight(routine: dict[str, Any] | None) -> tuple[float, int]:
    return (routine["self_execution_time"], routine["total_executions"]) if routine else (0.0, 0)


def _routine_rows(routines: list[dict[str, Any] | None], bars: list[Bar]) -> list[list[Any]]:
    on_path = [0] * len(routines)
    for bar in bars:
        if bar.step is not None:
            on_path[bar.routine] += bar.step.own_ns
    return [
        [
            number,
            routine["total_executions"],
            routine["failed"],
            *(routine[f"{which}_execution_time"] for which in ("median", "p95", "max", "total", "self")),
            on_path[number] / SECOND_NS,
        ]
        for number, routine in enumerate(routines)
        if routine
    ]


# --- the timeline ---


def _bars(timeline: _timeline.Timeline, names: dict[Any, str], steps: dict[int, facts.Step]) -> list[Bar]:
    """Return the executions whose start can be read, by their starts."""
    numbers = {routine_id: number for number, routine_id in enumerate(names)}
    bars = []
    for position, execution in enumerate(timeline.executions):
        duration_ns = execution.elapsed_ns
        kind = _RUNNING if duration_ns is None else _kind(execution.status)
        number = numbers[execution.routine_id]
        bars.append(Bar(number, execution.start_ns, duration_ns, kind, steps.get(position), execution))
    return bars


def _kind(status: Any) -> int:
    return _KINDS.get(status, _OTHER) if type(status) is str else _OTHER


def _drawn(bars: list[Bar], own: set[int], origin_ns: int) -> dict[str, Any]:
    """Return the executions to draw, column by column, in the lanes of their bands."""
    end_ns = max((bar.start_ns + (bar.duration_ns or 0) for bar in bars), default=origin_ns)
    drawn = _most_telling(bars)
    bands: dict[int, list[Bar]] = {}
    for bar in drawn:
        bands.setdefault(bar.routine if bar.routine in own else -1, []).append(bar)
    if -1 in bands:
        bands[-1] = bands.pop(-1)  # the others come last
    columns: dict[str, list[Any]] = {key: [] for key in ("routine", "lane", "start", "duration", "kind", "path")}
    details: dict[str, list[Any]] = {key: [] for key in ("status", "params", "result", "error")}
    shown, lane_count = [], 0
    for routine, of_band in bands.items():
        lanes = list(_lanes(of_band, end_ns))
        for bar, (lane, start_ns) in zip(of_band, lanes, strict=True):
            row = (bar.routine, lane_count + lane, _seconds(start_ns - origin_ns), bar.duration_ns, bar.kind)
            path = None if bar.step is None else _seconds(bar.step.since_ns - origin_ns)
            for column, value in zip(columns.values(), (*row, path), strict=True):
                column.append(value)
            for key, column in details.items():
                column.append(text(getattr(bar.execution, key)))
        height = 1 + max(lane for lane, _ in lanes)
        shown.append({"routine": routine, "first": lane_count, "lanes": height})
        lane_count += height
    columns["duration"] = [None if duration is None else _seconds(duration) for duration in columns["duration"]]
    return {
        "total": len(bars),
        "span": _seconds(end_ns - origin_ns),
        "lanes": lane_count,
        "bands": shown,
        "folded": len({bar.routine for bar in bands.get(-1, [])}),
        **columns,
        **details,
    }


def _most_telling(bars: list[Bar]) -> list[Bar]:
    """Return at most so many executions as stay fluent: what failed or runs, the critical path, and the longest."""
    if len(bars) <= MAX_DRAWN:
        return bars

    def telling(index: int) -> tuple[bool, bool, int]:
        bar = bars[index]
        return bar.kind in (_FAILED, _RUNNING), bar.step is not None, bar.duration_ns or 0

    return [bars[index] for index in sorted(nlargest(MAX_DRAWN, range(len(bars)), key=telling))]


def _lanes(bars: list[Bar], run_end_ns: int) -> list[tuple[int, int]]:
    """Return for each execution, in the order of their starts, its lane, the lowest free one, and where to draw it.

    The clock in the records ticks in microseconds. What starts in the tick in which another ends may follow it in its
    lane; it is drawn from that end on, so that neither covers the other.
    """
    busy: list[tuple[int, int]] = []  # end and lane
    free: list[int] = []
    free_from_ns: list[int] = []  # by lane
    placed = []
    for bar in bars:
        while busy and busy[0][0] < bar.start_ns + _TICK_NS:
            heappush(free, heappop(busy)[1])
        if free:
            lane = heappop(free)
        else:
            lane = len(free_from_ns)
            free_from_ns.append(bar.start_ns)
        start_ns = max(bar.start_ns, free_from_ns[lane])
        free_from_ns[lane] = run_end_ns + _TICK_NS if bar.duration_ns is None else start_ns + bar.duration_ns
        heappush(busy, (free_from_ns[lane], lane))
        placed.append((lane, start_ns))
    return placed


def _seconds(time_ns: int) -> float:
    return round(time_ns / SECOND_NS, 9)


# --- durations, failures ---


def _histograms(bars: list[Bar], largest: list[int]) -> list[dict[str, Any]]:
    times: dict[int, list[float]] = {routine: [] for routine in largest}
    for bar in bars:
        if bar.duration_ns is not None and bar.routine in times:
            times[bar.routine].append(max(bar.duration_ns, 1) / SECOND_NS)
    return [
        {"routine": routine, **_histogram(sorted(of_routine))} for routine, of_routine in times.items() if of_routine
    ]


def _histogram(ascending: list[float]) -> dict[str, Any]:
    """Count durations in bins of equal width, on a logarithmic scale where they span a decade or more."""
    low, high = ascending[0], ascending[-1]
    logarithmic = high >= 10 * low
    bins = [0] * (1 if low == high else min(_MAX_BINS, 8 + len(ascending) // 4))
    for time in ascending:
        place = log(time / low) / log(high / low) if logarithmic else (time - low) / (high - low or 1.0)
        bins[min(int(place * len(bins)), len(bins) - 1)] += 1
    median = _metrics.percentile(ascending, 50)
    return {"low": low, "high": high, "logarithmic": logarithmic, "median": median, "bins": bins}


def _failures(run: Run, names: dict[Any, str], origin_ns: int) -> dict[str, Any]:
    """Return what failed, equal messages of a routine counted together, the most frequent first."""
    failures: dict[tuple[int, str], list[Any]] = {}
    for number, routine_id in enumerate(names):
        rows = run.routines[routine_id].rows
        columns = (rows[column::WIDTH] for column in (STATUS, START_NS, PARAMS, ERROR))
        for status, start_ns, params, error in zip(*columns, strict=True):
            if is_failed(status):
                message = text(error)
                start = None if start_ns is None else _seconds(start_ns - origin_ns)
                first = [0, number, message, start, text(params)]
                failures.setdefault((number, message), first)[0] += 1
    listed = nlargest(MAX_LISTED, failures.values(), key=lambda failure: failure[0])
    return {"kept": sum(failure[0] for failure in failures.values()), "different": len(failures), "rows": listed}


# --- the flow ---


def _flow_graph(edges: list[dict[str, Any]], names: dict[Any, str]) -> dict[str, Any]:
    """Return the edges with the longest waits, and a graph of the busiest routines, the others as one node."""
    numbers = {name: number for number, name in enumerate(names.values())}
    rows = []
    traffic: dict[str, int] = {}
    for edge in edges:
        source, target = (_name(edge[key], names) for key in ("source_routine_id", "target_routine_id"))
        waits = (edge["caused"], edge["median_wait_time"], edge["max_wait_time"])
        rows.append([source, text(edge["event_name"]), target, edge["count"], edge["rate"], *waits])
        for name in (source, target):
            if name is not None and target is not None:
                traffic[name] = traffic.get(name, 0) + edge["count"]
    busiest = set(nlargest(MAX_OWN, traffic, key=lambda name: traffic[name]))
    nodes = {name: index for index, name in enumerate(name for name in traffic if name in busiest)}
    links: dict[tuple[int, int], list[Any]] = {}
    for source, event, target, count, _, _, _, max_wait in rows:
        if target is not None:
            ends = nodes.get(source, len(nodes)), nodes.get(target, len(nodes))
            link = links.setdefault(ends, [*ends, 0, 0.0, []])
            link[2] += count
            link[3] = max(link[3], max_wait or 0.0)
            link[4].append(event)
    for row in rows:
        row[0], row[2] = text(row[0]), None if row[2] is None else text(row[2])
    for link in links.values():
        link[4] = [*dict.fromkeys(link[4])][:5]
    return {
        "edges": nlargest(MAX_LISTED, rows, key=lambda row: (row[7] or 0.0, row[3])),
        "edge_count": len(rows),
        "nodes": [[text(name), numbers.get(name)] for name in nodes],
        "folded": len(traffic) - len(nodes),
        "links": nlargest(MAX_LINKS, links.values(), key=lambda link: link[2]),
        "link_count": len(links),
    }


def _name(routine_id: Any, names: dict[Any, str]) -> str | None:
    """Return the name of a routine that an event names; what has no executions need not be known."""
    if routine_id is None:
        return None
    return names[routine_id] if routine_id in names else _timeline.name_of(routine_id)
