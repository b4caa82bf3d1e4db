"""What the reports say of a run, and how they write durations, rates, counts and texts from outside."""

from __future__ import annotations

import re
from heapq import heappop, heappush
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker import _timeline
from execution_tracker._critical_path import path_of
from execution_tracker._metrics import named
from execution_tracker._run import AT_NS, ERROR, EVENT_RECORD, EVENT_WIDTH, RECORD, START_NS, STATUS, WIDTH
from execution_tracker.payloads import json_safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execution_tracker._metrics import Metrics
    from execution_tracker._run import Run

UNKNOWN = "-"
NO_NAME = "A run without a name"
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


# --- numbers ---


def duration(seconds: Any) -> str:
    """Return a time as a person would say it.

    >>> [duration(seconds) for seconds in (1e-7, 0.00123, 3.4, 125, 3 * 86400 + 7200, "soon")]
    ['100 ns', '1.2 ms', '3.4 s', '2 min 5 s', '3 d 2 h', '-']
    """
    try:
        seconds = float(seconds) if type(seconds) in (float, int) else float("nan")
    except OverflowError:
        return UNKNOWN
    if not isfinite(seconds):
        return UNKNOWN
    if seconds < 0:  # edited by hand
        return f"-{duration(-seconds)}"
    if seconds == 0:
        return "0 s"
    if seconds < 1:
        if (whole := round(seconds * 1e9)) < 1000:
            return f"{whole} ns"
        for factor, unit in ((1e6, "µs"), (1e3, "ms")):
            if round(seconds * factor) < 1000:
                return f"{_three_digits(seconds * factor)} {unit}"
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.1f} s"
    if (whole := round(seconds)) < _HOUR:
        return _two_units(whole, _MINUTE, "min", "s")
    if (whole := round(seconds / _MINUTE)) * _MINUTE < _DAY:
        return _two_units(whole, 60, "h", "min")
    days = seconds / _DAY
    if days >= 100:
        return f"{days:,.0f} d" if days < 1e6 else f"{days:.0e} d"
    return _two_units(round(seconds / _HOUR), 24, "d", "h")


def _three_digits(value: float) -> str:
    return f"{value:.1f}" if round(value, 1) < 100 else f"{value:.0f}"


def _two_units(whole: int, size: int, unit: str, smaller: str) -> str:
    large, small = divmod(whole, size)
    return f"{large} {unit} {small} {smaller}" if small else f"{large} {unit}"


def rate(per_second: float) -> str:
    """Return how often something happens, in the unit that makes it a number to read.

    >>> rate(1234.5), rate(0.25), rate(0.0)
    ('1,234/s', '15.0/min', '-')
    """
    for factor, unit in ((1, "s"), (60, "min"), (_HOUR, "h"), (_DAY, "d")):
        if per_second * factor >= 1:
            per_unit = per_second * factor
            return f"{per_unit:.1f}/{unit}" if round(per_unit, 1) < 100 else f"{per_unit:,.0f}/{unit}"
    return UNKNOWN


def percentage(part: float) -> str:
    """Return a fraction as a percentage that is zero only if the fraction is.

    >>> percentage(0.625), percentage(0.0004), percentage(0.0)
    ('62%', '<1%', '0%')
    """
    return "<1%" if 0 < part < 0.01 else f"{part:.0%}"


def times(ratio: float) -> str:
    """Return a ratio of two times.

    >>> times(0.5), times(1234.5)
    ('0.50x', '1,234x')
    """
    return f"{ratio:.2f}x" if ratio < 100 else f"{ratio:,.0f}x" if ratio < 1e7 else f"{ratio:.0e}x"


