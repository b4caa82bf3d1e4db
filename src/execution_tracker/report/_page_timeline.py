"""The timeline of the page: which executions it draws, in which lanes, and what their records tell.

Executions are numbered by their starts among those that are drawn; everything that names one names its number.
"""

from __future__ import annotations

import re
from heapq import nlargest
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker import _timeline
from execution_tracker.report import _facts as facts
from execution_tracker.report._lanes import Span, lanes, nested_lanes
from execution_tracker.report._page_texts import Texts, text
from execution_tracker.report._units import counted, percentage, text_of
from execution_tracker.timestamps import SECOND_NS, TICK_NS

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DRAWN = 50_000  # executions; docs/html-report.md has the measurements
MAX_BANDS = 40  # workers that have lanes of their own
NOT_DRAWN = -2  # instead of the number of an execution that is not drawn
UNKNOWN = -1

_OTHERS = -2  # the band of those that have none of their own

_COMPLETED, _FAILED, _RUNNING, _OTHER = range(4)


class Drawn(NamedTuple):
    """The executions that the page draws."""

    executions: list[_timeline.Execution]
    positions: dict[int, int]  # in the whole timeline -> number
    numbers: dict[int, int]  # execution id -> number

    def number(self, position: int | None) -> int:
        """Return the number of an execution, given its position in the whole timeline."""
        return UNKNOWN if position is None else self.positions.get(position, NOT_DRAWN)


def drawn_of(timeline: _timeline.Timeline, path: facts.Path) -> Drawn:
    """Return at most so many executions as stay fluid: what failed or runs, the critical path, and the longest."""
    executions = timeline.executions
    on_path = {step.position for step in path.steps}

    def telling(position: int) -> tuple[bool, bool, int]:
        execution = executions[position]
        return kind_of(execution) in (_FAILED, _RUNNING), position in on_path, execution.elapsed_ns or 0

    kept: Sequence[int] = range(len(executions))
    if len(executions) > MAX_DRAWN:
        kept = sorted(nlargest(MAX_DRAWN, kept, key=telling))
    chosen = [executions[position] for position in kept]
    positions = {position: number for number, position in enumerate(kept)}
    return Drawn(chosen, positions, {each.execution_id: number for number, each in enumerate(chosen)})


def kind_of(execution: _timeline.Execution) -> int:
    """Return what an execution looks like."""
    status = execution.status
    if execution.elapsed_ns is None:
        return _RUNNING
    if type(status) is not str:
        return _OTHER
    return _COMPLETED if status == "completed" else _FAILED if status == "failed" else _OTHER


def timeline_data(
    timeline: _timeline.Timeline, drawn: Drawn, routines: list[int], names: dict[int, str], texts: Texts
) -> dict[str, Any]:
    """Return the executions column by column, and the two ways in which they lie in lanes.

    Args:
        timeline: The run.
        drawn: The executions to draw.
        routines: The numbers of their routines.
        names: The names of the routines that have lanes of their own.
        texts: Takes the texts of the records.
    """
    executions = drawn.executions
    origin_ns = timeline.executions[0].start_ns if timeline.executions else 0
    end_ns = max((each.start_ns + (each.elapsed_ns or 0) for each in timeline.executions), default=origin_ns)
    spans = [Span(each.start_ns, end_ns + TICK_NS if each.end_ns is None else each.end_ns) for each in executions]
    known = {each.execution_id for each in timeline.executions} if len(executions) < len(timeline.executions) else ()
    parents = [_parent(each, drawn, known) for each in executions]
    workers = facts.workers(timeline)
    numbers = {worker.name: number for number, worker in enumerate(workers)}
    worker_of = [UNKNOWN if each.worker is None else numbers[text_of(each.worker)] for each in executions]
    nested_ns = timeline.run.nested_ns
    return {
        "total": len(timeline.executions),
        "span": seconds(end_ns - origin_ns),
        "id": [each.execution_id for each in executions],
        "routine": routines,
        "worker": worker_of,
        "start": [seconds(each.start_ns - origin_ns) for each in executions],
        "duration": [None if each.elapsed_ns is None else seconds(each.elapsed_ns) for each in executions],
        "kind": [kind_of(each) for each in executions],
        "parent": parents,
        "nested": [
            [number, seconds(nested_ns[each.execution_id])]
            for number, each in enumerate(executions)
            if each.execution_id in nested_ns
        ],
        "status": [texts.number(each.status) for each in executions],
        "params": [texts.number(each.params) for each in executions],
        "result": [texts.number(each.result) for each in executions],
        "error": [texts.number_of_error(each.error) for each in executions],
        "causes": _causes(timeline, drawn, texts),
        "workers": [[text(each.name), percentage(each.busy)] for each in workers],
        "by_routine": _by_routine(routines, names, spans),
        "by_worker": _by_worker(worker_of, workers, spans, parents) if workers else None,
    }


