"""What the HTML page shows of a run, as JSON-safe data.

Moments are seconds from the start of the run, durations seconds. Whatever a record holds comes out as a number that
was checked, or as a text that was cut. Routines are numbered, for two long names may be cut to the same text.
"""

from __future__ import annotations

from heapq import nlargest
from math import log
from typing import TYPE_CHECKING, Any

from execution_tracker import _metrics, _timeline, analysis
from execution_tracker._critical_path import EVENT
from execution_tracker._run import run_of
from execution_tracker.report import _facts as facts
from execution_tracker.report._failures import failures
from execution_tracker.report._page_flow import flow_data
from execution_tracker.report._page_texts import Texts, text
from execution_tracker.report._page_timeline import Drawn, drawn_of, seconds, timeline_data
from execution_tracker.timestamps import SECOND_NS

if TYPE_CHECKING:
    from execution_tracker._run import Run
    from execution_tracker.tracker import ExecutionTracker

MAX_OWN = 24  # routines with lanes or a histogram of their own
MAX_FAILURES = 300  # different ones that are listed
MAX_SLOWEST = 50
_MAX_BINS = 32


def page_data(tracker: ExecutionTracker) -> dict[str, Any]:
    """Return everything that the page shows of a run."""
    run = run_of(tracker)
    names = _metrics.named(run.routines)
    numbers = _metrics.metrics_of("", _numbered(run, names))
    routines = [numbers["routines"].get(str(number)) for number in range(len(names))]
    timeline = _timeline.Timeline(run)
    path = facts.critical_path(timeline)
    routine_of = {routine_id: number for number, routine_id in enumerate(names)}
    drawn = drawn_of(timeline, path)
    texts, flow = Texts(), text(tracker.flow_id)
    by_name = {name: routine for name, routine in zip(names.values(), routines, strict=True) if routine}
    largest = nlargest(MAX_OWN, range(len(names)), key=lambda number: _weight(routines[number]))
    shown = [text(name) for name in names.values()]
    own = {number: shown[number] for number in largest}
    drawn_routines = [routine_of[each.routine_id] for each in drawn.executions]
    edges = analysis.event_edges_in(timeline)
    slowest = (drawn.numbers.get(each.execution_id) for each in facts.slowest(timeline, MAX_SLOWEST))
    return {
        "flow": flow if flow.strip() else facts.NO_NAME,
        "subtitle": facts.subtitle(run, numbers),
        "headline": [*facts.headline(numbers).items()],
        "numbers": {key: number for key, number in numbers.items() if isinstance(number, int | float)},
        "missing": facts.missing({**numbers, "routines": by_name}, run.executions - len(timeline.executions)),
        "names": shown,
        "failures": _failures(run, drawn, numbers),
        "concurrency": facts.concurrency(numbers),
        "path": _path(path, timeline, drawn),
        "timeline": timeline_data(timeline, drawn, drawn_routines, own, texts),
        "slowest": [number for number in slowest if number is not None],
        "routines": _routine_rows(routines, path, routine_of),
        "histograms": _histograms(timeline, routine_of, largest),
        "flow_graph": flow_data(edges, names, routines),
        "inferred": facts.inferred(edges),
        "led_nowhere": facts.led_nowhere(edges, numbers),
        "texts": texts.all,
    }


def _numbered(run: Run, names: dict[Any, str]) -> Run:
    """Return a run whose routines are called by their numbers."""
    return run._replace(routines={str(number): run.routines[routine_id] for number, routine_id in enumerate(names)})


def _weight(routine: dict[str, Any] | None) -> tuple[float, int]:
    return (routine["self_execution_time"], routine["total_executions"]) if routine else (0.0, 0)


def _failures(run: Run, drawn: Drawn, numbers: dict[str, Any]) -> dict[str, Any]:
    """Return what failed, equal failures together, the most frequent first."""
    groups = failures(run)
    rows = []
    for group in groups[:MAX_FAILURES]:
        members = [number for each in group.ids if (number := drawn.numbers.get(each)) is not None]
        first = drawn.numbers.get(group.first_id)
        routines = [[text(name), count] for name, count in [*group.routines.items()][:3]]
        message = text(group.message)
        rows.append(
            [group.executions, text(group.kind), message, routines, len(group.routines), first, sorted(members)]
        )
    kept = sum(group.executions for group in groups)
    return {"rows": rows, "different": len(groups), "undescribed": facts.undescribed(numbers, kept)}


def _path(path: facts.Path, timeline: _timeline.Timeline, drawn: Drawn) -> dict[str, Any]:
    """Return the sentence on the critical path, and a row for each step that is drawn."""
    rows = []
    for step in path.steps:
        if (number := drawn.number(step.position)) >= 0:
            since_ns = step.since_ns - timeline.start_ns[0]
            times = (seconds(time_ns) for time_ns in (since_ns, step.own_ns, step.waited_ns))
            rows.append([number, facts.LINKS[step.link], step.link == EVENT, *times])
    return {"sentence": facts.path_sentence(path), "steps": rows, "count": len(path.steps)}


def _routine_rows(
    routines: list[dict[str, Any] | None], path: facts.Path, routine_of: dict[Any, int]
) -> list[list[Any]]:
    on_path = [0] * len(routines)
    for step in path.steps:
        on_path[routine_of[step.execution.routine_id]] += step.own_ns
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


# --- durations ---


def _histograms(timeline: _timeline.Timeline, routine_of: dict[Any, int], largest: list[int]) -> list[dict[str, Any]]:
    times: dict[int, list[float]] = {routine: [] for routine in largest}
    for execution in timeline.executions:
        of_routine = times.get(routine_of[execution.routine_id])
        if of_routine is not None and execution.elapsed_ns is not None:
            of_routine.append(max(execution.elapsed_ns, 1) / SECOND_NS)
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
