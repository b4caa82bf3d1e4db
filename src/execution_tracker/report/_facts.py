"""What the reports say of a run, in words and in what order."""

from __future__ import annotations

import re
from heapq import heappop, heappush, nlargest
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker import _timeline
from execution_tracker._critical_path import CAUSED_BY, EVENT, PARENT, WORKED, path_of
from execution_tracker._run import AT_NS, EVENT_RECORD, EVENT_WIDTH, RECORD, START_NS, WIDTH
from execution_tracker.payloads import snapshot
from execution_tracker.report._units import (
    UNKNOWN,
    counted,
    duration,
    duration_of,
    name_of,
    percentage,
    printable,
    rate,
    some,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execution_tracker._metrics import Metrics
    from execution_tracker._run import Run
    from execution_tracker.report._failures import Failures

NO_NAME = "A run without a name"
MORE = (
    'For more: execution_tracker.report.html.write_html(tracker, "run.html") writes a page for the browser, '
    "execution_tracker.report.terminal.print_report(tracker) prints it all."
)
_PLAIN_STATUSES = ("completed", "failed", "running")  # which the reports count by themselves
_short = snapshot(max_string=80, max_items=10, max_depth=3)


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


def other_statuses(status_counts: dict[str, int]) -> str:
    """Return how many executions have which status beyond completed, failed and running; an empty text if none has.

    >>> other_statuses({"completed": 5, "cancelled": 1, "skipped": 3})
    '3 skipped, 1 cancelled'
    """
    others = [(count, status) for status, count in status_counts.items() if status not in _PLAIN_STATUSES]
    others.sort(key=lambda item: -item[0])
    return some([f"{count:,} {name_of(status, 30)}" for count, status in others])


def concurrency(metrics: Metrics) -> str:
    """Return a sentence on how many executions ran at once, an empty text if none ended."""
    if not metrics["wall_time"] or not metrics["total_execution_time"]:
        return ""
    average = metrics["avg_concurrency"]
    text = f"{average:,.1f}" if average >= 0.1 else f"{average:.1g}"
    return f"{text} executions at once on average, {metrics['peak_concurrency']:,} at most."


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
    link: str | None  # how it hangs on the step before, None for the first
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
    run_ns: int  # from the first start of the run to the last end
    late_ns: int  # from the first start of the run to its begin

    @property
    def explained(self) -> float:
        """The part of the run's duration in which an execution on the path ran, 0 to 1."""
        return sum(step.own_ns for step in self.steps) / self.run_ns if self.run_ns else 0.0


def critical_path(timeline: _timeline.Timeline) -> Path:
    """Return the critical path of a run; without steps if nothing ended."""
    path = path_of(timeline)
    if not path:
        return Path([], 0, 0, 0, 0, 0)
    executions = [timeline.execution(step.position) for step in path]
    waits = [(min(step.at_ns, each.start_ns), each.start_ns) for step, each in zip(path, executions, strict=True)]
    spans = [(each.start_ns, each.start_ns + max(each.elapsed_ns or 0, 0)) for each in executions]
    steps = [
        Step(step.position, each, step.link, since_ns, end_ns, own_ns)
        for step, each, (since_ns, _), (_, end_ns), own_ns in zip(
            path, executions, waits, spans, _times_as_latest(spans), strict=True
        )
    ]
    begin_ns, end_ns = min(spans)[0], max(step.end_ns for step in steps)
    waited_ns = sum(_times_as_latest(waits))
    first_ns = timeline.start_ns[0]
    run_ns = max(_ends(timeline)) - first_ns
    return Path(steps, begin_ns, end_ns - begin_ns, waited_ns, run_ns, begin_ns - first_ns)


def _ends(timeline: _timeline.Timeline) -> list[int]:
    """Return when each execution ended, or when it started if it runs."""
    starts_and_ends = zip(timeline.start_ns, timeline.ends_ns, strict=True)
    return [start_ns if end_ns is None else end_ns for start_ns, end_ns in starts_and_ends]


def path_sentence(path: Path) -> str:
    """Return what the critical path explains of a run's duration, an empty text if there is none."""
    if not path.steps:
        return ""
    worked_ns = sum(step.own_ns for step in path.steps)
    worked, waited, run = map(duration_of, (worked_ns, path.waited_ns, path.run_ns))
    steps = counted(len(path.steps), "execution")
    sentence = f"The critical path explains {percentage(path.explained)} of {run}: {worked} in {steps}"
    sentence += f", with {waited} of waiting" * (path.waited_ns > 0)
    if 100 * path.late_ns > path.run_ns:
        sentence += (
            f". It begins {duration_of(path.late_ns)} into the run: what its first execution waited for is not known"
        )
    if inferred := sum(step.link == EVENT for step in path.steps):
        is_are = "is" if inferred == 1 else "are"
        sentence += f". {counted(inferred, 'link')} of it {is_are} inferred from the order of events"
    return f"{sentence}."


# How a step hangs on the one before.
LINKS = {
    CAUSED_BY: "caused by its event",
    PARENT: "called by it",
    WORKED: "same worker",
    EVENT: "by its event, inferred",
    None: "",
}


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


def slowest(timeline: _timeline.Timeline, count: int) -> list[_timeline.Execution]:
    """Return the executions that took longest, the slowest first."""
    elapsed = timeline.elapsed_ns
    ended = [position for position, elapsed_ns in enumerate(elapsed) if elapsed_ns is not None]
    return [timeline.execution(position) for position in nlargest(count, ended, key=elapsed.__getitem__)]


def params_of(params: Any) -> str:
    """Return the params of an execution as a call would have them, shortened, on one line.

    >>> params_of({"path": "a.md", "limit": 3}), params_of(None)
    ("path='a.md', limit=3", '')
    """
    if params is None:
        return ""
    short = _short(params)
    if type(short) is not dict:
        return text_of(short)
    return printable(", ".join(f"{name}={value!r}" for name, value in short.items()))


class Worker(NamedTuple):
    """What one thread, task's thread or machine did."""

    name: str
    executions: int
    busy_ns: int  # while at least one of its executions ran; one that never ended does not count
    busy: float  # as a part of the run's duration, 0 to 1


def workers(timeline: _timeline.Timeline) -> list[Worker]:
    """Return who ran the executions, the busiest first; empty if that was not recorded."""
    found: dict[str, list[int]] = {}  # by worker: executions, busy, and when the latest end was
    ends = _ends(timeline)
    for worker, start_ns, end_ns in zip(timeline.workers, timeline.start_ns, ends, strict=True):
        if worker is not None:
            numbers = found.setdefault(worker, [0, 0, start_ns])
            numbers[0] += 1
            numbers[1] += max(end_ns - max(start_ns, numbers[2]), 0)
            numbers[2] = max(numbers[2], end_ns)
    run_ns = max(ends) - timeline.start_ns[0] if found else 0
    busiest = sorted(found.items(), key=lambda item: -item[1][1])
    return [Worker(text_of(name), count, ns, ns / run_ns if run_ns else 0.0) for name, (count, ns, _) in busiest]


def inferred(edges: list[dict[str, Any]]) -> str:
    """Return a sentence on the links that were not recorded, an empty text if all were."""
    guessed, caused = (sum(edge[key] for edge in edges) for key in ("inferred", "caused"))
    if not guessed:
        return ""
    if caused == 1:
        return "The link from the event to the start is inferred from their order: no cause was recorded."
    part = "All" if guessed == caused else f"{guessed:,} of"
    verb = "is" if guessed == 1 else "are"
    return f"{part} {caused:,} links from events to starts {verb} inferred from their order: no cause was recorded."


def part_inferred(edge: dict[str, Any]) -> str:
    """Return how many of an edge's links to executions are inferred, an empty text if none is."""
    guessed, caused = edge["inferred"], edge["caused"]
    return "" if not guessed else "all" if guessed == caused else f"{guessed:,} of {caused:,}"


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


def undescribed(metrics: Metrics, described: int) -> str:
    """Return a sentence on the failures of which only the number is left, an empty text if there are none."""
    lost = metrics["failed"] - described
    return f"Dropped, so without a message: {counted(lost, 'failure')}." if lost > 0 else ""


# --- what failed ---


def failed_how(group: Failures) -> str:
    """Return what executions that failed alike have in common, in one line."""
    return ": ".join(filter(None, (group.kind, group.message)))


def failed_where(group: Failures, begin_ns: int | None) -> str:
    """Return which routines failed so, and where and when it happened first.

    Args:
        group: Executions that failed alike.
        begin_ns: When the run began, None if that is not known.
    """
    routines = [name if len(group.routines) == 1 else f"{name} ({count:,})" for name, count in group.routines.items()]
    where = [some(routines)]
    if group.first_start_ns is not None and begin_ns is not None:
        since = duration_of(group.first_start_ns - begin_ns)
        where.append(f"{'first ' * (group.executions > 1)}{since} into the run")
    if params := params_of(group.first_params):
        where.append(f"with {params}")
    return ", ".join(where)