def _by_routine(routines: list[int], names: dict[int, str], spans: list[Span]) -> dict[str, Any]:
    folded = len({*routines} - names.keys())
    labels = {number: (name, "") for number, name in names.items()}
    labels[_OTHERS] = counted(folded, "other routine"), ""
    return _bands([routine if routine in names else _OTHERS for routine in routines], labels, spans, None)


def _by_worker(
    worker_of: list[int], workers: list[facts.Worker], spans: list[Span], parents: list[int]
) -> dict[str, Any]:
    labels = {number: (text(each.name), percentage(each.busy)) for number, each in enumerate(workers[:MAX_BANDS])}
    labels[_OTHERS] = counted(len(workers) - MAX_BANDS, "other worker"), ""
    labels[UNKNOWN] = "worker not recorded", ""
    return _bands([worker if worker in labels else _OTHERS for worker in worker_of], labels, spans, parents)


def _parent(execution: _timeline.Execution, drawn: Drawn, known: Any) -> int:
    parent = drawn.numbers.get(execution.parent_id or 0)
    if parent is None:
        return NOT_DRAWN if execution.parent_id in known else UNKNOWN
    return parent


def _bands(
    band_of: list[int], labels: dict[int, tuple[str, str]], spans: list[Span], parents: list[int] | None
) -> dict[str, Any]:
    """Return the lane of each execution, and for each band its label, its first lane and how many it has.

    With parents, executions lie below the one inside which they ran, if both are in one band. Bands come in the order
    of their first starts, those of workers in the order of their names, and what has no band of its own comes last.
    """

    last = {_OTHERS: 1, UNKNOWN: 2}

    def order(band: int) -> tuple[int, list[tuple[int, str]]]:
        parts = re.findall(r"\d+|\D+", labels[band][0]) if parents is not None else []
        return last.get(band, 0), [(int(part) if part.isdecimal() else -1, part) for part in parts]

    members: dict[int, list[int]] = {}
    for number, band in enumerate(band_of):
        members.setdefault(band, []).append(number)
    lane_of, bands, count = [0] * len(spans), [], 0
    for band in sorted(members, key=order):
        numbers = members[band]
        of_band = [spans[number] for number in numbers]
        if parents is None:
            placed, height = lanes(of_band)
        else:
            places = {number: place for place, number in enumerate(numbers)}
            above = [places.get(parents[number], place) for place, number in enumerate(numbers)]
            inner = [parent if parent < place else None for place, parent in enumerate(above)]
            placed, height = nested_lanes(of_band, inner)
        for number, lane in zip(numbers, placed, strict=True):
            lane_of[number] = count + lane
        bands.append([*labels[band], count, height])
        count += height
    return {"lane": lane_of, "lanes": count, "bands": bands}


def _causes(timeline: _timeline.Timeline, drawn: Drawn, texts: Texts) -> dict[str, list[int]]:
    """Return the links from emitters to what they caused, with the names of the events."""
    emissions = timeline.emissions
    links = [
        (number, emissions[emission], is_inferred)
        for emission, position, is_inferred in timeline.links
        if (number := drawn.number(position)) >= 0
    ]
    return {
        "to": [number for number, _, _ in links],
        "from": [drawn.number(emission.source) for _, emission, _ in links],
        "event": [texts.number(emission.event_name) for _, emission, _ in links],
        "inferred": [int(is_inferred) for _, _, is_inferred in links],
    }


def seconds(time_ns: int) -> float:
    """Return a time in seconds, as exact as it is."""
    return round(time_ns / SECOND_NS, 9)