def counted(count: int, thing: str) -> str:
    """Return a count with its noun.

    >>> counted(1, "execution"), counted(1200, "execution")
    ('1 execution', '1,200 executions')
    """
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def some(things: list[str]) -> str:
    """Return the first things of a list, and how many more there are.

    >>> some(["a", "b"]), some(["a"] * 7)
    ('a, b', 'a, a, a, a, a, 2 more')
    """
    return ", ".join([*things[:5], *([f"{len(things) - 5:,} more"] if len(things) > 5 else [])])


# --- texts from outside ---


def printable(text: str, limit: int = 200) -> str:
    r"""Return a text on one line, without a character that moves the cursor or turns the direction of reading.

    >>> print(printable("two\nlines \x1b[31m"))
    two\nlines \x1b[31m
    """
    if len(text) > limit:
        text = f"{text[: limit // 2]}…{text[-(limit - limit // 2 - 1) :]}"
    if text.isprintable():
        return text
    return "".join(map(_harmless, text))


def _harmless(character: str) -> str:
    if character.isprintable():
        return character
    if character in "\u200c\u200d":  # joiners: terminals, and rich, do not agree on how wide the joined are
        return ""
    if character in "\u00a0\u202f\u3000":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def name_of(routine_id: Any, limit: int = 200) -> str:
    """Return the text that a file has for the id of a routine, or for the name of an event, to print.

    >>> name_of("parse"), name_of(5), name_of(" ")
    ('parse', '5', '(no name)')
    """
    name = _timeline.name_of(routine_id)
    return printable(name, limit) if name.strip() else "(no name)"


def text_of(value: Any, limit: int = 200) -> str:
    """Return any value as a text on one line, its spaces and newlines as single spaces, to print."""
    text = value if type(value) is str else "" if value is None else str(json_safe(value))
    return printable(" ".join(text[:10_000].split()), limit)


# --- what there is to say ---


def subtitle(run: Run, metrics: Metrics) -> str:
    """Return when a run started and what is in it, in one line."""
    if not (metrics["total_executions"] or metrics["total_events"]):
        return "Nothing was recorded."
    counts = f"{counted(metrics['total_routines'], 'routine')}, {counted(metrics['total_events'], 'event')}."
    _, begin = min(_begins(run), default=(0, ""))
    return f"Started {_second(begin)}. {counts}" if begin else counts


def _begins(run: Run) -> Iterator[tuple[int, str]]:
    """Yield the first moments of each routine, of the events and of what was dropped, with their texts."""
    parts = [(routine.rows, START_NS, WIDTH, RECORD, "start_time") for routine in run.routines.values()]
    parts.append((run.events, AT_NS, EVENT_WIDTH, EVENT_RECORD, "timestamp"))
    for rows, column, width, outside, key in parts:
        times = rows[column::width]
        first_ns = min((time_ns for time_ns in times if time_ns is not None), default=None)
        if first_ns is not None:
            record = rows[times.index(first_ns) * width + outside]
            yield first_ns, run.clock.text(first_ns) if record is None else text_of(record.get(key))
    if run.dropped_span_ns[0] is not None:
        yield run.dropped_span_ns[0], run.clock.text(run.dropped_span_ns[0])


def _second(time: str) -> str:
    """Return a time to the second, as a person writes it."""
    return re.sub(r"(.{10})T(.{8})(?:[.]\d+)?", r"\1 \2 ", time).rstrip()


def headline(metrics: Metrics) -> dict[str, str]:
    """Return the numbers of the whole run, by their labels."""
    return {
        "Duration": duration(metrics["wall_time"] or None),
        "Executions": f"{metrics['total_executions']:,}",
        "Failed": f"{metrics['failed']:,}",
        "Running": f"{metrics['running']:,}",
        "Throughput": rate(metrics["throughput"]),
        "Peak concurrency": f"{metrics['peak_concurrency']:,}",
    }


def by_self_time(metrics: Metrics) -> list[tuple[str, Metrics]]:
    """Return the names of the routines and their performances, those that took most themselves first."""
    routines: list[tuple[str, Metrics]] = list(metrics["routines"].items())
    routines.sort(key=lambda item: (item[1]["self_execution_time"], item[1]["total_executions"]), reverse=True)
    return [(name_of(name), performance) for name, performance in routines]


def time_of(performance: Metrics, which: str) -> str:
    """Return one of the times of a routine, unknown if none of its executions ended."""
    if not performance["total_execution_time"]:
        return UNKNOWN
    return duration(performance[f"{which}_execution_time"])


def share_of(performance: Metrics, metrics: Metrics) -> float:
    """Return the part of all execution time that one routine took itself, 0 to 1."""
    total = metrics["self_execution_time"]
    part: float = performance["self_execution_time"] / total if total else 0.0
    return min(max(part, 0.0), 1.0)


class Step(NamedTuple):
    """An execution on the critical path."""

    position: int  # in the executions of the timeline
    execution: _timeline.Execution
    since_ns: int  # from when on it waited
    end_ns: int  # when it started if it runs
    own_ns: int  # while it ran, and no later step did

    @property
    def waited_ns(self) -> int:
        """The time until its start."""
        return self.execution.start_ns - self.since_ns


class Path(NamedTuple):
    """The critical path, on the time axis; its steps may overlap, and one may lie within another."""

    steps: list[Step]
    begin_ns: int
    length_ns: int  # from its begin to its end
    waited_ns: int  # of its length
    late_ns: int  # after the start of the run; 0 if that is next to nothing


def critical_path(timeline: _timeline.Timeline) -> Path:
    """Return the critical path of a run; without steps if nothing ended."""
    path = path_of(timeline)
    if not path:
        return Path([], 0, 0, 0, 0)
    executions = [timeline.executions[step.position] for step in path]
    waits = [(min(step.at_ns, each.start_ns), each.start_ns) for step, each in zip(path, executions, strict=True)]
    spans = [(each.start_ns, each.start_ns + max(each.elapsed_ns or 0, 0)) for each in executions]
    steps = [
        Step(step.position, timeline.executions[step.position], since_ns, end_ns, own_ns)
        for step, (since_ns, _), (_, end_ns), own_ns in zip(path, waits, spans, _times_as_latest(spans), strict=True)
    ]
    run_ns, begin_ns, end_ns = timeline.executions[0].start_ns, min(spans)[0], max(step.end_ns for step in steps)
    is_late = 100 * (begin_ns - run_ns) > end_ns - run_ns
    waited_ns = sum(_times_as_latest(waits))
    return Path(steps, begin_ns, end_ns - begin_ns, waited_ns, begin_ns - run_ns if is_late else 0)


def _times_as_latest(spans: list[tuple[int, int]]) -> list[int]:
    """Return how much of each span lies in none that comes later in the list, so that no time counts twice.

    >>> _times_as_latest([(0, 10), (2, 5), (4, 6)])
    [6, 2, 2]
    """
    times = [0] * len(spans)
    moments = [(moment, index) for index, span in enumerate(spans) for moment in span]
    open_: list[int] = []  # a heap of the numbers of spans that have begun, negative: the latest is the first
    before = 0
    for moment, index in sorted(moments):
        while open_ and spans[-open_[0]][1] <= before:
            heappop(open_)
        if open_:
            times[-open_[0]] += moment - before
        if moment == spans[index][0]:
            heappush(open_, -index)
        before = moment
    return times


def ends_of(edge: dict[str, Any]) -> tuple[str, str, str]:
    """Return the names of an edge's source, event and target."""
    source, event, target = (edge[key] for key in ("source_routine_id", "event_name", "target_routine_id"))
    return name_of(source, 40), name_of(event, 40), "" if target is None else name_of(target, 40)


def led_nowhere(edges: list[dict[str, Any]], metrics: Metrics) -> str:
    """Return a sentence on the events that caused no execution, an empty one if all did."""
    left = [(edge["count"] - edge["caused"], *ends_of(edge)) for edge in edges if edge["count"] > edge["caused"]]
    if not left:
        return ""
    left.sort(key=lambda edge: edge[0], reverse=True)
    named = [f"{source} {event}{f' → {target}' * bool(target)} ({count:,})" for count, source, event, target in left]
    known = " that is known" * bool(metrics["dropped_executions"] or metrics["dropped_events"])
    return f"Led to no start{known}: {counted(sum(edge[0] for edge in left), 'event')}: {some(named)}."


class Failures(NamedTuple):
    """The failed executions of one routine that have the same message."""

    routine: str
    message: str
    executions: int


def failures(run: Run) -> list[Failures]:
    """Return what failed and why, the most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for routine_id, name in named(run.routines).items():
        rows = run.routines[routine_id].rows
        for status, error in zip(rows[STATUS::WIDTH], rows[ERROR::WIDTH], strict=True):
            if is_failed(status):
                group = name, text_of(error) or "no message"
                counts[group] = counts.get(group, 0) + 1
    groups = [Failures(name_of(routine), message, count) for (routine, message), count in counts.items()]
    return sorted(groups, key=lambda group: group.executions, reverse=True)


def is_failed(status: Any) -> bool:
    """Tell whether the metrics count an execution with this status as failed."""
    return isinstance(status, str) and status == "failed"


def missing(metrics: Metrics, unplaced: int = 0) -> list[str]:
    """Return sentences on what these numbers do not tell, none if they tell all.

    Args:
        metrics: The numbers.
        unplaced: Executions that are in no timeline.
    """
    sentences = []
    if metrics["running"]:
        running = [(name, of["running"]) for name, of in metrics["routines"].items() if of["running"]]
        running.sort(key=lambda item: item[1], reverse=True)
        named = [f"{name_of(name, 40)} ({count:,})" for name, count in running]
        sentences.append(f"Still running, so without a time: {some(named)}.")
    if metrics["dropped_executions"] or metrics["dropped_events"]:
        executions = counted(metrics["dropped_executions"], "execution")
        events = counted(metrics["dropped_events"], "event")
        sentences.append(
            f"Dropped to bound the memory: {executions} and {events}. They count in all but medians, p95 "
            "and what follows from single records."
        )
    if metrics["unmatched_ends"]:
        sentences.append(f"Without a start, so not recorded: {counted(metrics['unmatched_ends'], 'end')}.")
    if unplaced:
        sentences.append(f"Without a start time that can be read, so in no timeline: {counted(unplaced, 'execution')}.")
    return sentences


# --- two runs compared ---


def is_compared(row: dict[str, Any]) -> bool:
    """Tell whether a row of a comparison has a ratio of medians: something ended in both runs."""
    return row["ratio"]["median_execution_time"] is not None


def fails_more(row: dict[str, Any]) -> bool:
    """Tell whether a larger part of a routine's executions failed than before."""
    before, after = (row[run] or {"failed": 0, "total_executions": 1} for run in ("before", "after"))
    more: bool = after["failed"] * before["total_executions"] > before["failed"] * after["total_executions"]
    return more


def slower(rows: list[dict[str, Any]], max_slowdown: float) -> list[dict[str, Any]]:
    """Return the rows of a comparison whose median grew beyond so many times, the worst first."""
    return [row for row in worst_first(rows) if (row["ratio"]["median_execution_time"] or 0) > max_slowdown]


def worst_first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a comparison: new routines after those whose medians grew, before those that got faster.

    Routines that are gone come last, after those of which nothing ended.
    """

    def badness(row: dict[str, Any]) -> tuple[float, float]:
        if row["change"] == "new":
            return 1.0, (row["after"]["total_execution_time"] or 0.0)
        return (row["ratio"]["median_execution_time"] or 0.0) if row["change"] == "both" else -1.0, 0.0

    return sorted(rows, key=badness, reverse=True)
